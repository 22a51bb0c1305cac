//! cloud-init of Debian 12 reads the seeds: its schema, its `write_files`, its networkd renderer.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::*;
use crate::cluster::model::Role;
use crate::cluster::node::file::Content;

/// The folder of cloud-init's Python packages, which tests/setup.sh unpacks.
const CLOUD_INIT: &str = "/usr/local/lib/kbake-tests/cloud-init";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/cloud-init/judge.py");

/// The result of cloud-init for each of `seeds`.
fn outcomes(seeds: &[Value]) -> Vec<Value> {
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
    asked_with(cluster, node, &NamedFiles::default())
}

fn asked_with(cluster: &Cluster, node: &Node, named: &NamedFiles) -> Value {
    let seed = of(cluster, node, crate::cluster::node::EtcdStart::New, &Fake::of(cluster), named).unwrap();
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
    let files = files::files(cluster, node, crate::cluster::node::EtcdStart::New, &keyring).unwrap();
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
    for ((cluster, node), found) in nodes.into_iter().zip(outcomes(&seeds)) {
        let name = format!("{}/{}", cluster.name, node.name);
        assert_eq!(found["schema"], Value::Null, "{name}");
        assert_eq!(found["files"], expected_files(cluster, node), "{name}");
        assert_eq!(found["names"], json!({ node.mac.to_string(): "lan0" }), "{name}");
        assert_eq!(found["units"].as_object().unwrap().len(), 1, "{name}");
        assert_eq!(sections(found["units"]["lan0"].as_str().unwrap()), expected_unit(cluster, node), "{name}");
    }
}

/// cloud-init reports faults: invalid seeds do not pass.
#[test]
fn cloud_init_refuses_what_is_wrong() {
    let cluster = example("etcd");
    let mut wrong = asked(&cluster, &cluster.nodes[0]);
    let broken = wrong["user-data"].as_str().unwrap().replace("permissions: \"0600\"", "permissions: 600");
    wrong["user-data"] = json!(broken);
    wrong["interfaces"] = json!({ "52:54:00:00:00:01": "enp0s2" });
    let found = &outcomes(&[wrong])[0];
    assert!(found["schema"].as_str().unwrap().contains("permissions"), "{found}");
    assert_eq!(found["names"], json!({ "52:54:00:00:00:01": "enp0s2" }), "another machine's MAC");
    let unit = found["units"]["lan0"].as_str().unwrap();
    assert!(unit.contains("Name=lan0") && !unit.contains("52:54:00:00:00:01"), "{unit}");
}

/// A node with all site settings and settings of its own.
const SITE: &str = "name = 'site'\nntp = ['10.1.0.1']\n[network]\ncidr = '10.1.0.0/24'\n[proxy]\nhttps = 'http://10.1.0.9:3128'\n\
                    [[registry-mirror]]\nregistry = 'docker.io'\nurls = ['https://mirror.example.test']\n\
                    [[node]]\nrole = 'control-plane'\ndata-disk = '1 GiB'\ndata-mount = '/var/lib/etcd'\n";

/// User-data with all values that YAML 1.1 and 1.2 read differently.
const MORE: &str = "#cloud-config\n# of a person's\npackages: [nfs-common]\npackage_update: yes\nbootcmd:\n- [touch, /run/more]\n\
                    ssh_authorized_keys:\n- ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICw9WoIGA6sY5DGuHnLIAPO9JFFfv4wVMbWoWLz7S9ZJ\n\
                    ca_certs:\n  trusted: [PEM]\n\
                    write_files:\n- path: /etc/more\n  owner: root:root\n  permissions: '0640'\n  content: |\n    hunter2: ä\n";

fn named(more: &str) -> NamedFiles {
    let additions = crate::cluster::node::Additions::read("more.yaml", SecretString::from(more)).unwrap();
    NamedFiles { authorities: vec!["-----BEGIN CERTIFICATE-----\n".to_owned()], additions: Some(additions) }
}

#[test]
fn cloud_init_appends_what_a_person_adds() {
    let cluster = Cluster::read("c.toml", SITE).unwrap();
    let node = &cluster.nodes[0];
    let script = "#!/bin/sh\necho more\n";
    let plain = MORE.replace('ä', "a");
    let asked = [
        asked(&cluster, node),
        asked_with(&cluster, node, &named(MORE)),
        asked_with(&cluster, node, &named(&plain)),
        asked_with(&cluster, node, &named(script)),
    ];
    let found = outcomes(&asked);
    let [alone, with, plain, scripted] = &found[..] else { panic!("four seeds") };
    for found in &found {
        assert_eq!(found["schema"], Value::Null);
        assert_eq!(found["config"]["hostname"], "control");
    }
    let files =
        |found: &Value| found["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let mut expected = files(alone);
    let authority = "/usr/local/share/ca-certificates/kbake-0.crt";
    let at = expected.iter().position(|path| path == "/etc/kubernetes/proxy.env").unwrap();
    expected.insert(at, authority.to_owned());
    assert_eq!(files(scripted), expected);
    assert_eq!(files(with), [&expected[..], &["/etc/more".to_owned()]].concat(), "after kbake's own");
    let more = with["files"].as_array().unwrap().last().unwrap();
    assert_eq!((&more["content"], &more["mode"]), (&json!("hunter2: ä\n"), &json!("0640")));
    // YAML 1.1, as cloud-init reads it: `yes` is a boolean.
    assert_eq!((&with["config"]["package_update"], &with["config"]["packages"]), (&json!(true), &json!(["nfs-common"])));
    let commands = with["config"]["bootcmd"].as_array().unwrap();
    assert_eq!((commands.len(), &commands[1]), (2, &json!(["touch", "/run/more"])), "kbake's mount comes first");
    assert_eq!((&commands[0][4], &commands[0][5]), (&json!("/dev/disk/by-id/virtio-kbake-data"), &json!("/var/lib/etcd")));
    assert_eq!(with["config"]["ca_certs"], json!({ "remove_defaults": false, "trusted": ["PEM"] }));
    assert_eq!(with["config"]["ssh_authorized_keys"].as_array().unwrap().len(), 1);
    assert_eq!(plain["files"].as_array().unwrap().last().unwrap()["content"], "hunter2: a\n");
    assert_eq!((&scripted["scripts"], &with["scripts"]), (&json!([script]), &json!([])));
    // A changed addition is a new instance, and applied at the next boot.
    let id = |named: &NamedFiles| {
        text(&of(&cluster, node, crate::cluster::node::EtcdStart::New, &Fake::of(&cluster), named).unwrap(), "meta-data").to_owned()
    };
    assert_ne!(id(&named(MORE)), id(&named(&MORE.replace("hunter2", "hunter3"))));
}

#[test]
fn a_seed_is_not_made_of_what_contradicts_it() {
    let cluster = Cluster::read("c.toml", SITE).unwrap();
    let twin = named("#cloud-config\nwrite_files:\n- path: /etc/kubernetes/pki/ca.key\n  content: hunter2\n");
    let error = of(&cluster, &cluster.nodes[0], crate::cluster::node::EtcdStart::New, &Fake::of(&cluster), &twin)
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(error.contains("/etc/kubernetes/pki/ca.key, which kbake writes") && !error.contains("hunter2"), "{error}");
}

/// Real certificates of authorities, two in one file: Debian's own program installs both.
#[test]
fn authorities_come_into_the_distributions_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let mut pem = "a comment\n".to_owned();
    for name in ["one", "two"] {
        let key = folder.path().join("key");
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "9", "-subj", &format!("/CN={name}"), "-keyout"]).arg(&key);
        let made = openssl.stderr(Stdio::null()).output().unwrap_or_else(|e| panic!("openssl is missing: run tests/setup.sh ({e})"));
        pem.push_str(std::str::from_utf8(&made.stdout).unwrap());
    }
    let authorities = crate::cluster::pki::authorities(&pem).unwrap();
    assert_eq!(authorities.len(), 2);
    for (wrong, why) in [
        ("", "holds no certificate"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds a private key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not an X.509 certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", "truncated"),
    ] {
        assert!(
            crate::cluster::pki::authorities(&format!("{pem}{wrong}")).err().map_or(wrong.is_empty(), |said| said.contains(why)),
            "{why}"
        );
    }
    let cluster = Cluster::read("c.toml", SITE).unwrap();
    let files = crate::cluster::node::site_files(&cluster, &cluster.nodes[0], &authorities);
    let local = folder.path().join("usr/local/share/ca-certificates");
    for folder in [&local, &folder.path().join("certs"), &folder.path().join("hooks"), &folder.path().join("etc")] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(folder.path().join("conf"), "").unwrap();
    for file in files.iter().filter(|file| file.path.starts_with("/usr/local")) {
        let Content::Public(text) = &file.content else { panic!("{file:?}") };
        std::fs::write(folder.path().join(&file.path[1..]), text.as_bytes()).unwrap();
    }
    let mut update = Command::new("/usr/sbin/update-ca-certificates");
    for (option, name) in [("--certsconf", "conf"), ("--certsdir", "certs"), ("--hooksdir", "hooks"), ("--etccertsdir", "etc")] {
        update.arg(option).arg(folder.path().join(name));
    }
    let out = update
        .arg("--localcertsdir")
        .arg(&local)
        .output()
        .unwrap_or_else(|e| panic!("ca-certificates is missing: run tests/setup.sh ({e})"));
    let complaint = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && !complaint.contains("skipping"), "{complaint}");
    let bundle = std::fs::read_to_string(folder.path().join("etc/ca-certificates.crt")).unwrap();
    assert!(authorities.iter().all(|pem| bundle.contains(pem.trim())), "{bundle}");
}
