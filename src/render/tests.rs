pub(crate) mod oracles;

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

pub(crate) use super::image::{fill, image_root, node_entries, node_parts};
pub(crate) use super::yaml::tests::pyyaml;
use super::*;
use crate::cluster::{Cluster, Node};
use crate::recipe::Part;
use crate::value::Sha256;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICw9WoIGA6sY5DGuHnLIAPO9JFFfv4wVMbWoWLz7S9ZJ";

/// The cluster files that are shipped.
pub(crate) const EXAMPLES: [&str; 9] =
    ["cilium", "etcd", "external-etcd", "from-scratch", "hard-way", "kubenet", "lab", "one-node", "two-node"];

/// One of them.
pub(crate) fn example(name: &str) -> Cluster {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("recipes/clusters/{name}.toml"));
    Cluster::read(&format!("{name}.toml"), &std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Compares with `tests/golden/NAME`. What differs is put under `target/golden`, to be looked at and copied.
pub(crate) fn golden(name: &str, actual: &str) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(root.join("tests/golden").join(name)).unwrap_or_default();
    if actual == expected {
        return Ok(());
    }
    let found = root.join("target/golden").join(name);
    std::fs::create_dir_all(found.parent().unwrap()).unwrap();
    std::fs::write(&found, actual).unwrap();
    let first =
        expected.lines().zip(actual.lines()).position(|(a, b)| a != b).unwrap_or(expected.lines().count().min(actual.lines().count()));
    Err(format!(
        "tests/golden/{name} differs from line {}: expected {:?}, found {:?}\nif that is meant: cp target/golden/{name} tests/golden/{name}",
        first + 1,
        expected.lines().nth(first),
        actual.lines().nth(first)
    ))
}

#[test]
fn image_files_are_as_recorded() {
    let mut text = String::new();
    for (name, entries) in [("base", base_entries([0x11; 16])), ("etcd", part_entries(Part::Etcd, &Facts::default()).unwrap())] {
        for entry in entries {
            let line = match &entry {
                Entry::Dir { path, mode, owner } => format!("dir {path} {mode:04o} {}:{}", owner.user, owner.group),
                Entry::File { path, mode, owner, bytes } => {
                    format!("file {path} {mode:04o} {}:{} {}", owner.user, owner.group, Sha256::of(bytes))
                }
                Entry::Symlink { path, target } => format!("link {path} {}", String::from_utf8_lossy(target)),
                Entry::Absent { path } => format!("none {path}"),
            };
            text.push_str(&format!("{name} {line}\n"));
        }
    }
    golden("image-files", &text).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn fstab_names_the_root_by_its_uuid() {
    let uuid = std::array::from_fn(|i| 0x10 * (i as u8 / 2) + i as u8);
    let entries = base_entries(uuid);
    let fstab = entries.iter().find(|entry| entry.path().as_bytes() == b"etc/fstab").unwrap();
    let Entry::File { bytes, .. } = fstab else { panic!("{fstab:?}") };
    let text = std::str::from_utf8(bytes).unwrap();
    assert_eq!(text.lines().last().unwrap(), "UUID=00011213-2425-3637-4849-5a5b6c6d7e7f / ext4 errors=remount-ro 0 1");
}

#[test]
fn no_two_entries_share_a_path() {
    let mut paths: Vec<_> = base_entries([0; 16])
        .iter()
        .chain(&part_entries(Part::Etcd, &Facts::default()).unwrap())
        .map(|entry| entry.path().clone())
        .collect();
    let all = paths.len();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), all);
}

/// A text without secrets.
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

#[test]
fn the_image_configuration_is_yaml_and_downloads_nothing() {
    let config = pyyaml(&[include_str!("image/90-kbake.cfg").to_owned(), include_str!("image/ds-identify.cfg").to_owned()]);
    assert_eq!(config[0]["datasource_list"], json!(["NoCloud", "None"]));
    assert_eq!(config[0]["manage_etc_hosts"], false);
    assert_eq!(config[1]["policy"], "enabled");
    // ds-identify looks for the list on one line, without a YAML parser.
    assert!(include_str!("image/90-kbake.cfg").lines().any(|line| line == "datasource_list: [NoCloud, None]"));
    let modules: Vec<&str> = ["cloud_init_modules", "cloud_config_modules", "cloud_final_modules"]
        .iter()
        .flat_map(|stage| config[0][stage].as_array().unwrap())
        .map(|module| module.as_str().unwrap())
        .collect();
    for needed in ["bootcmd", "write-files", "growpart", "resizefs", "set_hostname", "users-groups", "ssh", "runcmd"] {
        assert!(modules.contains(&needed), "{needed}");
    }
    for unwanted in ["ntp", "locale", "snap", "phone-home", "puppet", "grub-dpkg"] {
        assert!(!modules.contains(&unwanted), "{unwanted}");
    }
    // What is downloaded only when a seed of one's own asks for it comes after the services; the stage that is masked has nothing.
    for late in ["apt-configure", "package-update-upgrade-install"] {
        assert!(config[0]["cloud_final_modules"].as_array().unwrap().contains(&json!(late)), "{late}");
    }
    assert_eq!(config[0]["cloud_config_modules"], json!([]));
}

/// systemd of the host reads the unit and the drop-ins in a root of their own, with the units that they build on.
#[test]
fn systemd_accepts_the_units() {
    let root = tempfile::tempdir().unwrap();
    let host = Path::new("/usr/lib/systemd/system");
    let units = root.path().join("usr/lib/systemd/system");
    std::fs::create_dir_all(&units).unwrap();
    std::os::unix::fs::symlink("usr/lib", root.path().join("lib")).unwrap();
    let listed = std::fs::read_dir(host).unwrap_or_else(|_| panic!("systemd is missing: run tests/setup.sh"));
    for entry in listed.map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file()) {
        std::fs::copy(entry.path(), units.join(entry.file_name())).unwrap();
    }
    put(root.path(), "usr/bin/etcd", b"#!/bin/sh\n", 0o755);
    for program in ["systemd-networkd", "systemd-binfmt"] {
        put(root.path(), &format!("lib/systemd/{program}"), b"#!/bin/sh\n", 0o755);
    }
    for program in ["bin/udevadm", "bin/sh", "bin/systemctl", "usr/bin/cloud-init"] {
        put(root.path(), program, b"#!/bin/sh\n", 0o755);
    }
    put(root.path(), "etc/passwd", b"root:x:0:0::/:/bin/sh\netcd:x:100:100::/:/bin/sh\n", 0o644);
    // Not of systemd's own package; the drop-in has to have something to add to.
    let local = b"[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/usr/bin/cloud-init init --local\n";
    put(root.path(), "usr/lib/systemd/system/cloud-init-local.service", local, 0o644);
    for entry in base_entries([0; 16]).iter().chain(&part_entries(Part::Etcd, &Facts::default()).unwrap()) {
        if let Entry::File { path, bytes, .. } = entry {
            put(root.path(), std::str::from_utf8(path.as_bytes()).unwrap(), bytes, 0o644);
        }
    }
    for unit in
        ["etcd.service", "cloud-init-local.service", "cloud-init.service", "systemd-binfmt.service", "systemd-networkd-wait-online.service"]
    {
        let out = systemd_analyze(root.path(), &["verify", "--man=no", unit]);
        let complaint = String::from_utf8_lossy(&out.stderr).into_owned();
        let ours: Vec<&str> =
            complaint.lines().filter(|line| line.contains(unit) || line.contains("90-kbake") || line.contains("etcd")).collect();
        assert!(out.status.success() && ours.is_empty(), "{unit}: {complaint}");
    }
    // The scale goes from 0 (nothing exposed) to 10; what is left is mostly the network that etcd is there for.
    let out = systemd_analyze(root.path(), &["security", "--offline=true", "--threshold=15", "etcd.service"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout).lines().last().unwrap_or_default());
}

/// Whether cloud-init's second stage starts, by what the first one has left of itself (its `DataSourceNoCloud.__str__`).
#[test]
fn the_second_stage_is_for_seeds_that_want_the_network() {
    let unit = include_str!("image/cloud-init.service");
    let condition = unit.lines().find_map(|line| line.strip_prefix("ExecCondition=/bin/sh -c '")?.strip_suffix('\'')).unwrap();
    let status = "/run/cloud-init/status.json";
    assert!(condition.contains(status), "{condition}");
    let folder = tempfile::tempdir().unwrap();
    let found = folder.path().join("status.json");
    let condition = condition.replace(status, found.to_str().unwrap());
    let said = |source: &str| format!("{{\n \"v1\": {{\n  \"datasource\": {source},\n  \"stage\": null\n }}\n}}\n");
    for (source, starts) in [
        (Some("\"DataSourceNoCloud [seed=/dev/vdb][dsmode=local]\""), false),
        (Some("\"DataSourceNoCloud [seed=/dev/vdb][dsmode=net]\""), true),
        (Some("null"), true),
        (None, true),
    ] {
        let _ = std::fs::remove_file(&found);
        if let Some(source) = source {
            std::fs::write(&found, said(source)).unwrap();
        }
        let status = Command::new("/bin/sh").args(["-c", &condition]).stderr(std::process::Stdio::null()).status().unwrap();
        // systemd skips a unit without a fault on 1 to 254 only.
        assert_eq!(status.code(), Some(i32::from(!starts)), "{source:?}");
    }
}

/// By the file in which networkd says how it is: systemd.network(5), networkctl(1).
#[test]
fn a_network_is_there_when_one_interface_can_be_routed_to() {
    let unit = include_str!("image/wait-online.conf");
    let wait = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/bin/sh -c '")?.strip_suffix('\'')).unwrap();
    let (state, tries) = ("/run/systemd/netif/state", "$$(seq 300)");
    assert!(wait.contains(state) && wait.contains(tries), "{wait}");
    let folder = tempfile::tempdir().unwrap();
    let found = folder.path().join("state");
    let wait = wait.replace(state, found.to_str().unwrap()).replace(tries, "1 2");
    for (said, there) in [
        ("# This is private data.\nOPER_STATE=routable\nCARRIER_STATE=carrier\n", true),
        ("OPER_STATE=degraded\nIPV6_ADDRESS_STATE=routable\n", false),
        ("", false),
    ] {
        std::fs::write(&found, said).unwrap();
        assert_eq!(Command::new("/bin/sh").args(["-c", &wait]).status().unwrap().success(), there, "{said}");
    }
    std::fs::remove_file(&found).unwrap();
    assert!(!Command::new("/bin/sh").args(["-c", &wait]).status().unwrap().success());
}

pub(crate) fn put(root: &Path, path: &str, bytes: &[u8], mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn systemd_analyze(root: &Path, args: &[&str]) -> std::process::Output {
    let run =
        Command::new("systemd-analyze").args(args).arg("--no-pager").arg(format!("--root={}", root.display())).env("LC_ALL", "C").output();
    match run {
        Err(error) if error.kind() == ErrorKind::NotFound => panic!("systemd-analyze is missing: run tests/setup.sh"),
        other => other.unwrap(),
    }
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
