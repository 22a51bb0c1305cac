//! The folder's contents, read once and compared with the inventory.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use super::certificate::Certificate;
use super::folder::{Folder, refusal, shell_word};
use super::issue::Signer;
use super::key::{Key, TAKEN};
use super::wanted::{ADMINS, Authority, MASTERS, Name, Purpose, Wanted};
use super::{HostKey, Inventory, Problem, check, host_key, pem};
use crate::cluster::model::HostName;
use crate::common::error::Result;

/// The missing halves of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lacks {
    /// The pair is complete; or it is an authority whose key is kept elsewhere.
    Nothing,
    /// The key exists without its certificate.
    Certificate,
    /// Both are missing.
    All,
}

/// A certificate and its key, as found.
pub(super) struct Found {
    /// Its name in commands.
    pub name: String,
    pub certificate: Option<Certificate>,
    pub key: Option<Key>,
    pub lacks: Lacks,
    /// Reasons why it cannot be used.
    pub problems: Vec<Problem>,
    /// It is valid, but not for long.
    pub expiring: Option<Problem>,
    /// It is valid, and for longer than one may want.
    pub long_lived: Option<Problem>,
}

/// A node's SSH host key, as found.
pub(super) struct FoundHost {
    pub node: HostName,
    pub key: Option<HostKey>,
    /// The reason why it cannot be used.
    pub problem: Option<Problem>,
}

impl FoundHost {
    /// Its name in commands.
    pub(super) fn name(&self) -> String {
        host_name(&self.node)
    }

    pub(super) fn is_missing(&self) -> bool {
        self.key.is_none() && self.problem.is_none()
    }
}

/// The name of a node's host key in commands.
pub(super) fn host_name(node: &HostName) -> String {
    format!("{node}/{SSH}")
}

/// The folder's contents.
pub(super) struct Contents {
    /// In the order of [`Authority::ALL`].
    pub authorities: [Found; 3],
    /// The service accounts' key pair; there is no certificate for it.
    pub accounts: Found,
    /// The encryption key's text.
    pub encryption: Option<SecretString>,
    pub encryption_problem: Option<Problem>,
    /// In the inventory's order.
    pub leaves: Vec<Found>,
    /// In the cluster's order.
    pub hosts: Vec<FoundHost>,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// Names of the two keys without certificate, in commands and files.
pub(super) const ACCOUNTS: &str = "sa";
pub(super) const ENCRYPTION: &str = "encryption";
/// The part of an SSH host key's name behind the node's name and a slash.
pub(super) const SSH: &str = "ssh";

/// The length of the key that encrypts secrets in etcd, in bytes (AES-256).
pub(super) const ENCRYPTION_BYTES: usize = 32;

impl Found {
    pub(super) fn is_usable(&self) -> bool {
        self.lacks == Lacks::Nothing && self.problems.is_empty()
    }

    /// True if any part of it exists.
    pub(super) fn exists(&self) -> bool {
        self.lacks != Lacks::All || !self.problems.is_empty()
    }
}

impl Contents {
    pub(super) fn authority(&self, authority: Authority) -> &Found {
        &self.authorities[authority as usize]
    }

    /// All problems that prevent use, in the order of the inventory.
    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        let pairs = self.authorities.iter().chain([&self.accounts]).flat_map(|found| &found.problems);
        let leaves = self.leaves.iter().flat_map(|found| &found.problems);
        pairs.chain(&self.encryption_problem).chain(leaves).chain(self.hosts.iter().filter_map(|host| host.problem.as_ref()))
    }

    /// Problems that do not prevent use yet.
    pub(super) fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.authorities.iter().chain(&self.leaves).flat_map(|found| found.expiring.iter().chain(&found.long_lived))
    }

    /// The authority as a signer; none if its certificate or key is missing or not usable.
    pub(super) fn signer(&self, authority: Authority) -> Option<Signer<'_>> {
        let found = self.authority(authority);
        let (Some(certificate), Some(key)) = (&found.certificate, &found.key) else { return None };
        found.is_usable().then_some(Signer { certificate, key })
    }
}

/// Reads the whole folder.
///
/// # Errors
/// Others can reach the folder or a key in it: then nothing in it can be trusted any more, and all affected paths are listed.
pub(super) fn read(folder: &Folder, inventory: &Inventory, now: i64) -> Result<Contents> {
    folder.check_folders(&inventory.hosts)?;
    let mut reader = Reader { folder, refused: Vec::new() };
    let [one, two, three] = Authority::ALL.map(|authority| reader.authority(authority, now));
    let authorities = [one?, two?, three?];
    let accounts = reader.accounts()?;
    let (encryption, encryption_problem) = reader.encryption()?;
    let mut leaves = Vec::with_capacity(inventory.wanted.len());
    for wanted in &inventory.wanted {
        leaves.push(reader.leaf(wanted, &authorities[wanted.issuer as usize], now)?);
    }
    let hosts = inventory.hosts.iter().map(|node| reader.host(node)).collect::<Result<Vec<_>>>()?;
    if !reader.refused.is_empty() {
        return Err(refusal(folder.root(), &reader.refused));
    }
    remedy_moved_members(inventory, &mut leaves);
    let notes = notes(folder, inventory)?;
    Ok(Contents { authorities, accounts, encryption, encryption_problem, leaves, hosts, notes })
}

/// An etcd member whose address has changed since its certificates were made.
struct Moved<'a> {
    node: &'a HostName,
    from: Ipv4Addr,
}

/// Members of a running etcd know each other by address: new certificates do not help when an address has moved, which happens
/// to a derived one when a node is put in front of it. So the remedy is to restore the address, wherever the change shows.
fn remedy_moved_members(inventory: &Inventory, leaves: &mut [Found]) {
    let moved: Vec<Moved<'_>> = inventory
        .wanted
        .iter()
        .zip(leaves.iter())
        .filter_map(|(wanted, found)| moved(wanted, found))
        // A cluster that moved to another network has no way back to the old addresses.
        .filter(|moved| inventory.network.contains(moved.from))
        .collect();
    let Some(first) = moved.first() else { return };
    for (wanted, found) in inventory.wanted.iter().zip(leaves) {
        let own = moved.iter().find(|moved| matches!(&wanted.name, Name::Node(node, _) if node == moved.node));
        for problem in found.problems.iter_mut().filter(|problem| check::is_about_addresses(&problem.what)) {
            problem.remedy = keep_address(own.unwrap_or(first));
        }
    }
}

fn moved<'a>(wanted: &'a Wanted, found: &Found) -> Option<Moved<'a>> {
    let Name::Node(node, Purpose::EtcdPeer) = &wanted.name else { return None };
    let was: Vec<IpAddr> = found.certificate.as_ref()?.sans.addresses.difference(&wanted.addresses).copied().collect();
    match was[..] {
        [IpAddr::V4(from)] => Some(Moved { node, from }),
        _ => None,
    }
}

fn keep_address(moved: &Moved<'_>) -> String {
    let Moved { node, from } = moved;
    format!(
        "etcd's members know `{node}` by the address {from}: keep it with `address = \"{from}\"` in its [[node]] (of a group, the first \
         node's); to move a member that runs, `etcdctl member update` first, then `kbake pki renew {node}`"
    )
}

struct Reader<'a> {
    folder: &'a Folder,
    /// Paths that others can reach.
    refused: Vec<Problem>,
}

/// The remedy for a file that cannot be made again.
fn restore(path: &Path) -> String {
    format!("restore {} from a backup", shell_word(path))
}

impl Reader<'_> {
    fn private(&mut self, path: &Path) -> Result<Option<SecretString>> {
        Ok(self.folder.read_private(path)?.unwrap_or_else(|problem| {
            self.refused.push(problem);
            None
        }))
    }

    fn public(&mut self, path: &Path) -> Result<Option<String>> {
        Ok(self.folder.read_public(path)?.unwrap_or_else(|problem| {
            self.refused.push(problem);
            None
        }))
    }

    /// Both halves, parsed. A half that cannot be parsed is a problem with this `remedy`.
    fn pair(&mut self, name: String, stem: &Path, remedy: &dyn Fn(&Path) -> String) -> Result<Found> {
        let (crt, key) = (stem.with_extension("crt"), stem.with_extension("key"));
        let (crt_text, key_text) = (self.public(&crt)?, self.private(&key)?);
        let mut problems = Vec::new();
        let mut trouble = |path: &Path, what: &str| {
            let what = format!("{} {what}", path.display());
            problems.push(Problem { name: name.clone(), what, remedy: remedy(path) });
        };
        let lacks = match (&crt_text, &key_text) {
            (None, None) => Lacks::All,
            (None, Some(_)) => Lacks::Certificate,
            (Some(_), _) => Lacks::Nothing,
        };
        let certificate = crt_text.and_then(|text| Certificate::parse(&text).map_err(|what| trouble(&crt, what)).ok());
        let key = key_text.and_then(|text| Key::parse(&text).map_err(|what| trouble(&key, &format!("{what} (expected {TAKEN})"))).ok());
        Ok(Found { name, certificate, key, lacks, problems, expiring: None, long_lived: None })
    }

    fn authority(&mut self, authority: Authority, now: i64) -> Result<Found> {
        let name = authority.name();
        let stem = self.folder.root().join(name);
        let mut found = self.pair(name.to_owned(), &stem, &restore)?;
        let Some(certificate) = &found.certificate else { return Ok(found) };
        let problem = |what: String, remedy: String| Problem { name: name.to_owned(), what, remedy };
        let crt = stem.with_extension("crt");
        found.problems.extend(check::authority(certificate, found.key.as_ref()).into_iter().map(|what| problem(what, restore(&crt))));
        let replace = || format!("see what a new authority entails: kbake pki renew {name}");
        found.problems.extend(check::dates(certificate, now).map(|what| problem(what, replace())));
        if found.problems.is_empty() {
            found.expiring = check::expiring(certificate, now).map(|days| problem(expires(certificate, days), replace()));
        }
        Ok(found)
    }

    fn leaf(&mut self, wanted: &Wanted, issuer: &Found, now: i64) -> Result<Found> {
        let stem = self.folder.stem(&wanted.name);
        let name = wanted.name.to_string();
        let renew = format!("kbake pki renew {name}");
        let mut found = self.pair(name.clone(), &stem, &|_| renew.clone())?;
        let problem = |what: String| Problem { name: name.clone(), what, remedy: renew.clone() };
        if self.folder.is_being_renewed(&stem)? {
            let what = "has a renewal that was interrupted".to_owned();
            found.problems = vec![Problem { remedy: "kbake pki init".to_owned(), ..problem(what) }];
            return Ok(found);
        }
        let Some(certificate) = &found.certificate else { return Ok(found) };
        if found.key.is_none() && found.problems.is_empty() {
            found.problems.push(problem("has a certificate, but its key is missing".to_owned()));
        }
        let usable = issuer.certificate.as_ref().filter(|_| issuer.problems.is_empty());
        found.problems.extend(check::leaf(wanted, certificate, found.key.as_ref(), usable).into_iter().map(problem));
        found.problems.extend(check::dates(certificate, now).map(problem));
        if found.problems.is_empty()
            && let Some(days) = check::expiring(certificate, now)
        {
            // A renewal does not help if the authority ends on the same day.
            let ca = issuer.certificate.as_ref().filter(|ca| ca.not_after <= certificate.not_after);
            let remedy = ca.map_or(renew.clone(), |_| format!("see what a new authority entails: kbake pki renew {}", issuer.name));
            found.expiring = Some(Problem { remedy, ..problem(expires(certificate, days)) });
        }
        // A certificate of an earlier version: it is valid, so that is the only other group that it can have.
        if found.problems.is_empty() && wanted.name == Name::Admin && !check::has_group(wanted, certificate) {
            let what =
                format!("is in the group {MASTERS}, whose permissions cannot be revoked before {}", check::date(certificate.not_after));
            let remedy = format!("when the cluster has the ClusterRoleBinding {ADMINS}: {renew}");
            found.long_lived = Some(Problem { remedy, ..problem(what) });
        }
        Ok(found)
    }

    fn accounts(&mut self) -> Result<Found> {
        let stem = self.folder.root().join(ACCOUNTS);
        let path = stem.with_extension("pub");
        let mut found = self.pair(ACCOUNTS.to_owned(), &stem, &restore)?;
        let text = self.public(&path)?;
        found.certificate = None;
        found.lacks = match (&text, found.lacks) {
            (Some(_), _) => Lacks::Nothing,
            (None, lacks) => lacks,
        };
        let problem = |what: &str, remedy: String| Problem { name: ACCOUNTS.to_owned(), what: what.to_owned(), remedy };
        match (&text, &found.key) {
            (Some(text), Some(key)) if !same_public_key(text, key) => {
                let remedy = format!("rm {} && kbake pki init", shell_word(&path));
                found.problems.push(problem("has a public half (sa.pub) that does not belong to its private one (sa.key)", remedy));
            }
            (Some(_), None) if found.problems.is_empty() => {
                found.problems.push(problem("has only its public half (sa.pub)", restore(&stem.with_extension("key"))));
            }
            _ => {}
        }
        Ok(found)
    }

    fn host(&mut self, node: &HostName) -> Result<FoundHost> {
        let path = self.folder.host_key(node);
        let mut found = FoundHost { node: node.clone(), key: None, problem: None };
        let Some(text) = self.private(&path)? else { return Ok(found) };
        match HostKey::parse(text) {
            Ok(key) => found.key = Some(key),
            Err(what) => {
                let what = format!("{} {what} (expected {})", path.display(), host_key::TAKEN);
                found.problem = Some(Problem { name: host_name(node), what, remedy: restore(&path) });
            }
        }
        Ok(found)
    }

    fn encryption(&mut self) -> Result<(Option<SecretString>, Option<Problem>)> {
        let path = self.folder.root().join(ENCRYPTION).with_extension("key");
        let Some(text) = self.private(&path)? else { return Ok((None, None)) };
        match pem::from_base64(text.expose_secret().trim_ascii()) {
            Some(bytes) if bytes.expose_secret().len() == ENCRYPTION_BYTES => Ok((Some(pem::to_private_base64(&bytes)), None)),
            _ => {
                let what = format!("is not {ENCRYPTION_BYTES} bytes in base64");
                Ok((None, Some(Problem { name: ENCRYPTION.to_owned(), what, remedy: restore(&path) })))
            }
        }
    }
}

fn expires(certificate: &Certificate, days: i64) -> String {
    format!("expires on {}, in {days} days", check::date(certificate.not_after))
}

fn same_public_key(text: &str, key: &Key) -> bool {
    let ours = key.public_pem();
    match (pem::blocks(text), pem::blocks(&ours)) {
        (Ok(found), Ok(ours)) => matches!(found.as_slice(), [block] if block.label == "PUBLIC KEY"
            && block.der.expose_secret() == ours[0].der.expose_secret()),
        _ => false,
    }
}

fn notes(folder: &Folder, inventory: &Inventory) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for node in folder.nodes()? {
        if !inventory.hosts.iter().any(|host| host.as_str() == node) {
            notes.push(format!("nodes/{} belongs to no node of the cluster: remove it if the node is gone for good", node.escape_debug()));
        }
    }
    Ok(notes)
}
