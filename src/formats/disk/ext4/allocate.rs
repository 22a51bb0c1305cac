//! Allocation: the blocks of every inode, for one geometry. The second step of the layout.

use std::ops::Range;

use super::allocator::Allocator;
use super::block::CLUSTER;
use super::extent::{self, Mapping};
use super::geometry::{Geometry, merged};
use super::inventory::{Body, Inventory, Item};

/// The blocks of everything that has no fixed place.
pub(super) struct Allocation {
    /// The blocks of each item of the inventory.
    pub items: Vec<InodeBlocks>,
    /// The journal's blocks.
    pub journal: InodeBlocks,
    /// The resize inode's double-indirect block.
    pub double_indirect: u64,
    /// All blocks above, as sorted ranges that do not touch.
    pub used: Vec<Range<u64>>,
    /// One past the last block. May exceed the disk's size; the allocation is then invalid.
    pub end: u64,
}

/// The blocks of one inode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct InodeBlocks {
    /// The data blocks.
    pub map: Vec<Mapping>,
    /// The nodes of the extent tree. Allocated after the data, because their number depends on where the data lies.
    pub tree: Vec<u64>,
    /// The block of extended attributes.
    pub xattrs: Option<u64>,
}

impl InodeBlocks {
    /// The number of blocks of all kinds.
    pub(super) fn count(&self) -> u64 {
        self.map.iter().map(Mapping::len).sum::<u64>() + self.tree.len() as u64 + u64::from(self.xattrs.is_some())
    }

    /// Maps the file's blocks from `logical` on to `ranges`.
    fn add(&mut self, mut logical: u64, ranges: impl IntoIterator<Item = Range<u64>>) {
        for disk in ranges {
            let len = disk.end - disk.start;
            match self.map.last_mut() {
                Some(last) if last.disk.end == disk.start && last.logical + last.len() == logical => last.disk.end = disk.end,
                _ => self.map.push(Mapping { logical, disk }),
            }
            logical += len;
        }
    }

    /// Allocates the missing blocks of the extent tree.
    fn grow_tree(&mut self, allocator: &mut Allocator) {
        while self.tree.len() < extent::blocks_needed(&self.map) {
            self.tree.push(allocator.whole(1).start);
        }
    }
}

impl Allocation {
    /// Allocates everything, in the order that [`super`] describes.
    pub(super) fn of(inventory: &Inventory, geometry: &Geometry, journal_blocks: u32) -> Allocation {
        let mut allocator = Allocator::new(&geometry.fixed);
        let double_indirect = allocator.whole(1).start;
        let mut journal = InodeBlocks::default();
        journal.add(0, allocator.aligned(journal_blocks.into()));
        journal.grow_tree(&mut allocator);
        let mut items = vec![InodeBlocks::default(); inventory.items.len()];
        for large in [false, true] {
            allocator.align();
            for file in inventory.base.iter().filter(|file| is_large(&file.runs) == large) {
                let blocks = contents(&file.runs, &mut allocator);
                // A file that the tree lacks leaves a hole, so that nothing after it moves.
                if let Some(at) = file.item {
                    items[at] = blocks;
                }
            }
        }
        allocator.align();
        inventory.items.iter().zip(&mut items).for_each(|(item, blocks)| metadata(item, blocks, &mut allocator));
        for large in [false, true] {
            allocator.align();
            for (item, blocks) in inventory.items.iter().zip(&mut items) {
                if let Body::File { runs, in_base: false, .. } = &item.body
                    && is_large(runs) == large
                {
                    *blocks = InodeBlocks { xattrs: blocks.xattrs, ..contents(runs, &mut allocator) };
                }
            }
        }
        let used = used(items.iter().chain([&journal]), double_indirect);
        Allocation { items, journal, double_indirect, end: used.last().map_or(0, |range| range.end), used }
    }

    /// The number of allocated blocks.
    pub(super) fn used_blocks(&self) -> u64 {
        self.used.iter().map(|range| range.end - range.start).sum()
    }
}

/// Allocates the blocks of attributes, directories and long symlinks.
fn metadata(item: &Item, blocks: &mut InodeBlocks, allocator: &mut Allocator) {
    if item.xattrs.block.is_some() {
        blocks.xattrs = Some(allocator.whole(1).start);
    }
    match &item.body {
        Body::Dir { shape, .. } => {
            blocks.add(0, allocator.packed(shape.blocks()));
            blocks.grow_tree(allocator);
        }
        Body::LongLink(_) => blocks.add(0, [allocator.whole(1)]),
        _ => {}
    }
}

/// True if a file has a 64 KiB cluster or more, and so starts on a boundary of its own.
fn is_large(runs: &[Range<u64>]) -> bool {
    runs.iter().map(|run| run.end - run.start).sum::<u64>() >= CLUSTER
}

/// Allocates a file's blocks at the current position.
fn contents(runs: &[Range<u64>], allocator: &mut Allocator) -> InodeBlocks {
    let mut blocks = InodeBlocks::default();
    for run in runs {
        let count = run.end - run.start;
        if count >= CLUSTER {
            blocks.add(run.start, allocator.aligned(count));
        } else {
            blocks.add(run.start, [allocator.whole(count)]);
        }
    }
    blocks.grow_tree(allocator);
    blocks
}

/// All blocks of `inodes` and the block `other`, as sorted ranges that do not touch.
fn used<'a>(inodes: impl Iterator<Item = &'a InodeBlocks>, other: u64) -> Vec<Range<u64>> {
    let single = |block: u64| block..block + 1;
    let mut all = vec![single(other)];
    for inode in inodes {
        all.extend(inode.map.iter().map(|mapping| mapping.disk.clone()));
        all.extend(inode.tree.iter().copied().chain(inode.xattrs).map(single));
    }
    merged(all)
}
