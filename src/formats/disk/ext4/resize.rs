//! The resize inode: it owns the reserved blocks after each copy of the group descriptors, so that the descriptors can
//! grow while the filesystem is mounted.
//!
//! It uses the old, indirect block map. Its double-indirect block points at the reserved blocks after the primary
//! descriptors (each at its index among all descriptor blocks), and each of those, read as an indirect block, points at
//! the blocks of the same index after the backups.

use super::block::{BLOCK_U64, put32, zeroed};
use super::geometry::{GROUP_BLOCKS, Geometry};

/// Pointers in a block.
const POINTERS: u64 = BLOCK_U64 / 4;
/// The index of the double-indirect block in `i_block`.
const DOUBLE_INDIRECT: usize = 13;

/// The file's length in bytes: as if every block that a double-indirect map can address were there.
pub(super) const SIZE: u64 = (POINTERS * POINTERS + POINTERS + 12) * BLOCK_U64;

/// The number of blocks that belong to the file.
pub(super) fn blocks(geometry: &Geometry) -> u64 {
    1 + geometry.reserved_blocks * (1 + geometry.backups().count() as u64)
}

/// The inode's `i_block`.
pub(super) fn map(double_indirect: u64) -> [u8; 60] {
    let mut map = [0; 60];
    put32(&mut map, DOUBLE_INDIRECT * 4, double_indirect as u32);
    map
}

/// All blocks that are not zero, with their block numbers.
pub(super) fn encode(geometry: &Geometry, double_indirect: u64) -> Vec<(u64, Vec<u8>)> {
    let backups: Vec<u64> = geometry.backups().collect();
    let mut top = zeroed();
    let mut blocks = Vec::new();
    for rank in geometry.descriptor_blocks..geometry.descriptor_blocks + geometry.reserved_blocks {
        let place = 1 + rank;
        put32(&mut top, (rank % POINTERS) as usize * 4, place as u32);
        let mut pointers = zeroed();
        for (slot, group) in backups.iter().enumerate() {
            put32(&mut pointers, slot * 4, (group * GROUP_BLOCKS + place) as u32);
        }
        if !backups.is_empty() {
            blocks.push((place, pointers));
        }
    }
    blocks.push((double_indirect, top));
    blocks
}
