//! Kubernetes' own types, validation and flags judge all that nodes have once the seed's values are in the templates; and the facts in
//! `src/programs` are those of the programs' own sources. The judges are Go programs of `tests/kubernetes/oracles`.

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use super::super::judge::{fill, image_root, node_parts};
use super::*;
use crate::cluster::{Cluster, Node, Role};
use crate::render::tests::example;
use crate::render::tests::oracles::{programs, said};
use crate::render::{Caller, Content, EtcdStart, encryption, kubeconfig, public_files};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_facts_are_those_of_the_programs() {
    for (program, file) in [("facts", "kubernetes-1.36.txt"), ("etcd/facts", "etcd-3.6.txt")] {
        let (good, found) = said(&programs().join(program), &[]);
        let recorded = std::fs::read_to_string(format!("{ROOT}/src/programs/{file}")).unwrap();
        assert!(good && !found.is_empty(), "{found}");
        let differing: Vec<&str> = recorded.lines().zip(found.lines()).filter(|(a, b)| a != b).map(|(_, b)| b).collect();
        assert!(
            recorded == found,
            "src/programs/{file} is not what the programs know; first: {:?}\nif that is meant: {program} > src/programs/{file}",
            differing.first()
        );
    }
}

/// A node's root with its parts, its seed's files and the filled templates. Keys are of no use to anybody.
fn root(cluster: &Cluster, node: &Node, parts: &[Part]) -> tempfile::TempDir {
    let root = image_root(parts);
    let key = SecretString::from("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned());
    let caller = Caller { cluster: "x", user: "u", server: "https://192.0.2.1:6443", authority: "a", certificate: "c", key: &key };
    put(root.path(), "etc/kubernetes/encryption.yaml", encryption(&key).expose_secret().as_bytes(), 0o600);
    put(root.path(), "etc/kubernetes/kubelet.conf", kubeconfig(&caller).expose_secret().as_bytes(), 0o600);
    for file in public_files(cluster, node, EtcdStart::New).unwrap() {
        let Content::Public(text) = file.content else { continue };
        put(root.path(), file.path.trim_start_matches('/'), text.as_bytes(), 0o644);
    }
    fill(root.path());
    root
}

fn judged(root: &Path) -> String {
    let (good, faults) = said(&programs().join("judge"), &[&root.display().to_string(), &format!("{ROOT}/src/programs/etcd-3.6.txt")]);
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
                let faults = judged(root.path());
                wrong.extend(faults.lines().map(|line| format!("{}/{} (kubeadm: {kubeadm}): {line}", cluster.name, node.name)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A judge that finds nothing would be none.
#[test]
fn the_judge_sees_what_is_wrong() {
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
        let faults = judged(root.path());
        assert!(faults.contains(words) && faults.lines().all(|line| line.starts_with(&format!("/{path}"))), "{path}, {to}: {faults}");
    }
}
