use serde_json::json;

use super::*;
use crate::cluster::node::file::Content;
use crate::cluster::node::{EtcdStart, public_files};
use crate::common::testing::pyyaml;

const HEAD: &str = "name = 'x'\n[network]\ncidr = '10.1.0.0/24'\n";

fn cluster(rest: &str) -> Cluster {
    Cluster::read("c.toml", &format!("{HEAD}{rest}")).unwrap_or_else(|e| panic!("{e}"))
}

fn text(cluster: &Cluster, node: &str, path: &str) -> Option<String> {
    let files = public_files(cluster, cluster.node(node).unwrap(), EtcdStart::New).unwrap();
    files.into_iter().find(|file| file.path == path).map(|file| match file.content {
        Content::Public(text) => text.into_owned(),
        other => panic!("{other:?}"),
    })
}

const NODES: &str = "[[node]]\nrole = 'control-plane'\n[[node]]\nrole = 'worker'\nkubelet = { systemReserved = { memory = '1Gi' } }\n";

#[test]
fn without_settings_a_seed_has_nothing_of_them() {
    let cluster = cluster("[[node]]\nrole = 'control-plane'\n");
    for path in [COMPONENTS, "/etc/kubernetes/kubelet.conf.d/50-kbake.conf"] {
        assert_eq!(text(&cluster, "control", path), None);
    }
    assert!(!text(&cluster, "control", "/etc/kubernetes/cluster.env").unwrap().contains("COMPONENTS"));
    assert!(!text(&cluster, "control", "/etc/kubernetes/kubelet.env").unwrap().contains("config-dir"));
}

#[test]
fn the_kubelet_gets_a_drop_in_and_is_told_of_its_folder() {
    let cluster = cluster(&format!(
        "[kubernetes.kubelet]\nkubeAPIQPS = 50\nfailSwapOn = false\nevictionHard = {{ 'memory.available' = '5%' }}\n\
         registryPullQPS = 2.5\nallowedUnsafeSysctls = ['net.*']\nlogging = {{ flushFrequency = \"5\\\"s\" }}\n{NODES}"
    ));
    let drop_in = "/etc/kubernetes/kubelet.conf.d/50-kbake.conf";
    let found = pyyaml(&[text(&cluster, "worker", drop_in).unwrap()]).remove(0);
    assert_eq!(
        found,
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "kubeAPIQPS": 50, "failSwapOn": false,
            "evictionHard": { "memory.available": "5%" }, "registryPullQPS": 2.5, "allowedUnsafeSysctls": ["net.*"],
            "logging": { "flushFrequency": "5\"s" }, "systemReserved": { "memory": "1Gi" },
        })
    );
    assert!(!text(&cluster, "control", drop_in).unwrap().contains("systemReserved"), "that is the worker's");
    assert!(text(&cluster, "worker", "/etc/kubernetes/kubelet.env").unwrap().contains(" --config-dir=/etc/kubernetes/kubelet.conf.d"));
    assert_eq!(text(&cluster, "worker", COMPONENTS), None, "nothing there is for a template");
}

#[test]
fn flags_and_keys_are_lines_for_the_templates() {
    let cluster = cluster(&format!(
        "[kubernetes.api-server]\noidc-username-prefix = \"a$(b)\\t'\\\"\"\nfeature-gates = {{ B = false, A = true }}\ntls-sni-cert-key = ['a,b', 'c,d']\nv = 2\n\
         [kubernetes.scheduler]\nleaderElection = {{ retryPeriod = '3s' }}\nprofiles = [{{ schedulerName = 'x' }}]\n\
         [kubernetes.proxy]\nconntrack.maxPerCore = 0\nnodePortAddresses = ['primary']\n\
         [kubernetes.etcd]\nheartbeat-interval = 1000\ncors = ['a', 'b']\n{NODES}"
    ));
    let expected = [
        "kube-apiserver\tflag\tfeature-gates\t\"A=true,B=false\"",
        "kube-apiserver\tflag\toidc-username-prefix\t\"a$$(b)\\t'\\\"\"",
        "kube-apiserver\tflag\ttls-sni-cert-key\t\"a,b\"",
        "kube-apiserver\tflag\ttls-sni-cert-key\t\"c,d\"",
        "kube-apiserver\tflag\tv\t\"2\"",
        "kube-scheduler\tkey\tleaderElection\tretryPeriod\t\"3s\"",
        "kube-scheduler\tkey\tprofiles\t-\t[{\"schedulerName\":\"x\"}]",
        "etcd\tflag\tcors\t\"a,b\"",
        "etcd\tflag\theartbeat-interval\t\"1000\"",
        "kube-proxy\tkey\tconntrack\tmaxPerCore\t0",
        "kube-proxy\tkey\tnodePortAddresses\t-\t[\"primary\"]",
    ];
    let control = text(&cluster, "control", COMPONENTS).unwrap();
    assert_eq!(control.lines().skip(1).collect::<Vec<_>>(), expected);
    assert_eq!(text(&cluster, "worker", COMPONENTS).unwrap().lines().skip(1).collect::<Vec<_>>(), expected[9..]);
    assert!(text(&cluster, "worker", "/etc/kubernetes/cluster.env").unwrap().contains("\nCOMPONENTS=yes\n"));
}

#[test]
fn a_member_of_etcd_has_its_settings_in_its_environment() {
    let cluster = cluster(
        "[kubernetes]\npreset = 'slow'\n[kubernetes.etcd]\nquota-backend-bytes = 4294967296\nlog-level = 'a \"b\" $c'\n\
         [[node]]\nrole = 'etcd'\n[[node]]\nrole = 'control-plane'\n",
    );
    let env = text(&cluster, "etcd", "/etc/etcd/etcd.env").unwrap();
    for line in [
        "ETCD_HEARTBEAT_INTERVAL=1000",
        "ETCD_ELECTION_TIMEOUT=10000",
        "ETCD_QUOTA_BACKEND_BYTES=4294967296",
        "ETCD_LOG_LEVEL=\"a \\\"b\\\" \\$c\"",
    ] {
        assert_eq!(env.lines().filter(|found| *found == line).count(), 1, "{line}: {env}");
    }
    assert_eq!(env.matches("QUOTA_BACKEND_BYTES").count(), 1, "kbake's own gives way");
    let control = text(&cluster, "control", COMPONENTS).unwrap();
    assert!(!control.contains("etcd\tflag"), "its members are elsewhere: {control}");
    let cluster_env = text(&cluster, "control", "/etc/kubernetes/cluster.env").unwrap();
    for line in ["LIVENESS_FAILURES=30", "PROBE_TIMEOUT=60", "STARTUP_FAILURES=180"] {
        assert!(cluster_env.lines().any(|found| found == line), "{line}: {cluster_env}");
    }
}
