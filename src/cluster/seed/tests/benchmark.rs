//! Recommendations of the CIS Kubernetes Benchmark 1.11 that a node's files can satisfy, by number and in our own words. Each
//! that is not satisfied has its reason here.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use super::node::{Root, root};
use super::*;
use crate::common::testing::pyyaml;

const PKI: &str = "/etc/kubernetes/pki";
const KUBELET: &str = "/var/lib/kubelet/config.yaml";

struct Checked {
    root: Root,
    /// Flags of the static pods, by program.
    flags: BTreeMap<&'static str, BTreeMap<String, String>>,
    kubelet: Value,
    kubelet_arguments: String,
}

impl Checked {
    fn of(cluster: &Cluster, node: &str) -> Checked {
        let root = root(cluster, cluster.node(node).unwrap());
        let programs = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"];
        let pods = programs.into_iter().filter(|name| root.mode(&manifest(name)).is_some());
        let flags = pods.map(|name| (name, flags(&root.read(&manifest(name))))).collect();
        let kubelet = pyyaml(&[root.read(KUBELET)]).remove(0);
        let kubelet_arguments = root.read("/etc/kubernetes/kubelet.env");
        Checked { root, flags, kubelet, kubelet_arguments }
    }

    /// A flag's value.
    fn flag(&self, program: &str, name: &str) -> Option<&str> {
        self.flags[program].get(name).map(String::as_str)
    }

    fn is(&self, program: &str, name: &str, value: &str) -> bool {
        self.flag(program, name) == Some(value)
    }

    /// True when the program has all of these flags.
    fn has(&self, program: &str, names: &[&str]) -> bool {
        names.iter().all(|name| self.flag(program, name).is_some())
    }

    /// True when a list has this item.
    fn lists(&self, program: &str, name: &str, item: &str) -> bool {
        self.flag(program, name).is_some_and(|list| list.split(',').any(|known| known == item))
    }

    fn at_least(&self, name: &str, number: u32) -> bool {
        self.flag("kube-apiserver", name).is_some_and(|value| value.parse::<u32>().unwrap() >= number)
    }

    /// True if the file exists, and has no permissions beyond these.
    fn within(&self, path: &str, mode: u32) -> bool {
        self.root.mode(path).is_some_and(|found| found & !mode == 0)
    }

    fn roots(&self, path: &str) -> bool {
        self.root.owners.get(path).is_some_and(|owner| owner == "root:root")
    }

    /// Files below `/etc/kubernetes/pki` with this suffix; there are some.
    fn pki(&self, ending: &str) -> Vec<&String> {
        let found: Vec<&String> = self.root.owners.keys().filter(|path| path.starts_with(PKI) && path.ends_with(ending)).collect();
        assert!(!found.is_empty(), "{ending}");
        found
    }
}

impl Root {
    fn mode(&self, path: &str) -> Option<u32> {
        let meta = std::fs::metadata(self.path().join(path.trim_start_matches('/'))).ok()?;
        Some(meta.permissions().mode() & 0o7777)
    }
}

fn manifest(name: &str) -> String {
    format!("/etc/kubernetes/manifests/{name}.yaml")
}

fn flags(text: &str) -> BTreeMap<String, String> {
    let words = text.lines().filter_map(|line| line.trim().strip_prefix("- \"--")?.strip_suffix('"')?.split_once('='));
    words.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Number, whether it is satisfied, and the reason if not.
type Point = (&'static str, bool, &'static str);

const CIPHERS: &str = "Go's own list has no weak cipher, and follows each release; TLS 1.3 has none to choose";

fn files(on: &Checked) -> Vec<Point> {
    let conf = |name: &str| format!("/etc/kubernetes/{name}.conf");
    let (private, roots) = (|path: &str| on.within(path, 0o600), |path: &str| on.roots(path));
    let network = "/etc/cni/net.d/10-bridge.conflist";
    vec![
        ("1.1.1", private(&manifest("kube-apiserver")), ""),
        ("1.1.2", roots(&manifest("kube-apiserver")), ""),
        ("1.1.3", private(&manifest("kube-controller-manager")), ""),
        ("1.1.4", roots(&manifest("kube-controller-manager")), ""),
        ("1.1.5", private(&manifest("kube-scheduler")), ""),
        ("1.1.6", roots(&manifest("kube-scheduler")), ""),
        ("1.1.7", private(&manifest("etcd")), ""),
        ("1.1.8", roots(&manifest("etcd")), ""),
        ("1.1.9", private(network), "the description of the pod network holds no secret, and people read it"),
        ("1.1.10", roots(network), ""),
        ("1.1.11", on.within("/var/lib/etcd", 0o700), ""),
        (
            "1.1.12",
            on.root.owners["/var/lib/etcd"] == "etcd:etcd",
            "the static pod's etcd is root; an image of kbake's has no other user for it",
        ),
        ("1.1.13", on.root.mode(&conf("admin")).is_none() && on.root.mode(&conf("super-admin")).is_none(), ""),
        ("1.1.15", private(&conf("scheduler")), ""),
        ("1.1.16", roots(&conf("scheduler")), ""),
        ("1.1.17", private(&conf("controller-manager")), ""),
        ("1.1.18", roots(&conf("controller-manager")), ""),
        ("1.1.19", on.pki("").into_iter().all(|path| on.roots(path)), ""),
        ("1.1.20", on.pki(".crt").into_iter().all(|path| on.within(path, 0o644)), ""),
        ("1.1.21", on.pki(".key").into_iter().all(|path| on.within(path, 0o600)), ""),
    ]
}

fn api_server(on: &Checked) -> Vec<Point> {
    const API: &str = "kube-apiserver";
    let has = |names: &[&str]| on.has(API, names);
    let admits = |plugin: &str| on.lists(API, "enable-admission-plugins", plugin);
    let keeps = |plugin: &str| !on.lists(API, "disable-admission-plugins", plugin);
    let anonymous = "probes ask without a certificate; RBAC shows the anonymous only health and version";
    let sealed = on.root.read("/etc/kubernetes/encryption.yaml").contains("secretbox");
    vec![
        ("1.2.1", on.is(API, "anonymous-auth", "false"), anonymous),
        ("1.2.2", !has(&["token-auth-file"]), ""),
        ("1.2.3", admits("DenyServiceExternalIPs"), "clusters without a load balancer reach services by external addresses"),
        ("1.2.4", has(&["kubelet-client-certificate", "kubelet-client-key"]), ""),
        ("1.2.5", has(&["kubelet-certificate-authority"]), ""),
        ("1.2.6", !on.lists(API, "authorization-mode", "AlwaysAllow"), ""),
        ("1.2.7", on.lists(API, "authorization-mode", "Node"), ""),
        ("1.2.8", on.lists(API, "authorization-mode", "RBAC"), ""),
        ("1.2.9", admits("EventRateLimit"), "the limits depend on the load; the API server's priority and fairness holds it back"),
        ("1.2.10", !admits("AlwaysAdmit"), ""),
        ("1.2.11", admits("AlwaysPullImages"), "preloaded images need no registry, and would be asked of one"),
        ("1.2.12", keeps("ServiceAccount"), ""),
        ("1.2.13", keeps("NamespaceLifecycle"), ""),
        ("1.2.14", admits("NodeRestriction"), ""),
        ("1.2.15", on.is(API, "profiling", "false"), ""),
        ("1.2.16", has(&["audit-log-path"]), ""),
        ("1.2.17", on.at_least("audit-log-maxage", 30), ""),
        ("1.2.18", on.at_least("audit-log-maxbackup", 10), ""),
        ("1.2.19", on.at_least("audit-log-maxsize", 100), ""),
        ("1.2.20", !has(&["request-timeout"]), ""),
        ("1.2.21", !on.is(API, "service-account-lookup", "false"), ""),
        ("1.2.22", has(&["service-account-key-file"]), ""),
        ("1.2.23", has(&["etcd-certfile", "etcd-keyfile"]), ""),
        ("1.2.24", has(&["tls-cert-file", "tls-private-key-file"]), ""),
        ("1.2.25", has(&["client-ca-file"]), ""),
        ("1.2.26", has(&["etcd-cafile"]), ""),
        ("1.2.27", has(&["encryption-provider-config"]), ""),
        ("1.2.28", sealed, ""),
        ("1.2.29", has(&["tls-cipher-suites"]), CIPHERS),
        ("1.2.30", on.is(API, "service-account-extend-token-expiration", "false"), "clients that read their token once would be shut out"),
        ("3.2.1", has(&["audit-policy-file"]), ""),
    ]
}

fn others(on: &Checked) -> Vec<Point> {
    const CONTROLLERS: &str = "kube-controller-manager";
    const SCHEDULER: &str = "kube-scheduler";
    let etcd = |names: &[&str]| on.has("etcd", names);
    let gates = |program: &str| on.flag(program, "feature-gates").unwrap_or_default().to_owned();
    let own = on.flag("etcd", "trusted-ca-file") != on.flag("kube-apiserver", "client-ca-file");
    let scheduler = on.root.read("/etc/kubernetes/scheduler.yaml");
    vec![
        ("1.3.1", on.has(CONTROLLERS, &["terminated-pod-gc-threshold"]), "how many ended pods are worth keeping is the cluster's to say"),
        ("1.3.2", on.is(CONTROLLERS, "profiling", "false"), ""),
        ("1.3.3", on.is(CONTROLLERS, "use-service-account-credentials", "true"), ""),
        ("1.3.4", on.has(CONTROLLERS, &["service-account-private-key-file"]), ""),
        ("1.3.5", on.has(CONTROLLERS, &["root-ca-file"]), ""),
        ("1.3.6", !gates(CONTROLLERS).contains("RotateKubeletServerCertificate=false"), ""),
        ("1.3.7", on.is(CONTROLLERS, "bind-address", "127.0.0.1"), ""),
        ("1.4.1", scheduler.contains("\nenableProfiling: false\n"), ""),
        ("1.4.2", on.is(SCHEDULER, "bind-address", "127.0.0.1"), ""),
        ("2.1", etcd(&["cert-file", "key-file"]), ""),
        ("2.2", on.is("etcd", "client-cert-auth", "true"), ""),
        ("2.3", !on.is("etcd", "auto-tls", "true"), ""),
        ("2.4", etcd(&["peer-cert-file", "peer-key-file"]), ""),
        ("2.5", on.is("etcd", "peer-client-cert-auth", "true"), ""),
        ("2.6", !on.is("etcd", "peer-auto-tls", "true"), ""),
        ("2.7", own && on.root.read("/etc/kubernetes/pki/etcd/ca.crt") != on.root.read("/etc/kubernetes/pki/ca.crt"), ""),
    ]
}

fn worker(on: &Checked) -> Vec<Point> {
    const UNIT: &str = "/etc/systemd/system/kubelet.service";
    const AUTHORITY: &str = "/etc/kubernetes/pki/ca.crt";
    let key = |pointer: &str| on.kubelet.pointer(pointer);
    let (proxy, caller) = ("/etc/kubernetes/kube-proxy.conf", "/etc/kubernetes/kubelet.conf");
    let rotation = "the client certificate is the seed's, and renewed with it; a rotated one is lost with the disk";
    let kernel = "the kubelet sets what it needs in the kernel; else it would not start on a kernel with other defaults";
    vec![
        ("4.1.1", on.within(UNIT, 0o600), "units are as public as the distribution's, and hold no secret"),
        ("4.1.2", on.roots(UNIT), ""),
        ("4.1.3", on.within(proxy, 0o600), ""),
        ("4.1.4", on.roots(proxy), ""),
        ("4.1.5", on.within(caller, 0o600), ""),
        ("4.1.6", on.roots(caller), ""),
        ("4.1.7", on.within(AUTHORITY, 0o644), ""),
        ("4.1.8", on.roots(AUTHORITY), ""),
        ("4.1.9", on.within(KUBELET, 0o600), ""),
        ("4.1.10", on.roots(KUBELET), ""),
        ("4.2.1", key("/authentication/anonymous/enabled") == Some(&false.into()), ""),
        ("4.2.2", key("/authorization/mode") == Some(&"Webhook".into()), ""),
        ("4.2.3", key("/authentication/x509/clientCAFile") == Some(&AUTHORITY.into()), ""),
        ("4.2.4", key("/readOnlyPort") == Some(&0.into()), ""),
        ("4.2.5", key("/streamingConnectionIdleTimeout").is_none(), ""),
        ("4.2.6", key("/makeIPTablesUtilChains").is_none(), ""),
        ("4.2.6 of 1.7", key("/protectKernelDefaults") == Some(&true.into()), kernel),
        (
            "4.2.7",
            !on.kubelet_arguments.contains("--hostname-override"),
            "the node is called as its certificate says, whatever the host is",
        ),
        ("4.2.8", key("/eventRecordQPS").is_none(), ""),
        ("4.2.9", key("/tlsCertFile").is_some() && key("/tlsPrivateKeyFile").is_some(), ""),
        ("4.2.10", key("/rotateCertificates") != Some(&false.into()), rotation),
        ("4.2.11", key("/featureGates/RotateKubeletServerCertificate").is_none(), ""),
        ("4.2.12", key("/tlsCipherSuites").is_some(), CIPHERS),
        ("4.2.13", key("/podPidsLimit").is_some(), "a limit that suits all pods is the cluster's to say: `[kubernetes.kubelet]`"),
        ("4.2.14", key("/seccompDefault") == Some(&true.into()), ""),
        ("4.3.1", on.root.read("/var/lib/kube-proxy/config.yaml").contains("\nmetricsBindAddress: 127.0.0.1:"), ""),
    ]
}

#[test]
fn the_points_of_the_benchmark_are_held_or_have_a_reason() {
    let cluster = example("two-node");
    let control = Checked::of(&cluster, "control");
    let mut points = [files(&control), api_server(&control), others(&control), worker(&control)].concat();
    points.extend(worker(&Checked::of(&cluster, "worker")));
    let wrong = |(number, held, why): &Point| match (held, why.is_empty()) {
        (false, true) => Some(format!("{number} is not held, and has no reason")),
        (true, false) => Some(format!("{number} is held, and has a reason: {why}")),
        _ => None,
    };
    let wrong: Vec<String> = points.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
