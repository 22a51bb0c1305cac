//! The places of a file's bytes: [extents and block maps](https://docs.kernel.org/filesystems/ext4/ifork.html).

use super::super::bytes::{le16, le32, wide};
use super::super::disk::ReadError;
use super::super::filesystem::{Content, Extent, Kind, Node, add_extent};
use super::Ext;
use super::inode::{ENCRYPTED, EXTENTS, INLINE, Inode};

/// The length of the header of an extent tree's node, in bytes.
pub(super) const HEADER: usize = 12;
/// The length of an entry of a node, in bytes.
pub(super) const ENTRY: usize = 12;

/// Offsets in the header in bytes, named as in the kernel without `eh_`.
pub(super) mod header_field {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const ENTRIES: usize = 2;
    pub(crate) const MAX: usize = 4;
    pub(crate) const DEPTH: usize = 6;
}

/// Offsets in a leaf's entry in bytes, named as in the kernel without `ee_`.
mod extent_field {
    pub(super) const BLOCK: usize = 0;
    pub(super) const LEN: usize = 4;
    pub(super) const START_HI: usize = 6;
    pub(super) const START_LO: usize = 8;
}

/// Offsets in an inner node's entry in bytes, named as in the kernel without `ei_`.
mod index_field {
    pub(super) const LEAF_LO: usize = 4;
    pub(super) const LEAF_HI: usize = 8;
}

/// The magic number of a node.
const MAGIC: u16 = 0xf30a;
/// The longest extent that is written, in blocks (`EXT_INIT_MAX_LEN`).
const INIT_LEN_MAX: u64 = 0x8000;
/// The pointers of a block map to blocks of the file.
const DIRECT: usize = 12;

/// The most levels of an extent tree below its root (`EXT4_MAX_EXTENT_DEPTH`).
const DEPTH_MAX: u16 = 5;

impl Ext<'_> {
    /// The place of a node's bytes.
    pub(super) fn map(&self, node: &Node) -> Result<Content, ReadError> {
        let inode = Inode(&node.raw);
        if inode.flags() & ENCRYPTED != 0 && node.kind != Kind::Symlink {
            return Err(ReadError::Broken(format!("inode {} is encrypted", node.id)));
        }
        match node.kind {
            Kind::Symlink if node.size < inode.map().len() as u64 && inode.flags() & (EXTENTS | INLINE) == 0 => {
                Ok(Content::Inline(inode.map()[..node.size as usize].to_vec()))
            }
            _ if inode.flags() & INLINE != 0 => self.inline(node),
            Kind::File | Kind::Folder | Kind::Symlink => {
                let seed = self.inode_seed(node.id as u32, &node.raw);
                let mut map = Map { ext: self, seed, extents: Vec::new(), blocks: 0 };
                if inode.flags() & EXTENTS != 0 {
                    map.extent_node(inode.map(), None)?;
                } else {
                    map.block_map(inode.map())?;
                }
                Ok(Content::Extents(map.extents))
            }
            _ => Ok(Content::Inline(Vec::new())),
        }
    }

    /// Contents in the inode: the first sixty bytes in place of the map, the rest in an attribute.
    fn inline(&self, node: &Node) -> Result<Content, ReadError> {
        let mut bytes = Inode(&node.raw).map().to_vec();
        let rest = self.all_attributes(node)?.into_iter().find(|attribute| attribute.name == "system.data");
        bytes.extend(rest.map(|attribute| attribute.value).unwrap_or_default());
        bytes.truncate(usize::try_from(node.size).unwrap_or(usize::MAX));
        Ok(Content::Inline(bytes))
    }
}

/// Collects the extents of one file. The number of blocks bounds the work: no file has more than the filesystem.
struct Map<'a> {
    ext: &'a Ext<'a>,
    /// The start of the file's checksums; none where they are not checked.
    seed: Option<u32>,
    extents: Vec<Extent>,
    /// Number of blocks so far, with those of the map itself.
    blocks: u64,
}

impl Map<'_> {
    fn count(&mut self, blocks: u64) -> Result<(), ReadError> {
        self.blocks += blocks;
        if self.blocks > self.ext.sb.blocks {
            return Err(ReadError::Broken("a file has more blocks than its filesystem".into()));
        }
        Ok(())
    }

    /// Adds `len` blocks of the file from its block `from` on, which lie at block `at`.
    fn add(&mut self, from: u64, at: u64, len: u64) -> Result<(), ReadError> {
        self.count(len)?;
        let size = self.ext.sb.block_size;
        if at == 0 || at.checked_add(len).is_none_or(|end| end > self.ext.sb.blocks) {
            return Err(ReadError::Broken(format!(
                "a file has {len} blocks from block {at} on, and its filesystem has {}",
                self.ext.sb.blocks
            )));
        }
        if self.extents.last().is_some_and(|last| last.from + last.len > from * size) {
            return Err(ReadError::Broken("the extents of a file are out of order".into()));
        }
        add_extent(&mut self.extents, Extent { from: from * size, at: at * size, len: len * size });
        Ok(())
    }

    /// Reads a node of an extent tree; `expected` is its depth by its parent.
    fn extent_node(&mut self, node: &[u8], expected: Option<u16>) -> Result<(), ReadError> {
        let count = usize::from(le16(node, header_field::ENTRIES));
        let (magic, depth) = (le16(node, header_field::MAGIC), le16(node, header_field::DEPTH));
        let is_expected = expected.is_none_or(|expected| depth == expected);
        if magic != MAGIC || depth > DEPTH_MAX || !is_expected || HEADER + count * ENTRY > node.len() {
            return Err(ReadError::Broken("a node of an extent tree is malformed".into()));
        }
        for entry in node[HEADER..].chunks_exact(ENTRY).take(count) {
            if depth > 0 {
                self.count(1)?;
                let child = self.ext.block(wide(u32::from(le16(entry, index_field::LEAF_HI)), le32(entry, index_field::LEAF_LO)))?;
                self.ext.check_extents(self.seed, &child)?;
                self.extent_node(&child, Some(depth - 1))?;
                continue;
            }
            let len = u64::from(le16(entry, extent_field::LEN));
            // Longer extents are allocated and not written: they read as zeros.
            if len <= INIT_LEN_MAX {
                let start = wide(u32::from(le16(entry, extent_field::START_HI)), le32(entry, extent_field::START_LO));
                self.add(u64::from(le32(entry, extent_field::BLOCK)), start, len)?;
            }
        }
        Ok(())
    }

    /// Reads a block map: twelve blocks, then one pointer each of one, two and three levels.
    fn block_map(&mut self, map: &[u8]) -> Result<(), ReadError> {
        let mut from = 0;
        for (index, pointer) in map.chunks_exact(4).enumerate() {
            let level = (index + 1).saturating_sub(DIRECT) as u32;
            self.pointer(le32(pointer, 0), level, &mut from)?;
        }
        Ok(())
    }

    /// Follows a pointer to a block of the file, or to a block of pointers of the level below.
    fn pointer(&mut self, pointer: u32, level: u32, from: &mut u64) -> Result<(), ReadError> {
        let spans = (self.ext.sb.block_size / 4).pow(level);
        match (pointer, level) {
            (0, _) => *from += spans,
            (_, 0) => {
                self.add(*from, u64::from(pointer), 1)?;
                *from += 1;
            }
            _ => {
                self.count(1)?;
                for below in self.ext.block(u64::from(pointer))?.chunks_exact(4) {
                    self.pointer(le32(below, 0), level - 1, from)?;
                }
            }
        }
        Ok(())
    }
}
