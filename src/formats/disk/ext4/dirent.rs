//! [Directory entries](https://docs.kernel.org/filesystems/ext4/dynamic.html#linear-classic-directories), and the blocks
//! that hold them.

use super::block::{BLOCK, put16, put32, zeroed};
use super::checksum::Crc;
use super::inode::Type;

/// The size in bytes of the checksum at the end of a block of entries, disguised as an unused entry
/// (`struct ext4_dir_entry_tail`).
const TAIL: usize = 12;
/// The bytes of a block that entries may use.
pub(super) const ROOM: usize = BLOCK - TAIL;
/// The size of the entry `.` or `..` in bytes.
pub(super) const DOT: usize = 12;
/// The file type that marks the tail.
const TAIL_TYPE: u8 = 0xDE;

/// Field offsets in an entry (`struct ext4_dir_entry_2`). The tail has the same fields, and a checksum in place of a name.
mod field {
    pub(super) const INODE: usize = 0;
    pub(super) const REC_LEN: usize = 4;
    pub(super) const NAME_LEN: usize = 6;
    pub(super) const FILE_TYPE: usize = 7;
    pub(super) const NAME: usize = 8;
    pub(super) const TAIL_CHECKSUM: usize = 8;
}

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    /// 1 to 255 bytes.
    pub name: &'a [u8],
    /// The inode that the name refers to.
    pub inode: u32,
    /// The inode's file type.
    pub kind: Type,
}

impl Entry<'_> {
    /// The entry's size in bytes: header and name, rounded up to 4.
    pub(super) fn len(&self) -> usize {
        (field::NAME + self.name.len()).next_multiple_of(4)
    }
}

/// A block of entries; the last entry's record length reaches up to the tail.
pub(super) fn leaf<'a, 'b: 'a>(entries: impl Iterator<Item = &'a Entry<'b>>, seed: Crc) -> Vec<u8> {
    let mut block = zeroed();
    let (mut last, mut next) = (0, 0);
    for entry in entries {
        put_entry(&mut block, next, entry.len(), entry);
        (last, next) = (next, next + entry.len());
    }
    put16(&mut block, last + field::REC_LEN, (ROOM - last) as u16);
    put16(&mut block, ROOM + field::REC_LEN, TAIL as u16);
    block[ROOM + field::FILE_TYPE] = TAIL_TYPE;
    let checksum = seed.with(&block[..ROOM]).value();
    put32(&mut block, ROOM + field::TAIL_CHECKSUM, checksum);
    block
}

/// Writes an entry at byte `at`; the next entry starts `length` bytes after it.
pub(super) fn put_entry(block: &mut [u8], at: usize, length: usize, entry: &Entry) {
    put32(block, at + field::INODE, entry.inode);
    put16(block, at + field::REC_LEN, length as u16);
    block[at + field::NAME_LEN] = entry.name.len() as u8;
    block[at + field::FILE_TYPE] = entry.kind.entry();
    block[at + field::NAME..at + field::NAME + entry.name.len()].copy_from_slice(entry.name);
}
