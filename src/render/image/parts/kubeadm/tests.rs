use serde_json::{Value, json};

use super::super::judge::{as_recorded, facts, filled, systemd_accepts, texts};
use crate::recipe::Part;
use crate::render::Facts;

const CONFIG: &str = "/usr/share/kbake/templates/kubeadm/etc/kubernetes/kubeadm.yaml";

#[test]
fn files_are_as_recorded() {
    as_recorded(Part::Kubeadm, "upstream");
    as_recorded(Part::Kubeadm, "upstream-1.35");
}

#[test]
fn kubeadm_is_told_what_the_seed_knows() {
    let found = filled(&texts(Part::Kubeadm, &facts("upstream"))[CONFIG]);
    let [init, cluster, proxy] = &found[..] else { panic!("{found:?}") };
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
    assert_eq!(found.iter().filter(|document| has_null(document)).count(), 0);
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(pairs) => pairs.values().any(has_null),
        _ => false,
    }
}

/// A worker has no values of etcd's to fill in, and nothing to fill them into.
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
    // The last word is the user's; before it stands all that the unit says itself.
    let start = |text: &str| text.lines().rfind(|line| line.starts_with("ExecStart=k")).unwrap().to_owned();
    for word in start(unit).split(' ') {
        assert!(start(drop_in).split(' ').any(|other| other == word), "{word}");
    }
}
