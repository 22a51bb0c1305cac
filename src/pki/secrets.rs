//! What goes into seeds and kubeconfigs: everything checked, and only then handed out.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::folder;
use super::survey::{self, FoundHost, Lacks, Survey};
use super::wanted::{Authority, Name, Purpose};
use super::{HostKey, Inventory, Pki, Problem};
use crate::cluster::HostName;
use crate::error::{Error, Result};
use crate::fsx;

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

/// All of a cluster's certificates and keys, none missing and none that does not fit.
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
    /// An authority's certificate as PEM: public, for all who must trust it.
    pub fn authority(&self, authority: Authority) -> &str {
        &self.authorities[&authority]
    }

    /// An authority's private key. For control planes only, whose controller manager signs with the cluster's; no
    /// other node may have any.
    ///
    /// # Errors
    /// When the key is kept elsewhere.
    pub fn signing_key_for_control_plane(&self, authority: Authority) -> Result<&SecretString> {
        let name = authority.name();
        self.signing_keys.get(&authority).ok_or_else(|| {
            Error::user(format!("the key of the authority `{name}` is kept elsewhere, and the controller manager signs with it"))
                .hint(format!("bring it back with `kbake pki import {name} CERTIFICATE KEY`"))
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

    /// The key that encrypts secrets in etcd: 32 bytes in base64, as an `EncryptionConfiguration` wants them. For control
    /// planes only.
    pub fn encryption_key(&self) -> &SecretString {
        &self.encryption_key
    }

    /// A person with all rights in the cluster, which can be taken away.
    pub fn admin(&self) -> &Identity {
        &self.identities[&Name::Admin]
    }

    /// A person with all rights in the cluster, which cannot. None in folders of earlier versions.
    pub fn super_admin(&self) -> Option<&Identity> {
        self.identities.get(&Name::SuperAdmin)
    }

    /// A person with all rights in etcd.
    pub fn etcd_admin(&self) -> &Identity {
        &self.identities[&Name::EtcdAdmin]
    }

    /// What this node has, sorted by purpose; empty for one that has none, such as a gateway.
    pub fn node<'a>(&'a self, node: &'a HostName) -> impl Iterator<Item = (Purpose, &'a Identity)> {
        self.identities.iter().filter_map(move |(name, identity)| match name {
            Name::Node(of, purpose) if of == node => Some((*purpose, identity)),
            _ => None,
        })
    }

    /// One certificate of this node; none when the node has none for that purpose.
    pub fn of(&self, node: &HostName, purpose: Purpose) -> Option<&Identity> {
        self.identities.get(&Name::Node(node.clone(), purpose))
    }

    /// The key by which this node proves to an SSH client that it is the one; none for a node of another cluster.
    pub fn host_key(&self, node: &HostName) -> Option<&HostKey> {
        self.host_keys.get(node)
    }

    /// What can be used now, but soon no more.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

impl Pki {
    /// Everything, for seeds and kubeconfigs.
    ///
    /// # Errors
    /// When anything is missing or does not fit: all of it is listed, with the commands that mend it. A seed made of
    /// such certificates would give a node that does not come up, and does not say why.
    pub fn load(&self, now: i64) -> Result<Secrets> {
        if !fsx::exists(self.folder.root())? {
            let root = self.folder.root().display();
            return Err(Error::user(format!("the cluster has no certificates and keys yet: there is no {root}")).hint("kbake pki init"));
        }
        let _lock = self.begin_reading()?;
        let survey = survey::survey(&self.folder, &self.inventory, now)?;
        let missing = missing(&survey, &self.inventory);
        let problems: Vec<&Problem> = survey.problems().chain(&missing).collect();
        if !problems.is_empty() {
            let root = self.folder.root().display();
            return Err(super::error(format!("the certificates and keys in {root} do not fit the cluster"), &problems));
        }
        secrets(survey, &self.inventory).ok_or_else(|| Error::internal("a certificate or key was there, and is not"))
    }
}

impl Pki {
    /// Puts `lines` where SSH clients look for the nodes' keys. The lines that end in one of kbake's `marks` are replaced,
    /// what a person or a client has added stays.
    ///
    /// # Errors
    /// When the file can be written by others.
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
    /// When others can reach the folder.
    pub fn host_keys(&self, now: i64) -> Result<BTreeMap<HostName, String>> {
        let _lock = self.begin_reading()?;
        let survey = survey::survey(&self.folder, &self.inventory, now)?;
        let keys = survey.hosts.into_iter().filter_map(|host| Some((host.node, host.key?.public().to_owned())));
        Ok(keys.collect())
    }
}

fn missing(survey: &Survey, inventory: &Inventory) -> Vec<Problem> {
    let leafs = survey.leafs.iter().zip(&inventory.wanted).filter(|(_, wanted)| !wanted.name.is_optional()).map(|(found, _)| found);
    let pairs = survey.authorities.iter().chain([&survey.accounts]).chain(leafs);
    let names = pairs.filter(|found| found.lacks != Lacks::Nothing && found.problems.is_empty()).map(|found| found.name.as_str());
    let encryption = (survey.encryption.is_none() && survey.encryption_problem.is_none()).then_some(survey::ENCRYPTION);
    let problem = |name: &str| Problem { name: name.to_owned(), what: "is missing".to_owned(), mend: "kbake pki init".to_owned() };
    let hosts: Vec<String> = survey.hosts.iter().filter(|host| host.is_missing()).map(FoundHost::name).collect();
    names.chain(encryption).chain(hosts.iter().map(String::as_str)).map(problem).collect()
}

fn secrets(survey: Survey, inventory: &Inventory) -> Option<Secrets> {
    let warnings = survey.warnings().cloned().collect();
    let (mut authorities, mut signing_keys, mut identities) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (authority, found) in Authority::ALL.into_iter().zip(survey.authorities) {
        authorities.insert(authority, found.certificate?.pem());
        if let Some(key) = found.key {
            signing_keys.insert(authority, key.into_pem());
        }
    }
    for (wanted, found) in inventory.wanted.iter().zip(survey.leafs) {
        let (Some(certificate), Some(key)) = (found.certificate, found.key) else {
            if wanted.name.is_optional() {
                continue;
            }
            return None;
        };
        identities.insert(wanted.name.clone(), Identity { certificate: certificate.pem(), key: key.into_pem() });
    }
    let hosts = survey.hosts.into_iter().map(|host| Some((host.node, host.key?)));
    let host_keys = hosts.collect::<Option<_>>()?;
    let accounts = survey.accounts.key?;
    Some(Secrets {
        authorities,
        signing_keys,
        accounts_public: accounts.public_pem(),
        accounts_key: accounts.into_pem(),
        encryption_key: survey.encryption?,
        identities,
        host_keys,
        warnings,
    })
}
