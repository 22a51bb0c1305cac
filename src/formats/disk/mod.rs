//! Writers of disk formats: pure functions from values to bytes. No clock, no randomness, no I/O but through the reader
//! and writer that the caller passes in.
//!
//! A disk is a [`Pieces`]: its sorted non-zero ranges, each either bytes or a part of a blob. The ext4 writer makes the
//! pieces of a partition, the GPT writer those around it; the qcow2 and raw writers turn the whole into a file.
//! `formats::inspect` reads such files back.

mod blob;
pub(crate) mod cluster;
pub(crate) mod ext4;
pub(crate) mod fat;
pub(crate) mod gpt;
pub(crate) mod grub;
pub(crate) mod iso9660;
mod pieces;
pub(crate) mod qcow2;
pub(crate) mod raw;
#[cfg(test)]
pub(crate) mod testing;

pub use crate::common::tree::ContentSource;
pub use pieces::Data;
pub(crate) use pieces::{Piece, Pieces};
