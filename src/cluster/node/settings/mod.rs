//! A cluster's values for its nodes' role images, which know no cluster: lines `KEY=value` for templates and scripts.
//!
//! Keys are sorted. Values consist of `A-Z`, `a-z`, `0-9` and `._:/,=@-` by construction, so that neither systemd, a shell nor
//! sed interprets any of them: names and domains are checked ones, the rest are addresses, networks, numbers and exported
//! folders.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::etcd::{self, EtcdStart};
use super::{NodeFile, components};
use crate::cluster::model::{Cluster, Node, PodNetwork, Role, Taint};
use crate::common::error::{Error, Result};

/// The file of every node with a kubelet.
const CLUSTER_ENV: &str = "/etc/kubernetes/cluster.env";

/// The file of the first control-plane node only.
const ADDONS_ENV: &str = "/etc/kubernetes/addons.env";

/// The taint that keeps ordinary pods off the control plane
/// (<https://kubernetes.io/docs/reference/labels-annotations-taints/#node-role-kubernetes-io-control-plane-taint>).
const CONTROL_PLANE_TAINT: &str = "node-role.kubernetes.io/control-plane:NoSchedule";

/// Settings by key.
type Settings = BTreeMap<&'static str, String>;

/// The settings of a node, as files.
pub(super) fn files(cluster: &Cluster, node: &Node, start: EtcdStart) -> Result<Vec<NodeFile<'static>>> {
    let mut files = Vec::new();
    if node.role.has_kubelet() {
        files.push(NodeFile::public(CLUSTER_ENV, lines(&of_cluster(cluster, node, start)?)));
    }
    if cluster.applies_addons(node) {
        files.push(NodeFile::public(ADDONS_ENV, lines(&of_addons(cluster))));
    }
    Ok(files)
}

fn lines(settings: &Settings) -> String {
    settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

/// The cluster's values for a node.
fn of_cluster(cluster: &Cluster, node: &Node, start: EtcdStart) -> Result<Settings> {
    let none = || Error::internal(format!("node `{}` has a kubelet, and the cluster no API server", node.name));
    let api = cluster.api.as_ref().ok_or_else(none)?;
    let services = &cluster.services;
    let mut settings = Settings::from([
        ("API_PORT", api.port.to_string()),
        ("API_URL", cluster.api_url().ok_or_else(none)?),
        ("CLUSTER_CIDR", cluster.pods.cidr.to_string()),
        ("CLUSTER_DNS", services.dns.to_string()),
        ("CLUSTER_DOMAIN", services.domain.to_string()),
        ("CLUSTER_NAME", cluster.name.to_string()),
        ("NODE_CIDR", cluster.network.cidr.to_string()),
        ("NODE_TAINTS", taints(cluster, node).join(",")),
        ("PROXY_MODE", services.proxy.to_string()),
        // The issuer is the name by which pods call the API server. Every token contains it, so it must not change with
        // addresses.
        ("SERVICE_ACCOUNT_ISSUER", format!("https://kubernetes.default.svc.{}", services.domain)),
        ("SERVICE_CIDR", services.cidr.to_string()),
    ]);
    if components::components(cluster, node)?.is_some() {
        // A disk may have the file from an earlier seed.
        settings.insert("COMPONENTS", "yes".to_owned());
    }
    if node.role != Role::ControlPlane {
        return Ok(settings);
    }
    if let Some(probes) = cluster.probes() {
        settings.insert("LIVENESS_FAILURES", probes.liveness.to_string());
        settings.insert("PROBE_TIMEOUT", probes.timeout.to_string());
        settings.insert("STARTUP_FAILURES", probes.startup.to_string());
    }
    settings.insert("LEADER_ELECT", cluster.elects_leaders().to_string());
    let pods = &cluster.pods;
    settings.insert("ALLOCATE_NODE_CIDRS", (pods.network == PodNetwork::None).to_string());
    settings.insert("NODE_CIDR_MASK_SIZE", pods.node_prefix.to_string());
    if cluster.is_etcd_member(node) {
        // The API server depends on its own member only; a member that cannot reach a majority fails its probes.
        settings.insert("ETCD_SERVERS", etcd::client_url(Ipv4Addr::LOCALHOST));
        settings.insert("ETCD_INITIAL_CLUSTER", etcd::initial_cluster(cluster));
        settings.insert("ETCD_INITIAL_CLUSTER_STATE", start.as_str().to_owned());
        settings.insert("ETCD_INITIAL_CLUSTER_TOKEN", etcd::token(cluster));
    } else {
        let members: Vec<String> = cluster.etcd_members().map(|member| etcd::client_url(member.address)).collect();
        settings.insert("ETCD_SERVERS", members.join(","));
    }
    Ok(settings)
}

/// The taints with which a node registers: `KEY=VALUE:EFFECT` or `KEY:EFFECT`.
fn taints(cluster: &Cluster, node: &Node) -> Vec<String> {
    // A cluster without workers has no other nodes for pods.
    let reserved = node.role == Role::ControlPlane && cluster.with_role(Role::Worker).next().is_some();
    let own = node.taints.iter().map(ToString::to_string);
    reserved.then(|| CONTROL_PLANE_TAINT.to_owned()).into_iter().chain(own).collect()
}

/// The number of nodes that must run the cluster's DNS before a second pod of it may share a node: two, if two nodes accept it.
/// It tolerates the control plane's taint and no other.
fn dns_nodes(cluster: &Cluster) -> usize {
    let open = |node: &&Node| node.role.has_kubelet() && node.taints.iter().all(Taint::is_preference);
    cluster.nodes.iter().filter(open).count().clamp(1, 2)
}

/// The add-ons to apply to the API, and their values.
///
/// The nodes' names are included, since a kubelet must not give its own node the label of its role.
fn of_addons(cluster: &Cluster) -> Settings {
    let names = |role| cluster.with_role(role).map(|node| node.name.as_str()).collect::<Vec<_>>().join(",");
    let pool = cluster.services.load_balancer;
    let export = cluster.exports.first();
    let mut addons = vec!["rbac", "coredns"];
    addons.extend(pool.map(|_| "metallb"));
    addons.extend(export.map(|_| "nfs"));
    Settings::from([
        ("ADDONS", addons.join(",")),
        ("CONTROL_PLANES", names(Role::ControlPlane)),
        ("DNS_NODES", dns_nodes(cluster).to_string()),
        // A range, even for one address: MetalLB does not accept a single one.
        ("LOAD_BALANCER_POOL", pool.map_or_else(String::new, |pool| format!("{}-{}", pool.first(), pool.last()))),
        ("NFS_PATH", export.map_or_else(String::new, |export| export.path.clone())),
        ("NFS_SERVER", export.map_or_else(String::new, |_| cluster.network.host.to_string())),
        ("WORKERS", names(Role::Worker)),
    ])
}
