//! Derived values, their sources, and changes that leave them alone.

use std::time::Instant;

use super::*;

/// Name and address of every node.
fn addresses(cluster: &Cluster) -> Vec<String> {
    cluster.nodes.iter().map(|node| format!("{} {}", node.name, node.address)).collect()
}

#[test]
fn the_examples_are_valid() {
    for name in EXAMPLES {
        let cluster = example(name);
        assert_eq!(cluster.warnings(), ["no `ssh-keys`: nobody will be able to log in to the nodes"], "{name}");
    }
}

/// The reference's addresses, which people compare with the guides.
#[test]
fn the_guides_layouts_come_out() {
    let kubenet = example("kubenet");
    let expected = ["gateway 10", "control0 11", "control1 12", "control2 13", "worker0 14", "worker1 15", "worker2 16"]
        .map(|line| line.replace(' ', " 192.168.3."));
    assert_eq!(addresses(&kubenet), expected);
    let pods: Vec<String> = kubenet.nodes.iter().filter_map(|node| node.pods).map(|net| net.to_string()).collect();
    assert_eq!(pods, [1, 2, 3, 4, 5, 6].map(|n| format!("10.{n}.0.0/16")));
    let api = kubenet.api.as_ref().unwrap();
    assert_eq!((api.address, api.is_vip, kubenet.api_url()), ("192.168.3.21".parse().ok(), true, Some("https://192.168.3.21:6443".into())));

    let hard_way = example("hard-way");
    let pods: Vec<String> = hard_way.with_role(Role::Worker).filter_map(|node| node.pods).map(|net| net.to_string()).collect();
    assert_eq!(pods, [0, 1, 2].map(|n| format!("10.200.{n}.0/24")));
    assert_eq!(hard_way.api_url().unwrap(), "https://192.168.111.248:6443");
    assert_eq!(hard_way.services.api().to_string(), "10.32.0.1");

    let two = example("two-node");
    assert_eq!(two.api.as_ref().unwrap().name.fqdn(&two.domain), "api.two-node.test");
    assert_eq!(two.api.as_ref().unwrap().address, Some(two.node("control").unwrap().address));
    assert!(example("etcd").api.is_none());
}

#[test]
fn defaults() {
    let cluster = read(&file(&format!("{}{}", node("control-plane", ""), node("worker", "count = 2\n"))));
    assert_eq!(addresses(&cluster), ["control 192.168.7.10", "worker0 192.168.7.11", "worker1 192.168.7.12"]);
    let network = &cluster.network;
    assert_eq!((network.host.to_string(), network.dns.len(), network.bridge.as_str()), ("192.168.7.1".into(), 1, "kb-lab"));
    assert_eq!((&network.mode, network.mtu, network.dhcp), (&Mode::Nat { uplink: None, ports: None }, None, None));
    assert_eq!((cluster.domain.as_str(), cluster.channel.to_string()), ("lab.internal", "upstream".into()));
    assert_eq!(cluster.services.dns.to_string(), "10.96.0.10");
    assert_eq!(cluster.node("worker1").unwrap().pods.unwrap().to_string(), "10.244.2.0/24");
    assert_eq!(cluster.node("worker1").unwrap().fqdn, "worker1.lab.internal");
    assert_eq!(cluster.validity, Validity { authorities: 3650, certificates: 1095 });
    let api = cluster.api.unwrap();
    assert_eq!((api.name.as_str(), api.address, api.is_vip, api.port), ("kubernetes", "192.168.7.10".parse().ok(), false, 6443));
}

#[test]
fn derived_addresses_step_over_all_that_is_taken() {
    let text = format!(
        "dhcp = \"192.168.7.10-192.168.7.12\"\ndns = [\"192.168.7.13\", \"192.168.7.1\"]\n[services]\nload-balancer-pool = \"192.168.7.16/30\"\n\
         [api]\nvip = \"192.168.7.14\"\n{}{}{}{}",
        node("gateway", ""),
        node("control-plane", "routes = [{ to = \"172.16.0.0/12\", via = \"192.168.7.21\" }]\n"),
        node("worker", "count = 2\n"),
        node("etcd", "address = \"192.168.7.20\"\n"),
    );
    let expected = ["gateway 192.168.7.15", "control 192.168.7.22", "worker0 192.168.7.23", "worker1 192.168.7.24", "etcd 192.168.7.20"];
    assert_eq!(addresses(&read(&file(&text))), expected);
}

#[test]
fn the_low_addresses_come_last() {
    let text = file(&node("etcd", "count = 9\n")).replace("192.168.7.0/24", "192.168.7.16/28");
    let first_to_last: Vec<u8> = read(&text).nodes.iter().map(|node| node.address.octets()[3]).collect();
    assert_eq!(first_to_last, [18, 19, 20, 21, 22, 23, 24, 25, 26], "a small network is used from its start");
    let text = file(&node("etcd", "count = 24\n")).replace("192.168.7.0/24", "192.168.7.32/27");
    let used: Vec<u8> = read(&text).nodes.iter().map(|node| node.address.octets()[3]).collect();
    assert_eq!(used, (42..63).chain(34..37).collect::<Vec<u8>>());
}

#[test]
fn a_node_more_at_the_end_moves_no_other() {
    for name in EXAMPLES {
        let text = example_text(name);
        let before = read(&text);
        for more in [node("etcd", "name = \"late\"\n"), node("worker", "name = \"late\"\ncount = 5\n")] {
            // An added node of role etcd replaces the control plane's etcd, but no address.
            let Ok(after) = Cluster::read("c.toml", &format!("{text}{more}")) else {
                assert!(["etcd", "lab"].contains(&name), "{name}");
                continue;
            };
            for (old, new) in before.nodes.iter().zip(&after.nodes) {
                assert_eq!(format!("{old:?}"), format!("{new:?}"), "{name}");
            }
            assert_eq!(format!("{:?}", before.network), format!("{:?}", after.network));
        }
    }
}

#[test]
fn macs_and_uuids_come_from_names_alone() {
    let nodes = [node("etcd", "name = \"a\"\n"), node("worker", "name = \"b\"\n"), node("control-plane", "name = \"c\"\n")];
    let first = read(&file(&nodes.concat()));
    let turned = read(&file(&nodes.iter().rev().cloned().collect::<String>()).replace("192.168.7.0", "10.9.0.0"));
    for node in &first.nodes {
        let other = turned.node(node.name.as_str()).unwrap();
        assert_eq!((node.mac, node.uuid), (other.mac, other.uuid));
        assert!(node.mac.to_string().starts_with("52:54:00:"));
    }
    // Two clusters on one host share nothing.
    let renamed = read(&file(&nodes.concat()).replace("\"lab\"", "\"lob\""));
    for (one, two) in first.nodes.iter().zip(&renamed.nodes) {
        assert!(one.mac != two.mac && one.uuid != two.uuid);
    }
    assert!(first.network.mac != renamed.network.mac && first.network.uuid != renamed.network.uuid);
    // Fixed forever: running machines know each other by these.
    assert_eq!(first.node("a").unwrap().mac.to_string(), "52:54:00:77:33:37");
    assert_eq!(first.network.uuid.to_string(), "8c476f02-41a3-8a6c-84cb-bc987abb6b42");
}

#[test]
fn pod_shares_fill_the_gaps() {
    let text = file(&format!(
        "[pods]\ncidr = \"10.0.0.0/20\"\n{}{}{}{}",
        node("control-plane", ""),
        node("worker", "count = 4\n"),
        node("worker", "name = \"large\"\npod-cidr = \"10.0.2.0/23\"\n"),
        node("worker", "name = \"small\"\npod-cidr = \"10.0.5.128/25\"\n"),
    ));
    let shares: Vec<String> = read(&text).nodes.iter().filter_map(|node| node.pods).map(|net| net.to_string()).collect();
    assert_eq!(shares, ["10.0.0.0/24", "10.0.1.0/24", "10.0.4.0/24", "10.0.6.0/24", "10.0.7.0/24", "10.0.2.0/23", "10.0.5.128/25"]);
}

#[test]
fn routes_lead_to_all_other_pods() {
    let cluster = example("two-node");
    let routes = |name: &str| -> Vec<String> {
        cluster.routes(cluster.node(name).unwrap()).iter().map(|route| format!("{} {}", route.to, route.via)).collect()
    };
    assert_eq!(routes("control"), ["10.244.1.0/24 192.168.40.11"]);
    assert_eq!(routes("worker"), ["10.244.0.0/24 192.168.40.10", "172.16.0.0/12 192.168.40.5"]);
}

#[test]
fn etcd_runs_where_its_role_is() {
    let members = |cluster: &Cluster| cluster.etcd_members().map(|node| node.name.to_string()).collect::<Vec<_>>();
    assert_eq!(members(&example("kubenet")), ["control0", "control1", "control2"]);
    let apart = read(&file(&format!("{}{}", node("control-plane", ""), node("etcd", "count = 3\n"))));
    assert_eq!(members(&apart), ["etcd0", "etcd1", "etcd2"]);
    for cluster in [example("kubenet"), apart] {
        assert!(cluster.nodes.iter().all(|node| cluster.is_etcd_member(node) == members(&cluster).contains(&node.name.to_string())));
    }
}

/// An etcd cluster needs no pods and services, so their defaults restrict nothing.
#[test]
fn unused_defaults_forbid_nothing() {
    for net in ["10.96.0.0/24", "10.244.0.0/16"] {
        read(&file(&node("etcd", "count = 3\n")).replace("192.168.7.0/24", net));
    }
}

#[test]
fn a_full_api_name_is_known_elsewhere_or_here() {
    let api = |name: &str, more: &str| {
        let text = file(&format!("[api]\nname = \"{name}\"\n{}{more}", node("control-plane", "")));
        read(&text).api.unwrap()
    };
    let second = node("control-plane", "name = \"second\"\n");
    let elsewhere = api("api.example.test", &second);
    assert_eq!((elsewhere.name.as_str(), elsewhere.address), ("api.example.test", None));
    let here = api("api.lab.internal", "");
    assert_eq!((here.name.as_str(), here.address.unwrap().to_string()), ("api", "192.168.7.10".into()));
    assert_eq!(api("notlab.internal", "").address, None, "a domain ends at a dot");
}

#[test]
fn unknown_nodes_get_the_nearest() {
    let cluster = example("kubenet");
    let shown = cluster.node("worker9").unwrap_err().to_string();
    assert!(shown.starts_with("kubenet.toml has no node `worker9`\nhint: did you mean `worker0`?"), "{shown}");
    assert!(cluster.node("database").unwrap_err().to_string().contains("`kbake cluster` shows the nodes"));
}

/// Prints the time for large files. Quadratic time would show at the larger one.
#[test]
fn large_files_are_read_at_once() {
    for count in [500, 5000] {
        let mut text =
            file("[services]\ncidr = \"10.0.0.0/16\"\n[pods]\ncidr = \"11.0.0.0/8\"\n").replace("192.168.7.0/24", "172.16.0.0/12");
        text += &node("control-plane", "");
        for group in 0..count / 500 {
            // Half of them at odd places, so that derived addresses must skip them.
            text += &node(
                "worker",
                &format!("name = \"a{group}-\"\ncount = 250\naddress = \"172.16.{}.3\"\npod-cidr = \"11.{group}.0.0/24\"\n", group * 2),
            );
            text += &node("worker", &format!("name = \"b{group}-\"\ncount = 250\n"));
        }
        let start = Instant::now();
        let found = Cluster::read("c.toml", &text);
        let took = start.elapsed();
        // 24 bits of MAC are few for thousands of nodes: then two may collide, and the file is refused for that alone.
        match found {
            Ok(cluster) => assert_eq!(cluster.nodes.len(), count + 1),
            Err(error) => assert!(count > 500 && error.message().contains("(derived) have the same MAC"), "{error}"),
        }
        println!("{count} nodes: {took:?}");
    }
}

#[test]
fn a_lan_s_router_and_name_servers_are_its_own() {
    let text = "mode = \"bridge\"\nbridge = \"br0\"\ngateway = \"192.168.7.254\"\ndhcp = \"192.168.7.100-192.168.7.200\"\n";
    let nodes = node("control-plane", "count = 3\naddress = \"192.168.7.11\"\n") + &node("gateway", "address = \"192.168.7.10\"\n");
    let cluster = read(&file(&format!("{text}{nodes}")));
    let network = &cluster.network;
    assert_eq!((&network.mode, network.bridge.as_str(), network.local_only), (&Mode::Bridged, "br0", false));
    assert_eq!(
        (network.gateway.to_string(), network.host, network.dns.as_slice()),
        ("192.168.7.254".into(), network.gateway, &[network.gateway][..])
    );
    let with_host =
        read(&file(&format!("{text}host = \"192.168.7.2\"\ndns = [\"192.168.7.2\", \"192.168.7.254\", \"192.0.2.1\"]\n{nodes}")));
    assert_eq!((with_host.network.host.to_string(), with_host.network.dns.len()), ("192.168.7.2".into(), 3));
}
