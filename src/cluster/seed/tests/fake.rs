//! A keyring of texts that name their purpose.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::cluster::pki::{Authority, Name, Purpose, wanted};

pub(super) struct Fake {
    certificates: BTreeMap<String, String>,
    keys: BTreeMap<String, SecretString>,
    /// The two halves of each node's host key.
    hosts: BTreeMap<HostName, (SecretString, String)>,
    /// Names of the keys that were requested.
    asked: RefCell<BTreeSet<String>>,
}

impl Fake {
    /// Everything that `pki` makes for this cluster, and nothing else.
    pub(super) fn of(cluster: &Cluster) -> Fake {
        let host = |node: &Node| (SecretString::from(pem("HOST KEY", &node.name.to_string())), format!("ssh-ed25519 {}", node.name));
        let hosts = cluster.nodes.iter().map(|node| (node.name.clone(), host(node))).collect();
        let mut fake = Fake { certificates: BTreeMap::new(), keys: BTreeMap::new(), hosts, asked: RefCell::default() };
        let authorities = Authority::ALL.map(|authority| authority.name().to_owned());
        for name in wanted(cluster).iter().map(|wanted| wanted.name.to_string()).chain(authorities).chain(["sa".to_owned()]) {
            fake.certificates.insert(name.clone(), pem("CERTIFICATE", &name));
            fake.keys.insert(name.clone(), pem("KEY", &name).into());
        }
        // Base64 of a text of 32 bytes.
        fake.keys.insert("encryption".to_owned(), "bm90IGEga2V5LCBidXQgYSB0ZXh0IG9mIDMyIGJ5dGU=".into());
        fake
    }

    /// The same, with another key of this name.
    pub(super) fn renewed(cluster: &Cluster, name: &str) -> Fake {
        let mut fake = Fake::of(cluster);
        fake.keys.insert(name.to_owned(), pem("KEY", &format!("{name}, renewed")).into());
        fake
    }

    /// All keys by name.
    pub(super) fn keys(&self) -> &BTreeMap<String, SecretString> {
        &self.keys
    }

    /// The keys requested so far.
    pub(super) fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    fn key(&self, name: &str) -> &SecretString {
        self.asked.borrow_mut().insert(name.to_owned());
        &self.keys[name]
    }
}

fn pem(what: &str, name: &str) -> String {
    format!("-----BEGIN FAKE {what}-----\n{name}, for tests\n-----END FAKE {what}-----\n")
}

impl Keyring for Fake {
    fn authority(&self, authority: Authority) -> &str {
        &self.certificates[authority.name()]
    }

    fn signing_key(&self) -> Result<&SecretString> {
        Ok(self.key("ca"))
    }

    fn service_account_key(&self) -> &SecretString {
        self.key("sa")
    }

    fn service_account_public(&self) -> &str {
        &self.certificates["sa"]
    }

    fn encryption_key(&self) -> &SecretString {
        self.key("encryption")
    }

    fn host_key(&self, node: &HostName) -> Option<(&SecretString, &str)> {
        self.hosts.get(node).map(|(private, public)| (private, public.as_str()))
    }

    fn pair(&self, node: &HostName, purpose: Purpose) -> Option<(&str, &SecretString)> {
        let name = Name::Node(node.clone(), purpose).to_string();
        Some((self.certificates.get(&name)?, self.key(&name)))
    }
}
