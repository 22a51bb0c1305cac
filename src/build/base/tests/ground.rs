//! A base in the form of a tar.

use std::process::Command;

use crate::build::base::ground::write;
use crate::common::testing::Blobs;
use crate::common::tree::{Content, Kind, Layer, Meta, Node, Tree};
use crate::common::value::TreePath;
use crate::formats::archive::{Memory, Policy, tar};

/// A tree with one entry of each kind in a base, and its contents.
fn sample() -> (Tree, Blobs) {
    let mut blobs = Blobs::default();
    let mut tree = Tree::new(Meta::new(0o755, 0, 0, 7));
    let mut add = |path: &str, mode, owner, kind| {
        let mut meta = Meta::new(mode, owner, owner + 1, 1_700_000_000);
        if path == "usr/bin/ping" {
            meta.xattrs.insert(b"security.capability".to_vec(), b"\x01\0\0\x02\0\n=\xff".to_vec());
        }
        tree.insert(TreePath::fixed(path), Node { meta, kind, layer: Layer::Base }).unwrap();
    };
    let mut blob = |bytes: &[u8]| Kind::File(blobs.content(bytes));
    let long = format!("usr/{}/{}", "n".repeat(90), "m".repeat(120));
    add("etc", 0o755, 0, Kind::Dir);
    add("etc/empty", 0o444, 0, Kind::File(Content::Inline([].into())));
    add("etc/text", 0o640, 42, Kind::File(Content::Inline(b"text\n".as_slice().into())));
    add("etc/link", 0o777, 0, Kind::Symlink(format!("../{}", "t".repeat(200)).into_bytes()));
    add("usr", 0o755, 0, Kind::Dir);
    add("usr/bin", 0o2775, 0, Kind::Dir);
    add("usr/bin/ping", 0o755, 65534, blob(&[9; 1024]));
    add("usr/bin/su", 0o4755, 0, blob(&[8; 513]));
    add(&long[..94], 0o755, 0, Kind::Dir);
    add(&long, 0o644, 1, blob("é".repeat(300_000).as_bytes()));
    add("usr/z", 0o644, 3, blob(b"zz"));
    add("usr/a", 0o644, 3, Kind::HardLink(TreePath::fixed("usr/z")));
    add("var", 0o1777, 0, Kind::Dir);
    (tree, blobs)
}

fn text(tree: &Tree, blobs: &Blobs) -> Vec<u8> {
    let mut out = Vec::new();
    write(tree, blobs, &mut out).unwrap();
    out
}

#[test]
fn what_is_written_reads_as_the_same_tree() {
    let (tree, blobs) = sample();
    let archive = text(&tree, &blobs);
    let mut found = Memory::default();
    let again = tar::read(&*archive, &Policy::system("it", Layer::Base), &mut found).unwrap();
    assert_eq!(again.to_text(), tree.to_text());
    assert!(blobs.iter().all(|(digest, bytes)| found.blobs[digest] == bytes));
}

#[test]
fn gnu_tar_understands_it() {
    let (tree, blobs) = sample();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.tar");
    std::fs::write(&path, text(&tree, &blobs)).unwrap();
    let listed = Command::new("tar")
        .args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-tvvf"])
        .arg(&path)
        .env("LC_ALL", "C.UTF-8")
        .output();
    let listed = listed.expect("tar is missing: run tests/setup.sh");
    assert!(listed.status.success() && listed.stderr.is_empty(), "{}", String::from_utf8_lossy(&listed.stderr));
    let lines = String::from_utf8(listed.stdout).unwrap();
    for expected in [
        "-rwsr-xr-x  0/1",
        "drwxrwsr-x  0/1",
        "drwxrwxrwt",
        "65534/65535",
        "./usr/a link to ./usr/z",
        "security.capability",
        &"m".repeat(120),
    ] {
        assert!(lines.contains(expected), "`{expected}` is not in\n{lines}");
    }
}

#[test]
fn what_no_base_has_is_refused() {
    let mut tree = Tree::new(Meta::new(0o755, 0, 0, 0));
    let node = Node { meta: Meta::new(0o600, 0, 0, 0), kind: Kind::CharDev { major: 1, minor: 3 }, layer: Layer::Base };
    tree.insert(TreePath::fixed("null"), node).unwrap();
    let error = write(&tree, &Blobs::default(), &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("/null of the base"), "{error}");
}
