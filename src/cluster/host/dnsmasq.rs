//! DHCP and DNS of the cluster's network for a host without libvirt: dnsmasq(8)'s configuration.
//!
//! The answers are the libvirt network's: libvirt runs dnsmasq, too.

use std::fmt::Write;

use crate::cluster::model::{Cluster, Mode};
use crate::cluster::node::names::{Named, names};

/// The configuration file. The bridge must exist, with the host's address, before dnsmasq starts.
pub(crate) fn dnsmasq_conf(cluster: &Cluster) -> String {
    let network = &cluster.network;
    let (cidr, domain) = (network.cidr, &cluster.domain);
    let range = match network.dhcp {
        Some(range) => format!("{},{},{}", range.first(), range.last(), cidr.mask()),
        None => format!("{},static,{}", cidr.first(), cidr.mask()),
    };
    let mut lines = vec![
        format!("# kbake: DHCP and DNS of cluster {}", cluster.name),
        format!("interface={}", network.bridge),
        // The host's own resolver keeps loopback, and other instances their interfaces.
        "except-interface=lo".to_owned(),
        "bind-interfaces".to_owned(),
        // The host's own /etc/hosts is not the cluster's.
        "no-hosts".to_owned(),
        format!("domain={domain}"),
    ];
    // dnsmasq asks no other server for unknown names in the domain.
    lines.extend(network.local_only.then(|| format!("local=/{domain}/")));
    lines.extend(["dhcp-authoritative".to_owned(), format!("dhcp-range={range}")]);
    match network.mode {
        // An empty router option: there is no default route.
        Mode::Isolated => lines.push("dhcp-option=option:router".to_owned()),
        Mode::Nat { .. } | Mode::Route { .. } | Mode::Open | Mode::Bridged => {
            lines.push(format!("dhcp-option=option:router,{}", network.gateway));
        }
    }
    let servers: String = network.dns.iter().map(|server| format!(",{server}")).collect();
    lines.push(format!("dhcp-option=option:dns-server{servers}"));
    lines.extend(network.mtu.map(|mtu| format!("dhcp-option=option:mtu,{mtu}")));
    lines.extend(cluster.nodes.iter().map(|node| format!("dhcp-host={},{},{}", node.mac, node.address, node.name)));
    lines.extend(names(cluster).iter().map(host_record));
    lines.iter().fold(String::new(), |mut text, line| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
        text
    })
}

fn host_record(named: &Named) -> String {
    format!("host-record={},{}", named.names.join(","), named.address)
}
