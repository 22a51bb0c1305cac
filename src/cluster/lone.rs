//! One node by itself, as the options of `kbake seed` describe it.

use super::{Addressing, Domain, HostName, Mac, SshKey};
use crate::value::RoleName;

/// One machine: all that sets it apart from the others of its role.
///
/// Each field is valid by itself and no two of them can contradict each other, so they are public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoneNode {
    /// Its short name: host name, etcd member name, later the Kubernetes node name.
    pub name: HostName,
    /// The domain that makes its full name.
    pub domain: Option<Domain>,
    /// Which role image it boots.
    pub role: RoleName,
    /// How its interface gets an address.
    pub network: Addressing,
    /// The interface's hardware address, when there is more than one interface or the network reserves by it.
    pub mac: Option<Mac>,
    /// Who may log in; empty means nobody.
    pub ssh_keys: Vec<SshKey>,
    /// Its etcd member, when it runs one.
    pub etcd: Option<EtcdNode>,
}

/// The per-node settings of etcd: a cluster of this one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdNode {
    /// Who can reach it.
    pub listen: EtcdListen,
}

/// Where etcd listens for clients. Peers are always on loopback while there is but one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtcdListen {
    /// This machine only.
    Loopback,
    /// All interfaces, in plain HTTP without authentication: for closed networks.
    All,
}

impl LoneNode {
    /// The full name if there is a domain, else the short one.
    pub fn fqdn(&self) -> String {
        match &self.domain {
            Some(domain) => format!("{}.{domain}", self.name),
            None => self.name.to_string(),
        }
    }

    /// What is allowed but likely to disappoint: whole sentences for a person.
    pub fn warnings(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(domain) = &self.domain
            && domain.is_mdns()
        {
            found.push(format!(
                "domain `{domain}` of `{}`: systemd-resolved keeps `.local` for multicast DNS, so nodes will not find each other by name; \
                 use a name such as `kbake.test`",
                self.name
            ));
        }
        if self.ssh_keys.is_empty() {
            found.push(format!("node `{}` has no ssh key: nobody will be able to log in", self.name));
        }
        if self.etcd.as_ref().is_some_and(|etcd| etcd.listen == EtcdListen::All) {
            found.push(format!(
                "etcd on `{}` will listen on all interfaces in plain HTTP: whoever reaches port 2379 can read and write everything",
                self.name
            ));
        }
        if self.mac.is_none() && matches!(self.network, Addressing::Static(_)) {
            found.push(format!("node `{}` has a static address but no MAC: with a second interface both would take it", self.name));
        }
        found
    }
}
