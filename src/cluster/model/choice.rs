//! The node programs of Kubernetes that kbake installs, and those that come from elsewhere.

use std::fmt;
use std::str::FromStr;

/// Program that routes service addresses to pods: kube-proxy's mode
/// ([reference](https://kubernetes.io/docs/reference/networking/virtual-ips/#proxy-modes)), or none of kbake's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyMode {
    /// kube-proxy with nftables. Its Linux is 5.13 or newer, kube-proxy 1.31 or newer.
    Nftables,
    /// kube-proxy with iptables, for versions without nftables.
    Iptables,
    /// No kube-proxy: Cilium or the like takes its place.
    None,
}

/// The pod network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodNetwork {
    /// A bridge on each node, and routes between the nodes.
    Bridge,
    /// None of kbake's: a network add-on is applied to the API later.
    None,
}

impl ProxyMode {
    /// The name in the cluster file.
    pub fn as_str(self) -> &'static str {
        match self {
            ProxyMode::Nftables => "nftables",
            ProxyMode::Iptables => "iptables",
            ProxyMode::None => "none",
        }
    }
}

impl PodNetwork {
    /// The name in the cluster file.
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
