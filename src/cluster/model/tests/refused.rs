//! Refused files: the message's words, and every place that it must show.

use super::{file, node};
use crate::cluster::model::Cluster;
use crate::common::error::Class;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICw9WoIGA6sY5DGuHnLIAPO9JFFfv4wVMbWoWLz7S9ZJ";

#[track_caller]
fn refusal(text: &str) -> String {
    let error = Cluster::read("c.toml", text).map(drop).expect_err(text);
    assert_eq!(error.class(), Class::User, "{error}");
    error.to_string()
}

/// Each text is refused with these words, and the error shows these lines of the file.
#[track_caller]
fn refused(cases: &[(String, &[&str], &[usize])]) {
    for (text, words, lines) in cases {
        let shown = refusal(text);
        for word in *words {
            assert!(shown.contains(word), "`{word}` is not in the refusal of\n{text}\n{shown}");
        }
        for line in *lines {
            assert!(shown.contains(&format!("\n  c.toml:{line}:")), "line {line} is not shown:\n{text}\n{shown}");
        }
        assert!(!shown.contains("have have") && !shown.contains("  and "), "{shown}");
    }
}

/// A file with these lines in `[network]`, from line 4 on, and one etcd node.
fn network(lines: &str) -> String {
    file(&format!("{lines}\n{}", node("etcd", "")))
}

/// A file of one control-plane node with a worker whose table, from line 6 on, has these lines.
fn worker(lines: &str) -> String {
    file(&format!("[[node]]\nrole = \"control-plane\"\n{}", node("worker", lines)))
}

#[test]
fn incomplete_files() {
    let etcd = node("etcd", "");
    refused(&[
        (String::new(), &["`c.toml` has no key `name`"], &[1]),
        ("name = \"lab\"".into(), &["`c.toml` has no table [network]", "hint: add at least `[network]`"], &[1]),
        (format!("name = \"lab\"\n[network]\n{etcd}"), &["`[network]` has no key `cidr`"], &[2]),
        (file(""), &["`c.toml` has no table [[node]]", "hint: a cluster has at least one node"], &[1]),
        (format!("node = []\n{}", file("")), &["no table [[node]]"], &[1]),
        (file("[[node]]"), &["`[[node]]` has no key `role`"], &[4]),
        (file("[node]\nrole = \"etcd\""), &["`node` must be tables `[[node]]`, not a table"], &[4]),
        (format!("network = 3\nname = \"lab\"\n{etcd}"), &["`network` must be a table `[network]`, not a whole number"], &[1]),
        (format!("name = \"lab\"\n[[network]]\n{etcd}"), &["`network` must be a table `[network]`, not an array"], &[2]),
        (file("[[node]]\nrole = \"worker\"\nroutes = [{ to = \"10.9.0.0/16\" }]"), &["`[[routes]]` has no key `via`"], &[6]),
        (file("<<<<<<< ours\n"), &["merge conflict", "keep the lines that you want"], &[4]),
    ]);
}

#[test]
fn unknown_words() {
    refused(&[
        (network("dhpc = \"x\""), &["unknown key `dhpc` in `[network]`", "did you mean `dhcp`?"], &[4]),
        (worker("memroy = \"1 GiB\""), &["unknown key `memroy` in `[[node]]`", "did you mean `memory`?"], &[8]),
        (file("[[nodes]]\nrole = \"etcd\""), &["unknown key `nodes`", "did you mean `node`?"], &[4]),
        (file(&node("wroker", "")), &["unknown role `wroker`; did you mean `worker`?"], &[5]),
        (file(&node("master", "")), &["unknown role `master`; known: etcd, control-plane, worker, gateway"], &[5]),
        (network("mode = \"macvtap\""), &["unknown mode `macvtap`; known: nat, route, isolated, open, bridge"], &[4]),
        (network("[services]\nproxy = \"ipvs\""), &["unknown proxy mode `ipvs`; known: nftables, iptables, none"], &[5]),
        (network("[pods]\nnetwork = \"cilium\""), &["unknown pod network `cilium`; known: bridge, none"], &[5]),
        (format!("channel = \"up stream\"\n{}", network("")), &["channel", "up stream"], &[1]),
        (worker("firmware = \"efi\""), &["unknown firmware `efi`; known: bios, uefi"], &[8]),
        (worker("[node.routes]\nto = \"x\""), &["`routes` must be tables `[[routes]]`, not a table"], &[8]),
    ]);
}

#[test]
fn wrong_types_and_numbers() {
    refused(&[
        (worker("count = 0"), &["`count` is 0; it must be 1 to 500"], &[8]),
        (worker("count = 501"), &["`count` is 501; it must be 1 to 500"], &[8]),
        (worker("count = -1"), &["`count` is -1"], &[8]),
        (worker("count = \"3\""), &["`count` must be a whole number, not a string"], &[8]),
        (worker("first = 1"), &["`first`", "needs `count`"], &[8]),
        (worker("vcpus = 0"), &["`vcpus` is 0; it must be 1 to 512"], &[8]),
        (worker("vcpus = 1.5"), &["`vcpus` must be a whole number, not a fraction"], &[8]),
        (worker("memory = 4"), &["`memory` must be a string, not a whole number"], &[8]),
        (worker("memory = \"4 GB\""), &["bad `memory`: `4 GB` is not a size", "KiB, MiB, GiB or TiB"], &[8]),
        (worker("memory = \"128 MiB\""), &["`memory` of node `worker` is 128 MiB; it takes 256 MiB at least"], &[8]),
        (worker("memory = \"1048577 KiB\""), &["whole number of MiB"], &[8]),
        (worker("memory = \"17 TiB\""), &["16 TiB is the most"], &[8]),
        (worker("disk = \"8 GiB\""), &["`disk` of node `worker` is 8.0 GiB; the role's image under it has 20 GiB"], &[8]),
        (worker("labels = [\"a\"]"), &["`labels` must be a table `[labels]`, not an array"], &[8]),
        (worker("labels = { a = 1 }"), &["`a` must be a string, not a whole number"], &[8]),
        (worker("taints = \"a:NoSchedule\""), &["`taints` must be an array of strings, not a string"], &[8]),
        (network("mtu = 100"), &["`mtu` is 100; it must be 576 to 65535"], &[4]),
        (network("dns = [1]"), &["`dns` must be an array of strings, not a whole number"], &[4]),
        (network("nat-ports = \"9-1\""), &["`9-1` is not a range of ports"], &[4]),
    ]);
}

#[test]
fn names() {
    let long = "n".repeat(52);
    refused(&[
        (file(&node("etcd", "")).replace("lab", "Lab"), &["cluster name `Lab`: `L` is upper case"], &[1]),
        (worker("name = \"Worker\""), &["host name `Worker`: `W` is upper case; Kubernetes takes lower-case names only"], &[8]),
        (worker("name = \"worker_\"\ncount = 2"), &["host name `worker_0`: `_` is not allowed in host names; use `-`"], &[8]),
        (worker("name = \"10\""), &["has only digits"], &[8]),
        (worker("name = \"a.b\""), &["has a dot"], &[8]),
        (file(&node("etcd", &format!("name = \"{}\"\ncount = 2", "n".repeat(63)))), &["may have 63 bytes, this has 64"], &[6]),
        (worker(&format!("name = \"{long}\"\ncount = 1")), &["0` has 53 bytes; 52 are allowed, since `system:node:`"], &[8]),
        (
            worker("name = \"control\""),
            &["the node of role worker and the node of role control-plane have the same name `control`", "hint: give each its own `name`"],
            &[5, 8],
        ),
        (
            worker("[[node]]\nrole = \"worker\""),
            &["the node of role worker and another one have the same name `worker`", "the other one is here", "`count`"],
            &[7, 9],
        ),
        (
            worker("count = 3\n[[node]]\nrole = \"worker\"\nname = \"worker1\""),
            &["the node of role worker and one of the 3 nodes `worker…` have the same name `worker1`"],
            &[7, 11],
        ),
        (worker("name = \"kubernetes\""), &["node `kubernetes` and the API server have the same name", "by default"], &[8]),
        (
            worker("name = \"api\"\n[api]\nname = \"api.lab.internal\""),
            &["node `api` and the API server have the same name", "the API server's name is here"],
            &[8, 10],
        ),
        (worker("[api]\nname = \"a.b.lab.internal\""), &["`a.b.lab.internal` cannot be the API server's name", "NAME.lab.internal"], &[9]),
        (worker("[api]\nname = \"lab.internal\""), &["`lab.internal` cannot be the API server's name"], &[9]),
        (
            worker("[api]\nname = \"kubernetes.default.svc.cluster.local\""),
            &["is a name of services in cluster.local, which only pods can resolve"],
            &[9],
        ),
        (
            format!("domain = \"lab.cluster.local\"\n{}", worker("")),
            &["the nodes' domain lab.cluster.local is the services' domain cluster.local or in it", "by default", "lab.internal"],
            &[1],
        ),
        (
            format!("domain = \"lab\"\n{}", worker("[services]\ndomain = \"lab\"")),
            &["the nodes' domain lab is the services' domain lab or in it", "the services' domain is here"],
            &[1, 10],
        ),
    ]);
}

#[test]
fn addresses_that_meet() {
    refused(&[
        (network("dhcp = \"192.168.7.0-192.168.7.9\""), &["the network's own address (192.168.7.0) lies within the DHCP range"], &[3, 4]),
        (
            network("dhcp = \"192.168.7.1-192.168.7.9\""),
            &["the host (by default) (192.168.7.1) lies within the DHCP range", "`host` in [network] replaces"],
            &[3, 4],
        ),
        (
            network("dhcp = \"192.168.7.1-192.168.7.9\"\nhost = \"192.168.7.5\""),
            &["the host (192.168.7.5) lies within the DHCP range (192.168.7.1-192.168.7.9)", "hint: move one of them"],
            &[4, 5],
        ),
        (
            network("host = \"192.168.7.255\""),
            &["the host and the network's broadcast address have the same address 192.168.7.255"],
            &[3, 4],
        ),
        (worker("address = \"192.168.7.1\""), &["node `worker` and the host (by default) have the same address 192.168.7.1"], &[3, 8]),
        (
            worker("address = \"192.168.7.9\"\ncount = 3\n[[node]]\nrole = \"gateway\"\naddress = \"192.168.7.11\""),
            &["node `gateway` and node `worker2` have the same address 192.168.7.11", "hint: move one of them"],
            &[8, 12],
        ),
        (
            worker("count = 3\naddress = \"192.168.7.253\""),
            &["node `worker2` and the network's broadcast address have the same address 192.168.7.255"],
            &[3, 9],
        ),
        (
            worker("count = 4\naddress = \"192.168.7.253\""),
            &["node `worker3` (192.168.8.0) is outside the nodes' network 192.168.7.0/24", "the network is here"],
            &[3, 9],
        ),
        (
            file(&format!("dhcp = \"192.168.7.2-192.168.7.40\"\n{}", node("etcd", "address = \"192.168.7.40\""))),
            &["node `etcd` (192.168.7.40) lies within the DHCP range (192.168.7.2-192.168.7.40)"],
            &[4, 7],
        ),
        (
            file(&format!(
                "dhcp = \"192.168.7.2-192.168.7.40\"\n[services]\nload-balancer-pool = \"192.168.7.40-192.168.7.50\"\n{}",
                node("etcd", "")
            )),
            &["the load-balancer pool (192.168.7.40-192.168.7.50) overlaps the DHCP range (192.168.7.2-192.168.7.40)"],
            &[4, 6],
        ),
        (
            worker("[services]\nload-balancer-pool = \"192.168.7.240/28\""),
            &["the network's broadcast address (192.168.7.255) lies within the load-balancer pool"],
            &[3, 9],
        ),
        (
            worker("[services]\nload-balancer-pool = \"192.168.8.0/28\""),
            &["the load-balancer pool (192.168.8.0-192.168.8.15) is outside the nodes' network"],
            &[3, 9],
        ),
        (
            worker("address = \"192.168.7.21\"\n[api]\nvip = \"192.168.7.21\"\n[[node]]\nrole = \"gateway\""),
            &["node `worker` and the API's virtual address have the same address 192.168.7.21"],
            &[8, 10],
        ),
        (
            worker("[api]\nvip = \"192.168.8.21\"\n[[node]]\nrole = \"gateway\""),
            &["the API's virtual address (192.168.8.21) is outside the nodes' network"],
            &[3, 9],
        ),
        (network("dns = [\"192.168.7.255\"]"), &["the name server and the network's broadcast address"], &[3, 4]),
        (
            file(&format!("dns = [\"192.168.7.5\"]\n{}", node("etcd", "address = \"192.168.7.5\""))),
            &["node `etcd` and the name server have the same address 192.168.7.5"],
            &[4, 7],
        ),
        (
            worker("[services]\ncidr = \"10.32.0.0/24\"").replace("cidr = \"192", "dns = [\"10.32.0.10\"]\ncidr = \"192"),
            &["the name server (10.32.0.10) lies within the service network (10.32.0.0-10.32.0.255)"],
            &[3, 10],
        ),
        (network("dns = [\"127.0.0.53\"]"), &["127.0.0.53 is no name server: 127.0.0.0/8 is every machine itself"], &[4]),
        (network("dns = [\"9.9.9.9\",\n\"9.9.9.9\"]"), &["the name server 9.9.9.9 is given twice", "first here"], &[4, 5]),
    ]);
}

#[test]
fn networks_that_meet() {
    let both = |services: &str, pods: &str| worker(&format!("[services]\ncidr = \"{services}\"\n[pods]\ncidr = \"{pods}\""));
    refused(&[
        (both("10.0.0.0/16", "10.0.0.0/12"), &["the pod network (10.0.0.0-10.15.255.255) overlaps the service network"], &[9, 11]),
        (
            both("192.168.0.0/16", "10.0.0.0/12"),
            &["the service network (192.168.0.0-192.168.255.255) overlaps the nodes' network"],
            &[3, 9],
        ),
        (both("10.96.0.0/16", "192.168.7.0/26"), &["the pod network (192.168.7.0-192.168.7.63) overlaps the nodes' network"], &[3, 11]),
        (
            worker("").replace("192.168.7", "10.244.7"),
            &["the pod network (by default) (10.244.0.0-10.244.255.255) overlaps the nodes' network", "`cidr` in [pods] replaces"],
            &[3],
        ),
        (
            worker("[pods]\ncidr = \"10.96.128.0/20\""),
            &["the pod network (10.96.128.0-10.96.143.255) overlaps the service network (by default)", "`cidr` in [services] replaces"],
            &[9],
        ),
        (both("10.96.0.0/11", "10.244.0.0/16"), &["a network of services has a prefix of 12 to 28 bits, this has 11"], &[9]),
        (both("10.96.0.0/29", "10.244.0.0/16"), &["a network of services has a prefix of 12 to 28 bits, this has 29"], &[9]),
        (both("10.96.0.0/16", "10.244.0.0/31"), &["a network of pods has a prefix of 8 to 28 bits, this has 31"], &[11]),
        (both("10.96.0.0/16", "224.0.0.0/8"), &["multicast", "private networks are"], &[11]),
        (network("").replace("192.168.7.0/24", "169.254.0.0/24"), &["169.254.0.0/16 (link-local"], &[3]),
        (network("").replace("192.168.7.0/24", "192.168.7.0/30"), &["a prefix of 8 to 29 bits, this has 30"], &[3]),
        (network("").replace("192.168.7.0/24", "192.168.7.1/24"), &["is an address within a network; the network is 192.168.7.0/24"], &[3]),
        (network("").replace("192.168.7.0/24", "fd00::/64"), &["is an IPv6 network"], &[3]),
        (
            worker("[services]\ndns = \"10.97.0.10\""),
            &["the cluster's DNS cannot be 10.97.0.10: it is outside the service network"],
            &[3, 9],
        ),
        (
            worker("[services]\ncidr = \"10.32.0.0/24\"\ndns = \"10.32.0.1\""),
            &["cannot be 10.32.0.1: that is always the service `kubernetes`", "hint: without `dns` it is 10.32.0.10"],
            &[9, 10],
        ),
        (worker("[services]\ndns = \"10.96.255.255\""), &["the broadcast address of 10.96.0.0/16"], &[9]),
        (
            worker("[pods]\ncidr = \"10.0.0.0/16\"\nnode-prefix = 12"),
            &["`node-prefix` is 12; a node's share of the pod network 10.0.0.0/16 has 16 to 28 bits"],
            &[9, 10],
        ),
        (worker("[pods]\ncidr = \"10.0.0.0/9\"\nnode-prefix = 26"), &["has 9 to 25 bits"], &[9, 10]),
    ]);
}

#[test]
fn pod_shares() {
    refused(&[
        (
            worker("pod-cidr = \"10.244.8.0/22\"\ncount = 2\n[[node]]\nrole = \"worker\"\nname = \"other\"\npod-cidr = \"10.244.13.0/24\""),
            &[
                "the pod share of node `other` (10.244.13.0-10.244.13.255) overlaps the pod share of node `worker1` (10.244.12.0-10.244.15.255)",
            ],
            &[8, 13],
        ),
        (worker("pod-cidr = \"10.245.0.0/24\""), &["(10.245.0.0/24) is not within the pod network 10.244.0.0/16", "the default"], &[8]),
        (
            worker("pod-cidr = \"10.0.0.0/8\"\n[pods]\ncidr = \"10.0.0.0/12\""),
            &["the pod share of node `worker` (10.0.0.0/8) is not within the pod network", "the pod network is here"],
            &[8, 10],
        ),
        (worker("count = 3\npod-cidr = \"10.244.254.0/24\""), &["the pod share of node `worker2` (10.245.0.0/24) is not within"], &[9]),
        (worker("pod-cidr = \"10.244.0.0/30\""), &["a node's share of the pods has at most 28 bits"], &[8]),
        (file(&node("etcd", "pod-cidr = \"10.244.0.0/24\"")), &["node `etcd` runs no pods: a node of role etcd has no kubelet"], &[5, 6]),
        (
            worker("count = 4\n[pods]\ncidr = \"10.0.0.0/22\""),
            &["no share of 24 bits is left in the pod network 10.0.0.0/22 for node `worker3`", "hint: give [pods] a larger `cidr`"],
            &[6, 10],
        ),
        (
            worker("[pods]\ncidr = \"10.0.0.0/23\"\n[[node]]\nrole = \"worker\"\nname = \"every\"\npod-cidr = \"10.0.0.0/23\""),
            &["no share of 24 bits is left", "for node `control`"],
            &[4, 9],
        ),
    ]);
}

#[test]
fn macs_and_interfaces() {
    refused(&[
        (
            worker("mac = \"52:54:00:AA:00:01\"\n[[node]]\nrole = \"worker\"\nname = \"w\"\nmac = \"52:54:00:aa:00:01\""),
            &["node `w` and node `worker` have the same MAC 52:54:00:aa:00:01", "hint: leave `mac` out"],
            &[8, 12],
        ),
        (
            file(&format!("mac = \"52:54:00:aa:00:01\"\n{}", node("etcd", "mac = \"52:54:00:aa:00:01\""))),
            &["node `etcd` and the bridge have the same MAC"],
            &[4, 7],
        ),
        (worker("count = 2\nmac = \"52:54:00:aa:00:01\""), &["2 nodes cannot share one MAC", "leave `mac` out"], &[6, 9]),
        (worker("mac = \"fe:54:00:aa:00:01\""), &["libvirt reserves those that begin with fe"], &[8]),
        (network("mac = \"fe:54:00:aa:00:01\""), &["libvirt reserves those that begin with fe"], &[4]),
        (worker("mac = \"53:54:00:aa:00:01\""), &["is a multicast address"], &[8]),
        (network("uplink = \"kb-lab\""), &["the uplink `kb-lab` is the network's own bridge"], &[4]),
        (network("bridge = \"a-bridge-too-far\""), &["1 to 15 bytes"], &[4]),
        (network("mode = \"isolated\"\nuplink = \"eth0\""), &["`uplink` is only for", "the mode is here"], &[4, 5]),
        (network("mode = \"route\"\nnat-ports = \"1024-2048\""), &["`nat-ports` is only for mode = \"nat\""], &[4, 5]),
    ]);
}

#[test]
fn endpoints() {
    let gateways = "[[node]]\nrole = \"gateway\"\ncount = 2";
    refused(&[
        (worker("[api]\nvip = \"192.168.7.9\""), &["virtual address needs a node of role gateway, and there is none", "hint: add"], &[9]),
        (
            worker(&format!("[api]\nvip = \"192.168.7.9\"\n{gateways}")),
            &["2 nodes of role gateway cannot share one virtual address"],
            &[9, 11],
        ),
        (worker(gateways), &["2 nodes of role gateway have no address in common for the API server", "keep one gateway"], &[9]),
        (
            worker("[[node]]\nrole = \"control-plane\"\nname = \"second\""),
            &["2 control-plane nodes have no address in common for the API server", "hint: add one node of role gateway", "full DNS name"],
            &[5, 9],
        ),
        (file(&node("worker", "")), &["no node runs an API server", "hint: add a node of role control-plane"], &[5]),
        (file(&format!("[api]\nport = 443\n{}", node("etcd", ""))), &["no node runs an API server"], &[7]),
        (worker("[api]\nport = 2379"), &["the API server cannot have port 2379: it is etcd's", "without `port` it is 6443"], &[9]),
        (worker("[api]\nport = 31000"), &["for services of type NodePort"], &[9]),
        (worker("[api]\nport = 0"), &["`port` is 0; it must be 1 to 65535"], &[9]),
    ]);
}

#[test]
fn routes() {
    let route = |to: &str, via: &str| worker(&format!("routes = [{{ to = \"{to}\", via = \"{via}\" }}]\naddress = \"192.168.7.77\""));
    let other = "192.168.7.5";
    refused(&[
        (route("172.16.0.0/12", "192.168.8.5"), &["a route of node `worker` cannot go through 192.168.8.5: it is outside"], &[3, 8]),
        (route("172.16.0.0/12", "192.168.7.77"), &["it is the node's own address"], &[8]),
        (route("172.16.0.0/12", "192.168.7.255"), &["the own or the broadcast address"], &[3, 8]),
        (
            route("172.16.0.0/12", other).replace("cidr", "dhcp = \"192.168.7.2-192.168.7.9\"\ncidr"),
            &["it lies within the DHCP range (192.168.7.2-192.168.7.9)", "the DHCP range is here"],
            &[3, 9],
        ),
        (route("10.244.9.0/24", other), &["a route to 10.244.9.0/24 would take the packets of the pod network 10.244.0.0/16"], &[8]),
        (route("10.96.0.0/16", other), &["would take the packets of the service network"], &[8]),
        (route("192.168.7.128/25", other), &["would take the packets of the nodes' network"], &[8]),
        (route("127.1.0.0/16", other), &["there is no route to 127.1.0.0/16"], &[8]),
        (
            worker(&format!(
                "routes = [\n{{ to = \"172.16.0.0/12\", via = \"{other}\" }},\n{{ to = \"172.16.0.0/12\", via = \"192.168.7.6\" }}]"
            )),
            &["the route to 172.16.0.0/12 is given twice"],
            &[9, 10],
        ),
    ]);
}

#[test]
fn labels_taints_keys_exports_and_days() {
    refused(&[
        (worker("pod-cidr = \"10.244.9.0/24\"\n[pods]\nnetwork = \"none\""), &["`pod-cidr` is only for", "`network` is here"], &[8, 10]),
        (file(&node("gateway", "labels = { a = \"b\" }")), &["a node of role gateway has no kubelet, so it cannot have labels"], &[5, 6]),
        (file(&node("etcd", "taints = [\"a:NoSchedule\"]")), &["so it cannot have taints"], &[5, 6]),
        (
            worker("labels = { \"node-role.kubernetes.io/worker\" = \"\" }"),
            &["a kubelet may not give its own node the label", "hint: "],
            &[8],
        ),
        (worker("labels = { \"a/b/c\" = \"\" }"), &["label key `a/b/c`"], &[8]),
        (worker("labels = { \"A.example/b\" = \"\" }"), &["its prefix must be a DNS name in lower case"], &[8]),
        (worker("labels = { \"-a.example/b\" = \"\" }"), &["its prefix must be a DNS name"], &[8]),
        (worker("labels = { \"/b\" = \"\" }"), &["its prefix must be a DNS name"], &[8]),
        (worker(&format!("labels = {{ \"{}/b\" = \"\" }}", "a".repeat(254))), &["has 254 bytes; 253 are allowed"], &[8]),
        (
            worker("taints = [\"a=1:NoSchedule\",\n\"a=2:NoSchedule\"]"),
            &["key `a` and effect NoSchedule is given twice", "first here"],
            &[8, 9],
        ),
        (worker("taints = [\"a=1:Never\"]"), &["unknown effect `Never`"], &[8]),
        (
            file(&node("control-plane", "taints = [\"node-role.kubernetes.io/control-plane:NoSchedule\"]")),
            &["the control plane's own", "leave it out"],
            &[6],
        ),
        (format!("ssh-keys = [\"{KEY} a\",\n\"{KEY} b\"]\n{}", worker("")), &["this ssh key is given twice", "first here"], &[1, 2]),
        (worker("[[export]]\npath = \"/srv\"\n[[export]]\npath = \"/srv\""), &["the export /srv is given twice"], &[9, 11]),
        (worker("[[export]]\npath = \"srv\""), &["an exported folder is an absolute path"], &[9]),
        (worker("[[export]]\npath = \"/srv/a&b\""), &["of letters, digits and"], &[9]),
        (worker("[[export]]\npath = \"/srv/\""), &["without `.`, `..`, doubled and final `/`"], &[9]),
        (worker("[[export]]\npath = \"/srv/../etc\""), &["without `.`, `..`"], &[9]),
        (worker("[[export]]\npath = \"/\""), &["is not `/` itself"], &[9]),
        (worker("[[export]]\npath = \"/srv\"\noptions = \"rw,,sync\""), &["words with commas between"], &[10]),
        (worker("[[export]]\npath = \"/srv\"\noptions = \"rw) *(rw\""), &["words with commas between"], &[10]),
        (
            worker("[pki]\nca-days = 30\ncertificate-days = 90"),
            &["certificates of 90 days (`certificate-days`) would outlive their authority of 30 days (`ca-days`)", "`ca-days` is here"],
            &[9, 10],
        ),
        (worker("[pki]\ncertificate-days = 9000"), &["authority of 3650 days", "by default"], &[9]),
        (worker("[pki]\nca-days = 0"), &["`ca-days` is 0"], &[9]),
    ]);
}

#[test]
fn too_many_nodes() {
    let text = file(&(0..21).map(|n| node("etcd", &format!("name = \"e{n}-\"\ncount = 500\n"))).collect::<String>());
    refused(&[(text, &["more than 10000 nodes from here on", "hint: "], &[84])]);
}

#[test]
fn room_that_runs_out() {
    let small = |rest: &str| file(rest).replace("192.168.7.0/24", "192.168.7.0/29");
    refused(&[
        (
            small(&node("etcd", "count = 6")),
            &["no address is left in 192.168.7.0/29 for node `etcd5`", "the network is here", "hint: take a larger network"],
            &[3, 4],
        ),
        (
            small(&format!("dhcp = \"192.168.7.3-192.168.7.6\"\n{}", node("etcd", "count = 2"))),
            &["no address is left in 192.168.7.0/29 for node `etcd1`", "a smaller DHCP range"],
            &[3, 5],
        ),
    ]);
}

#[test]
fn a_private_key_is_never_repeated() {
    let canary = "c2VjcmV0Y2FuYXJ5";
    for key in [
        format!("\"-----BEGIN OPENSSH PRIVATE KEY-----\\n{canary}\\n-----END OPENSSH PRIVATE KEY-----\""),
        format!("\"\"\"-----BEGIN OPENSSH PRIVATE KEY-----\n{canary}\n-----END OPENSSH PRIVATE KEY-----\"\"\""),
        format!("\"{KEY} a\\n-----BEGIN RSA PRIVATE KEY----- {canary}\""),
    ] {
        let shown = refusal(&format!("ssh-keys = [{key}]\n{}", file(&node("etcd", ""))));
        assert!(!shown.contains(canary), "{shown}");
        assert!(shown.contains("bad `ssh-keys`: this is a PRIVATE key") && shown.contains("c.toml:1:13"), "{shown}");
    }
}

/// An existing bridge with a network that kbake does not manage: nothing about it is guessed.
#[test]
fn a_bridge_that_is_there_already() {
    let lan = |lines: &str, nodes: &str| file(&format!("mode = \"bridge\"\n{lines}\n{nodes}"));
    let (bridge, gateway) = ("bridge = \"br0\"", "gateway = \"192.168.7.1\"");
    let both = format!("{bridge}\n{gateway}");
    let etcd = node("etcd", "address = \"192.168.7.9\"");
    refused(&[
        (lan("", &etcd), &["mode = \"bridge\" needs the name of a bridge", "`ip link show type bridge`"], &[4]),
        (lan(bridge, &etcd), &["needs the address of that network's router", "`ip route show default`"], &[4]),
        (lan(&both, &node("etcd", "")), &["needs an `address`", "the mode is here", "which addresses are free"], &[4, 7]),
        (lan(&format!("{both}\nmac = \"52:54:00:00:00:09\""), &etcd), &["`mac` has no effect", "leave it out"], &[4, 7]),
        (lan(&format!("{both}\nuplink = \"eth0\""), &etcd), &["`uplink` has no effect"], &[4, 7]),
        (lan(&format!("{both}\nnat-ports = \"1-2\""), &etcd), &["`nat-ports` has no effect"], &[4, 7]),
        (lan(&format!("{both}\nlocal-only = true"), &etcd), &["`local-only` has no effect"], &[4, 7]),
        (lan(&both, &format!("{etcd}\n[[export]]\npath = \"/srv\"")), &["needs the host's own address", "`ip address`"], &[4, 11]),
        (lan(&both, &node("etcd", "address = \"192.168.7.1\"")), &["node `etcd` and the gateway have the same address"], &[6, 9]),
        (lan(&format!("{both}\nhost = \"192.168.7.1\""), &etcd), &["the host and the gateway have the same address"], &[6, 7]),
        (network(gateway), &["`gateway` is only for mode = \"bridge\"", "`host`"], &[4]),
        (network("local-only = \"no\""), &["`local-only` must be true or false, not a string"], &[4]),
    ]);
}

#[test]
fn names_of_the_api_server_data_disks_and_additions() {
    refused(&[
        (worker("[api]\nsans = [\"a.example\", \"a.example\"]"), &["the name a.example is given twice"], &[9]),
        (worker("[api]\nsans = [\"2001:db8::1\"]"), &["IPv6", "IPv4 addresses so far"], &[9]),
        (worker("[api]\nsans = [\"*.example\"]"), &["`*` is not allowed"], &[9]),
        (worker("data-disk = \"20 GiB\""), &["`data-disk` needs `data-mount`", "/var/lib/etcd"], &[8]),
        (worker("data-mount = \"/srv/a\""), &["`data-mount` needs `data-disk`"], &[8]),
        (
            worker("data-mount = \"/srv/a\"\ndata-disk = \"1 MiB\""),
            &["`data-disk` of node `worker` is 1.0 MiB; it takes 64 MiB at least"],
            &[9],
        ),
        (worker("data-disk = \"1 GiB\"\ndata-mount = \"srv\""), &["must be an absolute path"], &[9]),
        (worker("data-disk = \"1 GiB\"\ndata-mount = \"/srv/../etc\""), &["must be an absolute path"], &[9]),
        (worker("data-disk = \"1 GiB\"\ndata-mount = \"/srv/a b\""), &["must be an absolute path"], &[9]),
        (worker("data-disk = \"1 GiB\"\ndata-mount = \"/etc\""), &["`/etc` is not below /var/lib/", "would hide files of the image"], &[9]),
        (worker("data-disk = \"1 GiB\"\ndata-mount = \"/var/lib/cloud/x\""), &["would hide /var/lib/cloud"], &[9]),
        (
            worker("data-disk = \"1 GiB\"\ndata-mount = \"/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs\""),
            &["is a part of containerd's data", "all of /var/lib/containerd"],
            &[9],
        ),
        (worker("user-data = [\"a\"]"), &["`user-data` must be a string"], &[8]),
    ]);
}

#[test]
fn the_site() {
    let root = |lines: &str| format!("{lines}\n{}", worker(""));
    refused(&[
        (root("ntp = [\"a\", \"a\"]"), &["the time server a is given twice"], &[1]),
        (root("ntp = [\"2001:db8::1\"]"), &["IPv4 addresses so far"], &[1]),
        (root("ca-certificates = [\"a.pem\", \"a.pem\"]"), &["the file a.pem is given twice"], &[1]),
        (worker("[proxy]\nno-proxy = [\"a\"]"), &["[proxy] has neither `http` nor `https`"], &[8]),
        (worker("[proxy]\nhttp = \"http://p\"\nno-proxy = [\"*\"]"), &["`*` is no host"], &[10]),
        (worker("[[registry-mirror]]\nregistry = \"a/b\"\nurls = [\"http://m\"]"), &["a registry is HOST or HOST:PORT"], &[9]),
        (worker("[[registry-mirror]]\nregistry = \"a\"\nurls = []"), &["has no key `urls`"], &[8]),
        (
            worker("[[registry-mirror]]\nregistry = \"a\"\nurls = [\"http://m\", \"http://m/\"]"),
            &["the mirror http://m is given twice"],
            &[10],
        ),
        (
            worker(
                "[[registry-mirror]]\nregistry = \"a\"\nurls = [\"http://m\"]\n[[registry-mirror]]\nregistry = \"a\"\nurls = [\"http://n\"]",
            ),
            &["the registry a is given twice"],
            &[9, 12],
        ),
    ]);
    for url in [
        "hunter2",
        "ftp://hunter2",
        "http://user:hunter2@p:3128",
        "http://p/?hunter2",
        "http://p/a//hunter2",
        "http://p:0/hunter2",
        "http://hunter2$(x)",
    ] {
        for text in [format!("[proxy]\nhttp = \"{url}\""), format!("[[registry-mirror]]\nregistry = \"a\"\nurls = [\"{url}\"]")] {
            let shown = refusal(&worker(&text));
            assert!(shown.contains("it must be http://HOST:PORT/PATH or the like"), "{shown}");
            assert!(!shown.contains("hunter2"), "an address may hold a login: {shown}");
        }
    }
}

/// Planned keys are not called misspelt words.
#[test]
fn what_waits_is_refused_with_its_own_words() {
    refused(&[
        (worker("swap = \"1 GiB\""), &["kbake has no `swap` here", "no swap so far"], &[8]),
        (worker("kernel-args = [\"quiet\"]"), &["`kernel-args` is a key of recipes"], &[8]),
        (worker("nics = []"), &["one interface so far"], &[8]),
        (worker("ipv6 = true"), &["dual stack wait"], &[8]),
        (network("ipv6 = \"fd00::/64\""), &["dual stack wait"], &[4]),
        (format!("swap = true\n{}", network("")), &["no swap so far"], &[1]),
    ]);
}
