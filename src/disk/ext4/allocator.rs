//! Blocks for everything that is not fixed, handed out once, from the start of the disk to its end.
//!
//! Never going back keeps two promises cheap: what was placed before does not depend on what comes after, and the
//! contents of files lie on disk in the order in which they were placed.

use std::ops::Range;

use super::block::CLUSTER;

/// Hands out blocks, jumping over fixed metadata. Goes on behind the end of the disk, so that one pass tells how much
/// is missing.
#[derive(Debug)]
pub struct Allocator<'a> {
    fixed: &'a [Range<u64>],
    next: u64,
}

impl<'a> Allocator<'a> {
    /// Starts at block 0; `fixed` is sorted and disjoint.
    pub fn new(fixed: &'a [Range<u64>]) -> Self {
        Allocator { fixed, next: 0 }
    }

    /// Goes to the next 64 KiB boundary (if it is not at one) with a free block.
    pub fn align(&mut self) {
        loop {
            self.next = self.next.next_multiple_of(CLUSTER);
            // May jump over fixed metadata, which need not end on a boundary.
            self.room();
            if self.next.is_multiple_of(CLUSTER) {
                return;
            }
        }
    }

    /// `count` blocks in a row. For less than a cluster: the rest of a group may stay unused for it.
    pub fn whole(&mut self, count: u64) -> Range<u64> {
        while self.room() < count {
            self.next = self.fixed[0].start;
        }
        self.take(count)
    }

    /// `count` blocks in as few stretches as the fixed metadata allows, each on a 64 KiB boundary. All but the last
    /// are whole clusters, because metadata starts on such boundaries: so clusters keep to the file's own 64 KiB grid.
    pub fn aligned(&mut self, mut count: u64) -> Vec<Range<u64>> {
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

    /// `count` blocks from right here, in as few stretches as the fixed metadata allows.
    pub fn packed(&mut self, mut count: u64) -> Vec<Range<u64>> {
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

    /// Free blocks from `next` on up to the next fixed one, after jumping over those right here.
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
