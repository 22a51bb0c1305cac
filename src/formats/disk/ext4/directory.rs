//! [Directories](https://docs.kernel.org/filesystems/ext4/dynamic.html#directory-entries): one block of entries, or a
//! hash tree of such blocks ([`super::htree`]).

use crate::common::error::{Error, Result};
use crate::common::value::TreePath;

use super::checksum::Crc;
use super::dirent::{DOT, Entry, ROOM, leaf};
use super::dirhash::DirHash;
use super::htree::{self, Index};
use super::inode::Type;

/// The layout of a directory's entries over blocks.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// All entries in the first block; the directory has this many blocks, the others empty.
    Linear(u64),
    /// Entries in the leaves of a hash tree.
    Indexed(Index),
}

impl Shape {
    /// Chooses the shape for `entries`; a linear directory has `least` blocks.
    pub(super) fn of(path: &TreePath, entries: &[Entry], hash: DirHash, least: u64) -> Result<Shape> {
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

    /// The number of blocks.
    pub(super) fn blocks(&self) -> u64 {
        match self {
            Shape::Linear(blocks) => *blocks,
            Shape::Indexed(index) => index.blocks(),
        }
    }

    /// The blocks in order. `seed` is the filesystem's checksum seed extended by the inode.
    pub(super) fn encode(&self, inode: u32, parent: u32, entries: &[Entry], seed: Crc) -> Vec<Vec<u8>> {
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
