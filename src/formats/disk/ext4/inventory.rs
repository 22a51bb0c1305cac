//! The inventory: the inodes of a tree and what each needs, independent of the disk's size. The first step of the
//! layout.

use std::ops::Range;

use crate::common::error::{Error, Result};
use crate::common::tree::{Content, Kind, Layer, Meta, Node, Tree};
use crate::common::value::{Epoch, TreePath};

use super::block::BLOCK;
use super::content;
use super::directory::Shape;
use super::dirent::Entry;
use super::dirhash::DirHash;
use super::inode::{self, Type};
use super::xattr::Attributes;

/// The most hard links of a file and the most links that a directory counts (`EXT4_LINK_MAX`).
const MAX_LINKS: u32 = 65_000;
/// Blocks of lost+found: space that e2fsck can use on a full disk.
const LOST_FOUND_BLOCKS: u64 = 4;
/// The longest symlink target stored in the inode, in bytes.
const MAX_SHORT_LINK: usize = 59;

/// All inodes of a tree, and the files of the base below it.
pub(super) struct Inventory<'a> {
    /// The inodes in path order, the root first.
    pub items: Vec<Item<'a>>,
    /// The base's files in path order, including files that the tree no longer has.
    pub base: Vec<BaseFile>,
}

/// A file of the base.
pub(super) struct BaseFile {
    /// The file's blocks, without holes.
    pub runs: Vec<Range<u64>>,
    /// The index in `items` of the inode with the same contents at the same path, if there is one.
    pub item: Option<usize>,
}

/// An inode and what it needs.
pub(super) struct Item<'a> {
    /// The inode number.
    pub inode: u32,
    /// Owner, permissions, time.
    pub meta: &'a Meta,
    /// `i_links_count`.
    pub links: u16,
    /// File type.
    pub kind: Type,
    /// Extended attributes.
    pub xattrs: Attributes,
    /// The inode's contents.
    pub body: Body<'a>,
}

/// The contents of an inode.
pub(super) enum Body<'a> {
    /// A directory's entries.
    Dir {
        /// The inode number of the parent directory.
        parent: u32,
        /// Entries in name order, without `.` and `..`.
        entries: Vec<Entry<'a>>,
        /// The layout of the entries over blocks.
        shape: Shape,
    },
    /// A regular file.
    File {
        /// The file's bytes.
        content: &'a Content,
        /// The file's blocks, without holes.
        runs: Vec<Range<u64>>,
        /// The base has the same contents at the same path.
        in_base: bool,
    },
    /// A symlink target that needs a block.
    LongLink(&'a [u8]),
    /// A symlink target stored in the inode.
    ShortLink(&'a [u8]),
    /// No blocks: these bytes stand in place of the block map.
    Special([u8; 60]),
}

/// The lost+found directory for a tree that has none.
pub(super) fn lost_found(epoch: Epoch) -> (TreePath, Node) {
    let meta = Meta::new(0o700, 0, 0, epoch.seconds().into());
    (TreePath::fixed("lost+found"), Node { meta, kind: Kind::Dir, layer: Layer::Base })
}

impl<'a> Inventory<'a> {
    /// Takes the inventory of `tree` and of the files of `base`; `lost` is used if the tree has no lost+found.
    pub(super) fn of(tree: &'a Tree, base: &Tree, lost: &'a (TreePath, Node), hash_seed: [u8; 16]) -> Result<Inventory<'a>> {
        let listing = Listing::of(tree, lost)?;
        let hash = DirHash::new(hash_seed);
        let mut inventory = Inventory { items: Vec::with_capacity(listing.nodes.len()), base: Vec::new() };
        let mut below = base.iter().peekable();
        for (at, (path, node)) in listing.nodes.iter().enumerate() {
            while let Some((gone, node)) = below.next_if(|(other, _)| other < path) {
                inventory.push_base(gone, node, None)?;
            }
            let under = below.next_if(|(other, _)| other == path).map(|(_, node)| node);
            let unchanged = under.is_some_and(|under| under.kind == node.kind);
            if let Some(under) = under {
                inventory.push_base(path, under, unchanged.then_some(inventory.items.len()))?;
            }
            if !matches!(node.kind, Kind::HardLink(_)) {
                inventory.items.push(listing.item(at, unchanged, hash)?);
            }
        }
        below.try_for_each(|(gone, node)| inventory.push_base(gone, node, None))?;
        Ok(inventory)
    }

    fn push_base(&mut self, path: &TreePath, node: &Node, item: Option<usize>) -> Result<()> {
        if let Kind::File(content) = &node.kind {
            self.base.push(BaseFile { runs: content::runs(path, content)?, item });
        }
        Ok(())
    }

    /// The highest inode in use; all below it are in use or reserved.
    pub(super) fn last_inode(&self) -> u32 {
        // The root is one of the ten reserved inodes.
        (self.items.len() + 9) as u32
    }

    /// The number of inodes that the filesystem must have: those of the tree and a quarter more.
    pub(super) fn inodes_wanted(&self) -> u64 {
        u64::from(self.last_inode()) * 5 / 4
    }
}

/// A tree as a list, with the relations between its nodes.
struct Listing<'a> {
    /// All nodes in path order.
    nodes: Vec<(&'a TreePath, &'a Node)>,
    /// The inode of each node; a hard link has its target's.
    inodes: Vec<u32>,
    /// The index of each node's directory; the root is its own.
    parents: Vec<usize>,
    /// The indexes of each directory's children, in name order.
    children: Vec<Vec<usize>>,
    /// The number of names of each file, counted at its first path (the node that is not a hard link).
    names: Vec<u32>,
    /// The index of lost+found.
    lost: usize,
}

impl<'a> Listing<'a> {
    fn of(tree: &'a Tree, lost: &'a (TreePath, Node)) -> Result<Self> {
        let mut nodes: Vec<_> = tree.iter().collect();
        let lost_at = match nodes.binary_search_by(|(path, _)| (*path).cmp(&lost.0)) {
            Ok(at) => at,
            Err(at) => {
                nodes.insert(at, (&lost.0, &lost.1));
                at
            }
        };
        if nodes[lost_at].1.kind != Kind::Dir {
            return Err(Error::user(format!("{} must be a folder: e2fsck puts recovered files there", lost.0)));
        }
        let count = nodes.len();
        let mut listing = Listing {
            nodes,
            inodes: vec![0; count],
            parents: vec![0; count],
            children: vec![Vec::new(); count],
            names: vec![1; count],
            lost: lost_at,
        };
        listing.find_parents();
        listing.number()?;
        Ok(listing)
    }

    /// Finds each node's directory: the last directory before it in path order that contains it.
    fn find_parents(&mut self) {
        let mut open = vec![0];
        for at in 1..self.nodes.len() {
            while open.last().is_some_and(|&top: &usize| !self.nodes[at].0.is_within(self.nodes[top].0)) {
                open.pop();
            }
            let parent = open.last().copied().unwrap_or(0);
            self.parents[at] = parent;
            self.children[parent].push(at);
            if self.nodes[at].1.kind == Kind::Dir {
                open.push(at);
            }
        }
    }

    fn number(&mut self) -> Result<()> {
        let mut next = inode::LOST_FOUND + 1;
        for at in 0..self.nodes.len() {
            if matches!(self.nodes[at].1.kind, Kind::HardLink(_)) {
                continue;
            }
            self.inodes[at] = match at {
                0 => inode::ROOT,
                _ if at == self.lost => inode::LOST_FOUND,
                _ => {
                    next += 1;
                    next - 1
                }
            };
        }
        for at in 0..self.nodes.len() {
            let Kind::HardLink(target) = &self.nodes[at].1.kind else { continue };
            let file = self.nodes.binary_search_by(|(path, _)| (*path).cmp(target));
            let file = file.map_err(|_| Error::internal(format!("{}: a hard link to {target}, which does not exist", self.nodes[at].0)))?;
            self.inodes[at] = self.inodes[file];
            self.names[file] += 1;
        }
        Ok(())
    }

    fn item(&self, at: usize, in_base: bool, hash: DirHash) -> Result<Item<'a>> {
        let (path, node) = self.nodes[at];
        if !inode::time_fits(node.meta.mtime) {
            return Err(Error::user(format!("{path}: ext4 cannot store the time {}", node.meta.mtime))
                .detail("expected seconds since 1970 between the years 1901 and 2446"));
        }
        let (kind, body) = match &node.kind {
            Kind::Dir => (Type::Dir, self.directory(at, hash)?),
            Kind::File(content) => (Type::File, Body::File { content, runs: content::runs(path, content)?, in_base }),
            Kind::Symlink(target) => (Type::Symlink, link(path, target)?),
            Kind::CharDev { major, minor } => (Type::CharDev, device(path, *major, *minor)?),
            Kind::BlockDev { major, minor } => (Type::BlockDev, device(path, *major, *minor)?),
            Kind::Fifo => (Type::Fifo, Body::Special([0; 60])),
            Kind::Socket => (Type::Socket, Body::Special([0; 60])),
            Kind::HardLink(_) => return Err(Error::internal(format!("{path}: a hard link has no inode of its own"))),
        };
        Ok(Item {
            inode: self.inodes[at],
            meta: &node.meta,
            links: self.links(at)?,
            kind,
            xattrs: Attributes::of(path, &node.meta.xattrs)?,
            body,
        })
    }

    /// The link count: the names of a file; for a directory its own two and one for each subdirectory, or 1 when they
    /// are too many to count (dir_nlink).
    fn links(&self, at: usize) -> Result<u16> {
        if self.nodes[at].1.kind == Kind::Dir {
            let dirs = self.children[at].iter().filter(|&&child| self.nodes[child].1.kind == Kind::Dir).count();
            let links = u32::try_from(dirs).unwrap_or(u32::MAX).saturating_add(2);
            return Ok(if links > MAX_LINKS { 1 } else { links as u16 });
        }
        let links = self.names[at];
        if links > MAX_LINKS {
            return Err(Error::user(format!("{} has too many hard links for ext4", self.nodes[at].0))
                .detail(format!("found {links} names, {MAX_LINKS} are allowed")));
        }
        Ok(links as u16)
    }

    fn directory(&self, at: usize, hash: DirHash) -> Result<Body<'a>> {
        let entry = |&child: &usize| Entry { name: self.nodes[child].0.name(), inode: self.inodes[child], kind: self.kind(child) };
        let path = self.nodes[at].0;
        let entries: Vec<Entry> = self.children[at].iter().map(entry).collect();
        let least = if at == self.lost { LOST_FOUND_BLOCKS } else { 1 };
        let shape = Shape::of(path, &entries, hash, least)?;
        let parent = self.inodes[self.parents[at]];
        Ok(Body::Dir { parent, entries, shape })
    }

    /// The node's file type; the target of a hard link is always a regular file.
    fn kind(&self, at: usize) -> Type {
        match &self.nodes[at].1.kind {
            Kind::Dir => Type::Dir,
            Kind::File(_) | Kind::HardLink(_) => Type::File,
            Kind::Symlink(_) => Type::Symlink,
            Kind::CharDev { .. } => Type::CharDev,
            Kind::BlockDev { .. } => Type::BlockDev,
            Kind::Fifo => Type::Fifo,
            Kind::Socket => Type::Socket,
        }
    }
}

fn link<'a>(path: &TreePath, target: &'a [u8]) -> Result<Body<'a>> {
    if target.is_empty() || target.len() >= BLOCK || target.contains(&0) {
        return Err(Error::user(format!("{path}: ext4 cannot store this symlink's target")).detail(format!(
            "found {} bytes; expected 1 to {}, none of them NUL",
            target.len(),
            BLOCK - 1
        )));
    }
    Ok(if target.len() <= MAX_SHORT_LINK { Body::ShortLink(target) } else { Body::LongLink(target) })
}

fn device<'a>(path: &TreePath, major: u32, minor: u32) -> Result<Body<'a>> {
    let map = inode::device(major, minor);
    map.map(Body::Special).ok_or_else(|| {
        Error::user(format!("{path}: ext4 cannot store the device number {major}:{minor}"))
            .detail("expected a major number below 4096 and a minor one below 1048576")
    })
}
