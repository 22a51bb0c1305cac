//! The certificates and keys for seeds and kubeconfigs: all are checked before any is handed out.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::contents::{self, Contents, FoundHost, Lacks};
use super::folder;
use super::wanted::{Authority, Name, Purpose};
use super::{HostKey, Inventory, Pki, Problem};
use crate::cluster::model::HostName;
use crate::common::error::{Error, Result};
use crate::common::fsx;

/// A certificate and its private key. Not `Clone`; the key does not print.
#[derive(Debug)]
pub struct Identity {
    certificate: String,
    key: SecretString,
}

impl Identity {
    /// The certificate as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The private key as PKCS#8 PEM.
    pub fn key(&self) -> &SecretString {
        &self.key
    }
}

/// All of a cluster's certificates and keys, complete and valid.
#[derive(Debug)]
pub struct Secrets {
    authorities: BTreeMap<Authority, String>,
    signing_keys: BTreeMap<Authority, SecretString>,
    accounts_key: SecretString,
    accounts_public: String,
    encryption_key: SecretString,
    identities: BTreeMap<Name, Identity>,
    host_keys: BTreeMap<HostName, HostKey>,
    warnings: Vec<Problem>,
}

impl Secrets {
    /// An authority's certificate as PEM, which is public.
    pub fn authority(&self, authority: Authority) -> &str {
        &self.authorities[&authority]
    }

    /// An authority's private key. For control planes only, whose controller manager signs with the cluster's; no other node
    /// may have any.
    ///
    /// # Errors
    /// The key is kept elsewhere.
    pub fn signing_key_for_control_plane(&self, authority: Authority) -> Result<&SecretString> {
        let name = authority.name();
        self.signing_keys.get(&authority).ok_or_else(|| {
            Error::user(format!("the key of the authority `{name}` is kept elsewhere, and the controller manager signs with it"))
                .hint(format!("restore it with `kbake pki import {name} CERTIFICATE KEY`"))
        })
    }

    /// The key that signs service accounts' tokens, as PKCS#8 PEM. For control planes only.
    pub fn service_account_key(&self) -> &SecretString {
        &self.accounts_key
    }

    /// The key that verifies service accounts' tokens, as SPKI PEM.
    pub fn service_account_public(&self) -> &str {
        &self.accounts_public
    }

    /// The key that encrypts secrets in etcd: 32 bytes in base64, the form of an `EncryptionConfiguration`. For control planes
    /// only.
    pub fn encryption_key(&self) -> &SecretString {
        &self.encryption_key
    }

    /// A person with all rights in the cluster, which can be revoked.
    pub fn admin(&self) -> &Identity {
        &self.identities[&Name::Admin]
    }

    /// A person with all rights in the cluster, which cannot be revoked. None in folders of earlier versions.
    pub fn super_admin(&self) -> Option<&Identity> {
        self.identities.get(&Name::SuperAdmin)
    }

    /// A node's certificates, sorted by purpose; empty for a node without any, such as a gateway.
    pub fn node<'a>(&'a self, node: &'a HostName) -> impl Iterator<Item = (Purpose, &'a Identity)> {
        self.identities.iter().filter_map(move |(name, identity)| match name {
            Name::Node(of, purpose) if of == node => Some((*purpose, identity)),
            _ => None,
        })
    }

    /// One certificate of this node; none if the node needs none for that purpose.
    pub fn of(&self, node: &HostName, purpose: Purpose) -> Option<&Identity> {
        self.identities.get(&Name::Node(node.clone(), purpose))
    }

    /// This node's SSH host key; none for a node of another cluster.
    pub fn host_key(&self, node: &HostName) -> Option<&HostKey> {
        self.host_keys.get(node)
    }

    /// Problems of certificates that are still valid, but expire soon.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

impl Pki {
    /// Everything for seeds and kubeconfigs.
    ///
    /// # Errors
    /// Anything is missing or invalid: all problems are listed, with the commands against them. A seed with such certificates
    /// would give a node that does not come up, and does not say why.
    pub fn load(&self, now: i64) -> Result<Secrets> {
        if !fsx::exists(self.folder.root())? {
            let root = self.folder.root().display();
            return Err(Error::user(format!("the cluster has no certificates and keys yet: there is no {root}")).hint("kbake pki init"));
        }
        let _lock = self.begin_reading()?;
        let contents = contents::read(&self.folder, &self.inventory, now)?;
        let missing = missing(&contents, &self.inventory);
        let problems: Vec<&Problem> = contents.problems().chain(&missing).collect();
        if !problems.is_empty() {
            let root = self.folder.root().display();
            return Err(super::error(format!("the certificates and keys in {root} do not match the cluster"), &problems));
        }
        secrets(contents, &self.inventory).ok_or_else(|| Error::internal("a certificate or key vanished after it was checked"))
    }
}

impl Pki {
    /// Writes `lines` to the nodes' known_hosts file. Lines that end in one of kbake's `marks` are replaced; lines that a
    /// person or a client has added stay.
    ///
    /// # Errors
    /// Others can write to the file.
    pub fn write_known_hosts(&self, lines: &str, mark: &str) -> Result<()> {
        let path = self.folder.known_hosts();
        let before =
            self.folder.read_public(&path)?.map_err(|problem| folder::refusal(self.folder.root(), &[problem]))?.unwrap_or_default();
        let others = before.lines().filter(|line| !line.ends_with(mark)).map(|line| format!("{line}\n"));
        let text = lines.to_owned() + &others.collect::<String>();
        if text == before { Ok(()) } else { fsx::write_atomic(&path, folder::FILE_MODE, text.as_bytes()) }
    }

    /// The public halves of all nodes' SSH host keys.
    ///
    /// # Errors
    /// Others can reach the folder.
    pub fn host_keys(&self, now: i64) -> Result<BTreeMap<HostName, String>> {
        let _lock = self.begin_reading()?;
        let contents = contents::read(&self.folder, &self.inventory, now)?;
        let keys = contents.hosts.into_iter().filter_map(|host| Some((host.node, host.key?.public().to_owned())));
        Ok(keys.collect())
    }
}

fn missing(contents: &Contents, inventory: &Inventory) -> Vec<Problem> {
    let leaves = contents.leaves.iter().zip(&inventory.wanted).filter(|(_, wanted)| !wanted.name.is_optional()).map(|(found, _)| found);
    let pairs = contents.authorities.iter().chain([&contents.accounts]).chain(leaves);
    let names = pairs.filter(|found| found.lacks != Lacks::Nothing && found.problems.is_empty()).map(|found| found.name.as_str());
    let encryption = (contents.encryption.is_none() && contents.encryption_problem.is_none()).then_some(contents::ENCRYPTION);
    let problem = |name: &str| Problem { name: name.to_owned(), what: "is missing".to_owned(), remedy: "kbake pki init".to_owned() };
    let hosts: Vec<String> = contents.hosts.iter().filter(|host| host.is_missing()).map(FoundHost::name).collect();
    names.chain(encryption).chain(hosts.iter().map(String::as_str)).map(problem).collect()
}

fn secrets(contents: Contents, inventory: &Inventory) -> Option<Secrets> {
    let warnings = contents.warnings().cloned().collect();
    let (mut authorities, mut signing_keys, mut identities) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (authority, found) in Authority::ALL.into_iter().zip(contents.authorities) {
        authorities.insert(authority, found.certificate?.pem());
        if let Some(key) = found.key {
            signing_keys.insert(authority, key.into_pem());
        }
    }
    for (wanted, found) in inventory.wanted.iter().zip(contents.leaves) {
        let (Some(certificate), Some(key)) = (found.certificate, found.key) else {
            if wanted.name.is_optional() {
                continue;
            }
            return None;
        };
        identities.insert(wanted.name.clone(), Identity { certificate: certificate.pem(), key: key.into_pem() });
    }
    let hosts = contents.hosts.into_iter().map(|host| Some((host.node, host.key?)));
    let host_keys = hosts.collect::<Option<_>>()?;
    let accounts = contents.accounts.key?;
    Some(Secrets {
        authorities,
        signing_keys,
        accounts_public: accounts.public_pem(),
        accounts_key: accounts.into_pem(),
        encryption_key: contents.encryption?,
        identities,
        host_keys,
        warnings,
    })
}
