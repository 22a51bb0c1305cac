//! Names and addresses that the host and every node resolve.

use std::fmt;
use std::net::Ipv4Addr;

use crate::cluster::model::{Cluster, Node};

/// An address and all its names. The full one is first: it answers reverse look-ups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cluster) struct Named {
    pub(in crate::cluster) address: Ipv4Addr,
    pub(in crate::cluster) names: Vec<String>,
}

/// The entries: the API server, then the nodes in their order. One entry per address: if the API server has a node's own
/// address, its names are added to that node's.
pub(in crate::cluster) fn names(cluster: &Cluster) -> Vec<Named> {
    let mut all: Vec<Named> = cluster.nodes.iter().map(of_node).collect();
    let Some(api) = &cluster.api else { return all };
    let Some(address) = api.address else { return all };
    let fqdn = api.name.fqdn(&cluster.domain);
    let short = Some(api.name.as_str().to_owned()).filter(|short| *short != fqdn);
    let names: Vec<String> = [fqdn].into_iter().chain(short).collect();
    match all.iter_mut().find(|named| named.address == address) {
        Some(named) => {
            // A full name may be that of the node itself.
            let more: Vec<String> = names.into_iter().filter(|name| !named.names.contains(name)).collect();
            named.names.extend(more);
        }
        None => all.insert(0, Named { address, names }),
    }
    all
}

impl fmt::Display for Named {
    /// A line of hosts(5), without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.address, self.names.join(" "))
    }
}

fn of_node(node: &Node) -> Named {
    Named { address: node.address, names: vec![node.fqdn.clone(), node.name.to_string()] }
}
