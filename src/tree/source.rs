//! Where the contents that a tree names come from.

use std::io::{self, Read};

use crate::value::Sha256;

/// Gives the bytes of blobs.
///
/// A reader gives exactly the blob's bytes or fails: when the bytes do not have the digest, the read that would
/// give the last of them fails, so whoever read all can trust what it read.
pub trait ContentSource: Sync {
    /// Opens a blob for reading from its start.
    fn open(&self, digest: &Sha256, size: u64) -> io::Result<Box<dyn Read + Send + '_>>;
}
