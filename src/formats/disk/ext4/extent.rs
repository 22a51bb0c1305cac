//! [Extent trees](https://docs.kernel.org/filesystems/ext4/dynamic.html#extent-tree): the map from a file's blocks to
//! blocks of the disk.
//!
//! Four extents fit the inode itself. More go to blocks of 340, and indexes of those, each with a checksum at its end.

use std::ops::Range;

use super::block::{BLOCK, put16, put32, zeroed};
use super::checksum::Crc;

/// A contiguous range of a file's blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    /// The first block in the file.
    pub logical: u64,
    /// The blocks on the disk.
    pub disk: Range<u64>,
}

impl Mapping {
    /// The number of blocks.
    pub(super) fn len(&self) -> u64 {
        self.disk.end - self.disk.start
    }
}

/// An encoded extent tree.
pub(super) struct Tree {
    /// The root, stored in the inode.
    pub root: [u8; 60],
    /// The other nodes, with their block numbers.
    pub blocks: Vec<(u64, Vec<u8>)>,
}

/// The magic number of a node (`eh_magic`).
const MAGIC: u16 = 0xF30A;
/// The size of header and entries in bytes.
const ENTRY: usize = 12;
/// The number of entries in the inode.
const IN_INODE: usize = 4;
/// The number of entries in a block.
const IN_BLOCK: usize = (BLOCK - ENTRY) / ENTRY;
/// The longest extent in blocks; a greater length means "unwritten".
const MAX_LEN: u64 = 32_768;

/// Field offsets in `struct ext4_extent_header`.
mod eh {
    pub(super) const MAGIC: usize = 0;
    pub(super) const ENTRIES: usize = 2;
    pub(super) const MAX: usize = 4;
    pub(super) const DEPTH: usize = 6;
}

/// Field offsets in `struct ext4_extent`.
mod ee {
    pub(super) const BLOCK: usize = 0;
    pub(super) const LEN: usize = 4;
    pub(super) const START_HI: usize = 6;
    pub(super) const START_LO: usize = 8;
}

/// Field offsets in `struct ext4_extent_idx`.
mod ei {
    pub(super) const LEAF_LO: usize = 4;
    pub(super) const LEAF_HI: usize = 8;
}

/// One entry of a node: 12 bytes, the first logical block in front.
type Entry = [u8; ENTRY];

/// The number of blocks that the tree of `map` needs beside the inode.
pub(super) fn blocks_needed(map: &[Mapping]) -> usize {
    let mut width: usize = map.iter().map(|mapping| mapping.len().div_ceil(MAX_LEN) as usize).sum();
    let mut blocks = 0;
    while width > IN_INODE {
        width = width.div_ceil(IN_BLOCK);
        blocks += width;
    }
    blocks
}

/// Builds the tree of `map` with its nodes at the block numbers `numbers`, [`blocks_needed`] many. `seed` is the
/// filesystem's checksum seed extended by the inode.
pub(super) fn build(map: &[Mapping], numbers: &[u64], seed: Crc) -> Tree {
    let mut level: Vec<Entry> = map.iter().flat_map(extents).collect();
    let mut numbers = numbers.iter().copied();
    let mut blocks = Vec::new();
    let mut depth = 0;
    while level.len() > IN_INODE {
        let mut above = Vec::with_capacity(level.len().div_ceil(IN_BLOCK));
        for (entries, number) in level.chunks(IN_BLOCK).zip(numbers.by_ref()) {
            blocks.push((number, block(entries, depth, seed)));
            above.push(index(entries, number));
        }
        level = above;
        depth += 1;
    }
    let mut root = [0; 60];
    node(&mut root, &level, IN_INODE, depth);
    Tree { root, blocks }
}

/// `struct ext4_extent`, as many as the length needs.
fn extents(mapping: &Mapping) -> impl Iterator<Item = Entry> + use<> {
    let (logical, disk) = (mapping.logical, mapping.disk.clone());
    disk.clone().step_by(MAX_LEN as usize).map(move |start| {
        let mut entry = [0; ENTRY];
        put32(&mut entry, ee::BLOCK, (logical + (start - disk.start)) as u32);
        put16(&mut entry, ee::LEN, MAX_LEN.min(disk.end - start) as u16);
        put16(&mut entry, ee::START_HI, (start >> 32) as u16);
        put32(&mut entry, ee::START_LO, start as u32);
        entry
    })
}

/// `struct ext4_extent_idx` for the node at block `number`.
fn index(entries: &[Entry], number: u64) -> Entry {
    let mut entry = [0; ENTRY];
    // ei_block is the first entry's ee_block or ei_block.
    entry[..4].copy_from_slice(&entries[0][..4]);
    put32(&mut entry, ei::LEAF_LO, number as u32);
    put16(&mut entry, ei::LEAF_HI, (number >> 32) as u16);
    entry
}

/// A node in a block: `struct ext4_extent_header`, entries, `struct ext4_extent_tail`.
fn block(entries: &[Entry], depth: u16, seed: Crc) -> Vec<u8> {
    let mut block = zeroed();
    node(&mut block, entries, IN_BLOCK, depth);
    let tail = ENTRY + IN_BLOCK * ENTRY;
    let checksum = seed.with(&block[..tail]).value();
    put32(&mut block, tail, checksum);
    block
}

fn node(buffer: &mut [u8], entries: &[Entry], max: usize, depth: u16) {
    put16(buffer, eh::MAGIC, MAGIC);
    put16(buffer, eh::ENTRIES, entries.len() as u16);
    put16(buffer, eh::MAX, max as u16);
    put16(buffer, eh::DEPTH, depth);
    for (slot, entry) in buffer[ENTRY..].chunks_exact_mut(ENTRY).zip(entries) {
        slot.copy_from_slice(entry);
    }
}
