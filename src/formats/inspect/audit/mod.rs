//! Audits an image for what no public image may have: identities, keys, credentials, and traces of a machine that ran.
//!
//! Every file is judged by its path and by its contents (compressed files also unpacked). Then all bytes of the disk that
//! belong to no file are searched: deleted files, slack, journals, other partitions, space between them. Contents that cannot
//! be read are findings as well.

mod content;
mod der;
mod encoded;
mod known;
mod kubeconfig;
mod mount;
mod pattern;
mod rules;
mod scan;
mod secret;
mod secrets;
mod unpack;
mod walk;

pub(crate) use content::audit_file;

use std::fmt;
use std::path::Path;

use super::disk::Disk;
use super::ranges::Ranges;
use super::table::TableKind;
use super::volume::{self, Volume};
use crate::common::error::{Error, Result};
use crate::common::value::{Cancel, TreePath};

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A machine's identity: machine id, names of storage initiators.
    Identity,
    /// An ssh host key.
    HostKey,
    /// A seed of the random number generator, which every machine of the image would share.
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
    /// A package manager's downloads.
    PackageCache,
    /// Logs, mail, dumps.
    Log,
    /// cloud-init's state of a machine that ran.
    CloudInit,
    /// A DHCP lease of a machine that ran.
    Lease,
    /// A network's password.
    NetworkSecret,
    /// Contents that could not be read.
    Unseen,
}

impl Kind {
    /// The kind in words, for people.
    pub(crate) fn word(self) -> &'static str {
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

/// One thing that an image must not have: its place and kind, without a byte of its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The kind of what was found, for example a private key.
    pub kind: Kind,
    /// Details of the kind: `RSA PRIVATE KEY`; may be empty.
    pub what: String,
    /// `partition 2 (root)`, or `disk` outside of partitions.
    pub partition: String,
    /// The file, absolute and escaped; none outside of files.
    pub path: Option<String>,
    /// The place in the file, or on the disk; may be empty.
    pub place: String,
    /// The caller allowed this file.
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
    pub(crate) fn text(&self) -> String {
        let more = |open: &str, text: &str, close: &str| if text.is_empty() { String::new() } else { format!("{open}{text}{close}") };
        format!("{}{}{}", self.kind.word(), more(" (", &self.what, ")"), more(", ", &self.place, ""))
    }
}

/// The extent of an audit, and its findings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Audited {
    /// Findings in the order of the disk and of paths; those outside of files come last.
    pub findings: Vec<Finding>,
    /// Number of names in all filesystems.
    pub names: u64,
    /// Number of bytes that were searched, in files and outside of them.
    pub bytes: u64,
}

impl Audited {
    /// True when all findings are allowed.
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.allowed)
    }
}

/// Audits a disk image, qcow2 or raw. Findings at or below a path of `allow` are marked as allowed.
///
/// # Errors
/// A file that cannot be read, is empty or no disk image, or has a malformed partition table. Other contents that cannot be read are
/// findings.
pub(crate) fn audit(path: &Path, allow: &[TreePath], cancel: &Cancel) -> Result<Audited> {
    let disk = Disk::open(path)?;
    if disk.size() == 0 {
        return Err(Error::user(format!("{} has a disk of 0 bytes; expected a disk image", path.display()))
            .hint("check that it was written or copied completely"));
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
    // A disk that was never written must not pass as clean.
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
