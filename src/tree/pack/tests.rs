//! Packs: their layout, their readers, and what happens when they are damaged.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::{CHUNK, LayeredSource, PackIndex, PackSource, ReadAt, write};
use crate::disk::ContentSource;
use crate::error::Error;
use crate::tree::{Content, Kind, Layer, Meta, Node, Segment, Tree};
use crate::value::{Sha256, TreePath};
use crate::{Class, Result};

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

fn read_all(source: &dyn ContentSource, digest: Sha256, size: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.open(&digest, size).and_then(|mut reader| reader.read_to_end(&mut bytes)).map_err(|e| Error::io("read", &e))?;
    Ok(bytes)
}

#[test]
fn contents_lie_in_tree_order_once() {
    let (tree, held) = sample();
    let mut pack = Vec::new();
    assert_eq!(write(&tree, &held, &mut pack).unwrap(), 21);
    assert_eq!(pack, b"secondinlinefirstpart");
    let index = PackIndex::of(&tree).unwrap();
    assert_eq!((index.len(), index.get(&Sha256::of("first"))), (21, Some((12, 5))));
    let source = PackSource::new(pack, 21, index).unwrap();
    for bytes in ["first", "", "second", "inline", "part"] {
        assert_eq!(read_all(&source, Sha256::of(bytes), bytes.len() as u64).unwrap(), bytes.as_bytes());
    }
}

#[test]
fn text_and_pack_together_are_the_tree() {
    let (tree, _) = sample();
    let back = Tree::parse_text(&tree.to_text(), "t").unwrap();
    assert_eq!(PackIndex::of(&back).unwrap(), PackIndex::of(&tree).unwrap(), "inline contents are found by digest later");
}

#[test]
fn what_is_not_in_the_pack() {
    let (tree, held) = sample();
    let mut pack = Vec::new();
    write(&tree, &held, &mut pack).unwrap();
    let source = PackSource::new(&*pack, 21, PackIndex::of(&tree).unwrap()).unwrap();
    assert_eq!(source.open(&Sha256::of("other"), 5).err().unwrap().kind(), io::ErrorKind::NotFound);
    let error = read_all(&source, Sha256::of("first"), 6).unwrap_err();
    assert!(error.message().contains("has 5 bytes in the pack, 6 were asked for"), "{error}");
    let other = self::held(&[b"other"]);
    let layers = LayeredSource(vec![&source, &other]);
    assert_eq!(read_all(&layers, Sha256::of("other"), 5).unwrap(), b"other");
    assert_eq!(read_all(&layers, Sha256::of("first"), 5).unwrap(), b"first");
    assert_eq!(layers.open(&Sha256::of("none"), 4).err().unwrap().kind(), io::ErrorKind::NotFound);
}

#[test]
fn wrong_packs_are_refused() {
    let (tree, held) = sample();
    let index = PackIndex::of(&tree).unwrap();
    assert!(PackSource::new(vec![0; 20], 20, index.clone()).err().unwrap().message().contains("20 bytes"));
    // A length that lies: the reader meets the end.
    let short = PackSource::new(b"secondinlinefi".to_vec(), 21, index).unwrap();
    let error = read_all(&short, Sha256::of("first"), 5).unwrap_err();
    assert!(error.message().contains("the pack ends at byte 14"), "{error}");

    let lying = self::tree(vec![("a", blob(b"x")), ("b", Content::Blob { digest: Sha256::of("x"), size: 2 })]);
    assert!(PackIndex::of(&lying).unwrap_err().message().contains("two sizes, 1 and 2"));
    let lying = self::tree(vec![("a", Content::Blob { digest: Sha256::of("first"), size: 9 })]);
    assert!(write(&lying, &held, &mut Vec::new()).unwrap_err().message().contains("gave 5 bytes, 9 are expected"));
    let missing = self::tree(vec![("a", blob(b"nowhere"))]);
    assert!(write(&missing, &held, &mut Vec::new()).is_err());
    let empty = self::tree(vec![("a", Content::Blob { digest: Sha256::of("x"), size: 0 })]);
    let source = PackSource::new(Vec::new(), 0, PackIndex::of(&empty).unwrap()).unwrap();
    assert_eq!(read_all(&source, Sha256::of("x"), 0).unwrap_err().class(), Class::Integrity);
}

#[test]
fn the_last_byte_of_a_wrong_content_is_never_given() {
    let bytes: Vec<u8> = (0..CHUNK * 2 + 777).map(|i| (i % 251) as u8).collect();
    let tree = tree(vec![("a", blob(&bytes))]);
    let index = PackIndex::of(&tree).unwrap();
    let mut pack = bytes.clone();
    pack[5] ^= 1;
    let source = PackSource::new(pack, bytes.len() as u64, index).unwrap();
    for step in [1, 7, 4096, CHUNK - 1, CHUNK, CHUNK + 1, bytes.len(), bytes.len() * 2] {
        let mut reader = source.open(&Sha256::of(&bytes), bytes.len() as u64).unwrap();
        let mut buffer = vec![0; step];
        let mut seen = 0;
        let error = loop {
            match reader.read(&mut buffer) {
                Ok(0) => panic!("step {step}: came to the end"),
                Ok(n) => seen += n,
                Err(e) => break Error::io("read", &e),
            }
        };
        assert!(seen < bytes.len(), "step {step}");
        assert!(error.to_string().contains("expected sha256:"), "{error}");
        assert!(reader.read(&mut buffer).is_err(), "step {step}: failed once, failed for ever");
    }
}

#[test]
fn few_reads_for_many_bytes() {
    struct Counted(Vec<u8>, AtomicUsize);
    impl ReadAt for Counted {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.read_at(offset, buffer)
        }
    }
    let bytes = vec![3; CHUNK * 4];
    let tree = tree(vec![("a", blob(&bytes))]);
    let source = PackSource::new(Counted(bytes.clone(), AtomicUsize::new(0)), bytes.len() as u64, PackIndex::of(&tree).unwrap()).unwrap();
    let mut reader = source.open(&Sha256::of(&bytes), bytes.len() as u64).unwrap();
    let mut buffer = [0; 512];
    while reader.read(&mut buffer).unwrap() > 0 {}
    assert_eq!(source.pack.1.load(Ordering::Relaxed), 4);
}

#[test]
fn interrupted_and_failing_files() {
    struct Flaky(AtomicUsize);
    impl ReadAt for Flaky {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 => Err(io::ErrorKind::Interrupted.into()),
                1 => b"abc".as_slice().read_at(offset, &mut buffer[..1]),
                2 => b"abc".as_slice().read_at(offset, buffer),
                _ => Err(io::Error::from_raw_os_error(5)),
            }
        }
    }
    let tree = tree(vec![("a", blob(b"abc"))]);
    let source = PackSource::new(Flaky(AtomicUsize::new(0)), 3, PackIndex::of(&tree).unwrap()).unwrap();
    assert_eq!(read_all(&source, Sha256::of("abc"), 3).unwrap(), b"abc");
    assert_eq!(read_all(&source, Sha256::of("abc"), 3).unwrap_err().class(), Class::User, "a disk's failure is no wrong digest");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_packed_comes_back(contents in prop::collection::vec(prop::collection::vec(0..3_u8, 0..6), 0..30), step in 1..9_usize) {
        let names: Vec<String> = (0..contents.len()).map(|i| format!("f{i}")).collect();
        let tree = tree(names.iter().zip(&contents).map(|(name, bytes)| (&**name, blob(bytes))).collect());
        let held = held(&contents.iter().map(|bytes| &**bytes).collect::<Vec<_>>());
        let mut pack = Vec::new();
        let len = write(&tree, &held, &mut pack).unwrap();
        prop_assert_eq!(len, pack.len() as u64);
        let source = PackSource::new(pack, len, PackIndex::of(&tree).unwrap()).unwrap();
        for bytes in &contents {
            let mut reader = source.open(&Sha256::of(bytes), bytes.len() as u64).unwrap();
            let (mut found, mut buffer) = (Vec::new(), vec![0; step]);
            loop {
                match reader.read(&mut buffer).unwrap() {
                    0 => break,
                    n => found.extend_from_slice(&buffer[..n]),
                }
            }
            prop_assert_eq!(&found, bytes);
        }
    }
}
