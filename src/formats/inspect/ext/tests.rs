//! The reader beside the `ext4-view` crate, a reference, on filesystems of the writer; and damage that checksums show.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{Ext, Stat};
use crate::common::testing::Blobs;
use crate::common::tree::{self, Layer, Meta, Node, Segment, Tree};
use crate::common::value::{Cancel, Epoch, Sha256, TreePath};
use crate::formats::disk::ext4::{Params, Size, layout};
use crate::formats::disk::raw;
use crate::formats::disk::testing;
use crate::formats::inspect::disk::{Disk, Part, ReadError};
use crate::formats::inspect::filesystem::{Filesystem as _, Kind, PATH_MAX, Walk};

const TIME: i64 = 1_700_000_000;
/// The value of `security.capability` for `cap_net_raw+ep`.
pub(crate) const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A tree with its contents.
pub(crate) struct Sample {
    pub tree: Tree,
    pub source: Blobs,
}

impl Sample {
    fn add(&mut self, path: &str, meta: Meta, kind: tree::Kind) {
        self.tree.insert(TreePath::fixed(path), Node { meta, kind, layer: Layer::Role }).unwrap();
    }

    fn plain(&mut self, path: &str, kind: tree::Kind) {
        self.add(path, Meta::new(0o755, 0, 0, TIME), kind);
    }

    fn blob(&mut self, bytes: Vec<u8>) -> tree::Kind {
        let size = bytes.len() as u64;
        tree::Kind::File(tree::Content::Blob { digest: self.source.add(bytes), size })
    }

    fn segment(&mut self, offset: u64, bytes: Vec<u8>) -> Segment {
        let size = bytes.len() as u64;
        Segment { offset, digest: self.source.add(bytes), size }
    }
}

/// A tree with every kind of node, attributes in inodes and blocks, an indexed folder, and a file with an extent tree.
pub(crate) fn sample() -> Sample {
    let mut sample = Sample { tree: Tree::new(Meta::new(0o755, 0, 0, TIME)), source: Blobs::default() };
    for folder in ["bin", "dev", "etc", "many", "var"] {
        sample.plain(folder, tree::Kind::Dir);
    }
    let program = sample.blob(testing::noise(7, 70_000));
    for name in ["bin/a", "bin/c"] {
        sample.plain(name, program.clone());
    }
    sample.plain("bin/b", tree::Kind::HardLink(TreePath::fixed("bin/a")));
    let mut capable = Meta::new(0o755, 0, 0, TIME);
    capable.xattrs.insert(b"security.capability".to_vec(), CAPABILITY.to_vec());
    sample.add("bin/ping", capable, program);
    sample.plain("dev/null", tree::Kind::CharDev { major: 1, minor: 3 });
    sample.plain("dev/wide", tree::Kind::BlockDev { major: 259, minor: 70_000 });
    sample.plain("dev/pipe", tree::Kind::Fifo);
    sample.plain("dev/log", tree::Kind::Socket);
    sample.plain("etc/short", tree::Kind::Symlink(b"../bin/a".to_vec()));
    sample.plain("etc/long", tree::Kind::Symlink(b"far/".repeat(500)));
    sample.plain("etc/empty", tree::Kind::File(tree::Content::Inline((*b"").into())));
    let mut shared = Meta::new(0o4640, 4711, 70_000, TIME + 1);
    let list =
        [&[2, 0, 0, 0, 1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 4, 0][..], &4711u32.to_le_bytes(), &[4, 0, 4, 0, 0xff, 0xff, 0xff, 0xff]];
    shared.xattrs.insert(b"system.posix_acl_access".to_vec(), list.concat());
    shared.xattrs.insert(b"user.large".to_vec(), testing::noise(3, 1000));
    sample.add("etc/shared", shared, tree::Kind::File(tree::Content::Inline((*b"line\n").into())));
    for number in 0..1500 {
        let text = number.to_string().into_bytes();
        sample.plain(&format!("many/file-{number}"), tree::Kind::File(tree::Content::Inline(text.into())));
    }
    let segments: Vec<Segment> = (0..9).map(|at| sample.segment(at << 20, testing::noise(at + 20, 5000))).collect();
    sample.plain("var/sparse", tree::Kind::File(tree::Content::Sparse { size: 20 << 20, segments }));
    sample
}

/// The writer's filesystem for a tree, as a file.
pub(crate) fn written(dir: &Path, sample: &Sample) -> PathBuf {
    let params = Params {
        uuid: *b"kbake inspection",
        label: "root".to_owned(),
        hash_seed: *b"seed of the hash",
        epoch: Epoch::from_seconds(TIME).unwrap(),
        size: Size::Fit { slack: 0, room: 2000 << 20 },
        journal_blocks: 1024,
    };
    let path = dir.join("ext4.raw");
    let pieces = layout(&sample.tree, &sample.tree, &params).unwrap();
    raw::write(&pieces, &sample.source, &mut File::create(&path).unwrap(), &Cancel::new()).unwrap();
    path
}

struct Reference(File);

impl ext4_view::Ext4Read for Reference {
    fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.read_exact_at(buffer, at)?)
    }
}

fn kind_of(found: &ext4_view::Metadata) -> Kind {
    match found.file_type() {
        ext4_view::FileType::Directory => Kind::Folder,
        ext4_view::FileType::Regular => Kind::File,
        ext4_view::FileType::Symlink => Kind::Symlink,
        ext4_view::FileType::CharacterDevice => Kind::CharDevice,
        ext4_view::FileType::BlockDevice => Kind::BlockDevice,
        ext4_view::FileType::Fifo => Kind::Fifo,
        ext4_view::FileType::Socket => Kind::Socket,
    }
}

/// A callback for each inode: the filesystem, the path, the inode, its contents.
type Look<'a> = dyn FnMut(&Ext<'_>, &[u8], &crate::formats::inspect::filesystem::Node, Vec<u8>) + 'a;

/// Opens the filesystem, and reads all that is in it: names, metadata, attributes, contents.
fn read(path: &Path, look: &mut Look<'_>) -> Result<(), ReadError> {
    let disk = Disk::open(path).unwrap();
    let ext = Ext::open_checked(Part { disk: &disk, start: 0, size: disk.size() })?;
    let cancel = Cancel::new();
    let mut walk = Walk::new(&ext, &cancel)?;
    while let Some((path, node)) = walk.next()? {
        ext.attributes(&node)?;
        let content = ext.content(&node)?;
        let most = if node.kind == Kind::Symlink { PATH_MAX } else { usize::MAX };
        let bytes = if matches!(node.kind, Kind::File | Kind::Symlink) { content.head(ext.part(), node.size, most)? } else { Vec::new() };
        look(&ext, &path, &node, bytes);
    }
    Ok(())
}

#[test]
fn the_reader_agrees_with_ext4_view() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), &sample());
    let reference = ext4_view::Ext4::load(Box::new(Reference(File::open(&path).unwrap()))).unwrap();
    let mut count = 0;
    let result = read(&path, &mut |ext, name, node, bytes| {
        let shown = String::from_utf8_lossy(name).into_owned();
        let absolute = [b"/", name].concat();
        let name = ext4_view::Path::try_from(absolute.as_slice()).unwrap();
        let found = reference.symlink_metadata(name).unwrap();
        let Stat { mode, uid, gid, mtime, .. } = ext.stat(node);
        assert_eq!((mode, uid, gid, mtime), (found.mode(), found.uid(), found.gid(), found.modified().seconds()), "{shown}");
        assert_eq!(node.kind, kind_of(&found), "{shown}");
        match node.kind {
            Kind::File => assert!(bytes == reference.read(name).unwrap(), "{shown}: contents"),
            Kind::Symlink => assert_eq!(bytes, reference.read_link(name).unwrap().as_ref(), "{shown}"),
            Kind::Folder => {
                let names: BTreeSet<Vec<u8>> = ext.list(node).unwrap().into_iter().map(|(name, _)| name).collect();
                let others = reference.read_dir(name).unwrap().map(|entry| entry.unwrap().file_name().as_ref().to_vec());
                let others: BTreeSet<Vec<u8>> = others.filter(|name| name != b"." && name != b"..").collect();
                assert_eq!(names, others, "{shown}");
            }
            _ => {}
        }
        count += 1;
    });
    assert!(result.is_ok());
    assert_eq!(count, sample().tree.len() + 1, "the tree and lost+found");
}

/// The offset of the only place with these bytes.
fn place(image: &[u8], wanted: &[u8]) -> usize {
    let mut found = image.windows(wanted.len()).enumerate().filter(|(_, window)| *window == wanted).map(|(at, _)| at);
    found.next().expect("the bytes are in the image")
}

#[test]
fn damaged_metadata_does_not_match_its_checksum() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), &sample());
    let image = std::fs::read(&path).unwrap();
    let inode = testing::run("debugfs", &[&"-R", &"imap /bin/ping", &path]);
    let (block, offset) = inode.split_once("at block ").and_then(|(_, rest)| rest.split_once(", offset 0x")).unwrap();
    let inode = block.parse::<usize>().unwrap() * 4096 + usize::from_str_radix(offset.trim(), 16).unwrap();
    let blocks = || image.chunks_exact(4096).enumerate();
    let leaf = blocks().find(|(_, block)| block.starts_with(&[0x0a, 0xf3, 9])).map(|(at, _)| at * 4096).expect("a block of extents");
    // The root of an index: `.` and `..`, then a record of eight bytes.
    let root = |block: &[u8]| block[4..7] == [12, 0, 1] && block[12 + 4..12 + 6] == 4084u16.to_le_bytes() && block[29] == 8;
    let index = blocks().find(|(_, block)| root(block)).map(|(at, _)| at * 4096).expect("an indexed folder");
    let cases = [
        (1024 + 376, "the checksum of the superblock"),
        (4096 + 12, "the checksum of group 0"),
        (inode + 8, "the checksum of inode"),
        (inode + 200, "the checksum of inode"),
        (leaf + 30, "the checksum of a block of an extent tree"),
        (index + 40, "the checksum of a block of the folder"),
        (place(&image, b"file-1234") + 8, "the checksum of a block of the folder"),
        (place(&image, b"ping") + 1, "the checksum of a block of the folder"),
        (place(&image, &testing::noise(3, 1000)), "the checksum of the attributes in block"),
    ];
    let file = File::options().write(true).open(&path).unwrap();
    for (at, expected) in cases {
        file.write_all_at(&[image[at] ^ 0x10], at as u64).unwrap();
        match read(&path, &mut |_, _, _, _| ()) {
            Err(ReadError::Broken(why)) => assert!(why.starts_with(expected), "byte {at}: expected {expected}, found {why}"),
            _ => panic!("byte {at}: expected {expected}"),
        }
        file.write_all_at(&[image[at]], at as u64).unwrap();
    }
    assert!(read(&path, &mut |_, _, _, _| ()).is_ok(), "the undamaged image");
    assert_eq!(Sha256::of(std::fs::read(&path).unwrap()), Sha256::of(&image));
}
