//! cloud-init of Debian 12 reads the seeds: its schema, its `write_files`, its networkd renderer.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::*;
use crate::cluster::Role;
use crate::render::Content;

/// Where tests/setup.sh unpacks cloud-init's Python packages.
const CLOUD_INIT: &str = "/usr/local/lib/kbake-tests/cloud-init";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cloud-init/judge.py");

/// What cloud-init makes of each of `seeds`.
fn judge(seeds: &[Value]) -> Vec<Value> {
    assert!(Path::new(CLOUD_INIT).is_dir(), "cloud-init is missing: run tests/setup.sh");
    let root = tempfile::tempdir().unwrap();
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-I", SCRIPT, CLOUD_INIT]).arg(root.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound => panic!("python3 is missing: run tests/setup.sh"),
        other => other.unwrap(),
    };
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(seeds).unwrap()).unwrap();
    let out = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&out.stderr);
    assert!(!complaint.contains("ModuleNotFoundError"), "a Python package is missing: run tests/setup.sh\n{complaint}");
    assert!(out.status.success(), "{complaint}");
    serde_json::from_slice(&out.stdout).unwrap()
}

/// The seed of a node whose only interface is `enp0s2`.
fn asked(cluster: &Cluster, node: &Node) -> Value {
    let seed = seed(cluster, node.name.as_str());
    let interfaces = json!({ node.mac.to_string(): "enp0s2" });
    json!({ "user-data": text(&seed, "user-data"), "network-config": text(&seed, "network-config"), "interfaces": interfaces })
}

/// `Section/Key=value` of each line of a systemd unit; each section's lines are one item.
fn sections(unit: &str) -> BTreeSet<String> {
    let parts = unit.split('[').skip(1).map(|section| {
        let (name, lines) = section.split_once(']').unwrap();
        let lines: Vec<&str> = lines.lines().filter(|line| !line.is_empty()).collect();
        format!("{name}: {}", lines.join(" "))
    });
    parts.collect()
}

fn expected_unit(cluster: &Cluster, node: &Node) -> BTreeSet<String> {
    let network = &cluster.network;
    let mut expected = BTreeSet::from([
        format!("Match: MACAddress={} Name=lan0", node.mac),
        format!("Address: Address={}/{}", node.address, network.cidr.prefix()),
        format!("Network: DHCP=no DNS={} Domains={}", network.host, cluster.domain),
        format!("Route: Destination=0.0.0.0/0 Gateway={}", network.host),
    ]);
    expected.extend(network.mtu.map(|mtu| format!("Link: MTUBytes={mtu}")));
    let others = cluster.nodes.iter().filter(|other| other.name != node.name);
    expected.extend(others.filter_map(|other| Some(format!("Route: Destination={} Gateway={}", other.pods?, other.address))));
    expected.extend(node.routes.iter().map(|route| format!("Route: Destination={} Gateway={}", route.to, route.via)));
    if let (Role::Gateway, Some(api)) = (node.role, cluster.api.as_ref().filter(|api| api.is_vip)) {
        expected.insert(format!("Address: Address={}/32", api.address.unwrap()));
    }
    expected
}

fn expected_files(cluster: &Cluster, node: &Node) -> Value {
    let keyring = Fake::of(cluster);
    let files = files::files(cluster, node, crate::render::EtcdStart::New, &keyring).unwrap();
    let content = |content: &Content| match content {
        Content::Public(text) => text.to_string(),
        Content::Key(key) => key.expose_secret().to_owned(),
        Content::Private(text) => text.expose_secret().to_owned(),
    };
    files
        .iter()
        .map(|file| json!({ "path": file.path, "owner": file.owner, "mode": file.permissions, "content": content(&file.content) }))
        .collect()
}

#[test]
fn cloud_init_does_what_was_meant() {
    let clusters = EXAMPLES.map(example);
    let nodes: Vec<(&Cluster, &Node)> = clusters.iter().flat_map(|cluster| cluster.nodes.iter().map(move |node| (cluster, node))).collect();
    let seeds: Vec<Value> = nodes.iter().map(|(cluster, node)| asked(cluster, node)).collect();
    for ((cluster, node), found) in nodes.into_iter().zip(judge(&seeds)) {
        let name = format!("{}/{}", cluster.name, node.name);
        assert_eq!(found["schema"], Value::Null, "{name}");
        assert_eq!(found["files"], expected_files(cluster, node), "{name}");
        assert_eq!(found["names"], json!({ node.mac.to_string(): "lan0" }), "{name}");
        assert_eq!(found["units"].as_object().unwrap().len(), 1, "{name}");
        assert_eq!(sections(found["units"]["lan0"].as_str().unwrap()), expected_unit(cluster, node), "{name}");
    }
}

/// The judge is one: what is wrong does not pass.
#[test]
fn cloud_init_refuses_what_is_wrong() {
    let cluster = example("etcd");
    let mut wrong = asked(&cluster, &cluster.nodes[0]);
    let broken = wrong["user-data"].as_str().unwrap().replace("permissions: \"0600\"", "permissions: 600");
    wrong["user-data"] = json!(broken);
    wrong["interfaces"] = json!({ "52:54:00:00:00:01": "enp0s2" });
    let found = &judge(&[wrong])[0];
    assert!(found["schema"].as_str().unwrap().contains("permissions"), "{found}");
    assert_eq!(found["names"], json!({ "52:54:00:00:00:01": "enp0s2" }), "another machine's MAC");
    let unit = found["units"]["lan0"].as_str().unwrap();
    assert!(unit.contains("Name=lan0") && !unit.contains("52:54:00:00:00:01"), "{unit}");
}
