//! Cluster files: what is derived, what is refused.

use super::super::*;

fn example(name: &str) -> Cluster {
    let path = format!("{}/recipes/clusters/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    Cluster::read(&format!("{name}.toml"), &std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_examples_are_valid() {
    for name in ["kubenet", "hard-way", "from-scratch", "one-node", "two-node", "etcd"] {
        let cluster = example(name);
        assert_eq!(cluster.warnings(), ["no `ssh-keys`: nobody will be able to log in to the nodes"], "{name}");
    }
}
