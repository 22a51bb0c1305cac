//! The ext4 in an image against the tree that it was made from.
//!
//! Compared: names, kinds, modes, owners, times, link targets, every byte of every file. `ext4-view` does not show
//! extended attributes, device numbers or which names are one inode: the writer's own tests see to those with e2fsprogs.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::path::Path;
use std::rc::Rc;

use ext4_view::{Ext4, Ext4Error, Ext4Read, FileType, Metadata};

use super::Image;
use crate::error::{Error, Result};
use crate::tree::{Content, Kind, Layer, Meta, Node, Tree};
use crate::value::{Cancel, Hasher, Sha256, TreePath, escape};

/// Differences that are kept; the rest is only counted.
const SHOWN: usize = 20;

/// Files of fewer bytes are small.
const SMALL: u64 = 1 << 20;

/// One thing that is not as the tree has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub path: TreePath,
    /// What, with expected and found.
    pub what: String,
}

/// What was compared, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Names in the filesystem, the root included.
    pub entries: u64,
    /// Bytes of file contents that were read and compared.
    pub bytes: u64,
    /// How many differences there are.
    pub count: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
}

impl VerifyReport {
    /// Makes a failure of a report with differences.
    pub fn into_result(self) -> Result<Self> {
        if self.count == 0 {
            return Ok(self);
        }
        let mut error = Error::integrity(format!("the image's filesystem differs from its tree in {} places", self.count));
        for Difference { path, what } in &self.differences {
            error = error.detail(format!("{path}: {what}"));
        }
        Err(error)
    }

    fn differs(&mut self, path: &TreePath, what: String) {
        self.count += 1;
        if self.differences.len() < SHOWN {
            self.differences.push(Difference { path: path.clone(), what });
        }
    }
}

/// How much of the contents is read back. Names, kinds, owners, modes, times, sizes and link targets always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The contents of the role's own small files, of less than 1 MiB: for an image whose large contents are checked
    /// elsewhere.
    Small,
    /// The contents of the role's own files: enough to go through every on-disk structure, at little cost.
    Role,
    /// All contents.
    All,
}

impl Depth {
    fn covers(self, layer: Layer, content: &Content) -> bool {
        match self {
            Depth::Small => layer == Layer::Role && content.size() < SMALL,
            Depth::Role => layer == Layer::Role,
            Depth::All => true,
        }
    }
}

/// Compares the ext4 that begins at byte `offset` of the disk in the qcow2 file at `path` with `tree`.
///
/// An empty `/lost+found` that the tree does not have is no difference: every ext4 has one.
///
/// # Errors
/// When image or filesystem cannot be read. Differences are no error, but for [`VerifyReport::into_result`].
pub fn verify_tree(path: &Path, offset: u64, tree: &Tree, depth: Depth, cancel: &Cancel) -> Result<VerifyReport> {
    verify_image(Image::open(path)?, offset, tree, depth, cancel)
}

/// As [`verify_tree`], for an image that is open.
///
/// # Errors
/// As [`verify_tree`].
pub fn verify_image(image: Image, offset: u64, tree: &Tree, depth: Depth, cancel: &Cancel) -> Result<VerifyReport> {
    let name = image.name().to_owned();
    let trouble = Rc::new(RefCell::new(None));
    let partition = PartitionReader { image, offset, trouble: Rc::clone(&trouble) };
    let run = || -> Result<VerifyReport, Ext4OrOwn> {
        let fs = Ext4::load(Box::new(partition))?;
        let mut walk = Walk { fs, tree, depth, cancel, report: VerifyReport::default(), seen: BTreeSet::new() };
        walk.run()?;
        Ok(walk.report)
    };
    run().map_err(|error| match (trouble.take(), error) {
        // The image's own error says more than what ext4-view makes of it.
        (Some(own), _) | (None, Ext4OrOwn::Own(own)) => own,
        (None, Ext4OrOwn::Ext4(e)) => Error::integrity(format!("cannot read the ext4 at byte {offset} of {name}")).detail(e.to_string()),
    })
}

/// An error of the crate or one of ours, on its way up.
enum Ext4OrOwn {
    Ext4(Ext4Error),
    Own(Error),
}

impl From<Ext4Error> for Ext4OrOwn {
    fn from(error: Ext4Error) -> Self {
        Ext4OrOwn::Ext4(error)
    }
}

impl From<Error> for Ext4OrOwn {
    fn from(error: Error) -> Self {
        Ext4OrOwn::Own(error)
    }
}

/// The part of the disk behind `offset`.
struct PartitionReader {
    image: Image,
    offset: u64,
    /// The first error of the image.
    trouble: Rc<RefCell<Option<Error>>>,
}

impl Ext4Read for PartitionReader {
    fn read(&mut self, start_byte: u64, dst: &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync + 'static>> {
        self.image.read_at(self.offset.saturating_add(start_byte), dst).map_err(|error| {
            self.trouble.borrow_mut().get_or_insert_with(|| error.clone());
            error.into()
        })
    }
}

/// The walk through the filesystem, folder by folder.
struct Walk<'a> {
    fs: Ext4,
    tree: &'a Tree,
    depth: Depth,
    cancel: &'a Cancel,
    report: VerifyReport,
    seen: BTreeSet<TreePath>,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), Ext4OrOwn> {
        let root = self.fs.symlink_metadata("/")?;
        self.entry(TreePath::root(), &root)?;
        let mut folders = vec![TreePath::root()];
        while let Some(folder) = folders.pop() {
            for entry in self.fs.read_dir(&absolute(&folder)[..])? {
                let entry = entry?;
                if matches!(entry.file_name().as_ref(), b"." | b"..") {
                    continue;
                }
                let name = entry.path();
                let path = TreePath::parse(name.as_ref(), true)
                    .map_err(|why| Error::integrity("the image's filesystem has a name that no tree can have").detail(why))?;
                let metadata = entry.metadata()?;
                if metadata.is_dir() {
                    folders.push(path.clone());
                }
                self.entry(path, &metadata)?;
            }
        }
        for (path, _) in self.tree.iter() {
            if !self.seen.contains(path) {
                self.report.differs(path, "is missing".into());
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: TreePath, found: &Metadata) -> Result<(), Ext4OrOwn> {
        self.cancel.check()?;
        self.report.entries += 1;
        match resolved(self.tree, &path) {
            None if path.as_bytes() == b"lost+found" && found.is_dir() => {}
            None => self.report.differs(&path, "is not in the tree".into()),
            Some(node) => {
                for what in meta_differences(&node.meta, found) {
                    self.report.differs(&path, what);
                }
                if let Some(what) = self.kind_difference(&path, node, found)? {
                    self.report.differs(&path, what);
                }
            }
        }
        self.seen.insert(path);
        Ok(())
    }

    fn kind_difference(&mut self, path: &TreePath, node: &Node, found: &Metadata) -> Result<Option<String>, Ext4OrOwn> {
        let expected = &node.kind;
        if file_type(expected) != Some(found.file_type()) {
            return Ok(Some(format!("expected {expected:?}, found {:?}", found.file_type())));
        }
        match expected {
            Kind::Symlink(target) => {
                let link = self.fs.read_link(&absolute(path)[..])?;
                let differs = link.as_ref() != &target[..];
                Ok(differs.then(|| format!("expected target {}, found {}", escape(target), escape(link.as_ref()))))
            }
            Kind::File(content) if content.size() != found.len() => {
                Ok(Some(format!("expected {} bytes, found {}", content.size(), found.len())))
            }
            Kind::File(content) if self.depth.covers(node.layer, content) => self.content_difference(path, content),
            _ => Ok(None),
        }
    }

    /// Reads the file once, hashing each stretch that has a digest and looking for bytes where zeros should be.
    fn content_difference(&mut self, path: &TreePath, content: &Content) -> Result<Option<String>, Ext4OrOwn> {
        let mut file = self.fs.open(&absolute(path)[..])?;
        let mut buffer = vec![0; 64 << 10];
        let mut at = 0;
        for (start, len, digest) in stretches(content) {
            while at < start {
                let step = (start - at).min(buffer.len() as u64) as usize;
                let count = file.read_bytes(&mut buffer[..step])?;
                if count == 0 || buffer[..count].iter().any(|&byte| byte != 0) {
                    return Ok(Some(format!("expected zeros from byte {at} to {start}")));
                }
                at += count as u64;
                self.cancel.check()?;
            }
            let Some(digest) = digest else { continue };
            let mut hasher = Hasher::new();
            while at < start + len {
                let step = (start + len - at).min(buffer.len() as u64) as usize;
                let count = file.read_bytes(&mut buffer[..step])?;
                if count == 0 {
                    return Ok(Some(format!("ends at byte {at}")));
                }
                hasher.update(&buffer[..count]);
                at += count as u64;
                self.cancel.check()?;
            }
            let found = hasher.finish();
            if found != digest {
                return Ok(Some(format!("expected {digest:?}, found {found:?}, for {len} bytes from byte {start}")));
            }
        }
        self.report.bytes += at;
        Ok(None)
    }
}

/// The stretches of a file that have a digest, and its end with none: start and length in bytes. What is between is zero.
fn stretches(content: &Content) -> Vec<(u64, u64, Option<Sha256>)> {
    match content {
        Content::Inline(bytes) => vec![(0, bytes.len() as u64, Some(Sha256::of(bytes)))],
        Content::Blob { digest, size } => vec![(0, *size, Some(*digest))],
        Content::Sparse { size, segments } => {
            let data = segments.iter().map(|segment| (segment.offset, segment.size, Some(segment.digest)));
            data.chain([(*size, 0, None)]).collect()
        }
    }
}

/// The node at `path`; a hard link's target in its place.
fn resolved<'a>(tree: &'a Tree, path: &TreePath) -> Option<&'a Node> {
    let node = tree.get(path)?;
    match &node.kind {
        Kind::HardLink(target) => tree.get(target),
        _ => Some(node),
    }
}

fn meta_differences(expected: &Meta, found: &Metadata) -> Vec<String> {
    let mut differences = Vec::new();
    if expected.mode != found.mode() {
        differences.push(format!("expected mode {:04o}, found {:04o}", expected.mode, found.mode()));
    }
    if (expected.uid, expected.gid) != (found.uid(), found.gid()) {
        differences.push(format!("expected owner {}:{}, found {}:{}", expected.uid, expected.gid, found.uid(), found.gid()));
    }
    if expected.mtime != found.modified().seconds() {
        differences.push(format!("expected time {}, found {}", expected.mtime, found.modified().seconds()));
    }
    differences
}

/// The type that the filesystem shows for a node; none for a hard link, which is resolved before.
fn file_type(kind: &Kind) -> Option<FileType> {
    Some(match kind {
        Kind::Dir => FileType::Directory,
        Kind::File(_) => FileType::Regular,
        Kind::Symlink(_) => FileType::Symlink,
        Kind::CharDev { .. } => FileType::CharacterDevice,
        Kind::BlockDev { .. } => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::HardLink(_) => return None,
    })
}

/// The path as the crate wants it.
fn absolute(path: &TreePath) -> Vec<u8> {
    [b"/", path.as_bytes()].concat()
}
