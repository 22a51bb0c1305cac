use std::process::Command;

use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::Value;

use super::super::testing::{VALUES, as_recorded, facts, filled, texts};
use super::*;
use crate::common::testing::{put, run};
use crate::common::value::Reference;
use crate::spec::recipe::Part;

const MANIFESTS: [(&str, &str); 4] = [
    ("stacked-etcd", "etcd"),
    ("control-plane", "kube-apiserver"),
    ("control-plane", "kube-controller-manager"),
    ("control-plane", "kube-scheduler"),
];

/// Its path in the image.
const SCHEDULER: &str = "/usr/share/kbake/templates/control-plane/etc/kubernetes/scheduler.yaml";

fn template_of(group: &str, name: &str) -> String {
    let path = format!("/usr/share/kbake/templates/{group}/etc/kubernetes/manifests/{name}.yaml");
    texts(Part::ControlPlane, &facts("upstream"))[&path].clone()
}

fn pods() -> Vec<Value> {
    MANIFESTS.iter().flat_map(|(group, name)| filled(&template_of(group, name))).collect()
}

fn container(pod: &Value) -> Container {
    let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
    pod.spec.unwrap().containers.remove(0)
}

fn flag(command: &[String], name: &str) -> String {
    let found: Vec<&str> = command.iter().filter_map(|word| word.strip_prefix(&format!("--{name}="))).collect();
    assert_eq!(found.len(), 1, "--{name} in {command:?}");
    found[0].to_owned()
}

#[test]
fn files_are_as_recorded() {
    as_recorded(Part::ControlPlane, "upstream");
    as_recorded(Part::ControlPlane, "upstream-1.35");
}

/// Debian has none of the images.
#[test]
fn what_the_channel_lacks_is_left_out() {
    let paths: Vec<String> = texts(Part::ControlPlane, &facts("debian")).into_keys().collect();
    assert_eq!(paths, ["/etc/kubernetes/audit-policy.yaml", "/etc/systemd/system/system.slice.d/50-kbake.conf", SCHEDULER]);
}

/// Another parser reads the typed objects back, and nothing in them is unknown to the types.
#[test]
fn manifests_mean_what_was_typed() {
    for (pod, (_, name)) in pods().into_iter().zip(MANIFESTS) {
        assert_eq!((&pod["apiVersion"], &pod["kind"]), (&"v1".into(), &"Pod".into()));
        assert_eq!((&pod["metadata"]["name"], &pod["metadata"]["namespace"]), (&name.into(), &"kube-system".into()));
        let typed: Pod = serde_json::from_value(pod.clone()).unwrap();
        assert_eq!(serde_json::to_value(&typed).unwrap(), pod);
        let spec = typed.spec.unwrap();
        assert_eq!((spec.host_network, spec.priority_class_name.as_deref()), (Some(true), Some("system-node-critical")));
        for volume in spec.volumes.unwrap() {
            assert!(volume.host_path.is_some(), "{name}: a static pod has files of the host only: {}", volume.name);
        }
        assert_eq!(spec.containers[0].image_pull_policy.as_deref(), Some("Never"));
        assert!(spec.containers[0].startup_probe.is_some() && spec.containers[0].liveness_probe.is_some());
    }
}

/// kubectl converts the file to its own types, which drop unknown fields, and writes it again.
#[test]
fn kubectl_knows_every_field() {
    let dir = tempfile::tempdir().unwrap();
    for pod in pods() {
        let name = pod["metadata"]["name"].as_str().unwrap();
        put(dir.path(), name, pod.to_string(), 0o644);
        let mut command = Command::new("kubectl");
        command.args(["set", "image", "--local", "--output=json", &format!("{name}=other"), "--filename"]).arg(dir.path().join(name));
        let out = run(command.env("HOME", dir.path()));
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let mut found: Value = serde_json::from_slice(&out.stdout).unwrap();
        found["spec"]["containers"][0]["image"] = pod["spec"]["containers"][0]["image"].clone();
        for (object, key) in [("metadata", "creationTimestamp"), ("", "status")] {
            let object = if object.is_empty() { &mut found } else { &mut found[object] };
            object.as_object_mut().unwrap().remove(key);
        }
        assert_eq!(found, pod, "{name}");
    }
}

/// Both values come with the seed: the right one depends on the cluster's pod network.
#[test]
fn shares_of_pods_are_the_clusters_to_allocate() {
    let controller = pods().into_iter().find(|pod| pod["metadata"]["name"] == "kube-controller-manager").unwrap();
    let command = container(&controller).command.unwrap();
    assert_eq!(
        ["allocate-node-cidrs", "node-cidr-mask-size", "cluster-cidr"].map(|name| flag(&command, name)),
        ["true", "24", "10.0.0.0/12"]
    );
}

/// Every file in a program's arguments is mounted, from where the seed and the image put it.
#[test]
fn every_file_that_is_named_is_mounted() {
    for pod in pods() {
        let container = container(&pod);
        let mounts = container.volume_mounts.unwrap();
        for word in container.command.unwrap().iter().skip(1) {
            let Some((_, path)) = word.split_once('=').filter(|(_, value)| value.starts_with("/etc/") || value.starts_with("/var/")) else {
                continue;
            };
            assert!(mounts.iter().any(|mount| path == mount.mount_path || path.starts_with(&format!("{}/", mount.mount_path))), "{word}");
        }
    }
}

#[test]
fn the_api_server_guards_what_it_has() {
    let command = container(&pods()[1]).command.unwrap();
    for (name, value) in [
        ("advertise-address", "$(HOST_IP)"),
        ("authorization-mode", "Node,RBAC"),
        ("enable-admission-plugins", "NodeRestriction"),
        ("encryption-provider-config", "/etc/kubernetes/encryption.yaml"),
        ("audit-policy-file", "/etc/kubernetes/audit-policy.yaml"),
        ("etcd-servers", "https://192.168.3.11:2379,https://192.168.3.12:2379"),
        ("etcd-certfile", "/etc/kubernetes/pki/apiserver-etcd-client.crt"),
        ("kubelet-certificate-authority", "/etc/kubernetes/pki/ca.crt"),
        ("secure-port", "6443"),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
        ("service-cluster-ip-range", "10.32.0.0/16"),
        ("profiling", "false"),
    ] {
        assert_eq!(flag(&command, name), value, "{name}");
    }
    assert!(template_of("control-plane", "kube-apiserver").contains("port: @API_PORT@\n"), "a quoted port would be a port's name");
}

/// Flags of guides that no longer exist, or have no effect.
#[test]
fn no_flag_is_a_removed_one() {
    const GONE: [&str; 12] = [
        "address",
        "apiserver-count",
        "basic-auth-file",
        "cloud-provider",
        "insecure-bind-address",
        "insecure-port",
        "kubelet-https",
        "master",
        "port",
        "service-account-api-audiences",
        "token-auth-file",
        "experimental-cluster-signing-duration",
    ];
    for pod in pods() {
        for word in container(&pod).command.unwrap().iter().skip(1) {
            let name = word.trim_start_matches("--").split('=').next().unwrap();
            assert!(!GONE.contains(&name) && word.contains('='), "{word}");
        }
    }
}

fn etcd_command(tag: &str) -> Vec<String> {
    let reference: Reference = format!("registry.k8s.io/etcd:{tag}").parse().unwrap();
    etcd::pod(&reference).spec.unwrap().containers.remove(0).command.unwrap()
}

#[test]
fn etcd_gets_the_flags_of_its_version() {
    for (tag, has, lacks) in [
        ("3.6.8-0", "--feature-gates=InitialCorruptCheck=true", "--experimental"),
        ("v3.6.8", "--watch-progress-notify-interval=5s", "--experimental"),
        ("3.7.0-0", "--feature-gates=InitialCorruptCheck=true", "--experimental"),
        ("3.5.9-0", "--experimental-watch-progress-notify-interval=5s", "--feature-gates"),
        ("3.4.23", "--experimental-initial-corrupt-check=true", "watch-progress"),
        ("mine", "--feature-gates=InitialCorruptCheck=true", "--experimental"),
    ] {
        let command = etcd_command(tag).join(" ");
        assert!(command.contains(has) && !command.contains(lacks), "{tag}: {command}");
    }
    let path = |tag: &str| {
        let reference: Reference = format!("registry.k8s.io/etcd:{tag}").parse().unwrap();
        let container = etcd::pod(&reference).spec.unwrap().containers.remove(0);
        let path = |probe: Option<k8s_openapi::api::core::v1::Probe>| probe.unwrap().http_get.unwrap().path.unwrap();
        (path(container.startup_probe), path(container.liveness_probe), path(container.readiness_probe))
    };
    for (tag, live, ready) in [
        ("3.4.23", "/health", "/health"),
        ("3.4.30", "/livez", "/readyz"),
        ("3.5.9", "/health?serializable=true", "/health"),
        ("3.5.11", "/livez", "/readyz"),
        ("3.6.8-0", "/livez", "/readyz"),
    ] {
        assert_eq!(path(tag), (ready.to_owned(), live.to_owned(), ready.to_owned()), "{tag}: it has started when it serves");
    }
}

/// Debian's etcd accepts all flags of its version, and stops at the address, which is nobody's (RFC 5737).
#[test]
fn etcd_accepts_its_flags() {
    let dir = tempfile::tempdir().unwrap();
    let command = etcd_command("3.4.23").into_iter().skip(1).map(|word| {
        let word = VALUES.iter().fold(word, |word, (key, value)| word.replace(&format!("@{key}@"), value));
        let word = word.replace("$(HOST_IP)", "192.0.2.1").replace("192.168.3.11", "192.0.2.1").replace("$(NODE_NAME)", "control0");
        word.replace("/var/lib/etcd", dir.path().join("data").to_str().unwrap()).replace("/etc/kubernetes", dir.path().to_str().unwrap())
    });
    let out = run(Command::new("/usr/local/lib/kbake-tests/etcd").args(command));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && !said.contains("flag provided but not defined"), "{said}");
    assert!(said.contains("starting with peer TLS") && said.contains("listen tcp 192.0.2.1:2380"), "{said}");
}

/// No rule logs a body, and the last rule matches everything.
#[test]
fn the_audit_policy_writes_no_bodies() {
    let policy = &filled(include_str!("audit-policy.yaml"))[0];
    assert_eq!((&policy["apiVersion"], &policy["kind"]), (&"audit.k8s.io/v1".into(), &"Policy".into()));
    let rules = policy["rules"].as_array().unwrap();
    const KNOWN: [&str; 7] = ["level", "nonResourceURLs", "resources", "users", "userGroups", "verbs", "namespaces"];
    for rule in rules {
        assert!(rule["level"] == "None" || rule["level"] == "Metadata", "{rule}");
        assert!(rule.as_object().unwrap().keys().all(|key| KNOWN.contains(&key.as_str())), "{rule}");
        assert!(rule["level"] == "Metadata" || !rule.to_string().contains("secrets"), "{rule}");
    }
    assert_eq!(rules.last().unwrap(), &serde_json::json!({ "level": "Metadata" }));
    // A rule for a group without resources would match its secrets, if it had any.
    for rule in rules.iter().filter(|rule| rule["level"] == "None") {
        for resource in rule["resources"].as_array().into_iter().flatten() {
            assert!(resource["group"] != "" || resource["resources"].is_array(), "{rule}");
        }
    }
}

#[test]
fn the_scheduler_is_configured_by_its_file() {
    let config = &filled(include_str!("scheduler.yaml"))[0];
    assert_eq!(config["kind"], "KubeSchedulerConfiguration");
    assert_eq!(config["apiVersion"], "kubescheduler.config.k8s.io/v1");
    assert_eq!(config["clientConnection"]["kubeconfig"], "/etc/kubernetes/scheduler.conf");
    assert_eq!(config["leaderElection"]["leaderElect"], true, "a value of the cluster's, and no text");
}

/// <https://github.com/kubernetes/client-go/blob/v0.34.0/tools/leaderelection/leaderelection.go>: the lease is longer than the
/// deadline, and the deadline than 1.2 pauses. Half of the deadline is an attempt's time.
#[test]
fn leaders_have_the_patience_of_a_slow_machine() {
    let seconds = |value: &str| value.strip_suffix('s').unwrap().parse::<u32>().unwrap();
    let manager = container(&pods()[2]).command.unwrap();
    assert_eq!(flag(&manager, "leader-elect"), "true", "the cluster's value");
    let scheduler = filled(include_str!("scheduler.yaml"))[0]["leaderElection"].clone();
    let mut times = Vec::new();
    for (name, key) in [("lease-duration", "leaseDuration"), ("renew-deadline", "renewDeadline"), ("retry-period", "retryPeriod")] {
        let value = flag(&manager, &format!("leader-elect-{name}"));
        assert_eq!(scheduler[key], value, "{name}: both are alike");
        times.push(seconds(&value));
    }
    let [lease, deadline, pause] = times[..] else { panic!("{times:?}") };
    assert!(lease > deadline && deadline > pause * 12 / 10 && deadline > 30, "{times:?}");
    assert!(lease <= 60, "a cluster without a leader is found one before its pods are missed: {times:?}");
}
