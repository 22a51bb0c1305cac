//! ext2, ext3 and ext4: [on-disk format](https://docs.kernel.org/filesystems/ext4/). Reads what Linux reads, but for
//! journals that wait to be replayed, encrypted files and filesystems with a journal elsewhere, which it names.
//!
//! The `ext4-view` crate, which checks what kbake writes, shows neither where a file lies nor its attributes; both are
//! needed to tell a file's bytes from all others on the disk. Check sums are not looked at here.

mod attribute;
mod folder;
mod group;
mod inode;
mod map;
mod superblock;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;

use self::superblock::Superblock;
use super::disk::{Part, Trouble};
use super::filesystem::{Attribute, Content, Filesystem, Kind, Node};

/// The top folder's inode.
const ROOT: u32 = 2;

/// An open filesystem.
pub struct Ext<'a> {
    part: Part<'a>,
    sb: Superblock,
    /// The bitmap of blocks that was asked for last, and its group.
    bitmap: RefCell<Option<(u64, Vec<u8>)>>,
    /// Where all groups' structures are, once that was needed.
    structures: OnceCell<BTreeMap<u64, (u64, &'static str)>>,
    /// The journal's place in the part: start and end in bytes.
    journal: Vec<(u64, u64)>,
}

impl<'a> Ext<'a> {
    /// Whether the part begins like one.
    pub fn is_in(part: Part<'_>) -> Result<bool, Trouble> {
        Ok(part.has(superblock::AT, superblock::SIZE as u64) && Superblock::has_magic(&part.read(superblock::AT, superblock::SIZE)?))
    }

    /// Reads the superblock.
    pub fn open(part: Part<'a>) -> Result<Self, Trouble> {
        let sb = Superblock::parse(&part.read(superblock::AT, superblock::SIZE)?)?;
        if !part.has(0, sb.blocks.saturating_mul(sb.block_size)) {
            return Err(Trouble::Broken(format!(
                "it has {} blocks of {} bytes, and its partition only {} bytes",
                sb.blocks, sb.block_size, part.size
            )));
        }
        let mut ext = Ext { part, sb, bitmap: RefCell::new(None), structures: OnceCell::new(), journal: Vec::new() };
        if ext.sb.journal_inode != 0 {
            let node = ext.inode(ext.sb.journal_inode)?;
            if let Content::Extents(extents) = ext.content(&node)? {
                ext.journal = extents.iter().map(|extent| (extent.at, extent.at + extent.len)).collect();
            }
        }
        Ok(ext)
    }

    /// The bytes of a block.
    fn block(&self, block: u64) -> Result<Vec<u8>, Trouble> {
        if block >= self.sb.blocks {
            return Err(Trouble::Broken(format!("block {block} is named, and there are {}", self.sb.blocks)));
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

    fn root(&self) -> Result<Node, Trouble> {
        let root = self.inode(ROOT)?;
        match root.kind {
            Kind::Folder => Ok(root),
            _ => Err(Trouble::Broken("its top is no folder".into())),
        }
    }

    fn list(&self, folder: &Node) -> Result<Vec<(Vec<u8>, Node)>, Trouble> {
        self.folder(folder)
    }

    fn content(&self, node: &Node) -> Result<Content, Trouble> {
        self.map(node)
    }

    fn fields(&self, node: &Node) -> Result<Vec<(String, String)>, Trouble> {
        Ok(self.inode_fields(node))
    }

    fn attributes(&self, node: &Node) -> Result<Vec<Attribute>, Trouble> {
        self.all_attributes(node)
    }

    fn facts(&self) -> Vec<(String, String)> {
        self.sb.facts.clone()
    }

    fn place(&self, offset: u64) -> Result<&'static str, Trouble> {
        self.name_place(offset)
    }

    fn doubt(&self) -> Option<String> {
        self.sb.needs_recovery.then(|| "its journal waits to be replayed: run e2fsck on it, or mount it, then shut down properly".into())
    }
}
