use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::*;
use crate::cluster::node::file::Content;
use crate::common::testing::containerd::Containerd;
use crate::common::testing::{put, systemd_analyze};

/// A cluster with these lines before its first table and these tables, and a worker.
fn cluster(lines: &str, tables: &str) -> Cluster {
    let nodes = "[[node]]\nrole = 'control-plane'\n[[node]]\nrole = 'worker'\n[[node]]\nrole = 'gateway'\n[[node]]\nrole = 'etcd'\n";
    let text = format!("name = 'x'\n{lines}\n[network]\ncidr = '10.1.0.0/24'\n[api]\nname = 'api.example.org'\n{tables}\n{nodes}");
    Cluster::read("x.toml", &text).unwrap_or_else(|error| panic!("{error}"))
}

/// The paths of a node's files, and the text of one of them.
fn files(cluster: &Cluster, node: &str, authorities: &[String]) -> Vec<(String, String)> {
    let files = site_files(cluster, cluster.node(node).unwrap(), authorities);
    let text = |file: NodeFile<'static>| {
        assert_eq!((file.permissions, file.owner), ("0644", "root:root"));
        let Content::Public(text) = file.content else { panic!("{} is public", file.path) };
        (file.path, text.into_owned())
    };
    files.into_iter().map(text).collect()
}

fn text(cluster: &Cluster, path: &str) -> String {
    files(cluster, "worker", &[]).into_iter().find(|(known, _)| known == path).unwrap_or_else(|| panic!("no {path}")).1
}

#[test]
fn a_cluster_that_says_nothing_of_its_site_has_no_files_of_it() {
    let cluster = cluster("", "");
    for node in &cluster.nodes {
        assert_eq!(files(&cluster, node.name.as_str(), &[]), []);
    }
}

#[test]
fn what_pulls_images_is_told_of_the_proxy_and_all_of_the_time() {
    let tables = "[proxy]\nhttps = 'http://proxy.example.test:3128'\n[[registry-mirror]]\nregistry = 'docker.io'\nurls = ['https://m.example.test']\n";
    let cluster = cluster("ntp = ['10.1.0.1']", tables);
    let paths = |node: &str| files(&cluster, node, &["PEM".to_owned()]).into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    let everywhere = ["/etc/systemd/timesyncd.conf.d/90-kbake.conf", "/usr/local/share/ca-certificates/kbake-0.crt"];
    assert_eq!(paths("gateway"), everywhere);
    assert_eq!(paths("etcd"), everywhere);
    let more = [PROXY_ENV, "/etc/containerd/certs.d/docker.io/hosts.toml", "/etc/containers/registries.conf.d/90-kbake.conf"];
    assert_eq!(paths("worker"), [&everywhere[..], &more].concat());
    assert_eq!(paths("control"), paths("worker"));
}

/// timesyncd.conf(5), read by systemd's own parser of drop-ins.
#[test]
fn systemd_reads_the_time_servers() {
    let cluster = cluster("ntp = ['time.example.test', '10.1.0.1']", "");
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "etc/systemd/timesyncd.conf", b"[Time]\n", 0o644);
    let path = "/etc/systemd/timesyncd.conf.d/90-kbake.conf";
    put(root.path(), &path[1..], text(&cluster, path).as_bytes(), 0o644);
    let out = systemd_analyze(root.path(), &["cat-config", "systemd/timesyncd.conf"]);
    let shown = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(shown.lines().filter(|line| line.starts_with("NTP=")).collect::<Vec<_>>(), ["NTP=time.example.test 10.1.0.1"]);
}

#[test]
fn the_cluster_itself_is_reached_without_the_proxy() {
    let tables = "[proxy]\nhttp = 'http://p:3128'\nhttps = 'http://10.9.9.9:3128/'\nno-proxy = ['registry.example.test', '.example.org', '192.0.2.0/24']\n";
    let cluster = cluster("", tables);
    let env = text(&cluster, PROXY_ENV);
    let value = |key: &str| env.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).unwrap_or_else(|| panic!("{key}: {env}"));
    assert_eq!((value("HTTP_PROXY"), value("HTTPS_PROXY")), ("http://p:3128", "http://10.9.9.9:3128"));
    let direct: Vec<&str> = value("NO_PROXY").split(',').collect();
    for own in [
        "localhost",
        "127.0.0.0/8",
        "10.1.0.0/24",
        "10.244.0.0/16",
        "10.96.0.0/16",
        ".svc",
        ".cluster.local",
        ".x.internal",
        "api.example.org",
    ] {
        assert!(direct.contains(&own), "{own}: {direct:?}");
    }
    assert_eq!(direct[direct.len() - 3..], ["registry.example.test", ".example.org", "192.0.2.0/24"]);
    // systemd.exec(5), EnvironmentFile: no character is interpreted.
    assert!(env.lines().skip(1).all(|line| line.bytes().all(|c| c.is_ascii_alphanumeric() || b"_=:/.,-".contains(&c))), "{env}");
}

/// The units of both runtimes read the file, and work without it.
#[test]
fn the_runtimes_read_the_proxy() {
    let units = [
        include_str!("../../../build/role/parts/containerd/containerd.service"),
        include_str!("../../../build/role/parts/crio/crio.service"),
    ];
    for unit in units {
        assert!(unit.lines().any(|line| line == format!("EnvironmentFile=-{PROXY_ENV}")), "{unit}");
    }
    for config in [
        include_str!("../../../build/role/parts/containerd/config-2.toml"),
        include_str!("../../../build/role/parts/containerd/config-3.toml"),
    ] {
        assert!(config.contains("config_path = \"/etc/containerd/certs.d\""), "{config}");
    }
}

/// Answers each connection with "not found", and returns the request's first line.
fn registry(listener: TcpListener) -> std::thread::JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut asked = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            if line.starts_with("GET /end") {
                return asked;
            }
            asked.push(line);
        }
        asked
    })
}

/// A real containerd asks the mirrors in order, with the path where kbake and CRI-O have it.
#[test]
fn containerd_asks_the_mirrors_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = registry(listener);
    let tables = format!("[[registry-mirror]]\nregistry = 'registry.invalid'\nurls = ['http://{address}/first/one', 'http://{address}']\n");
    let cluster = cluster("", &tables);
    let folder = tempfile::tempdir().unwrap();
    let path = "/etc/containerd/certs.d/registry.invalid/hosts.toml";
    put(folder.path(), &path[1..], text(&cluster, path).as_bytes(), 0o644);
    let containerd = Containerd::start();
    let hosts = folder.path().join("etc/containerd/certs.d");
    let refused = containerd.try_ctr(&["images", "pull", "--hosts-dir", hosts.to_str().unwrap(), "registry.invalid/a/b:1"]);
    assert!(refused.is_err(), "there is no image");
    let _ = std::net::TcpStream::connect(address).unwrap().write_all(b"GET /end HTTP/1.1\r\n\r\n");
    let asked: Vec<String> = server.join().unwrap().iter().filter_map(|line| Some(line.split(' ').nth(1)?.to_owned())).collect();
    let manifests: Vec<&String> = asked.iter().filter(|path| path.contains("/manifests/")).collect();
    assert_eq!(manifests.first().map(|path| path.split('?').next().unwrap()), Some("/v2/first/one/a/b/manifests/1"), "{asked:?}");
    assert!(manifests.iter().any(|path| path.split('?').next() == Some("/v2/a/b/manifests/1")), "{asked:?}");
}

#[test]
fn both_runtimes_have_the_same_mirrors() {
    let tables = "[[registry-mirror]]\nregistry = 'quay.example:5000'\nurls = ['https://m.example.test/q', 'http://10.1.0.1:5000']\n";
    let cluster = cluster("", tables);
    let hosts: toml::Table = text(&cluster, "/etc/containerd/certs.d/quay.example:5000/hosts.toml").parse().unwrap();
    let host = hosts["host"].as_table().unwrap();
    assert_eq!(host.keys().collect::<Vec<_>>(), ["http://10.1.0.1:5000", "https://m.example.test/v2/q"]);
    assert_eq!(host["https://m.example.test/v2/q"]["override_path"].as_bool(), Some(true));
    let crio: toml::Table = text(&cluster, "/etc/containers/registries.conf.d/90-kbake.conf").parse().unwrap();
    let registry = &crio["registry"][0];
    assert_eq!((registry["prefix"].as_str(), registry["location"].as_str()), (Some("quay.example:5000"), Some("quay.example:5000")));
    let mirrors: Vec<_> = registry["mirror"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mirror| (mirror["location"].as_str().unwrap(), mirror.get("insecure").is_some()))
        .collect();
    assert_eq!(mirrors, [("m.example.test/q", false), ("10.1.0.1:5000", true)]);
}
