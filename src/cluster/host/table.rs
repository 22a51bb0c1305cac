//! The cluster for people: the values of its file, with all defaults.

use std::fmt::Write as _;

use crate::cluster::model::{Api, Cluster, Component, HostRef, Mode, Network, Node, PodNetwork, Pods, ProxyMode, Services, Settings, Site};
use crate::common::columns::fitted;
use crate::common::document::Table;
use crate::common::value::Size;

/// The whole cluster: a few lines for settings that its nodes share, then a table of the nodes.
pub(crate) fn cluster_table(cluster: &Cluster) -> String {
    let mut text = fitted(&facts(cluster).map(|(what, value)| [what.to_owned(), value]).collect::<Vec<_>>());
    for table in [fitted(&addresses(cluster)), fitted(&machines(cluster))] {
        text.push('\n');
        text.push_str(&table);
    }
    let marks = marks(cluster);
    if !marks.is_empty() {
        text.push('\n');
        text.push_str(&fitted(&marks));
    }
    text
}

/// Labels, taints, second disks and additions in the file, one line each.
fn marks(cluster: &Cluster) -> Vec<[String; 3]> {
    let of = |node: &Node| {
        let labels = node.labels.iter().map(|(key, value)| ("label", format!("{key}={value}")));
        let taints = node.taints.iter().map(|taint| ("taint", taint.to_string()));
        let data = node.data.iter().map(|data| ("data", format!("{} at {}", exact(data.size), data.mount)));
        let more = node.user_data.iter().map(|file| ("user-data", file.clone()));
        let settings = node.kubelet.iter().map(|(key, item)| ("kubelet", format!("{key} = {}", item.value)));
        labels
            .chain(taints)
            .chain(data)
            .chain(more)
            .chain(settings)
            .map(|(kind, text)| [node.name.to_string(), kind.to_owned(), text])
            .collect::<Vec<_>>()
    };
    cluster.nodes.iter().flat_map(of).collect()
}

/// Facts about the cluster as a whole, without those that do not apply.
fn facts(cluster: &Cluster) -> impl Iterator<Item = (&'static str, String)> {
    let services = &cluster.services;
    let kubernetes = cluster.api.as_ref();
    let names = |nodes: Vec<&Node>| nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(" ");
    let exports = cluster.exports.iter().map(|export| ("export", format!("{} ({})", export.path, export.options)));
    [
        Some(("cluster", format!("{}, domain {}, {}, channel {}", cluster.name, cluster.domain, cluster.arch, cluster.channel))),
        Some(("network", network(&cluster.network))),
        Some(("bridge", bridge(&cluster.network))),
        kubernetes.map(|api| ("api", endpoint(cluster, api))),
        kubernetes.map(|_| ("services", services_line(services))),
        services.load_balancer.map(|pool| ("pool", format!("{pool} for services of type LoadBalancer"))),
        kubernetes.map(|_| ("pods", pods(&cluster.pods))),
        Some(("etcd", names(cluster.etcd_members().collect()))).filter(|(_, members)| !members.is_empty()),
    ]
    .into_iter()
    .flatten()
    .chain(exports)
    .chain(site(&cluster.site))
    .chain(settings(&cluster.settings))
}

/// The rows of the cluster's own settings of Kubernetes' programs.
fn settings(settings: &Settings) -> impl Iterator<Item = (&'static str, String)> {
    let preset = settings.preset.iter().map(|preset| ("preset", preset.as_str().to_owned()));
    let of = |(component, table): (&Component, &Table)| {
        let component = component.as_str();
        table.iter().map(move |(key, item)| (component, format!("{key} = {}", item.value))).collect::<Vec<_>>()
    };
    preset.chain(settings.given.iter().flat_map(of))
}

/// The rows of the nodes' site settings.
fn site(site: &Site) -> Vec<(&'static str, String)> {
    let list = |items: &[HostRef]| items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    found.extend(Some(("ntp", list(&site.ntp))).filter(|_| !site.ntp.is_empty()));
    found.extend(Some(("trusts", site.authorities.join(" "))).filter(|_| !site.authorities.is_empty()));
    for (scheme, url) in site.proxy.iter().flat_map(|proxy| [("http", &proxy.http), ("https", &proxy.https)]) {
        found.extend(url.iter().map(|url| ("proxy", format!("{url} for {scheme}"))));
    }
    for mirror in &site.mirrors {
        let urls: Vec<String> = mirror.urls.iter().map(ToString::to_string).collect();
        found.push(("mirror", format!("{} for {}", urls.join(" "), mirror.registry)));
    }
    found
}

fn services_line(services: &Services) -> String {
    let proxy = match services.proxy {
        ProxyMode::None => "no kube-proxy".to_owned(),
        mode => format!("kube-proxy with {mode}"),
    };
    format!("{}, dns {}, domain {}, {proxy}", services.cidr, services.dns, services.domain)
}

fn pods(pods: &Pods) -> String {
    match pods.network {
        PodNetwork::Bridge => format!("{}, shares of {} bits", pods.cidr, pods.node_prefix),
        PodNetwork::None => format!("{}, connected by none of kbake's", pods.cidr),
    }
}

fn network(network: &Network) -> String {
    let mut text = format!("{}, host {}", network.cidr, network.host);
    if network.mode == Mode::Bridged {
        text = format!("{}, gateway {}", network.cidr, network.gateway);
        if network.host != network.gateway {
            append(&mut text, format_args!(", host {}", network.host));
        }
    }
    if network.dns != [network.gateway] {
        let servers: Vec<String> = network.dns.iter().map(ToString::to_string).collect();
        append(&mut text, format_args!(", dns {}", servers.join(" ")));
    }
    match network.dhcp {
        Some(dhcp) => append(&mut text, format_args!(", dhcp {dhcp}")),
        None if network.mode == Mode::Bridged => {}
        None => text.push_str(", no dhcp for strangers"),
    }
    text
}

fn bridge(network: &Network) -> String {
    let mut text = match network.mode {
        Mode::Bridged => network.bridge.to_string(),
        _ => format!("{} {}", network.bridge, network.mac),
    };
    let uplink = match &network.mode {
        Mode::Nat { uplink, ports } => {
            text.push_str(", nat");
            if let Some((first, last)) = ports {
                append(&mut text, format_args!(" from ports {first}-{last}"));
            }
            uplink.as_ref()
        }
        Mode::Route { uplink } => {
            text.push_str(", route");
            uplink.as_ref()
        }
        Mode::Isolated => {
            text.push_str(", isolated");
            None
        }
        Mode::Open => {
            text.push_str(", open");
            None
        }
        Mode::Bridged => {
            text.push_str(", which the host has already");
            None
        }
    };
    if let Some(uplink) = uplink {
        append(&mut text, format_args!(" through {uplink}"));
    }
    if let Some(mtu) = network.mtu {
        append(&mut text, format_args!(", mtu {mtu}"));
    }
    text
}

fn endpoint(cluster: &Cluster, api: &Api) -> String {
    let url = cluster.api_url().unwrap_or_default();
    let name = api.name.fqdn(&cluster.domain);
    let mut text = match (api.address, api.is_vip) {
        (Some(_), true) => format!("{url}, a virtual address on the gateway, name {name}"),
        (Some(_), false) => format!("{url}, name {name}"),
        (None, _) => format!("{url}, a name that is known elsewhere"),
    };
    if !api.sans.is_empty() {
        let sans: Vec<String> = api.sans.iter().map(ToString::to_string).collect();
        append(&mut text, format_args!(", also {}", sans.join(" ")));
    }
    text
}

/// The nodes' names and addresses, with a heading.
fn addresses(cluster: &Cluster) -> Vec<[String; 5]> {
    let row = |node: &Node| {
        let pods = node.pods.map_or_else(|| "-".to_owned(), |pods| pods.to_string());
        [node.name.to_string(), node.role.to_string(), node.address.to_string(), node.mac.to_string(), pods]
    };
    let head = ["NAME", "ROLE", "ADDRESS", "MAC", "PODS"].map(str::to_owned);
    [head].into_iter().chain(cluster.nodes.iter().map(row)).collect()
}

/// The nodes as machines, with a heading. The column for images exists only if one differs from its role.
fn machines(cluster: &Cluster) -> Vec<Vec<String>> {
    let is_own = |node: &Node| node.image.as_str() == node.role.as_str();
    let images = !cluster.nodes.iter().all(is_own);
    let row = |node: &Node| {
        let mut row = vec![node.name.to_string(), node.vcpus.to_string(), exact(node.memory), exact(node.disk)];
        row.extend(images.then(|| if is_own(node) { "-".to_owned() } else { node.image.to_string() }));
        row
    };
    let mut head = ["NAME", "VCPUS", "MEMORY", "DISK"].map(str::to_owned).to_vec();
    head.extend(images.then(|| "IMAGE".to_owned()));
    [head].into_iter().chain(cluster.nodes.iter().map(row)).collect()
}

/// A size in the largest exact unit, in the cluster file's notation.
fn exact(size: Size) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fits = |shift: &u32| size.0 > 0 && size.0.trailing_zeros() >= *shift;
    match units.iter().find(|(_, shift)| fits(shift)) {
        Some((unit, shift)) => format!("{} {unit}", size.0 >> shift),
        None => format!("{} B", size.0),
    }
}

fn append(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = text.write_fmt(more);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{EXAMPLES, example_text};
    use crate::common::testing::goldens;

    fn table(text: &str) -> String {
        cluster_table(&Cluster::read("c.toml", text).unwrap_or_else(|error| panic!("{error}")))
    }

    #[test]
    fn the_examples_are_as_recorded() {
        goldens(EXAMPLES.map(|name| (format!("cluster/{name}/cluster.txt"), table(&example_text(name)))));
    }

    #[test]
    fn what_the_examples_do_not_have() {
        let text = table(
            "name = 'x'\n[network]\ncidr = '10.1.0.0/24'\nuplink = 'eth0'\nnat-ports = '1024-2048'\ndns = ['10.1.0.1', '10.1.0.2']\n\
             [api]\nname = 'api.example.test'\n\
             [[node]]\nrole = 'control-plane'\nmemory = '1500 MiB'\n[[node]]\nrole = 'worker'\nimage = 'builder'\ndisk = '1 TiB'\n",
        );
        for line in [
            "network   10.1.0.0/24, host 10.1.0.1, dns 10.1.0.1 10.1.0.2, no dhcp for strangers",
            ", nat from ports 1024-2048 through eth0",
            "api       https://api.example.test:6443, a name that is known elsewhere",
            "1500 MiB  20 GiB  -\n",
            "4 GiB     1 TiB   builder\n",
            "MEMORY    DISK    IMAGE\n",
        ] {
            // A long line continues below, behind the names of the facts.
            let unwrapped = text.replace("\n          ", " ");
            assert!(unwrapped.contains(line), "`{line}` is not in\n{text}");
        }
        for mode in ["isolated", "open", "route"] {
            let text =
                table(&format!("name = 'x'\n[network]\ncidr = '10.1.0.0/24'\nmode = '{mode}'\nmtu = 9000\n[[node]]\nrole = 'etcd'\n"));
            assert!(text.contains(&format!(", {mode}, mtu 9000\n")) && !text.contains("services"), "{text}");
        }
    }

    #[test]
    fn what_a_site_has_is_shown() {
        let text = table(
            "name = 'x'\nntp = ['10.1.0.1', 't.test']\nca-certificates = ['corp.pem']\n[network]\ncidr = '10.1.0.0/24'\n[api]\nsans = ['a.test', '10.9.9.9']\n\
             [proxy]\nhttps = 'http://p.test:3128'\n[[registry-mirror]]\nregistry = 'docker.io'\nurls = ['http://m.test', 'http://n.test']\n\
             [[node]]\nrole = 'control-plane'\ndata-disk = '2 GiB'\ndata-mount = '/srv/x'\nuser-data = 'more.yaml'\n",
        );
        // Long values continue on a line of their own.
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for line in [
            "name kubernetes.x.internal, also a.test 10.9.9.9 services",
            "ntp 10.1.0.1 t.test trusts corp.pem proxy http://p.test:3128 for https mirror http://m.test http://n.test for docker.io NAME",
            "control data 2 GiB at /srv/x control user-data more.yaml",
        ] {
            assert!(words.contains(line), "`{line}` is not in\n{text}");
        }
    }
}
