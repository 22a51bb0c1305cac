//! The block allocator: hands out each block once, from the start of the disk to its end.
//!
//! It never goes back. So an allocation does not depend on later ones, and the contents of files lie on disk in the
//! order of their allocation.

use std::ops::Range;

use super::block::CLUSTER;

/// Hands out blocks, skipping fixed metadata. Continues past the end of the disk, so that one pass gives the number of
/// missing blocks.
#[derive(Debug)]
pub(super) struct Allocator<'a> {
    fixed: &'a [Range<u64>],
    next: u64,
}

impl<'a> Allocator<'a> {
    /// Starts at block 0; `fixed` is sorted and disjoint.
    pub(super) fn new(fixed: &'a [Range<u64>]) -> Self {
        Allocator { fixed, next: 0 }
    }

    /// Advances to the next 64 KiB boundary with a free block, if not already at one.
    pub(super) fn align(&mut self) {
        loop {
            self.next = self.next.next_multiple_of(CLUSTER);
            // May skip fixed metadata, which need not end on a boundary.
            self.room();
            if self.next.is_multiple_of(CLUSTER) {
                return;
            }
        }
    }

    /// Allocates `count` contiguous blocks. For less than a cluster: the rest of a group may stay unused.
    pub(super) fn whole(&mut self, count: u64) -> Range<u64> {
        while self.room() < count {
            self.next = self.fixed[0].start;
        }
        self.take(count)
    }

    /// Allocates `count` blocks in as few ranges as the fixed metadata allows, each on a 64 KiB boundary. All but the
    /// last are whole clusters, because metadata starts on such boundaries: so clusters keep to the file's own 64 KiB
    /// grid.
    pub(super) fn aligned(&mut self, mut count: u64) -> Vec<Range<u64>> {
        let mut ranges = Vec::new();
        while count > 0 {
            self.align();
            let room = self.room();
            let range = self.take(count.min(room));
            count -= range.end - range.start;
            ranges.push(range);
        }
        ranges
    }

    /// Allocates `count` blocks from the current position, in as few ranges as the fixed metadata allows.
    pub(super) fn packed(&mut self, mut count: u64) -> Vec<Range<u64>> {
        if count < CLUSTER {
            return vec![self.whole(count)];
        }
        let mut ranges = Vec::new();
        while count > 0 {
            let room = self.room();
            let range = self.take(count.min(room));
            count -= range.end - range.start;
            ranges.push(range);
        }
        ranges
    }

    /// Skips fixed metadata at the current position; returns the number of free blocks up to the next fixed one.
    fn room(&mut self) -> u64 {
        while let Some(first) = self.fixed.first() {
            if self.next < first.start {
                return first.start - self.next;
            }
            self.next = self.next.max(first.end);
            self.fixed = &self.fixed[1..];
        }
        u64::MAX - self.next
    }

    fn take(&mut self, count: u64) -> Range<u64> {
        let range = self.next..self.next + count;
        self.next = range.end;
        range
    }
}
