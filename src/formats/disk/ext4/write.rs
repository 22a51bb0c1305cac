//! Writing: everything in the layout, as pieces of the disk. The last step.

use std::ops::Range;

use crate::common::error::{Error, Result};
use crate::common::tree::Meta;
use crate::formats::disk::{Data, Piece};

use super::Params;
use super::allocate::{Allocation, InodeBlocks};
use super::block::{BLOCK, BLOCK_U64};
use super::checksum::Crc;
use super::content::{self, Part};
use super::directory::Shape;
use super::extent;
use super::geometry::{GROUP_BLOCKS, Geometry};
use super::group::{self, Usage};
use super::inode::{self, Inode, Type};
use super::inventory::{Body, Inventory, Item};
use super::journal;
use super::resize;
use super::superblock::{self, Totals};
use super::xattr;

/// A list of pieces that leaves out zeros.
#[derive(Debug, Default)]
pub(super) struct PieceList {
    pieces: Vec<Piece>,
}

impl PieceList {
    /// Adds bytes at byte `at`. Longer runs of zeros are left out: a disk reads as zero where it has no piece, and most
    /// of an average directory block is empty.
    pub(super) fn bytes(&mut self, at: u64, bytes: &[u8]) {
        const GRAIN: usize = 256;
        let mut start = None;
        for (index, chunk) in bytes.chunks(GRAIN).enumerate() {
            match (start, chunk.iter().all(|&byte| byte == 0)) {
                (None, false) => start = Some(index * GRAIN),
                (Some(from), true) => {
                    self.data(at + from as u64, Data::Bytes(bytes[from..index * GRAIN].to_vec()));
                    start = None;
                }
                _ => {}
            }
        }
        if let Some(from) = start {
            self.data(at + from as u64, Data::Bytes(bytes[from..].to_vec()));
        }
    }

    /// Adds a block at block number `at`.
    fn block(&mut self, at: u64, bytes: &[u8]) {
        self.bytes(at * BLOCK_U64, bytes);
    }

    /// Adds any data at byte `at`.
    pub(super) fn data(&mut self, at: u64, data: Data) {
        self.pieces.push(Piece { at, data });
    }
}

/// All pieces of the filesystem, unordered.
pub(super) fn pieces(params: &Params, inventory: &Inventory, geometry: &Geometry, allocation: &Allocation) -> Result<Vec<Piece>> {
    let mut writer = Writer {
        params,
        geometry,
        seed: Crc::of_filesystem(&params.uuid),
        out: PieceList::default(),
        inodes: vec![0; inventory.last_inode() as usize * inode::SIZE],
    };
    for (item, blocks) in inventory.items.iter().zip(&allocation.items) {
        writer.item(item, blocks)?;
    }
    writer.resize_inode(allocation.double_indirect)?;
    let journal_map = writer.journal(&allocation.journal)?;
    writer.inode_tables();
    writer.groups(inventory, allocation, journal_map);
    Ok(writer.out.pieces)
}

struct Writer<'a> {
    params: &'a Params,
    geometry: &'a Geometry,
    seed: Crc,
    out: PieceList,
    /// The encoded inodes in use, from number 1 on.
    inodes: Vec<u8>,
}

impl Writer<'_> {
    fn item(&mut self, item: &Item, blocks: &InodeBlocks) -> Result<()> {
        let size = self.body(item, blocks);
        if let (Some(at), Some(block)) = (blocks.xattrs, &item.xattrs.block) {
            let mut block = block.clone();
            xattr::seal(&mut block, at, self.seed);
            self.out.block(at, &block);
        }
        let (flags, map) = match &item.body {
            Body::Dir { shape: Shape::Indexed(_), .. } => (inode::EXTENTS_FLAG | inode::INDEX_FLAG, self.tree(item.inode, blocks)),
            Body::Dir { .. } | Body::File { .. } | Body::LongLink(_) => (inode::EXTENTS_FLAG, self.tree(item.inode, blocks)),
            Body::ShortLink(target) => (0, std::array::from_fn(|at| target.get(at).copied().unwrap_or(0))),
            Body::Special(bytes) => (0, *bytes),
        };
        self.inode(&Inode {
            number: item.inode,
            kind: item.kind,
            meta: item.meta,
            links: item.links,
            size,
            blocks: blocks.count(),
            flags,
            map,
            xattr_block: blocks.xattrs,
            xattrs: &item.xattrs.inline,
        })
    }

    /// Writes the contents that lie outside the inode; returns the size.
    fn body(&mut self, item: &Item, blocks: &InodeBlocks) -> u64 {
        match &item.body {
            Body::Dir { parent, entries, shape, .. } => {
                let seed = self.seed.of_inode(item.inode);
                self.generated(blocks, &shape.encode(item.inode, *parent, entries, seed));
                shape.blocks() * BLOCK_U64
            }
            Body::File { content, .. } => {
                for (at, part) in content::parts(content, &blocks.map) {
                    match part {
                        Part::Inline(bytes) => self.out.bytes(at, bytes),
                        Part::Blob(data) => self.out.data(at, data),
                    }
                }
                content.size()
            }
            Body::LongLink(target) => {
                self.generated(blocks, &[target]);
                target.len() as u64
            }
            Body::ShortLink(target) => target.len() as u64,
            Body::Special(_) => 0,
        }
    }

    /// Writes blocks that are generated here (directories, symlinks, the journal) to where they were allocated.
    fn generated(&mut self, allocated: &InodeBlocks, blocks: &[impl AsRef<[u8]>]) {
        let numbers = allocated.map.iter().flat_map(|mapping| mapping.disk.clone());
        for (at, block) in numbers.zip(blocks) {
            self.out.block(at, block.as_ref());
        }
    }

    /// Writes an extent tree; returns the part that is stored in the inode.
    fn tree(&mut self, number: u32, blocks: &InodeBlocks) -> [u8; 60] {
        let tree = extent::build(&blocks.map, &blocks.tree, self.seed.of_inode(number));
        for (at, block) in &tree.blocks {
            self.out.block(*at, block);
        }
        tree.root
    }

    fn inode(&mut self, inode: &Inode) -> Result<()> {
        let start = (inode.number as usize - 1) * inode::SIZE;
        let slot = self.inodes.get_mut(start..start + inode::SIZE);
        let slot = slot.ok_or_else(|| Error::internal(format!("ext4 inode {} is after the last one", inode.number)))?;
        slot.copy_from_slice(&inode.encode(self.params.epoch, self.seed));
        Ok(())
    }

    /// Writes the inode of one of the filesystem's own regular files.
    fn own_file(&mut self, number: u32, size: u64, blocks: u64, flags: u32, map: [u8; 60]) -> Result<()> {
        let meta = Meta::new(0o600, 0, 0, self.params.epoch.seconds().into());
        let (kind, meta) = (Type::File, &meta);
        self.inode(&Inode { number, kind, meta, links: 1, size, blocks, flags, map, xattr_block: None, xattrs: &[] })
    }

    fn resize_inode(&mut self, double_indirect: u64) -> Result<()> {
        for (at, block) in resize::encode(self.geometry, double_indirect) {
            self.out.block(at, &block);
        }
        self.own_file(inode::RESIZE, resize::SIZE, resize::blocks(self.geometry), 0, resize::map(double_indirect))
    }

    fn journal(&mut self, blocks: &InodeBlocks) -> Result<[u8; 60]> {
        self.generated(blocks, &[journal::superblock(self.params.journal_blocks, &self.params.uuid)]);
        let map = self.tree(inode::JOURNAL, blocks);
        self.own_file(inode::JOURNAL, self.journal_size(), blocks.count(), inode::EXTENTS_FLAG, map)?;
        Ok(map)
    }

    fn journal_size(&self) -> u64 {
        u64::from(self.params.journal_blocks) * BLOCK_U64
    }

    fn inode_tables(&mut self) {
        let per_group = self.geometry.inodes_per_group as usize * inode::SIZE;
        for (table, group) in self.inodes.chunks(per_group).zip(&self.geometry.groups) {
            self.out.block(group.inode_table, table);
        }
    }

    /// Writes descriptors, bitmaps, and the superblock with its backups.
    fn groups(&mut self, inventory: &Inventory, allocation: &Allocation, journal_map: [u8; 60]) {
        let geometry = self.geometry;
        let used = joined(&geometry.fixed, &allocation.used);
        let usages = usages(inventory, geometry, &used);
        let mut descriptors = Vec::with_capacity(usages.len());
        for (number, usage) in usages.iter().enumerate() {
            let encoded = group::encode(geometry, number, usage, &used, self.seed);
            descriptors.push(encoded.descriptor);
            for (at, bits) in encoded.bitmaps {
                self.out.block(at, &bits);
            }
        }
        let table = group::table(descriptors.into_iter());
        let totals = Totals {
            free_blocks: usages.iter().map(|usage| usage.free_blocks).sum(),
            free_inodes: geometry.inodes() - inventory.last_inode(),
            journal_map,
            journal_size: self.journal_size(),
        };
        for group in std::iter::once(0).chain(geometry.backups()) {
            let start = group * GROUP_BLOCKS;
            // Only the primary superblock leaves room for boot code in front of it.
            let at = start * BLOCK_U64 + if group == 0 { superblock::SIZE as u64 } else { 0 };
            self.out.bytes(at, &superblock::encode(self.params, geometry, &totals, group));
            self.out.block(start + 1, &table);
        }
        debug_assert_eq!(table.len(), geometry.descriptor_blocks as usize * BLOCK);
    }
}

/// The usage of each group.
fn usages(inventory: &Inventory, geometry: &Geometry, used: &[Range<u64>]) -> Vec<Usage> {
    let per_group = geometry.inodes_per_group;
    let mut usages: Vec<Usage> = (0..geometry.groups.len())
        .map(|number| Usage {
            free_blocks: group::free_blocks(geometry, number, used),
            inodes: inventory.last_inode().saturating_sub(number as u32 * per_group).min(per_group),
            dirs: 0,
        })
        .collect();
    for item in inventory.items.iter().filter(|item| item.kind == Type::Dir) {
        usages[geometry.group_of(item.inode)].dirs += 1;
    }
    usages
}

/// Two sorted lists of disjoint ranges, merged into one.
fn joined(left: &[Range<u64>], right: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut all = [left, right].concat();
    all.sort_unstable_by_key(|range| range.start);
    all
}
