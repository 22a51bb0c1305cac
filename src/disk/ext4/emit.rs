//! The second pass: everything that was laid out, as pieces.

use std::ops::Range;

use crate::disk::{Data, Piece};
use crate::error::{Error, Result};
use crate::tree::Meta;

use super::Params;
use super::block::{BLOCK, BLOCK_U64};
use super::checksum::Crc;
use super::content;
use super::directory::Shape;
use super::extent;
use super::geometry::{GROUP_BLOCKS, Geometry};
use super::group::{self, Usage};
use super::inode::{self, Inode, Type};
use super::journal;
use super::place::{Place, Placement};
use super::resize;
use super::superblock::{self, Totals};
use super::survey::{Body, Item, Survey};
use super::xattr;

/// Collects pieces; leaves out what is zero.
#[derive(Debug, Default)]
pub struct Emitter {
    pieces: Vec<Piece>,
}

impl Emitter {
    /// Bytes at byte `at`. Longer stretches of zeros are not kept: a disk reads as zero where nothing stands, and
    /// most of an average directory block is empty.
    pub fn bytes(&mut self, at: u64, bytes: &[u8]) {
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

    /// A block.
    fn block(&mut self, place: u64, bytes: &[u8]) {
        self.bytes(place * BLOCK_U64, bytes);
    }

    /// Anything, at byte `at`.
    pub fn data(&mut self, at: u64, data: Data) {
        self.pieces.push(Piece { at, data });
    }
}

/// All pieces of the filesystem, in no order.
pub fn pieces(params: &Params, survey: &Survey, geometry: &Geometry, placement: &Placement) -> Result<Vec<Piece>> {
    let mut writer = Writer {
        params,
        geometry,
        seed: Crc::of_filesystem(&params.uuid),
        out: Emitter::default(),
        inodes: vec![0; survey.last_inode() as usize * inode::SIZE],
    };
    for (item, place) in survey.items.iter().zip(&placement.items) {
        writer.item(item, place)?;
    }
    writer.resize_inode(placement.double_indirect)?;
    let journal_map = writer.journal(&placement.journal)?;
    writer.inode_tables();
    writer.groups(survey, placement, journal_map);
    Ok(writer.out.pieces)
}

struct Writer<'a> {
    params: &'a Params,
    geometry: &'a Geometry,
    seed: Crc,
    out: Emitter,
    /// The inodes in use, as bytes, from number 1 on.
    inodes: Vec<u8>,
}

impl Writer<'_> {
    fn item(&mut self, item: &Item, place: &Place) -> Result<()> {
        let size = self.body(item, place);
        if let (Some(at), Some(block)) = (place.xattrs, &item.xattrs.block) {
            let mut block = block.clone();
            xattr::seal(&mut block, at, self.seed);
            self.out.block(at, &block);
        }
        let (flags, map) = match &item.body {
            Body::Dir { shape: Shape::Indexed(_), .. } => (inode::EXTENTS_FLAG | inode::INDEX_FLAG, self.tree(item.inode, place)),
            Body::Dir { .. } | Body::File { .. } | Body::LongLink(_) => (inode::EXTENTS_FLAG, self.tree(item.inode, place)),
            Body::ShortLink(target) => (0, std::array::from_fn(|at| target.get(at).copied().unwrap_or(0))),
            Body::Special(bytes) => (0, *bytes),
        };
        self.inode(&Inode {
            number: item.inode,
            kind: item.kind,
            meta: item.meta,
            links: item.links,
            size,
            blocks: place.blocks(),
            flags,
            map,
            xattr_block: place.xattrs,
            xattrs: &item.xattrs.inline,
        })
    }

    /// Writes what an inode holds, if that is not in the inode itself; gives its size.
    fn body(&mut self, item: &Item, place: &Place) -> u64 {
        match &item.body {
            Body::Dir { parent, entries, shape, .. } => {
                let seed = self.seed.of_inode(item.inode);
                self.blocks(place, &shape.encode(item.inode, *parent, entries, seed));
                shape.blocks() * BLOCK_U64
            }
            Body::File { content, .. } => {
                content::put(content, &place.map, &mut self.out);
                content.size()
            }
            Body::LongLink(target) => {
                self.blocks(place, &[target]);
                target.len() as u64
            }
            Body::ShortLink(target) => target.len() as u64,
            Body::Special(_) => 0,
        }
    }

    /// Writes the blocks of a file of our own making where it lies.
    fn blocks(&mut self, place: &Place, blocks: &[impl AsRef<[u8]>]) {
        let places = place.map.iter().flat_map(|mapping| mapping.disk.clone());
        for (at, block) in places.zip(blocks) {
            self.out.block(at, block.as_ref());
        }
    }

    /// Writes an extent tree; gives the part in the inode.
    fn tree(&mut self, number: u32, place: &Place) -> [u8; 60] {
        let tree = extent::build(&place.map, &place.tree, self.seed.of_inode(number));
        for (at, block) in &tree.blocks {
            self.out.block(*at, block);
        }
        tree.root
    }

    fn inode(&mut self, inode: &Inode) -> Result<()> {
        let start = (inode.number as usize - 1) * inode::SIZE;
        let slot = self.inodes.get_mut(start..start + inode::SIZE);
        let slot = slot.ok_or_else(|| Error::internal(format!("ext4 inode {} is behind the last one", inode.number)))?;
        slot.copy_from_slice(&inode.encode(self.params.epoch, self.seed));
        Ok(())
    }

    /// A regular file of the filesystem's own.
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

    fn journal(&mut self, place: &Place) -> Result<[u8; 60]> {
        self.blocks(place, &[journal::superblock(self.params.journal_blocks, &self.params.uuid)]);
        let map = self.tree(inode::JOURNAL, place);
        self.own_file(inode::JOURNAL, self.journal_size(), place.blocks(), inode::EXTENTS_FLAG, map)?;
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

    /// Descriptors, bitmaps, and the superblock with its copies.
    fn groups(&mut self, survey: &Survey, placement: &Placement, journal_map: [u8; 60]) {
        let geometry = self.geometry;
        let used = joined(&geometry.fixed, &placement.used);
        let usages = usages(survey, geometry, &used);
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
            free_inodes: geometry.inodes() - survey.last_inode(),
            journal_map,
            journal_size: self.journal_size(),
        };
        for group in std::iter::once(0).chain(geometry.backups()) {
            let start = group * GROUP_BLOCKS;
            // Only the first one leaves room for boot code in front of it.
            let at = start * BLOCK_U64 + if group == 0 { superblock::SIZE as u64 } else { 0 };
            self.out.bytes(at, &superblock::encode(self.params, geometry, &totals, group));
            self.out.block(start + 1, &table);
        }
        debug_assert_eq!(table.len(), geometry.descriptor_blocks as usize * BLOCK);
    }
}

/// What is in use in each group.
fn usages(survey: &Survey, geometry: &Geometry, used: &[Range<u64>]) -> Vec<Usage> {
    let per_group = geometry.inodes_per_group;
    let mut usages: Vec<Usage> = (0..geometry.groups.len())
        .map(|number| Usage {
            free_blocks: group::free_blocks(geometry, number, used),
            inodes: survey.last_inode().saturating_sub(number as u32 * per_group).min(per_group),
            dirs: 0,
        })
        .collect();
    for item in survey.items.iter().filter(|item| item.kind == Type::Dir) {
        usages[geometry.group_of(item.inode)].dirs += 1;
    }
    usages
}

/// Two sorted lists of disjoint ranges as one.
fn joined(left: &[Range<u64>], right: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut all = [left, right].concat();
    all.sort_unstable_by_key(|range| range.start);
    all
}
