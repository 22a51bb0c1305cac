//! Seeds of the shipped examples, with texts as keys: there is no private key in this repository.

mod benchmark;
mod cloud_init;
mod documents;
mod fake;
mod keys;
mod kubeadm;
mod node;

use super::*;
use crate::cluster::testing::{EXAMPLES, example, example_text};
use fake::Fake;

fn epoch() -> Epoch {
    Epoch::from_seconds(1_700_000_000).unwrap()
}

fn seed(cluster: &Cluster, name: &str) -> Seed {
    of(cluster, cluster.node(name).unwrap(), crate::cluster::node::EtcdStart::New, &Fake::of(cluster), &NamedFiles::default()).unwrap()
}

/// A document's text.
fn text<'s>(seed: &'s Seed, document: &str) -> &'s str {
    seed.documents.iter().find(|(name, _)| *name == document).unwrap().1.expose_secret()
}
