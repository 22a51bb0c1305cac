//! The [superblock](https://docs.kernel.org/filesystems/ext4/super.html).

use super::Params;
use super::block::{BLOCK_U64, put_split, put16, put32};
use super::checksum::Crc;
use super::geometry::{DESCRIPTOR, GROUP_BLOCKS, Geometry, LOG_FLEX};
use super::htree::HALF_MD4;
use super::inode;

/// The size in bytes, and the offset of the primary superblock on the disk.
pub(super) const SIZE: usize = 1024;

/// Field offsets in `struct ext4_super_block`, by the names that it has for them without `s_`.
mod field {
    pub(super) const INODES_COUNT: usize = 0x00;
    pub(super) const BLOCKS_COUNT: (usize, usize) = (0x04, 0x150);
    pub(super) const R_BLOCKS_COUNT: (usize, usize) = (0x08, 0x154);
    pub(super) const FREE_BLOCKS_COUNT: (usize, usize) = (0x0C, 0x158);
    pub(super) const FREE_INODES_COUNT: usize = 0x10;
    pub(super) const LOG_BLOCK_SIZE: usize = 0x18;
    pub(super) const LOG_CLUSTER_SIZE: usize = 0x1C;
    pub(super) const BLOCKS_PER_GROUP: usize = 0x20;
    pub(super) const CLUSTERS_PER_GROUP: usize = 0x24;
    pub(super) const INODES_PER_GROUP: usize = 0x28;
    pub(super) const WTIME: usize = 0x30;
    pub(super) const MAX_MNT_COUNT: usize = 0x36;
    pub(super) const MAGIC: usize = 0x38;
    pub(super) const STATE: usize = 0x3A;
    pub(super) const ERRORS: usize = 0x3C;
    pub(super) const LASTCHECK: usize = 0x40;
    pub(super) const REV_LEVEL: usize = 0x4C;
    pub(super) const FIRST_INO: usize = 0x54;
    pub(super) const INODE_SIZE: usize = 0x58;
    pub(super) const BLOCK_GROUP_NR: usize = 0x5A;
    pub(super) const FEATURE_COMPAT: usize = 0x5C;
    pub(super) const FEATURE_INCOMPAT: usize = 0x60;
    pub(super) const FEATURE_RO_COMPAT: usize = 0x64;
    pub(super) const UUID: usize = 0x68;
    pub(super) const VOLUME_NAME: usize = 0x78;
    pub(super) const RESERVED_GDT_BLOCKS: usize = 0xCE;
    pub(super) const JOURNAL_INUM: usize = 0xE0;
    pub(super) const HASH_SEED: usize = 0xEC;
    pub(super) const DEF_HASH_VERSION: usize = 0xFC;
    pub(super) const JNL_BACKUP_TYPE: usize = 0xFD;
    pub(super) const DESC_SIZE: usize = 0xFE;
    pub(super) const DEFAULT_MOUNT_OPTS: usize = 0x100;
    pub(super) const MKFS_TIME: usize = 0x108;
    /// `i_block`, then the high and the low half of `i_size`.
    pub(super) const JNL_BLOCKS: usize = 0x10C;
    pub(super) const MIN_EXTRA_ISIZE: usize = 0x15C;
    pub(super) const WANT_EXTRA_ISIZE: usize = 0x15E;
    pub(super) const FLAGS: usize = 0x160;
    pub(super) const LOG_GROUPS_PER_FLEX: usize = 0x174;
    pub(super) const CHECKSUM_TYPE: usize = 0x175;
    pub(super) const CHECKSUM: usize = 0x3FC;
}

const MAGIC: u16 = 0xEF53;
/// `s_state`: cleanly unmounted.
const CLEAN: u16 = 1;
/// `s_max_mnt_count`: never to be checked for the number of mounts.
const NO_LIMIT: u16 = u16::MAX;
/// `s_errors`: continue, as mke2fs sets it.
const ERRORS_CONTINUE: u16 = 1;
/// `s_rev_level`: inodes of any size.
const DYNAMIC_REV: u32 = 1;
/// `s_jnl_backup_type`: the backup is one of `i_block` and `i_size`.
const JOURNAL_BACKUP_BLOCKS: u8 = 1;
/// `s_checksum_type`: CRC-32C.
const CRC32C: u8 = 1;
/// `s_feature_compat`: has_journal, ext_attr, resize_inode, dir_index.
const COMPATIBLE: u32 = 0x4 | 0x8 | 0x10 | 0x20;
/// `s_feature_incompat`: filetype, extents, 64bit, flex_bg. Not metadata_csum_seed: GRUB 2.06 refuses it.
const INCOMPATIBLE: u32 = 0x2 | 0x40 | 0x80 | 0x200;
/// `s_feature_ro_compat`: sparse_super, large_file, huge_file, dir_nlink, extra_isize, metadata_csum.
const READ_ONLY_COMPATIBLE: u32 = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400;
/// `s_default_mount_opts`: user_xattr, acl.
const MOUNT_OPTIONS: u32 = 0x4 | 0x8;
/// `s_flags`: directory hashes take names as signed characters.
const SIGNED_HASH: u32 = 1;
/// One block in this many is reserved for root.
const RESERVED_RATIO: u64 = 20;
/// The length of `i_block` in bytes.
const BLOCK_MAP: usize = 60;

/// Totals over all groups, and the backup of the journal's inode.
pub(super) struct Totals {
    /// Free blocks in all groups.
    pub free_blocks: u64,
    /// Free inodes in all groups.
    pub free_inodes: u32,
    /// The journal's `i_block`, kept here as well so that e2fsck can restore it.
    pub journal_map: [u8; BLOCK_MAP],
    /// The journal's length in bytes.
    pub journal_size: u64,
}

/// The copy for the start of `group`.
pub(super) fn encode(params: &Params, geometry: &Geometry, totals: &Totals, group: u64) -> Vec<u8> {
    let mut raw = vec![0; SIZE];
    put_counts(&mut raw, geometry, totals);
    put_state(&mut raw, params);
    put_features(&mut raw, params);
    put16(&mut raw, field::BLOCK_GROUP_NR, group as u16);
    let journal_size = field::JNL_BLOCKS + BLOCK_MAP;
    raw[field::JNL_BLOCKS..journal_size].copy_from_slice(&totals.journal_map);
    put_split(&mut raw, (journal_size + 4, journal_size), totals.journal_size);
    let checksum = Crc::START.with(&raw[..field::CHECKSUM]).value();
    put32(&mut raw, field::CHECKSUM, checksum);
    raw
}

fn put_counts(raw: &mut [u8], geometry: &Geometry, totals: &Totals) {
    put32(raw, field::INODES_COUNT, geometry.inodes());
    put_split(raw, field::BLOCKS_COUNT, geometry.blocks);
    put_split(raw, field::R_BLOCKS_COUNT, geometry.blocks / RESERVED_RATIO);
    put_split(raw, field::FREE_BLOCKS_COUNT, totals.free_blocks);
    put32(raw, field::FREE_INODES_COUNT, totals.free_inodes);
    // Powers of two above 1024 bytes.
    let log = (BLOCK_U64 / 1024).trailing_zeros();
    put32(raw, field::LOG_BLOCK_SIZE, log);
    put32(raw, field::LOG_CLUSTER_SIZE, log);
    put32(raw, field::BLOCKS_PER_GROUP, GROUP_BLOCKS as u32);
    put32(raw, field::CLUSTERS_PER_GROUP, GROUP_BLOCKS as u32);
    put32(raw, field::INODES_PER_GROUP, geometry.inodes_per_group);
    put16(raw, field::RESERVED_GDT_BLOCKS, geometry.reserved_blocks as u16);
}

/// Clean, never mounted, created, checked and written at the epoch; never to be checked for its age.
fn put_state(raw: &mut [u8], params: &Params) {
    let now = params.epoch.seconds();
    put32(raw, field::WTIME, now);
    put16(raw, field::MAX_MNT_COUNT, NO_LIMIT);
    put16(raw, field::MAGIC, MAGIC);
    put16(raw, field::STATE, CLEAN);
    put16(raw, field::ERRORS, ERRORS_CONTINUE);
    put32(raw, field::LASTCHECK, now);
    put32(raw, field::MKFS_TIME, now);
}

fn put_features(raw: &mut [u8], params: &Params) {
    put32(raw, field::REV_LEVEL, DYNAMIC_REV);
    put32(raw, field::FIRST_INO, inode::LOST_FOUND);
    put16(raw, field::INODE_SIZE, inode::SIZE as u16);
    put32(raw, field::FEATURE_COMPAT, COMPATIBLE);
    put32(raw, field::FEATURE_INCOMPAT, INCOMPATIBLE);
    put32(raw, field::FEATURE_RO_COMPAT, READ_ONLY_COMPATIBLE);
    raw[field::UUID..field::UUID + params.uuid.len()].copy_from_slice(&params.uuid);
    raw[field::VOLUME_NAME..field::VOLUME_NAME + params.label.len()].copy_from_slice(params.label.as_bytes());
    put32(raw, field::JOURNAL_INUM, inode::JOURNAL);
    raw[field::HASH_SEED..field::HASH_SEED + params.hash_seed.len()].copy_from_slice(&params.hash_seed);
    raw[field::DEF_HASH_VERSION] = HALF_MD4;
    raw[field::JNL_BACKUP_TYPE] = JOURNAL_BACKUP_BLOCKS;
    put16(raw, field::DESC_SIZE, DESCRIPTOR as u16);
    put32(raw, field::DEFAULT_MOUNT_OPTS, MOUNT_OPTIONS);
    put16(raw, field::MIN_EXTRA_ISIZE, inode::EXTRA);
    put16(raw, field::WANT_EXTRA_ISIZE, inode::EXTRA);
    put32(raw, field::FLAGS, SIGNED_HASH);
    raw[field::LOG_GROUPS_PER_FLEX] = LOG_FLEX;
    raw[field::CHECKSUM_TYPE] = CRC32C;
}
