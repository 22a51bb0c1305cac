use std::process::Command;

use serde_json::{Value, json};

use super::super::testing::{as_recorded, facts, filled, systemd_accepts, texts};
use crate::build::role::Facts;
use crate::common::testing::put;
use crate::spec::recipe::Part;

const CONFIG: &str = "/usr/share/kbake/templates/kubeadm/etc/kubernetes/kubeadm.yaml";

#[test]
fn files_are_as_recorded() {
    as_recorded(Part::Kubeadm, "upstream");
    as_recorded(Part::Kubeadm, "upstream-1.35");
}

#[test]
fn kubeadm_is_told_what_the_seed_knows() {
    let found = filled(&texts(Part::Kubeadm, &facts("upstream"))[CONFIG]);
    let [init, cluster, kubelet, proxy] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&init["apiVersion"], &init["kind"]), (&json!("kubeadm.k8s.io/v1beta4"), &json!("InitConfiguration")));
    assert_eq!(init["localAPIEndpoint"]["bindPort"], 6443, "a number");
    assert_eq!(init["nodeRegistration"]["criSocket"], "unix:///run/containerd/containerd.sock");
    assert_eq!(init["nodeRegistration"]["name"], "control0");
    assert_eq!(cluster["kind"], "ClusterConfiguration");
    assert_eq!(cluster["kubernetesVersion"], "v1.36.2");
    assert_eq!(cluster["controlPlaneEndpoint"], "kubernetes.kubenet:6443");
    let members = json!(["https://192.168.3.11:2379", "https://192.168.3.12:2379"]);
    assert_eq!(cluster["etcd"]["external"]["endpoints"], members, "a list");
    // kubeadm's own are `true` and the defaults, for one node as for several.
    let of = |component: &str, name: &str| {
        let arguments = cluster[component]["extraArgs"].as_array().unwrap();
        arguments.iter().find(|argument| argument["name"] == name).unwrap()["value"].clone()
    };
    assert_eq!(of("controllerManager", "leader-elect-renew-deadline"), "40s");
    assert_eq!((of("controllerManager", "leader-elect"), of("scheduler", "leader-elect")), (json!("true"), json!("true")));
    assert_eq!(of("scheduler", "config"), "/etc/kubernetes/scheduler.yaml");
    assert_eq!(cluster["dns"], json!({ "imageRepository": "registry.k8s.io/coredns", "imageTag": "v1.14.2" }));
    assert_eq!(cluster["proxy"], json!({ "disabled": false }));
    assert_eq!((&proxy["kind"], &proxy["mode"]), (&json!("KubeProxyConfiguration"), &json!("nftables")));
    assert_eq!(kubelet["kind"], "KubeletConfiguration");
    assert_eq!(found.iter().filter(|document| has_null(document)).count(), 0);
}

/// A node that joins by a token gets its kubelet's configuration from here: it keeps its preloaded images, as all nodes do.
#[test]
fn nodes_that_join_by_a_token_are_configured_as_those_with_a_seed() {
    let joined = filled(&texts(Part::Kubeadm, &facts("upstream"))[CONFIG]).remove(2);
    let of_a_seed = &texts(Part::Kubelet, &facts("upstream"))["/usr/share/kbake/templates/node/var/lib/kubelet/config.yaml"];
    let seeded = filled(&of_a_seed.replace("@REGISTER_WITH_TAINTS@", "[]")).remove(0);
    // The rest is kubeadm's own, or that of the certificates in a seed.
    let of_the_seed =
        ["authentication", "authorization", "cgroupDriver", "clusterDNS", "clusterDomain", "containerRuntimeEndpoint", "failSwapOn"];
    let and_of_kubeadm = ["readOnlyPort", "registerWithTaints", "resolvConf", "rotateCertificates", "serverTLSBootstrap", "staticPodPath"];
    let mut expected = seeded.as_object().unwrap().clone();
    expected.retain(|key, _| !key.starts_with("tls") && ![&of_the_seed[..], &and_of_kubeadm].concat().contains(&key.as_str()));
    assert_eq!(joined, Value::Object(expected));
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(pairs) => pairs.values().any(has_null),
        _ => false,
    }
}

/// A worker has no values of etcd's to fill in, and no template for them.
#[test]
fn a_worker_has_the_drop_in_only() {
    let mut worker = facts("upstream");
    worker.images.retain(|name, _| ["coredns", "kube-proxy", "pause"].contains(&name.as_str()));
    let paths: Vec<String> = texts(Part::Kubeadm, &worker).into_keys().collect();
    assert_eq!(paths, ["/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"]);
}

#[test]
fn systemd_accepts_the_drop_in() {
    let mut files = texts(Part::Kubelet, &facts("upstream"));
    files.extend(texts(Part::Kubeadm, &Facts::default()));
    for unit in ["containerd.service", "kbake-images.service", "kbake-images-rest.service"] {
        files.insert(format!("/usr/lib/systemd/system/{unit}"), "[Service]\nExecStart=/bin/true\n".to_owned());
    }
    systemd_accepts("kubelet.service", &files, &["usr/bin/kubelet", "usr/local/bin/kubelet", "bin/true", "usr/bin/true"]);
    let drop_in = &files["/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"];
    let unit = &files["/etc/systemd/system/kubelet.service"];
    // The last argument is the user's; all of the unit's own come before it.
    let start = |text: &str| text.lines().rfind(|line| line.starts_with("ExecStart=k")).unwrap().to_owned();
    for word in start(unit).split(' ') {
        assert!(start(drop_in).split(' ').any(|other| other == word), "{word}");
    }
}

/// The unit's lines with the drop-in's after them, without those that an empty value resets.
fn merged(key: &str) -> Vec<String> {
    let files: Vec<String> = [texts(Part::Kubelet, &facts("upstream")), texts(Part::Kubeadm, &facts("upstream"))]
        .into_iter()
        .zip(["/etc/systemd/system/kubelet.service", "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"])
        .map(|(texts, path)| texts[path].clone())
        .collect();
    let mut values: Vec<String> = Vec::new();
    for line in files.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with(key)) {
        if line.ends_with('=') { values.clear() } else { values.push(line.to_owned()) }
    }
    values
}

/// systemd's own evaluation of the unit's conditions, on a node with these files.
fn would_start(files: &[&str]) -> bool {
    let root = tempfile::tempdir().unwrap();
    for path in files {
        put(root.path(), path, "", 0o755);
    }
    let conditions = merged("Condition").into_iter().map(|line| line.replacen("/", &format!("{}/", root.path().display()), 1));
    let out = Command::new("systemd-analyze").arg("condition").args(conditions).env("LC_ALL", "C").output();
    let out = out.unwrap_or_else(|e| panic!("systemd is missing: run tests/setup.sh ({e})"));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("succeeded") || said.contains("failed"), "{said}");
    out.status.success()
}

#[test]
fn kubelet_starts_by_the_seeds_certificate_and_by_a_token_and_not_before() {
    let program = "usr/local/bin/kubelet";
    assert!(would_start(&[program, "etc/kubernetes/kubelet.conf"]), "registered by its seed, or joined");
    assert!(would_start(&[program, "etc/kubernetes/bootstrap-kubelet.conf"]), "joining by a token");
    assert!(would_start(&["usr/bin/kubelet", "etc/kubernetes/bootstrap-kubelet.conf"]), "the distribution's kubelet");
    assert!(!would_start(&[program, "etc/kubernetes/kubeadm.yaml"]), "before kubeadm");
    assert!(!would_start(&["etc/kubernetes/kubelet.conf"]), "without a kubelet");
}

/// A node that joins by a token has no arguments from a seed, and the kubelet needs the token.
#[test]
fn a_node_that_joins_by_a_token_needs_nothing_of_a_seed() {
    let required: Vec<String> = merged("EnvironmentFile").into_iter().filter(|line| !line.starts_with("EnvironmentFile=-")).collect();
    assert_eq!(required, Vec::<String>::new());
    let start = merged("ExecStart").join("\n");
    assert!(start.contains(" --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf "), "{start}");
    assert!(start.contains(" --kubeconfig=/etc/kubernetes/kubelet.conf "), "{start}");
}
