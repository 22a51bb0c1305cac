//! API server, controller manager and scheduler.
//!
//! Every flag exists in all Kubernetes versions that channels have:
//! <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/> and its neighbours. Where the
//! certificates are is kubeadm's layout, in which the seed puts them.

use k8s_openapi::api::core::v1::{Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::manifest::http_get;
use super::pod::{Component, HOST_IP, Kind, Mount, Probes, pod};

/// A component and how its pod is made of the name of its container image.
pub(super) struct Static {
    /// The component, and short name of its image.
    pub(super) name: &'static str,
    /// For people who read the manifest.
    pub(super) about: &'static str,
    pub(super) pod: fn(&str) -> Pod,
}

/// All of them.
pub(super) const ALL: [Static; 3] = [
    Static {
        name: "kube-apiserver",
        about: "The API server: the only one that talks to etcd. It ends when etcd does not answer, and is started again.",
        pod: apiserver,
    },
    Static {
        name: "kube-controller-manager",
        about: "The controllers, of which those on one node at a time work. It reaches the API server of its own node.",
        pod: controller_manager,
    },
    Static { name: "kube-scheduler", about: "The scheduler: chooses a node for each pod. One at a time works.", pod: scheduler },
];

const PKI: Mount = Mount { name: "pki", path: "/etc/kubernetes/pki", kind: Kind::Folder };
/// Authorities of the world's, for webhooks and identity providers that are elsewhere. An image that kbake made has none.
const CA_CERTIFICATES: Mount = Mount { name: "ca-certificates", path: "/etc/ssl/certs", kind: Kind::Folder };

fn pki(name: &str) -> String {
    format!("/etc/kubernetes/pki/{name}")
}

fn own(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    pairs.iter().map(|(flag, value)| (*flag, (*value).to_owned())).collect()
}

/// Whom it believes, about its clients and about proxies in front of it.
fn authorities() -> Vec<(&'static str, String)> {
    vec![("client-ca-file", pki("ca.crt")), ("requestheader-client-ca-file", pki("front-proxy-ca.crt"))]
}

fn https(port: IntOrString, path: &str) -> Probe {
    http_get("HTTPS", Some("127.0.0.1"), port, path)
}

fn apiserver(image: &str) -> Pod {
    // A number once the template is filled in.
    let probe = |path| https(IntOrString::String("@API_PORT@".to_owned()), path);
    pod(Component {
        name: "kube-apiserver",
        image,
        arguments: [serving(), callers(), storage(), kubelets(), audit()].concat(),
        fields: &[HOST_IP],
        mounts: &[
            PKI,
            Mount { name: "audit-policy", path: "/etc/kubernetes/audit-policy.yaml", kind: Kind::File },
            Mount { name: "encryption", path: "/etc/kubernetes/encryption.yaml", kind: Kind::File },
            Mount { name: "log", path: "/var/log/kubernetes", kind: Kind::Data },
            CA_CERTIFICATES,
        ],
        requests: &[("cpu", "250m")],
        // The cluster may want it on port 443.
        capabilities: &["NET_BIND_SERVICE"],
        probes: Probes { startup: probe("/livez"), liveness: probe("/livez"), readiness: Some(probe("/readyz")) },
    })
}

/// Where it listens, and what it is for.
fn serving() -> Vec<(&'static str, String)> {
    let mut flags = own(&[
        ("advertise-address", "$(HOST_IP)"),
        ("secure-port", "@API_PORT@"),
        ("service-cluster-ip-range", "@SERVICE_CIDR@"),
        ("allow-privileged", "true"),
        ("profiling", "false"),
    ]);
    flags.extend([("tls-cert-file", pki("apiserver.crt")), ("tls-private-key-file", pki("apiserver.key"))]);
    flags
}

/// Who may do what: certificates, service accounts, and proxies in front. No bootstrap tokens: nodes bring their
/// certificates with them.
fn callers() -> Vec<(&'static str, String)> {
    let mut flags = own(&[("authorization-mode", "Node,RBAC"), ("enable-admission-plugins", "NodeRestriction")]);
    flags.extend(authorities());
    flags.extend(own(&[
        ("requestheader-allowed-names", "front-proxy-client"),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
        ("requestheader-group-headers", "X-Remote-Group"),
        ("requestheader-username-headers", "X-Remote-User"),
    ]));
    flags.extend([
        ("proxy-client-cert-file", pki("front-proxy-client.crt")),
        ("proxy-client-key-file", pki("front-proxy-client.key")),
        ("service-account-issuer", "@SERVICE_ACCOUNT_ISSUER@".to_owned()),
        ("service-account-key-file", pki("sa.pub")),
        ("service-account-signing-key-file", pki("sa.key")),
    ]);
    flags
}

/// etcd, and secrets encrypted in it.
fn storage() -> Vec<(&'static str, String)> {
    vec![
        ("etcd-servers", "@ETCD_SERVERS@".to_owned()),
        ("etcd-cafile", pki("etcd/ca.crt")),
        ("etcd-certfile", pki("apiserver-etcd-client.crt")),
        ("etcd-keyfile", pki("apiserver-etcd-client.key")),
        ("encryption-provider-config", "/etc/kubernetes/encryption.yaml".to_owned()),
    ]
}

/// Kubelets serve with certificates of the cluster's authority for their addresses, so they can be checked.
fn kubelets() -> Vec<(&'static str, String)> {
    vec![
        ("kubelet-certificate-authority", pki("ca.crt")),
        ("kubelet-client-certificate", pki("apiserver-kubelet-client.crt")),
        ("kubelet-client-key", pki("apiserver-kubelet-client.key")),
        ("kubelet-preferred-address-types", "InternalIP,ExternalIP,Hostname".to_owned()),
    ]
}

/// At most 1.1 GB of log.
fn audit() -> Vec<(&'static str, String)> {
    own(&[
        ("audit-policy-file", "/etc/kubernetes/audit-policy.yaml"),
        ("audit-log-path", "/var/log/kubernetes/audit.log"),
        ("audit-log-maxage", "30"),
        ("audit-log-maxbackup", "10"),
        ("audit-log-maxsize", "100"),
    ])
}

/// How components of which one works at a time take turns, where there are several: names and values, in seconds.
///
/// A leader that has not renewed its lease for 40 s ends, and its successor begins 60 to 72 s after the last renewal. The
/// defaults (10 s and 15 s) cost a restart whenever a busy machine stands still for as long; a minute without a leader
/// costs less, as pods of a node that is gone are replaced after five. A leader that works must be able to ask more than
/// once before its time is up: each attempt has half of it.
pub(in crate::render::image::parts) const TURNS: [(&str, &str); 4] = [
    ("leader-elect", "@LEADER_ELECT@"),
    ("leader-elect-lease-duration", "60s"),
    ("leader-elect-renew-deadline", "40s"),
    ("leader-elect-retry-period", "10s"),
];

/// The flags of what serves metrics on loopback only, and calls the API server as `/etc/kubernetes/NAME.conf` says.
fn local(kubeconfig: &str) -> Vec<(&'static str, String)> {
    let mut flags = own(&[("bind-address", "127.0.0.1"), ("profiling", "false")]);
    flags.extend(own(&TURNS));
    flags.extend(["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"].map(|flag| (flag, kubeconfig.to_owned())));
    flags.extend(authorities());
    flags
}

fn controller_manager(image: &str) -> Pod {
    const CONF: &str = "/etc/kubernetes/controller-manager.conf";
    let mut arguments = local(CONF);
    // With kbake's own pod network a node's share is in its seed, and a second one, chosen here, could only differ from it.
    // Another network may read the shares from the nodes' `spec.podCIDR`, which only this controller fills.
    arguments.extend(own(&[
        ("allocate-node-cidrs", "@ALLOCATE_NODE_CIDRS@"),
        ("cluster-cidr", "@CLUSTER_CIDR@"),
        ("cluster-name", "@CLUSTER_NAME@"),
        ("node-cidr-mask-size", "@NODE_CIDR_MASK_SIZE@"),
        ("service-cluster-ip-range", "@SERVICE_CIDR@"),
        ("use-service-account-credentials", "true"),
    ]));
    arguments.extend([
        ("cluster-signing-cert-file", pki("ca.crt")),
        ("cluster-signing-key-file", pki("ca.key")),
        ("root-ca-file", pki("ca.crt")),
        ("service-account-private-key-file", pki("sa.key")),
    ]);
    // It has no /readyz.
    let probe = || https(IntOrString::Int(10257), "/healthz");
    pod(Component {
        name: "kube-controller-manager",
        image,
        arguments,
        fields: &[],
        mounts: &[PKI, Mount { name: "kubeconfig", path: CONF, kind: Kind::File }, CA_CERTIFICATES],
        requests: &[("cpu", "200m")],
        capabilities: &[],
        probes: Probes { startup: probe(), liveness: probe(), readiness: None },
    })
}

fn scheduler(image: &str) -> Pod {
    const CONF: &str = "/etc/kubernetes/scheduler.conf";
    const CONFIG: &str = "/etc/kubernetes/scheduler.yaml";
    // The file says the rest, and would be overruled by flags of the same meaning.
    let mut arguments = own(&[("config", CONFIG), ("bind-address", "127.0.0.1")]);
    arguments.extend(["authentication-kubeconfig", "authorization-kubeconfig"].map(|flag| (flag, CONF.to_owned())));
    arguments.extend(authorities());
    let probe = |path| https(IntOrString::Int(10259), path);
    pod(Component {
        name: "kube-scheduler",
        image,
        arguments,
        fields: &[],
        mounts: &[
            PKI,
            Mount { name: "config", path: CONFIG, kind: Kind::File },
            Mount { name: "kubeconfig", path: CONF, kind: Kind::File },
        ],
        requests: &[("cpu", "100m")],
        capabilities: &[],
        probes: Probes { startup: probe("/livez"), liveness: probe("/livez"), readiness: Some(probe("/readyz")) },
    })
}
