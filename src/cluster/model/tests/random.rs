//! Random files: each is refused, or is a cluster without collisions.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use crate::cluster::model::{Cluster, Range};

/// `KEY = "VALUE"`, or nothing.
fn maybe(key: &'static str, value: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    prop::option::weighted(0.3, value).prop_map(move |value| value.map_or_else(String::new, |value| format!("{key} = \"{value}\"\n")))
}

/// An address in or near the network.
fn address() -> impl Strategy<Value = String> {
    prop_oneof![8 => (0u32..64).prop_map(|n| format!("10.1.0.{n}")), 1 => (0u32..64).prop_map(|n| format!("10.2.0.{n}"))]
}

fn range() -> impl Strategy<Value = String> {
    (2u32..60, 0u32..12).prop_map(|(first, more)| format!("10.1.0.{first}-10.1.0.{}", first + more))
}

fn share() -> impl Strategy<Value = String> {
    (20u32..=26, 0u32..64)
        .prop_map(|(prefix, n)| format!("{}/{prefix}", Ipv4Addr::from(0x0a40_0000 | (n << 8) & !((1 << (32 - prefix)) - 1))))
}

fn network() -> impl Strategy<Value = String> {
    (24u32..=28, maybe("host", address()), maybe("dhcp", range()), prop::collection::vec(address(), 0..2), maybe("mac", mac())).prop_map(
        |(prefix, host, dhcp, dns, mac)| {
            let dns: Vec<String> = dns.iter().map(|server| format!("\"{server}\"")).collect();
            format!("[network]\ncidr = \"10.1.0.0/{prefix}\"\n{host}{dhcp}{mac}dns = [{}]\n", dns.join(", "))
        },
    )
}

fn mac() -> impl Strategy<Value = String> {
    (0u32..6).prop_map(|n| format!("52:54:00:00:00:0{n}"))
}

fn node() -> impl Strategy<Value = String> {
    let role = prop::sample::select(vec!["etcd", "control-plane", "worker", "worker", "worker"]);
    let name = maybe("name", prop::sample::select(vec!["a", "b", "c1", "d", "e1", "worker"]).prop_map(str::to_owned));
    let count = prop::option::of(1u32..6).prop_map(|count| count.map_or_else(String::new, |count| format!("count = {count}\n")));
    let route = maybe("routes", address()).prop_map(|line| match line.split('"').nth(1) {
        Some(via) => format!("routes = [{{ to = \"172.16.0.0/12\", via = \"{via}\" }}]\n"),
        None => line,
    });
    (role, name, count, maybe("address", address()), maybe("mac", mac()), maybe("pod-cidr", share()), route).prop_map(
        |(role, name, count, address, mac, share, route)| format!("[[node]]\nrole = \"{role}\"\n{name}{count}{address}{mac}{share}{route}"),
    )
}

/// Most of these are inconsistent somewhere; some are not.
fn file() -> impl Strategy<Value = String> {
    (network(), prop::option::of(address()), maybe("load-balancer-pool", range()), prop::collection::vec(node(), 1..5)).prop_map(
        |(network, vip, pool, nodes)| {
            let gateway = vip.as_ref().map_or("", |_| "[[node]]\nrole = \"gateway\"\n");
            let vip = vip.map_or_else(|| "name = \"api.example.test\"\n".to_owned(), |vip| format!("vip = \"{vip}\"\n"));
            let pods = "[pods]\ncidr = \"10.64.0.0/18\"\n";
            format!("name = \"lab\"\n{network}[api]\n{vip}[services]\n{pool}{pods}{}{gateway}", nodes.concat())
        },
    )
}

/// All guarantees of [`Cluster`] about its addresses and names.
fn nothing_meets(cluster: &Cluster) -> Result<(), TestCaseError> {
    let nodes = &cluster.nodes;
    let mut owned: Vec<Range> = nodes.iter().map(|node| Range::one(node.address)).collect();
    owned.extend([cluster.network.host, cluster.network.cidr.first(), cluster.network.cidr.last()].map(Range::one));
    owned.extend(cluster.api.iter().filter(|api| api.is_vip).filter_map(|api| api.address).map(Range::one));
    owned.extend(
        cluster
            .network
            .dns
            .iter()
            .filter(|&&server| server != cluster.network.host && cluster.network.cidr.contains(server))
            .map(|&server| Range::one(server)),
    );
    owned.extend(cluster.network.dhcp);
    owned.extend(cluster.services.load_balancer);
    for (at, one) in owned.iter().enumerate() {
        prop_assert!(cluster.network.cidr.range().holds(*one), "{} is outside", one);
        prop_assert!(owned[..at].iter().all(|other| !other.overlaps(*one)), "{} twice", one);
    }
    let distinct = |keys: Vec<String>| keys.iter().collect::<BTreeSet<_>>().len() == keys.len();
    prop_assert!(distinct(nodes.iter().map(|node| node.name.to_string()).collect()));
    prop_assert!(distinct(nodes.iter().map(|node| node.uuid.to_string()).collect()));
    prop_assert!(distinct(nodes.iter().map(|node| node.mac.to_string()).chain([cluster.network.mac.to_string()]).collect()));
    let shares: Vec<_> = nodes.iter().filter_map(|node| node.pods).collect();
    for (at, share) in shares.iter().enumerate() {
        prop_assert!(cluster.pods.cidr.contains_net(*share));
        prop_assert!(shares[..at].iter().all(|other| !other.range().overlaps(share.range())), "{} twice", share);
    }
    prop_assert!(nodes.iter().all(|node| node.pods.is_some() == node.role.has_kubelet()));
    prop_assert!(nodes.iter().all(|node| node.fqdn.len() <= 253 && node.name.as_str().len() <= 63));
    for (node, route) in nodes.iter().flat_map(|node| node.routes.iter().map(move |route| (node, route))) {
        prop_assert!(cluster.network.cidr.contains(route.via) && route.via != node.address);
        prop_assert!(cluster.network.dhcp.is_none_or(|dhcp| !dhcp.overlaps(Range::one(route.via))));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn refused_or_without_contradiction(text in file()) {
        match Cluster::read("c.toml", &text) {
            Ok(cluster) => {
                nothing_meets(&cluster)?;
                // The same text gives the same cluster.
                prop_assert_eq!(format!("{cluster:?}"), format!("{:?}", Cluster::read("c.toml", &text).unwrap()));
                // One more node at the end moves no other.
                if let Ok(more) = Cluster::read("c.toml", &format!("{text}[[node]]\nrole = \"worker\"\nname = \"late\"\n")) {
                    let prefix: Vec<String> = more.nodes.iter().take(cluster.nodes.len()).map(|node| format!("{node:?}")).collect();
                    prop_assert_eq!(prefix, cluster.nodes.iter().map(|node| format!("{node:?}")).collect::<Vec<_>>());
                }
            }
            Err(error) => prop_assert!(error.to_string().contains("c.toml:"), "{}", error),
        }
    }

    /// No text makes it panic.
    #[test]
    fn nothing_panics(text in "(name|network|node|cidr|count|address|\\[|\\]|=|\"|\n|[0-9]{1,10}|/|\\.|lab|\\PC){0,60}") {
        let _ = Cluster::read("c.toml", &text);
    }
}

/// The generator makes both valid and invalid files.
#[test]
fn random_files_are_accepted_and_refused() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let good = (0..500).filter(|_| Cluster::read("c.toml", &file().new_tree(&mut runner).unwrap().current()).is_ok()).count();
    assert!((50..450).contains(&good), "{good} of 500 are good");
}
