//! The [journal](https://docs.kernel.org/filesystems/ext4/journal.html): a file whose first block describes it, and
//! whose rest is empty, so never written. All its numbers are big-endian.
//!
//! It is made without features, as mke2fs does; the kernel sets those that it wants (checksums) at the first mount.

use super::block::{BLOCK, zeroed};

/// The shortest journal that the kernel mounts, in blocks.
pub const MIN_BLOCKS: u32 = 1024;
/// The longest that e2fsprogs makes, in blocks.
pub const MAX_BLOCKS: u32 = 10_240_000;

/// The [superblock](https://docs.kernel.org/filesystems/ext4/journal.html#super-block), version 2, of an empty journal.
pub fn superblock(blocks: u32, uuid: &[u8; 16]) -> Vec<u8> {
    const MAGIC: u32 = 0xC03B_3998;
    const SUPERBLOCK_V2: u32 = 4;
    let mut block = zeroed();
    let mut put = |at: usize, value: u32| block[at..at + 4].copy_from_slice(&value.to_be_bytes());
    put(0x00, MAGIC);
    put(0x04, SUPERBLOCK_V2);
    put(0x0C, BLOCK as u32);
    put(0x10, blocks);
    // The first block of the log, the first transaction's number; no start means that nothing is to be replayed.
    put(0x14, 1);
    put(0x18, 1);
    // One filesystem uses it.
    put(0x40, 1);
    block[0x30..0x40].copy_from_slice(uuid);
    block
}
