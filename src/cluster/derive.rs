//! From what was written to the whole: defaults, addresses by order, MACs and UUIDs by name.
//!
//! Every derived value depends on names, on the order of the nodes and on nothing else, so that it is the same on
//! every host, and stays when unrelated lines change.

use std::net::Ipv4Addr;

use super::check::{Claim, Layer, refuse_overlaps, refuse_twins};
use super::spec::{ApiSpec, ModeName, NetworkSpec, NodeSpec, PodsSpec, ServicesSpec, Spec, host_name};
use super::{
    Api, ApiName, Cluster, ClusterName, Domain, Export, Firmware, HostName, Interface, Mac, Mode, Net, Network, Node, Pods, Range, Role,
    Services,
};
use crate::document::{Located, Place};
use crate::error::{Error, Result};
use crate::value::{Guid, RoleName, Size};

/// The port of the API server.
const API_PORT: u16 = 6443;
/// How far from the network's start the nodes' addresses begin where there is room: below are routers and a narrow
/// DHCP range.
const FIRST_NODE: u32 = 10;
/// What nodes may at least have: less does not boot.
const MEMORY_MIN: Size = Size(256 << 20);
/// The virtual size of role images, below which a disk over them cannot go.
const DISK_MIN: Size = Size(20 << 30);

/// One node on its way: what was written, its place in its group, its names.
struct Draft<'a> {
    spec: &'a NodeSpec,
    /// 0 for the first of a group.
    nth: u32,
    name: HostName,
}

/// The cluster that a file means.
pub(super) fn resolve(file: &str, spec: Spec) -> Result<Cluster> {
    let name = spec.name.value;
    let domain = match spec.domain {
        Some(domain) => domain,
        // Reserved for private use by ICANN in 2024; `.local` is multicast DNS's.
        None => format!("{name}.internal").parse().map_err(|why: String| spec.name.place.error(why))?,
    };
    let mut claims = Vec::new();
    let network = network(&name, &spec.network, &mut claims)?;
    let drafts = drafts(&spec.nodes)?;
    let services = services(&spec.services, &spec.network, &mut claims)?;
    let pods = pods(&spec.pods, &spec.network, &mut claims)?;
    if let Some(vip) = &spec.api.vip {
        claims.push(claim(&spec.network, "the API's virtual address", vip)?);
    }
    let mut nodes = nodes(&name, &domain, &drafts, &spec.network, &mut claims)?;
    shares(&mut nodes, &drafts, &pods, &mut claims)?;
    refuse_twin_macs(&nodes, &drafts, &network, &spec.network)?;
    for (node, draft) in nodes.iter().zip(&drafts) {
        for route in &draft.spec.routes {
            if !network.cidr.contains(route.value.via) || route.value.via == node.address {
                return Err(route.place.error(format!(
                    "`{}` cannot go through {}: a route's next hop is another machine in the nodes' network {}",
                    node.name, route.value.via, network.cidr
                )));
            }
        }
    }
    let api = api(&spec.api, &nodes)?;
    refuse_twin_names(&drafts, api.as_ref(), &spec.api)?;
    let exports = spec
        .exports
        .into_iter()
        .map(|(path, options)| Export { path, options: options.unwrap_or_else(|| "rw,sync,root_squash,no_subtree_check".to_owned()) });
    Ok(Cluster {
        file: file.to_owned(),
        domain,
        arch: spec.arch,
        channel: match spec.channel {
            Some(channel) => channel,
            None => "debian".parse().map_err(Error::internal)?,
        },
        network,
        api,
        services,
        pods,
        nodes,
        ssh_keys: spec.ssh_keys,
        exports: exports.collect(),
        validity: spec.validity,
        name,
        checked: refuse_overlaps(&claims)?,
    })
}

fn network(name: &ClusterName, spec: &NetworkSpec, claims: &mut Vec<Claim>) -> Result<Network> {
    let cidr = spec.cidr.value;
    if !(8..=29).contains(&cidr.prefix()) {
        return Err(spec.cidr.place.error(format!("a network of nodes has a prefix of 8 to 29 bits, this has {}", cidr.prefix())));
    }
    let host = match &spec.host {
        Some(host) => host.clone(),
        // A prefix of at most 29 has eight addresses at least.
        None => Located { value: cidr.nth(1).unwrap_or(cidr.first()), place: spec.cidr.place.clone() },
    };
    claims.push(Claim {
        owner: "the nodes' network".to_owned(),
        range: cidr.range(),
        place: spec.cidr.place.clone(),
        layer: Layer::Networks,
    });
    for (owner, address) in [("the network's own address", cidr.first()), ("the network's broadcast address", cidr.last())] {
        claims.push(Claim { owner: owner.to_owned(), range: Range::one(address), place: spec.cidr.place.clone(), layer: Layer::Addresses });
    }
    claims.push(claim(spec, "the host", &host)?);
    if let Some(dhcp) = &spec.dhcp {
        claims.push(range_claim(spec, "the DHCP range", dhcp)?);
    }
    Ok(Network {
        uuid: Guid::derived("kbake libvirt network", name.as_str()),
        cidr,
        host: host.value,
        dns: match spec.dns.is_empty() {
            true => vec![host.value],
            false => spec.dns.iter().map(|server| server.value).collect(),
        },
        bridge: spec.bridge.clone().unwrap_or_else(|| Interface::derived(name)),
        // No node's name has a space.
        mac: spec.mac.as_ref().map_or_else(|| Mac::derived(name.as_str(), "the bridge"), |mac| mac.value),
        mode: mode(spec)?,
        mtu: spec.mtu,
        dhcp: spec.dhcp.as_ref().map(|dhcp| dhcp.value),
    })
}

fn mode(spec: &NetworkSpec) -> Result<Mode> {
    let name = spec.mode.as_ref().map_or(ModeName::Nat, |mode| mode.value);
    let uplink = spec.uplink.as_ref().map(|uplink| uplink.value.clone());
    let ports = spec.nat_ports.as_ref().map(|ports| (ports.value.0, ports.value.1));
    if let (Some(ports), true) = (&spec.nat_ports, name != ModeName::Nat) {
        return Err(ports.place.error("`nat-ports` means something with mode = \"nat\" only"));
    }
    if let (Some(uplink), ModeName::Isolated | ModeName::Open) = (&spec.uplink, name) {
        return Err(uplink.place.error("`uplink` means something with mode \"nat\" or \"route\" only"));
    }
    Ok(match name {
        ModeName::Nat => Mode::Nat { uplink, ports },
        ModeName::Route => Mode::Route { uplink },
        ModeName::Isolated => Mode::Isolated,
        ModeName::Open => Mode::Open,
    })
}

/// One address of the nodes' network.
fn claim(spec: &NetworkSpec, owner: &str, address: &Located<Ipv4Addr>) -> Result<Claim> {
    range_claim(spec, owner, &Located { value: Range::one(address.value), place: address.place.clone() })
}

/// Addresses of the nodes' network; refused when they are outside of it.
fn range_claim(spec: &NetworkSpec, owner: &str, range: &Located<Range>) -> Result<Claim> {
    if !spec.cidr.value.range().holds(range.value) {
        let error = range.place.error(format!("{owner} ({}) is outside the nodes' network {}", range.value, spec.cidr.value));
        return Err(spec.cidr.place.note(error, "the network is here"));
    }
    Ok(Claim { owner: owner.to_owned(), range: range.value, place: range.place.clone(), layer: Layer::Addresses })
}

/// A network beside the nodes' one.
fn net_claim(owner: &str, given: Option<&Located<Net>>, value: Net, fallback: &Place) -> Claim {
    let (owner, place) = match given {
        Some(given) => (owner.to_owned(), given.place.clone()),
        None => (format!("{owner} (by default)"), fallback.clone()),
    };
    Claim { owner, range: value.range(), place, layer: Layer::Networks }
}

fn services(spec: &ServicesSpec, network: &NetworkSpec, claims: &mut Vec<Claim>) -> Result<Services> {
    let cidr = given_or(spec.cidr.as_ref(), "10.96.0.0/16")?;
    let place = spec.cidr.as_ref().map_or(&network.cidr.place, |cidr| &cidr.place);
    // kube-apiserver takes IPv4 service networks of 12 bits and more.
    if !(12..=28).contains(&cidr.prefix()) {
        return Err(place.error(format!("a network of services has a prefix of 12 to 28 bits, this has {}", cidr.prefix())));
    }
    claims.push(net_claim("the service network", spec.cidr.as_ref(), cidr, &network.cidr.place));
    let dns = match &spec.dns {
        None => cidr.nth(10).unwrap_or(cidr.last()),
        Some(dns) if dns.value == cidr.first() || dns.value == cidr.last() || Some(dns.value) == cidr.nth(1) => {
            return Err(dns.place.error(format!("the cluster's DNS cannot be {}: that address of {cidr} is taken", dns.value)));
        }
        Some(dns) if !cidr.contains(dns.value) => {
            return Err(dns.place.error(format!("the cluster's DNS {} is outside the service network {cidr}", dns.value)));
        }
        Some(dns) => dns.value,
    };
    if let Some(pool) = &spec.load_balancer {
        claims.push(range_claim(network, "the load-balancer pool", pool)?);
    }
    let domain = match &spec.domain {
        Some(domain) => domain.clone(),
        None => "cluster.local".parse().map_err(Error::internal)?,
    };
    Ok(Services { cidr, dns, domain, load_balancer: spec.load_balancer.as_ref().map(|pool| pool.value) })
}

fn pods(spec: &PodsSpec, network: &NetworkSpec, claims: &mut Vec<Claim>) -> Result<Pods> {
    let cidr = given_or(spec.cidr.as_ref(), "10.244.0.0/16")?;
    claims.push(net_claim("the pod network", spec.cidr.as_ref(), cidr, &network.cidr.place));
    let place = spec.node_prefix.as_ref().map(|given| &given.place).or(spec.cidr.as_ref().map(|given| &given.place));
    let node_prefix = match &spec.node_prefix {
        Some(given) => given.value as u8,
        None => cidr.prefix().max(24),
    };
    // The controller manager's limit between both.
    if node_prefix < cidr.prefix() || node_prefix - cidr.prefix() > 16 || node_prefix > 30 {
        return Err(place.unwrap_or(&network.cidr.place).error(format!(
            "a node's share of {node_prefix} bits does not go with the pod network {cidr}: it takes {} to {} bits",
            cidr.prefix(),
            (cidr.prefix() + 16).min(30)
        )));
    }
    Ok(Pods { cidr, node_prefix })
}

fn given_or(given: Option<&Located<Net>>, default: &str) -> Result<Net> {
    match given {
        Some(given) => Ok(given.value),
        None => default.parse().map_err(Error::internal),
    }
}

/// The nodes one by one, with their names.
fn drafts(specs: &[NodeSpec]) -> Result<Vec<Draft<'_>>> {
    let mut drafts = Vec::new();
    for spec in specs {
        let Some((count, first)) = spec.group else {
            drafts.push(Draft { spec, nth: 0, name: host_name(&spec.name, None)? });
            continue;
        };
        if let (Some(mac), 2..) = (&spec.mac, count) {
            return Err(mac.place.error(format!("{count} nodes cannot share one MAC; leave it out, or give each node a table of its own")));
        }
        for nth in 0..count {
            drafts.push(Draft { spec, nth, name: host_name(&spec.name, Some(first + nth))? });
        }
    }
    Ok(drafts)
}

fn nodes(
    cluster: &ClusterName,
    domain: &Domain,
    drafts: &[Draft<'_>],
    network: &NetworkSpec,
    claims: &mut Vec<Claim>,
) -> Result<Vec<Node>> {
    let mut addresses = Vec::new();
    for draft in drafts {
        let given = draft.spec.address.as_ref().map(|given| forth(given, draft)).transpose()?;
        if let Some(address) = &given {
            claims.push(claim(network, &format!("node `{}`", draft.name), address)?);
        }
        addresses.push(given.map(|address| address.value));
    }
    let mut free = Free::new(network, claims);
    let mut nodes = Vec::new();
    for (draft, given) in drafts.iter().zip(addresses) {
        let address = match given {
            Some(address) => address,
            None => free.next().ok_or_else(|| {
                let error = draft.spec.place.error(format!("no address is left in {} for node `{}`", network.cidr.value, draft.name));
                network.cidr.place.note(error, "the network is here").hint("take a larger network, or a smaller DHCP range or pool")
            })?,
        };
        nodes.push(node(cluster, domain, draft, address)?);
    }
    // Derived addresses are free by construction, so only given ones can collide.
    Ok(nodes)
}

/// A group's address is that of its first node; the others follow.
fn forth(given: &Located<Ipv4Addr>, draft: &Draft<'_>) -> Result<Located<Ipv4Addr>> {
    let value = given.value.to_bits().checked_add(draft.nth).map(Ipv4Addr::from);
    let value = value.ok_or_else(|| given.place.error(format!("there is no address left for node `{}`", draft.name)))?;
    Ok(Located { value, place: given.place.clone() })
}

/// The addresses that nobody has claimed, from [`FIRST_NODE`] up.
struct Free {
    next: Ipv4Addr,
    last: Ipv4Addr,
    taken: Vec<Range>,
}

impl Free {
    fn new(network: &NetworkSpec, claims: &[Claim]) -> Self {
        let cidr = network.cidr.value;
        let start = if cidr.prefix() <= 27 { FIRST_NODE } else { 1 };
        let mut taken: Vec<Range> = claims.iter().filter(|claim| claim.layer == Layer::Addresses).map(|claim| claim.range).collect();
        taken.extend(network.dns.iter().map(|server| Range::one(server.value)));
        Free { next: cidr.nth(start).unwrap_or(cidr.last()), last: cidr.last(), taken }
    }
}

impl Iterator for Free {
    type Item = Ipv4Addr;

    fn next(&mut self) -> Option<Ipv4Addr> {
        loop {
            let candidate = self.next;
            // The last address is the broadcast's, so there is always one after a candidate.
            if candidate >= self.last {
                return None;
            }
            let blocker = self.taken.iter().find(|range| range.overlaps(Range::one(candidate)));
            self.next = (blocker.map_or(candidate, |range| range.last()).to_bits().saturating_add(1)).into();
            if blocker.is_none() {
                return Some(candidate);
            }
        }
    }
}

fn node(cluster: &ClusterName, domain: &Domain, draft: &Draft<'_>, address: Ipv4Addr) -> Result<Node> {
    let spec = draft.spec;
    let role = spec.role.value;
    let at_least = |given: &Option<Located<Size>>, what: &str, least: Size, default: Size| match given {
        Some(given) if given.value < least => {
            Err(given.place.error(format!("`{what}` of node `{}` is {}; it takes {least} at least", draft.name, given.value)))
        }
        Some(given) if given.value.0 % (1 << 20) != 0 => {
            Err(given.place.error(format!("`{what}` of node `{}` must be a whole number of MiB", draft.name)))
        }
        Some(given) => Ok(given.value),
        None => Ok(default),
    };
    let (vcpus, memory) = usual(role);
    let image: RoleName = match &spec.image {
        Some(image) => image.clone(),
        None => role.as_str().parse().map_err(Error::internal)?,
    };
    let owner = format!("{cluster}/{}", draft.name);
    Ok(Node {
        fqdn: format!("{}.{domain}", draft.name),
        role,
        image,
        address,
        mac: spec.mac.as_ref().map_or_else(|| Mac::derived(cluster.as_str(), draft.name.as_str()), |mac| mac.value),
        uuid: Guid::derived("kbake machine", &owner),
        vcpus: spec.vcpus.unwrap_or(vcpus),
        memory: at_least(&spec.memory, "memory", MEMORY_MIN, memory)?,
        disk: at_least(&spec.disk, "disk", DISK_MIN, DISK_MIN)?,
        firmware: spec.firmware.unwrap_or(Firmware::Bios),
        pods: None,
        routes: spec.routes.iter().map(|route| route.value).collect(),
        labels: spec.labels.clone(),
        taints: spec.taints.clone(),
        name: draft.name.clone(),
    })
}

/// Virtual processors and memory that a role does well with.
fn usual(role: Role) -> (u32, Size) {
    match role {
        Role::Gateway => (1, Size(1 << 30)),
        Role::Etcd | Role::ControlPlane => (2, Size(2 << 30)),
        Role::Worker => (2, Size(4 << 30)),
    }
}

/// Gives each kubelet its share of the pod network: what was written, else the first free one.
fn shares(nodes: &mut [Node], drafts: &[Draft<'_>], pods: &Pods, claims: &mut Vec<Claim>) -> Result<()> {
    let mut taken: Vec<Range> = Vec::new();
    for (node, draft) in nodes.iter_mut().zip(drafts) {
        let Some(given) = &draft.spec.pods else { continue };
        if !node.role.has_kubelet() {
            return Err(given.place.error(format!("node `{}` runs no pods: a {} has no kubelet", node.name, node.role)));
        }
        let share = given.value.forth(draft.nth).filter(|share| pods.cidr.contains_net(*share));
        let share = share
            .ok_or_else(|| given.place.error(format!("the pods of node `{}` are outside the pod network {}", node.name, pods.cidr)))?;
        claims.push(Claim {
            owner: format!("the pods of node `{}`", node.name),
            range: share.range(),
            place: given.place.clone(),
            layer: Layer::Shares,
        });
        taken.push(share.range());
        node.pods = Some(share);
    }
    let mut n = 0;
    for (node, draft) in nodes.iter_mut().zip(drafts).filter(|(node, _)| node.role.has_kubelet()) {
        while node.pods.is_none() {
            let share = pods.cidr.subnet(pods.node_prefix, n).ok_or_else(|| {
                draft.spec.place.error(format!(
                    "the pod network {} holds {n} shares of {} bits, none for node `{}`",
                    pods.cidr, pods.node_prefix, node.name
                ))
            })?;
            n += 1;
            if !taken.iter().any(|range| range.overlaps(share.range())) {
                node.pods = Some(share);
            }
        }
    }
    Ok(())
}

fn refuse_twin_macs(nodes: &[Node], drafts: &[Draft<'_>], network: &Network, spec: &NetworkSpec) -> Result<()> {
    let bridge = (network.mac, "the bridge".to_owned(), spec.mac.as_ref().map_or(&spec.cidr.place, |mac| &mac.place));
    let nodes = nodes.iter().zip(drafts).map(|(node, draft)| {
        let place = draft.spec.mac.as_ref().map_or(&draft.spec.place, |mac| &mac.place);
        (node.mac, format!("node `{}`", node.name), place)
    });
    refuse_twins(std::iter::once(bridge).chain(nodes), "MAC")
        .map_err(|error| error.hint("each interface needs its own: leave `mac` out, and it is derived from the names"))
}

fn refuse_twin_names(drafts: &[Draft<'_>], api: Option<&Api>, spec: &ApiSpec) -> Result<()> {
    let nodes = drafts.iter().map(|draft| (draft.name.as_str(), format!("a node ({})", draft.spec.role.value), &draft.spec.name.place));
    refuse_twins(nodes, "name")?;
    let Some(ApiName::Short(name)) = api.map(|api| &api.name) else { return Ok(()) };
    let Some(twin) = drafts.iter().find(|draft| draft.name == *name) else { return Ok(()) };
    let error = twin.spec.name.place.error(format!("node `{name}` has the API server's name"));
    Err(match &spec.name {
        Some(given) => given.place.note(error, "the API server's name is here"),
        None => error.hint("call the node otherwise, or the API server, by `name` in [api]"),
    })
}

fn api(spec: &ApiSpec, nodes: &[Node]) -> Result<Option<Api>> {
    let of = |role: Role| nodes.iter().filter(move |node| node.role == role);
    let (control, gateways) = (of(Role::ControlPlane).count(), of(Role::Gateway).count());
    if spec.place.is_none() && control == 0 && gateways == 0 && of(Role::Worker).count() == 0 {
        return Ok(None);
    }
    let name = match &spec.name {
        Some(name) => name.value.clone(),
        None => ApiName::Short("kubernetes".parse().map_err(Error::internal)?),
    };
    let port = spec.port.unwrap_or(API_PORT);
    if let Some(vip) = &spec.vip {
        return match gateways {
            1 => Ok(Some(Api { name, address: Some(vip.value), is_vip: true, port })),
            0 => Err(vip.place.error("the API's virtual address lies on a node of role gateway, and there is none")),
            many => Err(vip.place.error(format!("{many} nodes of role gateway cannot share one virtual address"))),
        };
    }
    if matches!(name, ApiName::Full(_)) {
        return Ok(Some(Api { name, address: None, is_vip: false, port }));
    }
    let front = match (gateways, control) {
        (1, _) => of(Role::Gateway).next(),
        (0, 1) => of(Role::ControlPlane).next(),
        _ => None,
    };
    let Some(front) = front else {
        let (place, node) = (spec.place.as_ref(), nodes.first());
        let message = format!("nothing stands before {control} control-plane nodes with {gateways} gateways");
        let error = place.map_or_else(|| Error::user(&message), |place| place.error(&message));
        let who = node.map_or_else(String::new, |node| format!(" (nodes such as `{}` would not find the API server)", node.name));
        return Err(error
            .detail(format!("there must be one address for the API server{who}"))
            .hint("add one node of role gateway, or give `name` in [api] a full DNS name that is known elsewhere"));
    };
    Ok(Some(Api { name, address: Some(front.address), is_vip: false, port }))
}
