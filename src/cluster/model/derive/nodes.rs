//! The nodes: names from groups, addresses by order, everything else by role.

use std::net::Ipv4Addr;

use super::super::check::{Claim, Layer, refuse_duplicates, refuse_repeats};
use super::super::spec::{NetworkSpec, NodeSpec, host_name};
use super::super::{ClusterName, DataDisk, Domain, Firmware, HostName, Mac, Network, Node, Role};
use super::free::{self, Taken};
use super::network::claim;
use crate::common::document::{Located, Place};
use crate::common::error::{Error, Result};
use crate::common::value::{RoleName, Size, derived_uuid};

/// The offset of the first node's address, if there is room: below are routers and a narrow DHCP range.
const FIRST_NODE: u32 = 10;
/// The least memory of a node: with less it does not boot.
const MEMORY_MIN: Size = Size(256 << 20);
/// The virtual size of role images, the minimum for a disk over them.
const DISK_MIN: Size = Size(20 << 30);
/// The smallest second disk: ext4 with a journal and some room.
const DATA_MIN: Size = Size(64 << 20);
/// More than this is a wrong unit. For ext4 with 4 KiB blocks and 32-bit numbers it is the limit.
const SIZE_MAX: Size = Size(16 << 40);
/// A certificate's common name has 64 characters (RFC 5280, appendix A.1), and a kubelet's begins with `system:node:`.
const KUBELET_NAME_MAX: usize = 64 - "system:node:".len();

/// The most nodes of a cluster: twice what Kubernetes is tested with.
const NODES_MAX: usize = 10_000;

/// A node that is being derived: the written values, its index in its group, its name.
pub(super) struct Draft<'a> {
    pub(super) spec: &'a NodeSpec,
    /// 0 for the first of a group.
    pub(super) nth: u32,
    pub(super) name: HostName,
}

impl Draft<'_> {
    /// The node's owner text in messages.
    pub(super) fn owner(&self) -> String {
        format!("node `{}`", self.name)
    }
}

/// The nodes one by one, with their names.
pub(super) fn drafts(specs: &[NodeSpec]) -> Result<Vec<Draft<'_>>> {
    let mut drafts: Vec<Draft<'_>> = Vec::new();
    for spec in specs {
        check_kubelet_only(spec)?;
        if drafts.len() + spec.group.map_or(1, |(count, _)| count as usize) > NODES_MAX {
            return Err(spec
                .place
                .error(format!("more than {NODES_MAX} nodes from here on"))
                .hint("Kubernetes itself is made for up to 5000 nodes"));
        }
        let Some((count, first)) = spec.group else {
            drafts.push(Draft { spec, nth: 0, name: name(spec, None)? });
            continue;
        };
        if let (Some(mac), 2..) = (&spec.mac, count) {
            let error = mac.place.error(format!("{count} nodes cannot share one MAC"));
            return Err(spec.place.note(error, "the nodes are here").hint("leave `mac` out, or give each node a table of its own"));
        }
        for nth in 0..count {
            drafts.push(Draft { spec, nth, name: name(spec, Some(first + nth))? });
        }
    }
    Ok(drafts)
}

fn name(spec: &NodeSpec, number: Option<u32>) -> Result<HostName> {
    let name = host_name(&spec.name, number)?;
    let length = name.as_str().len();
    if spec.role.value.has_kubelet() && length > KUBELET_NAME_MAX {
        return Err(spec.name.place.error(format!(
            "the name `{name}` has {length} bytes; {KUBELET_NAME_MAX} are allowed, since `system:node:` and it are one name in its certificate"
        )));
    }
    Ok(name)
}

/// Refuses settings that only a kubelet uses.
fn check_kubelet_only(spec: &NodeSpec) -> Result<()> {
    if !spec.role.value.has_kubelet() {
        let label = spec.labels.first().map(|label| ("labels", &label.place));
        let taint = spec.taints.first().map(|taint| ("taints", &taint.place));
        let setting = spec.kubelet.values().next().map(|setting| ("settings of one", &setting.place));
        if let Some((what, place)) = label.or(taint).or(setting) {
            let error = place.error(format!("a node of role {} has no kubelet, so it cannot have {what}", spec.role.value));
            return Err(spec.role.place.note(error, "the role is here"));
        }
    }
    refuse_repeats(spec.taints.iter().map(|taint| {
        // Kubernetes tells taints apart by key and effect alone.
        let identity = taint.value.identity();
        (identity, format!("the taint of key `{}` and effect {}", identity.0, identity.1), &taint.place)
    }))?;
    let own = ("node-role.kubernetes.io/control-plane", "NoSchedule");
    match spec.taints.iter().find(|taint| spec.role.value == Role::ControlPlane && taint.value.identity() == own) {
        Some(taint) => Err(taint.place.error("this is the control plane's own taint, which kbake sets").hint("leave it out")),
        None => Ok(()),
    }
}

/// Refuses two nodes of one name.
pub(super) fn refuse_duplicate_names(drafts: &[Draft<'_>]) -> Result<()> {
    let owner = |draft: &Draft<'_>| match draft.spec.group {
        Some((count, _)) => format!("one of the {count} nodes `{}…`", draft.spec.name.value),
        None => format!("the node of role {}", draft.spec.role.value),
    };
    refuse_duplicates(drafts.iter().map(|draft| (Quoted(draft.name.as_str()), owner(draft), &draft.spec.name.place)), "name")
        .map_err(|error| error.hint("give each its own `name`; with `count`, numbers follow the name"))
}

/// A name as messages show it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Quoted<'a>(&'a str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

/// The nodes without their pods. Claims the addresses that were given.
pub(super) fn nodes(
    (cluster, domain): (&ClusterName, &Domain),
    drafts: &[Draft<'_>],
    network: &NetworkSpec,
    claims: &mut Vec<Claim>,
) -> Result<Vec<Node>> {
    let mut given = Vec::new();
    for draft in drafts {
        let address = draft.spec.address.as_ref().map(|first| forth(first, draft)).transpose()?;
        if let Some(address) = &address {
            claims.push(claim(network, &draft.owner(), address)?);
        }
        given.push(address.map(|address| address.value));
    }
    let taken = taken(drafts, claims);
    let cidr = network.cidr.value;
    let mut free = free::addresses(&taken, cidr, if cidr.prefix() <= 27 { FIRST_NODE } else { 1 });
    let whole = drafts.iter().zip(given).map(|(draft, given)| {
        let address = given.or_else(|| free.next()).ok_or_else(|| {
            let error = draft.spec.place.error(format!("no address is left in {cidr} for node `{}`", draft.name));
            network.cidr.place.note(error, "the network is here").hint("take a larger network, or a smaller DHCP range or pool")
        })?;
        node(cluster, domain, draft, address)
    });
    // Derived addresses are free by construction, so only given ones can collide.
    whole.collect()
}

/// All taken addresses: claims, and routers of routes.
fn taken(drafts: &[Draft<'_>], claims: &[Claim]) -> Taken {
    let claimed = claims.iter().filter(|claim| claim.layer == Layer::Addresses).map(|claim| claim.range);
    let routers = drafts.iter().filter(|draft| draft.nth == 0).flat_map(|draft| &draft.spec.routes);
    Taken::new(claimed.chain(routers.map(|route| super::Range::one(route.via.value))).collect())
}

/// A node's address in its group: the group's address is that of its first node; the others follow.
fn forth(given: &Located<Ipv4Addr>, draft: &Draft<'_>) -> Result<Located<Ipv4Addr>> {
    let value = given.value.to_bits().checked_add(draft.nth).map(Ipv4Addr::from);
    let value = value.ok_or_else(|| given.place.error(format!("there is no address left for node `{}`", draft.name)))?;
    Ok(Located { value, place: given.place.clone() })
}

fn node(cluster: &ClusterName, domain: &Domain, draft: &Draft<'_>, address: Ipv4Addr) -> Result<Node> {
    let spec = draft.spec;
    let role = spec.role.value;
    let (vcpus, memory) = usual(role);
    let image: RoleName = match &spec.image {
        Some(image) => image.clone(),
        None => role.as_str().parse().map_err(Error::internal)?,
    };
    if let Some(mac) = &spec.mac {
        super::refuse_tap_mac(mac)?;
    }
    let owner = format!("{cluster}/{}", draft.name);
    Ok(Node {
        fqdn: format!("{}.{domain}", draft.name),
        role,
        image,
        address,
        mac: spec.mac.as_ref().map_or_else(|| Mac::derived(cluster.as_str(), draft.name.as_str()), |mac| mac.value),
        uuid: derived_uuid("kbake machine", &owner),
        vcpus: spec.vcpus.unwrap_or(vcpus),
        memory: size(draft, "memory", spec.memory.as_ref(), MEMORY_MIN, memory)?,
        disk: size(draft, "disk", spec.disk.as_ref(), DISK_MIN, DISK_MIN)?,
        data: data_disk(draft)?,
        user_data: spec.user_data.as_ref().map(|file| file.value.clone()),
        firmware: spec.firmware.unwrap_or(Firmware::Bios),
        pods: None,
        routes: spec.routes.iter().map(|route| super::Route { to: route.to.value, via: route.via.value }).collect(),
        labels: spec.labels.iter().map(|label| label.value.clone()).collect(),
        taints: spec.taints.iter().map(|taint| taint.value.clone()).collect(),
        kubelet: spec.kubelet.clone(),
        name: draft.name.clone(),
    })
}

/// The second disk: a size and a mount point, or neither.
fn data_disk(draft: &Draft<'_>) -> Result<Option<DataDisk>> {
    match (&draft.spec.data_disk, &draft.spec.data_mount) {
        (None, None) => Ok(None),
        (Some(given), Some(mount)) => {
            let size = size(draft, "data-disk", Some(given), DATA_MIN, DATA_MIN)?;
            Ok(Some(DataDisk { size, mount: mount.value.clone() }))
        }
        (Some(size), None) => Err(size.place.error("`data-disk` needs `data-mount`").hint("as in `data-mount = \"/var/lib/etcd\"`")),
        (None, Some(mount)) => Err(mount.place.error("`data-mount` needs `data-disk`").hint("as in `data-disk = \"20 GiB\"`")),
    }
}

/// A given size within the limits, or the default.
fn size(draft: &Draft<'_>, what: &str, given: Option<&Located<Size>>, least: Size, default: Size) -> Result<Size> {
    let Some(given) = given else { return Ok(default) };
    let wrong = |why: String| Err(given.place.error(format!("`{what}` of node `{}` is {}; {why}", draft.name, given.value)));
    match given.value {
        size if size < least && what == "disk" => wrong(format!("the role's image under it has {least}")),
        size if size < least => wrong(format!("it takes {least} at least")),
        size if size > SIZE_MAX => wrong(format!("{SIZE_MAX} is the most")),
        // libvirt and QEMU count memory in MiB.
        Size(bytes) if bytes % (1 << 20) != 0 => wrong("it must be a whole number of MiB".to_owned()),
        size => Ok(size),
    }
}

/// Usual virtual processors and memory of a role.
fn usual(role: Role) -> (u32, Size) {
    match role {
        Role::Gateway => (1, Size(1 << 30)),
        Role::Etcd | Role::ControlPlane => (2, Size(2 << 30)),
        Role::Worker => (2, Size(4 << 30)),
    }
}

/// Refuses two interfaces of one MAC, the bridge's included.
pub(super) fn refuse_duplicate_macs(nodes: &[Node], drafts: &[Draft<'_>], network: &Network, spec: &NetworkSpec) -> Result<()> {
    let owner = |name: String, given: bool| if given { name } else { format!("{name} (derived)") };
    let bridge_place: &Place = spec.mac.as_ref().map_or(&spec.cidr.place, |mac| &mac.place);
    let bridge = (network.mac, owner("the bridge".to_owned(), spec.mac.is_some()), bridge_place);
    let nodes = nodes.iter().zip(drafts).map(|(node, draft)| {
        let place = draft.spec.mac.as_ref().map_or(&draft.spec.place, |mac| &mac.place);
        (node.mac, owner(draft.owner(), draft.spec.mac.is_some()), place)
    });
    refuse_duplicates(std::iter::once(bridge).chain(nodes), "MAC").map_err(|error| {
        error.hint("leave `mac` out, and it is derived from the names; if two derived ones collide, give one node a `mac`, or another name")
    })
}
