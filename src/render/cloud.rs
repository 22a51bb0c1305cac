//! The documents of a node's seed: cloud-init's user-data, meta-data and network-config (version 2).
//!
//! Only what cloud-init applies before ordinary services start is used: names, keys, `write_files`. `runcmd` and
//! `packages` come after multi-user.target, far too late, and stay out.

use std::net::IpAddr;

use super::etcd::{ETCD_ENV, etcd_env};
use super::yaml::Yaml;
use crate::cluster::{Addressing, LoneNode, StaticAddress};
use crate::value::Sha256;

/// Matches every Ethernet interface under systemd's predictable names, for nodes whose MAC is not given.
const ANY_ETHERNET: &str = "en*";

/// The `#cloud-config` document: names, who may log in, and the node's own files.
pub fn user_data(node: &LoneNode) -> String {
    let mut pairs = vec![("hostname", Yaml::text(&node.name))];
    if node.domain.is_some() {
        pairs.push(("fqdn", Yaml::text(node.fqdn())));
    }
    if !node.ssh_keys.is_empty() {
        pairs.push(("ssh_authorized_keys", Yaml::texts(&node.ssh_keys)));
    }
    let files = files(node);
    if !files.is_empty() {
        pairs.push(("write_files", Yaml::List(files.into_iter().map(NodeFile::into_yaml).collect())));
    }
    format!("#cloud-config\n{}", Yaml::Map(pairs).document())
}

/// A file that `write_files` puts on the node before services start.
struct NodeFile {
    path: &'static str,
    /// `user:group`; both must be in the image, since cloud-init makes new users only later.
    owner: &'static str,
    /// Octal, as text: YAML would read a bare 0600 in its own ways.
    permissions: &'static str,
    content: String,
}

impl NodeFile {
    fn into_yaml(self) -> Yaml {
        Yaml::Map(vec![
            ("path", Yaml::text(self.path)),
            ("owner", Yaml::text(self.owner)),
            ("permissions", Yaml::text(self.permissions)),
            ("content", Yaml::Text(self.content)),
        ])
    }
}

fn files(node: &LoneNode) -> Vec<NodeFile> {
    let mut files = Vec::new();
    if let Addressing::Static(network) = &node.network {
        files.push(NodeFile { path: "/etc/hosts", owner: "root:root", permissions: "0644", content: hosts(node, network) });
    }
    if let Some(env) = etcd_env(node) {
        // systemd reads it as root before it becomes the user `etcd`: nobody else needs to.
        files.push(NodeFile { path: ETCD_ENV, owner: "root:root", permissions: "0600", content: env });
    }
    files
}

/// The node's own names lead to its address on the network, never to 127.0.1.1: certificates and etcd peers would
/// stumble over that one.
fn hosts(node: &LoneNode, network: &StaticAddress) -> String {
    let address = network.address().address();
    let names = match node.domain {
        Some(_) => format!("{} {}", node.fqdn(), node.name),
        None => node.name.to_string(),
    };
    format!("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{address} {names}\n")
}

/// The meta-data: the host name, and an instance id made from all that the seed says.
///
/// A changed seed is a new instance, and cloud-init applies it on the next boot; an unchanged one is not applied
/// twice.
pub fn meta_data(node: &LoneNode) -> String {
    let mut content = String::new();
    for part in [user_data(node), network_config(node)] {
        content.push_str(&Sha256::of(part).to_string());
    }
    let digest = Sha256::of(content).to_string();
    Yaml::Map(vec![("instance-id", Yaml::Text(format!("{}-{}", node.name, &digest[..16]))), ("local-hostname", Yaml::text(&node.name))])
        .document()
}

/// The network configuration, version 2 (netplan's syntax) within what cloud-init's networkd renderer understands.
///
/// That renderer takes the interface from the entry's name and overlooks `match: name`, which netplan wants: so the
/// pattern is both. It drops `dhcp-identifier`: leases that survive a new machine id are the image's matter
/// (`networkd.conf.d`).
pub fn network_config(node: &LoneNode) -> String {
    let mut device = Vec::new();
    let (name, matched) = match node.mac {
        Some(mac) => ("primary", ("macaddress", Yaml::text(mac))),
        None => (ANY_ETHERNET, ("name", Yaml::text(ANY_ETHERNET))),
    };
    device.push(("match", Yaml::Map(vec![matched])));
    match &node.network {
        Addressing::Dhcp => device.push(("dhcp4", Yaml::Bool(true))),
        Addressing::Static(network) => device.extend(static_pairs(node, network)),
    }
    let ethernets = Yaml::Named(name.to_owned(), Box::new(Yaml::Map(device)));
    Yaml::Map(vec![("version", Yaml::Int(2)), ("ethernets", ethernets)]).document()
}

fn static_pairs(node: &LoneNode, network: &StaticAddress) -> Vec<(&'static str, Yaml)> {
    let mut pairs = vec![("dhcp4", Yaml::Bool(false)), ("addresses", Yaml::texts([network.address()]))];
    match network.gateway() {
        None => {}
        // `to: default` is newer than Debian 12's cloud-init, and `gateway4` is deprecated in later ones.
        Some(IpAddr::V4(gateway)) => {
            let route = Yaml::Map(vec![("to", Yaml::text("0.0.0.0/0")), ("via", Yaml::text(gateway))]);
            pairs.push(("routes", Yaml::List(vec![route])));
        }
        // Debian 12's cloud-init (22.4.2) makes `::/64` of a route to `::/0`: seen with its own renderer.
        Some(IpAddr::V6(gateway)) => pairs.push(("gateway6", Yaml::text(gateway))),
    }
    let mut names = Vec::new();
    if let Some(domain) = &node.domain {
        names.push(("search", Yaml::texts([domain])));
    }
    if !network.dns().is_empty() {
        names.push(("addresses", Yaml::texts(network.dns())));
    }
    if !names.is_empty() {
        pairs.push(("nameservers", Yaml::Map(names)));
    }
    pairs
}
