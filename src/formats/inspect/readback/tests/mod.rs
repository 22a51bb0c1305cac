use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::Class;
use crate::common::testing::Blobs;
use crate::common::tree::{Content, Kind, Layer, Meta, Node, Segment, Tree};
use crate::common::value::{Cancel, Sha256, TreePath, derived_uuid};
use crate::formats::disk::cluster::CLUSTER;
use crate::formats::disk::testing;
use crate::formats::disk::{ContentSource, Data, Piece, Pieces, gpt, qcow2};
use crate::formats::inspect::{Image, ReadAt};

mod changed;

fn written(dir: &Path, pieces: &Pieces, source: &dyn ContentSource, virtual_size: u64) -> PathBuf {
    let path = dir.join("disk.qcow2");
    let mut out = File::create(&path).unwrap();
    qcow2::write(pieces, source, virtual_size, 2, &mut out, &Cancel::new(), &|_| {}).unwrap();
    path
}

fn compare(path: &Path, pieces: &Pieces, source: &dyn ContentSource, cancel: &Cancel) -> crate::Result<()> {
    compare_image(&mut Image::open(path)?, pieces, source, cancel)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_was_written_is_read(disk in testing::any_disk(), cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..200_000usize), 8)) {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path(), &disk.pieces, &disk.source, disk.pieces.len());
        compare(&path, &disk.pieces, &disk.source, &Cancel::new()).unwrap();
        let mut image = Image::open(&path).unwrap();
        prop_assert_eq!(image.size(), disk.bytes.len() as u64);
        for (at, len) in cuts {
            let at = at.index(disk.bytes.len());
            let len = len.min(disk.bytes.len() - at);
            let mut found = vec![0xee; len];
            image.read_at(at as u64, &mut found).unwrap();
            prop_assert!(found == disk.bytes[at..at + len], "{} bytes at {}", len, at);
        }
    }
}

/// A disk of 10 MiB whose blobs are prose, noise and zeros.
fn sample() -> (Pieces, Blobs, Vec<u8>) {
    let mut source = Blobs::default();
    let (mut pieces, mut bytes) = (Vec::new(), vec![0; 10 << 20]);
    for (at, content) in [(4096, testing::prose(1, 500_000)), (1 << 20, testing::noise(2, 700_001)), (9 << 20, vec![0; 70_000])] {
        bytes[at..at + content.len()].copy_from_slice(&content);
        let size = content.len() as u64;
        let digest = source.add(content);
        pieces.push(Piece { at: at as u64, data: Data::Blob { digest, size, offset: 0, len: size } });
    }
    (Pieces::new(10 << 20, pieces), source, bytes)
}

#[test]
fn images_of_qemu_are_read() {
    let (pieces, source, bytes) = sample();
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("disk.raw");
    std::fs::write(&raw, bytes).unwrap();
    let path = dir.path().join("disk.qcow2");
    for options in [
        "compression_type=zstd",
        "compression_type=zlib",
        "compression_type=zstd,cluster_size=4096",
        "compression_type=zlib,cluster_size=2097152",
        "compat=0.10",
    ] {
        for compress in [&["-c"][..], &[]] {
            let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"convert", &"-f", &"raw", &"-O", &"qcow2", &"-o", &options];
            args.extend(compress.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>));
            args.extend([&raw as &dyn AsRef<std::ffi::OsStr>, &path]);
            testing::run("qemu-img", &args);
            compare(&path, &pieces, &source, &Cancel::new()).unwrap_or_else(|e| panic!("{options} {compress:?}: {e}"));
        }
    }
}

#[test]
fn the_first_byte_that_differs_is_named() {
    let (pieces, source, bytes) = sample();
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("disk.raw");
    let path = dir.path().join("disk.qcow2");
    // In prose, in noise, in a blob of zeros, between pieces, at the edges.
    for at in [5000, 1_100_000, 9_500_000, 8_000_000, 0, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 0x40;
        changed[bytes.len() - 1] ^= 0x20;
        std::fs::write(&raw, changed).unwrap();
        testing::run("qemu-img", &[&"convert", &"-c", &"-f", &"raw", &"-O", &"qcow2", &raw, &path]);
        let error = compare(&path, &pieces, &source, &Cancel::new()).unwrap_err();
        assert_eq!(error.class(), Class::Integrity);
        assert!(error.message().ends_with(&format!("at byte {at}")), "{error}");
    }
    // An image without any data.
    let path = written(dir.path(), &Pieces::new(10 << 20, vec![]), &source, 10 << 20);
    let error = compare(&path, &pieces, &source, &Cancel::new()).unwrap_err();
    assert!(error.message().ends_with("at byte 4096"), "{error}");
    let path = written(dir.path(), &Pieces::new(512, vec![]), &source, 512);
    assert!(compare(&path, &pieces, &source, &Cancel::new()).unwrap_err().message().ends_with("is too small"));
}

#[test]
fn a_damaged_image_is_an_error_and_no_panic() {
    let (pieces, source, _) = sample();
    let dir = tempfile::tempdir().unwrap();
    let good = std::fs::read(written(dir.path(), &pieces, &source, 10 << 20)).unwrap();
    let path = dir.path().join("bad.qcow2");
    let verdict = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        compare(&path, &pieces, &source, &Cancel::new())
    };
    verdict(&good).unwrap();
    // Cut anywhere: the header needs its tables, which come last.
    for len in [0, 50, 65_536, good.len() / 2, good.len() - 3 * CLUSTER] {
        assert_eq!(verdict(&good[..len]).unwrap_err().class(), Class::Integrity, "{len} bytes");
    }
    // Each bit of the header, of the first frame's beginning and of the tables' first entries.
    let l1 = u64::from_be_bytes(good[40..48].try_into().unwrap()) as usize;
    let l2 = (u64::from_be_bytes(good[l1..l1 + 8].try_into().unwrap()) & !(1 << 63)) as usize;
    let places: Vec<usize> = (0..112).chain(65_536..65_560).chain(l1..l1 + 8).chain(l2..l2 + 64).collect();
    verdict(&good).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let mut refused = 0;
    for (place, bit) in places.into_iter().flat_map(|place| (0..8).map(move |bit| (place, bit))) {
        file.write_all_at(&[good[place] ^ 1 << bit], place as u64).unwrap();
        refused += u32::from(compare(&path, &pieces, &source, &Cancel::new()).is_err());
        file.write_all_at(&[good[place]], place as u64).unwrap();
    }
    assert!(refused > 600, "only {refused} of 1,664 damages were noticed");
    compare(&path, &pieces, &source, &Cancel::new()).unwrap();
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    for (options, reason) in [("extended_l2=on", "features 0x10"), ("backing_file=base.raw,backing_fmt=raw", "backing file at ")] {
        std::fs::write(dir.path().join("base.raw"), vec![0; 1 << 20]).unwrap();
        testing::run("qemu-img", &[&"create", &"-f", &"qcow2", &"-o", &options, &path, &"1M"]);
        let error = Image::open(&path).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    let error = Image::open(&dir.path().join("none")).map(|_| ()).unwrap_err();
    assert!(error.message().contains("cannot open") && error.message().contains("none"), "{error}");
    let mut image = Image::open(&written(dir.path(), &Pieces::new(1024, vec![]), &Blobs::default(), 1024)).unwrap();
    for (offset, len) in [(1024, 1), (0, 1025), (u64::MAX, 2)] {
        assert!(image.read_at(offset, &mut vec![0; len]).unwrap_err().to_string().contains("not on its disk of 1024 bytes"));
    }
}

/// A folder on the host as a tree, and as mke2fs's ext4 in a partitioned qcow2.
struct Bed {
    _dir: tempfile::TempDir,
    image: PathBuf,
    tree: Tree,
}

const ROOT_AT: u64 = 1 << 20;

fn bed() -> Bed {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("etc/deep/er")).unwrap();
    std::fs::create_dir(root.join("many")).unwrap();
    let files = [
        ("etc/hostname", b"node\n".to_vec()),
        ("etc/empty", vec![]),
        ("etc/deep/er/library", testing::prose(3, 3_000_001)),
        ("etc/sp ace-\u{fc}", vec![1]),
    ];
    for (name, bytes) in &files {
        std::fs::write(root.join(name), bytes).unwrap();
    }
    for at in 0..500 {
        std::fs::write(root.join(format!("many/file-{at}")), at.to_string()).unwrap();
    }
    std::fs::hard_link(root.join("etc/hostname"), root.join("etc/name-too")).unwrap();
    symlink("deep/er", root.join("etc/short")).unwrap();
    symlink("x".repeat(200), root.join("etc/long")).unwrap();
    let holey = File::create(root.join("holey")).unwrap();
    holey.write_all_at(b"data", 5 << 20).unwrap();
    holey.set_len(30 << 20).unwrap();

    let raw = dir.path().join("ext4.raw");
    testing::run("mke2fs", &[&"-q", &"-t", &"ext4", &"-d", &root, &raw, &"64M"]);
    // mke2fs gives the root its own time.
    let time = std::fs::symlink_metadata(&root).unwrap().mtime();
    testing::run("debugfs", &[&"-w", &"-R", &format!("set_inode_field <2> mtime @{time}"), &raw]);
    let content = Pieces::new(64 << 20, vec![Piece { at: 0, data: Data::Bytes(std::fs::read(&raw).unwrap()) }]);
    let guid = derived_uuid("test", "root");
    let part = gpt::Partition { name: "root".into(), type_guid: gpt::LINUX_ROOT_X86_64, guid, start: ROOT_AT, size: 64 << 20, content };
    let disk = gpt::disk(66 << 20, guid, None, vec![part]).unwrap();
    let image = written(dir.path(), &disk, &Blobs::default(), disk.len());
    Bed { tree: tree_of(&root), image, _dir: dir }
}

/// The host's folder, read independently of ext4.
fn tree_of(root: &Path) -> Tree {
    let meta = |path: &Path| {
        let found = std::fs::symlink_metadata(path).unwrap();
        Meta::new((found.mode() & 0o7777) as u16, found.uid(), found.gid(), found.mtime())
    };
    let mut tree = Tree::new(meta(root));
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            let kind = if path.is_symlink() {
                Kind::Symlink(std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes())
            } else if path.is_dir() {
                folders.push(path.clone());
                Kind::Dir
            } else if name == "holey" {
                let segment = Segment { offset: 5 << 20, digest: Sha256::of(b"data"), size: 4 };
                Kind::File(Content::Sparse { size: 30 << 20, segments: vec![segment] })
            } else if name == "etc/deep/er/library" {
                let bytes = std::fs::read(&path).unwrap();
                Kind::File(Content::Blob { digest: Sha256::of(&bytes), size: bytes.len() as u64 })
            } else if name == "etc/name-too" {
                continue;
            } else {
                Kind::File(Content::Inline(std::fs::read(&path).unwrap().into()))
            };
            tree.insert(TreePath::fixed(name), Node { meta: meta(&path), kind, layer: Layer::Base }).unwrap();
        }
    }
    // A hard link's own metadata must be ignored.
    let link = Node { meta: Meta::new(0, 9, 9, 9), kind: Kind::HardLink(TreePath::fixed("etc/hostname")), layer: Layer::Role };
    tree.insert(TreePath::fixed("etc/name-too"), link).unwrap();
    tree
}

#[test]
fn a_filesystem_is_the_tree_it_was_made_from() {
    let Bed { image, tree, _dir } = bed();
    let report = verify_tree(&image, ROOT_AT, &tree, Depth::All, &Cancel::new()).unwrap().into_result().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(report.entries, tree.len() as u64 + 1, "and lost+found");
    assert!(report.bytes > 34_400_000, "{report:?}");
}

#[test]
fn each_difference_is_told() {
    let Bed { image, tree, _dir } = bed();
    let path = TreePath::fixed;
    let changed = |name: &str, change: &dyn Fn(&mut Node)| {
        let mut tree = tree.clone();
        let mut node = tree.get(&path(name)).unwrap().clone();
        change(&mut node);
        tree.remove(&path(name));
        tree.insert(path(name), node).unwrap();
        tree
    };
    let sparse = |offset, segment: &[u8]| {
        let segments = vec![Segment { offset, digest: Sha256::of(segment), size: segment.len() as u64 }];
        move |node: &mut Node| node.kind = Kind::File(Content::Sparse { size: 30 << 20, segments: segments.clone() })
    };
    let inline = |bytes: &[u8]| {
        let bytes: Arc<[u8]> = bytes.into();
        move |node: &mut Node| node.kind = Kind::File(Content::Inline(Arc::clone(&bytes)))
    };
    let mut missing = tree.clone();
    missing.insert(path("etc/absent"), tree.get(&path("etc/empty")).unwrap().clone()).unwrap();
    let mut extra = tree.clone();
    extra.remove(&path("many/file-7"));
    let cases = [
        (missing, "/etc/absent: is missing"),
        (extra, "/many/file-7: is not in the tree"),
        (changed("etc/empty", &|node| node.meta.mode = 0o4755), "/etc/empty: expected mode 4755, found 0"),
        (changed("etc/empty", &|node| node.meta.uid = 4711), "/etc/empty: expected owner 4711:"),
        (changed("etc/empty", &|node| node.meta.gid = 70_000), ":70000, found "),
        (changed("etc/empty", &|node| node.meta.mtime = -5), "/etc/empty: expected time -5, found 1"),
        (changed("etc/short", &|node| node.kind = Kind::Symlink(b"else".to_vec())), "/etc/short: expected target else, found deep/er"),
        (changed("etc/short", &|node| node.kind = Kind::Fifo), "/etc/short: expected a fifo, found a symbolic link"),
        (changed("many/file-123", &inline(b"12")), "/many/file-123: expected 2 bytes, found 3"),
        (changed("many/file-123", &inline(b"124")), "/many/file-123: expected sha256:6affdae3"),
        (changed("holey", &sparse(5 << 20, b"dat")), "/holey: expected zeros from byte 5242883"),
        (changed("holey", &sparse(5 << 20, b"Data")), "for 4 bytes from byte 5242880"),
        (changed("holey", &sparse(6 << 20, b"data")), "/holey: expected zeros from byte "),
    ];
    for (tree, expected) in cases {
        let report = verify_tree(&image, ROOT_AT, &tree, Depth::All, &Cancel::new()).unwrap();
        assert_eq!(report.count, 1, "{expected}: {report:?}");
        let error = report.into_result().unwrap_err();
        assert_eq!(error.class(), Class::Integrity);
        assert!(error.to_string().contains(expected), "{error} has no {expected:?}");
    }
}

/// An image in memory.
struct Held(Vec<u8>);

impl ReadAt for Held {
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> std::io::Result<()> {
        let there = self.0.get(offset as usize..offset as usize + into.len());
        into.copy_from_slice(there.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn size(&self) -> std::io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

#[test]
fn contents_are_read_as_deep_as_was_asked() {
    let Bed { image, tree, _dir } = bed();
    let bytes = std::fs::read(&image).unwrap();
    let (small, large) = ("many/file-123", "etc/deep/er/library");
    for (name, layer, all, role, few) in
        [(small, Layer::Base, 1, 0, 0), (small, Layer::Role, 1, 1, 1), (large, Layer::Base, 1, 0, 0), (large, Layer::Role, 1, 1, 0)]
    {
        let mut wrong = tree.clone();
        let mut node = wrong.get(&TreePath::fixed(name)).unwrap().clone();
        let Kind::File(content) = &node.kind else { panic!("{name} is a file") };
        node.kind = Kind::File(Content::Blob { digest: Sha256::of(b"other"), size: content.size() });
        node.layer = layer;
        wrong.remove(&TreePath::fixed(name));
        wrong.insert(TreePath::fixed(name), node).unwrap();
        for (depth, expected) in [(Depth::All, all), (Depth::Role, role), (Depth::Small, few)] {
            let open = Image::over(Held(bytes.clone()), "held".to_owned()).unwrap();
            let report = verify_image(open, ROOT_AT, &wrong, depth, &Cancel::new()).unwrap();
            assert_eq!(report.count, expected, "{name} of {layer:?}, {depth:?}: {report:?}");
        }
    }
    // An image that is shorter than its header says.
    let error = Image::over(Held(bytes[..100_000].to_vec()), "held".to_owned()).map(drop).unwrap_err();
    assert_eq!((error.class(), error.message()), (Class::Integrity, "cannot read the image held"));
}

#[test]
fn no_filesystem_and_a_stop_are_errors() {
    let Bed { image, tree, _dir } = bed();
    let error = verify_tree(&image, 2 << 20, &tree, Depth::All, &Cancel::new()).unwrap_err();
    assert!(error.message().contains("cannot read the ext4 at byte 2097152"), "{error}");
    let error = verify_tree(&image, 1 << 40, &tree, Depth::All, &Cancel::new()).unwrap_err();
    assert!(error.to_string().contains("the disk ends at byte 69206016"), "{error}");
    let cancel = Cancel::new();
    cancel.flag().store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(verify_tree(&image, ROOT_AT, &tree, Depth::All, &cancel).unwrap_err().class(), Class::Interrupted);
}
