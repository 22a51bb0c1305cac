//! A tree's text: its form, parsing, and refused texts.

use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::Class;
use crate::common::tree::{Content, Kind, Layer, Meta, Node, Segment, Tree};
use crate::common::value::{Sha256, TreePath};

fn node(kind: Kind, layer: Layer) -> Node {
    Node { meta: Meta::new(0o644, 0, 5, 17), kind, layer }
}

/// A segment of a sparse file, as text and as value.
fn hex(text: &str) -> String {
    Sha256::of(text).to_string()
}

fn sample() -> Tree {
    let mut tree = Tree::new(Meta::new(0o755, 0, 0, -1));
    let path = TreePath::fixed;
    let mut put = |at: &str, kind, layer| tree.insert(path(at), node(kind, layer)).unwrap();
    put("b", Kind::File(Content::Blob { digest: Sha256::of("b"), size: 1 }), Layer::Base);
    put("a", Kind::HardLink(path("b")), Layer::Base);
    put("c d", Kind::Dir, Layer::Role);
    put("c d/ü", Kind::Symlink(b"../\x01 =".to_vec()), Layer::Role);
    put("inline", Kind::File(Content::Inline(Arc::from(b"xy".as_slice()))), Layer::Role);
    put("null", Kind::CharDev { major: 1, minor: 3 }, Layer::Base);
    put("pipe", Kind::Fifo, Layer::Base);
    put("sda", Kind::BlockDev { major: 8, minor: 0 }, Layer::Base);
    put("sock", Kind::Socket, Layer::Base);
    let part = |offset, text: &str| Segment { offset, digest: Sha256::of(text), size: text.len() as u64 };
    put("thin", Kind::File(Content::Sparse { size: 9000, segments: vec![part(0, "one"), part(4096, "two")] }), Layer::Base);
    put("void", Kind::File(Content::Sparse { size: 9000, segments: vec![] }), Layer::Base);
    let meta = tree.meta_mut(&path("pipe")).unwrap();
    meta.mode = 0o6755;
    meta.xattrs.insert(b"user.a=b".to_vec(), b"\0 =".to_vec());
    meta.xattrs.insert(b"user.a".to_vec(), Vec::new());
    tree
}

fn sample_text() -> String {
    let (b, xy, one, two) = (hex("b"), hex("xy"), hex("one"), hex("two"));
    [
        "dir / 0755 0 0 -1 - - base".to_owned(),
        "hardlink /a 0644 0 5 17 - /b base".to_owned(),
        format!("file /b 0644 0 5 17 1 sha256:{b} base"),
        "dir /c\\x20d 0644 0 5 17 - - role".to_owned(),
        "symlink /c\\x20d/\\xc3\\xbc 0644 0 5 17 - ../\\x01\\x20= role".to_owned(),
        format!("file /inline 0644 0 5 17 2 sha256:{xy} role"),
        "char /null 0644 0 5 17 - 1:3 base".to_owned(),
        "fifo /pipe 6755 0 5 17 - - base user.a= user.a\\x3db=\\x00\\x20=".to_owned(),
        "block /sda 0644 0 5 17 - 8:0 base".to_owned(),
        "socket /sock 0644 0 5 17 - - base".to_owned(),
        format!("sparse /thin 0644 0 5 17 9000 0+3=sha256:{one},4096+3=sha256:{two} base"),
        "sparse /void 0644 0 5 17 9000 - base".to_owned(),
    ]
    .map(|line| line + "\n")
    .concat()
}

#[test]
fn the_form_is_pinned() {
    // Plans are hashed over this text: changing it changes every plan; state it in the image format.
    assert_eq!(sample().to_text(), sample_text());
}

#[test]
fn text_round_trips() {
    let back = Tree::parse_text(&sample_text(), "t").unwrap();
    let mut expected = sample();
    let inline = TreePath::fixed("inline");
    expected.remove(&inline);
    let blob = Content::Blob { digest: Sha256::of("xy"), size: 2 };
    expected.insert(inline, node(Kind::File(blob), Layer::Role)).unwrap();
    assert_eq!(back, expected);
    assert_eq!(back.to_text(), sample_text());
}

#[test]
fn other_text_is_refused() {
    let digest = hex("x");
    let after = |line: &str| format!("dir / 0755 0 0 0 - - base\n{line}\n");
    let cases = [
        (String::new(), "line 1: the text does not end"),
        ("\n".into(), "line 1: 1 words; expected at least 9"),
        ("dir / 0755 0 0 0 - - base".into(), "line 1: the text does not end with a line feed"),
        ("dir /a 0755 0 0 0 - - base\n".into(), "line 1: the first line is /a"),
        ("fifo / 0755 0 0 0 - - base\n".into(), "line 1: /: the root must be a folder"),
        ("dir / 0755 0 0 0 - - role\n".into(), "line 1: /: the root"),
        (after(""), "line 2: 1 words"),
        (after("dir / 0755 0 0 0 - - base"), "line 2: / must not follow /: paths are sorted"),
        (after("dir /b 0755 0 0 0 - - base\ndir /a 0755 0 0 0 - - base"), "line 3: /a must not follow /b: paths are sorted"),
        (after("dir /a/b 0755 0 0 0 - - base"), "line 2: /a/b: its folder is not"),
        (after("fifo /a 0755 0 0 0 - - base\nfifo /a/b 0755 0 0 0 - - base"), "line 3: /a/b: its parent is not a folder"),
        (after("hardlink /a 0755 0 0 0 - /b base"), "line 2: /a: a hard link must"),
        (after("dir a 0755 0 0 0 - - base"), "does not start with a slash"),
        (after("dir /a/../b 0755 0 0 0 - - base"), "escapes the root"),
        (after("dir //a 0755 0 0 0 - - base"), "`/a` is absolute"),
        (after("dir /a/ 0755 0 0 0 - - base"), "not in canonical form; expected `dir /a 0755"),
        (after("dir /\\x61 0755 0 0 0 - - base"), "not an escaped path"),
        (after("dir /ü 0755 0 0 0 - - base"), "not an escaped path"),
        (after("dir /a 755 0 0 0 - - base"), "not in canonical form"),
        (after("dir /a 00755 0 0 0 - - base"), "not in canonical form"),
        (after("dir /a 10755 0 0 0 - - base"), "not a mode"),
        (after("dir /a 0755 -1 0 0 - - base"), "owner `-1`"),
        (after("dir /a 0755 0 4294967296 0 - - base"), "group `4294967296`"),
        (after("dir /a 0755 +1 0 0 - - base"), "not in canonical form"),
        (after("dir /a 0755 0 0 now - - base"), "time `now`"),
        (after("dir /a 0755 0 0 0 0 - base"), "not in canonical form"),
        (after("dir /a 0755 0 0 0 - - top"), "`top` is not a layer"),
        (after("dir  /a 0755 0 0 0 - - base"), "line 2: "),
        (after("dir /a 0755 0 0 0 - - base "), "`` is not an attribute"),
        (after("dir /a 0755 0 0 0 - - base\r"), "is not a layer"),
        (after("door /a 0755 0 0 0 - - base"), "`door` is not a node type"),
        (after("file /a 0755 0 0 0 - sha256:0 base"), "digest has 64"),
        (after(&format!("file /a 0755 0 0 0 - sha256:{digest} base")), "size `-`"),
        (after(&format!("file /a 0755 0 0 0 1 {digest} base")), "is not a digest"),
        (after("char /a 0755 0 0 0 - 1 base"), "`1` is not a device"),
        (after(&format!("sparse /a 0755 0 0 0 9 8+2=sha256:{digest} base")), "segment at 8"),
        (after(&format!("sparse /a 0755 0 0 0 9 0+2=sha256:{digest},1+1=sha256:{digest} base")), "segment at 1"),
        (after(&format!("sparse /a 0755 0 0 0 9 0+0=sha256:{digest} base")), "segment at 0"),
        (after(&format!("sparse /a 0755 0 0 0 9 18446744073709551615+2=sha256:{digest} base")), "segment at 18446744073709551615"),
        (after("dir /a 0755 0 0 0 - - base user.a"), "`user.a` is not an attribute"),
        (after("dir /a 0755 0 0 0 - - base =1"), "`=1` is not an attribute"),
        (after("dir /a 0755 0 0 0 - - base user.b= user.a="), "not in canonical form"),
        (after("dir /a 0755 0 0 0 - - base user.a=1 user.a=2"), "not in canonical form"),
    ];
    for (text, expected) in cases {
        let error = Tree::parse_text(&text, "base.tree").expect_err(&text);
        assert!(error.to_string().contains(expected), "{text}: {error}");
        assert!(error.message().starts_with("base.tree: line "), "{error}");
        assert_eq!(error.class(), Class::Integrity);
    }
}

fn any_kind() -> impl Strategy<Value = Kind> {
    let segments = vec((1..5000_u64, 1..5000_u64), 0..4).prop_map(|gaps| {
        let mut end = 0;
        let segments: Vec<_> = gaps
            .into_iter()
            .map(|(gap, size)| {
                let offset = end + gap;
                end = offset + size;
                Segment { offset, digest: Sha256::of(offset.to_le_bytes()), size }
            })
            .collect();
        Kind::File(Content::Sparse { size: end + 7, segments })
    });
    prop_oneof![
        Just(Kind::Dir),
        Just(Kind::Dir),
        any::<(u64, u64)>().prop_map(|(seed, size)| Kind::File(Content::Blob { digest: Sha256::of(seed.to_le_bytes()), size })),
        segments,
        vec(1..=255_u8, 0..20).prop_map(Kind::Symlink),
        vec(any::<u8>(), 1..3).prop_map(|name| Kind::HardLink(TreePath::parse(&name, false).unwrap_or(TreePath::root()))),
        any::<(u32, u32)>().prop_map(|(major, minor)| Kind::CharDev { major, minor }),
        any::<(u32, u32)>().prop_map(|(major, minor)| Kind::BlockDev { major, minor }),
        Just(Kind::Fifo),
        Just(Kind::Socket),
    ]
}

fn any_node() -> impl Strategy<Value = Node> {
    let meta = (0..=0o7777_u16, any::<u32>(), any::<u32>(), any::<i64>(), btree_map(vec(any::<u8>(), 1..9), vec(any::<u8>(), 0..9), 0..3));
    (meta, any_kind(), any::<bool>()).prop_map(|((mode, uid, gid, mtime, xattrs), kind, role)| {
        let layer = if role { Layer::Role } else { Layer::Base };
        Node { meta: Meta { mode, uid, gid, mtime, xattrs }, kind, layer }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_round_trips(nodes in vec((vec(vec(any::<u8>(), 1..3), 1..4), any_node()), 0..40)) {
        let mut tree = Tree::new(Meta::new(0o755, 0, 0, 0));
        for (parts, node) in nodes {
            if let Ok(path) = TreePath::parse(&parts.join(&b'/'), true) {
                let _ = tree.insert(path, node);
            }
        }
        let text = tree.to_text();
        prop_assert_eq!(text.lines().count(), tree.len());
        prop_assert!(text.is_ascii());
        prop_assert_eq!(Tree::parse_text(&text, "t").unwrap(), tree);
    }

    #[test]
    fn damaged_text_is_refused_or_canonical(at in any::<prop::sample::Index>(), byte in 0x20..0x7f_u8) {
        let mut bytes = sample_text().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let text = String::from_utf8(bytes).unwrap();
        if let Ok(tree) = Tree::parse_text(&text, "t") {
            prop_assert_eq!(tree.to_text(), text);
        }
    }
}
