//! Allowed files that cause a warning.

use super::{file, node, read};

const KEY: &str = "ssh-keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICw9WoIGA6sY5DGuHnLIAPO9JFFfv4wVMbWoWLz7S9ZJ\"]\n";

#[test]
fn each_warning_has_its_cause() {
    let etcd = |count: u32| node("etcd", &format!("count = {count}\n"));
    let control = node("control-plane", "");
    let good = format!("{KEY}{}", file(&etcd(3)));
    assert_eq!(read(&good).warnings(), Vec::<String>::new());
    for (text, words) in [
        (file(&etcd(3)), "no `ssh-keys`: nobody will be able to log in"),
        (format!("domain = \"lab.local\"\n{good}"), "keeps `.local` for multicast DNS"),
        (format!("{KEY}{}", file(&etcd(2))), "2 etcd members survive the loss of 0, as 1 would"),
        (format!("{KEY}{}", file(&etcd(4))), "4 etcd members survive the loss of 1, as 3 would"),
        (format!("{KEY}{}", file(&etcd(9))), "9 etcd members: each write waits for 5"),
        (
            format!("{KEY}{}", file(&format!("{}[api]\nname = \"api.example.test\"\n", node("worker", "")))),
            "no node runs the control plane: the workers",
        ),
        (format!("{KEY}{}", file(&format!("{}{}", etcd(3), node("gateway", "")))), "the gateway has nothing to balance"),
        (format!("{KEY}{}", file(&format!("{control}firmware = \"uefi\"\n"))), "node `control` starts by UEFI"),
        (format!("{KEY}{}", file(&format!("{control}[services]\nproxy = \"none\"\n"))), "nothing leads services to pods"),
        (
            format!("{KEY}{}", file(&format!("{control}{}[pods]\ncidr = \"10.9.0.0/24\"\nnetwork = \"none\"\n", node("worker", "")))),
            "the pod network 10.9.0.0/24 has room for 1 shares of 24 bits, and 2 nodes want one",
        ),
        (format!("domain = \"example.com\"\n{good}"), "`local-only = false` in [network] asks other name servers"),
        (format!("domain = \"k8s.corp.de\"\n{good}"), "domain `k8s.corp.de` may be a registered one"),
        (good.replace("cidr", "dns = [\"9.9.9.9\"]\ncidr"), "`dns` lacks the host 192.168.7.1"),
        (good.replace("cidr", "mode = \"isolated\"\ndns = [\"192.168.7.1\", \"9.9.9.9\"]\ncidr"), "9.9.9.9 cannot be reached"),
        (good.replace("192.168.7.0", "192.168.122.0"), "192.168.122.0/24 is the network `default` of libvirt"),
        (good.replace("\"lab\"", "\"default\""), "libvirt's own network is called `default`"),
        (good.replace("cidr", "bridge = \"virbr0\"\ncidr"), "has the bridge `virbr0`"),
    ] {
        let warnings = read(&text).warnings();
        assert!(warnings.len() == 1 && warnings[0].contains(words), "{words}: {warnings:?}\n{text}");
    }
}

/// Domains that nobody can register, and one whose other names are forwarded, cause no warning.
#[test]
fn not_every_domain_may_be_somebody_s() {
    let good = format!("{KEY}{}", file(&node("etcd", "")));
    for domain in ["lab.internal", "kubenet", "a.test", "b.example", "home.arpa", "x.home.arpa", "my.lan", "a.corp", "k.private"] {
        assert_eq!(read(&format!("domain = \"{domain}\"\n{good}")).warnings(), Vec::<String>::new(), "{domain}");
    }
    let forwarded = format!("domain = \"example.com\"\n{}", good.replace("cidr", "local-only = false\ncidr"));
    assert_eq!(read(&forwarded).warnings(), Vec::<String>::new());
    let lan = "mode = \"bridge\"\nbridge = \"br0\"\ngateway = \"192.168.7.1\"\n";
    let lan = format!("domain = \"example.com\"\n{KEY}{}", file(&format!("{lan}{}", node("etcd", "address = \"192.168.7.9\"\n"))));
    assert_eq!(read(&lan).warnings(), Vec::<String>::new(), "names are the LAN's matter");
}
