//! [Metadata checksums](https://docs.kernel.org/filesystems/ext4/overview.html#checksums): CRC-32C, seeded by the filesystem.
//!
//! Only a filesystem opened by [`Ext::open_checked`] is checked: an audit reads what Linux would refuse, too.

use std::ops::Range;

use super::super::bytes::{le16, le32};
use super::super::disk::ReadError;
use super::super::filesystem::Node;
use super::Ext;
use super::folder::entry_len;
use super::inode::{self, INDEX, Inode};
use super::{attribute, map};

/// The register before the first byte.
const START: u32 = !0;
/// The offset of the checksum in a superblock (`s_checksum`).
const SUPERBLOCK_CHECKSUM: usize = 0x3FC;
/// The bytes of a group descriptor's checksum (`bg_checksum`).
const GROUP_CHECKSUM: Range<usize> = 0x1E..0x20;
/// The tail of a folder's leaf block, in bytes (`ext4_dir_entry_tail`).
const LEAF_TAIL: usize = 12;
/// The offset of the checksum in that tail (`det_checksum`).
const LEAF_TAIL_CHECKSUM: usize = 8;
/// The tail of a folder's index block, in bytes (`dx_tail`).
const INDEX_TAIL: usize = 8;
/// The offset of the checksum in that tail (`dt_checksum`).
const INDEX_TAIL_CHECKSUM: usize = 4;
/// The offset of the entries in a folder's first block, in bytes (`dx_root`): behind `.` and `..` and the index's own fields.
const ROOT_ENTRIES: usize = 0x20;
/// The offset of the entries in any other index block, in bytes (`dx_node`): behind the deleted entry.
const NODE_ENTRIES: usize = 0x08;
/// An entry of an index block, in bytes (`dx_entry`).
const INDEX_ENTRY: usize = 8;

/// Continues a checksum. ext4 keeps the raw register; the crate inverts it before and after.
fn crc(register: u32, parts: &[&[u8]]) -> u32 {
    parts.iter().fold(register, |register, part| !crc32c::crc32c_append(!register, part))
}

/// The start of a filesystem's checksums, where the superblock does not give it.
pub(super) fn seed_of(uuid: &[u8]) -> u32 {
    crc(START, &[uuid])
}

fn compare(what: impl FnOnce() -> String, stored: u32, computed: u32) -> Result<(), ReadError> {
    if stored == computed {
        return Ok(());
    }
    Err(ReadError::Broken(format!("the checksum of {} is {stored:#010x}, and {computed:#010x} would be right", what())))
}

/// Checks a superblock's bytes against the checksum in their end.
pub(super) fn check_superblock(bytes: &[u8]) -> Result<(), ReadError> {
    let (covered, stored) = bytes.split_at(SUPERBLOCK_CHECKSUM);
    compare(|| "the superblock".into(), le32(stored, 0), crc(START, &[covered]))
}

impl Ext<'_> {
    pub(super) fn check_group(&self, number: u64, bytes: &[u8]) -> Result<(), ReadError> {
        let Some(seed) = self.seed else { return Ok(()) };
        let checksum = GROUP_CHECKSUM;
        let computed = crc(seed, &[&(number as u32).to_le_bytes(), &bytes[..checksum.start], &[0; 2], &bytes[checksum.end..]]);
        compare(|| format!("group {number}"), u32::from(le16(bytes, checksum.start)), computed & 0xffff)
    }

    /// The start of the checksums of an inode and of its folder and extent blocks: includes number and generation.
    pub(super) fn inode_seed(&self, number: u32, raw: &[u8]) -> Option<u32> {
        self.seed.map(|seed| crc(seed, &[&number.to_le_bytes(), &raw[inode::field::GENERATION]]))
    }

    /// Checks an inode. Its checksum has an upper half where the inode has room for it.
    pub(super) fn check_inode(&self, number: u32, raw: &[u8]) -> Result<(), ReadError> {
        let Some(seed) = self.inode_seed(number, raw) else { return Ok(()) };
        let what = || format!("inode {number}");
        let (low, high) = (inode::field::CHECKSUM_LO, inode::field::CHECKSUM_HI);
        let stored = u32::from(le16(raw, low.start));
        let base = crc(seed, &[&raw[..low.start], &[0; 2], &raw[low.end..inode::field::BASE]]);
        if raw.len() >= high.end && Inode(raw).extra_end() >= high.end {
            let stored = u32::from(le16(raw, high.start)) << 16 | stored;
            return compare(what, stored, crc(base, &[&raw[inode::field::BASE..high.start], &[0; 2], &raw[high.end..]]));
        }
        compare(what, stored, crc(base, &[&raw[inode::field::BASE..]]) & 0xffff)
    }

    /// Checks a block of a folder: a leaf has its checksum in a last, unused entry; an index block behind its last possible entry.
    pub(super) fn check_folder(&self, folder: &Node, is_first: bool, block: &[u8]) -> Result<(), ReadError> {
        let Some(seed) = self.inode_seed(folder.id as u32, &folder.raw) else { return Ok(()) };
        let what = || format!("a block of the folder with inode {}", folder.id);
        let is_indexed = Inode(&folder.raw).flags() & INDEX != 0;
        // To readers without indexes, an index block below the root is one deleted entry as long as the block.
        let is_node = le32(block, 0) == 0 && entry_len(block, 0) == block.len();
        let count_at = match (is_indexed, is_first) {
            (true, true) => ROOT_ENTRIES,
            (true, false) if is_node => NODE_ENTRIES,
            _ => {
                let (covered, tail) = block.split_at(block.len() - LEAF_TAIL);
                return compare(what, le32(tail, LEAF_TAIL_CHECKSUM), crc(seed, &[covered]));
            }
        };
        let (limit, count) = (usize::from(le16(block, count_at)), usize::from(le16(block, count_at + 2)));
        let tail = count_at + limit * INDEX_ENTRY;
        if count > limit || tail + INDEX_TAIL > block.len() {
            return Err(ReadError::Broken(format!("the index of the folder with inode {} is malformed", folder.id)));
        }
        let covered = &block[..count_at + count * INDEX_ENTRY];
        let checksum = tail + INDEX_TAIL_CHECKSUM;
        compare(what, le32(block, checksum), crc(seed, &[covered, &block[tail..checksum], &[0; 4]]))
    }

    /// Checks a block of an extent tree, whose checksum is behind its last possible entry. `seed` is the inode's.
    pub(super) fn check_extents(&self, seed: Option<u32>, block: &[u8]) -> Result<(), ReadError> {
        let Some(seed) = seed else { return Ok(()) };
        let end = map::HEADER + usize::from(le16(block, map::header_field::MAX)) * map::ENTRY;
        match block.get(end..end + 4) {
            Some(stored) => compare(|| "a block of an extent tree".into(), le32(stored, 0), crc(seed, &[&block[..end]])),
            None => Err(ReadError::Broken("a block of an extent tree has more entries than fit".into())),
        }
    }

    /// Checks a block of extended attributes.
    pub(super) fn check_attributes(&self, block: u64, bytes: &[u8]) -> Result<(), ReadError> {
        let Some(seed) = self.seed else { return Ok(()) };
        let checksum = attribute::CHECKSUM;
        let computed = crc(seed, &[&block.to_le_bytes(), &bytes[..checksum.start], &[0; 4], &bytes[checksum.end..]]);
        compare(|| format!("the attributes in block {block}"), le32(bytes, checksum.start), computed)
    }
}
