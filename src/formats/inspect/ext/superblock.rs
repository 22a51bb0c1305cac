//! The superblock: [format](https://docs.kernel.org/filesystems/ext4/super.html).

use super::super::bytes::{hex, le16, le32, text, wide};
use super::super::disk::ReadError;
use super::checksum::seed_of;
use crate::common::value::Guid;

/// Its offset in the filesystem, in bytes.
pub const AT: u64 = 1024;
/// Its length in bytes.
pub const SIZE: usize = 1024;

/// The most groups that are read: 16 TiB at the usual sizes.
const GROUPS_MAX: u64 = 1 << 17;

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
    ("inodes", 0, 4),
    ("blocks", 4, 4),
    ("reserved blocks", 8, 4),
    ("free blocks", 12, 4),
    ("free inodes", 16, 4),
    ("first data block", 20, 4),
    ("log of the block size", 24, 4),
    ("blocks per group", 32, 4),
    ("inodes per group", 40, 4),
    ("mount time", 44, 4),
    ("write time", 48, 4),
    ("mounts", 52, 2),
    ("mounts until a check", 54, 2),
    ("state", 58, 2),
    ("errors behaviour", 60, 2),
    ("check time", 64, 4),
    ("check interval", 68, 4),
    ("creator system", 72, 4),
    ("revision", 76, 4),
    ("first inode", 84, 4),
    ("inode size", 88, 2),
    ("compatible features", 92, 4),
    ("incompatible features", 96, 4),
    ("read-only features", 100, 4),
    ("journal's UUID", 208, 16),
    ("journal's inode", 224, 4),
    ("last orphan", 232, 4),
    ("hash seed", 236, 16),
    ("hash version", 252, 1),
    ("descriptor size", 254, 2),
    ("default mount options", 256, 4),
    ("make time", 264, 4),
    ("blocks, high half", 336, 4),
    ("flags", 352, 4),
    ("kilobytes written", 376, 8),
    ("mount options", 512, 64),
    ("checksum seed", 624, 4),
];

/// The fields that reading needs.
pub struct Superblock {
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
    pub fn has_magic(bytes: &[u8]) -> bool {
        le16(bytes, 56) == 0xef53
    }

    /// Reads a superblock and checks its numbers.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReadError> {
        let broken = |what: String| ReadError::Broken(what);
        let (compatible, incompatible, read_only) = (le32(bytes, 92), le32(bytes, 96), le32(bytes, 100));
        if incompatible & !READ != 0 {
            return Err(broken(format!("it has features that kbake cannot read: {:#x}", incompatible & !READ)));
        }
        let (log, cluster_log) = (le32(bytes, 24), le32(bytes, 28));
        if log > 6 || (read_only & BIGALLOC != 0 && !(log..=20).contains(&cluster_log)) {
            return Err(broken(format!("its blocks have 2^{} bytes", u64::from(log) + 10)));
        }
        let block_size = 1024 << log;
        let old = le32(bytes, 76) == 0;
        let inode_size = if old { 128 } else { u64::from(le16(bytes, 88)) };
        let descriptor_size = if incompatible & WIDE != 0 { u64::from(le16(bytes, 254)) } else { 32 };
        let high = if incompatible & WIDE != 0 { le32(bytes, 336) } else { 0 };
        let sb = Superblock {
            inodes: le32(bytes, 0),
            blocks: wide(high, le32(bytes, 4)),
            block_size,
            first_data_block: u64::from(le32(bytes, 20)),
            blocks_per_group: u64::from(le32(bytes, 32)),
            inodes_per_group: le32(bytes, 40),
            inode_size,
            descriptor_size,
            cluster: if read_only & BIGALLOC != 0 { 1 << (cluster_log - log) } else { 1 },
            first_meta_group: (incompatible & META_BG != 0).then(|| u64::from(le32(bytes, 260))),
            file_types: incompatible & FILETYPE != 0,
            sparse: read_only & SPARSE_SUPER != 0,
            backups: (compatible & SPARSE_SUPER2 != 0).then(|| [le32(bytes, 588), le32(bytes, 592)]),
            reserved_descriptors: u64::from(le16(bytes, 206)),
            journal_inode: if compatible & HAS_JOURNAL != 0 { le32(bytes, 224) } else { 0 },
            needs_recovery: incompatible & RECOVER != 0,
            extents: incompatible & EXTENTS != 0,
            checksum_seed: (read_only & METADATA_CSUM != 0).then(|| match incompatible & CSUM_SEED {
                0 => seed_of(&bytes[104..120]),
                _ => le32(bytes, 624),
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
    pub fn groups(&self) -> u64 {
        (self.blocks - self.first_data_block).div_ceil(self.blocks_per_group)
    }

    /// The filesystem's name, which follows from its features.
    pub fn word(&self) -> &'static str {
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
    let uuid = Guid::from_u128(u128::from_be_bytes(bytes[104..].first_chunk().copied().unwrap_or_default()));
    let texts = [("UUID", uuid.to_string()), ("label", text(&bytes[120..136])), ("last mounted on", text(&bytes[136..200]))];
    texts.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(FACTS.iter().map(number)).collect()
}
