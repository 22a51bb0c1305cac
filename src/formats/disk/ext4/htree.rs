//! [Hash trees](https://docs.kernel.org/filesystems/ext4/dynamic.html#hash-tree-directories): the index of a directory of
//! more than one block.
//!
//! Block 0 is the root, disguised as a directory block that ends after `..`. One level of nodes follows if the leaves
//! are more than the root can index, then the leaves. Leaves and nodes are filled to seven eighths, so that the first
//! file created on the running machine does not split one.

use std::ops::Range;

use super::block::{BLOCK, put16, put32, zeroed};
use super::checksum::Crc;
use super::dirent::{DOT, Entry, ROOM, leaf, put_entry};
use super::dirhash::DirHash;
use super::inode::Type;

/// `half_md4` in `dx_root_info`.
pub(super) const HALF_MD4: u8 = 1;
/// The most leaves of a directory: two index levels, filled to seven eighths.
pub(super) const MAX_LEAVES: usize = ROOT_LIMIT * NODE_FILL;

/// The size of an index entry (`struct dx_entry`) in bytes: a hash and a block number in the directory.
const INDEX_ENTRY: usize = 8;
/// The size of the checksum after the last possible entry (`struct dx_tail`) in bytes.
const TAIL: usize = 8;
/// The offset of the root's index entries: after `.`, `..` and `dx_root_info`.
const ROOT_ENTRIES: usize = 2 * DOT + 8;
/// The offset of a node's index entries: after one unused directory entry.
const NODE_ENTRIES: usize = 8;
const ROOT_LIMIT: usize = (BLOCK - ROOT_ENTRIES - TAIL) / INDEX_ENTRY;
const NODE_LIMIT: usize = (BLOCK - NODE_ENTRIES - TAIL) / INDEX_ENTRY;
const NODE_FILL: usize = NODE_LIMIT / 8 * 7;
const LEAF_FILL: usize = ROOM / 8 * 7;

/// Offsets of the fields of `dx_root_info`, which follows `.` and `..`.
mod root_info {
    use super::DOT;
    pub(super) const HASH_VERSION: usize = 2 * DOT + 4;
    pub(super) const INFO_LENGTH: usize = 2 * DOT + 5;
    pub(super) const INDIRECT_LEVELS: usize = 2 * DOT + 6;
}

/// The assignment of directory entries to leaves.
#[derive(Debug, Clone)]
pub(super) struct Index {
    /// Indexes of the entries, sorted by hash.
    order: Vec<u32>,
    /// Each leaf: its first hash, as the index stores it, and its range of `order`.
    leaves: Vec<(u32, Range<usize>)>,
}

impl Index {
    /// Distributes `entries` over leaves; `None` when two index levels are not enough.
    pub(super) fn of(entries: &[Entry], hash: DirHash) -> Option<Index> {
        let mut hashed: Vec<(u32, u32)> = (0u32..).zip(entries).map(|(at, entry)| (hash.of(entry.name), at)).collect();
        // Entries are in name order, so entries of equal hash stay in name order.
        hashed.sort_unstable();
        let mut leaves: Vec<(u32, Range<usize>)> = Vec::new();
        let mut used = usize::MAX;
        for (at, &(hash, entry)) in hashed.iter().enumerate() {
            let length = entries[entry as usize].len();
            if used.saturating_add(length) > LEAF_FILL {
                // The lowest bit means: the leaf before has entries of the same hash too.
                let continued = at > 0 && hashed[at - 1].0 == hash;
                leaves.push((hash | u32::from(continued), at..at));
                used = 0;
            }
            used += length;
            if let Some((_, range)) = leaves.last_mut() {
                range.end = at + 1;
            }
        }
        let order = hashed.into_iter().map(|(_, entry)| entry).collect();
        (leaves.len() <= MAX_LEAVES).then_some(Index { order, leaves })
    }

    /// The number of nodes between root and leaves.
    fn nodes(&self) -> usize {
        if self.leaves.len() <= ROOT_LIMIT { 0 } else { self.leaves.len().div_ceil(NODE_FILL) }
    }

    /// The number of blocks.
    pub(super) fn blocks(&self) -> u64 {
        (1 + self.nodes() + self.leaves.len()) as u64
    }

    /// The blocks in order. `seed` is the filesystem's checksum seed extended by the inode.
    pub(super) fn encode(&self, inode: u32, parent: u32, entries: &[Entry], seed: Crc) -> Vec<Vec<u8>> {
        let nodes = self.nodes() as u32;
        let leaves: Vec<(u32, u32)> = self.leaves.iter().map(|(hash, _)| *hash).zip(1 + nodes..).collect();
        let below: Vec<&[(u32, u32)]> = if nodes == 0 { Vec::new() } else { leaves.chunks(NODE_FILL).collect() };
        let above: Vec<(u32, u32)> = below.iter().map(|chunk| chunk[0].0).zip(1..).collect();
        let mut blocks = vec![root(inode, parent, u8::from(nodes > 0), if nodes > 0 { &above } else { &leaves }, seed)];
        blocks.extend(below.into_iter().map(|chunk| node(chunk, seed)));
        blocks.extend(self.leaves.iter().map(|(_, range)| leaf(self.order[range.clone()].iter().map(|&at| &entries[at as usize]), seed)));
        blocks
    }
}

/// `struct dx_root`.
fn root(inode: u32, parent: u32, levels: u8, children: &[(u32, u32)], seed: Crc) -> Vec<u8> {
    let mut block = zeroed();
    put_entry(&mut block, 0, DOT, &Entry { name: b".", inode, kind: Type::Dir });
    put_entry(&mut block, DOT, BLOCK - DOT, &Entry { name: b"..", inode: parent, kind: Type::Dir });
    block[root_info::HASH_VERSION] = HALF_MD4;
    block[root_info::INFO_LENGTH] = 8;
    block[root_info::INDIRECT_LEVELS] = levels;
    index(&mut block, ROOT_ENTRIES, ROOT_LIMIT, children, seed);
    block
}

/// `struct dx_node`.
fn node(children: &[(u32, u32)], seed: Crc) -> Vec<u8> {
    let mut block = zeroed();
    // The unused entry's record length spans the block.
    put16(&mut block, 4, BLOCK as u16);
    index(&mut block, NODE_ENTRIES, NODE_LIMIT, children, seed);
    block
}

/// Writes index entries and tail. The hash of the first entry is implied; limit and count (`struct dx_countlimit`)
/// stand in its place.
fn index(block: &mut [u8], start: usize, limit: usize, children: &[(u32, u32)], seed: Crc) {
    for (slot, (hash, child)) in block[start..].chunks_exact_mut(INDEX_ENTRY).zip(children) {
        put32(slot, 0, *hash);
        put32(slot, 4, *child);
    }
    put16(block, start, limit as u16);
    put16(block, start + 2, children.len() as u16);
    let tail = start + limit * INDEX_ENTRY;
    // The checksum covers the part in use, then the tail with a checksum of zero.
    let checksum = seed.with(&block[..start + children.len() * INDEX_ENTRY]).with(&[0; TAIL]).value();
    put32(block, tail + 4, checksum);
}
