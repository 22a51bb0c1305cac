//! kubeadm's [configuration](https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/), with only the fields
//! that are used here.

use serde::Serialize;

use super::super::control_plane::components::TURNS;
use super::super::kubelet::EVERYWHERE;
use super::super::manifest::{documents, object};
use crate::build::role::Facts;
use crate::common::error::Result;

const VERSION: &str = "kubeadm.k8s.io/v1beta4";

const ABOUT: &str = "On every control-plane node, first; it returns when all preloaded images are there:
  systemctl start kbake-images-rest
On the first control-plane node, once etcd answers:
  kubeadm init --config /etc/kubernetes/kubeadm.yaml
  kubectl --kubeconfig /etc/kubernetes/admin.conf apply --recursive -f /usr/share/kbake/addons/rbac
On each further one:
  kubeadm init phase control-plane all --config /etc/kubernetes/kubeadm.yaml
  kubeadm init phase mark-control-plane --config /etc/kubernetes/kubeadm.yaml
Workers need nothing: they register with the certificates of their seeds.
The cluster's DNS is the tenth address of its services; kubeadm knows no other. The scheduler reads /etc/kubernetes/scheduler.yaml.";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InitConfiguration {
    api_version: &'static str,
    kind: &'static str,
    #[serde(rename = "localAPIEndpoint")]
    local_api_endpoint: ApiEndpoint,
    node_registration: NodeRegistration,
    skip_phases: &'static [&'static str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiEndpoint {
    bind_port: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeRegistration {
    cri_socket: &'static str,
    ignore_preflight_errors: &'static [&'static str],
    image_pull_policy: &'static str,
    name: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterConfiguration {
    api_version: &'static str,
    kind: &'static str,
    api_server: Component,
    certificates_dir: &'static str,
    cluster_name: &'static str,
    control_plane_endpoint: &'static str,
    controller_manager: Component,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<Dns>,
    etcd: Etcd,
    kubernetes_version: String,
    networking: Networking,
    proxy: Proxy,
    scheduler: Component,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    extra_args: Vec<Arg>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extra_volumes: Vec<HostPathMount>,
}

/// The container image of the cluster's DNS server; without it kubeadm uses its own default.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dns {
    image_repository: String,
    image_tag: String,
}

#[derive(Serialize)]
struct Proxy {
    /// A boolean once the template is filled in.
    disabled: &'static str,
}

/// The part of kube-proxy's [configuration](https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/) that
/// differs from kubeadm's defaults.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KubeProxyConfiguration {
    api_version: &'static str,
    kind: &'static str,
    mode: &'static str,
}

#[derive(Clone, Serialize)]
struct Arg {
    name: &'static str,
    value: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HostPathMount {
    host_path: &'static str,
    mount_path: &'static str,
    name: &'static str,
    path_type: &'static str,
    read_only: bool,
}

#[derive(Serialize)]
struct Etcd {
    external: ExternalEtcd,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalEtcd {
    ca_file: &'static str,
    cert_file: &'static str,
    /// A list once the template is filled in.
    endpoints: &'static str,
    key_file: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Networking {
    dns_domain: &'static str,
    pod_subnet: &'static str,
    service_subnet: &'static str,
}

/// The template of the file, for the role's versions.
pub(super) fn text(facts: &Facts) -> Result<String> {
    // The proxy's is the last one: kbake-settings appends the cluster's settings of kube-proxy to the file.
    Ok([documents(ABOUT, &[object(&init(facts)?)?, object(&cluster(facts))?])?, kubelet(), documents("", &[object(&proxy())?])?]
        .join("---\n"))
}

/// The configuration that kubeadm gives to nodes that join by a token. Without it they have the kubelet's defaults, by which
/// preloaded images are removed from a full disk.
fn kubelet() -> String {
    format!("apiVersion: \"kubelet.config.k8s.io/v1beta1\"\nkind: \"KubeletConfiguration\"\nseccompDefault: true\n{EVERYWHERE}")
}

fn init(facts: &Facts) -> Result<InitConfiguration> {
    Ok(InitConfiguration {
        api_version: VERSION,
        kind: "InitConfiguration",
        local_api_endpoint: ApiEndpoint { bind_port: "@API_PORT@" },
        node_registration: NodeRegistration {
            cri_socket: facts.runtime()?.endpoint(),
            // The kubelet runs already, with etcd in it and on its port.
            ignore_preflight_errors: &["FileAvailable--etc-kubernetes-manifests-etcd.yaml", "Port-10250"],
            image_pull_policy: "Never",
            name: "@NODE_NAME@",
        },
        // The kubelet's configuration is the image's, and written again at every boot.
        skip_phases: &["kubelet-start"],
    })
}

/// Arguments for the timing of leader election, which override kubeadm's.
fn turns() -> Vec<Arg> {
    TURNS.map(|(name, value)| Arg { name, value }).into()
}

/// Arguments for the allocation of nodes' shares of the pods' network.
fn shares() -> Vec<Arg> {
    vec![
        Arg { name: "allocate-node-cidrs", value: "@ALLOCATE_NODE_CIDRS@" },
        Arg { name: "node-cidr-mask-size", value: "@NODE_CIDR_MASK_SIZE@" },
    ]
}

/// A file of the node's, at the same path in a pod.
fn mount(name: &'static str, path: &'static str) -> HostPathMount {
    HostPathMount { host_path: path, mount_path: path, name, path_type: "File", read_only: true }
}

/// The scheduler reads the same file as on kbake's own control plane; kubeadm's argument `leader-elect` would override it.
fn scheduler() -> Component {
    const CONFIG: &str = "/etc/kubernetes/scheduler.yaml";
    let extra_args = vec![Arg { name: "config", value: CONFIG }, Arg { name: "leader-elect", value: "@LEADER_ELECT@" }];
    Component { extra_args, extra_volumes: vec![mount("config", CONFIG)] }
}

/// The preloaded CoreDNS, if kubeadm can express its name: it appends `/coredns` to a repository itself.
fn dns(facts: &Facts) -> Option<Dns> {
    let image = facts.image("coredns")?;
    let name = image.to_string();
    let (name, tag) = name.split_once('@').map_or(name.as_str(), |(name, _)| name).rsplit_once(':')?;
    let repository = name.strip_suffix("/coredns")?;
    Some(Dns { image_repository: repository.to_owned(), image_tag: tag.to_owned() })
}

fn proxy() -> KubeProxyConfiguration {
    KubeProxyConfiguration { api_version: "kubeproxy.config.k8s.io/v1alpha1", kind: "KubeProxyConfiguration", mode: "@KUBEADM_PROXY_MODE@" }
}

fn cluster(facts: &Facts) -> ClusterConfiguration {
    // An image with the control plane has a version; kubeadm would ask the internet for the newest.
    let version = facts.image("kube-apiserver").map_or_else(String::new, |image| image.tag().to_owned());
    ClusterConfiguration {
        api_version: VERSION,
        kind: "ClusterConfiguration",
        api_server: Component {
            extra_args: vec![Arg { name: "encryption-provider-config", value: "/etc/kubernetes/encryption.yaml" }],
            extra_volumes: vec![mount("encryption", "/etc/kubernetes/encryption.yaml")],
        },
        certificates_dir: "/etc/kubernetes/pki",
        cluster_name: "@CLUSTER_NAME@",
        control_plane_endpoint: "@API_ENDPOINT@",
        // The same as on kbake's own control plane: shares are allocated if no seed has them.
        controller_manager: Component { extra_args: [shares(), turns()].concat(), extra_volumes: Vec::new() },
        dns: dns(facts),
        etcd: Etcd {
            external: ExternalEtcd {
                ca_file: "/etc/kubernetes/pki/etcd/ca.crt",
                cert_file: "/etc/kubernetes/pki/apiserver-etcd-client.crt",
                endpoints: "@ETCD_SERVERS@",
                key_file: "/etc/kubernetes/pki/apiserver-etcd-client.key",
            },
        },
        kubernetes_version: version,
        networking: Networking { dns_domain: "@CLUSTER_DOMAIN@", pod_subnet: "@CLUSTER_CIDR@", service_subnet: "@SERVICE_CIDR@" },
        proxy: Proxy { disabled: "@PROXY_DISABLED@" },
        scheduler: scheduler(),
    }
}
