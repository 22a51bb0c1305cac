//! Existing seeds: their owner, and whether they still match the cluster file.
//!
//! Only kbake's own volumes are read. In both formats each document begins at a sector and is contiguous, so it is found by its
//! first words, without a reader for two filesystems.

use crate::cluster::model::{Cluster, Node};
use crate::cluster::node;

/// The smallest sector of a volume, in bytes.
const SECTOR: usize = 512;

/// Facts that a seed states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The cluster's name; none in seeds of older versions.
    pub cluster: Option<String>,
    /// The node's name.
    pub node: String,
    /// The instance id, derived from the whole seed.
    pub instance: String,
    /// The network configuration.
    pub network: String,
}

impl Found {
    /// The facts in a volume that kbake wrote; none for any other bytes.
    pub(crate) fn of_volume(bytes: &[u8]) -> Option<Found> {
        let found = document(bytes, "instance-id: ", &|text| Found::of_meta_data(text))?;
        let network = document(bytes, "version: 2\n", &|text| Some(text.to_owned())).unwrap_or_default();
        Some(Found { network, ..found })
    }

    /// The facts in the documents of a folder; none for documents that kbake has not written.
    pub(crate) fn of_documents(meta_data: &str, network_config: &str) -> Option<Found> {
        Some(Found { network: network_config.to_owned(), ..Found::of_meta_data(meta_data)? })
    }

    /// The facts in meta-data that kbake wrote; none for any other.
    pub(super) fn of_meta_data(text: &str) -> Option<Found> {
        let mut lines = text.lines();
        let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(": \"")?.strip_suffix('"').map(str::to_owned);
        let (instance, node, mode) = (value("instance-id")?, value("local-hostname")?, value("dsmode")?);
        let digits = instance.strip_prefix(&node)?.strip_prefix('-')?;
        let is_ours = mode == "local" && digits.len() == node::ID_DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let cluster = value("kbake-cluster");
        is_ours.then_some(Found { cluster, node, instance, network: String::new() })
    }

    /// True if the seed is this node's. Seeds of older versions do not name their cluster: the node's name alone decides.
    pub(crate) fn is_of(&self, cluster: &Cluster, node: &Node) -> bool {
        self.node == node.name.as_str() && self.cluster.as_ref().is_none_or(|name| name == cluster.name.as_str())
    }

    /// The first changed line of the network configuration: the seed's, and the cluster file's.
    pub(crate) fn other_network(&self, cluster: &Cluster, node: &Node) -> Option<(String, String)> {
        let now = node::network_config(cluster, node);
        let (mut old, mut new) = (self.network.lines(), now.lines());
        loop {
            match (old.next(), new.next()) {
                (None, None) => return None,
                (old, new) if old == new => {}
                (old, new) => {
                    let shown =
                        |line: Option<&str>| line.map_or("nothing more".to_owned(), |line| line.trim().trim_start_matches("- ").to_owned());
                    return Some((shown(old), shown(new)));
                }
            }
        }
    }
}

/// The first text at a sector that begins with `head` and that `read` parses, up to the zeros behind it.
fn document<T>(bytes: &[u8], head: &str, read: &dyn Fn(&str) -> Option<T>) -> Option<T> {
    let starts = (0..bytes.len()).step_by(SECTOR).filter(|&at| bytes[at..].starts_with(head.as_bytes()));
    starts.map(|at| &bytes[at..]).find_map(|text| {
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        read(std::str::from_utf8(&text[..end]).ok()?)
    })
}
