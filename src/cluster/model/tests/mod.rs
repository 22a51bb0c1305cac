//! Tests of the cluster file, including hostile ones.

mod derived;
mod document;
mod nets;
mod random;
mod refused;
mod values;
mod warned;

use super::*;
use crate::cluster::testing::{EXAMPLES, example, example_text};

/// The cluster of this file.
fn read(text: &str) -> Cluster {
    Cluster::read("c.toml", text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// A file whose first three lines are these, and whose fourth is the first of `rest`.
fn file(rest: &str) -> String {
    format!("name = \"lab\"\n[network]\ncidr = \"192.168.7.0/24\"\n{rest}")
}

/// A node's table of at least two lines.
fn node(role: &str, more: &str) -> String {
    format!("[[node]]\nrole = \"{role}\"\n{more}")
}
