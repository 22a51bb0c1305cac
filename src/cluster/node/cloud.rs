//! The documents of a node's seed: cloud-init's user-data, meta-data and network-config (version 2).
//!
//! Only settings that cloud-init applies before ordinary services start are used: names, keys, `write_files`. `runcmd` and
//! `packages` come after multi-user.target, far too late, and stay out.

use std::net::Ipv4Addr;

use secrecy::SecretString;

use super::additions::{self, Additions};
use super::secret::{Secret, private_document};
use super::{NodeFile, data_disk};
use crate::cluster::model::{Cluster, Node, Role};
use crate::common::error::Result;
use crate::common::value::{Hasher, Sha256};
use crate::common::yaml::Yaml;

/// The interface's name in network-config, which matches it by MAC.
const INTERFACE: &str = "primary";

/// The name that the interface is renamed to at each start. systemd's own name follows the bus: it would change with the
/// hypervisor, and cloud-init writes the name into the configuration once only. The kernel never assigns this name, so there is
/// no conflict.
const NAME: &str = "lan0";

/// The number of hexadecimal digits of a digest that identify a seed's content.
pub(crate) const ID_DIGITS: usize = 16;

/// A node's SSH host key.
#[derive(Clone, Copy)]
pub(crate) struct HostKey<'a> {
    /// The private half, in OpenSSH's format.
    pub private: &'a SecretString,
    /// The public half: type and key.
    pub public: &'a str,
}

/// The contents of files that the cluster file names, for one node.
#[derive(Default)]
pub(crate) struct NamedFiles {
    /// Certificates of authorities that the node trusts, one PEM block each.
    pub authorities: Vec<String>,
    /// Additions to its user-data.
    pub additions: Option<Additions>,
}

/// The user-data: a `#cloud-config` document with names, login keys, the node's host key, and its own `files`; with the user's
/// additions, if there are any.
///
/// # Errors
/// Additions that write one of the `files`.
pub(crate) fn user_data(
    cluster: &Cluster,
    node: &Node,
    files: &[NodeFile],
    host_key: HostKey<'_>,
    named: &NamedFiles,
) -> Result<SecretString> {
    let own = cloud_config(cluster, node, files, host_key, !named.authorities.is_empty());
    let Some(additions) = &named.additions else { return Ok(own) };
    additions.refuse_duplicates(files)?;
    Ok(additions::joined(&own, additions))
}

fn cloud_config(cluster: &Cluster, node: &Node, files: &[NodeFile], host_key: HostKey<'_>, authorities: bool) -> SecretString {
    let mut pairs = vec![("hostname", Yaml::text(&node.name)), ("fqdn", Yaml::text(&node.fqdn))];
    if !cluster.ssh_keys.is_empty() {
        pairs.push(("ssh_authorized_keys", Yaml::texts(&cluster.ssh_keys)));
    }
    pairs.extend(data_disk::boot_commands(node).map(|commands| ("bootcmd", commands)));
    if authorities {
        // The module needs at least one key. It installs the certificates among the files where programs look for them.
        pairs.push(("ca_certs", Yaml::Map(vec![("remove_defaults", Yaml::Bool(false))])));
    }
    // cloud-init removes the host keys of the previous instance and, with these, generates none.
    let host_key = vec![("ed25519_private", Yaml::Leaf(Secret::Text(host_key.private))), ("ed25519_public", Yaml::text(host_key.public))];
    pairs.push(("ssh_keys", Yaml::Map(host_key)));
    pairs.push(("write_files", Yaml::List(files.iter().map(NodeFile::as_yaml).collect())));
    private_document("#cloud-config\n", &Yaml::Map(pairs))
}

/// The meta-data: the host name, and an instance id derived from the whole seed.
///
/// A changed seed is a new instance, and cloud-init applies it on the next boot; an unchanged one is not applied twice. The id
/// is a digest of digests, of which `user_data` is that of the whole document: the keys in it are too long to be guessed from
/// the digest.
///
/// With `dsmode: local` cloud-init applies the whole seed in its first stage, before the network, and its second stage has
/// nothing left to do: nothing in a seed is on the network. The image then skips the second stage.
///
/// `kbake-cluster` is not a key of cloud-init: kbake reads it to identify a seed's cluster before it replaces the file.
pub(crate) fn meta_data(cluster: &Cluster, node: &Node, user_data: Sha256, network_config: &str) -> String {
    let mut hasher = Hasher::new();
    for part in [user_data, Sha256::of(network_config)] {
        hasher.update(part.to_string().as_bytes());
    }
    let digest = hasher.finish().to_string();
    let id = format!("{}-{}", node.name, &digest[..ID_DIGITS]);
    Yaml::Map(vec![
        ("instance-id", Yaml::text(id)),
        ("local-hostname", Yaml::text(&node.name)),
        ("dsmode", Yaml::text("local")),
        ("kbake-cluster", Yaml::text(&cluster.name)),
    ])
    .document()
}

/// The network configuration, version 2 (netplan's syntax) as far as the networkd renderer of Debian 12's cloud-init (22.4.2)
/// supports it.
///
/// Routes are here, not in commands, so that they survive reboots. The node's own address is the first one: the gateway with
/// the API's virtual address still uses its own as the source of connections.
pub(crate) fn network_config(cluster: &Cluster, node: &Node) -> String {
    let network = &cluster.network;
    let mut addresses = vec![format!("{}/{}", node.address, network.cidr.prefix())];
    addresses.extend(virtual_address(cluster, node).map(|address| format!("{address}/32")));
    let mut device = vec![
        ("match", Yaml::Map(vec![("macaddress", Yaml::text(node.mac))])),
        ("set-name", Yaml::text(NAME)),
        ("dhcp4", Yaml::Bool(false)),
        ("addresses", Yaml::texts(addresses)),
        ("routes", Yaml::List(routes(cluster, node))),
        ("nameservers", Yaml::Map(vec![("search", Yaml::texts([&cluster.domain])), ("addresses", Yaml::texts(&network.dns))])),
    ];
    if let Some(mtu) = network.mtu {
        device.push(("mtu", Yaml::Int(mtu.into())));
    }
    let ethernets = Yaml::Named(INTERFACE.to_owned(), Box::new(Yaml::Map(device)));
    Yaml::Map(vec![("version", Yaml::Int(2)), ("ethernets", ethernets)]).document()
}

/// The API's virtual address, if `node` has it beside its own.
fn virtual_address(cluster: &Cluster, node: &Node) -> Option<Ipv4Addr> {
    let api = cluster.api.as_ref().filter(|api| api.is_vip)?;
    // The check allows exactly one gateway for a virtual address.
    api.address.filter(|_| node.role == Role::Gateway)
}

/// The default route, then those to pods and the node's own.
///
/// An isolated network has the default route, too: Kubernetes uses its interface as the node's. `to: default` is newer than
/// Debian 12's cloud-init, and `gateway4` is deprecated in later ones.
fn routes(cluster: &Cluster, node: &Node) -> Vec<Yaml<'static>> {
    let route = |to: String, via| Yaml::Map(vec![("to", Yaml::text(to)), ("via", Yaml::text(via))]);
    let first = route("0.0.0.0/0".to_owned(), cluster.network.gateway);
    let others = cluster.routes(node).into_iter().map(|other| route(other.to.to_string(), other.via));
    std::iter::once(first).chain(others).collect()
}
