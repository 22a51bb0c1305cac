//! The public files of a node's seed.

use serde::Serialize;

use super::etcd::{ETCD_ENV, EtcdStart, etcd_env};
use super::gateway::haproxy;
use super::names::names;
use super::settings;
use super::{NodeFile, components};
use crate::cluster::model::{Cluster, Net, Node, Role};
use crate::common::error::{Error, Result};

/// The public files, by the node's role.
pub(crate) fn public_files(cluster: &Cluster, node: &Node, start: EtcdStart) -> Result<Vec<NodeFile<'static>>> {
    let mut files = vec![NodeFile::public("/etc/hosts", hosts(cluster))];
    if node.role == Role::Etcd {
        files.push(NodeFile::public(ETCD_ENV, etcd_env(cluster, node, start)?));
    }
    if node.role.has_kubelet() {
        let settings = components::files(cluster, node)?;
        let has_drop_in = settings.iter().any(|file| file.path.starts_with(components::KUBELET_FOLDER));
        files.push(NodeFile::public(KUBELET_ENV, kubelet_env(node, has_drop_in)));
        files.extend(settings);
    }
    files.extend(settings::files(cluster, node, start)?);
    files.extend(haproxy(cluster, node));
    // Nodes without a share have no kubelet, or get their pods' network from elsewhere.
    if let Some(pods) = node.pods {
        files.push(NodeFile::public("/etc/cni/net.d/10-bridge.conflist", cni(pods, cluster.network.mtu)?));
    }
    Ok(files)
}

/// The environment file of the kubelet's unit, with the node's own arguments.
const KUBELET_ENV: &str = "/etc/kubernetes/kubelet.env";

/// The kubelet's arguments that differ from node to node and exist as flags only: name, address and labels. Taints are in
/// cluster.env, from which the image's configuration file gets them; the rest of that file is the role image's.
///
/// One line `NAME=value`, whose words systemd splits where the unit says `$KUBELET_NODE_ARGS`; no label has a space. A node's
/// role is not a label here, since the kubelet would not start; it is set through the API, by the names in addons.env.
fn kubelet_env(node: &Node, has_drop_in: bool) -> String {
    let mut words = vec![format!("--hostname-override={}", node.name), format!("--node-ip={}", node.address)];
    if !node.labels.is_empty() {
        let labels: Vec<String> = node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        words.push(format!("--node-labels={}", labels.join(",")));
    }
    // Only if there is one: a kubelet before 1.28 does not know the flag.
    words.extend(has_drop_in.then(|| format!("--config-dir={}", components::KUBELET_FOLDER)));
    format!("# Written from the node's seed; read by kubelet.service.\nKUBELET_NODE_ARGS={}\n", words.join(" "))
}

/// All nodes by name, and the API server: on a network without libvirt's dnsmasq no DNS server knows them.
///
/// A new node therefore changes every seed. That does no harm without these lines either: each kubelet's share of the pod
/// network is a route on all others, and each member of etcd is in the others' settings. The node's own names resolve to its
/// address on the network, never to 127.0.1.1, which certificates and etcd's peers do not support.
fn hosts(cluster: &Cluster) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    for named in names(cluster) {
        text.push_str(&format!("{named}\n"));
    }
    text
}

/// A network of the [CNI specification](https://www.cni.dev/docs/spec/), version 1.0.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Conflist {
    cni_version: &'static str,
    name: &'static str,
    plugins: (Bridge, PortMap),
}

/// <https://www.cni.dev/plugins/current/main/bridge/>
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bridge {
    r#type: &'static str,
    bridge: &'static str,
    is_default_gateway: bool,
    /// The plugin would masquerade pods towards pods of other nodes, too. The image's kbake-masquerade.service masquerades only
    /// packets that leave the cluster.
    ip_masq: bool,
    /// Hairpin mode: without it a pod cannot reach its own service.
    hairpin_mode: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u16>,
    ipam: Ipam,
}

/// <https://www.cni.dev/plugins/current/ipam/host-local/>
#[derive(Serialize)]
struct Ipam {
    r#type: &'static str,
    ranges: [[Subnet; 1]; 1],
}

#[derive(Serialize)]
struct Subnet {
    subnet: String,
}

/// <https://www.cni.dev/plugins/current/meta/portmap/>: for `hostPort`.
#[derive(Serialize)]
struct PortMap {
    r#type: &'static str,
    capabilities: Capabilities,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    port_mappings: bool,
}

/// The pods' network on one node. Loopback is not in it: container runtimes configure it themselves.
fn cni(pods: Net, mtu: Option<u16>) -> Result<String> {
    let bridge = Bridge {
        r#type: "bridge",
        bridge: "cni0",
        is_default_gateway: true,
        ip_masq: false,
        hairpin_mode: true,
        mtu,
        ipam: Ipam { r#type: "host-local", ranges: [[Subnet { subnet: pods.to_string() }]] },
    };
    let ports = PortMap { r#type: "portmap", capabilities: Capabilities { port_mappings: true } };
    let list = Conflist { cni_version: "1.0.0", name: "bridge", plugins: (bridge, ports) };
    let text = serde_json::to_string_pretty(&list).map_err(|e| Error::internal(format!("cannot write the CNI configuration: {e}")))?;
    Ok(text + "\n")
}
