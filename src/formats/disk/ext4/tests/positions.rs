//! The positions of contents: on cluster boundaries, and the base's at the same offset whatever the role adds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::image::{Sample, fit, noise, params};
use super::{debugfs, view};
use crate::common::tree::{Content, Kind, Layer, Segment, Tree};
use crate::common::value::{Epoch, Sha256, TreePath};
use crate::formats::disk::ext4::{Params, Size, layout};
use crate::formats::disk::{Data, Pieces};

/// A cluster of our qcow2 files in bytes.
const CLUSTER: u64 = crate::formats::disk::cluster::CLUSTER as u64;

/// The offset of each blob, by digest.
fn starts(pieces: &Pieces) -> BTreeMap<Sha256, u64> {
    let start = |piece: &crate::formats::disk::Piece| match piece.data {
        Data::Blob { digest, offset: 0, .. } => Some((digest, piece.at)),
        _ => None,
    };
    pieces.iter().filter_map(start).collect()
}

fn base() -> Sample {
    let mut sample = Sample::new();
    sample.dir("etc");
    sample.dir("usr");
    for at in 0..600 {
        sample.file(&format!("etc/file{at}"), &noise(at, 100 + at as usize * 13));
    }
    for at in 0..40 {
        sample.file(&format!("usr/large{at}"), &noise(1000 + at, 65_536 + at as usize * 9999));
        sample.add(&format!("usr/link{at}"), Kind::Symlink(vec![b'x'; 70]));
        sample.xattr(&format!("usr/large{at}"), "user.a", &[1; 200]);
    }
    sample
}

/// Adds entries that make base directories grow, among the base's own in path order.
fn role(sample: &mut Sample) {
    sample.layer = Layer::Role;
    sample.dir("a-dir");
    for at in 0..2000 {
        sample.add(&format!("etc/a-file-of-the-role-{at}"), Kind::File(Content::Inline(noise(at, 50).into())));
        sample.add(&format!("usr/a-file-of-the-role-{at}"), Kind::Fifo);
        sample.dir(&format!("a-dir/{at}"));
    }
    sample.file("etc/a-large-file", &noise(7, 300_000));
    sample.xattr("a-dir", "user.a", &[1; 200]);
    sample.add("etc/a-link", Kind::HardLink(TreePath::fixed("etc/file1")));
}

/// The base alone, as a filesystem whose UUID, seed, epoch and label differ from the images'.
fn alone(base: &Tree, params: &Params) -> Pieces {
    let epoch = Epoch::from_seconds(1).unwrap();
    layout(base, base, &Params { uuid: [0; 16], label: String::new(), hash_seed: [7; 16], epoch, ..params.clone() }).unwrap()
}

#[test]
fn the_role_does_not_move_the_base() {
    let plain = base();
    let mut full = base();
    role(&mut full);
    let size = params(Size::Bytes(400 << 20));
    let (before, after) = (starts(&alone(&plain.tree, &size)), starts(&full.pieces(&size)));
    assert_eq!(before.len(), 640);
    assert_eq!(after.len(), 641);
    for (digest, at) in &before {
        assert_eq!(after[digest], *at, "{digest}");
    }
    let end = before.values().max().unwrap();
    assert!(after.iter().all(|(digest, at)| before.contains_key(digest) || at > end), "the role lies behind the base");
}

#[test]
fn files_that_a_role_changes_or_removes_leave_holes() {
    let mut sample = base();
    sample.under = Some(sample.tree.clone());
    let changed = ["etc/file1", "etc/file2", "etc/file3", "usr/large1", "usr/large2"];
    changed.iter().for_each(|path| sample.tree.remove(&TreePath::fixed(path)));
    // A file that grew, such as /etc/passwd with a line more; and a role's contents in place of a base file's.
    sample.file("etc/file1", &noise(5, 9000));
    sample.layer = Layer::Role;
    sample.file("usr/large1", &noise(6, 65_536));
    let before = starts(&alone(&base().tree, &fit()));
    let after = starts(&sample.pieces(&fit()));
    let end = before.values().max().unwrap();
    let stayed = before.iter().filter(|(digest, at)| after.get(digest) == Some(at)).count();
    assert_eq!(stayed, 640 - changed.len());
    assert_eq!(after.values().filter(|at| *at > end).count(), 2);
    let image = sample.image(&fit());
    debugfs::compare(&sample, image.path());
    view::compare(&sample, image.path());
}

/// The contents of each 64 KiB cluster that holds nothing else: offset in the cluster, blob, offset in the blob,
/// length.
fn clusters(pieces: &Pieces) -> BTreeMap<u64, Vec<(u64, Sha256, u64, u64)>> {
    let mut clusters: BTreeMap<u64, Option<Vec<_>>> = BTreeMap::new();
    for piece in pieces.iter() {
        let mut at = piece.at;
        while at < piece.end() {
            let end = piece.end().min((at / CLUSTER + 1) * CLUSTER);
            let slot = clusters.entry(at / CLUSTER).or_insert_with(|| Some(Vec::new()));
            match (&piece.data, &mut *slot) {
                (Data::Blob { digest, offset, .. }, Some(parts)) => {
                    parts.push((at % CLUSTER, *digest, offset + (at - piece.at), end - at));
                }
                _ => *slot = None,
            }
            at = end;
        }
    }
    clusters.into_iter().filter_map(|(index, parts)| Some((index, parts?))).collect()
}

/// A file for the base or a role: folder index, length in bytes, number of segments.
type Seed = (u8, u64, u8);

/// A file whose digests derive from its number: all are distinct, and their blobs do not exist.
fn seeded(number: usize, (_, size, segments): Seed) -> Content {
    let digest = |part: u64| Sha256::of(format!("{number} {part}"));
    if segments == 0 {
        return Content::Blob { digest: digest(0), size };
    }
    let part = |at: u64| Segment { offset: at * 30_000, digest: digest(at), size: 1 + size % 29_000 };
    Content::Sparse { size: u64::from(segments) * 30_000, segments: (0..segments.into()).map(part).collect() }
}

fn digests(content: &Content) -> Vec<Sha256> {
    match content {
        Content::Blob { digest, .. } => vec![*digest],
        Content::Sparse { segments, .. } => segments.iter().map(|part| part.digest).collect(),
        Content::Inline(_) => vec![],
    }
}

fn seeds(count: std::ops::Range<usize>, large: u64) -> impl Strategy<Value = Vec<Seed>> {
    let size = prop_oneof![6 => 0..20_000u64, 3 => 60_000..200_000u64, 1 => 1..large];
    vec((0..6u8, size, prop_oneof![9 => Just(0u8), 1 => 0..12u8]), count)
}

/// A role's change to a file of the base.
#[derive(Debug, Clone, Copy)]
enum Change {
    Nothing,
    Remove,
    /// Other contents in the base layer, as for /etc/passwd.
    Append(u16),
    Replace(u64),
    Link,
    /// Only owner and attributes.
    Mark,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        12 => Just(Change::Nothing),
        1 => Just(Change::Remove),
        1 => any::<u16>().prop_map(Change::Append),
        1 => (0..300_000u64).prop_map(Change::Replace),
        1 => Just(Change::Link),
        1 => Just(Change::Mark),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn clusters_of_contents_are_those_of_the_base_alone(
        files in seeds(1..150, 400 << 20),
        added in seeds(0..60, 1 << 30),
        changes in vec(change(), 150),
        folders in 0..400usize,
    ) {
        let mut sample = Sample::new();
        let name = |kind: &str, at: usize, seed: &Seed| format!("d{}/{kind}{at}", seed.0);
        (0..6).for_each(|at| sample.dir(&format!("d{at}")));
        for (at, seed) in files.iter().enumerate() {
            sample.add(&name("f", at, seed), Kind::File(seeded(at, *seed)));
        }
        let base = sample.tree.clone();
        let mut gone = BTreeSet::new();
        for (at, (seed, change)) in files.iter().zip(&changes).enumerate() {
            let path = name("f", at, seed);
            let tree_path = TreePath::fixed(&path);
            if let Change::Mark = change {
                sample.tree.meta_mut(&tree_path).unwrap().uid = 7;
                sample.xattr(&path, "user.a", &[1; 300]);
            }
            if let Change::Nothing | Change::Mark = change {
                continue;
            }
            gone.extend(digests(&seeded(at, *seed)));
            sample.tree.remove(&tree_path);
            sample.layer = Layer::Base;
            match change {
                Change::Append(len) => sample.add(&path, Kind::File(Content::Inline(noise(1, usize::from(*len)).into()))),
                Change::Replace(size) => {
                    sample.layer = Layer::Role;
                    sample.add(&path, Kind::File(seeded(10_000 + at, (0, *size, 0))));
                }
                Change::Link => sample.add(&path, Kind::Symlink(vec![b'x'; 70])),
                _ => {}
            }
        }
        sample.layer = Layer::Role;
        (0..folders).for_each(|at| sample.dir(&format!("d0/folder-with-a-longer-name-{at}")));
        for (at, seed) in added.iter().enumerate() {
            sample.add(&name("r", at, seed), Kind::File(seeded(1000 + at, *seed)));
        }
        let params = params(Size::Fit { slack: 512 << 20, room: 1 << 40 });
        let expected = clusters(&alone(&base, &params));
        let found = clusters(&layout(&sample.tree, &base, &params).unwrap());
        for (index, parts) in &expected {
            if parts.iter().all(|(_, digest, ..)| !gone.contains(digest)) {
                prop_assert_eq!(found.get(index), Some(parts), "cluster {}", index);
            }
        }
    }
}

#[test]
fn large_files_start_on_cluster_boundaries_and_small_ones_lie_close() {
    let sample = base();
    let pieces = sample.pieces(&fit());
    let starts = starts(&pieces);
    let place = |tree: &Tree, name: &str| match &tree.get(&TreePath::fixed(name)).unwrap().kind {
        Kind::File(Content::Blob { digest, size }) => (starts[digest], *size),
        other => panic!("{other:?}"),
    };
    for at in 0..40 {
        assert_eq!(place(&sample.tree, &format!("usr/large{at}")).0 % 65_536, 0);
    }
    let mut small: Vec<String> = (0..600).map(|at| format!("etc/file{at}")).collect();
    small.sort();
    let mut next = place(&sample.tree, &small[0]).0;
    assert_eq!(next % 65_536, 0);
    for name in small {
        let (at, size) = place(&sample.tree, &name);
        assert_eq!(at, next, "{name}");
        next = at + size.next_multiple_of(4096);
    }
}

#[test]
fn memory_holds_no_contents() {
    let mut sample = Sample::new();
    for at in 0..1000 {
        sample.add(&format!("f{at}"), Kind::File(Content::Blob { digest: Sha256::of(b"x"), size: 1 << 20 }));
    }
    let pieces = sample.pieces(&fit());
    let held: u64 = pieces.iter().filter(|piece| matches!(piece.data, Data::Bytes(_))).map(|piece| piece.data.len()).sum();
    assert!(held < 2 << 20, "{held} bytes of metadata for 1000 files of 1 MiB");
}
