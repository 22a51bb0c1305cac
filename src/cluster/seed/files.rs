//! A node's keys and certificates and their paths: kubeadm's layout, and Debian's for etcd.

use secrecy::SecretString;

use super::keyring::Keyring;
use crate::cluster::model::{Api, Cluster, Node, ProxyMode, Role};
use crate::cluster::node::{self, Caller, ETCD_PKI, EtcdStart, GATEWAY_CA, NodeFile};
use crate::cluster::pki::{Authority, Purpose};
use crate::common::error::{Error, Result};

/// The folder of certificates and keys on control-plane nodes.
const KUBERNETES_PKI: &str = "/etc/kubernetes/pki";

/// All of a node's files, public and private.
pub(super) fn files<'a>(cluster: &Cluster, node: &Node, start: EtcdStart, keyring: &'a dyn Keyring) -> Result<Vec<NodeFile<'a>>> {
    let of = Of { cluster, node, keyring };
    let mut files = node::public_files(cluster, node, start)?;
    match node.role {
        Role::Etcd => files.extend(of.etcd()?),
        Role::ControlPlane => {
            files.extend(of.control_plane()?);
            files.extend(of.kubelet()?);
        }
        Role::Worker => files.extend(of.kubelet()?),
        Role::Gateway => files.extend(of.gateway()),
    }
    Ok(files)
}

struct Of<'c, 'a> {
    cluster: &'c Cluster,
    node: &'c Node,
    keyring: &'a dyn Keyring,
}

impl<'a> Of<'_, 'a> {
    fn etcd(&self) -> Result<Vec<NodeFile<'a>>> {
        let mut files = vec![self.authority(ETCD_PKI, "ca", Authority::Etcd)];
        files.extend(self.member(ETCD_PKI)?);
        // Debian's etcd-server creates the user. The folder stays root's: a member does not change its own identity.
        Ok(files.into_iter().map(|file| file.owned_by("etcd:etcd")).collect())
    }

    /// Certificates and keys of a member of etcd.
    fn member(&self, folder: &str) -> Result<Vec<NodeFile<'a>>> {
        let mut files = Vec::new();
        files.extend(self.pair(folder, "server", Purpose::EtcdServer)?);
        files.extend(self.pair(folder, "peer", Purpose::EtcdPeer)?);
        Ok(files)
    }

    fn control_plane(&self) -> Result<Vec<NodeFile<'a>>> {
        let pki = |name: &str| format!("{KUBERNETES_PKI}/{name}");
        let etcd = pki("etcd");
        let mut files = vec![
            NodeFile::key(pki("ca.key"), self.keyring.signing_key()?),
            self.authority(KUBERNETES_PKI, "front-proxy-ca", Authority::FrontProxy),
            NodeFile::key(pki("sa.key"), self.keyring.service_account_key()),
            NodeFile::public(pki("sa.pub"), self.keyring.service_account_public()),
            self.authority(&etcd, "ca", Authority::Etcd),
        ];
        for (name, purpose) in [
            ("apiserver", Purpose::Apiserver),
            ("apiserver-etcd-client", Purpose::ApiserverEtcdClient),
            ("apiserver-kubelet-client", Purpose::ApiserverKubeletClient),
            ("front-proxy-client", Purpose::FrontProxyClient),
        ] {
            files.extend(self.pair(KUBERNETES_PKI, name, purpose)?);
        }
        if self.cluster.is_etcd_member(self.node) {
            files.extend(self.member(&etcd)?);
        }
        for (name, purpose) in [("controller-manager", Purpose::ControllerManager), ("scheduler", Purpose::Scheduler)] {
            files.push(self.kubeconfig(name, purpose, &format!("system:kube-{name}"))?);
        }
        if self.cluster.applies_addons(self.node) {
            files.push(self.kubeconfig("addons", Purpose::Addons, "kbake-addons")?);
        }
        files.push(NodeFile::private("/etc/kubernetes/encryption.yaml", node::encryption(self.keyring.encryption_key())));
        Ok(files)
    }

    fn kubelet(&self) -> Result<Vec<NodeFile<'a>>> {
        let mut files = vec![self.authority(KUBERNETES_PKI, "ca", Authority::Cluster)];
        files.extend(self.pair("/var/lib/kubelet/pki", "kubelet", Purpose::Kubelet)?);
        files.push(self.kubeconfig("kubelet", Purpose::Kubelet, &format!("system:node:{}", self.node.name))?);
        // The unit does not start without the file.
        if self.cluster.services.proxy != ProxyMode::None {
            files.push(self.kubeconfig("kube-proxy", Purpose::KubeProxy, "system:kube-proxy")?);
        }
        Ok(files)
    }

    /// The authority that the API servers' certificates are checked against. No key: TLS ends at the API servers, not at the
    /// gateway.
    fn gateway(&self) -> Option<NodeFile<'a>> {
        let authority = || NodeFile::public(GATEWAY_CA, self.keyring.authority(Authority::Cluster));
        node::is_balancer(self.cluster, self.node).then(authority)
    }

    fn authority(&self, folder: &str, name: &str, authority: Authority) -> NodeFile<'a> {
        NodeFile::public(format!("{folder}/{name}.crt"), self.keyring.authority(authority))
    }

    fn pair(&self, folder: &str, name: &str, purpose: Purpose) -> Result<[NodeFile<'a>; 2]> {
        let (certificate, key) = self.identity(purpose)?;
        Ok([NodeFile::public(format!("{folder}/{name}.crt"), certificate), NodeFile::key(format!("{folder}/{name}.key"), key)])
    }

    fn kubeconfig(&self, name: &str, purpose: Purpose, user: &str) -> Result<NodeFile<'a>> {
        let (certificate, key) = self.identity(purpose)?;
        let caller = Caller {
            cluster: self.cluster.name.as_str(),
            user,
            server: &self.server()?,
            authority: self.keyring.authority(Authority::Cluster),
            certificate,
            key,
        };
        Ok(NodeFile::private(format!("/etc/kubernetes/{name}.conf"), node::kubeconfig(&caller)))
    }

    /// The API server's URL for this node. A control-plane node uses its own, independent of any load balancer.
    fn server(&self) -> Result<String> {
        let local = |api: &Api| format!("https://127.0.0.1:{}", api.port);
        let url = match self.node.role {
            Role::ControlPlane => self.cluster.api.as_ref().map(local),
            _ => self.cluster.api_url(),
        };
        url.ok_or_else(|| Error::internal(format!("node `{}` has a kubelet, and the cluster no API server", self.node.name)))
    }

    fn identity(&self, purpose: Purpose) -> Result<(&'a str, &'a SecretString)> {
        self.keyring
            .pair(&self.node.name, purpose)
            .ok_or_else(|| Error::internal(format!("node `{}` has no certificate `{}`", self.node.name, purpose.name())))
    }
}
