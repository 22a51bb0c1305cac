//! The host's side of a cluster: the virtual network, the machines, names and shares, as text for the host's tools.
//!
//! All of it follows from the cluster, where files are, and how machines are accelerated. Nothing in here is
//! secret: a seed appears as its path only.

mod dnsmasq;
mod exports;
mod hosts;
mod inventory;
mod libvirt_domain;
mod libvirt_network;
mod place;
mod qemu;
mod shell;

#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

pub use dnsmasq::dnsmasq_conf;
pub use exports::exports;
pub use hosts::{HOSTS_BEGIN, HOSTS_END, hosts};
pub use inventory::inventory;
pub use libvirt_domain::{domain_name, domain_xml};
pub use libvirt_network::network_xml;
pub use place::{HostPath, MachineFiles};
pub use qemu::{Forward, Link, qemu_command};
pub use shell::quote;

use crate::cluster::{Cluster, Node};

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// Linux's KVM.
    Kvm,
    /// macOS's Hypervisor framework.
    Hvf,
    /// QEMU itself, on any host: ten times slower and more.
    Emulated,
}

/// The processor that an emulated machine gets. Richer kinds have instructions that only cost when they are emulated.
const EMULATED_CPU: &str = "qemu64";

/// An address and all its names, the full one first: that one answers when somebody asks for the address's name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    address: Ipv4Addr,
    names: Vec<String>,
}

/// Who must be found by name: the API server, then the nodes in their order. One entry per address: where the API
/// server has a node's own address, its names go with that node's.
fn names(cluster: &Cluster) -> Vec<Named> {
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

fn of_node(node: &Node) -> Named {
    Named { address: node.address, names: vec![node.fqdn.clone(), node.name.to_string()] }
}
