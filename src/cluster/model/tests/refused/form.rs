//! Files that are no complete cluster file: missing tables, unknown words, wrong types, planned keys.

use super::super::{file, node};
use super::{network, refused, worker};

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
