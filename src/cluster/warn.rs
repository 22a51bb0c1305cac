//! What is allowed but likely to disappoint.

use super::{Cluster, Firmware, Role};

/// Whole sentences for a person, in a fixed order.
pub(super) fn warnings(cluster: &Cluster) -> Vec<String> {
    let mut found = Vec::new();
    if cluster.domain.is_mdns() {
        found.push(format!(
            "domain `{}`: systemd-resolved keeps `.local` for multicast DNS, so nodes will not find each other by name; use a name such as \
             `{}.internal`",
            cluster.domain, cluster.name
        ));
    }
    if cluster.ssh_keys.is_empty() {
        found.push("no `ssh-keys`: nobody will be able to log in to the nodes".to_owned());
    }
    let members = cluster.etcd_members().count();
    if members > 0 && members.is_multiple_of(2) {
        found.push(format!(
            "{members} etcd members survive the loss of {}, as {} would, and are more likely to lose one: take an odd number",
            (members - 1) / 2,
            members - 1
        ));
    }
    if members > 7 {
        found.push(format!("{members} etcd members: each write waits for {}; five are enough for nearly everybody", members / 2 + 1));
    }
    if members == 0 && cluster.with_role(Role::Worker).next().is_some() {
        found.push("no node runs the control plane: the workers will look for an API server elsewhere".to_owned());
    }
    for node in cluster.nodes.iter().filter(|node| node.firmware == Firmware::Uefi) {
        found.push(format!("node `{}` starts by UEFI, under which kbake's role images do not boot yet", node.name));
    }
    found
}
