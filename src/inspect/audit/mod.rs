//! What no public image may have: identities, keys, credentials, and what a machine that ran leaves behind.
//!
//! Every file is looked at twice: where it is, and what is in it (compressed ones also unpacked). Then all bytes of the disk
//! that are no file's: deleted files, slack, journals, other partitions, space between them. What cannot be looked into is
//! a finding as well.

mod content;
mod der;
mod encoded;
mod known;
mod kubeconfig;
mod mount;
mod pattern;
mod rules;
mod scan;
mod secrets;
mod unpack;
mod walk;

pub use content::audit_file;

use std::fmt;
use std::path::Path;

use super::disk::Disk;
use super::ranges::Ranges;
use super::table::TableKind;
use super::volume::{self, Volume};
use crate::error::{Error, Result};
use crate::value::{Cancel, TreePath};

/// The sorts of things that an image must not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What makes a machine one of its kind: machine id, names of storage initiators.
    Identity,
    /// A host's ssh key.
    HostKey,
    /// A seed of the random number generator: the same on every machine.
    RandomSeed,
    /// A private key of any kind.
    PrivateKey,
    /// A token, or a program's or a cloud's credentials.
    Credential,
    /// A kubeconfig with a credential in it.
    Kubeconfig,
    /// The hash of a password.
    PasswordHash,
    /// The history of a shell or another program.
    History,
    /// ssh keys that may log in.
    AuthorizedKeys,
    /// What a package manager downloaded.
    PackageCache,
    /// Logs, mail, dumps.
    Log,
    /// What cloud-init knows of a machine that ran.
    CloudInit,
    /// An address that a machine got.
    Lease,
    /// The password of a network.
    NetworkSecret,
    /// What could not be looked into.
    Unseen,
}

impl Kind {
    /// The words for people.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Identity => "machine's identity",
            Kind::HostKey => "ssh host key",
            Kind::RandomSeed => "random seed",
            Kind::PrivateKey => "private key",
            Kind::Credential => "credential",
            Kind::Kubeconfig => "kubeconfig with a credential",
            Kind::PasswordHash => "password hash",
            Kind::History => "history",
            Kind::AuthorizedKeys => "authorized ssh key",
            Kind::PackageCache => "package cache",
            Kind::Log => "log",
            Kind::CloudInit => "cloud-init state",
            Kind::Lease => "DHCP lease",
            Kind::NetworkSecret => "network's secret",
            Kind::Unseen => "not looked into",
        }
    }
}

/// One thing that an image must not have. Says where it is and of what kind, and nothing of what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    /// What exactly, where the kind does not say it all: `RSA PRIVATE KEY`; may be empty.
    pub what: String,
    /// `partition 2 (root)`; `disk` for what is in none.
    pub partition: String,
    /// The file, absolute and escaped; none for what is outside of any.
    pub path: Option<String>,
    /// Where in the file, or on the disk; may be empty.
    pub place: String,
    /// Whether the caller said that this file may be what it is.
    pub allowed: bool,
}

impl fmt::Display for Finding {
    /// `partition 2 (root): /root/key: private key (PEM, RSA PRIVATE KEY), line 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.partition)?;
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.text())
    }
}

impl Finding {
    /// The finding without its partition and path: `private key (PEM, RSA PRIVATE KEY), line 1`.
    pub fn text(&self) -> String {
        let more = |open: &str, text: &str, close: &str| if text.is_empty() { String::new() } else { format!("{open}{text}{close}") };
        format!("{}{}{}", self.kind.word(), more(" (", &self.what, ")"), more(", ", &self.place, ""))
    }
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audited {
    /// In the order of the disk and of paths; what is outside of files comes last.
    pub findings: Vec<Finding>,
    /// Names in all filesystems.
    pub names: u64,
    /// Bytes that were looked at, in files and outside of them.
    pub bytes: u64,
}

impl Audited {
    /// Whether nothing was found but what is allowed.
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.allowed)
    }
}

/// Looks into a disk image, qcow2 or raw. What is at or below a path of `allow` is found and marked as allowed.
///
/// # Errors
/// When the file cannot be read, is empty or no disk image, or has a partition table that makes no sense. What else cannot be looked
/// into is a finding.
pub fn audit(path: &Path, allow: &[TreePath], cancel: &Cancel) -> Result<Audited> {
    let disk = Disk::open(path)?;
    if disk.size() == 0 {
        return Err(Error::user(format!("{} has a disk of 0 bytes, and expected is a disk image", path.display()))
            .hint("look whether it was written or copied to its end"));
    }
    let table = volume::table(&disk)?;
    let mut audited = Audited::default();
    let mut ranges = Ranges::default();
    let mut volumes = Vec::new();
    for partition in &table.partitions {
        volumes.push((partition, Volume::open(partition, &disk, cancel)?));
    }
    let mounts = mount::points(&volumes)?;
    for ((partition, volume), mount) in volumes.iter().zip(&mounts) {
        let name = partition.name();
        if let Volume::Closed(why) = volume {
            audited.findings.push(unseen(&name, None, why.clone()));
        }
        if let Some(fs) = volume.files() {
            walk::files(&name, fs, mount.as_deref(), allow, cancel, &mut audited, &mut ranges)?;
        }
    }
    // Without this, a disk that was never written would be the cleanest of all.
    if volumes.iter().all(|(_, volume)| matches!(volume, Volume::Empty | Volume::Swap | Volume::Boot)) {
        let what = match table.kind {
            TableKind::None => "nothing in it: no partition, no filesystem",
            _ => "no filesystem in any partition",
        };
        audited.findings.push(unseen("disk", None, what.into()));
    }
    if let Some(what) = disk.hidden()? {
        audited.findings.push(unseen("image file", None, what));
    }
    walk::rest(&disk, &volumes, &ranges, cancel, &mut audited)?;
    Ok(audited)
}

fn unseen(partition: &str, path: Option<String>, what: String) -> Finding {
    Finding { kind: Kind::Unseen, what, partition: partition.into(), path, place: String::new(), allowed: false }
}

#[cfg(test)]
mod tests;
