//! One small tree, byte for byte.

use super::image::{Sample, fit, noise, write};
use crate::common::tree::{Content, Kind, Layer, Meta};
use crate::common::value::{Sha256, TreePath};
use crate::formats::disk::ext4::layout;

/// The digest of the image of [`sample`].
const DIGEST: &str = "4403c4c89ba6d2a38245077adb3c01ef622db8d9904f61ebd6c6ad2244d1299d";

fn sample() -> Sample {
    let mut sample = Sample::new();
    for dir in ["etc", "usr", "usr/bin", "var"] {
        sample.dir(dir);
    }
    sample.file("etc/hostname", b"kbake\n");
    sample.file("usr/bin/large", &noise(1, 200_000));
    sample.xattr("usr/bin/large", "security.capability", &[1; 20]);
    sample.xattr("usr/bin/large", "user.large", &noise(2, 300));
    sample.add("usr/bin/link", Kind::HardLink(TreePath::fixed("usr/bin/large")));
    sample.add("bin", Kind::Symlink(b"usr/bin".to_vec()));
    sample.add("long", Kind::Symlink(vec![b'l'; 200]));
    sample.node(b"var/null", Meta::new(0o666, 1, 70_000, 1 << 33), Kind::CharDev { major: 1, minor: 3 });
    sample.layer = Layer::Role;
    for at in 0..300 {
        sample.add(&format!("etc/file{at}"), Kind::File(Content::Inline(noise(at, at as usize).into())));
    }
    let segments = (0..6).map(|at| sample.segment(at * 30_000, &noise(at, 100))).collect();
    sample.add("var/sparse", Kind::File(Content::Sparse { size: 1 << 20, segments }));
    sample
}

#[test]
fn the_bytes_are_those_of_this_image_format() {
    let sample = sample();
    let file = sample.image(&fit());
    let found = Sha256::of(std::fs::read(file.path()).unwrap()).to_string();
    assert_eq!(found, DIGEST, "the bytes of ext4 images have changed: if this is intentional, raise image-format and update the digest");
}

#[test]
fn the_same_arguments_give_the_same_pieces() {
    let first = sample();
    assert_eq!(first.pieces(&fit()), sample().pieces(&fit()));
    // The order of insertion into the tree does not matter.
    let mut turned = crate::common::tree::Tree::new(first.tree.get(&TreePath::root()).unwrap().meta.clone());
    let mut nodes: Vec<_> = first.tree.iter().skip(1).collect();
    nodes.sort_by_key(|(path, node)| {
        (path.components().count(), matches!(node.kind, Kind::HardLink(_)), std::cmp::Reverse((*path).clone()))
    });
    nodes.sort_by_key(|(_, node)| matches!(node.kind, Kind::HardLink(_)));
    nodes.into_iter().for_each(|(path, node)| turned.insert(path.clone(), node.clone()).unwrap());
    let again = write(&layout(&turned, &first.base(), &fit()).unwrap(), &first.blobs);
    let once = write(&first.pieces(&fit()), &first.blobs);
    assert!(std::fs::read(again.path()).unwrap() == std::fs::read(once.path()).unwrap());
}
