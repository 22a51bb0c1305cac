//! A fresh ext4 filesystem as a pure function of a [`Tree`] and a few [`Params`].
//!
//! Four steps. `inventory` numbers the inodes and finds what each needs, `geometry` divides the disk into block groups,
//! `allocate` assigns blocks, `write` encodes everything as pieces. Each on-disk structure has a module of its own,
//! named after its section in the [format's description](https://docs.kernel.org/filesystems/ext4/). File contents are
//! never loaded; they stay blob pieces.
//!
//! The features are those of Debian 12's mke2fs without orphan_file: 4096-byte blocks, 256-byte inodes, extents,
//! metadata_csum, 64bit, flex_bg, a journal, and a resize inode with room to grow online to 1 TiB and more. Reserved
//! blocks are 5 %, as in mke2fs and so in the usual cloud images.
//!
//! The order on disk: the fixed metadata of the groups, the journal, the base's small files in path order, its large
//! files in path order; then the blocks of all directories, attributes and long symlinks; then the files that are not
//! the base's, small ones first, then large ones. Each of these regions, and each file of 64 KiB or more, starts on a
//! 64 KiB boundary.
//!
//! The contents of the base's files lie at the same offsets in all images over one base, as if the base were alone
//! ([`layout`] of the base over itself, whatever its UUID and seed): a file that the tree changes or lacks leaves a
//! hole, and its new contents go to the end. Directories, whose blocks no two images share, come after the base's
//! files, so that their number moves nothing. The regions before the base's files have a constant size too, as long as
//! the journals are equal: a size that follows from the tree ([`Size::Fit`]) is a whole number of flex groups. The
//! limits: a tree that needs more than one inode per 16 KiB gets larger inode tables, and one that fits its partition
//! in no whole flex group may have fewer of them in front; both move everything after them.

mod allocate;
mod allocator;
mod bitmap;
mod block;
mod checksum;
mod content;
mod directory;
mod dirent;
mod dirhash;
mod extent;
mod geometry;
mod group;
mod htree;
mod inode;
mod inventory;
mod journal;
mod resize;
mod superblock;
#[cfg(test)]
mod tests;
mod write;
mod xattr;

use crate::common::error::{Error, Result};
use crate::common::tree::Tree;
use crate::common::value::Epoch;
use crate::formats::disk::Pieces;

use allocate::Allocation;
use block::{BLOCK, BLOCK_U64};
use geometry::{Geometry, Unfit};
use inventory::Inventory;

/// The parameters of a filesystem beside its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// The filesystem's UUID.
    pub uuid: [u8; 16],
    /// The volume label: at most 16 bytes, none of them NUL.
    pub label: String,
    /// The seed of the directory hash (`s_hash_seed`). Fixed, so that directories are reproducible.
    pub hash_seed: [u8; 16],
    /// Access, change and creation time of every inode, and the times of the filesystem.
    pub epoch: Epoch,
    /// The filesystem's size.
    pub size: Size,
    /// The journal's length in 4096-byte blocks: 1024 to 10,240,000.
    pub journal_blocks: u32,
}

/// The size of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Exactly this many bytes, a multiple of 4096. A tail too short for a block group stays unused.
    Bytes(u64),
    /// The size that the tree needs, with at least `slack` bytes free: a multiple of 2 GiB (a flex group) if that fits
    /// into the partition, else of 1 MiB.
    Fit {
        /// Free space in bytes, the reserved blocks included.
        slack: u64,
        /// The length of the partition in bytes.
        room: u64,
    },
}

/// Multiples that [`Size::Fit`] rounds up to, in blocks, in order of preference: a flex group, 1 MiB.
const FIT_STEPS: [u64; 2] = [geometry::FLEX_BLOCKS, (1 << 20) / BLOCK_U64];
/// The first size whose block numbers do not fit the resize inode, in blocks: 16 TiB.
const MAX_BLOCKS: u64 = 1 << 32;

/// Lays out `tree` as an ext4 filesystem over `base`: all trees over the same base have its files at the same offsets.
/// Pass the tree itself if there is no base. Does no I/O; the same arguments give the same pieces.
///
/// # Errors
/// [`crate::Class::User`] when parameters are out of range, when the tree does not fit a given size, or when it holds
/// something that ext4 cannot store (the path is named): attributes larger than inode and block, a time outside
/// 1901–2446, more than 65,000 names of one file, a device number, symlink target or file size out of range.
pub fn layout(tree: &Tree, base: &Tree, params: &Params) -> Result<Pieces> {
    check(params)?;
    let lost = inventory::lost_found(params.epoch);
    let inventory = Inventory::of(tree, base, &lost, params.hash_seed)?;
    let (geometry, allocation, len) = match params.size {
        Size::Bytes(bytes) => exact(&inventory, bytes, params.journal_blocks)?,
        Size::Fit { slack, room } => fitting(&inventory, slack, room, params.journal_blocks)?,
    };
    Ok(Pieces::new(len, write::pieces(params, &inventory, &geometry, &allocation)?))
}

fn check(params: &Params) -> Result<()> {
    if params.label.len() > 16 || params.label.contains('\0') {
        return Err(Error::user(format!("`{}` is not a valid ext4 label", params.label.escape_debug()))
            .detail("expected at most 16 bytes, none of them NUL"));
    }
    if !(journal::MIN_BLOCKS..=journal::MAX_BLOCKS).contains(&params.journal_blocks) {
        return Err(Error::user(format!("an ext4 journal cannot have {} blocks", params.journal_blocks)).detail(format!(
            "expected {} to {} blocks of {BLOCK} bytes",
            journal::MIN_BLOCKS,
            journal::MAX_BLOCKS
        )));
    }
    let bytes = match params.size {
        Size::Bytes(bytes) => bytes,
        Size::Fit { slack, .. } => slack,
    };
    if matches!(params.size, Size::Bytes(_)) && !bytes.is_multiple_of(BLOCK_U64) {
        return Err(Error::user(format!("the ext4 size of {bytes} bytes is not a multiple of {BLOCK}")));
    }
    if bytes / BLOCK_U64 >= MAX_BLOCKS {
        return Err(Error::user(format!("an ext4 filesystem of {bytes} bytes is too large")).detail("expected less than 16 TiB"));
    }
    Ok(())
}

/// Geometry and allocation for a given size; the length is that size.
fn exact(inventory: &Inventory, bytes: u64, journal_blocks: u32) -> Result<(Geometry, Allocation, u64)> {
    match attempt(inventory, bytes / BLOCK_U64, journal_blocks, 0) {
        Ok((geometry, allocation)) => Ok((geometry, allocation, bytes)),
        Err(Unfit { missing }) => Err(Error::user(format!("the tree does not fit an ext4 filesystem of {bytes} bytes"))
            .detail(format!("{} inodes; at least {} bytes are missing", inventory.items.len(), missing.saturating_mul(BLOCK_U64)))
            .hint("choose a larger filesystem, or remove files from the tree")),
    }
}

/// Grows from a size that is certainly too small until everything fits, so that the result depends on the tree alone.
fn fitting(inventory: &Inventory, slack: u64, room: u64, journal_blocks: u32) -> Result<(Geometry, Allocation, u64)> {
    let slack = slack.div_ceil(BLOCK_U64);
    let room_blocks = (room / BLOCK_U64).min(MAX_BLOCKS - 1);
    let mut needed = 0;
    for step in FIT_STEPS {
        let mut blocks = (u64::from(journal_blocks) + slack).next_multiple_of(step);
        while blocks <= room_blocks {
            match attempt(inventory, blocks, journal_blocks, slack) {
                Ok((geometry, allocation)) => {
                    let len = geometry.blocks * BLOCK_U64;
                    return Ok((geometry, allocation, len));
                }
                Err(Unfit { missing }) => blocks = blocks.saturating_add(missing.max(1)).next_multiple_of(step),
            }
        }
        needed = blocks;
    }
    if room_blocks == MAX_BLOCKS - 1 {
        return Err(Error::user("the tree needs an ext4 filesystem of 16 TiB or more; expected less"));
    }
    Err(Error::user(format!("the tree does not fit its partition of {room} bytes"))
        .detail(format!("it needs an ext4 filesystem of at least {} bytes", needed.saturating_mul(BLOCK_U64)))
        .hint("remove files from the image that its machines can fetch later"))
}

/// A geometry and an allocation in it with `slack` blocks left, or the number of missing blocks.
fn attempt(inventory: &Inventory, blocks: u64, journal_blocks: u32, slack: u64) -> Result<(Geometry, Allocation), Unfit> {
    let geometry = Geometry::new(blocks, inventory.inodes_wanted())?;
    let allocation = Allocation::of(inventory, &geometry, journal_blocks);
    let missing = allocation.end.saturating_sub(geometry.blocks);
    if missing > 0 {
        // Counted from the requested size: a tail that was cut off does not help.
        return Err(Unfit { missing });
    }
    let free = geometry.blocks - allocation.used_blocks() - geometry.fixed_blocks();
    if free < slack {
        return Err(Unfit { missing: slack - free });
    }
    Ok((geometry, allocation))
}
