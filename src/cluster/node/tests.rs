use std::io::ErrorKind;
use std::process::Command;

use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::etcd::etcd_env;
use super::file::Content;
use super::*;
use crate::cluster::model::{Cluster, Node};
use crate::cluster::testing::example;
use crate::common::testing::pyyaml;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICw9WoIGA6sY5DGuHnLIAPO9JFFfv4wVMbWoWLz7S9ZJ";

/// The text of a public file.
fn public(file: &NodeFile) -> String {
    let Content::Public(text) = &file.content else { panic!("{file:?}") };
    text.to_string()
}

fn file(cluster: &Cluster, node: &Node, path: &str) -> Option<String> {
    public_files(cluster, node, EtcdStart::New).unwrap().iter().find(|file| file.path == path).map(public)
}

/// systemd.exec(5), EnvironmentFile: no quotes, spaces or backslashes, so that there is nothing to interpret.
#[test]
fn the_environment_file_needs_no_quoting() {
    let cluster = example("etcd");
    for node in &cluster.nodes {
        for line in etcd_env(&cluster, node, EtcdStart::New).unwrap().lines().filter(|line| !line.starts_with('#')) {
            let (key, value) = line.split_once('=').unwrap();
            assert!(key.starts_with("ETCD_") && key.bytes().all(|c| c.is_ascii_uppercase() || b"_2".contains(&c)), "{line}");
            assert!(value.bytes().all(|c| c.is_ascii_alphanumeric() || b":/.-_=,".contains(&c)), "{line}");
        }
    }
}

#[test]
fn etcd_speaks_tls_to_all_but_the_loopback_metrics() {
    let cluster = example("etcd");
    let env = etcd_env(&cluster, cluster.node("etcd1").unwrap(), EtcdStart::New).unwrap();
    let setting = |key: &str| env.lines().find_map(|line| line.strip_prefix(&format!("ETCD_{key}="))).unwrap_or_else(|| panic!("{key}"));
    for (key, value) in [
        ("NAME", "etcd1"),
        ("LISTEN_CLIENT_URLS", "https://192.168.30.11:2379,https://127.0.0.1:2379"),
        ("ADVERTISE_CLIENT_URLS", "https://192.168.30.11:2379"),
        ("LISTEN_PEER_URLS", "https://192.168.30.11:2380"),
        ("INITIAL_ADVERTISE_PEER_URLS", "https://192.168.30.11:2380"),
        ("INITIAL_CLUSTER", "etcd0=https://192.168.30.10:2380,etcd1=https://192.168.30.11:2380,etcd2=https://192.168.30.12:2380"),
        ("CLIENT_CERT_AUTH", "true"),
        ("PEER_CLIENT_CERT_AUTH", "true"),
        ("TRUSTED_CA_FILE", "/etc/etcd/pki/ca.crt"),
        ("PEER_TRUSTED_CA_FILE", "/etc/etcd/pki/ca.crt"),
    ] {
        assert_eq!(setting(key), value, "{key}");
    }
    assert_eq!(setting("INITIAL_CLUSTER_STATE"), "new");
    let join = etcd_env(&cluster, cluster.node("etcd1").unwrap(), EtcdStart::Join).unwrap();
    assert_eq!(join, env.replace("CLUSTER_STATE=new", "CLUSTER_STATE=existing"));
    let plain: Vec<&str> = env.lines().filter(|line| line.contains("http://")).collect();
    assert_eq!(plain, ["ETCD_LISTEN_METRICS_URLS=http://127.0.0.1:2381"]);
}

#[test]
fn the_kubelet_knows_its_name_and_labels() {
    let env = |cluster: &Cluster, node: &str| file(cluster, cluster.node(node).unwrap(), "/etc/kubernetes/kubelet.env");
    let cluster = example("two-node");
    let args = "--hostname-override=worker --node-ip=192.168.40.11 --node-labels=example.test/disk=fast";
    let worker = env(&cluster, "worker").unwrap();
    assert!(worker.ends_with(&format!("\nKUBELET_NODE_ARGS={args}\n")), "{worker}");
    assert_eq!(env(&example("kubenet"), "gateway"), None);
}

#[test]
fn every_node_knows_every_name_at_its_own_address() {
    let cluster = example("kubenet");
    let all: Vec<String> = cluster.nodes.iter().map(|node| file(&cluster, node, "/etc/hosts").unwrap()).collect();
    assert!(all.iter().all(|hosts| *hosts == all[0]));
    for line in [
        "127.0.0.1 localhost",
        "192.168.3.10 gateway.kubenet gateway",
        "192.168.3.11 control0.kubenet control0",
        "192.168.3.21 kubernetes.kubenet kubernetes",
    ] {
        assert!(all[0].lines().any(|found| found == line), "{line}\n{}", all[0]);
    }
    assert!(!all[0].contains("127.0.1.1"));
    let text = "name = 'far'\n[network]\ncidr = '192.168.60.0/24'\n[api]\nname = 'api.example.org'\n[[node]]\nrole = 'control-plane'\n";
    let elsewhere = Cluster::read("far.toml", text).unwrap();
    let hosts = file(&elsewhere, &elsewhere.nodes[0], "/etc/hosts").unwrap();
    assert!(!hosts.contains("api.example.org"), "a full name is known elsewhere:\n{hosts}");
}

#[test]
fn the_pods_network_is_the_nodes_share() {
    let path = "/etc/cni/net.d/10-bridge.conflist";
    let cni = |cluster: &Cluster, name: &str| -> Value {
        serde_json::from_str(&file(cluster, cluster.node(name).unwrap(), path).unwrap_or("null".to_owned())).unwrap()
    };
    let kubenet = example("kubenet");
    let bridge = cni(&kubenet, "worker1")["plugins"][0].clone();
    assert_eq!(bridge["type"], "bridge");
    assert_eq!(bridge["ipam"], json!({ "type": "host-local", "ranges": [[{ "subnet": "10.5.0.0/16" }]] }));
    assert_eq!((&bridge["hairpinMode"], &bridge["isDefaultGateway"], &bridge["ipMasq"]), (&json!(true), &json!(true), &json!(false)));
    assert_eq!(bridge["mtu"], Value::Null);
    assert_eq!(cni(&kubenet, "gateway"), Value::Null);
    assert_eq!(cni(&example("two-node"), "worker")["plugins"][0]["mtu"], 1450);
}

#[test]
fn kubectl_reads_the_kubeconfigs() {
    let key = SecretString::from("-----BEGIN FAKE KEY-----\nof nobody\n-----END FAKE KEY-----\n");
    let (authority, certificate) = ("FAKE AUTHORITY", "FAKE CERTIFICATE");
    let user = "system:node:worker0";
    let caller = Caller { cluster: "kubenet", user, server: "https://192.168.3.21:6443", authority, certificate, key: &key };
    let text = kubeconfig(&caller);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    std::fs::write(&path, text.expose_secret()).unwrap();
    let mut command = Command::new("kubectl");
    command.args(["config", "view", "--raw", "--minify", "--output=json"]).arg("--kubeconfig").arg(&path).env("HOME", dir.path());
    let out = match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => panic!("kubectl is missing: run tests/setup.sh"),
        other => other.unwrap(),
    };
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    let encoded = |text: &str| json!(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text));
    assert_eq!(found["current-context"], "system:node:worker0@kubenet");
    assert_eq!(found["contexts"][0]["context"], json!({ "cluster": "kubenet", "user": user }));
    let server = json!({ "server": "https://192.168.3.21:6443", "certificate-authority-data": encoded(authority) });
    assert_eq!(found["clusters"], json!([{ "name": "kubenet", "cluster": server }]));
    let identity = json!({ "client-certificate-data": encoded(certificate), "client-key-data": encoded(key.expose_secret()) });
    assert_eq!(found["users"], json!([{ "name": user, "user": identity }]));
}

#[test]
fn secrets_are_encrypted_by_secretbox_and_old_ones_still_read() {
    let key = SecretString::from("bm90IGEga2V5LCBidXQgYSB0ZXh0IG9mIDMyIGJ5dGU=");
    let found = &pyyaml(&[encryption(&key).expose_secret().to_owned()])[0];
    assert_eq!((&found["apiVersion"], &found["kind"]), (&json!("apiserver.config.k8s.io/v1"), &json!("EncryptionConfiguration")));
    let secretbox = json!({ "secretbox": { "keys": [{ "name": "key1", "secret": key.expose_secret() }] } });
    assert_eq!(found["resources"], json!([{ "resources": ["secrets"], "providers": [secretbox, { "identity": {} }] }]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Names, domains and comments of keys cannot add to a document or break out of it.
    #[test]
    fn nothing_is_injected(
        comments in prop::collection::vec("\\PC{0,30}|[-:#'\"{}&*!|>%@`\\\\ ]{1,20}", 30),
        names in prop::collection::vec("[a-z0-9-]{1,20}", 30),
    ) {
        let file = |comment: &str, name: &str| {
            let key = toml::Value::from(format!("{KEY} {comment}"));
            format!("name = \"x\"\nssh-keys = [{key}]\n[network]\ncidr = \"10.0.0.0/24\"\n[[node]]\nrole = \"etcd\"\nname = \"{name}\"\n")
        };
        let pairs = comments.iter().zip(&names);
        let clusters: Vec<Cluster> = pairs.filter_map(|(comment, name)| Cluster::read("x", &file(comment, name)).ok()).collect();
        let private = SecretString::from("key\n");
        let documents: Vec<String> =
            clusters.iter().map(|cluster| user_data(cluster, &cluster.nodes[0], &[], HostKey { private: &private, public: "ssh-ed25519 AAAA" }, &NamedFiles::default()).unwrap().expose_secret().to_owned()).collect();
        let expected: Vec<Value> = clusters
            .iter()
            .map(|cluster| {
                let node = &cluster.nodes[0];
                let keys = [cluster.ssh_keys[0].to_string()];
                json!({ "hostname": node.name.as_str(), "fqdn": node.fqdn, "ssh_authorized_keys": keys, "ssh_keys": { "ed25519_private": "key\n", "ed25519_public": "ssh-ed25519 AAAA" }, "write_files": [] })
            })
            .collect();
        prop_assert_eq!(pyyaml(&documents), expected);
    }
}
