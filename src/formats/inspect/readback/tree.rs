//! Compares the ext4 in an image with the tree that it was made from.
//!
//! Compared: names, kinds, modes, owners, modification times, link counts, hard links, link targets, device numbers, extended
//! attributes, and every byte of every file. The reader also checks the filesystem's checksums on its way.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use super::acl;
use crate::common::error::{Error, Result};
use crate::common::tree::{Content, Kind, Layer, Meta, Node, Tree};
use crate::common::value::{Cancel, Hasher, Sha256, TreePath, escape};
use crate::formats::inspect::bytes::{hex, is_zero};
use crate::formats::inspect::disk::{Disk, Part, ReadError};
use crate::formats::inspect::ext::{Ext, LINKS_MAX, Stat};
use crate::formats::inspect::filesystem::{self, Filesystem as _, Stream, Walk};
use crate::formats::inspect::qcow2::Image;

/// Number of differences that a report keeps; it counts the others.
const SHOWN: usize = 20;
/// Files of fewer bytes are small.
const SMALL: u64 = 1 << 20;
/// Bytes of a file that are read at a time.
const CHUNK: usize = 64 << 10;
/// Bytes of an attribute's value that a difference shows.
const VALUE_SHOWN: usize = 32;
/// The folder that every ext4 has, in the tree or not.
const LOST_FOUND: &[u8] = b"lost+found";

/// One difference between filesystem and tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The path in the tree or in the filesystem.
    pub path: TreePath,
    /// The field, with the expected value and the one that was found.
    pub what: String,
}

/// The extent of a comparison, and its differences.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Names in the filesystem, the root included.
    pub entries: u64,
    /// Bytes of file contents that were read and compared. A file with several names counts once.
    pub bytes: u64,
    /// Number of differences.
    pub count: u64,
    /// The first differences, in the order of paths.
    pub differences: Vec<Difference>,
}

impl VerifyReport {
    /// Turns a report with differences into an integrity error.
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

/// Selects the files whose contents are read back. Names, metadata, sizes and link targets are always compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The role's own files of less than 1 MiB: for an image whose large contents are checked elsewhere.
    Small,
    /// The role's own files: enough to go through every on-disk structure, at little cost.
    Role,
    /// All files.
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
/// A folder `/lost+found` that the tree lacks is no difference: every ext4 has one.
///
/// # Errors
/// An image or filesystem that cannot be read. Differences are part of the report; [`VerifyReport::into_result`] makes them an
/// error.
pub fn verify_tree(path: &Path, offset: u64, tree: &Tree, depth: Depth, cancel: &Cancel) -> Result<VerifyReport> {
    verify_image(Image::open(path)?, offset, tree, depth, cancel)
}

/// Does the same as [`verify_tree`], for an open image.
///
/// # Errors
/// The same as [`verify_tree`].
pub(crate) fn verify_image(image: Image, offset: u64, tree: &Tree, depth: Depth, cancel: &Cancel) -> Result<VerifyReport> {
    let name = image.name().to_owned();
    let disk = Disk::over(image);
    verify(&disk, offset, tree, depth, cancel).or_else(|error| {
        let why = error.broken()?;
        Err(Error::integrity(format!("cannot read the ext4 at byte {offset} of {name}")).detail(why))
    })
}

fn verify(disk: &Disk, offset: u64, tree: &Tree, depth: Depth, cancel: &Cancel) -> Result<VerifyReport, ReadError> {
    let size = disk.size().checked_sub(offset);
    let size = size.ok_or_else(|| ReadError::Broken(format!("the disk ends at byte {}", disk.size())))?;
    let fs = Ext::open_checked(Part { disk, start: offset, size })?;
    if let Some(warning) = fs.warning() {
        return Err(ReadError::Broken(warning));
    }
    let mut check =
        Check { fs: &fs, tree, depth, cancel, links: link_counts(tree), inodes: Inodes::default(), report: VerifyReport::default() };
    check.add_lost_found()?;
    check.run()?;
    Ok(check.report)
}

/// The comparison. Tree and filesystem are walked side by side: both give a folder before its contents, names sorted by bytes.
struct Check<'a> {
    fs: &'a Ext<'a>,
    tree: &'a Tree,
    depth: Depth,
    cancel: &'a Cancel,
    /// Expected link counts, of files by the path that their hard links point at.
    links: BTreeMap<TreePath, u64>,
    inodes: Inodes,
    report: VerifyReport,
}

impl Check<'_> {
    /// The root's link count includes a `/lost+found` that the tree lacks.
    fn add_lost_found(&mut self) -> Result<(), ReadError> {
        let in_tree = TreePath::parse(LOST_FOUND, false).is_ok_and(|path| self.tree.get(&path).is_some());
        let is_it = |(name, node): &(Vec<u8>, filesystem::Node)| name == LOST_FOUND && node.kind == filesystem::Kind::Folder;
        if !in_tree && self.fs.list(&self.fs.root()?)?.iter().any(is_it) {
            *self.links.entry(TreePath::root()).or_default() += 1;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), ReadError> {
        let mut expected = self.tree.iter().peekable();
        let mut walk = Walk::new(self.fs, self.cancel)?;
        while let Some((name, found)) = walk.next()? {
            let path = TreePath::parse(&name, false)
                .map_err(|why| Error::integrity("the image's filesystem has a name that no tree can have").detail(why))?;
            while let Some((missing, _)) = expected.next_if(|(next, _)| **next < path) {
                self.report.differs(missing, "is missing".into());
            }
            self.report.entries += 1;
            match expected.next_if(|(next, _)| **next == path) {
                Some((_, node)) => self.entry(&path, node, &found)?,
                None if path.as_bytes() == LOST_FOUND && found.kind == filesystem::Kind::Folder => {}
                None => self.report.differs(&path, "is not in the tree".into()),
            }
        }
        for (missing, _) in expected {
            self.report.differs(missing, "is missing".into());
        }
        Ok(())
    }

    /// Compares one path. An inode that was compared under another of its names is not compared again.
    fn entry(&mut self, path: &TreePath, node: &Node, found: &filesystem::Node) -> Result<(), ReadError> {
        // A tree is sound: a hard link's target is in it.
        let (file, node) = match &node.kind {
            Kind::HardLink(target) => (target, self.tree.get(target).unwrap_or(node)),
            _ => (path, node),
        };
        if found.kind != filesystem::Kind::Folder {
            match self.inodes.meet(file, found.id) {
                Met::First => {}
                Met::Again => return Ok(()),
                Met::Differs(what) => self.report.differs(path, what),
            }
        }
        let differences = [
            stat_differences(&node.meta, self.links(file, node), &self.fs.stat(found)),
            attribute_differences(&node.meta, self.fs.attributes(found)?),
            self.kind_difference(node, found)?.into_iter().collect(),
        ];
        for what in differences.into_iter().flatten() {
            self.report.differs(path, what);
        }
        Ok(())
    }

    /// The link count that a node must have.
    fn links(&self, path: &TreePath, node: &Node) -> u64 {
        let own = if node.kind == Kind::Dir { 2 } else { 1 };
        match own + self.links.get(path).copied().unwrap_or(0) {
            // Linux stops counting a folder's subfolders there.
            count if count > LINKS_MAX && node.kind == Kind::Dir => 1,
            count => count,
        }
    }

    fn kind_difference(&mut self, node: &Node, found: &filesystem::Node) -> Result<Option<String>, ReadError> {
        let expected = kind_of(&node.kind);
        if Some(found.kind) != expected {
            let expected = expected.map_or("hard link", filesystem::Kind::word);
            return Ok(Some(format!("expected a {expected}, found a {}", found.kind.word())));
        }
        match &node.kind {
            Kind::Symlink(target) => {
                let content = self.fs.content(found)?;
                let link = content.head(self.fs.part(), found.size, filesystem::PATH_MAX)?;
                Ok((link != *target).then(|| format!("expected target {}, found {}", escape(target), escape(&link))))
            }
            Kind::File(content) if content.size() != found.size => {
                Ok(Some(format!("expected {} bytes, found {}", content.size(), found.size)))
            }
            Kind::File(content) if self.depth.covers(node.layer, content) => self.content_difference(content, found),
            Kind::CharDev { major, minor } | Kind::BlockDev { major, minor } => {
                let device = self.fs.stat(found).device;
                let differs = device != Some((*major, *minor));
                let shown = device.map_or("none".into(), |(major, minor)| format!("{major}:{minor}"));
                Ok(differs.then(|| format!("expected device {major}:{minor}, found {shown}")))
            }
            _ => Ok(None),
        }
    }

    /// Reads a file once: hashes each stretch that has a digest, and expects zeros elsewhere. The sizes are equal.
    fn content_difference(&mut self, content: &Content, found: &filesystem::Node) -> Result<Option<String>, ReadError> {
        let place = self.fs.content(found)?;
        let mut stream = Stream::new(self.fs.part(), &place, found.size);
        let mut buffer = vec![0; CHUNK];
        for (start, len, digest) in stretches(content) {
            while stream.at() < start {
                self.cancel.check()?;
                let at = stream.at();
                let step = (start - at).min(CHUNK as u64) as usize;
                stream.read_exact(&mut buffer[..step])?;
                if !is_zero(&buffer[..step]) {
                    return Ok(Some(format!("expected zeros from byte {at} to {start}")));
                }
            }
            let Some(digest) = digest else { continue };
            let mut hasher = Hasher::new();
            while stream.at() < start + len {
                self.cancel.check()?;
                let step = (start + len - stream.at()).min(CHUNK as u64) as usize;
                stream.read_exact(&mut buffer[..step])?;
                hasher.update(&buffer[..step]);
            }
            let hash = hasher.finish();
            if hash != digest {
                return Ok(Some(format!("expected {digest:?}, found {hash:?}, for {len} bytes from byte {start}")));
            }
        }
        self.report.bytes += stream.at();
        Ok(None)
    }
}

/// The inodes that were met: names of one file must share one inode, other names must not.
#[derive(Default)]
struct Inodes {
    file_of: BTreeMap<u64, TreePath>,
    inode_of: BTreeMap<TreePath, u64>,
}

/// The outcome of [`Inodes::meet`].
enum Met {
    First,
    Again,
    Differs(String),
}

impl Inodes {
    /// Notes that a name of `file` leads to `inode`.
    fn meet(&mut self, file: &TreePath, inode: u64) -> Met {
        let known = match self.inode_of.entry(file.clone()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(free) => *free.insert(inode),
        };
        match self.file_of.entry(inode) {
            Entry::Occupied(other) if other.get() != file => {
                Met::Differs(format!("is a hard link of {}, which the tree does not have", other.get()))
            }
            Entry::Occupied(_) => Met::Again,
            Entry::Vacant(_) if known != inode => {
                Met::Differs(format!("expected a hard link of {file} (inode {known}), found inode {inode}"))
            }
            Entry::Vacant(free) => {
                free.insert(file.clone());
                Met::First
            }
        }
    }
}

/// The links to add to each path's own: a folder's subfolders, and a file's hard links.
fn link_counts(tree: &Tree) -> BTreeMap<TreePath, u64> {
    let mut counts = BTreeMap::new();
    for (path, node) in tree.iter() {
        let linked = match &node.kind {
            Kind::Dir => path.parent(),
            Kind::HardLink(target) => Some(target.clone()),
            _ => None,
        };
        if let Some(linked) = linked {
            *counts.entry(linked).or_default() += 1;
        }
    }
    counts
}

/// The stretches of a file that have a digest, and its end without one: start and length in bytes. Zeros lie between them.
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

fn stat_differences(expected: &Meta, links: u64, found: &Stat) -> Vec<String> {
    let mut differences = Vec::new();
    if expected.mode != found.mode {
        differences.push(format!("expected mode {:04o}, found {:04o}", expected.mode, found.mode));
    }
    if (expected.uid, expected.gid) != (found.uid, found.gid) {
        differences.push(format!("expected owner {}:{}, found {}:{}", expected.uid, expected.gid, found.uid, found.gid));
    }
    if expected.mtime != found.mtime {
        differences.push(format!("expected time {}, found {}", expected.mtime, found.mtime));
    }
    if links != u64::from(found.links) {
        differences.push(format!("expected link count {links}, found {}", found.links));
    }
    differences
}

fn attribute_differences(expected: &Meta, found: Vec<filesystem::Attribute>) -> Vec<String> {
    let mut differences = Vec::new();
    let mut values = BTreeMap::new();
    for attribute in found {
        if let Some(earlier) = values.insert(attribute.name.clone(), attribute.value) {
            differences.push(format!("attribute {}: found twice, also as {}", attribute.name, shown(&earlier)));
        }
    }
    for (name, value) in &expected.xattrs {
        let name = escape(name);
        match values.remove(&name) {
            None => differences.push(format!("the attribute {name} is missing")),
            Some(other) if !is_value(&name, value, &other) => {
                differences.push(format!("attribute {name}: expected {}, found {}", shown(value), shown(&other)));
            }
            Some(_) => {}
        }
    }
    differences.extend(values.keys().map(|name| format!("the attribute {name} is not in the tree")));
    differences
}

fn is_value(name: &str, expected: &[u8], found: &[u8]) -> bool {
    match acl::is_list(name) {
        true => acl::stored(found).is_some_and(|found| acl::shown(expected) == Some(found)),
        false => expected == found,
    }
}

fn shown(value: &[u8]) -> String {
    match value.len() {
        0 => "no bytes".into(),
        len if len <= VALUE_SHOWN => hex(value),
        len => format!("{}… of {len} bytes", hex(&value[..VALUE_SHOWN])),
    }
}

/// The kind that the filesystem has for a node; none for a hard link, which stands for its target.
fn kind_of(kind: &Kind) -> Option<filesystem::Kind> {
    Some(match kind {
        Kind::Dir => filesystem::Kind::Folder,
        Kind::File(_) => filesystem::Kind::File,
        Kind::Symlink(_) => filesystem::Kind::Symlink,
        Kind::CharDev { .. } => filesystem::Kind::CharDevice,
        Kind::BlockDev { .. } => filesystem::Kind::BlockDevice,
        Kind::Fifo => filesystem::Kind::Fifo,
        Kind::Socket => filesystem::Kind::Socket,
        Kind::HardLink(_) => return None,
    })
}
