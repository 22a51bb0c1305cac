//! Creation of missing certificates and keys.

use secrecy::ExposeSecret as _;

use super::certificate::Certificate;
use super::contents::{self, ACCOUNTS, Contents, ENCRYPTION, ENCRYPTION_BYTES, Found, Lacks};
use super::folder::Folder;
use super::issue::{self, Signer};
use super::key::Key;
use super::wanted::Authority;
use super::{HostKey, Inventory, Pki, Problem, check, pem};
use crate::common::error::{Error, Result};
use crate::common::fsx::Access;

/// The outcome of [`Pki::init`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The names of new certificates and keys.
    pub made: Vec<String>,
    /// The number of existing ones that are valid.
    pub kept: usize,
    /// Existing ones with problems. They were left alone: a running cluster may depend on them.
    pub problems: Vec<Problem>,
    /// Valid ones that expire soon.
    pub warnings: Vec<Problem>,
    /// Further notes for the user: whole sentences.
    pub notes: Vec<String>,
}

impl Pki {
    /// Makes missing certificates and keys. Existing ones stay byte for byte; they are checked, and problems are reported. Work
    /// of a killed process is finished first.
    ///
    /// # Errors
    /// Others can reach the folder; an authority is gone whose certificates still exist; or something must be signed and the
    /// authority's key is kept elsewhere. Then nothing is made.
    pub fn init(&self, now: i64) -> Result<Report> {
        let Pki { folder, inventory } = self;
        let _lock = self.begin()?;
        let mut report = Report::default();
        for wanted in &inventory.wanted {
            if folder.finish_renewal(&folder.stem(&wanted.name))? {
                report.notes.push(format!("the renewal of {} was interrupted, and is finished now", wanted.name));
            }
        }
        let mut contents = contents::read(folder, inventory, now)?;
        may_go_on(&contents, inventory)?;
        let kept =
            contents.authorities.iter().chain([&contents.accounts]).chain(&contents.leaves).filter(|found| found.is_usable()).count();
        let hosts = contents.hosts.iter().filter(|host| host.key.is_some()).count();
        report.kept = kept + usize::from(contents.encryption.is_some()) + hosts;
        report.problems.extend(contents.problems().cloned());
        report.warnings.extend(contents.warnings().cloned());
        report.notes.append(&mut contents.notes);
        if !folder.is_ignored_by_git()? {
            report
                .notes
                .push("the folder of secrets is not kept out of git: neither its .gitignore nor the cluster's has a line `*`".to_owned());
        }
        make(folder, inventory, &mut contents, &mut report, now)?;
        Ok(report)
    }

    /// Makes the folders, and takes the lock.
    pub(super) fn begin(&self) -> Result<Option<std::fs::File>> {
        let hosts = &self.inventory.hosts;
        // First: a folder that is open to others must not even be locked, let alone written to.
        self.folder.check_folders(hosts)?;
        self.folder.create(hosts)?;
        let lock = self.folder.lock(Access::Exclusive)?;
        self.folder.reap(hosts)?;
        Ok(lock)
    }
}

/// Refuses to make what is missing if that would hide a loss.
fn may_go_on(contents: &Contents, inventory: &Inventory) -> Result<()> {
    let mut lost: Vec<String> = Vec::new();
    for authority in Authority::ALL {
        let found = contents.authority(authority);
        let of_it = |i: &usize| inventory.wanted[*i].issuer == authority && contents.leaves[*i].exists();
        if found.lacks != Lacks::Nothing && (0..contents.leaves.len()).any(|i| of_it(&i)) {
            lost.push(format!("{}.crt is missing, and certificates that it has issued still exist", authority.name()));
        }
    }
    // They are made before any certificate: where there are certificates, they existed, too.
    let begun = contents.leaves.iter().any(Found::exists);
    if begun && contents.accounts.lacks == Lacks::All {
        lost.push(format!("{ACCOUNTS}.key is missing: with another one no service account's token is valid any more"));
    }
    if begun && contents.encryption.is_none() && contents.encryption_problem.is_none() {
        lost.push(format!("{ENCRYPTION}.key is missing: with another one the secrets in etcd cannot be read any more"));
    }
    if !lost.is_empty() {
        let error = lost.into_iter().fold(Error::user("files that the cluster's certificates depend on are gone"), Error::detail);
        return Err(error.hint("restore the files from a backup; or, to start over, move the whole folder away first"));
    }
    let unsigned = |authority: Authority| {
        let missing = inventory.wanted.iter().zip(&contents.leaves).filter(|(wanted, found)| {
            wanted.issuer == authority && !wanted.name.is_optional() && found.lacks != Lacks::Nothing && found.problems.is_empty()
        });
        missing.map(|(wanted, _)| wanted.name.to_string()).collect::<Vec<_>>()
    };
    for authority in Authority::ALL {
        let missing = unsigned(authority);
        let found = contents.authority(authority);
        let will_sign = contents.signer(authority).is_some() || found.lacks != Lacks::Nothing && found.problems.is_empty();
        if !will_sign && !missing.is_empty() {
            return Err(cannot_sign(contents, authority).detail(format!("to be signed: {}", missing.join(", "))));
        }
    }
    Ok(())
}

/// The error for an authority that cannot sign, with the reason.
pub(super) fn cannot_sign(contents: &Contents, authority: Authority) -> Error {
    let (name, found) = (authority.name(), contents.authority(authority));
    if !found.problems.is_empty() {
        return super::error(format!("the authority `{name}` cannot sign"), &found.problems.iter().collect::<Vec<_>>());
    }
    if found.lacks != Lacks::Nothing {
        return Error::user(format!("the authority `{name}` cannot sign: it does not exist")).hint("kbake pki init");
    }
    Error::user(format!("the authority `{name}` cannot sign: its key is kept elsewhere, {name}.key is not in the folder")).hint(format!(
        "restore the key with `kbake pki import {name} CERTIFICATE KEY`, or restore the missing certificates and keys from a backup"
    ))
}

fn make(folder: &Folder, inventory: &Inventory, contents: &mut Contents, report: &mut Report, now: i64) -> Result<()> {
    let root = folder.root().to_owned();
    for authority in Authority::ALL {
        let found = &mut contents.authorities[authority as usize];
        if found.lacks == Lacks::Nothing || !found.problems.is_empty() {
            continue;
        }
        let (name, days) = (authority.common_name(&inventory.cluster), inventory.validity.authorities);
        complete(folder, &root.join(authority.name()), found, |key| issue::authority(&name, key, days, now))?;
        report.made.push(found.name.clone());
    }
    if contents.accounts.lacks != Lacks::Nothing && contents.accounts.problems.is_empty() {
        let found = &mut contents.accounts;
        let stem = root.join(ACCOUNTS);
        let key = ready_key(folder, &stem, found.key.take())?;
        folder.write_new(&stem.with_extension("pub"), &key.public_pem())?;
        report.made.push(ACCOUNTS.to_owned());
    }
    if contents.encryption.is_none() && contents.encryption_problem.is_none() {
        let text = pem::to_private_base64(&issue::random(ENCRYPTION_BYTES)?);
        let line = secrecy::SecretString::from(format!("{}\n", text.expose_secret()));
        folder.write_new(&root.join(ENCRYPTION).with_extension("key"), line.expose_secret())?;
        report.made.push(ENCRYPTION.to_owned());
    }
    let Contents { authorities, leaves, hosts, .. } = contents;
    for (wanted, found) in inventory.wanted.iter().zip(leaves) {
        let ca = &authorities[wanted.issuer as usize];
        if found.lacks == Lacks::Nothing || !found.problems.is_empty() || !ca.problems.is_empty() {
            continue;
        }
        let (Some(certificate), Some(key)) = (&ca.certificate, &ca.key) else {
            report.notes.push(format!("{} is not made: the key of `{}` is kept elsewhere", found.name, ca.name));
            continue;
        };
        let signer = Signer { certificate, key };
        complete(folder, &folder.stem(&wanted.name), found, |key| issue::leaf(wanted, key, signer, inventory.validity.certificates, now))?;
        report.made.push(found.name.clone());
    }
    for host in hosts.iter().filter(|host| host.is_missing()) {
        let key = HostKey::generate(host.node.as_str())?;
        folder.write_new(&folder.host_key(&host.node), key.private().expose_secret())?;
        report.made.push(host.name());
    }
    note_clamped(inventory, authorities, report, now);
    Ok(())
}

/// Notes each authority that ends before the requested end of the certificates that it has just signed.
fn note_clamped(inventory: &Inventory, authorities: &[Found; 3], report: &mut Report, now: i64) {
    let meant = now.saturating_add(i64::from(inventory.validity.certificates) * issue::DAY);
    for authority in Authority::ALL {
        let signed = inventory.wanted.iter().any(|wanted| wanted.issuer == authority && report.made.contains(&wanted.name.to_string()));
        let ends = authorities[authority as usize].certificate.as_ref().map(|ca| ca.not_after).filter(|&ends| signed && ends < meant);
        report.notes.extend(ends.map(|ends| clamped(authority, ends)));
    }
}

/// The note about certificates whose validity is shorter than requested.
pub(super) fn clamped(authority: Authority, ends: i64) -> String {
    format!("certificates of `{}` end on {}, with their authority", authority.name(), check::date(ends))
}

/// Makes the missing half, or both. The certificate comes last: a certificate always has its key.
fn complete(folder: &Folder, stem: &std::path::Path, found: &mut Found, sign: impl FnOnce(&Key) -> Result<Certificate>) -> Result<()> {
    let key = ready_key(folder, stem, found.key.take())?;
    let certificate = sign(&key)?;
    folder.write_new(&stem.with_extension("crt"), &certificate.pem())?;
    (found.certificate, found.key, found.lacks) = (Some(certificate), Some(key), Lacks::Nothing);
    Ok(())
}

fn ready_key(folder: &Folder, stem: &std::path::Path, key: Option<Key>) -> Result<Key> {
    if let Some(key) = key {
        return Ok(key);
    }
    let key = Key::generate()?;
    folder.write_new(&stem.with_extension("key"), key.pem().expose_secret())?;
    Ok(key)
}
