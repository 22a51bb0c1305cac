//! [Extent trees](https://docs.kernel.org/filesystems/ext4/dynamic.html#extent-tree): which blocks of the disk a file's
//! blocks are.
//!
//! Four extents fit the inode itself. More go to blocks of 340, and indexes of those, each with a checksum at its end.

use std::ops::Range;

use super::block::{BLOCK, put16, put32, zeroed};
use super::checksum::Crc;

/// A stretch of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The first block in the file.
    pub logical: u64,
    /// The blocks on the disk.
    pub disk: Range<u64>,
}

impl Mapping {
    /// Blocks.
    pub fn len(&self) -> u64 {
        self.disk.end - self.disk.start
    }
}

/// A file's map as it is stored.
pub struct Tree {
    /// For the inode.
    pub root: [u8; 60],
    /// The blocks of the tree, with their places.
    pub blocks: Vec<(u64, Vec<u8>)>,
}

/// What marks a node of the tree (`eh_magic`).
const MAGIC: u16 = 0xF30A;
/// The size of header and entries in bytes.
const ENTRY: usize = 12;
/// Entries in the inode.
const IN_INODE: usize = 4;
/// Entries in a block.
const IN_BLOCK: usize = (BLOCK - ENTRY) / ENTRY;
/// The longest extent in blocks; above, the length would say "unwritten".
const MAX_LEN: u64 = 32_768;

/// One entry of a node: 12 bytes with the first logical block in front.
type Entry = [u8; ENTRY];

/// Blocks that the tree of `map` needs beside the inode.
pub fn blocks_needed(map: &[Mapping]) -> usize {
    let mut width: usize = map.iter().map(|mapping| mapping.len().div_ceil(MAX_LEN) as usize).sum();
    let mut blocks = 0;
    while width > IN_INODE {
        width = width.div_ceil(IN_BLOCK);
        blocks += width;
    }
    blocks
}

/// Builds the tree of `map` with its nodes at `places`, of which there are [`blocks_needed`]. `seed` is the inode's.
pub fn build(map: &[Mapping], places: &[u64], seed: Crc) -> Tree {
    let mut level: Vec<Entry> = map.iter().flat_map(extents).collect();
    let mut places = places.iter().copied();
    let mut blocks = Vec::new();
    let mut depth = 0;
    while level.len() > IN_INODE {
        let mut above = Vec::with_capacity(level.len().div_ceil(IN_BLOCK));
        for (entries, place) in level.chunks(IN_BLOCK).zip(places.by_ref()) {
            blocks.push((place, block(entries, depth, seed)));
            above.push(index(entries, place));
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
        put32(&mut entry, 0, (logical + (start - disk.start)) as u32);
        put16(&mut entry, 4, MAX_LEN.min(disk.end - start) as u16);
        put16(&mut entry, 6, (start >> 32) as u16);
        put32(&mut entry, 8, start as u32);
        entry
    })
}

/// `struct ext4_extent_idx` for the node at `place`.
fn index(entries: &[Entry], place: u64) -> Entry {
    let mut entry = [0; ENTRY];
    entry[..4].copy_from_slice(&entries[0][..4]);
    put32(&mut entry, 4, place as u32);
    put16(&mut entry, 8, (place >> 32) as u16);
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
    put16(buffer, 0, MAGIC);
    put16(buffer, 2, entries.len() as u16);
    put16(buffer, 4, max as u16);
    put16(buffer, 6, depth);
    for (slot, entry) in buffer[ENTRY..].chunks_exact_mut(ENTRY).zip(entries) {
        slot.copy_from_slice(entry);
    }
}
