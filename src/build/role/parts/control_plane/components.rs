//! API server, controller manager and scheduler.
//!
//! Every flag exists in all Kubernetes versions of the channels:
//! <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/> and its neighbours. The paths of
//! certificates are kubeadm's layout, which the seed follows.

use k8s_openapi::api::core::v1::{Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::manifest::http_get;
use super::pod::{Component, HOST_IP, Kind, Mount, Probes, pod};

/// A component, and the function that makes its pod from its container image.
pub(super) struct Static {
    /// The component, and short name of its image.
    pub(super) name: &'static str,
    /// A comment in the manifest.
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
/// Public authorities, for webhooks and identity providers outside of the cluster. An image that kbake built has none.
const CA_CERTIFICATES: Mount = Mount { name: "ca-certificates", path: "/etc/ssl/certs", kind: Kind::Folder };

fn pki(name: &str) -> String {
    format!("/etc/kubernetes/pki/{name}")
}

fn own(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    pairs.iter().map(|(flag, value)| (*flag, (*value).to_owned())).collect()
}

/// The authorities that it trusts for clients, and for proxies in front of it.
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

/// Its listener and general flags.
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

/// Authentication and authorisation: certificates, service accounts, and proxies in front. No bootstrap tokens: nodes have
/// their certificates from their seeds.
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

/// Access to kubelets. They serve with certificates of the cluster's authority for their addresses, which are therefore
/// verified.
fn kubelets() -> Vec<(&'static str, String)> {
    vec![
        ("kubelet-certificate-authority", pki("ca.crt")),
        ("kubelet-client-certificate", pki("apiserver-kubelet-client.crt")),
        ("kubelet-client-key", pki("apiserver-kubelet-client.key")),
        ("kubelet-preferred-address-types", "InternalIP,ExternalIP,Hostname".to_owned()),
    ]
}

/// The audit log: at most 1.1 GB.
fn audit() -> Vec<(&'static str, String)> {
    own(&[
        ("audit-policy-file", "/etc/kubernetes/audit-policy.yaml"),
        ("audit-log-path", "/var/log/kubernetes/audit.log"),
        ("audit-log-maxage", "30"),
        ("audit-log-maxbackup", "10"),
        ("audit-log-maxsize", "100"),
    ])
}

/// The timing of leader election, for components of which one works at a time: names and values, in seconds.
///
/// A leader that has not renewed its lease for 40 s ends, and its successor begins 60 to 72 s after the last renewal. The
/// defaults (10 s and 15 s) cost a restart whenever a busy machine stalls for as long; a minute without a leader costs less, as
/// pods of a lost node are replaced after five. A working leader must have more than one attempt before its time is up: each
/// attempt has half of it.
pub(in crate::build::role::parts) const TURNS: [(&str, &str); 4] = [
    ("leader-elect", "@LEADER_ELECT@"),
    ("leader-elect-lease-duration", "60s"),
    ("leader-elect-renew-deadline", "40s"),
    ("leader-elect-retry-period", "10s"),
];

/// The flags of a component that serves metrics on loopback only, and calls the API server by `/etc/kubernetes/NAME.conf`.
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
    // With kbake's own pod network a node's share is in its seed, and a second one, allocated here, could only differ from it.
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
    // The file has the other settings, and flags of the same meaning would override it.
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
