//! The cluster file, attacked.

mod derived;
mod document;
mod nets;
mod random;
mod refused;
mod values;
mod warned;

use super::*;

/// A cluster of this file.
fn read(text: &str) -> Cluster {
    Cluster::read("c.toml", text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// A file whose first three lines are these, and whose fourth is the first of `rest`.
fn file(rest: &str) -> String {
    format!("name = \"lab\"\n[network]\ncidr = \"192.168.7.0/24\"\n{rest}")
}

/// A node's table of two lines, or more.
fn node(role: &str, more: &str) -> String {
    format!("[[node]]\nrole = \"{role}\"\n{more}")
}

fn example(name: &str) -> Cluster {
    let path = format!("{}/recipes/clusters/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    Cluster::read(&format!("{name}.toml"), &std::fs::read_to_string(path).unwrap()).unwrap()
}

const EXAMPLES: [&str; 9] = ["cilium", "etcd", "external-etcd", "from-scratch", "hard-way", "kubenet", "lab", "one-node", "two-node"];
