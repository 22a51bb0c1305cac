//! [Directories](https://docs.kernel.org/filesystems/ext4/dynamic.html#linear-classic-directories): one block of entries,
//! or a hash-indexed set of them ([`super::htree`]).

use crate::error::{Error, Result};
use crate::value::TreePath;

use super::block::{BLOCK, put16, put32, zeroed};
use super::checksum::Crc;
use super::dirhash::DirHash;
use super::htree::{self, Index};
use super::inode::Type;

/// The checksum at the end of a block of entries, dressed up as an unused entry.
pub const TAIL: usize = 12;
/// The bytes of a block that entries may use.
pub const ROOM: usize = BLOCK - TAIL;
/// The size of the entry `.` or `..` in bytes.
pub const DOT: usize = 12;
/// The file type by which the tail says that it is one.
const TAIL_TYPE: u8 = 0xDE;

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// 1 to 255 bytes.
    pub name: &'a [u8],
    /// What it names.
    pub inode: u32,
    /// What that is.
    pub kind: Type,
}

impl Entry<'_> {
    /// The bytes that the entry needs: a header of 8, and the name, rounded up to 4.
    pub fn len(&self) -> usize {
        (8 + self.name.len()).next_multiple_of(4)
    }
}

/// How a directory's entries are spread over blocks.
#[derive(Debug, Clone)]
pub enum Shape {
    /// All in the first of so many blocks; the rest is empty.
    Linear(u64),
    /// By hash.
    Indexed(Index),
}

impl Shape {
    /// Spreads `entries`, over at least `least` blocks if one is enough for them.
    pub fn of(path: &TreePath, entries: &[Entry], hash: DirHash, least: u64) -> Result<Shape> {
        if 2 * DOT + entries.iter().map(Entry::len).sum::<usize>() <= ROOM {
            return Ok(Shape::Linear(least));
        }
        Index::of(entries, hash).map(Shape::Indexed).ok_or_else(|| {
            Error::user(format!("the folder {path} has too many entries for ext4")).detail(format!(
                "found {} entries; a two-level index has room for {} blocks of them",
                entries.len(),
                htree::MAX_LEAVES
            ))
        })
    }

    /// Blocks of the directory.
    pub fn blocks(&self) -> u64 {
        match self {
            Shape::Linear(blocks) => *blocks,
            Shape::Indexed(index) => index.blocks(),
        }
    }

    /// The blocks of the directory in order. `seed` is the inode's.
    pub fn encode(&self, inode: u32, parent: u32, entries: &[Entry], seed: Crc) -> Vec<Vec<u8>> {
        match self {
            Shape::Linear(blocks) => {
                let dots = [(&b"."[..], inode), (b"..", parent)].map(|(name, inode)| Entry { name, inode, kind: Type::Dir });
                let mut all = vec![leaf(dots.iter().chain(entries), seed)];
                all.resize_with(*blocks as usize, || leaf([].iter(), seed));
                all
            }
            Shape::Indexed(index) => index.encode(inode, parent, entries, seed),
        }
    }
}

/// A block of entries (`struct ext4_dir_entry_2`); the last one reaches up to the tail.
pub fn leaf<'a, 'b: 'a>(entries: impl Iterator<Item = &'a Entry<'b>>, seed: Crc) -> Vec<u8> {
    let mut block = zeroed();
    let (mut last, mut next) = (0, 0);
    for entry in entries {
        put_entry(&mut block, next, entry.len(), entry);
        (last, next) = (next, next + entry.len());
    }
    put16(&mut block, last + 4, (ROOM - last) as u16);
    put16(&mut block, ROOM + 4, TAIL as u16);
    block[ROOM + 7] = TAIL_TYPE;
    let checksum = seed.with(&block[..ROOM]).value();
    put32(&mut block, ROOM + 8, checksum);
    block
}

/// One entry at byte `at`, which says that the next comes `length` bytes on.
pub fn put_entry(block: &mut [u8], at: usize, length: usize, entry: &Entry) {
    put32(block, at, entry.inode);
    put16(block, at + 4, length as u16);
    block[at + 6] = entry.name.len() as u8;
    block[at + 7] = entry.kind.entry();
    block[at + 8..at + 8 + entry.name.len()].copy_from_slice(entry.name);
}
