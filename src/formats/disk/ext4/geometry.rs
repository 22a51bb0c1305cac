//! [Block groups](https://docs.kernel.org/filesystems/ext4/overview.html#block-groups): their number and size, and the
//! places of the metadata that every group must have.
//!
//! A group is 32,768 blocks (128 MiB), as many as one block of bitmap can count. Some groups start with a copy of the
//! superblock and the descriptors (sparse_super). Sixteen groups store their bitmaps and inode tables together at the
//! start of the first of them (flex_bg).

use std::ops::Range;

use super::block::{BLOCK, BLOCK_U64};

/// Blocks in a group.
pub(super) const GROUP_BLOCKS: u64 = 8 * BLOCK_U64;
/// Inodes in a block of an inode table.
pub(super) const INODES_PER_BLOCK: u32 = (BLOCK / super::inode::SIZE) as u32;
/// The number of groups whose bitmaps and tables lie together, as a power of two.
pub(super) const LOG_FLEX: u8 = 4;
/// Blocks of a flex group: 2 GiB.
pub(super) const FLEX_BLOCKS: u64 = GROUP_BLOCKS << LOG_FLEX;
/// The size of a group descriptor in bytes.
pub(super) const DESCRIPTOR: u64 = 64;
/// Bytes of disk per inode, as in mke2fs.
const INODE_RATIO: u64 = 16_384;
/// The most inodes of a group: as many as one block of bitmap can count.
const MAX_INODES_PER_GROUP: u64 = 8 * BLOCK_U64;
/// The number of groups that online growth is always possible to: 1 TiB.
const GROW_GROUPS: u64 = 8192;
/// The fewest usable blocks, beside its superblock copy, that a last group needs to be created; mke2fs's value.
const TAIL_MIN: u64 = 50;

/// The size is too small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unfit {
    /// Missing blocks; a lower bound.
    pub missing: u64,
}

/// The division of a filesystem into groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Blocks in all groups.
    pub blocks: u64,
    /// Inodes in each group.
    pub inodes_per_group: u32,
    /// Blocks of group descriptors.
    pub descriptor_blocks: u64,
    /// Blocks after the descriptors, reserved for the descriptors of future groups.
    pub reserved_blocks: u64,
    /// The metadata blocks of each group.
    pub groups: Vec<Group>,
    /// All blocks of fixed metadata, as sorted ranges that do not touch.
    pub fixed: Vec<Range<u64>>,
}

/// The blocks of one group's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    /// The bitmap of blocks.
    pub block_bitmap: u64,
    /// The bitmap of inodes.
    pub inode_bitmap: u64,
    /// The first block of the inode table.
    pub inode_table: u64,
}

impl Geometry {
    /// Divides `blocks` into groups with at least `inodes` inodes. A tail too short for a group is left out.
    pub(super) fn new(blocks: u64, inodes: u64) -> Result<Self, Unfit> {
        match Self::whole(blocks, inodes) {
            Err(_) if blocks > GROUP_BLOCKS && !blocks.is_multiple_of(GROUP_BLOCKS) => {
                let cut = blocks / GROUP_BLOCKS * GROUP_BLOCKS;
                Self::whole(cut, inodes)
            }
            result => result,
        }
    }

    /// Divides `blocks` into groups, down to the last block.
    fn whole(blocks: u64, inodes: u64) -> Result<Self, Unfit> {
        let count = blocks.div_ceil(GROUP_BLOCKS).max(1);
        // A short last group has as many as the others: otherwise one block more or less would change all tables.
        let usual = blocks.min(GROUP_BLOCKS) * BLOCK_U64 / INODE_RATIO;
        let per_group = inodes.div_ceil(count).max(usual).next_multiple_of(INODES_PER_BLOCK.into());
        if per_group > MAX_INODES_PER_GROUP {
            return Err(Unfit { missing: (inodes.div_ceil(MAX_INODES_PER_GROUP) * GROUP_BLOCKS).saturating_sub(blocks).max(1) });
        }
        let descriptor_blocks = (count * DESCRIPTOR).div_ceil(BLOCK_U64);
        let target = (GROW_GROUPS.max(count * 16) * DESCRIPTOR).div_ceil(BLOCK_U64);
        let mut geometry = Geometry {
            blocks,
            inodes_per_group: per_group as u32,
            descriptor_blocks,
            // The resize inode has one block of pointers: at most 1024.
            reserved_blocks: (target - descriptor_blocks).min(BLOCK_U64 / 4),
            groups: Vec::with_capacity(count as usize),
            fixed: Vec::new(),
        };
        let copies: Vec<Range<u64>> = (0..count).filter(|&group| has_super(group)).map(|group| geometry.copy(group)).collect();
        geometry.check_tail(count)?;
        geometry.place_groups(count, &copies)?;
        geometry.fixed = fixed(&geometry, copies);
        Ok(geometry)
    }

    fn check_tail(&self, count: u64) -> Result<(), Unfit> {
        let start = (count - 1) * GROUP_BLOCKS;
        let least = start + self.copy_in(count - 1) + TAIL_MIN;
        if self.blocks < least { Err(Unfit { missing: least - self.blocks }) } else { Ok(()) }
    }

    /// Places the bitmaps and tables of each flex group together, around the copies of the superblock.
    fn place_groups(&mut self, count: u64, copies: &[Range<u64>]) -> Result<(), Unfit> {
        let flex = 1u64 << LOG_FLEX;
        for first in (0..count).step_by(flex as usize) {
            let members = flex.min(count - first);
            let mut next = first * GROUP_BLOCKS;
            let mut place = |len: u64| {
                for copy in copies {
                    if next < copy.end && copy.start < next + len {
                        next = copy.end;
                    }
                }
                next += len;
                next - len
            };
            let block_bitmaps: Vec<u64> = (0..members).map(|_| place(1)).collect();
            let inode_bitmaps: Vec<u64> = (0..members).map(|_| place(1)).collect();
            let table_blocks = self.table_blocks();
            for (block_bitmap, inode_bitmap) in block_bitmaps.into_iter().zip(inode_bitmaps) {
                self.groups.push(Group { block_bitmap, inode_bitmap, inode_table: place(table_blocks) });
            }
            if next > self.blocks {
                return Err(Unfit { missing: next - self.blocks });
            }
        }
        Ok(())
    }

    /// The length in blocks of a superblock copy with the descriptors and their reserve.
    fn copy_len(&self) -> u64 {
        1 + self.descriptor_blocks + self.reserved_blocks
    }

    fn copy(&self, group: u64) -> Range<u64> {
        let start = group * GROUP_BLOCKS;
        start..start + self.copy_len()
    }

    /// Blocks of a group's inode table.
    pub(super) fn table_blocks(&self) -> u64 {
        (self.inodes_per_group / INODES_PER_BLOCK).into()
    }

    /// Blocks of fixed metadata.
    pub(super) fn fixed_blocks(&self) -> u64 {
        self.fixed.iter().map(|range| range.end - range.start).sum()
    }

    /// All groups but the first that start with a copy of the superblock and the descriptors.
    pub(super) fn backups(&self) -> impl Iterator<Item = u64> {
        (1..self.groups.len() as u64).filter(|&group| has_super(group))
    }

    /// Blocks at the start of `group` that a copy of the superblock and the descriptors takes; 0 if it has none.
    pub(super) fn copy_in(&self, group: u64) -> u64 {
        if has_super(group) { self.copy_len() } else { 0 }
    }

    /// The blocks of `group`; the last one may be short.
    pub(super) fn span(&self, group: usize) -> Range<u64> {
        let start = group as u64 * GROUP_BLOCKS;
        start..(start + GROUP_BLOCKS).min(self.blocks)
    }

    /// The number of inodes in all groups.
    pub(super) fn inodes(&self) -> u32 {
        self.inodes_per_group * self.groups.len() as u32
    }

    /// The group that contains an inode.
    pub(super) fn group_of(&self, inode: u32) -> usize {
        ((inode - 1) / self.inodes_per_group) as usize
    }
}

/// True if `group` has a copy of the superblock: 0, 1 and the powers of 3, 5 and 7.
fn has_super(group: u64) -> bool {
    let power_of = |base: u64| {
        let mut power = base;
        while power < group {
            power *= base;
        }
        power == group
    };
    group <= 1 || [3, 5, 7].into_iter().any(power_of)
}

/// All fixed metadata.
fn fixed(geometry: &Geometry, copies: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let tables = geometry.table_blocks();
    let mut all = copies;
    for group in &geometry.groups {
        all.push(group.block_bitmap..group.block_bitmap + 1);
        all.push(group.inode_bitmap..group.inode_bitmap + 1);
        all.push(group.inode_table..group.inode_table + tables);
    }
    merged(all)
}

/// Sorts disjoint ranges and merges those that touch.
pub(super) fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => merged.push(range),
        }
    }
    merged
}
