//! Allowed settings that are likely to be mistakes.

use std::net::Ipv4Addr;

use super::{Cluster, Firmware, Mode, PodNetwork, ProxyMode, Role};

/// The host's address in libvirt's network `default`.
const LIBVIRT: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 1);

/// Warnings: whole sentences for a person, in a fixed order.
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
    dns_warnings(cluster, &mut found);
    host_warnings(cluster, &mut found);
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
    let has = |role| cluster.with_role(role).next().is_some();
    if !has(Role::ControlPlane) && has(Role::Worker) {
        found.push("no node runs the control plane: the workers will look for an API server elsewhere".to_owned());
    }
    if !has(Role::ControlPlane) && has(Role::Gateway) {
        found.push("no node runs the control plane: the gateway has nothing to balance".to_owned());
    }
    let kubelets = cluster.nodes.iter().any(|node| node.role.has_kubelet());
    if kubelets && (cluster.services.proxy, cluster.pods.network) == (ProxyMode::None, PodNetwork::Bridge) {
        found.push("no kube-proxy, and kbake's own pod network: nothing leads services to pods, the cluster's DNS included".to_owned());
    }
    let (pods, count) = (&cluster.pods, cluster.nodes.iter().filter(|node| node.role.has_kubelet()).count());
    let shares = 1_usize << (pods.node_prefix - pods.cidr.prefix());
    if pods.network == PodNetwork::None && count > shares {
        found.push(format!(
            "the pod network {} has room for {shares} shares of {} bits, and {count} nodes want one",
            pods.cidr, pods.node_prefix
        ));
    }
    for node in cluster.nodes.iter().filter(|node| node.firmware == Firmware::Uefi) {
        found.push(format!("node `{}` starts by UEFI, under which kbake's role images do not boot yet", node.name));
    }
    found
}

/// Name servers that do not know the nodes, that are unreachable, or that shadow public names.
fn dns_warnings(cluster: &Cluster, found: &mut Vec<String>) {
    let network = &cluster.network;
    if network.local_only && cluster.domain.may_be_registered() {
        found.push(format!(
            "domain `{0}` may be a registered one: of every name in it but the nodes', the nodes are told that it does not exist;              `local-only = false` in [network] asks other name servers, or take a domain such as `{1}.internal`",
            cluster.domain, cluster.name
        ));
    }
    if network.mode != Mode::Bridged && !network.dns.contains(&network.host) {
        found.push(format!("`dns` lacks the host {}, the only server that knows the nodes' names", network.host));
    }
    if network.mode == Mode::Isolated {
        for server in network.dns.iter().filter(|server| !network.cidr.contains(**server)) {
            found.push(format!("the name server {server} cannot be reached from an isolated network"));
        }
    }
}

/// Collisions with libvirt's own network, which most hosts have.
fn host_warnings(cluster: &Cluster, found: &mut Vec<String>) {
    let network = &cluster.network;
    if network.mode == Mode::Bridged {
        // It may be that very network: then no other one is defined.
        return;
    }
    if network.cidr.contains(LIBVIRT) {
        found.push(format!("{} is the network `default` of libvirt itself; on a host that has it, this one will not start", network.cidr));
    }
    if cluster.name.as_str() == "default" {
        found.push("libvirt's own network is called `default`, too; where that exists, this one cannot be defined".to_owned());
    }
    if network.bridge.as_str() == "virbr0" {
        found.push("libvirt's own network has the bridge `virbr0`, too; where it runs, this one will not start".to_owned());
    }
}
