//! Packs: their layout, and mismatches between tree and contents.

use std::sync::Arc;

use proptest::prelude::*;

use super::{PackIndex, write};
use crate::common::testing::Blobs;
use crate::common::tree::{Content, Kind, Layer, Meta, Node, Segment, Tree};
use crate::common::value::{Sha256, TreePath};

fn blobs(all: &[&[u8]]) -> Blobs {
    let mut blobs = Blobs::default();
    all.iter().for_each(|bytes| _ = blobs.add(*bytes));
    blobs
}

fn blob(bytes: &[u8]) -> Content {
    Content::Blob { digest: Sha256::of(bytes), size: bytes.len() as u64 }
}

fn tree(files: Vec<(&str, Content)>) -> Tree {
    let mut tree = Tree::new(Meta::new(0o755, 0, 0, 0));
    for (name, content) in files {
        let node = Node { meta: Meta::new(0o644, 0, 0, 0), kind: Kind::File(content), layer: Layer::Base };
        tree.insert(TreePath::fixed(name), node).unwrap();
    }
    tree
}

fn sample() -> (Tree, Blobs) {
    let sparse = Content::Sparse { size: 100, segments: vec![Segment { offset: 50, digest: Sha256::of("part"), size: 4 }] };
    let files = vec![
        ("d", blob(b"first")),
        ("b", Content::Inline(Arc::from(b"inline".as_slice()))),
        ("c", blob(b"")),
        ("a", blob(b"second")),
        ("e", blob(b"second")),
        ("f", sparse),
    ];
    (tree(files), blobs(&[b"first", b"", b"second", b"part"]))
}

#[test]
fn contents_lie_in_tree_order_once() {
    let (tree, blobs) = sample();
    let mut pack = Vec::new();
    assert_eq!(write(&tree, &blobs, &mut pack).unwrap(), 21);
    assert_eq!(pack, b"secondinlinefirstpart");
    let index = PackIndex::of(&tree).unwrap();
    assert_eq!((index.len(), index.get(&Sha256::of("first"))), (21, Some((12, 5))));
    assert_eq!(index.get(&Sha256::of("other")), None);
}

#[test]
fn text_and_pack_together_are_the_tree() {
    let (tree, _) = sample();
    let back = Tree::parse_text(&tree.to_text(), "t").unwrap();
    assert_eq!(PackIndex::of(&back).unwrap(), PackIndex::of(&tree).unwrap(), "inline contents are found by digest later");
}

#[test]
fn mismatches_are_refused() {
    let lying = self::tree(vec![("a", blob(b"x")), ("b", Content::Blob { digest: Sha256::of("x"), size: 2 })]);
    assert!(PackIndex::of(&lying).unwrap_err().message().contains("two sizes for sha256"));
    let digest = Sha256::of("first");
    let lying = self::tree(vec![("a", Content::Blob { digest, size: 9 })]);
    let error = write(&lying, &Blobs::default().lying(&digest, b"first"), &mut Vec::new()).unwrap_err();
    assert!(error.message().contains("has 5 bytes, expected 9"), "{error}");
    let missing = self::tree(vec![("a", blob(b"nowhere"))]);
    assert!(write(&missing, &Blobs::default(), &mut Vec::new()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_content_is_where_the_index_says(contents in prop::collection::vec(prop::collection::vec(0..3_u8, 0..6), 0..30)) {
        let names: Vec<String> = (0..contents.len()).map(|i| format!("f{i}")).collect();
        let tree = tree(names.iter().zip(&contents).map(|(name, bytes)| (&**name, blob(bytes))).collect());
        let blobs = blobs(&contents.iter().map(|bytes| &**bytes).collect::<Vec<_>>());
        let mut pack = Vec::new();
        let len = write(&tree, &blobs, &mut pack).unwrap();
        prop_assert_eq!(len, pack.len() as u64);
        let index = PackIndex::of(&tree).unwrap();
        for bytes in &contents {
            let (offset, size) = index.get(&Sha256::of(bytes)).unwrap();
            prop_assert_eq!(&pack[offset as usize..][..size as usize], &bytes[..]);
        }
    }
}
