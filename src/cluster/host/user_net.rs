//! QEMU's own network stack ([invocation](https://www.qemu.org/docs/master/system/invocation.html#hxtool-5), `-netdev user`):
//! one machine, with the addresses that its seed names, and ports of the host that are forwarded to it.

use std::net::Ipv4Addr;

use crate::cluster::model::{Cluster, Mode, Node, Role};
use crate::common::error::{Error, Result};

/// A port of 127.0.0.1 that is forwarded to one of the node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forward {
    /// The port on the host.
    pub host: u16,
    /// The port of the node.
    pub node: u16,
}

/// The distance between the ports of ssh and etcd, and between those of etcd and the API server. It limits how many nodes of a
/// cluster can have ports of their own.
const SPAN: u16 = 2_000;

impl Forward {
    /// The default port of the first node's ssh.
    pub(crate) const FIRST: u16 = 22_000;
    /// The largest first port that leaves room for all nodes and services.
    pub(crate) const FIRST_MAX: u16 = u16::MAX - 3 * SPAN + 1;

    /// The services of a node, at ports of the host that no other node of the cluster has: SSH from `first`, etcd 2000 and the
    /// API server 4000 further on, plus the node's index in the cluster file.
    ///
    /// # Errors
    /// A node behind the 2000th, and a `first` above [`Forward::FIRST_MAX`].
    pub(crate) fn from(first: u16, cluster: &Cluster, node: &Node) -> Result<Vec<Forward>> {
        let place = cluster.nodes.iter().position(|other| other.name == node.name).unwrap_or(0);
        let Some(place) = u16::try_from(place).ok().filter(|&place| place < SPAN && first <= Self::FIRST_MAX) else {
            return Err(Error::user(format!("no port of this host is left for node `{}`", node.name))
                .detail(format!("{SPAN} nodes have ports; it is number {} of the cluster", place + 1))
                .hint("run it with `--net bridge` or `--net multicast`"));
        };
        let api_port = cluster.api.as_ref().map(|api| api.port).filter(|_| matches!(node.role, Role::ControlPlane | Role::Gateway));
        let etcd_port = Some(2379).filter(|_| cluster.is_etcd_member(node));
        let served = [(0, Some(22)), (SPAN, etcd_port), (2 * SPAN, api_port)];
        let forward = |(further, port): (u16, Option<u16>)| Some(Forward { host: first + further + place, node: port? });
        Ok(served.into_iter().filter_map(forward).collect())
    }
}

/// QEMU's option. An isolated cluster stays isolated.
pub(super) fn netdev(cluster: &Cluster, node: &Node, forwards: &[Forward]) -> String {
    let network = &cluster.network;
    let restrict = if network.mode == Mode::Isolated { "on" } else { "off" };
    let (host, dns) = own_addresses(cluster);
    // The DHCP server gives the reserved address to its only possible client, in case that it has no seed.
    let mut text =
        format!("user,id=net,ipv6=off,net={},host={host},dns={dns},dhcpstart={},restrict={restrict}", network.cidr, node.address);
    for Forward { host, node: port } in forwards {
        text.push_str(&format!(",hostfwd=tcp:127.0.0.1:{host}-{}:{port}", node.address));
    }
    text
}

/// The addresses of the host and of the name server inside QEMU. They must differ. QEMU answers for both, and routes packets to
/// either. So the name server is the one that the seed names, although that is usually the gateway, too.
fn own_addresses(cluster: &Cluster) -> (Ipv4Addr, Ipv4Addr) {
    let network = &cluster.network;
    let gateway = network.gateway;
    match network.dns.iter().copied().find(|&server| network.cidr.contains(server)) {
        Some(server) if server == gateway => (unclaimed(cluster), server),
        Some(server) => (gateway, server),
        None => (gateway, unclaimed(cluster)),
    }
}

/// The last unclaimed address.
fn unclaimed(cluster: &Cluster) -> Ipv4Addr {
    let network = &cluster.network;
    let vip = cluster.api.as_ref().and_then(|api| api.address);
    let taken = |address: Ipv4Addr| {
        let own = [network.gateway, network.host].contains(&address) || network.dns.contains(&address);
        own || vip == Some(address) || cluster.nodes.iter().any(|node| node.address == address)
    };
    let (first, last) = (network.cidr.first().to_bits(), network.cidr.last().to_bits());
    let free = (first + 1..last).rev().map(Ipv4Addr::from).find(|&address| !taken(address));
    // In a network without one, a node other than this machine gives up its own.
    free.unwrap_or(Ipv4Addr::from(last - 1))
}
