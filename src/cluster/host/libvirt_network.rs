//! The cluster's network for libvirt ([format](https://libvirt.org/formatnetwork.html), as of libvirt 9.0).
//!
//! Traps:
//! - libvirt accepts duplicate MACs, names and addresses silently; `cluster` refuses them.
//! - `<domain register='yes'>` is of libvirt 10.1: the schema of 9.0 refuses it.
//! - The NAT rule is by destination, so traffic from pods through the host would get the host's address. Nodes reach
//!   each other's pods by routes of their own (seeds); the routes here are for the host itself.

use super::xml::Element;
use crate::cluster::model::{Cluster, Mode, Network, Node};
use crate::cluster::node::names::{Named, names};

/// The network as XML for `virsh net-define`.
pub(crate) fn network_xml(cluster: &Cluster) -> String {
    let network = &cluster.network;
    let head = Element::new("network")
        .child(Element::text("name", &cluster.name))
        .child(Element::text("uuid", network.uuid))
        .children(forward(&network.mode));
    if network.mode == Mode::Bridged {
        // libvirt accepts no address, name or lease for a network that it does not manage.
        return head.child(Element::new("bridge").with("name", &network.bridge)).document();
    }
    head.child(Element::new("bridge").with("name", &network.bridge).with("stp", "on").with("delay", 0))
        .children(network.mtu.map(|mtu| Element::new("mtu").with("size", mtu)))
        .child(Element::new("mac").with("address", network.mac))
        // With `yes`, names that the domain lacks are not forwarded to other servers.
        .child(Element::new("domain").with("name", &cluster.domain).with("localOnly", if network.local_only { "yes" } else { "no" }))
        .child(Element::new("dns").children(names(cluster).iter().map(dns_host)))
        .child(ip(network, &cluster.nodes))
        .children(cluster.nodes.iter().filter_map(route))
        .document()
}

/// Forwarding of packets; an isolated network has no such element.
fn forward(mode: &Mode) -> Option<Element> {
    let forward = |mode: &str| Element::new("forward").with("mode", mode);
    match mode {
        Mode::Isolated => None,
        Mode::Open => Some(forward("open")),
        Mode::Bridged => Some(forward("bridge")),
        Mode::Route { uplink } => Some(forward("route").with_some("dev", uplink.as_ref())),
        Mode::Nat { uplink, ports } => {
            let port = |&(start, end): &(u16, u16)| Element::new("port").with("start", start).with("end", end);
            let nat = ports.as_ref().map(|ports| Element::new("nat").child(port(ports)));
            Some(forward("nat").with_some("dev", uplink.as_ref()).children(nat))
        }
    }
}

fn dns_host(named: &Named) -> Element {
    Element::new("host").with("ip", named.address).children(named.names.iter().map(|name| Element::text("hostname", name)))
}

/// The host's address, and DHCP. Without a range, only the nodes get leases.
fn ip(network: &Network, nodes: &[Node]) -> Element {
    let range = network.dhcp.map(|range| Element::new("range").with("start", range.first()).with("end", range.last()));
    let reservation = |node: &Node| Element::new("host").with("mac", node.mac).with("name", &node.name).with("ip", node.address);
    let dhcp = Element::new("dhcp").children(range).children(nodes.iter().map(reservation));
    Element::new("ip").with("address", network.host).with("prefix", network.cidr.prefix()).child(dhcp)
}

/// The host's route to a node's pods.
fn route(node: &Node) -> Option<Element> {
    let pods = node.pods?;
    Some(Element::new("route").with("address", pods.first()).with("prefix", pods.prefix()).with("gateway", node.address))
}
