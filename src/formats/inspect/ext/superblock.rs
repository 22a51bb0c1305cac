//! The superblock: [format](https://docs.kernel.org/filesystems/ext4/super.html).

use super::super::bytes::{hex, le16, le32, text, wide};
use super::super::disk::ReadError;
use super::checksum::seed_of;
use crate::common::value::Uuid;

/// Its offset in the filesystem, in bytes.
pub(super) const AT: u64 = 1024;
/// Its length in bytes.
pub(super) const SIZE: usize = 1024;

/// Offsets of the fields in bytes, named as in the kernel without `s_`.
mod field {
    use std::ops::Range;

    pub(super) const INODES_COUNT: usize = 0x00;
    pub(super) const BLOCKS_COUNT_LO: usize = 0x04;
    pub(super) const R_BLOCKS_COUNT_LO: usize = 0x08;
    pub(super) const FREE_BLOCKS_COUNT_LO: usize = 0x0C;
    pub(super) const FREE_INODES_COUNT: usize = 0x10;
    pub(super) const FIRST_DATA_BLOCK: usize = 0x14;
    pub(super) const LOG_BLOCK_SIZE: usize = 0x18;
    pub(super) const LOG_CLUSTER_SIZE: usize = 0x1C;
    pub(super) const BLOCKS_PER_GROUP: usize = 0x20;
    pub(super) const INODES_PER_GROUP: usize = 0x28;
    pub(super) const MTIME: usize = 0x2C;
    pub(super) const WTIME: usize = 0x30;
    pub(super) const MNT_COUNT: usize = 0x34;
    pub(super) const MAX_MNT_COUNT: usize = 0x36;
    pub(super) const MAGIC: usize = 0x38;
    pub(super) const STATE: usize = 0x3A;
    pub(super) const ERRORS: usize = 0x3C;
    pub(super) const LASTCHECK: usize = 0x40;
    pub(super) const CHECKINTERVAL: usize = 0x44;
    pub(super) const CREATOR_OS: usize = 0x48;
    pub(super) const REV_LEVEL: usize = 0x4C;
    pub(super) const FIRST_INO: usize = 0x54;
    pub(super) const INODE_SIZE: usize = 0x58;
    pub(super) const FEATURE_COMPAT: usize = 0x5C;
    pub(super) const FEATURE_INCOMPAT: usize = 0x60;
    pub(super) const FEATURE_RO_COMPAT: usize = 0x64;
    pub(super) const UUID: Range<usize> = 0x68..0x78;
    pub(super) const VOLUME_NAME: Range<usize> = 0x78..0x88;
    pub(super) const LAST_MOUNTED: Range<usize> = 0x88..0xC8;
    pub(super) const RESERVED_GDT_BLOCKS: usize = 0xCE;
    pub(super) const JOURNAL_UUID: usize = 0xD0;
    pub(super) const JOURNAL_INUM: usize = 0xE0;
    pub(super) const LAST_ORPHAN: usize = 0xE8;
    pub(super) const HASH_SEED: usize = 0xEC;
    pub(super) const DEF_HASH_VERSION: usize = 0xFC;
    pub(super) const DESC_SIZE: usize = 0xFE;
    pub(super) const DEFAULT_MOUNT_OPTS: usize = 0x100;
    pub(super) const FIRST_META_BG: usize = 0x104;
    pub(super) const MKFS_TIME: usize = 0x108;
    pub(super) const BLOCKS_COUNT_HI: usize = 0x150;
    pub(super) const FLAGS: usize = 0x160;
    pub(super) const KBYTES_WRITTEN: usize = 0x178;
    pub(super) const MOUNT_OPTS: usize = 0x200;
    /// Two numbers.
    pub(super) const BACKUP_BGS: usize = 0x24C;
    pub(super) const CHECKSUM_SEED: usize = 0x270;
}

/// The most groups that are read: 16 TiB at the usual sizes.
const GROUPS_MAX: u64 = 1 << 17;

/// The magic number.
const MAGIC: u16 = 0xef53;

const HAS_JOURNAL: u32 = 0x4;
const SPARSE_SUPER2: u32 = 0x200;
const FILETYPE: u32 = 0x2;
const RECOVER: u32 = 0x4;
const META_BG: u32 = 0x10;
const EXTENTS: u32 = 0x40;
const WIDE: u32 = 0x80;
/// Incompatible features that are read, or that do not matter to a reader: file types in folders, recovery, meta groups,
/// extents, 64 bits, multiple mount protection, flexible groups, attributes in inodes of their own, the seed of checksums,
/// large folders, data in inodes, encryption (of single files), case folding.
const READ: u32 = 0x3_e7d6;
const SPARSE_SUPER: u32 = 0x1;
const BIGALLOC: u32 = 0x200;
const METADATA_CSUM: u32 = 0x400;
/// The seed of the checksums is a field of its own, so that the UUID can change.
const CSUM_SEED: u32 = 0x2000;

/// The fields that two filesystems are compared by: name, offset, length in bytes.
const FACTS: &[(&str, usize, usize)] = &[
    ("inodes", field::INODES_COUNT, 4),
    ("blocks", field::BLOCKS_COUNT_LO, 4),
    ("reserved blocks", field::R_BLOCKS_COUNT_LO, 4),
    ("free blocks", field::FREE_BLOCKS_COUNT_LO, 4),
    ("free inodes", field::FREE_INODES_COUNT, 4),
    ("first data block", field::FIRST_DATA_BLOCK, 4),
    ("log of the block size", field::LOG_BLOCK_SIZE, 4),
    ("blocks per group", field::BLOCKS_PER_GROUP, 4),
    ("inodes per group", field::INODES_PER_GROUP, 4),
    ("mount time", field::MTIME, 4),
    ("write time", field::WTIME, 4),
    ("mounts", field::MNT_COUNT, 2),
    ("mounts until a check", field::MAX_MNT_COUNT, 2),
    ("state", field::STATE, 2),
    ("errors behaviour", field::ERRORS, 2),
    ("check time", field::LASTCHECK, 4),
    ("check interval", field::CHECKINTERVAL, 4),
    ("creator system", field::CREATOR_OS, 4),
    ("revision", field::REV_LEVEL, 4),
    ("first inode", field::FIRST_INO, 4),
    ("inode size", field::INODE_SIZE, 2),
    ("compatible features", field::FEATURE_COMPAT, 4),
    ("incompatible features", field::FEATURE_INCOMPAT, 4),
    ("read-only features", field::FEATURE_RO_COMPAT, 4),
    ("journal's UUID", field::JOURNAL_UUID, 16),
    ("journal's inode", field::JOURNAL_INUM, 4),
    ("last orphan", field::LAST_ORPHAN, 4),
    ("hash seed", field::HASH_SEED, 16),
    ("hash version", field::DEF_HASH_VERSION, 1),
    ("descriptor size", field::DESC_SIZE, 2),
    ("default mount options", field::DEFAULT_MOUNT_OPTS, 4),
    ("make time", field::MKFS_TIME, 4),
    ("blocks, high half", field::BLOCKS_COUNT_HI, 4),
    ("flags", field::FLAGS, 4),
    ("kilobytes written", field::KBYTES_WRITTEN, 8),
    ("mount options", field::MOUNT_OPTS, 64),
    ("checksum seed", field::CHECKSUM_SEED, 4),
];

/// The fields that reading needs.
pub(super) struct Superblock {
    pub inodes: u32,
    pub blocks: u64,
    pub block_size: u64,
    pub first_data_block: u64,
    pub blocks_per_group: u64,
    pub inodes_per_group: u32,
    pub inode_size: u64,
    pub descriptor_size: u64,
    /// Blocks per bit of a bitmap.
    pub cluster: u64,
    pub first_meta_group: Option<u64>,
    pub file_types: bool,
    /// Only some groups have a copy of the superblock.
    pub sparse: bool,
    /// The only two groups with a copy, where the superblock names them.
    pub backups: Option<[u32; 2]>,
    pub reserved_descriptors: u64,
    pub journal_inode: u32,
    pub needs_recovery: bool,
    extents: bool,
    /// The start of all metadata checksums; none where there are no such checksums.
    pub checksum_seed: Option<u32>,
    pub facts: Vec<(String, String)>,
}

impl Superblock {
    /// True when the bytes have a superblock's magic number.
    pub(super) fn has_magic(bytes: &[u8]) -> bool {
        le16(bytes, field::MAGIC) == MAGIC
    }

    /// Reads a superblock and checks its numbers.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ReadError> {
        let broken = |what: String| ReadError::Broken(what);
        let (compatible, incompatible) = (le32(bytes, field::FEATURE_COMPAT), le32(bytes, field::FEATURE_INCOMPAT));
        let read_only = le32(bytes, field::FEATURE_RO_COMPAT);
        if incompatible & !READ != 0 {
            return Err(broken(format!("it has features that kbake cannot read: {:#x}", incompatible & !READ)));
        }
        let (log, cluster_log) = (le32(bytes, field::LOG_BLOCK_SIZE), le32(bytes, field::LOG_CLUSTER_SIZE));
        if log > 6 || (read_only & BIGALLOC != 0 && !(log..=20).contains(&cluster_log)) {
            return Err(broken(format!("its blocks have 2^{} bytes", u64::from(log) + 10)));
        }
        let block_size = 1024 << log;
        let old = le32(bytes, field::REV_LEVEL) == 0;
        let inode_size = if old { 128 } else { u64::from(le16(bytes, field::INODE_SIZE)) };
        let descriptor_size = if incompatible & WIDE != 0 { u64::from(le16(bytes, field::DESC_SIZE)) } else { 32 };
        let high = if incompatible & WIDE != 0 { le32(bytes, field::BLOCKS_COUNT_HI) } else { 0 };
        let sb = Superblock {
            inodes: le32(bytes, field::INODES_COUNT),
            blocks: wide(high, le32(bytes, field::BLOCKS_COUNT_LO)),
            block_size,
            first_data_block: u64::from(le32(bytes, field::FIRST_DATA_BLOCK)),
            blocks_per_group: u64::from(le32(bytes, field::BLOCKS_PER_GROUP)),
            inodes_per_group: le32(bytes, field::INODES_PER_GROUP),
            inode_size,
            descriptor_size,
            cluster: if read_only & BIGALLOC != 0 { 1 << (cluster_log - log) } else { 1 },
            first_meta_group: (incompatible & META_BG != 0).then(|| u64::from(le32(bytes, field::FIRST_META_BG))),
            file_types: incompatible & FILETYPE != 0,
            sparse: read_only & SPARSE_SUPER != 0,
            backups: (compatible & SPARSE_SUPER2 != 0).then(|| [le32(bytes, field::BACKUP_BGS), le32(bytes, field::BACKUP_BGS + 4)]),
            reserved_descriptors: u64::from(le16(bytes, field::RESERVED_GDT_BLOCKS)),
            journal_inode: if compatible & HAS_JOURNAL != 0 { le32(bytes, field::JOURNAL_INUM) } else { 0 },
            needs_recovery: incompatible & RECOVER != 0,
            extents: incompatible & EXTENTS != 0,
            checksum_seed: (read_only & METADATA_CSUM != 0).then(|| match incompatible & CSUM_SEED {
                0 => seed_of(&bytes[field::UUID]),
                _ => le32(bytes, field::CHECKSUM_SEED),
            }),
            facts: facts(bytes),
        };
        let sound = sb.blocks > sb.first_data_block
            && sb.first_data_block <= 1
            && sb.blocks_per_group > 0
            && sb.blocks_per_group <= sb.block_size * 8 * sb.cluster
            && sb.inodes_per_group > 0
            && u64::from(sb.inodes_per_group) <= sb.block_size * 8
            && sb.inode_size.is_power_of_two()
            && (128..=sb.block_size).contains(&sb.inode_size)
            && sb.descriptor_size.is_power_of_two()
            && (32..=sb.block_size).contains(&sb.descriptor_size)
            && sb.blocks < 1 << 48
            && sb.groups() <= GROUPS_MAX;
        if sound { Ok(sb) } else { Err(broken("the numbers in its superblock contradict each other".into())) }
    }

    /// The number of block groups.
    pub(super) fn groups(&self) -> u64 {
        (self.blocks - self.first_data_block).div_ceil(self.blocks_per_group)
    }

    /// The filesystem's name, which follows from its features.
    pub(super) fn word(&self) -> &'static str {
        match (self.extents, self.journal_inode) {
            (true, _) => "ext4",
            (false, 0) => "ext2",
            (false, _) => "ext3",
        }
    }
}

fn facts(bytes: &[u8]) -> Vec<(String, String)> {
    let number = |&(name, at, len): &(&str, usize, usize)| {
        let field = &bytes[at..at + len];
        let value = match len {
            1 => field[0].to_string(),
            2 => le16(field, 0).to_string(),
            4 if name.ends_with("features") || name == "flags" => format!("{:#x}", le32(field, 0)),
            4 => le32(field, 0).to_string(),
            _ => hex(field),
        };
        (name.to_owned(), value)
    };
    let uuid = Uuid::from_bytes(bytes[field::UUID].first_chunk().copied().unwrap_or_default());
    let texts =
        [("UUID", uuid.to_string()), ("label", text(&bytes[field::VOLUME_NAME])), ("last mounted on", text(&bytes[field::LAST_MOUNTED]))];
    texts.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(FACTS.iter().map(number)).collect()
}
