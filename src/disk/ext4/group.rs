//! [Group descriptors](https://docs.kernel.org/filesystems/ext4/group_descr.html): where a group's metadata is, what is
//! free in it, and the checksums of its bitmaps.

use std::ops::Range;

use super::bitmap;
use super::block::{BLOCK, put_split, put16};
use super::checksum::Crc;
use super::geometry::{DESCRIPTOR, GROUP_BLOCKS, Geometry};

/// The inode bitmap was never written: no inode is in use.
const INODE_UNINIT: u16 = 1;
/// The block bitmap was never written: only the group's own copy of the superblock is in use.
const BLOCK_UNINIT: u16 = 2;
/// The unused part of the inode table reads as zero. Ours always does.
const INODE_ZEROED: u16 = 4;

/// What is in use in one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Free blocks.
    pub free_blocks: u64,
    /// Inodes in use; they are the first ones of the table.
    pub inodes: u32,
    /// Directories among them.
    pub dirs: u32,
}

/// A group as it is stored.
pub struct Encoded {
    /// The descriptor.
    pub descriptor: Vec<u8>,
    /// The bitmaps that are not left to the kernel to make, with their places.
    pub bitmaps: Vec<(u64, Vec<u8>)>,
}

/// Builds descriptor and bitmaps. `used` are all blocks in use on the disk.
pub fn encode(geometry: &Geometry, number: usize, usage: &Usage, used: &[Range<u64>], seed: Crc) -> Encoded {
    let group = geometry.groups[number];
    let per_group = geometry.inodes_per_group;
    let mut raw = vec![0; DESCRIPTOR as usize];
    let mut flags = INODE_ZEROED;
    let mut bitmaps = Vec::new();
    if block_uninit(geometry, number, used) {
        flags |= BLOCK_UNINIT;
    } else {
        let bits = bitmap::blocks(&geometry.span(number), used);
        let checksum = seed.with(&bits[..(GROUP_BLOCKS / 8) as usize]);
        put16(&mut raw, 24, checksum.low());
        put16(&mut raw, 56, checksum.high());
        bitmaps.push((group.block_bitmap, bits));
    }
    if usage.inodes == 0 {
        flags |= INODE_UNINIT;
    } else {
        let bits = bitmap::inodes(usage.inodes, per_group);
        let checksum = seed.with(&bits[..per_group as usize / 8]);
        put16(&mut raw, 26, checksum.low());
        put16(&mut raw, 58, checksum.high());
        bitmaps.push((group.inode_bitmap, bits));
    }
    let mut pair = |low: usize, high: usize, value: u64| {
        put16(&mut raw, low, value as u16);
        put16(&mut raw, high, (value >> 16) as u16);
    };
    let free_inodes = u64::from(per_group - usage.inodes);
    pair(12, 44, usage.free_blocks);
    pair(14, 46, free_inodes);
    pair(16, 48, usage.dirs.into());
    // Those in use come first, so all that are free are behind them.
    pair(28, 50, free_inodes);
    put16(&mut raw, 18, flags);
    put_split(&mut raw, 0, 32, group.block_bitmap);
    put_split(&mut raw, 4, 36, group.inode_bitmap);
    put_split(&mut raw, 8, 40, group.inode_table);
    let checksum = seed.with(&(number as u32).to_le_bytes()).with(&raw).low();
    put16(&mut raw, 30, checksum);
    Encoded { descriptor: raw, bitmaps }
}

/// Free blocks of a group.
pub fn free_blocks(geometry: &Geometry, number: usize, used: &[Range<u64>]) -> u64 {
    let span = geometry.span(number);
    let taken: u64 = bitmap::within(&span, used).map(|range| range.end - range.start).sum();
    span.end - span.start - taken
}

/// Whether the kernel can make the bitmap itself: nothing in the group but its own copy of the superblock. The last
/// group always has a bitmap, as in mke2fs, because it may be short.
fn block_uninit(geometry: &Geometry, number: usize, used: &[Range<u64>]) -> bool {
    let span = geometry.span(number);
    let own = geometry.copy_in(number as u64);
    let last = number + 1 == geometry.groups.len();
    let leader = number.is_multiple_of(1 << super::geometry::LOG_FLEX);
    !last && !leader && free_blocks(geometry, number, used) == span.end - span.start - own
}

/// The table of all descriptors, filled up to whole blocks.
pub fn table(descriptors: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut table: Vec<u8> = descriptors.flatten().collect();
    table.resize(table.len().next_multiple_of(BLOCK), 0);
    table
}
