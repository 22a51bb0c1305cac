//! Settings that would break a guarantee of kbake's, or that have a key of their own in the cluster file.

use super::{Component, at};
use crate::cluster::model::{Cluster, PodNetwork, ProxyMode, Role};
use crate::common::document::{Located, Table, Value};
use crate::common::error::{Error, Result};

use Component::{ApiServer, ControllerManager, Etcd, Kubelet, Proxy, Scheduler};

/// A setting that is restricted.
struct Restriction {
    /// A flag, or keys separated by dots.
    key: &'static str,
    allowed: Allowed,
    /// The reason, as a sentence's end.
    why: &'static str,
    /// The key to use instead, or an empty text.
    instead: &'static str,
}

/// The values that are allowed all the same.
enum Allowed {
    /// This value.
    Is(&'static str),
    /// The value that the cluster has.
    Of(fn(&Cluster) -> String),
    /// Lists that contain these words.
    Has(&'static [&'static str]),
    /// Lists that contain none of these words.
    HasNot(&'static [&'static str]),
    /// None: it differs from node to node, or from image to image.
    None,
}

const fn fixed(key: &'static str, value: &'static str, why: &'static str) -> Restriction {
    Restriction { key, allowed: Allowed::Is(value), why, instead: "" }
}

const fn of(key: &'static str, value: fn(&Cluster) -> String, instead: &'static str) -> Restriction {
    Restriction {
        key,
        allowed: Allowed::Of(value),
        why: "the cluster file has it elsewhere, and certificates, routes and other programs depend on it",
        instead,
    }
}

const fn never(key: &'static str, why: &'static str, instead: &'static str) -> Restriction {
    Restriction { key, allowed: Allowed::None, why, instead }
}

const CERTIFICATES: &str = "the seed puts certificates and keys there";
const LOGIN: &str = "access to a node needs a certificate or token";
const LOOPBACK: &str = "probes use that address, and nothing else needs to reach it";
const RUNTIME: &str = "it follows from the container runtime of the role's image";
const KIND: &str = "it is the document's own, which kbake writes";
const FRONT: &str = "the certificates of the seed have these names";
const MEMBER: &str = "it follows from the members of etcd and their addresses";
const KUBECONFIG: &str = "the seed puts the kubeconfig there";
const OTHER_AUTHORITY: &str = "members would no longer ask for certificates of the cluster's own authority";

const KUBELET: &[Restriction] = &[
    never("apiVersion", KIND, ""),
    never("kind", KIND, ""),
    fixed("authentication.anonymous.enabled", "false", LOGIN),
    fixed("authentication.webhook.enabled", "true", LOGIN),
    fixed("authentication.x509.clientCAFile", "/etc/kubernetes/pki/ca.crt", CERTIFICATES),
    fixed("authorization.mode", "Webhook", LOGIN),
    fixed("readOnlyPort", "0", LOGIN),
    fixed("enableServer", "true", "logs, exec and metrics come by its server"),
    fixed("enableDebuggingHandlers", "true", "`kubectl logs` and `exec` come by them"),
    fixed("address", "0.0.0.0", "the API server reaches it by the node's address"),
    fixed("port", "10250", "firewalls and kubeadm know it by this number"),
    fixed("healthzBindAddress", "127.0.0.1", "it answers anyone who reaches it"),
    fixed("tlsCertFile", "/var/lib/kubelet/pki/kubelet.crt", CERTIFICATES),
    fixed("tlsPrivateKeyFile", "/var/lib/kubelet/pki/kubelet.key", CERTIFICATES),
    fixed("rotateCertificates", "false", CERTIFICATES),
    fixed("serverTLSBootstrap", "false", CERTIFICATES),
    never("containerRuntimeEndpoint", RUNTIME, "`containerd` or `crio` among the parts of the role's recipe"),
    never("imageServiceEndpoint", RUNTIME, "`containerd` or `crio` among the parts of the role's recipe"),
    fixed("staticPodPath", "/etc/kubernetes/manifests", "the control plane's pods are there"),
    of("clusterDomain", |cluster| cluster.services.domain.to_string(), "`domain` in [services]"),
    of("clusterDNS", |cluster| cluster.services.dns.to_string(), "`dns` in [services]"),
    never("registerWithTaints", "the control plane's own taint is among them", "`taints` in [[node]]"),
    fixed("registerNode", "true", "a node that does not register is not in the cluster"),
    never("podCIDR", "a node's share is a route on all others", "`pod-cidr` in [[node]]"),
];

const API_SERVER: &[Restriction] = &[
    never("advertise-address", "it is the node's own address", "`address` in [[node]]"),
    fixed("bind-address", "0.0.0.0", "the node itself reaches it by loopback, all others by the node's address"),
    of("secure-port", |cluster| cluster.api.as_ref().map_or_else(String::new, |api| api.port.to_string()), "`port` in [api]"),
    of("service-cluster-ip-range", |cluster| cluster.services.cidr.to_string(), "`cidr` in [services]"),
    fixed(
        "anonymous-auth",
        "true",
        "the probes of the kubelet and of the gateway ask `/livez` and `/readyz` without a name; RBAC gives them no more",
    ),
    Restriction {
        key: "authorization-mode",
        allowed: Allowed::Has(&["Node", "RBAC"]),
        why: "a node may see its own pods' secrets only, and who may do what is in RBAC",
        instead: "",
    },
    Restriction { key: "authorization-mode", allowed: Allowed::HasNot(&["AlwaysAllow"]), why: "everyone could do everything", instead: "" },
    never("authorization-config", "it takes the place of `authorization-mode`", "`authorization-mode`, with `Node` and `RBAC` in it"),
    Restriction {
        key: "enable-admission-plugins",
        allowed: Allowed::Has(&["NodeRestriction"]),
        why: "a node may change itself and its pods only; your list takes the place of kbake's",
        instead: "",
    },
    Restriction {
        key: "disable-admission-plugins",
        allowed: Allowed::HasNot(&["NodeRestriction"]),
        why: "a node may change itself and its pods only",
        instead: "",
    },
    fixed("client-ca-file", "/etc/kubernetes/pki/ca.crt", CERTIFICATES),
    fixed("tls-cert-file", "/etc/kubernetes/pki/apiserver.crt", CERTIFICATES),
    fixed("tls-private-key-file", "/etc/kubernetes/pki/apiserver.key", CERTIFICATES),
    never("cert-dir", CERTIFICATES, ""),
    fixed("requestheader-client-ca-file", "/etc/kubernetes/pki/front-proxy-ca.crt", CERTIFICATES),
    fixed("requestheader-allowed-names", "front-proxy-client", FRONT),
    fixed("requestheader-extra-headers-prefix", "X-Remote-Extra-", FRONT),
    fixed("requestheader-group-headers", "X-Remote-Group", FRONT),
    fixed("requestheader-username-headers", "X-Remote-User", FRONT),
    fixed("proxy-client-cert-file", "/etc/kubernetes/pki/front-proxy-client.crt", CERTIFICATES),
    fixed("proxy-client-key-file", "/etc/kubernetes/pki/front-proxy-client.key", CERTIFICATES),
    of("service-account-issuer", |cluster| format!("https://kubernetes.default.svc.{}", cluster.services.domain), "`domain` in [services]"),
    fixed("service-account-key-file", "/etc/kubernetes/pki/sa.pub", CERTIFICATES),
    fixed("service-account-signing-key-file", "/etc/kubernetes/pki/sa.key", CERTIFICATES),
    never("service-account-signing-endpoint", "tokens are signed with the seed's key", ""),
    never("etcd-servers", MEMBER, "[[node]] with `role = \"etcd\"`"),
    fixed("etcd-cafile", "/etc/kubernetes/pki/etcd/ca.crt", CERTIFICATES),
    fixed("etcd-certfile", "/etc/kubernetes/pki/apiserver-etcd-client.crt", CERTIFICATES),
    fixed("etcd-keyfile", "/etc/kubernetes/pki/apiserver-etcd-client.key", CERTIFICATES),
    fixed("encryption-provider-config", "/etc/kubernetes/encryption.yaml", "secrets are encrypted in etcd by the seed's key"),
    fixed("kubelet-certificate-authority", "/etc/kubernetes/pki/ca.crt", CERTIFICATES),
    fixed("kubelet-client-certificate", "/etc/kubernetes/pki/apiserver-kubelet-client.crt", CERTIFICATES),
    fixed("kubelet-client-key", "/etc/kubernetes/pki/apiserver-kubelet-client.key", CERTIFICATES),
];

const CONTROLLER_MANAGER: &[Restriction] = &[
    never("master", KUBECONFIG, ""),
    fixed("kubeconfig", "/etc/kubernetes/controller-manager.conf", KUBECONFIG),
    fixed("authentication-kubeconfig", "/etc/kubernetes/controller-manager.conf", KUBECONFIG),
    fixed("authorization-kubeconfig", "/etc/kubernetes/controller-manager.conf", KUBECONFIG),
    fixed("bind-address", "127.0.0.1", LOOPBACK),
    fixed("secure-port", "10257", LOOPBACK),
    fixed("client-ca-file", "/etc/kubernetes/pki/ca.crt", CERTIFICATES),
    fixed("requestheader-client-ca-file", "/etc/kubernetes/pki/front-proxy-ca.crt", CERTIFICATES),
    never("cert-dir", CERTIFICATES, ""),
    of("allocate-node-cidrs", |cluster| (cluster.pods.network == PodNetwork::None).to_string(), "`network` in [pods]"),
    of("cluster-cidr", |cluster| cluster.pods.cidr.to_string(), "`cidr` in [pods]"),
    of("cluster-name", |cluster| cluster.name.to_string(), "`name`"),
    of("node-cidr-mask-size", |cluster| cluster.pods.node_prefix.to_string(), "`node-prefix` in [pods]"),
    of("service-cluster-ip-range", |cluster| cluster.services.cidr.to_string(), "`cidr` in [services]"),
    of("leader-elect", elects, "the number of control-plane nodes"),
    fixed("use-service-account-credentials", "true", "each controller has the permissions of its own account only"),
    fixed("cluster-signing-cert-file", "/etc/kubernetes/pki/ca.crt", CERTIFICATES),
    fixed("cluster-signing-key-file", "/etc/kubernetes/pki/ca.key", CERTIFICATES),
    fixed("root-ca-file", "/etc/kubernetes/pki/ca.crt", CERTIFICATES),
    fixed("service-account-private-key-file", "/etc/kubernetes/pki/sa.key", CERTIFICATES),
];

const SCHEDULER: &[Restriction] = &[
    never("apiVersion", KIND, ""),
    never("kind", KIND, ""),
    fixed("clientConnection.kubeconfig", "/etc/kubernetes/scheduler.conf", KUBECONFIG),
    of("leaderElection.leaderElect", elects, "the number of control-plane nodes"),
];

const PROXY: &[Restriction] = &[
    never("apiVersion", KIND, ""),
    never("kind", KIND, ""),
    fixed("clientConnection.kubeconfig", "/etc/kubernetes/kube-proxy.conf", KUBECONFIG),
    never("hostnameOverride", "it is the node's own name", "`name` in [[node]]"),
    of("mode", |cluster| cluster.services.proxy.to_string(), "`proxy` in [services]"),
    of("clusterCIDR", |cluster| cluster.pods.cidr.to_string(), "`cidr` in [pods]"),
    fixed("bindAddress", "0.0.0.0", "load balancers ask for its health by the node's address"),
    fixed("metricsBindAddress", "127.0.0.1:10249", "it answers anyone who reaches it"),
];

const ETCD: &[Restriction] = &[
    never("config-file", "all other settings would be ignored", ""),
    never("name", MEMBER, "`name` in [[node]]"),
    fixed("data-dir", "/var/lib/etcd", "the image has this folder for it, and data disks are mounted there"),
    never("wal-dir", "the image has no folder for it", "`data-disk` in [[node]]"),
    never("listen-client-urls", MEMBER, "`address` in [[node]]"),
    never("listen-client-http-urls", MEMBER, "`address` in [[node]]"),
    never("advertise-client-urls", MEMBER, "`address` in [[node]]"),
    never("listen-peer-urls", MEMBER, "`address` in [[node]]"),
    never("initial-advertise-peer-urls", MEMBER, "`address` in [[node]]"),
    never("initial-cluster", MEMBER, "the nodes of the cluster file"),
    never("initial-cluster-state", MEMBER, "`kbake seed --etcd-join`"),
    never("initial-cluster-token", MEMBER, "`name`"),
    fixed("listen-metrics-urls", "http://127.0.0.1:2381", LOOPBACK),
    never("discovery", MEMBER, "the nodes of the cluster file"),
    never("discovery-srv", MEMBER, "the nodes of the cluster file"),
    fixed("force-new-cluster", "false", "a member would leave the others at every start"),
    never("cert-file", CERTIFICATES, ""),
    never("key-file", CERTIFICATES, ""),
    never("trusted-ca-file", CERTIFICATES, ""),
    never("client-cert-file", CERTIFICATES, ""),
    never("client-key-file", CERTIFICATES, ""),
    fixed("client-cert-auth", "true", OTHER_AUTHORITY),
    fixed("auto-tls", "false", OTHER_AUTHORITY),
    never("peer-cert-file", CERTIFICATES, ""),
    never("peer-key-file", CERTIFICATES, ""),
    never("peer-trusted-ca-file", CERTIFICATES, ""),
    never("peer-client-cert-file", CERTIFICATES, ""),
    never("peer-client-key-file", CERTIFICATES, ""),
    fixed("peer-client-cert-auth", "true", OTHER_AUTHORITY),
    fixed("peer-auto-tls", "false", OTHER_AUTHORITY),
];

fn elects(cluster: &Cluster) -> String {
    cluster.elects_leaders().to_string()
}

/// The restricted settings of a component.
fn restrictions(component: Component) -> &'static [Restriction] {
    match component {
        Kubelet => KUBELET,
        ApiServer => API_SERVER,
        ControllerManager => CONTROLLER_MANAGER,
        Scheduler => SCHEDULER,
        Proxy => PROXY,
        Etcd => ETCD,
    }
}

/// Refuses settings of a cluster that break a guarantee, or that no program in it would read.
///
/// # Errors
/// The first one, with its place, the reason and the key to use instead.
pub(in crate::cluster::model) fn check(cluster: &Cluster) -> Result<()> {
    for (component, table, given) in cluster.given_settings() {
        refuse_unread(cluster, component, given)?;
        for restriction in restrictions(component) {
            if let Some(found) = at(given, restriction.key)
                && !restriction.allows(cluster, &found.value)
            {
                return Err(restriction.refusal(cluster, &table, found));
            }
        }
    }
    Ok(())
}

/// Refuses settings of a program that the cluster does not have.
fn refuse_unread(cluster: &Cluster, component: Component, given: &Table) -> Result<()> {
    let why = match component {
        Proxy if cluster.services.proxy == ProxyMode::None => "[services] says `proxy = \"none\"`",
        Etcd if cluster.etcd_members().next().is_none() => "no node has the role etcd or control-plane",
        ApiServer | ControllerManager | Scheduler if cluster.with_role(Role::ControlPlane).next().is_none() => {
            "no node has the role control-plane"
        }
        Kubelet | Proxy if !cluster.nodes.iter().any(|node| node.role.has_kubelet()) => "no node has the role control-plane or worker",
        _ => return Ok(()),
    };
    match given.values().next() {
        Some(first) => Err(first.place.error(format!("no node runs {}, so nothing reads its settings", component.program())).detail(why)),
        None => Ok(()),
    }
}

impl Restriction {
    fn allows(&self, cluster: &Cluster, found: &Value) -> bool {
        let words = words(found);
        match self.allowed {
            Allowed::Is(value) => words.join(",") == value,
            Allowed::Of(value) => words.join(",") == value(cluster),
            Allowed::Has(needed) => needed.iter().all(|needed| words.iter().any(|word| word == needed)),
            Allowed::HasNot(refused) => !words.iter().any(|word| refused.contains(&word.as_str())),
            Allowed::None => false,
        }
    }

    fn refusal(&self, cluster: &Cluster, table: &str, found: &Located<Value>) -> Error {
        let expected = match self.allowed {
            Allowed::Is("") | Allowed::None => "kbake sets it itself".to_owned(),
            Allowed::Is(value) => format!("it must stay `{value}`"),
            Allowed::Of(value) => format!("this cluster has `{}`", value(cluster)),
            Allowed::Has(needed) => {
                format!("it must have {}", needed.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" and "))
            }
            Allowed::HasNot(refused) => format!("it must not have `{}`", refused.join("`, `")),
        };
        let error = found.place.error(format!("`{}` in {table} is restricted: {expected}", self.key)).detail(self.why);
        match self.instead {
            "" => error.hint("leave it out"),
            instead => error.hint(format!("leave it out, and use {instead}")),
        }
    }
}

/// The words of a scalar or a list, in any notation.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::List(items) => items.iter().flat_map(|item| words(&item.value)).collect(),
        Value::Text(text) => text.split(',').map(str::to_owned).collect(),
        other => vec![other.to_string()],
    }
}

#[cfg(test)]
pub(in crate::cluster::model) mod tests;
