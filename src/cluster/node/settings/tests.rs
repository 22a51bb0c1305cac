use proptest::prelude::*;

use super::*;
use crate::cluster::node::file::Content;
use crate::cluster::testing::{EXAMPLES, example};

/// The text of a node's file; none if the node has no such file.
fn text(cluster: &Cluster, node: &str, path: &str, start: EtcdStart) -> Option<String> {
    let files = files(cluster, cluster.node(node).unwrap(), start).unwrap();
    files.into_iter().find(|file| file.path == path).map(|file| {
        let Content::Public(text) = file.content else { panic!("{path} is public") };
        assert_eq!(file.permissions, "0644");
        text.into_owned()
    })
}

fn value(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).map(str::to_owned)
}

/// Fails unless every reader parses the text alike: sorted, each key once, nothing to interpret.
fn assert_plain(text: &str) {
    let keys: Vec<&str> = text.lines().map(|line| line.split_once('=').unwrap().0).collect();
    assert!(keys.is_sorted() && keys.windows(2).all(|pair| pair[0] != pair[1]), "{text}");
    for line in text.lines() {
        let (key, value) = line.split_once('=').unwrap();
        assert!(key.bytes().all(|c| c.is_ascii_uppercase() || c == b'_'), "{line}");
        assert!(value.bytes().all(|c| c.is_ascii_alphanumeric() || b"._:/,=@-".contains(&c)), "{line}");
    }
    assert!(text.ends_with('\n') && !text.contains("\n\n"), "{text}");
}

const EVERYWHERE: [&str; 11] = [
    "API_PORT",
    "API_URL",
    "CLUSTER_CIDR",
    "CLUSTER_DNS",
    "CLUSTER_DOMAIN",
    "CLUSTER_NAME",
    "NODE_CIDR",
    "NODE_TAINTS",
    "PROXY_MODE",
    "SERVICE_ACCOUNT_ISSUER",
    "SERVICE_CIDR",
];
const SHARES: [&str; 2] = ["ALLOCATE_NODE_CIDRS", "NODE_CIDR_MASK_SIZE"];
const STACKED: [&str; 4] = ["ETCD_INITIAL_CLUSTER", "ETCD_INITIAL_CLUSTER_STATE", "ETCD_INITIAL_CLUSTER_TOKEN", "ETCD_SERVERS"];

#[test]
fn each_node_is_told_what_its_role_needs() {
    for name in EXAMPLES {
        let cluster = example(name);
        for node in &cluster.nodes {
            let text = text(&cluster, node.name.as_str(), CLUSTER_ENV, EtcdStart::New);
            let mut expected = EVERYWHERE.to_vec();
            match node.role {
                Role::Etcd | Role::Gateway => {
                    assert_eq!(text, None, "{name}/{}", node.name);
                    continue;
                }
                Role::Worker => {}
                Role::ControlPlane => {
                    expected.extend(SHARES);
                    expected.push("LEADER_ELECT");
                    expected.extend(if cluster.is_etcd_member(node) { &STACKED[..] } else { &["ETCD_SERVERS"] });
                }
            }
            expected.sort();
            let text = text.unwrap();
            assert_plain(&text);
            let keys: Vec<&str> = text.lines().map(|line| line.split_once('=').unwrap().0).collect();
            assert_eq!(keys, expected, "{name}/{}", node.name);
        }
    }
}

#[test]
fn the_values_are_the_clusters() {
    let kubenet = example("kubenet");
    let control = text(&kubenet, "control1", CLUSTER_ENV, EtcdStart::New).unwrap();
    for (key, expected) in [
        ("API_PORT", "6443"),
        ("API_URL", "https://192.168.3.21:6443"),
        ("CLUSTER_CIDR", "10.0.0.0/12"),
        ("CLUSTER_DNS", "10.32.0.10"),
        ("CLUSTER_DOMAIN", "cluster.local"),
        ("CLUSTER_NAME", "kubenet"),
        (
            "ETCD_INITIAL_CLUSTER",
            "control0=https://192.168.3.11:2380,control1=https://192.168.3.12:2380,control2=https://192.168.3.13:2380",
        ),
        ("ETCD_INITIAL_CLUSTER_STATE", "new"),
        ("ETCD_INITIAL_CLUSTER_TOKEN", "kbake-kubenet"),
        ("ETCD_SERVERS", "https://127.0.0.1:2379"),
        ("LEADER_ELECT", "true"),
        ("NODE_CIDR", "192.168.3.0/24"),
        ("NODE_TAINTS", "node-role.kubernetes.io/control-plane:NoSchedule"),
        ("PROXY_MODE", "nftables"),
        ("SERVICE_ACCOUNT_ISSUER", "https://kubernetes.default.svc.cluster.local"),
        ("SERVICE_CIDR", "10.32.0.0/16"),
    ] {
        assert_eq!(value(&control, key).as_deref(), Some(expected), "{key}");
    }
    let joining = text(&kubenet, "control1", CLUSTER_ENV, EtcdStart::Join).unwrap();
    assert_eq!(joining, control.replace("_STATE=new", "_STATE=existing"));
    let worker = |start| text(&kubenet, "worker0", CLUSTER_ENV, start);
    assert_eq!(worker(EtcdStart::Join), worker(EtcdStart::New), "it is no member");

    let apart = example("external-etcd");
    let control = text(&apart, "control1", CLUSTER_ENV, EtcdStart::Join).unwrap();
    let servers = "https://192.168.70.11:2379,https://192.168.70.12:2379,https://192.168.70.13:2379";
    assert_eq!(value(&control, "ETCD_SERVERS").as_deref(), Some(servers));
    assert_eq!(value(&control, "PROXY_MODE").as_deref(), Some("iptables"));
    let text = text(&example("cilium"), "worker0", CLUSTER_ENV, EtcdStart::New).unwrap();
    assert_eq!(value(&text, "PROXY_MODE").as_deref(), Some("none"));
}

/// A single control-plane node elects no leader: it could only lose the lease.
#[test]
fn leaders_are_elected_where_there_are_several_control_plane_nodes() {
    for name in EXAMPLES {
        let cluster = example(name);
        let nodes: Vec<&Node> = cluster.with_role(Role::ControlPlane).collect();
        for node in &nodes {
            let text = text(&cluster, node.name.as_str(), CLUSTER_ENV, EtcdStart::New).unwrap();
            assert_eq!(value(&text, "LEADER_ELECT").unwrap(), (nodes.len() > 1).to_string(), "{name}/{}", node.name);
        }
    }
    assert_eq!(example("one-node").with_role(Role::ControlPlane).count(), 1, "both are tried");
}

#[test]
fn a_node_registers_with_its_taints() {
    let taints = |cluster: &Cluster, node: &str| value(&text(cluster, node, CLUSTER_ENV, EtcdStart::New).unwrap(), "NODE_TAINTS").unwrap();
    let two = example("two-node");
    assert_eq!(taints(&two, "worker"), "example.test/dedicated=builds:NoSchedule");
    assert_eq!(taints(&two, "control"), "node-role.kubernetes.io/control-plane:NoSchedule");
    // The only node must run pods.
    assert_eq!(taints(&example("one-node"), "monokube1"), "");
}

/// Shares of the pod network have one source: the seeds with kbake's own network, else the controller manager, from which
/// networks such as flannel read them.
#[test]
fn shares_are_allocated_where_no_seed_has_them() {
    let cluster = |network: &str| {
        let pods = format!("[pods]\ncidr = '10.8.0.0/13'\nnode-prefix = 26\nnetwork = '{network}'\n");
        let text = format!("name = 'x'\n[network]\ncidr = '10.1.0.0/24'\n{pods}[[node]]\nrole = 'control-plane'\nname = 'a'\n");
        Cluster::read("x.toml", &text).unwrap()
    };
    for (network, allocates) in [("bridge", "false"), ("none", "true")] {
        let cluster = cluster(network);
        let text = text(&cluster, "a", CLUSTER_ENV, EtcdStart::New).unwrap();
        assert_eq!(value(&text, "ALLOCATE_NODE_CIDRS").as_deref(), Some(allocates));
        assert_eq!(value(&text, "NODE_CIDR_MASK_SIZE").as_deref(), Some("26"));
        assert_eq!(cluster.nodes[0].pods.is_none(), allocates == "true");
    }
}

#[test]
fn only_the_first_control_plane_node_applies_addons() {
    let of = |name: &str| {
        let cluster = example(name);
        let with: Vec<(String, String)> = cluster
            .nodes
            .iter()
            .filter_map(|node| Some((node.name.to_string(), text(&cluster, node.name.as_str(), ADDONS_ENV, EtcdStart::New)?)))
            .collect();
        with.into_iter().map(|(node, text)| (node, text.lines().map(str::to_owned).collect::<Vec<_>>())).collect::<Vec<_>>()
    };
    for (name, node, expected) in [
        (
            "kubenet",
            "control0",
            [
                "ADDONS=rbac,coredns,metallb,nfs",
                "CONTROL_PLANES=control0,control1,control2",
                "DNS_NODES=2",
                "LOAD_BALANCER_POOL=192.168.3.30-192.168.3.254",
                "NFS_PATH=/srv/nfs/kubenet",
                "NFS_SERVER=192.168.3.1",
                "WORKERS=worker0,worker1,worker2",
            ],
        ),
        (
            "one-node",
            "monokube1",
            [
                "ADDONS=rbac,coredns",
                "CONTROL_PLANES=monokube1",
                "DNS_NODES=1",
                "LOAD_BALANCER_POOL=",
                "NFS_PATH=",
                "NFS_SERVER=",
                "WORKERS=",
            ],
        ),
        (
            "hard-way",
            "master00",
            [
                "ADDONS=rbac,coredns",
                "CONTROL_PLANES=master00,master01,master02",
                "DNS_NODES=2",
                "LOAD_BALANCER_POOL=",
                "NFS_PATH=",
                "NFS_SERVER=",
                "WORKERS=worker00,worker01,worker02",
            ],
        ),
    ] {
        assert_eq!(of(name), [(node.to_owned(), expected.map(str::to_owned).to_vec())]);
    }
    assert_eq!(of("etcd"), []);
    let text = "name = 'x'\n[network]\ncidr = '10.1.0.0/24'\n[services]\nload-balancer-pool = '10.1.0.200-10.1.0.200'\n\
                [[node]]\nrole = 'control-plane'\nname = 'a'\n";
    let one = Cluster::read("x.toml", text).unwrap();
    let addons = self::text(&one, "a", ADDONS_ENV, EtcdStart::New).unwrap();
    assert_eq!(value(&addons, "LOAD_BALANCER_POOL").as_deref(), Some("10.1.0.200-10.1.0.200"), "MetalLB takes no single address");
}

/// Nodes that DNS cannot run on do not count as nodes that must run it: a pod would wait forever.
#[test]
fn dns_is_spread_over_nodes_that_let_it_in() {
    let of = |workers: &str| {
        let text = format!("name = 'x'\n[network]\ncidr = '10.1.0.0/24'\n[[node]]\nrole = 'control-plane'\nname = 'a'\n{workers}");
        let cluster = Cluster::read("x.toml", &text).unwrap();
        value(&self::text(&cluster, "a", ADDONS_ENV, EtcdStart::New).unwrap(), "DNS_NODES").unwrap()
    };
    let worker = |taints: &str| format!("[[node]]\nrole = 'worker'\nname = 'b'\ntaints = [{taints}]\n");
    assert_eq!(of(""), "1");
    assert_eq!(of(&worker("")), "2");
    assert_eq!(of(&worker("'example.test/wish=x:PreferNoSchedule'")), "2");
    for kept_off in ["'example.test/dedicated=builds:NoSchedule'", "'example.test/wish:PreferNoSchedule', 'example.test/gone:NoExecute'"] {
        assert_eq!(of(&worker(kept_off)), "1", "{kept_off}");
    }
    assert_eq!(of("[[node]]\nrole = 'gateway'\nname = 'g'\n"), "1", "a gateway runs no pods");
    assert_eq!(of("[[node]]\nrole = 'worker'\nname = 'w'\ncount = 5\n"), "2", "there are two pods");
}

proptest! {
    /// No value of any cluster file has a character that a shell, sed or systemd would interpret.
    #[test]
    fn values_are_plain(
        name in "[a-zA-Z0-9._$&; -]{1,8}|[a-z][a-z0-9-]{0,20}",
        domain in "[a-zA-Z0-9._$&/-]{1,12}|[a-z]{1,5}\\.[a-z]{1,5}",
        api in "[a-zA-Z0-9._:$&/ -]{1,12}|[a-z]{1,9}",
        folder in "/[!-~]{1,12}|/[a-z:@=,]{1,9}",
        node in "[a-zA-Z0-9._$&-]{1,9}|[a-z]{1,9}",
    ) {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let text = format!(
            "name = {}\n[network]\ncidr = '10.1.0.0/24'\n[api]\nname = {}\n[services]\ndomain = {}\n\
             [[node]]\nrole = 'control-plane'\nname = {}\n[[export]]\npath = {}\n",
            quoted(&name), quoted(&api), quoted(&domain), quoted(&node), quoted(&folder),
        );
        if let Ok(cluster) = Cluster::read("x.toml", &text) {
            for file in files(&cluster, &cluster.nodes[0], EtcdStart::New).unwrap() {
                let Content::Public(text) = &file.content else { panic!("{file:?}") };
                assert_plain(text);
            }
        }
    }
}
