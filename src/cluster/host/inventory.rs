//! The cluster for Ansible: an
//! [inventory](https://docs.ansible.com/ansible/latest/inventory_guide/intro_inventory.html) in INI format.

use crate::cluster::model::{Cluster, Role};

/// The user of kbake's images that accepts the cluster's SSH keys.
const USER: &str = "debian";

/// A role's group, and its usual name in guides. The underscore is deliberate: no host name has one, and Ansible warns when a
/// group has the name of a host.
fn groups(role: Role) -> (&'static str, Option<&'static str>) {
    match role {
        Role::Gateway => ("kube_gateway", Some("lb")),
        Role::ControlPlane => ("kube_control_plane", Some("master")),
        Role::Worker => ("kube_worker", Some("worker")),
        Role::Etcd => ("kube_etcd", None),
    }
}

/// The inventory: one group per role that the cluster has, hosts by address, so that no DNS is needed.
pub(crate) fn inventory(cluster: &Cluster) -> String {
    let mut text = format!("# kbake: cluster {}\n", cluster.name);
    for role in [Role::Gateway, Role::ControlPlane, Role::Worker, Role::Etcd] {
        let hosts: String = cluster.with_role(role).map(|node| format!("{} ansible_host={}\n", node.name, node.address)).collect();
        if hosts.is_empty() {
            continue;
        }
        let (group, alias) = groups(role);
        text.push_str(&format!("\n[{group}]\n{hosts}"));
        let is_free = |alias: &&str| cluster.nodes.iter().all(|node| node.name.as_str() != *alias);
        if let Some(alias) = alias.filter(is_free) {
            text.push_str(&format!("\n[{alias}:children]\n{group}\n"));
        }
    }
    // The Python interpreter is named, since Ansible would otherwise try several and warn.
    text.push_str(&format!("\n[all:vars]\nansible_user={USER}\nansible_python_interpreter=/usr/bin/python3\n"));
    text
}
