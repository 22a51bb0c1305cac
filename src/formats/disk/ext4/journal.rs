//! The [journal](https://docs.kernel.org/filesystems/ext4/journal.html): a file whose first block is its superblock; the
//! rest is empty and never written. All its numbers are big-endian.
//!
//! It has no features, as from mke2fs; the kernel sets those that it wants (checksums) at the first mount.

use super::block::{BLOCK, zeroed};

/// The shortest journal that the kernel mounts, in blocks.
pub(super) const MIN_BLOCKS: u32 = 1024;
/// The longest journal that e2fsprogs creates, in blocks.
pub(super) const MAX_BLOCKS: u32 = 10_240_000;

/// Field offsets in `struct journal_superblock_s`, by the names that it has for them without `s_` and `h_`.
mod field {
    pub(super) const MAGIC: usize = 0x00;
    pub(super) const BLOCKTYPE: usize = 0x04;
    pub(super) const BLOCKSIZE: usize = 0x0C;
    pub(super) const MAXLEN: usize = 0x10;
    /// The first block of the log.
    pub(super) const FIRST: usize = 0x14;
    /// The number of the first transaction.
    pub(super) const SEQUENCE: usize = 0x18;
    pub(super) const UUID: usize = 0x30;
    pub(super) const NR_USERS: usize = 0x40;
}

/// The [superblock](https://docs.kernel.org/filesystems/ext4/journal.html#super-block), version 2, of an empty journal.
pub(super) fn superblock(blocks: u32, uuid: &[u8; 16]) -> Vec<u8> {
    const MAGIC: u32 = 0xC03B_3998;
    const SUPERBLOCK_V2: u32 = 4;
    const SEQUENCE: u32 = 1;
    const USERS: u32 = 1;
    let mut block = zeroed();
    let mut put = |at: usize, value: u32| block[at..at + 4].copy_from_slice(&value.to_be_bytes());
    put(field::MAGIC, MAGIC);
    put(field::BLOCKTYPE, SUPERBLOCK_V2);
    put(field::BLOCKSIZE, BLOCK as u32);
    put(field::MAXLEN, blocks);
    put(field::FIRST, 1);
    // s_start stays 0: there is nothing to replay.
    put(field::SEQUENCE, SEQUENCE);
    put(field::NR_USERS, USERS);
    block[field::UUID..field::UUID + uuid.len()].copy_from_slice(uuid);
    block
}
