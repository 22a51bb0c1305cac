//! Where contents lie: on cluster boundaries, and the base's at the same place whatever the role adds.

use std::collections::BTreeMap;

use super::debugfs;
use super::image::{Sample, fit, noise, params};
use crate::disk::ext4::{Size, layout};
use crate::disk::{Data, Pieces};
use crate::tree::{Content, Kind, Layer, Tree};
use crate::value::Sha256;

/// Where each blob starts, by digest.
fn starts(pieces: &Pieces) -> BTreeMap<Sha256, u64> {
    let start = |piece: &crate::disk::Piece| match piece.data {
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

/// Entries that make base directories grow, among the base's own in path order.
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
    sample.add("etc/a-link", Kind::HardLink(crate::value::TreePath::fixed("etc/file1")));
}

#[test]
fn the_role_does_not_move_the_base() {
    let plain = base();
    let mut full = base();
    role(&mut full);
    let size = params(Size::Bytes(400 << 20));
    let numbers = debugfs::walk(full.image(&size).path());
    for (path, inode) in debugfs::walk(plain.image(&size).path()) {
        assert_eq!(numbers[&path], inode, "the inode of {path}");
    }
    let (before, after) = (layout(&plain.tree, &size).unwrap(), layout(&full.tree, &size).unwrap());
    let (before, after) = (starts(&before), starts(&after));
    assert_eq!(before.len(), 640);
    assert_eq!(after.len(), 641);
    for (digest, at) in &before {
        assert_eq!(after[digest], *at, "{digest}");
    }
    let end = before.values().max().unwrap();
    assert!(after.iter().all(|(digest, at)| before.contains_key(digest) || at > end), "the role lies behind the base");
}

#[test]
fn large_files_start_on_cluster_boundaries_and_small_ones_lie_close() {
    let sample = base();
    let pieces = layout(&sample.tree, &fit()).unwrap();
    let starts = starts(&pieces);
    let place = |tree: &Tree, name: &str| match &tree.get(&crate::value::TreePath::fixed(name)).unwrap().kind {
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
    let pieces = layout(&sample.tree, &fit()).unwrap();
    let held: u64 = pieces.iter().filter(|piece| matches!(piece.data, Data::Bytes(_))).map(|piece| piece.data.len()).sum();
    assert!(held < 2 << 20, "{held} bytes of metadata for 1000 files of 1 MiB");
}
