//! The reference documentation of the file, compared with the parser.

use super::read;

const DOCUMENT: &str = include_str!("../../../../docs/cluster.md");

/// Every key that the parser knows, from its own lists.
fn keys() -> Vec<&'static str> {
    let readers = [include_str!("../spec/mod.rs"), include_str!("../spec/site.rs"), include_str!("../spec/settings.rs")];
    let lists = readers.iter().flat_map(|text| text.split("only(&[").skip(1)).map(|rest| rest.split(']').next().unwrap());
    lists.flat_map(|list| list.split('"').skip(1).step_by(2)).collect()
}

fn example() -> &'static str {
    DOCUMENT.split("```toml\n").nth(1).unwrap().split("```").next().unwrap()
}

#[test]
fn every_key_is_explained_and_in_the_example() {
    let keys = keys();
    assert!(keys.len() > 45 && keys.contains(&"load-balancer-pool"), "{keys:?}");
    let tables = ["network", "api", "services", "pods", "pki", "proxy", "registry-mirror", "kubernetes", "node", "export"];
    let programs = ["kubelet", "api-server", "controller-manager", "scheduler", "etcd"];
    for key in keys {
        let (explained, used) = match key {
            key if tables.contains(&key) => (format!("[{key}]"), format!("[{key}]")),
            key if programs.contains(&key) => (format!("[kubernetes.{key}]"), format!("[kubernetes.{key}]")),
            key => (format!("`{key}`"), format!("{key} = ")),
        };
        assert!(DOCUMENT.contains(&explained), "docs/cluster.md does not explain {explained}");
        assert!(example().contains(&used), "the example of docs/cluster.md does not have `{used}`");
    }
}

/// The example also causes no warning.
#[test]
fn the_example_is_valid() {
    let cluster = read(example());
    assert_eq!(cluster.warnings(), Vec::<String>::new());
    assert_eq!(cluster.nodes.len(), 7);
}

/// The defaults are those in the tables: without the explicit values, the example has the same meaning.
#[test]
fn the_defaults_are_as_documented() {
    let defaults = [
        "domain = \"lab.internal\"\n",
        "arch = \"amd64\"\n",
        "channel = \"upstream\"\n",
        "host = \"192.168.30.1\"\n",
        "dns = [\"192.168.30.1\"]\n",
        "bridge = \"kb-lab\"\n",
        "mode = \"nat\"\n",
        "local-only = true\n",
        "name = \"kubernetes\"\n",
        "port = 6443\n",
        "cidr = \"10.96.0.0/16\"\n",
        "dns = \"10.96.0.10\"\n",
        "domain = \"cluster.local\"\n",
        "cidr = \"10.244.0.0/16\"\n",
        "node-prefix = 24\n",
        "proxy = \"nftables\"\n",
        "network = \"bridge\"\n",
        "ca-days = 3650\n",
        "certificate-days = 1095\n",
        "name = \"worker\"\n",
        "image = \"worker\"\n",
        "firmware = \"bios\"\n",
        "options = \"rw,sync,root_squash,no_subtree_check\"\n",
    ];
    let whole = without_places(&format!("{:?}", read(example())));
    for line in defaults {
        let without = example().replacen(&format!("\n{line}"), "\n", 1);
        assert_ne!(without, example(), "{line}");
        assert_eq!(without_places(&format!("{:?}", read(&without))), whole, "{line}");
    }
}

/// Settings contain their lines, which move.
fn without_places(shown: &str) -> String {
    let rests = shown.split("place: ").map(|rest| rest.split_once([' ', '}']).map_or(rest, |(_, rest)| rest));
    rests.collect::<Vec<_>>().join("")
}
