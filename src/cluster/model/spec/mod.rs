//! `cluster.toml` as written: each value parsed, nothing derived, everything with its place.

mod settings;
mod site;
mod waits;

use std::net::Ipv4Addr;
use std::str::FromStr;

use super::{
    ApiName, Bridge, ClusterName, DataMount, Domain, Firmware, HostName, HostRef, Interface, LabelKey, LabelValue, Mac, Net, PodNetwork,
    ProxyMode, Range, Role, Settings, Site, SshKey, Taint, Validity,
};
use crate::common::document::{self, Located, Place, Section, Table};
use crate::common::error::Result;
use crate::common::value::{Arch, MachineArch, RoleName, Size};
use crate::spec::recipe::ChannelName;

const REMEDY: &str = "keep the lines that you want and remove the markers";

/// The largest number of nodes in one table.
const COUNT_MAX: u64 = 500;

type Given<T> = Option<Located<T>>;

pub(super) struct Spec {
    pub(super) name: Located<ClusterName>,
    pub(super) domain: Given<Domain>,
    pub(super) arch: Arch,
    pub(super) channel: Option<ChannelName>,
    pub(super) network: NetworkSpec,
    pub(super) api: ApiSpec,
    pub(super) services: ServicesSpec,
    pub(super) pods: PodsSpec,
    pub(super) nodes: Vec<NodeSpec>,
    pub(super) ssh_keys: Vec<Located<SshKey>>,
    pub(super) exports: Vec<(Located<String>, Option<String>)>,
    pub(super) validity: Validity,
    pub(super) site: Site,
    pub(super) settings: Settings,
}

pub(super) struct NetworkSpec {
    pub(super) cidr: Located<Net>,
    pub(super) host: Given<Ipv4Addr>,
    pub(super) dns: Vec<Located<Ipv4Addr>>,
    pub(super) gateway: Given<Ipv4Addr>,
    pub(super) bridge: Given<Bridge>,
    pub(super) mac: Given<Mac>,
    pub(super) mode: Given<ModeName>,
    pub(super) uplink: Given<Interface>,
    pub(super) nat_ports: Given<Ports>,
    pub(super) mtu: Option<u16>,
    pub(super) dhcp: Given<Range>,
    pub(super) local_only: Given<bool>,
}

#[derive(Default)]
pub(super) struct ApiSpec {
    /// The place of `[api]`, if there is one.
    pub(super) place: Option<Place>,
    pub(super) name: Given<ApiName>,
    pub(super) vip: Given<Ipv4Addr>,
    pub(super) port: Given<u64>,
    pub(super) sans: Vec<Located<HostRef>>,
}

pub(super) struct ServicesSpec {
    pub(super) cidr: Given<Net>,
    pub(super) dns: Given<Ipv4Addr>,
    pub(super) domain: Given<Domain>,
    pub(super) load_balancer: Given<Range>,
    pub(super) proxy: Given<ProxyMode>,
}

pub(super) struct PodsSpec {
    pub(super) cidr: Given<Net>,
    pub(super) node_prefix: Given<u64>,
    pub(super) network: Given<PodNetwork>,
}

/// One `[[node]]`: a node, or a group of identical ones.
pub(super) struct NodeSpec {
    pub(super) place: Place,
    pub(super) role: Located<Role>,
    pub(super) name: Located<String>,
    /// The group's size and the number of its first node; none for one node whose name is complete.
    pub(super) group: Option<(u32, u32)>,
    pub(super) image: Option<RoleName>,
    pub(super) address: Given<Ipv4Addr>,
    pub(super) mac: Given<Mac>,
    pub(super) vcpus: Option<u32>,
    pub(super) memory: Given<Size>,
    pub(super) disk: Given<Size>,
    pub(super) data_disk: Given<Size>,
    pub(super) data_mount: Given<DataMount>,
    pub(super) user_data: Given<String>,
    pub(super) firmware: Option<Firmware>,
    pub(super) pods: Given<Net>,
    pub(super) routes: Vec<RouteSpec>,
    pub(super) labels: Vec<Located<(LabelKey, LabelValue)>>,
    pub(super) taints: Vec<Located<Taint>>,
    pub(super) kubelet: Table,
}

pub(super) struct RouteSpec {
    pub(super) to: Located<Net>,
    pub(super) via: Located<Ipv4Addr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ModeName {
    Nat,
    Route,
    Isolated,
    Open,
    Bridge,
}

impl FromStr for ModeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "nat" => Ok(ModeName::Nat),
            "route" => Ok(ModeName::Route),
            "isolated" => Ok(ModeName::Isolated),
            "open" => Ok(ModeName::Open),
            "bridge" => Ok(ModeName::Bridge),
            _ => Err(format!("unknown mode `{}`; known: nat, route, isolated, open, bridge", text.escape_debug())),
        }
    }
}

/// Ports `FIRST-LAST`.
pub(super) struct Ports(pub(super) u16, pub(super) u16);

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| match text.bytes().all(|c| c.is_ascii_digit()) {
            true => text.parse::<u16>().ok().filter(|&port| port > 0),
            false => None,
        };
        match text.split_once('-').map(|(first, last)| (port(first), port(last))) {
            Some((Some(first), Some(last))) if first <= last => Ok(Ports(first, last)),
            _ => Err(format!("`{}` is not a range of ports, as in \"1024-65535\"", text.escape_debug())),
        }
    }
}

pub(super) fn channel_of(file: &str, text: &str) -> Result<Option<ChannelName>> {
    Ok(value(document::open(file, text, REMEDY)?.optional("channel")?))
}

pub(super) fn read(file: &str, text: &str) -> Result<Spec> {
    let mut root = document::open(file, text, REMEDY)?;
    waits::refuse(&root, waits::ROOT)?;
    root.only(&[
        "name",
        "domain",
        "arch",
        "channel",
        "ssh-keys",
        "ntp",
        "ca-certificates",
        "network",
        "api",
        "services",
        "pods",
        "pki",
        "proxy",
        "registry-mirror",
        "kubernetes",
        "node",
        "export",
    ])?;
    let name = root.required("name")?;
    let Some(network) = root.section("network")? else {
        return Err(root
            .place()
            .error(format!("`{file}` has no table [network]"))
            .hint("add at least `[network]` with a line `cidr = \"192.168.30.0/24\"`"));
    };
    let nodes = root.sections("node")?.into_iter().map(node).collect::<Result<Vec<_>>>()?;
    if nodes.is_empty() {
        return Err(root
            .place()
            .error(format!("`{file}` has no table [[node]]"))
            .hint("a cluster has at least one node: `[[node]]` with a line `role = \"etcd\"`"));
    }
    Ok(Spec {
        name,
        domain: root.optional("domain")?,
        arch: value(root.optional::<MachineArch>("arch")?).map_or(Arch::Amd64, |arch| arch.0),
        channel: value(root.optional("channel")?),
        network: network_spec(network)?,
        api: api(root.section("api")?)?,
        services: services(root.section("services")?)?,
        pods: pods(root.section("pods")?)?,
        nodes,
        ssh_keys: root.list("ssh-keys")?.into_iter().map(ssh_key).collect::<Result<_>>()?,
        exports: root.sections("export")?.into_iter().map(export).collect::<Result<_>>()?,
        validity: validity(root.section("pki")?)?,
        site: site::read(&mut root)?,
        settings: settings::read(root.section("kubernetes")?)?,
    })
}

fn value<T>(given: Given<T>) -> Option<T> {
    given.map(|given| given.value)
}

/// A number whose range was checked before and fits the type.
fn narrow<T: TryFrom<u64>>(given: Given<u64>) -> Option<T> {
    given.and_then(|given| T::try_from(given.value).ok())
}

fn network_spec(mut section: Section) -> Result<NetworkSpec> {
    waits::refuse(&section, waits::NETWORK)?;
    section.only(&["cidr", "host", "gateway", "dns", "bridge", "mac", "mode", "uplink", "nat-ports", "mtu", "dhcp", "local-only"])?;
    Ok(NetworkSpec {
        cidr: section.required("cidr")?,
        host: section.optional("host")?,
        dns: section.list("dns")?,
        gateway: section.optional("gateway")?,
        bridge: section.optional("bridge")?,
        mac: section.optional("mac")?,
        mode: section.optional("mode")?,
        uplink: section.optional("uplink")?,
        nat_ports: section.optional("nat-ports")?,
        // RFC 791: every link must carry 576 bytes. QEMU's virtio-net allows up to 65535.
        mtu: narrow(section.optional_number("mtu", 576..=65535)?),
        dhcp: section.optional("dhcp")?,
        local_only: section.flag("local-only")?,
    })
}

fn api(section: Option<Section>) -> Result<ApiSpec> {
    let Some(mut section) = section else { return Ok(ApiSpec::default()) };
    section.only(&["name", "vip", "port", "sans"])?;
    Ok(ApiSpec {
        place: Some(section.place().clone()),
        name: section.optional("name")?,
        vip: section.optional("vip")?,
        port: section.optional_number("port", 1..=65535)?,
        sans: section.list("sans")?,
    })
}

fn services(section: Option<Section>) -> Result<ServicesSpec> {
    let Some(mut section) = section else {
        return Ok(ServicesSpec { cidr: None, dns: None, domain: None, load_balancer: None, proxy: None });
    };
    section.only(&["cidr", "dns", "domain", "load-balancer-pool", "proxy"])?;
    Ok(ServicesSpec {
        cidr: section.optional("cidr")?,
        dns: section.optional("dns")?,
        domain: section.optional("domain")?,
        load_balancer: section.optional("load-balancer-pool")?,
        proxy: section.optional("proxy")?,
    })
}

fn pods(section: Option<Section>) -> Result<PodsSpec> {
    let Some(mut section) = section else { return Ok(PodsSpec { cidr: None, node_prefix: None, network: None }) };
    section.only(&["cidr", "node-prefix", "network"])?;
    Ok(PodsSpec {
        cidr: section.optional("cidr")?,
        node_prefix: section.optional_number("node-prefix", 1..=30)?,
        network: section.optional("network")?,
    })
}

fn validity(section: Option<Section>) -> Result<Validity> {
    // Three years: long enough for a laboratory, short enough that people still remember how to renew.
    let default = Validity { authorities: 3650, certificates: 1095 };
    let Some(mut section) = section else { return Ok(default) };
    section.only(&["ca-days", "certificate-days"])?;
    // Until 2049 X.509 writes years with two digits; a hundred years is past everything that is tested.
    let authorities = section.optional_number("ca-days", 1..=36_500)?;
    let certificates = section.optional_number("certificate-days", 1..=36_500)?;
    let place = certificates.as_ref().or(authorities.as_ref()).map_or(section.place(), |given| &given.place).clone();
    let other = authorities.as_ref().map(|given| given.place.clone());
    let found = Validity {
        authorities: narrow(authorities).unwrap_or(default.authorities),
        certificates: narrow(certificates).unwrap_or(default.certificates),
    };
    if found.certificates <= found.authorities {
        return Ok(found);
    }
    let (days, ca_days) = (found.certificates, found.authorities);
    let error = place
        .error(format!("certificates of {days} days (`certificate-days`) would outlive their authority of {ca_days} days (`ca-days`)"));
    Err(match other {
        Some(other) => other.note(error, "`ca-days` is here"),
        None => error.detail(format!("`ca-days` is {ca_days} by default")),
    }
    .hint("make `ca-days` larger than `certificate-days`"))
}

fn node(mut section: Section) -> Result<NodeSpec> {
    waits::refuse(&section, waits::NODE)?;
    section.only(&[
        "role",
        "name",
        "count",
        "first",
        "image",
        "address",
        "mac",
        "vcpus",
        "memory",
        "disk",
        "data-disk",
        "data-mount",
        "firmware",
        "pod-cidr",
        "routes",
        "labels",
        "taints",
        "kubelet",
        "user-data",
    ])?;
    let role: Located<Role> = section.required("role")?;
    let count = section.optional_number("count", 1..=COUNT_MAX)?;
    let first = section.optional_number("first", 0..=9999)?;
    if let (None, Some(first)) = (&count, &first) {
        return Err(first.place.error("`first` is the number of a group's first node, so it needs `count`"));
    }
    let group = narrow(count).map(|count| (count, narrow(first).unwrap_or(0)));
    let name = match section.optional::<String>("name")? {
        Some(name) => name,
        // `control-plane0` would be right, too, but nobody says that.
        None if role.value == Role::ControlPlane => Located { value: "control".to_owned(), place: role.place.clone() },
        None => Located { value: role.value.to_string(), place: role.place.clone() },
    };
    Ok(NodeSpec {
        place: section.place().clone(),
        role,
        name,
        group,
        image: value(section.optional("image")?),
        address: section.optional("address")?,
        mac: section.optional("mac")?,
        vcpus: narrow(section.optional_number("vcpus", 1..=512)?),
        memory: section.optional("memory")?,
        disk: section.optional("disk")?,
        data_disk: section.optional("data-disk")?,
        data_mount: section.optional("data-mount")?,
        user_data: section.optional("user-data")?,
        firmware: value(section.optional("firmware")?),
        pods: section.optional("pod-cidr")?,
        routes: section.sections("routes")?.into_iter().map(route).collect::<Result<_>>()?,
        labels: labels(section.section("labels")?)?,
        taints: section.list("taints")?,
        kubelet: settings::of_node(section.section("kubelet")?)?,
    })
}

/// The message shows neither the line nor the text: people paste private keys by mistake.
fn ssh_key(text: Located<String>) -> Result<Located<SshKey>> {
    match text.value.parse() {
        Ok(value) => Ok(Located { value, place: text.place }),
        Err(why) => Err(text.place.error_without_text(format!("bad `ssh-keys`: {why}"))),
    }
}

fn route(mut section: Section) -> Result<RouteSpec> {
    section.only(&["to", "via"])?;
    Ok(RouteSpec { to: section.required("to")?, via: section.required("via")? })
}

fn labels(section: Option<Section>) -> Result<Vec<Located<(LabelKey, LabelValue)>>> {
    let Some(mut section) = section else { return Ok(Vec::new()) };
    let mut labels = Vec::new();
    for name in section.key_names() {
        let place = section.key_place(&name).unwrap_or_else(|| section.place().clone());
        let key = name.parse::<LabelKey>().map_err(|why| place.error(why))?;
        if !key.suits_kubelet() {
            let error = place.error(format!("a kubelet may not give its own node the label `{key}`, and would not start"));
            return Err(error.hint("below kubernetes.io, take a key such as `node.kubernetes.io/NAME`, or set it with kubectl later"));
        }
        labels.push(Located { value: (key, section.required::<LabelValue>(&name)?.value), place });
    }
    Ok(labels)
}

fn export(mut section: Section) -> Result<(Located<String>, Option<String>)> {
    section.only(&["path", "options"])?;
    let path: Located<String> = section.required("path")?;
    let options: Given<String> = section.optional("options")?;
    let clean = |text: &str| text.bytes().all(|c| c.is_ascii_graphic() && !matches!(c, b'"' | b'\\' | b'(' | b')' | b'#'));
    // The value also goes into settings that scripts read, and into objects of Kubernetes.
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._:,=@-".contains(c);
    if !path.value.starts_with('/') || !path.value.chars().all(plain) {
        return Err(path
            .place
            .error("an exported folder is an absolute path of letters, digits and `/`, `.`, `_`, `-`, `:`, `,`, `=`, `@`"));
    }
    // Two spellings of one folder would be two exports of it; and the root would be the whole host.
    if path.value[1..].split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(path.place.error("an exported folder is written without `.`, `..`, doubled and final `/`, and is not `/` itself"));
    }
    if let Some(options) = &options
        && (options.value.split(',').any(str::is_empty) || !clean(&options.value))
    {
        return Err(options.place.error("options of an export are words with commas between, as in \"rw,sync,no_subtree_check\""));
    }
    Ok((path, value(options)))
}

/// A host name. Names of groups are checked once they have their numbers.
pub(super) fn host_name(name: &Located<String>, number: Option<u32>) -> Result<HostName> {
    let full = match number {
        Some(number) => format!("{}{number}", name.value),
        None => name.value.clone(),
    };
    full.parse().map_err(|why: String| name.place.error(why))
}
