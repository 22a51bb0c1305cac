//! [Metadata checksums](https://docs.kernel.org/filesystems/ext4/overview.html#checksums): CRC-32C, seeded by the filesystem.
//!
//! Only a filesystem opened by [`Ext::open_checked`] is checked: an audit reads what Linux would refuse, too.

use super::super::bytes::{le16, le32};
use super::super::disk::ReadError;
use super::super::filesystem::Node;
use super::Ext;
use super::folder::entry_len;
use super::inode::{INDEX, Inode};

/// The register before the first byte.
const START: u32 = !0;
/// The tail of a folder's leaf block, in bytes (`ext4_dir_entry_tail`).
const LEAF_TAIL: usize = 12;
/// The tail of a folder's index block, in bytes (`dx_tail`).
const INDEX_TAIL: usize = 8;
/// An entry of an index block, in bytes (`dx_entry`).
const INDEX_ENTRY: usize = 8;

/// Continues a checksum. ext4 keeps the raw register; the crate inverts it before and after.
fn crc(register: u32, parts: &[&[u8]]) -> u32 {
    parts.iter().fold(register, |register, part| !crc32c::crc32c_append(!register, part))
}

/// The start of a filesystem's checksums, where the superblock does not give it.
pub fn seed_of(uuid: &[u8]) -> u32 {
    crc(START, &[uuid])
}

fn compare(what: impl FnOnce() -> String, stored: u32, computed: u32) -> Result<(), ReadError> {
    if stored == computed {
        return Ok(());
    }
    Err(ReadError::Broken(format!("the checksum of {} is {stored:#010x}, and {computed:#010x} would be right", what())))
}

/// Checks a superblock's bytes against the checksum in their end.
pub fn check_superblock(bytes: &[u8]) -> Result<(), ReadError> {
    let (covered, stored) = bytes.split_at(1020);
    compare(|| "the superblock".into(), le32(stored, 0), crc(START, &[covered]))
}

impl Ext<'_> {
    pub(super) fn check_group(&self, group: u64, bytes: &[u8]) -> Result<(), ReadError> {
        let Some(seed) = self.seed else { return Ok(()) };
        let computed = crc(seed, &[&(group as u32).to_le_bytes(), &bytes[..30], &[0; 2], &bytes[32..]]);
        compare(|| format!("group {group}"), u32::from(le16(bytes, 30)), computed & 0xffff)
    }

    /// The start of the checksums of an inode and of its folder and extent blocks: includes number and generation.
    pub(super) fn inode_seed(&self, number: u32, raw: &[u8]) -> Option<u32> {
        self.seed.map(|seed| crc(seed, &[&number.to_le_bytes(), &raw[100..104]]))
    }

    /// Checks an inode. Its checksum has an upper half where the inode has room for it.
    pub(super) fn check_inode(&self, number: u32, raw: &[u8]) -> Result<(), ReadError> {
        let Some(seed) = self.inode_seed(number, raw) else { return Ok(()) };
        let what = || format!("inode {number}");
        let (base, extra) = raw.split_at(128);
        let low = crc(seed, &[&base[..124], &[0; 2], &base[126..]]);
        if extra.len() >= 4 && Inode(raw).extra_end() >= 132 {
            let stored = u32::from(le16(extra, 2)) << 16 | u32::from(le16(base, 124));
            return compare(what, stored, crc(low, &[&extra[..2], &[0; 2], &extra[4..]]));
        }
        compare(what, u32::from(le16(base, 124)), crc(low, &[extra]) & 0xffff)
    }

    /// Checks a block of a folder: a leaf has its checksum in a last, unused entry; an index block behind its last possible entry.
    pub(super) fn check_folder(&self, folder: &Node, is_first: bool, block: &[u8]) -> Result<(), ReadError> {
        let Some(seed) = self.inode_seed(folder.id as u32, &folder.raw) else { return Ok(()) };
        let what = || format!("a block of the folder with inode {}", folder.id);
        let is_indexed = Inode(&folder.raw).flags() & INDEX != 0;
        // To readers without indexes, an index block below the root is one deleted entry as long as the block.
        let is_node = le32(block, 0) == 0 && entry_len(block, 0) == block.len();
        let count_at = match (is_indexed, is_first) {
            (true, true) => 32,
            (true, false) if is_node => 8,
            _ => {
                let (covered, tail) = block.split_at(block.len() - LEAF_TAIL);
                return compare(what, le32(tail, 8), crc(seed, &[covered]));
            }
        };
        let (limit, count) = (usize::from(le16(block, count_at)), usize::from(le16(block, count_at + 2)));
        let tail = count_at + limit * INDEX_ENTRY;
        if count > limit || tail + INDEX_TAIL > block.len() {
            return Err(ReadError::Broken(format!("the index of the folder with inode {} is malformed", folder.id)));
        }
        let covered = &block[..count_at + count * INDEX_ENTRY];
        compare(what, le32(block, tail + 4), crc(seed, &[covered, &block[tail..tail + 4], &[0; 4]]))
    }

    /// Checks a block of an extent tree, whose checksum is behind its last possible entry. `seed` is the inode's.
    pub(super) fn check_extents(&self, seed: Option<u32>, block: &[u8]) -> Result<(), ReadError> {
        let Some(seed) = seed else { return Ok(()) };
        let end = 12 + usize::from(le16(block, 4)) * 12;
        match block.get(end..end + 4) {
            Some(stored) => compare(|| "a block of an extent tree".into(), le32(stored, 0), crc(seed, &[&block[..end]])),
            None => Err(ReadError::Broken("a block of an extent tree has more entries than fit".into())),
        }
    }

    /// Checks a block of extended attributes.
    pub(super) fn check_attributes(&self, block: u64, bytes: &[u8]) -> Result<(), ReadError> {
        let Some(seed) = self.seed else { return Ok(()) };
        let computed = crc(seed, &[&block.to_le_bytes(), &bytes[..16], &[0; 4], &bytes[20..]]);
        compare(|| format!("the attributes in block {block}"), le32(bytes, 16), computed)
    }
}
