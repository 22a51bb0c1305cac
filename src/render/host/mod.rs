//! The host's side of a cluster: the virtual network, the machines, names and shares, as text for the host's tools.
//!
//! All of it follows from the cluster, where files are, and how machines are accelerated. Nothing in here is
//! secret: a seed appears as its path only.

mod dnsmasq;
mod exports;
mod hosts;
mod inventory;
mod known_hosts;
mod libvirt_domain;
mod libvirt_network;
mod place;
mod qemu;
mod shell;
mod user_net;

#[cfg(test)]
mod tests;

pub use dnsmasq::dnsmasq_conf;
pub use exports::exports;
pub use hosts::hosts;
pub use inventory::inventory;
pub use known_hosts::{known_hosts, known_hosts_mark};
pub use libvirt_domain::{domain_name, domain_xml};
pub use libvirt_network::network_xml;
pub use place::{HostPath, MachineFiles};
pub use qemu::{Link, qemu_command};
pub use user_net::Forward;

use super::names::{Named, names};

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
