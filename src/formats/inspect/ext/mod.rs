//! ext2, ext3 and ext4: [on-disk format](https://docs.kernel.org/filesystems/ext4/).
//!
//! Reads what Linux reads, with three exceptions, which are named: journals that wait to be replayed, encrypted files, and
//! filesystems whose journal is elsewhere. [`Ext::open`] ignores checksums, [`Ext::open_checked`] refuses metadata that does not
//! match its checksum.

mod attribute;
mod checksum;
mod folder;
mod group;
mod inode;
mod map;
mod superblock;
#[cfg(test)]
pub(crate) mod tests;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;

pub(super) use self::inode::{LINKS_MAX, Stat};
use self::superblock::Superblock;
use super::disk::{Part, ReadError};
use super::filesystem::{Attribute, Content, Filesystem, Kind, Node};

/// The root folder's inode.
const ROOT: u32 = 2;

/// An open filesystem.
pub(super) struct Ext<'a> {
    part: Part<'a>,
    sb: Superblock,
    /// The start of all checksums; none where they are not checked.
    seed: Option<u32>,
    /// The last block bitmap that was read, and its group.
    bitmap: RefCell<Option<(u64, Vec<u8>)>>,
    /// The places of all groups' structures, once they were needed.
    structures: OnceCell<BTreeMap<u64, (u64, &'static str)>>,
    /// The journal's places in the part: start and end in bytes.
    journal: Vec<(u64, u64)>,
}

impl<'a> Ext<'a> {
    /// True when the part begins with an ext superblock.
    pub(super) fn is_in(part: Part<'_>) -> Result<bool, ReadError> {
        Ok(part.has(superblock::AT, superblock::SIZE as u64) && Superblock::has_magic(&part.read(superblock::AT, superblock::SIZE)?))
    }

    /// Opens a filesystem whose checksums are ignored.
    pub(super) fn open(part: Part<'a>) -> Result<Self, ReadError> {
        let bytes = part.read(superblock::AT, superblock::SIZE)?;
        Self::load(part, Superblock::parse(&bytes)?, None)
    }

    /// Opens a filesystem whose metadata checksums are checked wherever it is read, if it has any.
    pub(super) fn open_checked(part: Part<'a>) -> Result<Self, ReadError> {
        let bytes = part.read(superblock::AT, superblock::SIZE)?;
        if !Superblock::has_magic(&bytes) {
            return Err(ReadError::Broken("there is no ext superblock".into()));
        }
        let sb = Superblock::parse(&bytes)?;
        if sb.checksum_seed.is_some() {
            checksum::check_superblock(&bytes)?;
        }
        let seed = sb.checksum_seed;
        Self::load(part, sb, seed)
    }

    fn load(part: Part<'a>, sb: Superblock, seed: Option<u32>) -> Result<Self, ReadError> {
        if !part.has(0, sb.blocks.saturating_mul(sb.block_size)) {
            return Err(ReadError::Broken(format!(
                "it has {} blocks of {} bytes, and its partition only {} bytes",
                sb.blocks, sb.block_size, part.size
            )));
        }
        let mut ext = Ext { part, sb, seed, bitmap: RefCell::new(None), structures: OnceCell::new(), journal: Vec::new() };
        if ext.sb.journal_inode != 0 {
            let node = ext.inode(ext.sb.journal_inode)?;
            if let Content::Extents(extents) = ext.content(&node)? {
                ext.journal = extents.iter().map(|extent| (extent.at, extent.at + extent.len)).collect();
            }
        }
        Ok(ext)
    }

    /// The bytes of a block.
    fn block(&self, block: u64) -> Result<Vec<u8>, ReadError> {
        if block >= self.sb.blocks {
            return Err(ReadError::Broken(format!("block {block} is used, and there are {}", self.sb.blocks)));
        }
        self.part.read(block * self.sb.block_size, self.sb.block_size as usize)
    }
}

impl Filesystem for Ext<'_> {
    fn word(&self) -> &'static str {
        self.sb.word()
    }

    fn part(&self) -> Part<'_> {
        self.part
    }

    fn root(&self) -> Result<Node, ReadError> {
        let root = self.inode(ROOT)?;
        match root.kind {
            Kind::Folder => Ok(root),
            _ => Err(ReadError::Broken("its root is not a folder".into())),
        }
    }

    fn list(&self, folder: &Node) -> Result<Vec<(Vec<u8>, Node)>, ReadError> {
        self.folder(folder)
    }

    fn content(&self, node: &Node) -> Result<Content, ReadError> {
        self.map(node)
    }

    fn fields(&self, node: &Node) -> Result<Vec<(String, String)>, ReadError> {
        Ok(self.inode_fields(node))
    }

    fn attributes(&self, node: &Node) -> Result<Vec<Attribute>, ReadError> {
        self.all_attributes(node)
    }

    fn facts(&self) -> Vec<(String, String)> {
        self.sb.facts.clone()
    }

    fn place(&self, offset: u64) -> Result<&'static str, ReadError> {
        self.name_place(offset)
    }

    fn warning(&self) -> Option<String> {
        self.sb.needs_recovery.then(|| "its journal waits to be replayed: run e2fsck on it, or mount it, then shut down properly".into())
    }
}
