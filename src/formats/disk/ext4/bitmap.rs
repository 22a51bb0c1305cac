//! [Bitmaps](https://docs.kernel.org/filesystems/ext4/bitmaps.html) of blocks and inodes, one block of each per group.

use std::ops::Range;

use super::block::{BLOCK, zeroed};

/// Bits in a block.
const BITS: u64 = 8 * BLOCK as u64;

/// The bitmap of the blocks in `span`. Set bits: the blocks in `used` (sorted, disjoint), and those past the end of a
/// short last group.
pub(super) fn blocks(span: &Range<u64>, used: &[Range<u64>]) -> Vec<u8> {
    let mut bits = zeroed();
    for range in within(span, used) {
        set(&mut bits, range.start - span.start..range.end - span.start);
    }
    set(&mut bits, span.end - span.start..BITS);
    bits
}

/// The bitmap of a group whose first `used` of `count` inodes are in use.
pub(super) fn inodes(used: u32, count: u32) -> Vec<u8> {
    let mut bits = zeroed();
    set(&mut bits, 0..used.into());
    set(&mut bits, count.into()..BITS);
    bits
}

/// The intersection of `ranges` (sorted, disjoint) with `span`.
pub(super) fn within<'a>(span: &'a Range<u64>, ranges: &'a [Range<u64>]) -> impl Iterator<Item = Range<u64>> + 'a {
    let first = ranges.partition_point(|range| range.end <= span.start);
    ranges[first..].iter().take_while(|range| range.start < span.end).map(|range| range.start.max(span.start)..range.end.min(span.end))
}

fn set(bits: &mut [u8], range: Range<u64>) {
    for bit in range {
        bits[(bit / 8) as usize] |= 1 << (bit % 8);
    }
}
