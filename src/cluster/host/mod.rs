//! The host's side of a cluster: the virtual network, the machines, names and shares, as text for the host's tools.
//!
//! All of it follows from the cluster, from where files are, and from the accelerator. Nothing here is secret: a seed appears
//! as its path only.

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
mod table;
mod user_net;
mod xml;

#[cfg(test)]
mod tests;

pub(crate) use dnsmasq::dnsmasq_conf;
pub(crate) use exports::exports;
pub(crate) use hosts::hosts;
pub(crate) use inventory::inventory;
pub(crate) use known_hosts::{known_hosts, known_hosts_mark};
pub(crate) use libvirt_domain::{domain_name, domain_xml};
pub(crate) use libvirt_network::network_xml;
pub(crate) use place::{HostPath, MachineFiles};
pub(crate) use qemu::{Link, qemu_command};
pub(crate) use table::cluster_table;
pub(crate) use user_net::Forward;

/// Accelerator of the guest's CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accel {
    /// Linux's KVM.
    Kvm,
    /// macOS's Hypervisor framework.
    Hvf,
    /// QEMU itself, on any host: at least ten times slower.
    Emulated,
}

/// The CPU model of an emulated machine. Richer models have instructions that only cost time when they are emulated.
const EMULATED_CPU: &str = "qemu64";
