//! Making what is missing, and nothing else.

use secrecy::ExposeSecret as _;

use super::certificate::Certificate;
use super::folder::Folder;
use super::issue::{self, Signer};
use super::key::Key;
use super::survey::{self, ACCOUNTS, ENCRYPTION, ENCRYPTION_BYTES, Found, Lacks, Survey};
use super::wanted::Authority;
use super::{HostKey, Inventory, Pki, Problem, check, pem};
use crate::error::{Error, Result};
use crate::fsx::Access;

/// What [`Pki::init`] did and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was made, by name.
    pub made: Vec<String>,
    /// How many were there already and are as they should be.
    pub kept: usize,
    /// What is there and does not fit. It was left alone: a running cluster may depend on it.
    pub problems: Vec<Problem>,
    /// What fits, but expires soon.
    pub warnings: Vec<Problem>,
    /// What else a person should know: whole sentences.
    pub notes: Vec<String>,
}

impl Pki {
    /// Makes what is missing. What is there stays as it is, byte for byte; it is checked, and what does not fit is
    /// reported. What a killed process left undone is finished first.
    ///
    /// # Errors
    /// When others can reach the folder, when what all else depends on is gone (an authority whose certificates are
    /// still there), and when something must be signed and the authority's key is kept elsewhere. Then nothing is made.
    pub fn init(&self, now: i64) -> Result<Report> {
        let Pki { folder, inventory } = self;
        let _lock = self.begin()?;
        let mut report = Report::default();
        for wanted in &inventory.wanted {
            if folder.finish_renewal(&folder.stem(&wanted.name))? {
                report.notes.push(format!("the renewal of {} was interrupted, and is finished now", wanted.name));
            }
        }
        let mut survey = survey::survey(folder, inventory, now)?;
        may_go_on(&survey, inventory)?;
        let kept = survey.authorities.iter().chain([&survey.accounts]).chain(&survey.leafs).filter(|found| found.is_usable()).count();
        let hosts = survey.hosts.iter().filter(|host| host.key.is_some()).count();
        report.kept = kept + usize::from(survey.encryption.is_some()) + hosts;
        report.problems.extend(survey.problems().cloned());
        report.warnings.extend(survey.warnings().cloned());
        report.notes.append(&mut survey.notes);
        if !folder.is_ignored_by_git()? {
            report
                .notes
                .push("the folder of secrets is not kept out of git: neither its .gitignore nor the cluster's has a line `*`".to_owned());
        }
        make(folder, inventory, &mut survey, &mut report, now)?;
        Ok(report)
    }

    /// Makes the folders, and takes the lock.
    pub(super) fn begin(&self) -> Result<Option<std::fs::File>> {
        let hosts = &self.inventory.hosts;
        // First: what is open to others must not even be locked, let alone written to.
        self.folder.check_folders(hosts)?;
        self.folder.create(hosts)?;
        let lock = self.folder.lock(Access::Exclusive)?;
        self.folder.reap(hosts)?;
        Ok(lock)
    }
}

/// Whether what is missing may be made.
fn may_go_on(survey: &Survey, inventory: &Inventory) -> Result<()> {
    let mut lost: Vec<String> = Vec::new();
    for authority in Authority::ALL {
        let found = survey.authority(authority);
        let of_it = |i: &usize| inventory.wanted[*i].issuer == authority && survey.leafs[*i].exists();
        if found.lacks != Lacks::Nothing && (0..survey.leafs.len()).any(|i| of_it(&i)) {
            lost.push(format!("{}.crt is missing, and certificates that it has issued are there", authority.name()));
        }
    }
    // They are made before any certificate. So where there are certificates, they were there, too.
    let begun = survey.leafs.iter().any(Found::exists);
    if begun && survey.accounts.lacks == Lacks::All {
        lost.push(format!("{ACCOUNTS}.key is missing: with another one no service account's token is valid any more"));
    }
    if begun && survey.encryption.is_none() && survey.encryption_problem.is_none() {
        lost.push(format!("{ENCRYPTION}.key is missing: with another one the secrets in etcd cannot be read any more"));
    }
    if !lost.is_empty() {
        let error = lost.into_iter().fold(Error::user("what the cluster's certificates depend on is gone"), Error::detail);
        return Err(error.hint("bring the files back from a backup; or, to begin anew, move the whole folder away first"));
    }
    let unsigned = |authority: Authority| {
        let missing = inventory.wanted.iter().zip(&survey.leafs).filter(|(wanted, found)| {
            wanted.issuer == authority && !wanted.name.is_optional() && found.lacks != Lacks::Nothing && found.problems.is_empty()
        });
        missing.map(|(wanted, _)| wanted.name.to_string()).collect::<Vec<_>>()
    };
    for authority in Authority::ALL {
        let missing = unsigned(authority);
        let found = survey.authority(authority);
        let will_sign = survey.signer(authority).is_some() || found.lacks != Lacks::Nothing && found.problems.is_empty();
        if !will_sign && !missing.is_empty() {
            return Err(cannot_sign(survey, authority).detail(format!("to be signed: {}", missing.join(", "))));
        }
    }
    Ok(())
}

/// Why this authority signs nothing.
pub(super) fn cannot_sign(survey: &Survey, authority: Authority) -> Error {
    let (name, found) = (authority.name(), survey.authority(authority));
    if !found.problems.is_empty() {
        return super::error(format!("the authority `{name}` cannot sign"), &found.problems.iter().collect::<Vec<_>>());
    }
    if found.lacks != Lacks::Nothing {
        return Error::user(format!("the authority `{name}` cannot sign: it is not there")).hint("kbake pki init");
    }
    Error::user(format!("the authority `{name}` cannot sign: its key is kept elsewhere, {name}.key is not in the folder"))
        .hint(format!("bring the key back with `kbake pki import {name}`, or put the missing certificates and keys in their places"))
}

fn make(folder: &Folder, inventory: &Inventory, survey: &mut Survey, report: &mut Report, now: i64) -> Result<()> {
    let root = folder.root().to_owned();
    for authority in Authority::ALL {
        let found = &mut survey.authorities[authority as usize];
        if found.lacks == Lacks::Nothing || !found.problems.is_empty() {
            continue;
        }
        let (name, days) = (authority.common_name(&inventory.cluster), inventory.validity.authorities);
        complete(folder, &root.join(authority.name()), found, |key| issue::authority(&name, key, days, now))?;
        report.made.push(found.name.clone());
    }
    if survey.accounts.lacks != Lacks::Nothing && survey.accounts.problems.is_empty() {
        let found = &mut survey.accounts;
        let stem = root.join(ACCOUNTS);
        let key = ready_key(folder, &stem, found.key.take())?;
        folder.write_new(&stem.with_extension("pub"), &key.public_pem())?;
        report.made.push(ACCOUNTS.to_owned());
    }
    if survey.encryption.is_none() && survey.encryption_problem.is_none() {
        let text = pem::to_private_base64(&issue::random(ENCRYPTION_BYTES)?);
        let line = secrecy::SecretString::from(format!("{}\n", text.expose_secret()));
        folder.write_new(&root.join(ENCRYPTION).with_extension("key"), line.expose_secret())?;
        report.made.push(ENCRYPTION.to_owned());
    }
    let Survey { authorities, leafs, hosts, .. } = survey;
    for (wanted, found) in inventory.wanted.iter().zip(leafs) {
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

/// Says which authority ends before the certificates that it has just signed were meant to.
fn note_clamped(inventory: &Inventory, authorities: &[Found; 3], report: &mut Report, now: i64) {
    let meant = now.saturating_add(i64::from(inventory.validity.certificates) * issue::DAY);
    for authority in Authority::ALL {
        let signed = inventory.wanted.iter().any(|wanted| wanted.issuer == authority && report.made.contains(&wanted.name.to_string()));
        let ends = authorities[authority as usize].certificate.as_ref().map(|ca| ca.not_after).filter(|&ends| signed && ends < meant);
        report.notes.extend(ends.map(|ends| clamped(authority, ends)));
    }
}

/// The sentence about certificates that live shorter than was asked for.
pub(super) fn clamped(authority: Authority, ends: i64) -> String {
    format!("certificates of `{}` end on {}, with their authority", authority.name(), check::date(ends))
}

/// Makes the half or the two halves that are missing. The certificate comes last: where one is, its key is, too.
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
