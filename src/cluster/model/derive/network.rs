//! The nodes' network, and the virtual ones of services and pods.

use std::net::Ipv4Addr;

use super::super::check::{Claim, Layer, refuse_repeats};
use super::super::spec::{ModeName, NetworkSpec, PodsSpec, ServicesSpec};
use super::super::{ClusterName, Interface, Mac, Mode, Net, Network, PodNetwork, Pods, ProxyMode, Range, Services};
use crate::common::document::{Located, Place};
use crate::common::error::{Error, Result};
use crate::common::value::derived_uuid;

/// Networks without machines ([RFC 6890](https://www.rfc-editor.org/rfc/rfc6890)), each with the reason.
const RESERVED: [(&str, &str); 5] = [
    ("0.0.0.0/8", "\"this\" network"),
    ("127.0.0.0/8", "every machine itself"),
    ("169.254.0.0/16", "link-local, where cloud-init looks for a cloud"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
];

/// The nodes' network. Claims its own addresses, the host's, the DHCP range and name servers.
pub(super) fn network(name: &ClusterName, spec: &NetworkSpec, claims: &mut Vec<Claim>) -> Result<Network> {
    let cidr = spec.cidr.value;
    if !(8..=29).contains(&cidr.prefix()) {
        return Err(spec
            .cidr
            .place
            .error(format!("a network of nodes has a prefix of 8 to 29 bits, this has {}", cidr.prefix()))
            .hint("24 bits give room for 253 machines"));
    }
    refuse_reserved(cidr, &spec.cidr.place)?;
    claims.push(net_claim("the nodes' network", cidr, &spec.cidr.place, None));
    for (owner, address) in [("the network's own address", cidr.first()), ("the network's broadcast address", cidr.last())] {
        claims.push(claim(spec, owner, &Located { value: address, place: spec.cidr.place.clone() })?);
    }
    let (host, gateway) = host(spec, claims)?;
    if let Some(dhcp) = &spec.dhcp {
        claims.push(range_claim(spec, "the DHCP range", dhcp)?);
    }
    let bridge = spec.bridge.as_ref().map_or_else(|| Interface::derived(name), |given| given.value.clone());
    if let Some(uplink) = spec.uplink.as_ref().filter(|uplink| uplink.value == bridge) {
        let error = uplink.place.error(format!("the uplink `{bridge}` is the network's own bridge"));
        return Err(error.hint("`uplink` is the host's interface to the outside, such as eth0"));
    }
    if let Some(mac) = &spec.mac {
        super::refuse_tap_mac(mac)?;
    }
    Ok(Network {
        uuid: derived_uuid("kbake libvirt network", name.as_str()),
        cidr,
        host,
        gateway,
        dns: name_servers(spec, [host, gateway], claims)?,
        bridge,
        // No node's name has a space.
        mac: spec.mac.as_ref().map_or_else(|| Mac::derived(name.as_str(), "the bridge"), |mac| mac.value),
        mode: mode(spec)?,
        mtu: spec.mtu,
        dhcp: spec.dhcp.as_ref().map(|dhcp| dhcp.value),
        local_only: mode(spec)? != Mode::Bridged && spec.local_only.as_ref().is_none_or(|given| given.value),
    })
}

/// The host's address, and the gateway's.
fn host(spec: &NetworkSpec, claims: &mut Vec<Claim>) -> Result<(Ipv4Addr, Ipv4Addr)> {
    if let Some(gateway) = &spec.gateway {
        claims.push(claim(spec, "the gateway", gateway)?);
        let Some(host) = &spec.host else { return Ok((gateway.value, gateway.value)) };
        claims.push(claim(spec, "the host", host)?);
        return Ok((host.value, gateway.value));
    }
    let Some(host) = &spec.host else {
        let cidr = spec.cidr.value;
        // A prefix of at most 29 has eight addresses at least.
        let host = Located { value: cidr.nth(1).unwrap_or(cidr.first()), place: spec.cidr.place.clone() };
        claims.push(Claim { default_of: Some("`host` in [network]"), ..claim(spec, "the host (by default)", &host)? });
        return Ok((host.value, host.value));
    };
    claims.push(claim(spec, "the host", host)?);
    Ok((host.value, host.value))
}

fn name_servers(spec: &NetworkSpec, [host, gateway]: [Ipv4Addr; 2], claims: &mut Vec<Claim>) -> Result<Vec<Ipv4Addr>> {
    if spec.dns.is_empty() {
        return Ok(vec![gateway]);
    }
    refuse_repeats(spec.dns.iter().map(|server| (server.value, format!("the name server {}", server.value), &server.place)))?;
    for server in spec.dns.iter().filter(|server| ![host, gateway].contains(&server.value)) {
        refuse_reserved_address("name server", server)?;
        claims.push(match spec.cidr.value.contains(server.value) {
            true => claim(spec, "the name server", server)?,
            false => Claim { layer: Layer::Networks, ..address_claim("the name server", Range::one(server.value), &server.place) },
        });
    }
    Ok(spec.dns.iter().map(|server| server.value).collect())
}

fn mode(spec: &NetworkSpec) -> Result<Mode> {
    let name = spec.mode.as_ref().map_or(ModeName::Nat, |mode| mode.value);
    let refused = |place: &Place, message: &str| {
        let error = place.error(message);
        Err(match &spec.mode {
            Some(mode) => mode.place.note(error, "the mode is here"),
            None => error.hint("without `mode` it is \"nat\""),
        })
    };
    if let (Some(ports), true) = (&spec.nat_ports, name != ModeName::Nat) {
        return refused(&ports.place, "`nat-ports` is only for mode = \"nat\"");
    }
    if let (Some(uplink), ModeName::Isolated | ModeName::Open | ModeName::Bridge) = (&spec.uplink, name) {
        return refused(&uplink.place, "`uplink` is only for mode = \"nat\" or \"route\"");
    }
    let uplink = spec.uplink.as_ref().map(|uplink| uplink.value.clone());
    Ok(match name {
        ModeName::Nat => Mode::Nat { uplink, ports: spec.nat_ports.as_ref().map(|ports| (ports.value.0, ports.value.1)) },
        ModeName::Route => Mode::Route { uplink },
        ModeName::Isolated => Mode::Isolated,
        ModeName::Open => Mode::Open,
        ModeName::Bridge => Mode::Bridged,
    })
}

/// The network of services. `is_used`: the cluster has more than etcd, so that defaults count.
pub(super) fn services(spec: &ServicesSpec, network: &NetworkSpec, is_used: bool, claims: &mut Vec<Claim>) -> Result<Services> {
    let (cidr, place) = given_or(spec.cidr.as_ref(), "10.96.0.0/16", &network.cidr.place)?;
    // kube-apiserver accepts IPv4 service networks of 12 bits and more.
    if !(12..=28).contains(&cidr.prefix()) {
        return Err(place.error(format!("a network of services has a prefix of 12 to 28 bits, this has {}", cidr.prefix())));
    }
    refuse_reserved(cidr, place)?;
    match spec.cidr {
        Some(_) => claims.push(net_claim("the service network", cidr, place, None)),
        None if is_used => claims.push(net_claim("the service network (by default)", cidr, place, Some("`cidr` in [services]"))),
        None => {}
    }
    if let Some(pool) = &spec.load_balancer {
        claims.push(range_claim(network, "the load-balancer pool", pool)?);
    }
    let domain = match &spec.domain {
        Some(domain) => domain.value.clone(),
        None => "cluster.local".parse().map_err(Error::internal)?,
    };
    Ok(Services {
        cidr,
        dns: cluster_dns(spec, cidr, place)?,
        domain,
        load_balancer: spec.load_balancer.as_ref().map(|pool| pool.value),
        proxy: spec.proxy.as_ref().map_or(ProxyMode::Nftables, |proxy| proxy.value),
    })
}

fn cluster_dns(spec: &ServicesSpec, cidr: Net, place: &Place) -> Result<Ipv4Addr> {
    let Some(dns) = &spec.dns else { return Ok(cidr.nth(10).unwrap_or(cidr.last())) };
    let why = match dns.value {
        address if !cidr.contains(address) => format!("it is outside the service network {cidr}"),
        address if address == cidr.first() => format!("that is the network address of {cidr}"),
        address if address == cidr.last() => format!("that is the broadcast address of {cidr}"),
        address if Some(address) == cidr.nth(1) => "that is always the service `kubernetes`, the API server's".to_owned(),
        address => return Ok(address),
    };
    let error = dns.place.error(format!("the cluster's DNS cannot be {}: {why}", dns.value));
    Err(place
        .note(error, &format!("{} is here", if spec.cidr.is_some() { "the service network" } else { "the nodes' network" }))
        .hint(format!("without `dns` it is {}", cidr.nth(10).unwrap_or(cidr.last()))))
}

/// The network of pods. `is_used`: as for services.
pub(super) fn pods(spec: &PodsSpec, network: &NetworkSpec, is_used: bool, claims: &mut Vec<Claim>) -> Result<Pods> {
    let (cidr, place) = given_or(spec.cidr.as_ref(), "10.244.0.0/16", &network.cidr.place)?;
    if !(8..=28).contains(&cidr.prefix()) {
        return Err(place.error(format!("a network of pods has a prefix of 8 to 28 bits, this has {}", cidr.prefix())));
    }
    refuse_reserved(cidr, place)?;
    match spec.cidr {
        Some(_) => claims.push(net_claim("the pod network", cidr, place, None)),
        None if is_used => claims.push(net_claim("the pod network (by default)", cidr, place, Some("`cidr` in [pods]"))),
        None => {}
    }
    let connected = spec.network.as_ref().map_or(PodNetwork::Bridge, |network| network.value);
    let Some(given) = &spec.node_prefix else {
        return Ok(Pods { cidr, node_prefix: cidr.prefix().max(24), network: connected });
    };
    // More than 16 bits between both are more shares than the controller manager accepts.
    let most = (cidr.prefix() + 16).min(28);
    match u8::try_from(given.value) {
        Ok(node_prefix) if (cidr.prefix()..=most).contains(&node_prefix) => Ok(Pods { cidr, node_prefix, network: connected }),
        _ => {
            let error = given.place.error(format!(
                "`node-prefix` is {}; a node's share of the pod network {cidr} has {} to {most} bits",
                given.value,
                cidr.prefix()
            ));
            Err(if spec.cidr.is_some() { place.note(error, "the pod network is here") } else { error })
        }
    }
}

/// Refuses a node's share of the pod network if kbake does not connect the pods.
pub(super) fn refuse_share(network: PodNetwork, place: &Place, spec: &PodsSpec) -> Result<()> {
    let PodNetwork::None = network else { return Ok(()) };
    let error = place.error("`pod-cidr` is only for network = \"bridge\" in [pods]");
    Err(match &spec.network {
        Some(network) => network.place.note(error, "`network` is here"),
        None => error,
    }
    .hint("with \"none\" the controller manager shares `cidr` out, in shares of `node-prefix` bits"))
}

/// The given value with its place, or the default, whose place is `fallback`.
fn given_or<'a>(given: Option<&'a Located<Net>>, default: &str, fallback: &'a Place) -> Result<(Net, &'a Place)> {
    match given {
        Some(given) => Ok((given.value, &given.place)),
        None => Ok((default.parse().map_err(Error::internal)?, fallback)),
    }
}

fn net_claim(owner: &str, net: Net, place: &Place, default_of: Option<&'static str>) -> Claim {
    Claim { layer: Layer::Networks, default_of, ..address_claim(owner, net.range(), place) }
}

fn address_claim(owner: &str, range: Range, place: &Place) -> Claim {
    Claim { owner: owner.to_owned(), range, place: place.clone(), layer: Layer::Addresses, default_of: None }
}

/// One address of the nodes' network.
pub(super) fn claim(spec: &NetworkSpec, owner: &str, address: &Located<Ipv4Addr>) -> Result<Claim> {
    range_claim(spec, owner, &Located { value: Range::one(address.value), place: address.place.clone() })
}

/// Addresses of the nodes' network; refused outside of it.
fn range_claim(spec: &NetworkSpec, owner: &str, range: &Located<Range>) -> Result<Claim> {
    if !spec.cidr.value.range().holds(range.value) {
        let error = range.place.error(format!("{owner} ({}) is outside the nodes' network {}", range.value, spec.cidr.value));
        return Err(spec.cidr.place.note(error, "the network is here"));
    }
    Ok(address_claim(owner, range.value, &range.place))
}

fn refuse_reserved(net: Net, place: &Place) -> Result<()> {
    match reserved(net.range())? {
        Some((other, why)) => Err(place
            .error(format!("no machine can have an address of {other} ({why}), and {net} has some"))
            .hint("private networks are 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16")),
        None => Ok(()),
    }
}

/// Refuses an address that no machine can have. `what`: its purpose, for the message.
pub(super) fn refuse_reserved_address(what: &str, address: &Located<Ipv4Addr>) -> Result<()> {
    match reserved(Range::one(address.value))? {
        Some((other, why)) => Err(address.place.error(format!("{} cannot be a {what}: {other} is {why}", address.value))),
        None => Ok(()),
    }
}

/// The reserved network that overlaps `range`.
pub(super) fn reserved(range: Range) -> Result<Option<(Net, &'static str)>> {
    for (net, why) in RESERVED {
        let net: Net = net.parse().map_err(Error::internal)?;
        if net.range().overlaps(range) {
            return Ok(Some((net, why)));
        }
    }
    Ok(None)
}
