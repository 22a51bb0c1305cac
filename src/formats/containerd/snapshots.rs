//! The overlay snapshotter's `metadata.db`: numbers, parents and sizes of its snapshots
//! ([`bolt.go`](https://github.com/containerd/containerd/blob/v2.3.4/core/snapshots/storage/bolt.go)).

use super::encode::{signed, unsigned};
use super::image::Snapshot;
use super::schema::{key, name, put_labels, put_times};
use crate::common::tree::{Content, Kind, Node, Tree};
use crate::common::value::{Epoch, Sha256};
use crate::formats::bolt::Bucket;

/// `KindCommitted`.
const COMMITTED: u8 = 3;
/// The block size of the node's filesystem in bytes.
const BLOCK: u64 = 4096;
/// The longest symlink target that needs no block, in bytes.
const SHORT_LINK: usize = 59;

/// The database; snapshots are numbered from 1 in the given order.
pub(super) fn database(snapshots: &[Snapshot], epoch: Epoch) -> Bucket {
    let mut root = Bucket::new();
    let version = root.bucket("v1");
    version.bucket("parents");
    version.bucket("snapshots").set_sequence(snapshots.len() as u64);
    let number = |id: Sha256| (1..).zip(snapshots).find(|(_, known)| known.link.id == id).map_or(0, |(number, _)| number);
    for (own, Snapshot { link, tree }) in (1..).zip(snapshots) {
        if let Some(parent) = link.parent {
            let key = [unsigned(number(parent)), vec![0], unsigned(own)].concat();
            version.bucket("parents").put(key, name(own, link.id));
        }
        let snapshot = version.bucket("snapshots").bucket(name(own, link.id));
        snapshot.put("id", unsigned(own));
        snapshot.put("kind", [COMMITTED]);
        link.parent.iter().for_each(|parent| snapshot.put("parent", name(number(*parent), *parent)));
        put_times(snapshot, epoch);
        put_labels(snapshot, [("containerd.io/snapshot.ref".to_owned(), key(link.id))]);
        snapshot.put("inodes", signed(inodes(tree)));
        snapshot.put("size", signed(tree.iter().map(|(_, node)| size(node)).sum()));
    }
    root
}

fn inodes(tree: &Tree) -> u64 {
    tree.iter().filter(|(_, node)| !matches!(node.kind, Kind::HardLink(_))).count() as u64
}

/// A node's disk usage in bytes: whole blocks.
fn size(node: &Node) -> u64 {
    let blocks = |bytes: u64| bytes.next_multiple_of(BLOCK);
    match &node.kind {
        Kind::Dir => BLOCK,
        Kind::File(Content::Sparse { segments, .. }) => segments.iter().map(|segment| blocks(segment.size)).sum(),
        Kind::File(content) => blocks(content.size()),
        Kind::Symlink(target) if target.len() > SHORT_LINK => BLOCK,
        _ => 0,
    }
}
