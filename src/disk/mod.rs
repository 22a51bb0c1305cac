//! Disk formats: pure functions from values to bytes. No clock, no randomness, no I/O but the reader and
//! writer that a caller hands in.
//!
//! A disk is a [`Pieces`]: the stretches that are not zero, in order, each either bytes or a part of a blob.
//! The ext4 writer makes the pieces of a partition, the GPT writer those around it; the qcow2 and raw writers
//! turn the whole into a file, which `readback` opens again to check it.

mod blob;
pub mod cluster;
pub mod ext4;
pub mod fat;
pub mod gpt;
pub mod grub;
pub mod iso9660;
#[cfg(test)]
pub(crate) mod judge;
mod pieces;
pub mod qcow2;
pub mod raw;
pub mod readback;

pub use crate::tree::ContentSource;
pub use pieces::{Data, Piece, Pieces};
