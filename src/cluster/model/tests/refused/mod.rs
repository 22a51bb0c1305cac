//! Refused files: the message's words, and every place that it must show.

mod form;
mod network;
mod nodes;
mod site;

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
