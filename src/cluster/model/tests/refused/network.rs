//! Addresses, networks, pod shares, MACs and routes that contradict each other.

use super::super::{file, node};
use super::{network, refused, worker};

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
        (network("dns = [\"127.0.0.53\"]"), &["127.0.0.53 cannot be a name server: 127.0.0.0/8 is every machine itself"], &[4]),
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
