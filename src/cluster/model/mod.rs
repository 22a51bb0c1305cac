//! The machines of a cluster with their names, addresses and keys: `cluster.toml` as a value, complete and valid.
//!
//! Pure: text in, typed values out. Omitted values are derived, always in the same way; contradictions are refused, naming both
//! sides with their places. A [`Cluster`] is valid by construction.

mod check;
mod choice;
mod data;
mod derive;
mod label;
mod mac;
mod name;
mod net;
mod settings;
mod site;
mod spec;
mod ssh;
mod warn;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

pub(crate) use choice::{PodNetwork, ProxyMode};
pub(crate) use data::{DataDisk, DataMount};
pub(crate) use label::{LabelKey, LabelValue, Taint};
pub(crate) use mac::Mac;
pub(crate) use name::{ApiName, Bridge, ClusterName, Domain, HostName, Interface};
pub(crate) use net::{Net, Range};
pub(crate) use settings::{Component, Preset, Settings};
pub(crate) use site::{HostRef, Mirror, Proxy, Registry, Site, WebUrl};
pub(crate) use ssh::SshKey;

use crate::common::document::{self, Table};
use crate::common::error::{Error, Result};
use crate::common::value::{Arch, RoleName, Size, Uuid};
use crate::spec::recipe::ChannelName;

/// A cluster: every value given or derived, and no two in contradiction.
///
/// Only [`Cluster::read`] makes one. The fields are public for reading.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The file's name, for messages.
    pub file: String,
    /// The cluster's name. It also names the libvirt network, the private folder and entries in kubeconfigs.
    pub name: ClusterName,
    /// The DNS domain of its nodes.
    pub domain: Domain,
    /// The machines' architecture.
    pub arch: Arch,
    /// The channel of its images' packages.
    pub channel: ChannelName,
    /// The network that all nodes are on.
    pub network: Network,
    /// The API server's endpoint; none in a cluster of etcd members only.
    pub api: Option<Api>,
    /// The virtual network of services.
    pub services: Services,
    /// The network of pods.
    pub pods: Pods,
    /// The nodes, in the order of the file.
    pub nodes: Vec<Node>,
    /// The keys that may log in to the nodes.
    pub ssh_keys: Vec<SshKey>,
    /// Folders of the host that the nodes may mount by NFS.
    pub exports: Vec<Export>,
    /// The validity of new certificates.
    pub validity: Validity,
    /// The site's settings that nodes get.
    pub site: Site,
    /// Its own settings of Kubernetes' programs.
    pub settings: Settings,
    /// Proof that only the check can give.
    #[expect(dead_code, reason = "its presence is the proof")]
    checked: check::Passed,
}

/// The libvirt network or its substitute.
#[derive(Debug, Clone)]
pub struct Network {
    /// Its identity for libvirt.
    pub uuid: Uuid,
    /// Its addresses.
    pub cidr: Net,
    /// The host's address in it. On a bridge that kbake does not manage: the gateway's, unless the file gives one.
    pub host: Ipv4Addr,
    /// The nodes' default gateway: the host, except on a bridge that kbake does not manage.
    pub gateway: Ipv4Addr,
    /// Name servers of the nodes: the host, unless others are given.
    pub dns: Vec<Ipv4Addr>,
    /// The bridge's interface on the host.
    pub bridge: Bridge,
    /// The bridge's MAC.
    pub mac: Mac,
    /// Its connection to the outside.
    pub mode: Mode,
    /// The largest packet in bytes, unless it is the default of 1500.
    pub mtu: Option<u16>,
    /// The range of the DHCP server, for machines outside the cluster. The nodes' addresses lie outside of it.
    pub dhcp: Option<Range>,
    /// True when the host's DNS answers NXDOMAIN to an unknown name in the nodes' domain, instead of forwarding the query
    /// (libvirt's `localOnly`).
    pub local_only: bool,
}

/// Connection of the nodes' network to the outside (libvirt's forward modes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// The host translates the nodes' addresses to its own.
    Nat {
        /// The host's uplink interface, if a certain one is required.
        uplink: Option<Interface>,
        /// The host's source ports for translated connections.
        ports: Option<(u16, u16)>,
    },
    /// The host routes; other routers must know the return path.
    Route {
        /// The host's uplink interface, if a certain one is required.
        uplink: Option<Interface>,
    },
    /// Nodes and host only.
    Isolated,
    /// The host routes and filters nothing.
    Open,
    /// A bridge that exists already, in a network with its own router, DHCP and DNS.
    Bridged,
}

/// The API server's endpoint.
#[derive(Debug, Clone)]
pub struct Api {
    /// The name: a short one in the cluster's domain, or a full one that is resolved elsewhere.
    pub name: ApiName,
    /// The address, if the cluster defines it.
    pub address: Option<Ipv4Addr>,
    /// True for a virtual address on the gateway, beside the gateway's own.
    pub is_vip: bool,
    /// The TCP port.
    pub port: u16,
    /// Additional subject alternative names of its certificate.
    pub sans: Vec<HostRef>,
}

/// The virtual network of services.
#[derive(Debug, Clone)]
pub struct Services {
    /// The addresses.
    pub cidr: Net,
    /// The cluster's DNS service.
    pub dns: Ipv4Addr,
    /// The domain of services and pods.
    pub domain: Domain,
    /// Addresses of the nodes' network for services of type LoadBalancer.
    pub load_balancer: Option<Range>,
    /// Program that routes their addresses to pods.
    pub proxy: ProxyMode,
}

/// The network of pods.
#[derive(Debug, Clone)]
pub struct Pods {
    /// All pods' addresses.
    pub cidr: Net,
    /// The prefix length of each node's share.
    pub node_prefix: u8,
    /// Their network.
    pub network: PodNetwork,
}

/// A node's role in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A member of the etcd cluster, and nothing else.
    Etcd,
    /// API server, controller manager, scheduler; etcd too, unless the cluster has nodes of role etcd.
    ControlPlane,
    /// Runs pods.
    Worker,
    /// Balances the API server's connections.
    Gateway,
}

/// One machine.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its short name: host name, Kubernetes node name, etcd member name.
    pub name: HostName,
    /// Its full name.
    pub fqdn: String,
    /// Its role.
    pub role: Role,
    /// The role image that it boots.
    pub image: RoleName,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its interface's MAC.
    pub mac: Mac,
    /// Its identity for libvirt and its firmware.
    pub uuid: Uuid,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory.
    pub memory: Size,
    /// Disk.
    pub disk: Size,
    /// A second disk, whose data outlives the first disk.
    pub data: Option<DataDisk>,
    /// A file of additions to its user-data, relative to the cluster file.
    pub user_data: Option<String>,
    /// Its firmware.
    pub firmware: Firmware,
    /// Its share of the pod network; none on nodes without a kubelet, and none if kbake does not connect the pods.
    pub pods: Option<Net>,
    /// Routes beside those that the cluster needs.
    pub routes: Vec<Route>,
    /// Kubernetes labels.
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// Kubernetes taints, beside the control plane's own.
    pub taints: Vec<Taint>,
    /// Its own settings of the kubelet, over the cluster's.
    pub kubelet: Table,
}

/// Firmware of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS, which role images boot with.
    Bios,
    /// UEFI, for the user's own images.
    Uefi,
}

/// A route to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The destination.
    pub to: Net,
    /// The next hop.
    pub via: Ipv4Addr,
}

/// A folder of the host that the nodes may mount by NFS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The folder, absolute.
    pub path: String,
    /// Options of exports(5), without the parentheses.
    pub options: String,
}

/// Validity of new certificates, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Certificate authorities.
    pub authorities: u32,
    /// All other certificates.
    pub certificates: u32,
}

impl Cluster {
    /// Reads the cluster file `text`, called `file` in messages.
    ///
    /// # Errors
    /// Invalid TOML; unknown, missing or repeated keys; and every contradiction, with file, line and both sides.
    pub fn read(file: &str, text: &str) -> Result<Self> {
        derive::resolve(file, spec::read(file, text)?)
    }

    /// The channel that the cluster file `text` names, if any. The rest of the text need not be valid.
    ///
    /// # Errors
    /// Invalid TOML, and an invalid name.
    pub fn channel_of(file: &str, text: &str) -> Result<Option<ChannelName>> {
        spec::channel_of(file, text)
    }

    /// The node called `name`.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.iter().find(|node| node.name.as_str() == name).ok_or_else(|| {
            let error = Error::user(format!("{} has no node `{}`", self.file, name.escape_debug()));
            match document::nearest(name, self.nodes.iter().map(|node| node.name.as_str())) {
                Some(meant) => error.hint(format!("did you mean `{meant}`?")),
                None => error.hint("`kbake cluster` shows the nodes"),
            }
        })
    }

    /// The nodes of a role, in order.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.role == role)
    }

    /// True for the node that applies the cluster's add-ons to the API: the first of the control plane.
    pub fn applies_addons(&self, node: &Node) -> bool {
        self.with_role(Role::ControlPlane).next().is_some_and(|first| first.name == node.name)
    }

    /// True when controllers and schedulers elect a leader. With only one node an election gains nothing: a lost lease ends the
    /// process, and its restart makes a slow machine slower.
    pub fn elects_leaders(&self) -> bool {
        self.with_role(Role::ControlPlane).nth(1).is_some()
    }

    /// True for a member of the etcd cluster: a node of role etcd, or of the control plane if no node has that role.
    pub fn is_etcd_member(&self, node: &Node) -> bool {
        match self.with_role(Role::Etcd).next() {
            Some(_) => node.role == Role::Etcd,
            None => node.role == Role::ControlPlane,
        }
    }

    /// The members of the etcd cluster, in order.
    pub fn etcd_members(&self) -> impl Iterator<Item = &Node> {
        // Looked up once: per node it would visit all nodes for each.
        let role = if self.with_role(Role::Etcd).next().is_some() { Role::Etcd } else { Role::ControlPlane };
        self.with_role(role)
    }

    /// All routes of `node` but the default one: to the pods of the others, then its own.
    pub fn routes(&self, node: &Node) -> Vec<Route> {
        let pods = self.nodes.iter().filter(|other| other.name != node.name);
        let pods = pods.filter_map(|other| other.pods.map(|to| Route { to, via: other.address }));
        pods.chain(node.routes.iter().copied()).collect()
    }

    /// The URL of the API server for callers outside of control-plane nodes.
    ///
    /// The address rather than the name, where it is known: it needs no DNS.
    pub fn api_url(&self) -> Option<String> {
        self.api.as_ref().map(|api| match api.address {
            Some(address) => format!("https://{address}:{}", api.port),
            None => format!("https://{}:{}", api.name, api.port),
        })
    }

    /// Allowed settings that are likely to be mistakes: whole sentences for a person.
    pub fn warnings(&self) -> Vec<String> {
        warn::warnings(self)
    }
}

impl Services {
    /// The address of the service `kubernetes`: always the first.
    pub fn api(&self) -> Ipv4Addr {
        (self.cidr.first().to_bits() + 1).into()
    }
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 4] = [Role::Etcd, Role::ControlPlane, Role::Worker, Role::Gateway];

    /// The name in the cluster file.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Etcd => "etcd",
            Role::ControlPlane => "control-plane",
            Role::Worker => "worker",
            Role::Gateway => "gateway",
        }
    }

    /// True for nodes that run pods, and therefore need a share of the pod network.
    pub fn has_kubelet(self) -> bool {
        matches!(self, Role::ControlPlane | Role::Worker)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            let known = Role::ALL.map(Role::as_str);
            let known_text = known.join(", ");
            match document::nearest(text, known) {
                Some(meant) => format!("unknown role `{}`; did you mean `{meant}`?", text.escape_debug()),
                None => format!("unknown role `{}`; known: {known_text} (another image for one of them: `image = …`)", text.escape_debug()),
            }
        })
    }
}

impl Firmware {
    /// The name in the cluster file.
    pub fn as_str(self) -> &'static str {
        match self {
            Firmware::Bios => "bios",
            Firmware::Uefi => "uefi",
        }
    }
}

impl std::str::FromStr for Firmware {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "bios" => Ok(Firmware::Bios),
            "uefi" => Ok(Firmware::Uefi),
            _ => Err(format!("unknown firmware `{}`; known: bios, uefi", text.escape_debug())),
        }
    }
}
