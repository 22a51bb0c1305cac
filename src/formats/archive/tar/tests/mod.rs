//! The tar reader on valid archives. Hostile ones are in `hostile`, random ones in `random`.

pub(crate) mod build;
mod hostile;
mod random;

use std::io::Read;

use self::build::{END, entry, file, folder, header, long, pax, record, sum, with};
use super::read;
use crate::common::error::{Error, Result};
use crate::common::tree::{Content, Kind, Layer, Meta, Tree};
use crate::common::value::{Sha256, TreePath};
use crate::formats::archive::{Duplicates, Limits, Memory, Parents, Policy, Verdict};

/// A policy that allows everything, with small limits.
pub(crate) fn open_policy() -> Policy {
    Policy {
        limits: Limits { total_bytes: 64 << 20, file_bytes: 1 << 40, entries: 10_000, depth: 64, meta_bytes: 16 << 20 },
        duplicates: Duplicates::LastWins,
        parents: Parents::Create,
        ..Policy::system("pool/t.tar", Layer::Base)
    }
}

fn read_all(archive: &[u8]) -> Result<(Tree, Memory)> {
    let mut sink = Memory::default();
    Ok((read(archive, &open_policy(), &mut sink)?, sink))
}

fn at<'a>(tree: &'a Tree, path: &str) -> (&'a Kind, &'a Meta) {
    let node = tree.get(&TreePath::fixed(path)).unwrap_or_else(|| panic!("{path} is missing"));
    (&node.kind, &node.meta)
}

fn blob(bytes: &[u8]) -> Content {
    Content::Blob { digest: Sha256::of(bytes), size: bytes.len() as u64 }
}

#[test]
fn every_kind_of_node() {
    let device = with(header(b"./dev/null", b'3', 0), &[(329, b"0000001\0"), (337, b"0000003\0")]);
    let block = with(header(b"./dev/vda", b'4', 0), &[(329, b"0000375\0"), (337, b"\x80\0\0\0\0\x0f\xff\xff")]);
    let archive = [
        &folder(b"./")[..],
        &folder(b"./dev/"),
        &device,
        &block,
        &entry(b"./dev/initctl", b'6', b"", b""),
        &file(b"./empty", b""),
        &file(b"./full", &[7; 1025]),
        &entry(b"./link", b'2', b"../dev//null", b""),
        &entry(b"./same", b'1', b"./full", b""),
        &entry(b"./again", b'1', b"same", b""),
        &END,
    ]
    .concat();
    let (tree, sink) = read_all(&archive).unwrap();
    assert_eq!(at(&tree, "dev/null").0, &Kind::CharDev { major: 1, minor: 3 });
    assert_eq!(at(&tree, "dev/vda").0, &Kind::BlockDev { major: 0o375, minor: 0xf_ffff });
    assert_eq!(at(&tree, "dev/initctl").0, &Kind::Fifo);
    assert_eq!(at(&tree, "full").0, &Kind::File(blob(&[7; 1025])));
    assert_eq!(at(&tree, "link").0, &Kind::Symlink(b"../dev//null".to_vec()), "a symbolic link's target stays as it is");
    assert_eq!(at(&tree, "same").0, &Kind::HardLink(TreePath::fixed("full")));
    assert_eq!(at(&tree, "again").0, &Kind::HardLink(TreePath::fixed("full")), "never to another hard link");
    assert_eq!(sink.blobs[&Sha256::of([7; 1025])], [7; 1025]);
    assert_eq!(tree.len(), 10);
}

#[test]
fn metadata_of_all_encodings() {
    let extended = pax(&[
        record("path", "./ü\n=x".as_bytes()),
        record("uid", b"3000000000"),
        record("gid", b"7"),
        record("mtime", b"-3.25"),
        record("SCHILY.xattr.security.capability", b"\x01\n\0\0\x02"),
        record("LIBARCHIVE.xattr.security.capability", b"AQoAAAI="),
        record("atime", b"1.5"),
    ]);
    let wide = with(
        header(b"wide", b'0', 0),
        &[(100, b"0104755\0"), (108, b"\x80\0\0\0\x80\0\0\0"), (136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfb")],
    );
    let archive = [&extended[..], &file(b"short", b"x"), &wide, &END].concat();
    let (tree, _) = read_all(&archive).unwrap();
    let (_, meta) = at(&tree, "ü\n=x");
    assert_eq!((meta.uid, meta.gid, meta.mtime, meta.mode), (3_000_000_000, 7, -4, 0o644));
    assert_eq!(meta.xattrs[b"security.capability".as_slice()], b"\x01\n\0\0\x02");
    let (_, meta) = at(&tree, "wide");
    assert_eq!((meta.mode, meta.uid, meta.mtime), (0o4755, 0x8000_0000, -5));
}

#[test]
fn long_names_of_all_kinds() {
    let deep = ["d".repeat(120), "e".repeat(120)].join("/");
    let prefixed = with(header(b"name", b'0', 0), &[(257, b"ustar\x0000"), (345, b"pre/fix")]);
    let archive = [
        &long(b'L', format!("{deep}/f\0").as_bytes())[..],
        &long(b'K', format!("{deep}\0").as_bytes()),
        &entry(b"cut", b'2', b"cut", b""),
        &pax(&[record("linkpath", deep.as_bytes())]),
        &entry(b"g", b'2', b"cut", b""),
        &prefixed,
        &END,
    ]
    .concat();
    let (tree, _) = read_all(&archive).unwrap();
    assert_eq!(at(&tree, &format!("{deep}/f")).0, &Kind::Symlink(deep.clone().into_bytes()));
    assert_eq!(at(&tree, "g").0, &Kind::Symlink(deep.into_bytes()));
    assert!(matches!(at(&tree, "pre/fix/name").0, Kind::File(_)));
}

#[test]
fn sizes_that_only_pax_can_store() {
    // A header size of 0 beside a pax size that its octal field could not store: 8 GiB, of which 1 KiB is there.
    let archive = [&pax(&[record("size", b"8589934592")])[..], &header(b"f", b'0', 0), &[1; 1024]].concat();
    let error = read_all(&archive).unwrap_err();
    assert!(error.to_string().contains("8589933568 bytes of a file are missing"), "{error}");
}

#[test]
fn sparse_files_of_three_forms() {
    let data = [[1_u8; 512], [2; 512]].concat();
    // Old GNU: two segments, then the empty one that marks the end.
    let field = |n: u64| format!("{n:011o}\0").into_bytes();
    let map = [field(512), field(512), field(4096), field(512), field(8192), field(0)].concat();
    let old = with(header(b"old", b'S', 1024), &[(386, &map), (483, &field(8192))]);
    let keys = [record("GNU.sparse.size", b"8192"), record("GNU.sparse.numblocks", b"2"), record("GNU.sparse.map", b"512,512,4096,512")];
    let named = [&keys[..], &[record("GNU.sparse.name", b"zero-one")]].concat();
    let v1 = [
        record("GNU.sparse.major", b"1"),
        record("GNU.sparse.minor", b"0"),
        record("GNU.sparse.name", b"one"),
        record("GNU.sparse.realsize", b"8192"),
        record("path", b"GNUSparseFile.1/one"),
    ];
    let mut with_map = b"2\n512\n512\n4096\n512\n".to_vec();
    with_map.resize(512, 0);
    with_map.extend_from_slice(&data);
    let archive =
        [&old[..], &data, &pax(&named), &file(b"GNUSparseFile.1/zero-one", &data), &pax(&v1), &file(b"x", &with_map), &END].concat();
    let (tree, sink) = read_all(&archive).unwrap();
    for name in ["old", "zero-one", "one"] {
        let Kind::File(Content::Sparse { size: 8192, segments }) = at(&tree, name).0 else { panic!("{name} is not sparse") };
        let shown: Vec<_> = segments.iter().map(|s| (s.offset, s.size, s.digest)).collect();
        assert_eq!(shown, [(512, 512, Sha256::of([1; 512])), (4096, 512, Sha256::of([2; 512]))], "{name}");
    }
    assert_eq!(sink.blobs.len(), 2);
    assert_eq!(tree.len(), 4, "no made-up folder");
}

#[test]
fn a_sparse_map_may_continue_in_more_blocks() {
    let field = |n: u64| format!("{n:011o}\0").into_bytes();
    let pair = |at: u64| [field(at), field(1)].concat();
    let first: Vec<u8> = (0..4).flat_map(|i| pair(i * 10)).collect();
    let second: Vec<u8> = (4..25).flat_map(|i| pair(i * 10)).collect();
    let third: Vec<u8> = (25..30).flat_map(|i| pair(i * 10)).collect();
    let head = with(header(b"s", b'S', 30), &[(386, &first), (482, b"\x01"), (483, &field(300))]);
    let mut blocks = [[0_u8; 512]; 2];
    blocks[0][..504].copy_from_slice(&second);
    blocks[0][504] = 1;
    blocks[1][..120].copy_from_slice(&third);
    let mut data = [9_u8; 512];
    data[30..].fill(0);
    let (tree, _) = read_all(&[&head[..], &blocks[0], &blocks[1], &data, &END].concat()).unwrap();
    let Kind::File(Content::Sparse { size: 300, segments }) = at(&tree, "s").0 else { panic!("not sparse") };
    assert_eq!(segments.len(), 30);
    // A long pax map crosses blocks too; its segments touch and so make a plain file.
    let mut map = format!("200\n{}", (0..200).map(|i| format!("{}\n1\n", i)).collect::<String>()).into_bytes();
    map.resize(map.len().next_multiple_of(512), 0);
    assert!(map.len() > 512);
    map.extend_from_slice(&[5; 200]);
    let keys =
        [("major", "1"), ("minor", "0"), ("name", "t"), ("realsize", "200")].map(|(k, v)| record(&format!("GNU.sparse.{k}"), v.as_bytes()));
    let (tree, _) = read_all(&[&pax(&keys)[..], &file(b"t", &map), &END].concat()).unwrap();
    assert_eq!(at(&tree, "t").0, &Kind::File(blob(&[5; 200])));
}

#[test]
fn repeated_names() {
    let twice = [&file(b"a", b"1")[..], &entry(b"b", b'1', b"a", b""), &file(b"a", b"2"), &END].concat();
    let (tree, _) = read_all(&twice).unwrap();
    assert_eq!(at(&tree, "a").0, &Kind::File(blob(b"2")));
    assert_eq!(at(&tree, "b").0, &Kind::File(blob(b"1")), "an earlier link keeps the earlier file, as on a disk");

    let changed = with(header(b"d", b'5', 0), &[(100, b"0000700\0")]);
    let folders = [&folder(b"d/")[..], &file(b"d/f", b""), &changed, &END].concat();
    let (tree, _) = read_all(&folders).unwrap();
    assert_eq!(at(&tree, "d").1.mode, 0o700);
    assert_eq!(tree.len(), 3);
}

#[test]
fn folders_without_an_entry() {
    let mut policy = open_policy();
    policy.root = Meta::new(0o711, 1, 2, 3);
    let tree = read(&*[&file(b"a/b/c", b"")[..], &END].concat(), &policy, &mut Memory::default()).unwrap();
    assert_eq!(at(&tree, "a/b").1, &policy.root);
}

#[test]
fn padding_and_comments_are_no_entries() {
    let global = with(header(b"pax_global_header", b'g', 20), &[]);
    let mut comment = record("comment", b"0123456");
    assert_eq!(comment.len(), 19);
    comment = record("comment", b"01234567");
    comment.resize(512, 0);
    let (tree, _) = read_all(&[&global[..], &comment, &file(b"a", b""), &END, &[0; 9000]].concat()).unwrap();
    assert_eq!(tree.len(), 2);
}

#[test]
fn a_readers_failure_is_not_blamed_on_the_archive() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(5))
        }
    }
    let whole = crate::formats::archive::compress::tests::gzip(&[&file(b"a", &[1; 100_000])[..], &END].concat());
    let error = read(whole[..40].chain(Broken), &open_policy(), &mut Memory::default()).unwrap_err();
    assert_eq!(error.class(), crate::Class::User, "{error}");
    assert!(error.message().starts_with("cannot read pool/t.tar: "), "{error}");
    let own = Error::new(crate::Class::Interrupted, "interrupted");
    struct Stopped(Error);
    impl Read for Stopped {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(self.0.clone().into())
        }
    }
    let error = read(Stopped(own), &open_policy(), &mut Memory::default()).unwrap_err();
    assert_eq!(error.class(), crate::Class::Interrupted);
}

#[test]
fn gnu_tars_own_archives_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path();
    std::fs::create_dir(top.join("sub")).unwrap();
    std::fs::write(top.join("sub").join("n".repeat(150)), b"hello").unwrap();
    std::fs::hard_link(top.join("sub").join("n".repeat(150)), top.join("twin")).unwrap();
    std::os::unix::fs::symlink("l".repeat(150), top.join("sym")).unwrap();
    let hole = std::fs::File::create(top.join("hole")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&hole, b"end", 3 << 20).unwrap();
    for flags in [
        &["--format=gnu", "--sparse"][..],
        &["--format=pax", "--sparse"],
        &["--format=pax", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "-z"],
        &["--format=gnu", "-J"],
    ] {
        let output = std::process::Command::new("tar").args(flags).arg("-cC").arg(top).arg(".").output();
        let output = output.unwrap_or_else(|e| panic!("tar is missing: run tests/setup.sh ({e})"));
        assert!(output.status.success(), "{flags:?}: {}", String::from_utf8_lossy(&output.stderr));
        let (tree, _) = read_all(&output.stdout).unwrap_or_else(|e| panic!("{flags:?}: {e}"));
        assert_eq!(tree.len(), 6, "{flags:?}");
        assert_eq!(at(&tree, "sym").0, &Kind::Symlink("l".repeat(150).into_bytes()));
        let links = tree.iter().filter(|(_, node)| matches!(node.kind, Kind::HardLink(_))).count();
        assert_eq!(links, 1, "{flags:?}");
        let Kind::File(content) = at(&tree, "hole").0 else { panic!("{flags:?}") };
        assert_eq!(content.size(), (3 << 20) + 3);
        let sparse = flags.contains(&"--sparse");
        assert_eq!(matches!(content, Content::Sparse { .. }), sparse, "{flags:?}");
    }
}

#[test]
fn the_predefined_policies() {
    let strict = Policy::strict("t", Layer::Role);
    assert_eq!((strict.devices, strict.privileged), (Verdict::Refuse, Verdict::Refuse));
    let package = Policy::package("t", Layer::Base);
    assert_eq!((package.devices, package.privileged, package.parents), (Verdict::Refuse, Verdict::Allow, Parents::Refuse));
    // The checksum helper that the hostile archives rely on.
    assert_eq!(sum(header(b"a", b'0', 0)), header(b"a", b'0', 0));
}
