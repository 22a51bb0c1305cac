use std::collections::BTreeMap;

use super::*;

#[test]
fn dnsmasq_takes_the_configuration() {
    for (name, cluster) in all() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dnsmasq.conf");
        std::fs::write(&file, dnsmasq_conf(&cluster)).unwrap();
        let output = run(Command::new("dnsmasq").arg("--test").arg("-C").arg(&file), b"");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("syntax check OK"), "{name}: {said}");
    }
}

#[test]
fn dnsmasq_knows_what_libvirt_knows() {
    for (name, cluster) in all() {
        let text = dnsmasq_conf(&cluster);
        let values = |key: &str| text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect::<Vec<_>>();
        let expected: Vec<String> = cluster.nodes.iter().map(|node| format!("{},{},{}", node.mac, node.address, node.name)).collect();
        assert_eq!(values("dhcp-host"), expected, "{name}");
        assert_eq!(values("interface"), [cluster.network.bridge.to_string()]);
        // Without the line, unknown names in the domain are asked of others.
        let local = format!("/{}/", cluster.domain);
        assert_eq!(values("local"), cluster.network.local_only.then_some(local.as_str()).into_iter().collect::<Vec<_>>(), "{name}");
        assert_eq!(values("dhcp-range").len(), 1, "{name}");
        assert_eq!(values("dhcp-range")[0].contains(",static,"), cluster.network.dhcp.is_none(), "{name}");
        for node in &cluster.nodes {
            let record = format!("{},{},", node.fqdn, node.name);
            let of_node = values("host-record").into_iter().filter(|line| line.starts_with(&record)).collect::<Vec<_>>();
            assert!(of_node.len() == 1 && of_node[0].ends_with(&node.address.to_string()), "{name}: {of_node:?}");
        }
    }
}

/// hosts(5): an address, then its names. None may be there twice: the first would win.
#[test]
fn the_host_finds_every_name() {
    for (name, cluster) in all() {
        let text = hosts(&cluster);
        let mut found = BTreeMap::new();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("# kbake begin: cluster {}", cluster.name));
        assert_eq!(*lines.last().unwrap(), format!("# kbake end: cluster {}", cluster.name));
        for line in &lines[1..lines.len() - 1] {
            let mut words = line.split(' ');
            let address: Ipv4Addr = words.next().unwrap().parse().unwrap();
            for word in words {
                assert_eq!(found.insert(word.to_owned(), address), None, "{name}: {word} twice");
            }
        }
        for node in &cluster.nodes {
            assert_eq!(found[node.name.as_str()], node.address);
            assert_eq!(found[&node.fqdn], node.address);
        }
        if let Some((api, address)) = cluster.api.as_ref().and_then(|api| Some((api, api.address?))) {
            assert_eq!(found[api.name.as_str()], address, "{name}");
        }
    }
}

/// The output of Python's INI parser: section → lines.
fn sections(text: &str) -> BTreeMap<String, Vec<String>> {
    let reader = "import configparser, json, sys\n\
                  ini = configparser.ConfigParser(delimiters=('\\0',), allow_no_value=True, interpolation=None)\n\
                  ini.optionxform = str\n\
                  ini.read_string(sys.stdin.read())\n\
                  print(json.dumps({name: list(ini[name]) for name in ini.sections()}))";
    serde_json::from_str(&run_ok(Command::new("python3").args(["-c", reader]), text.as_bytes())).unwrap()
}

#[test]
fn the_inventory_has_every_node_in_its_group() {
    for (name, cluster) in all() {
        let found = sections(&inventory(&cluster));
        let mut hosts = 0;
        for (role, group, alias) in [
            (Role::Gateway, "kube_gateway", Some("lb")),
            (Role::ControlPlane, "kube_control_plane", Some("master")),
            (Role::Worker, "kube_worker", Some("worker")),
            (Role::Etcd, "kube_etcd", None),
        ] {
            let expected: Vec<String> =
                cluster.with_role(role).map(|node| format!("{} ansible_host={}", node.name, node.address)).collect();
            hosts += expected.len();
            if expected.is_empty() {
                assert!(!found.contains_key(group), "{name}: {group}");
                continue;
            }
            assert_eq!(found[group], expected, "{name}");
            if let Some(alias) = alias {
                // Ansible warns of a group with the name of a host.
                let taken = cluster.nodes.iter().any(|node| node.name.as_str() == alias);
                assert_eq!(found.get(&format!("{alias}:children")), (!taken).then(|| vec![group.to_owned()]).as_ref(), "{name}");
            }
        }
        assert_eq!(hosts, cluster.nodes.len());
        let clash = |node: &&Node| found.keys().any(|group| group.trim_end_matches(":children") == node.name.as_str());
        assert_eq!(cluster.nodes.iter().find(clash).map(|node| &node.name), None, "{name}");
        assert_eq!(found["all:vars"], ["ansible_user=debian", "ansible_python_interpreter=/usr/bin/python3"]);
    }
}

/// The inventory's user is the one whom images let in.
#[test]
fn the_inventorys_user_is_the_images() {
    let config = include_str!("../../../build/role/90-kbake.cfg");
    assert!(config.contains("default_user:\n    name: debian\n"));
}

/// exports(5): path, then client(options) without a space between, which would export it to everyone.
#[test]
fn shares_are_for_the_nodes_only() {
    for (name, cluster) in all() {
        let text = exports(&cluster);
        assert_eq!(text.lines().count(), cluster.exports.len(), "{name}");
        for (line, export) in text.lines().zip(&cluster.exports) {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words, [export.path.clone(), format!("{}({})", cluster.network.cidr, export.options)], "{name}");
        }
    }
    let (_, cluster) = shipped().into_iter().find(|(name, _)| name == "kubenet").unwrap();
    assert_eq!(exports(&cluster), "/srv/nfs/kubenet 192.168.3.0/24(rw,sync,root_squash,no_subtree_check)\n");
}
