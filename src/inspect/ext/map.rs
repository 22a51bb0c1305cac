//! Where a file's bytes are: [extents and block maps](https://docs.kernel.org/filesystems/ext4/ifork.html).

use super::super::bytes::{le16, le32, wide};
use super::super::disk::Trouble;
use super::super::filesystem::{Content, Extent, Kind, Node, add_extent};
use super::Ext;
use super::inode::{ENCRYPTED, EXTENTS, INLINE, Inode};

/// Levels of an extent tree below its root; more cannot be needed.
const DEPTH_MAX: u16 = 5;

impl Ext<'_> {
    /// Where a node's bytes are.
    pub(super) fn map(&self, node: &Node) -> Result<Content, Trouble> {
        let inode = Inode(&node.raw);
        if inode.flags() & ENCRYPTED != 0 && node.kind != Kind::Symlink {
            return Err(Trouble::Broken(format!("inode {} is encrypted", node.id)));
        }
        match node.kind {
            Kind::Symlink if node.size < 60 && inode.flags() & (EXTENTS | INLINE) == 0 => {
                Ok(Content::Inline(inode.map()[..node.size as usize].to_vec()))
            }
            _ if inode.flags() & INLINE != 0 => self.inline(node),
            Kind::File | Kind::Folder | Kind::Symlink => {
                let mut map = Map { ext: self, extents: Vec::new(), blocks: 0 };
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

    /// Contents in the inode: the first sixty bytes in place of the map, the rest as an attribute.
    fn inline(&self, node: &Node) -> Result<Content, Trouble> {
        let mut bytes = Inode(&node.raw).map().to_vec();
        let rest = self.all_attributes(node)?.into_iter().find(|attribute| attribute.name == "system.data");
        bytes.extend(rest.map(|attribute| attribute.value).unwrap_or_default());
        bytes.truncate(usize::try_from(node.size).unwrap_or(usize::MAX));
        Ok(Content::Inline(bytes))
    }
}

/// Collects the extents of one file. What does not end is stopped by the number of blocks: no file has more than there are.
struct Map<'a> {
    ext: &'a Ext<'a>,
    extents: Vec<Extent>,
    /// Blocks that were met, those of the map itself among them.
    blocks: u64,
}

impl Map<'_> {
    fn count(&mut self, blocks: u64) -> Result<(), Trouble> {
        self.blocks += blocks;
        if self.blocks > self.ext.sb.blocks {
            return Err(Trouble::Broken("a file has more blocks than there are".into()));
        }
        Ok(())
    }

    /// `len` blocks of the file from block `from` on, which lie from block `at` on.
    fn add(&mut self, from: u64, at: u64, len: u64) -> Result<(), Trouble> {
        self.count(len)?;
        let size = self.ext.sb.block_size;
        if at == 0 || at.checked_add(len).is_none_or(|end| end > self.ext.sb.blocks) {
            return Err(Trouble::Broken(format!("a file has {len} blocks from block {at} on, and there are {}", self.ext.sb.blocks)));
        }
        if self.extents.last().is_some_and(|last| last.from + last.len > from * size) {
            return Err(Trouble::Broken("the parts of a file are out of order".into()));
        }
        add_extent(&mut self.extents, Extent { from: from * size, at: at * size, len: len * size });
        Ok(())
    }

    /// A node of an extent tree; `expected` is its depth, which the one above knows.
    fn extent_node(&mut self, node: &[u8], expected: Option<u16>) -> Result<(), Trouble> {
        let (magic, count, depth) = (le16(node, 0), usize::from(le16(node, 2)), le16(node, 6));
        if magic != 0xf30a || depth > DEPTH_MAX || expected.is_some_and(|expected| depth != expected) || 12 + count * 12 > node.len() {
            return Err(Trouble::Broken("a node of an extent tree makes no sense".into()));
        }
        for entry in node[12..].chunks_exact(12).take(count) {
            if depth > 0 {
                self.count(1)?;
                let child = self.ext.block(wide(u32::from(le16(entry, 8)), le32(entry, 4)))?;
                self.extent_node(&child, Some(depth - 1))?;
                continue;
            }
            let len = u64::from(le16(entry, 4));
            // Longer ones are given to the file and not written: they read as zeros.
            if len <= 0x8000 {
                self.add(u64::from(le32(entry, 0)), wide(u32::from(le16(entry, 6)), le32(entry, 8)), len)?;
            }
        }
        Ok(())
    }

    /// Twelve blocks, then one each of one, two and three levels.
    fn block_map(&mut self, map: &[u8]) -> Result<(), Trouble> {
        let mut from = 0;
        for (index, pointer) in map.chunks_exact(4).enumerate() {
            let level = index.saturating_sub(11) as u32;
            self.pointer(le32(pointer, 0), level, &mut from)?;
        }
        Ok(())
    }

    /// One pointer: to a block of the file, or of pointers of the level below.
    fn pointer(&mut self, pointer: u32, level: u32, from: &mut u64) -> Result<(), Trouble> {
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
