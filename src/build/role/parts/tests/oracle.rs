//! Kubernetes' own types, validation and flags check all files of nodes with the seed's values in the templates; and the facts
//! in `src/cluster/programs` are those of the programs' own sources. The checks are Go programs of `tests/kubernetes/oracles`.

use std::path::Path;

use super::super::testing::{fill, image_root};
use super::*;
use crate::cluster::model::{Cluster, Node, Role};
use crate::cluster::testing::{example, fake_private_texts, node_parts, seed_texts};
use crate::common::testing::oracles::{programs, said};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_facts_are_those_of_the_programs() {
    for (program, file) in [("facts", "kubernetes-1.36.txt"), ("etcd/facts", "etcd-3.6.txt")] {
        let program = programs().join(program);
        let (good, found) = said(&program, &[]);
        let recorded = std::fs::read_to_string(format!("{ROOT}/src/cluster/programs/{file}")).unwrap();
        assert!(good && !found.is_empty(), "{found}");
        let differing: Vec<&str> = recorded.lines().zip(found.lines()).filter(|(a, b)| a != b).map(|(_, b)| b).collect();
        assert!(
            recorded == found,
            "src/cluster/programs/{file} is not what the programs know; first: {:?}\nif that is meant: {} > src/cluster/programs/{file}",
            differing.first(),
            program.display()
        );
    }
}

/// A node's root with its parts, its seed's files and the filled templates. The keys are fake.
fn root(cluster: &Cluster, node: &Node, parts: &[Part]) -> tempfile::TempDir {
    let root = image_root(parts);
    for (path, text) in fake_private_texts() {
        put(root.path(), path, text, 0o600);
    }
    for (path, text) in seed_texts(cluster, node) {
        put(root.path(), &path, text, 0o644);
    }
    fill(root.path());
    root
}

fn faults_of(root: &Path) -> String {
    let (good, faults) =
        said(&programs().join("judge"), &[&root.display().to_string(), &format!("{ROOT}/src/cluster/programs/etcd-3.6.txt")]);
    assert_eq!(good, faults.is_empty(), "{faults}");
    faults
}

#[test]
fn kubernetes_itself_takes_every_file_of_every_node() {
    let document = include_str!("../../../../../docs/cluster.md").split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let set = Cluster::read("docs/cluster.md", document).unwrap();
    let clusters = ["two-node", "kubenet", "external-etcd", "cilium"].map(example).into_iter().chain([set]);
    let mut wrong = Vec::new();
    for cluster in clusters {
        for (number, node) in cluster.nodes.iter().enumerate().filter(|(_, node)| node.role != Role::Gateway) {
            // One of several nodes that are alike.
            if cluster.nodes[..number].iter().any(|other| other.role == node.role && node.kubelet.is_empty()) {
                continue;
            }
            for kubeadm in [false, true] {
                if kubeadm && node.role != Role::ControlPlane {
                    continue;
                }
                let root = root(&cluster, node, &node_parts(&cluster, node, kubeadm));
                let faults = faults_of(root.path());
                wrong.extend(faults.lines().map(|line| format!("{}/{} (kubeadm: {kubeadm}): {line}", cluster.name, node.name)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The checker reports faults: without this, it could accept everything.
#[test]
fn the_checker_sees_what_is_wrong() {
    let cluster = example("two-node");
    let node = cluster.with_role(Role::ControlPlane).next().unwrap();
    for (path, from, to, words) in [
        ("var/lib/kubelet/config.yaml", "failSwapOn", "failSwapsOn", "unknown field"),
        ("var/lib/kubelet/config.yaml", "imageGCLowThresholdPercent: 90", "imageGCLowThresholdPercent: 99", "invalid configuration"),
        ("var/lib/kube-proxy/config.yaml", "nftables", "netfilter", "Mode"),
        ("etc/kubernetes/scheduler.yaml", "renewDeadline", "renewDeadlines", "unknown field"),
        ("etc/kubernetes/manifests/kube-apiserver.yaml", "hostNetwork", "hostNet", "unknown field"),
        ("etc/kubernetes/manifests/kube-apiserver.yaml", "--profiling=", "--profilings=", "has no flag --profilings"),
        ("etc/kubernetes/manifests/kube-apiserver.yaml", "--profiling=false", "--apiserver-count=1", "is deprecated"),
        (
            "etc/kubernetes/manifests/kube-controller-manager.yaml",
            "--profiling=false",
            "--profiling=perhaps",
            "--profiling of kube-controller-manager",
        ),
        ("etc/kubernetes/manifests/etcd.yaml", "--snapshot-count", "--snapshots-count", "etcd has no flag --snapshots-count"),
        ("etc/kubernetes/audit-policy.yaml", "rules:", "rule:", "0 rules"),
        ("etc/kubernetes/encryption.yaml", "secretbox", "secretsbox", "unknown field"),
        ("usr/share/kbake/addons/coredns/coredns.yaml", "replicas:", "replica:", "unknown field"),
        ("usr/share/kbake/addons/coredns/coredns.yaml", "@DNS_NODES@", "0", "minDomains"),
        ("usr/share/kbake/addons/coredns/coredns.yaml", "@CLUSTER_DNS@", "@CLUSTER_DN@", "no value for @CLUSTER_DN@"),
        ("usr/share/kbake/addons/rbac/once/cluster-admins.yaml", "\"Group\"", "\"Groups\"", "Unsupported value"),
        ("etc/kubernetes/kubelet.env", "--node-ip=", "--nodes-ip=", "kubelet has no flag --nodes-ip"),
    ] {
        let root = root(&cluster, node, &node_parts(&cluster, node, false));
        let text = std::fs::read_to_string(root.path().join(path)).unwrap();
        assert!(text.contains(from), "{path} has no {from}: {text}");
        put(root.path(), path, text.replacen(from, to, 1).as_bytes(), 0o644);
        let faults = faults_of(root.path());
        assert!(faults.contains(words) && faults.lines().all(|line| line.starts_with(&format!("/{path}"))), "{path}, {to}: {faults}");
    }
}
