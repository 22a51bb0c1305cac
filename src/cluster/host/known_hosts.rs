//! Lines of known_hosts, with the nodes' keys for SSH clients (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").

use super::Forward;
use crate::cluster::model::{Cluster, Node, Role};
use crate::cluster::node::names::{Named, names};

/// The default port of SSH, which known_hosts omits.
const SSH: u16 = 22;

/// The end of a cluster's lines, which distinguishes them from lines that others have added.
pub(crate) fn known_hosts_mark(cluster: &Cluster) -> String {
    format!(" kbake:{}", cluster.name)
}

/// A line for each node that has a key: its names, its addresses, and the port of 127.0.0.1 that is forwarded to it under plain
/// QEMU. `key` gives type and key.
pub(crate) fn known_hosts(cluster: &Cluster, key: &dyn Fn(&Node) -> Option<String>) -> String {
    let all = names(cluster);
    let line = |node: &Node| Some(format!("{} {}{}\n", hosts(cluster, node, &all).join(","), key(node)?, known_hosts_mark(cluster)));
    cluster.nodes.iter().filter_map(line).collect()
}

fn hosts(cluster: &Cluster, node: &Node, all: &[Named]) -> Vec<String> {
    let api = cluster.api.as_ref().filter(|api| api.is_vip && node.role == Role::Gateway);
    let vip = api.and_then(|api| api.address);
    let mine = |named: &&Named| named.address == node.address || vip == Some(named.address);
    let mut hosts: Vec<String> = Vec::new();
    for named in all.iter().filter(mine) {
        hosts.extend(named.names.iter().cloned().chain([named.address.to_string()]));
    }
    // A node too far behind in the file has none.
    let forwards = Forward::from(Forward::FIRST, cluster, node).unwrap_or_default().into_iter().filter(|forward| forward.node == SSH);
    hosts.extend(forwards.map(|forward| format!("[127.0.0.1]:{}", forward.host)));
    hosts
}
