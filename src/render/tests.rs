use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::yaml::tests::pyyaml;
use super::*;
use crate::cluster::{Addressing, EtcdListen, EtcdNode, LoneNode, StaticAddress};
use crate::value::Sha256;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICw9WoIGA6sY5DGuHnLIAPO9JFFfv4wVMbWoWLz7S9ZJ";

fn dhcp() -> LoneNode {
    LoneNode {
        name: "etcd0".parse().unwrap(),
        domain: None,
        role: "etcd".parse().unwrap(),
        network: Addressing::Dhcp,
        mac: None,
        ssh_keys: vec![format!("{KEY} someone@example").parse().unwrap()],
        etcd: Some(EtcdNode { listen: EtcdListen::Loopback }),
    }
}

fn fixed(address: &str, gateway: &str, dns: &[&str]) -> Addressing {
    let dns = dns.iter().map(|server| server.parse().unwrap()).collect();
    Addressing::Static(StaticAddress::new(address.parse().unwrap(), Some(gateway.parse().unwrap()), dns).unwrap())
}

fn open() -> Option<EtcdNode> {
    Some(EtcdNode { listen: EtcdListen::All })
}

/// The nodes whose documents are kept as golden files.
fn examples() -> Vec<(&'static str, LoneNode)> {
    let domain = Some("kbake.test".parse().unwrap());
    vec![
        ("dhcp", dhcp()),
        ("dhcp-domain-open", LoneNode { domain: domain.clone(), etcd: open(), ..dhcp() }),
        (
            "static",
            LoneNode {
                domain,
                network: fixed("192.168.3.11/24", "192.168.3.1", &["192.168.3.1", "9.9.9.9"]),
                mac: Some("52:54:00:12:34:56".parse().unwrap()),
                etcd: open(),
                ..dhcp()
            },
        ),
        ("static-v6", LoneNode { network: fixed("2001:db8::11/64", "fe80::1", &[]), etcd: open(), ..dhcp() }),
        ("bare", LoneNode { name: "gateway".parse().unwrap(), role: "gateway".parse().unwrap(), ssh_keys: vec![], etcd: None, ..dhcp() }),
    ]
}

/// Compares with `tests/golden/NAME`. What differs is put under `target/golden`, to be looked at and copied.
pub(super) fn golden(name: &str, actual: &str) -> Result<(), String> {
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
fn seeds_are_as_recorded() {
    let failures: Vec<String> = examples()
        .iter()
        .flat_map(|(name, node)| {
            [("user-data", user_data(node)), ("meta-data", meta_data(node)), ("network-config", network_config(node))]
                .map(|(document, text)| golden(&format!("seed/{name}/{document}"), &text))
        })
        .filter_map(Result::err)
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn image_files_are_as_recorded() {
    let mut text = String::new();
    for (name, entries) in [("base", base_entries([0x11; 16])), ("etcd", etcd_entries())] {
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
    let mut paths: Vec<_> = base_entries([0; 16]).iter().chain(&etcd_entries()).map(|entry| entry.path().clone()).collect();
    let all = paths.len();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), all);
}

/// cloud-init's own parser must find exactly what was meant, whatever a key's comment says.
fn expected_user_data(node: &LoneNode) -> Value {
    let mut expected = json!({ "hostname": node.name.as_str() });
    if node.domain.is_some() {
        expected["fqdn"] = json!(node.fqdn());
    }
    if !node.ssh_keys.is_empty() {
        expected["ssh_authorized_keys"] = node.ssh_keys.iter().map(|key| json!(key.to_string())).collect();
    }
    let mut files = Vec::new();
    if let Addressing::Static(network) = &node.network {
        let names = if node.domain.is_some() { format!("{} {}", node.fqdn(), node.name) } else { node.name.to_string() };
        let hosts = format!("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{} {names}\n", network.address().address());
        files.push(json!({ "path": "/etc/hosts", "owner": "root:root", "permissions": "0644", "content": hosts }));
    }
    if let Some(env) = etcd_env(node) {
        files.push(json!({ "path": "/etc/etcd/etcd.env", "owner": "root:root", "permissions": "0600", "content": env }));
    }
    if !files.is_empty() {
        expected["write_files"] = json!(files);
    }
    expected
}

#[test]
fn cloud_init_reads_what_was_meant() {
    for (name, node) in examples() {
        let user_data = user_data(&node);
        assert!(user_data.starts_with("#cloud-config\n"), "{name}");
        let found = pyyaml(&[user_data, meta_data(&node), network_config(&node)]);
        assert_eq!(found[0], expected_user_data(&node), "{name}");
        assert_eq!(found[1]["local-hostname"], node.name.as_str(), "{name}");
        assert_eq!(found[2]["version"], 2, "{name}");
        assert_eq!(found[2]["ethernets"].as_object().unwrap().len(), 1, "{name}");
    }
}

#[test]
fn the_instance_id_follows_the_content() {
    let id = |node: &LoneNode| pyyaml(&[meta_data(node)])[0]["instance-id"].as_str().unwrap().to_owned();
    let all: Vec<String> = examples().iter().map(|(_, node)| id(node)).collect();
    for (place, one) in all.iter().enumerate() {
        assert!(!all[..place].contains(one), "{one} twice");
    }
    assert!(all[0].starts_with("etcd0-") && all[0].len() == "etcd0-".len() + 16, "{}", all[0]);
    assert_eq!(id(&dhcp()), all[0]);
    assert_ne!(id(&LoneNode { mac: Some("52:54:00:12:34:56".parse().unwrap()), ..dhcp() }), all[0], "the network counts");
    assert_ne!(id(&LoneNode { ssh_keys: vec![], ..dhcp() }), all[0], "the keys count");
}

/// systemd.exec(5), EnvironmentFile: no quotes, spaces or backslashes, so that there is nothing to interpret.
#[test]
fn the_environment_file_needs_no_quoting() {
    for (name, node) in examples() {
        let Some(env) = etcd_env(&node) else { continue };
        for line in env.lines().filter(|line| !line.starts_with('#')) {
            let (key, value) = line.split_once('=').unwrap();
            assert!(key.starts_with("ETCD_") && key.bytes().all(|c| c.is_ascii_uppercase() || b"_2".contains(&c)), "{name}: {line}");
            assert!(value.bytes().all(|c| c.is_ascii_alphanumeric() || b":/.-_=[]".contains(&c)), "{name}: {line}");
        }
    }
}

#[test]
fn etcd_is_reached_where_it_says() {
    let urls = |node: &LoneNode| -> Vec<String> {
        let env = etcd_env(node).unwrap();
        ["ETCD_LISTEN_CLIENT_URLS=", "ETCD_ADVERTISE_CLIENT_URLS="]
            .map(|key| env.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned())
            .to_vec()
    };
    let by_name: Vec<_> = examples().iter().filter(|(_, node)| node.etcd.is_some()).map(|(name, node)| (*name, urls(node))).collect();
    let expected = [
        ("dhcp", ["http://127.0.0.1:2379", "http://127.0.0.1:2379"]),
        ("dhcp-domain-open", ["http://0.0.0.0:2379", "http://etcd0.kbake.test:2379"]),
        ("static", ["http://0.0.0.0:2379", "http://192.168.3.11:2379"]),
        ("static-v6", ["http://[::]:2379", "http://[2001:db8::11]:2379"]),
    ];
    assert_eq!(by_name, expected.map(|(name, urls)| (name, urls.map(str::to_owned).to_vec())));
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
    for needed in ["write-files", "growpart", "resizefs", "set_hostname", "users-groups", "ssh"] {
        assert!(modules.contains(&needed), "{needed}");
    }
    for unwanted in ["apt-configure", "ntp", "locale", "package-update-upgrade-install", "snap", "phone-home", "puppet", "grub-dpkg"] {
        assert!(!modules.contains(&unwanted), "{unwanted}");
    }
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
    for program in ["lib/systemd/systemd-networkd-wait-online", "lib/systemd/systemd-networkd", "bin/udevadm", "usr/bin/cloud-init"] {
        put(root.path(), program, b"#!/bin/sh\n", 0o755);
    }
    put(root.path(), "etc/passwd", b"root:x:0:0::/:/bin/sh\netcd:x:100:100::/:/bin/sh\n", 0o644);
    // Not of systemd's own package; the drop-in has to have something to add to.
    let local = b"[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/usr/bin/cloud-init init --local\n";
    put(root.path(), "usr/lib/systemd/system/cloud-init-local.service", local, 0o644);
    for entry in base_entries([0; 16]).iter().chain(&etcd_entries()) {
        if let Entry::File { path, bytes, .. } = entry {
            put(root.path(), std::str::from_utf8(path.as_bytes()).unwrap(), bytes, 0o644);
        }
    }
    for unit in ["etcd.service", "cloud-init-local.service", "systemd-networkd-wait-online.service"] {
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

fn put(root: &Path, path: &str, bytes: &[u8], mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn systemd_analyze(root: &Path, args: &[&str]) -> std::process::Output {
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
        let nodes: Vec<LoneNode> = comments
            .iter()
            .zip(&names)
            .filter_map(|(comment, name)| {
                let key = format!("{KEY} {comment}").parse().ok()?;
                Some(LoneNode { name: name.parse().ok()?, domain: name.parse().ok(), ssh_keys: vec![key], ..dhcp() })
            })
            .collect();
        let documents: Vec<String> = nodes.iter().map(user_data).collect();
        let expected: Vec<Value> = nodes.iter().map(expected_user_data).collect();
        prop_assert_eq!(pyyaml(&documents), expected);
    }
}
