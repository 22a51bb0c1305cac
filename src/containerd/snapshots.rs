//! `metadata.db` of the overlay snapshotter: numbers, parents and sizes of its folders
//! ([`bolt.go`](https://github.com/containerd/containerd/blob/v2.3.4/core/snapshots/storage/bolt.go)).

use super::NAMESPACE;
use super::encode::{signed, unsigned};
use super::image::Snapshot;
use super::metadata::{put_labels, put_times};
use crate::bolt::Bucket;
use crate::tree::{Content, Kind, Node, Tree};
use crate::value::{Epoch, Sha256};

/// `KindCommitted`.
const COMMITTED: u8 = 3;
/// The size of a block of the node's filesystem.
const BLOCK: u64 = 4096;
/// The longest target of a link that needs no block, in bytes.
const SHORT_LINK: usize = 59;

/// The database; a snapshot's number is its place, from 1.
pub fn database(snapshots: &[Snapshot], epoch: Epoch) -> Bucket {
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

/// The name of a snapshot in containerd's metadata.
pub fn key(id: Sha256) -> String {
    format!("sha256:{id}")
}

/// Its name here: `createKey` of
/// [`snapshot.go`](https://github.com/containerd/containerd/blob/v2.3.4/core/metadata/snapshot.go).
pub fn name(number: u64, id: Sha256) -> String {
    format!("{NAMESPACE}/{number}/{}", key(id))
}

fn inodes(tree: &Tree) -> u64 {
    tree.iter().filter(|(_, node)| !matches!(node.kind, Kind::HardLink(_))).count() as u64
}

/// The room of a node on the disk: whole blocks.
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
