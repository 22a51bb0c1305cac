//! A control-plane node of kbake's compared with kubeadm's for the same cluster. Each difference has its reason in a table.

use std::collections::BTreeMap;

use super::node::{Root, root};
use super::*;
use crate::common::testing::oracles::{programs, said};

/// Rows: components, field, kbake's value, kubeadm's, and why they differ.
const TABLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kubernetes/oracles/kubeadm.md"));

/// The node and its cluster as kubeadm's configuration; all other values are kubeadm's defaults.
fn configuration(node: &Node, root: &Root) -> String {
    let text = root.read("etc/kubernetes/cluster.env");
    let of = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_else(|| panic!("no {key}"));
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint:
  advertiseAddress: {address}
  bindPort: {port}
nodeRegistration:
  name: {name}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: {cluster}
controlPlaneEndpoint: {endpoint}
kubernetesVersion: v1.36.2
networking:
  dnsDomain: {domain}
  podSubnet: {pods}
  serviceSubnet: {services}
",
        address = node.address,
        port = of("API_PORT"),
        name = node.name,
        cluster = of("CLUSTER_NAME"),
        endpoint = of("API_URL").trim_start_matches("https://"),
        domain = of("CLUSTER_DOMAIN"),
        pods = of("CLUSTER_CIDR"),
        services = of("SERVICE_CIDR"),
    )
}

/// Differences as rows of the table without the reason.
fn differences(node: &Node, root: &Root) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let (config, work) = (dir.path().join("kubeadm.yaml"), dir.path().join("work"));
    std::fs::write(&config, configuration(node, root)).unwrap();
    std::fs::create_dir(&work).unwrap();
    let arguments = [&config, root.path(), &work].map(|path| path.to_str().unwrap().to_owned());
    let (good, found) = said(&programs().join("kubeadm"), &arguments.each_ref().map(String::as_str));
    assert!(good, "{found}");
    found.lines().map(|line| line.split('\t').map(|cell| format!("| `{cell}` ")).collect()).collect()
}

/// Rows of a table with their reasons.
fn reasons(table: &str) -> BTreeMap<&str, &str> {
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_end_matches(" |").rsplit_once("| ").unwrap_or_else(|| panic!("{row}"))).collect()
}

/// Differences without a row, rows without a difference, rows without a reason.
fn faults(found: &[String], table: &str) -> Vec<String> {
    let reasons = reasons(table);
    let mut faults: Vec<String> = Vec::new();
    faults.extend(found.iter().filter(|row| !reasons.contains_key(row.as_str())).map(|row| format!("no reason: {row}")));
    faults.extend(reasons.keys().filter(|row| !found.iter().any(|found| found == *row)).map(|row| format!("no difference: {row}")));
    faults.extend(reasons.iter().filter(|(_, why)| why.trim().len() < 10).map(|(row, _)| format!("an empty reason: {row}")));
    faults
}

#[test]
fn each_difference_to_kubeadm_has_a_reason() {
    let cluster = example("two-node");
    let node = cluster.node("control").unwrap();
    let faults = faults(&differences(node, &root(&cluster, node)), TABLE);
    assert!(faults.is_empty(), "tests/kubernetes/oracles/kubeadm.md:\n{}", faults.join("\n"));
}

#[test]
fn a_table_that_does_not_fit_is_seen() {
    let found = ["| `etcd` | `--a` | `1` | `2` ", "| `etcd` | `--b` | `1` | `-` "].map(str::to_owned);
    let rows = "| where | field | kbake | kubeadm | why |\n|---|---|---|---|---|\n| `etcd` | `--a` | `1` | `2` | A reason in words. |\n";
    assert_eq!(faults(&found[..1], rows), Vec::<String>::new());
    assert_eq!(faults(&found, rows), ["no reason: | `etcd` | `--b` | `1` | `-` "]);
    assert_eq!(faults(&[], rows), ["no difference: | `etcd` | `--a` | `1` | `2` "]);
    assert_eq!(faults(&found[..1], &rows.replace("A reason in words.", "")), ["an empty reason: | `etcd` | `--a` | `1` | `2` "]);
}
