//! Packs: their layout, and mismatches between tree and contents.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use proptest::prelude::*;

use super::{PackIndex, write};
use crate::common::tree::{Content, ContentSource, Kind, Layer, Meta, Node, Segment, Tree};
use crate::common::value::{Sha256, TreePath};

/// Contents in memory.
struct Held(BTreeMap<Sha256, Vec<u8>>);

impl ContentSource for Held {
    fn open(&self, digest: &Sha256, _: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        match self.0.get(digest) {
            Some(bytes) => Ok(Box::new(&**bytes)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn held(all: &[&[u8]]) -> Held {
    Held(all.iter().map(|bytes| (Sha256::of(bytes), bytes.to_vec())).collect())
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

fn sample() -> (Tree, Held) {
    let sparse = Content::Sparse { size: 100, segments: vec![Segment { offset: 50, digest: Sha256::of("part"), size: 4 }] };
    let files = vec![
        ("d", blob(b"first")),
        ("b", Content::Inline(Arc::from(b"inline".as_slice()))),
        ("c", blob(b"")),
        ("a", blob(b"second")),
        ("e", blob(b"second")),
        ("f", sparse),
    ];
    (tree(files), held(&[b"first", b"", b"second", b"part"]))
}

#[test]
fn contents_lie_in_tree_order_once() {
    let (tree, held) = sample();
    let mut pack = Vec::new();
    assert_eq!(write(&tree, &held, &mut pack).unwrap(), 21);
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
    let (_, held) = sample();
    let lying = self::tree(vec![("a", blob(b"x")), ("b", Content::Blob { digest: Sha256::of("x"), size: 2 })]);
    assert!(PackIndex::of(&lying).unwrap_err().message().contains("two sizes for sha256"));
    let lying = self::tree(vec![("a", Content::Blob { digest: Sha256::of("first"), size: 9 })]);
    assert!(write(&lying, &held, &mut Vec::new()).unwrap_err().message().contains("has 5 bytes, expected 9"));
    let missing = self::tree(vec![("a", blob(b"nowhere"))]);
    assert!(write(&missing, &held, &mut Vec::new()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_content_is_where_the_index_says(contents in prop::collection::vec(prop::collection::vec(0..3_u8, 0..6), 0..30)) {
        let names: Vec<String> = (0..contents.len()).map(|i| format!("f{i}")).collect();
        let tree = tree(names.iter().zip(&contents).map(|(name, bytes)| (&**name, blob(bytes))).collect());
        let held = held(&contents.iter().map(|bytes| &**bytes).collect::<Vec<_>>());
        let mut pack = Vec::new();
        let len = write(&tree, &held, &mut pack).unwrap();
        prop_assert_eq!(len, pack.len() as u64);
        let index = PackIndex::of(&tree).unwrap();
        for bytes in &contents {
            let (offset, size) = index.get(&Sha256::of(bytes)).unwrap();
            prop_assert_eq!(&pack[offset as usize..][..size as usize], &bytes[..]);
        }
    }
}
