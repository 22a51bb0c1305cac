//! [Group descriptors](https://docs.kernel.org/filesystems/ext4/group_descr.html): the places of a group's metadata, its free
//! blocks and inodes, and the checksums of its bitmaps.

use std::ops::Range;

use super::bitmap;
use super::block::{BLOCK, put_split, put16};
use super::checksum::Crc;
use super::geometry::{DESCRIPTOR, GROUP_BLOCKS, Geometry};

/// Field offsets in `struct ext4_group_desc`, by the names that it has for them without `bg_`: the low half, and the high
/// half of the 64-bit form.
mod field {
    pub(super) const BLOCK_BITMAP: (usize, usize) = (0x00, 0x20);
    pub(super) const INODE_BITMAP: (usize, usize) = (0x04, 0x24);
    pub(super) const INODE_TABLE: (usize, usize) = (0x08, 0x28);
    pub(super) const FREE_BLOCKS_COUNT: (usize, usize) = (0x0C, 0x2C);
    pub(super) const FREE_INODES_COUNT: (usize, usize) = (0x0E, 0x2E);
    pub(super) const USED_DIRS_COUNT: (usize, usize) = (0x10, 0x30);
    pub(super) const FLAGS: usize = 0x12;
    pub(super) const BLOCK_BITMAP_CSUM: (usize, usize) = (0x18, 0x38);
    pub(super) const INODE_BITMAP_CSUM: (usize, usize) = (0x1A, 0x3A);
    pub(super) const ITABLE_UNUSED: (usize, usize) = (0x1C, 0x32);
    pub(super) const CHECKSUM: usize = 0x1E;
}

/// `bg_flags`: the inode bitmap is not initialised, because no inode is in use.
const INODE_UNINIT: u16 = 1;
/// `bg_flags`: the block bitmap is not initialised, because only the group's own copy of the superblock is in use.
const BLOCK_UNINIT: u16 = 2;
/// `bg_flags`: the unused part of the inode table reads as zero. Ours always does.
const INODE_ZEROED: u16 = 4;

/// The usage of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    /// Free blocks.
    pub free_blocks: u64,
    /// Inodes in use: the first ones of the table.
    pub inodes: u32,
    /// Directories among them.
    pub dirs: u32,
}

/// A group's encoded metadata.
pub(super) struct Encoded {
    /// The descriptor.
    pub descriptor: Vec<u8>,
    /// The bitmaps that must be initialised, with their block numbers.
    pub bitmaps: Vec<(u64, Vec<u8>)>,
}

/// Encodes descriptor and bitmaps. `used` are all blocks in use on the disk.
pub(super) fn encode(geometry: &Geometry, number: usize, usage: &Usage, used: &[Range<u64>], seed: Crc) -> Encoded {
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
        put_halves(&mut raw, field::BLOCK_BITMAP_CSUM, checksum.value());
        bitmaps.push((group.block_bitmap, bits));
    }
    if usage.inodes == 0 {
        flags |= INODE_UNINIT;
    } else {
        let bits = bitmap::inodes(usage.inodes, per_group);
        let checksum = seed.with(&bits[..per_group as usize / 8]);
        put_halves(&mut raw, field::INODE_BITMAP_CSUM, checksum.value());
        bitmaps.push((group.inode_bitmap, bits));
    }
    let free_inodes = per_group - usage.inodes;
    put_halves(&mut raw, field::FREE_BLOCKS_COUNT, usage.free_blocks as u32);
    put_halves(&mut raw, field::FREE_INODES_COUNT, free_inodes);
    put_halves(&mut raw, field::USED_DIRS_COUNT, usage.dirs);
    // Inodes in use come first, so every free one is in the unused tail of the table.
    put_halves(&mut raw, field::ITABLE_UNUSED, free_inodes);
    put16(&mut raw, field::FLAGS, flags);
    put_split(&mut raw, field::BLOCK_BITMAP, group.block_bitmap);
    put_split(&mut raw, field::INODE_BITMAP, group.inode_bitmap);
    put_split(&mut raw, field::INODE_TABLE, group.inode_table);
    let checksum = seed.with(&(number as u32).to_le_bytes()).with(&raw).low();
    put16(&mut raw, field::CHECKSUM, checksum);
    Encoded { descriptor: raw, bitmaps }
}

/// Writes the low 16 bits of `value` at byte `low` and the high 16 bits at `high`.
fn put_halves(raw: &mut [u8], (low, high): (usize, usize), value: u32) {
    put16(raw, low, value as u16);
    put16(raw, high, (value >> 16) as u16);
}

/// The number of free blocks of a group.
pub(super) fn free_blocks(geometry: &Geometry, number: usize, used: &[Range<u64>]) -> u64 {
    let span = geometry.span(number);
    let taken: u64 = bitmap::within(&span, used).map(|range| range.end - range.start).sum();
    span.end - span.start - taken
}

/// True if the kernel can initialise the block bitmap itself: the group holds at most its own copy of the superblock. The
/// last group always has a bitmap, as in mke2fs, because it may be short.
fn block_uninit(geometry: &Geometry, number: usize, used: &[Range<u64>]) -> bool {
    let span = geometry.span(number);
    let own = geometry.copy_in(number as u64);
    let last = number + 1 == geometry.groups.len();
    let leader = number.is_multiple_of(1 << super::geometry::LOG_FLEX);
    !last && !leader && free_blocks(geometry, number, used) == span.end - span.start - own
}

/// The table of all descriptors, padded to whole blocks.
pub(super) fn table(descriptors: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut table: Vec<u8> = descriptors.flatten().collect();
    table.resize(table.len().next_multiple_of(BLOCK), 0);
    table
}
