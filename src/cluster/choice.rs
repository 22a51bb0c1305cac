//! Which of Kubernetes's node programs a cluster has of kbake, and which it will get from elsewhere.

use std::fmt;
use std::str::FromStr;

/// What leads the addresses of services to pods: kube-proxy's mode
/// ([reference](https://kubernetes.io/docs/reference/networking/virtual-ips/#proxy-modes)), or nothing of kbake's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyMode {
    /// kube-proxy with nftables. Its Linux is 5.13 or newer, kube-proxy 1.31 or newer.
    Nftables,
    /// kube-proxy with iptables, as older ones only can.
    Iptables,
    /// No kube-proxy: Cilium or the like takes its place.
    None,
}

/// What connects pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodNetwork {
    /// A bridge on each node, and routes between the nodes.
    Bridge,
    /// Nothing of kbake's: a network that is applied to the API later.
    None,
}

impl ProxyMode {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            ProxyMode::Nftables => "nftables",
            ProxyMode::Iptables => "iptables",
            ProxyMode::None => "none",
        }
    }
}

impl PodNetwork {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            PodNetwork::Bridge => "bridge",
            PodNetwork::None => "none",
        }
    }
}

impl fmt::Display for ProxyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for PodNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ProxyMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [ProxyMode::Nftables, ProxyMode::Iptables, ProxyMode::None];
        all.into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| format!("unknown proxy mode `{}`; known: nftables, iptables, none", text.escape_debug()))
    }
}

impl FromStr for PodNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [PodNetwork::Bridge, PodNetwork::None];
        all.into_iter()
            .find(|network| network.as_str() == text)
            .ok_or_else(|| format!("unknown pod network `{}`; known: bridge, none", text.escape_debug()))
    }
}
