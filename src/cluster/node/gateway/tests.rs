use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::cluster::node::file::Content;
use crate::cluster::testing::{EXAMPLES, example};

fn config(cluster: &Cluster, node: &str) -> Option<String> {
    haproxy(cluster, cluster.node(node).unwrap()).map(|file| {
        let Content::Public(text) = file.content else { panic!("{file:?}") };
        assert_eq!((file.path.as_str(), file.permissions), ("/etc/haproxy/haproxy.cfg", "0644"));
        text.into_owned()
    })
}

/// haproxy's verdict on a configuration, and its output.
fn haproxy_check(folder: &Path, config: &str) -> (bool, String) {
    // Any certificate will do: haproxy only checks that it is one.
    let ca = folder.join("ca.crt");
    if !ca.exists() {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=any", "-keyout"]);
        let made = openssl.arg(folder.join("ca.key")).arg("-out").arg(&ca).output();
        assert!(made.unwrap_or_else(|e| panic!("openssl is missing: run tests/setup.sh ({e})")).status.success());
    }
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, config.replace(GATEWAY_CA, ca.to_str().unwrap())).unwrap();
    let path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
    let out = match Command::new("haproxy").arg("-c").arg("-f").arg(&file).env("PATH", path).env("LC_ALL", "C").output() {
        Err(error) if error.kind() == ErrorKind::NotFound => panic!("haproxy is missing: run tests/setup.sh"),
        other => other.unwrap(),
    };
    (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

#[test]
fn haproxy_takes_the_configuration_of_every_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateways = 0;
    for name in EXAMPLES {
        let cluster = example(name);
        for node in &cluster.nodes {
            let Some(config) = config(&cluster, node.name.as_str()) else {
                assert_ne!(node.role, Role::Gateway, "{name}/{}", node.name);
                continue;
            };
            gateways += 1;
            let (taken, said) = haproxy_check(folder.path(), &config);
            assert!(taken && !said.contains("WARNING") && !said.contains("ALERT"), "{name}/{}: {said}", node.name);
        }
    }
    assert_eq!(gateways, 3, "haproxy had something to check");
    // The cluster's own configuration is accepted.
    let config = config(&example("kubenet"), "gateway").unwrap();
    for (from, to) in [("timeout connect 5s", "timeout connect soon"), ("bind 192.168.3.21:6443", "bind 192.168.3.21:70000")] {
        assert!(!haproxy_check(folder.path(), &config.replace(from, to)).0, "{to}");
    }
}

#[test]
fn it_listens_where_the_api_is_expected_and_knows_the_control_plane() {
    let text = "name = 'x'\n[network]\ncidr = '10.1.0.0/24'\n[api]\nname = 'api.example.test'\nport = 8443\n\
                [[node]]\nrole = 'gateway'\ncount = 2\n[[node]]\nrole = 'control-plane'\ncount = 2\n";
    let elsewhere = Cluster::read("x.toml", text).unwrap();
    for (cluster, node, binds, servers) in [
        (
            example("kubenet"),
            "gateway",
            "192.168.3.21:6443",
            vec!["control0 192.168.3.11", "control1 192.168.3.12", "control2 192.168.3.13"],
        ),
        (
            example("hard-way"),
            "loadbalancer",
            "192.168.111.248:6443",
            vec!["master00 192.168.111.150", "master01 192.168.111.135", "master02 192.168.111.147"],
        ),
        (example("external-etcd"), "gateway", "192.168.70.10:6443", vec!["control0 192.168.70.14", "control1 192.168.70.15"]),
        (elsewhere, "gateway1", "10.1.0.11:8443", vec!["control0 10.1.0.12", "control1 10.1.0.13"]),
    ] {
        let text = config(&cluster, node).unwrap();
        let after = |word: &str| -> Vec<String> {
            text.lines().filter_map(|line| line.trim_start().strip_prefix(word)).map(str::to_owned).collect()
        };
        assert_eq!(after("bind "), [binds, "127.0.0.1:9000"], "{text}");
        let port = binds.split_once(':').unwrap().1;
        let expected: Vec<String> =
            servers.iter().map(|server| format!("{server}:{port} verifyhost {}", server.split(' ').next().unwrap())).collect();
        assert_eq!(after("server "), expected, "{text}");
    }
}

#[test]
fn only_gateways_before_something_have_it() {
    let kubenet = example("kubenet");
    for node in ["control0", "worker0"] {
        assert_eq!(config(&kubenet, node), None);
    }
    let text = "name = 'x'\n[network]\ncidr = '10.1.0.0/24'\n[[node]]\nrole = 'gateway'\n[[node]]\nrole = 'etcd'\n";
    let nothing_behind = Cluster::read("x.toml", text).unwrap();
    assert_eq!(config(&nothing_behind, "gateway"), None);
}
