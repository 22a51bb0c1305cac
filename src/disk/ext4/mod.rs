//! A fresh ext4 filesystem as a pure function of a [`Tree`] and a few [`Params`].
//!
//! Two passes. The first lays out: `survey` numbers the inodes and says what each needs, `geometry` cuts the
//! disk into groups, `place` gives every need its blocks. The second emits: each on-disk structure has a module of
//! its own, named after its section in the [format's description](https://docs.kernel.org/filesystems/ext4/).
//! File contents are never held; they are blob pieces of the result.
//!
//! The features are those of Debian 12's mke2fs without orphan_file: 4096-byte blocks, 256-byte inodes, extents,
//! metadata_csum, 64bit, flex_bg, a journal, and a resize inode with room to grow online to 1 TiB and more.
//! Reserved blocks are 5 %, as in mke2fs and so in the usual cloud images.
//!
//! Where things lie, in this order: the fixed metadata of the groups, the journal, the base's small files in path order,
//! its large files in path order; then the blocks of all directories, attributes and long links; then those files that
//! are not the base's, the small ones, the large ones. Each of these stretches, and each file of 64 KiB or more, starts
//! on a 64 KiB boundary.
//!
//! The contents of the base's files lie at the same places in all images over one base, as if the base were alone
//! ([`layout`] of the base over itself, whatever its UUID and seed): a file that the tree changes or lacks leaves a
//! hole, and its new contents go behind. Directories, whose blocks no two images share, come after the base's files, so
//! that how many they are moves nothing. What comes before has one size too, as long as the journals are equal: a size
//! that follows from the tree ([`Size::Fit`]) is a whole number of flex groups. The limits: a tree that needs more than
//! one inode per 16 KiB gets larger inode tables, and one that fits its partition in no whole flex group may have fewer
//! of them in front; both move all else.

mod allocator;
mod bitmap;
mod block;
mod checksum;
mod content;
mod directory;
mod dirhash;
mod emit;
mod extent;
mod geometry;
mod group;
mod htree;
mod inode;
mod journal;
mod place;
mod resize;
mod superblock;
mod survey;
#[cfg(test)]
mod tests;
mod xattr;

use crate::disk::Pieces;
use crate::error::{Error, Result};
use crate::tree::Tree;
use crate::value::Epoch;

use block::{BLOCK, BLOCK_U64};
use geometry::{Geometry, Unfit};
use place::Placement;
use survey::Survey;

/// What a filesystem needs beside its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// The filesystem's UUID.
    pub uuid: [u8; 16],
    /// The volume label: at most 16 bytes, none of them NUL.
    pub label: String,
    /// The secret of the directory hash. Fixed, so that directories come out the same.
    pub hash_seed: [u8; 16],
    /// "Now": access, change and creation time of every inode, and of the filesystem.
    pub epoch: Epoch,
    /// How large it shall be.
    pub size: Size,
    /// The journal's length in 4096-byte blocks: 1024 to 10,240,000.
    pub journal_blocks: u32,
}

/// How large the filesystem shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Exactly so many bytes, a multiple of 4096. A tail too short for a block group of its own stays unused.
    Bytes(u64),
    /// As large as the tree needs, with at least `slack` bytes free: a multiple of 2 GiB (a flex group) if that fits
    /// into the partition, else of 1 MiB.
    Fit {
        /// Free space in bytes, the reserved blocks included.
        slack: u64,
        /// The length of the partition in bytes.
        room: u64,
    },
}

/// What [`Size::Fit`] rounds up to, in blocks: a flex group, or 1 MiB.
const FIT_STEPS: [u64; 2] = [geometry::FLEX_BLOCKS, (1 << 20) / BLOCK_U64];
/// The first size from which block numbers no longer fit the resize inode, in blocks: 16 TiB.
const MAX_BLOCKS: u64 = 1 << 32;

/// Lays out `tree` as an ext4 filesystem over `base`, the tree whose files lie alike in all that are made over it; the
/// tree itself where there is no such thing. Does no I/O; the same arguments give the same pieces.
///
/// # Errors
/// [`crate::Class::User`] when parameters are out of range, when the tree does not fit a given size, or when it holds
/// something that ext4 cannot say (the path is named): attributes larger than inode and block, a time outside
/// 1901–2446, more than 65,000 names of one file, a device number, link target or file size out of range.
pub fn layout(tree: &Tree, base: &Tree, params: &Params) -> Result<Pieces> {
    check(params)?;
    let lost = survey::lost_found(params.epoch);
    let survey = Survey::of(tree, base, &lost, params.hash_seed)?;
    let (geometry, placement, len) = match params.size {
        Size::Bytes(bytes) => exact(&survey, bytes, params.journal_blocks)?,
        Size::Fit { slack, room } => fitting(&survey, slack, room, params.journal_blocks)?,
    };
    Ok(Pieces::new(len, emit::pieces(params, &survey, &geometry, &placement)?))
}

fn check(params: &Params) -> Result<()> {
    if params.label.len() > 16 || params.label.contains('\0') {
        return Err(Error::user(format!("`{}` is no ext4 label", params.label.escape_debug()))
            .detail("expected at most 16 bytes, none of them NUL"));
    }
    if !(journal::MIN_BLOCKS..=journal::MAX_BLOCKS).contains(&params.journal_blocks) {
        return Err(Error::user(format!("an ext4 journal of {} blocks", params.journal_blocks)).detail(format!(
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
        return Err(Error::user(format!("an ext4 size of {bytes} bytes is no multiple of {BLOCK}")));
    }
    if bytes / BLOCK_U64 >= MAX_BLOCKS {
        return Err(Error::user(format!("an ext4 filesystem of {bytes} bytes")).detail("expected less than 16 TiB"));
    }
    Ok(())
}

/// Geometry and places for a given size; the length is that size.
fn exact(survey: &Survey, bytes: u64, journal_blocks: u32) -> Result<(Geometry, Placement, u64)> {
    match attempt(survey, bytes / BLOCK_U64, journal_blocks, 0) {
        Ok((geometry, placement)) => Ok((geometry, placement, bytes)),
        Err(Unfit { missing }) => Err(Error::user(format!("the tree does not fit an ext4 filesystem of {bytes} bytes"))
            .detail(format!("{} inodes; at least {} bytes are missing", survey.items.len(), missing.saturating_mul(BLOCK_U64)))
            .hint("raise the disk's size in the recipe")),
    }
}

/// Grows from a size that is surely too small until everything fits, so that the result depends on the tree alone.
fn fitting(survey: &Survey, slack: u64, room: u64, journal_blocks: u32) -> Result<(Geometry, Placement, u64)> {
    let slack = slack.div_ceil(BLOCK_U64);
    let room_blocks = (room / BLOCK_U64).min(MAX_BLOCKS - 1);
    let mut needed = 0;
    for step in FIT_STEPS {
        let mut blocks = (u64::from(journal_blocks) + slack).next_multiple_of(step);
        while blocks <= room_blocks {
            match attempt(survey, blocks, journal_blocks, slack) {
                Ok((geometry, placement)) => {
                    let len = geometry.blocks * BLOCK_U64;
                    return Ok((geometry, placement, len));
                }
                Err(Unfit { missing }) => blocks = blocks.saturating_add(missing.max(1)).next_multiple_of(step),
            }
        }
        needed = blocks;
    }
    if room_blocks == MAX_BLOCKS - 1 {
        return Err(Error::user("the tree needs an ext4 filesystem of 16 TiB or more"));
    }
    Err(Error::user(format!("the tree does not fit its partition of {room} bytes"))
        .detail(format!("it needs an ext4 filesystem of at least {} bytes", needed.saturating_mul(BLOCK_U64)))
        .hint("leave out of the image what its machines can fetch later"))
}

/// One geometry, and everything placed in it with `slack` blocks left, or how many blocks were missing.
fn attempt(survey: &Survey, blocks: u64, journal_blocks: u32, slack: u64) -> Result<(Geometry, Placement), Unfit> {
    let geometry = Geometry::new(blocks, survey.inodes_wanted())?;
    let placement = Placement::of(survey, &geometry, journal_blocks);
    let missing = placement.end.saturating_sub(geometry.blocks);
    if missing > 0 {
        // Counted from what was asked for: a tail that was cut is no help.
        return Err(Unfit { missing });
    }
    let free = geometry.blocks - placement.used_blocks() - geometry.fixed_blocks();
    if free < slack {
        return Err(Unfit { missing: slack - free });
    }
    Ok((geometry, placement))
}
