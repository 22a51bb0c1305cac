//! The [superblock](https://docs.kernel.org/filesystems/ext4/super.html).

use super::Params;
use super::block::{BLOCK_U64, put_split, put16, put32};
use super::checksum::Crc;
use super::geometry::{DESCRIPTOR, GROUP_BLOCKS, Geometry, LOG_FLEX};
use super::htree::HALF_MD4;
use super::inode;

/// The size in bytes; its place on the disk, too.
pub const SIZE: usize = 1024;

/// has_journal, ext_attr, resize_inode, dir_index.
const COMPATIBLE: u32 = 0x4 | 0x8 | 0x10 | 0x20;
/// filetype, extents, 64bit, flex_bg. Not metadata_csum_seed: GRUB 2.06 refuses it.
const INCOMPATIBLE: u32 = 0x2 | 0x40 | 0x80 | 0x200;
/// sparse_super, large_file, huge_file, dir_nlink, extra_isize, metadata_csum.
const READ_ONLY_COMPATIBLE: u32 = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400;
/// user_xattr, acl.
const MOUNT_OPTIONS: u32 = 0x4 | 0x8;
/// Directory hashes take signed characters.
const SIGNED_HASH: u32 = 1;
/// Blocks that only root may use: one of so many.
const RESERVED_RATIO: u64 = 20;

/// What the superblock counts and repeats.
pub struct Totals {
    /// Free blocks in all groups.
    pub free_blocks: u64,
    /// Free inodes in all groups.
    pub free_inodes: u32,
    /// The journal's `i_block`, kept twice so that e2fsck can restore it.
    pub journal_map: [u8; 60],
    /// The journal's length in bytes.
    pub journal_size: u64,
}

/// The copy for the start of `group`.
pub fn encode(params: &Params, geometry: &Geometry, totals: &Totals, group: u64) -> Vec<u8> {
    let mut raw = vec![0; SIZE];
    put_counts(&mut raw, geometry, totals);
    put_state(&mut raw, params);
    put_features(&mut raw, params);
    put16(&mut raw, 0x5A, group as u16);
    raw[0x10C..0x10C + 60].copy_from_slice(&totals.journal_map);
    put_split(&mut raw, 0x10C + 64, 0x10C + 60, totals.journal_size);
    let checksum = Crc::START.with(&raw[..0x3FC]).value();
    put32(&mut raw, 0x3FC, checksum);
    raw
}

fn put_counts(raw: &mut [u8], geometry: &Geometry, totals: &Totals) {
    put32(raw, 0x00, geometry.inodes());
    put_split(raw, 0x04, 0x150, geometry.blocks);
    put_split(raw, 0x08, 0x154, geometry.blocks / RESERVED_RATIO);
    put_split(raw, 0x0C, 0x158, totals.free_blocks);
    put32(raw, 0x10, totals.free_inodes);
    // Block and cluster size as a power of two above 1024.
    let log = (BLOCK_U64 / 1024).trailing_zeros();
    put32(raw, 0x18, log);
    put32(raw, 0x1C, log);
    put32(raw, 0x20, GROUP_BLOCKS as u32);
    put32(raw, 0x24, GROUP_BLOCKS as u32);
    put32(raw, 0x28, geometry.inodes_per_group);
    put16(raw, 0xCE, geometry.reserved_blocks as u16);
}

/// Clean, never mounted, checked and written at the epoch; never to be checked for its age.
fn put_state(raw: &mut [u8], params: &Params) {
    let now = params.epoch.seconds();
    put32(raw, 0x30, now);
    put16(raw, 0x36, u16::MAX);
    put16(raw, 0x38, 0xEF53);
    put16(raw, 0x3A, 1);
    // On errors: continue, as mke2fs has it.
    put16(raw, 0x3C, 1);
    put32(raw, 0x40, now);
    put32(raw, 0x108, now);
}

fn put_features(raw: &mut [u8], params: &Params) {
    put32(raw, 0x4C, 1);
    put32(raw, 0x54, inode::LOST_FOUND);
    put16(raw, 0x58, inode::SIZE as u16);
    put32(raw, 0x5C, COMPATIBLE);
    put32(raw, 0x60, INCOMPATIBLE);
    put32(raw, 0x64, READ_ONLY_COMPATIBLE);
    raw[0x68..0x78].copy_from_slice(&params.uuid);
    raw[0x78..0x78 + params.label.len()].copy_from_slice(params.label.as_bytes());
    put32(raw, 0xE0, inode::JOURNAL);
    raw[0xEC..0xFC].copy_from_slice(&params.hash_seed);
    raw[0xFC] = HALF_MD4;
    // The copy of the journal's map is one of i_block.
    raw[0xFD] = 1;
    put16(raw, 0xFE, DESCRIPTOR as u16);
    put32(raw, 0x100, MOUNT_OPTIONS);
    put16(raw, 0x15C, inode::EXTRA);
    put16(raw, 0x15E, inode::EXTRA);
    put32(raw, 0x160, SIGNED_HASH);
    raw[0x174] = LOG_FLEX;
    // CRC-32C.
    raw[0x175] = 1;
}
