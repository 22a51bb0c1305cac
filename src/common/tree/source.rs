//! The source of the contents that a tree references.

use std::io::{self, Read};

use crate::common::value::Sha256;

/// A source of blobs.
///
/// A reader returns exactly the blob's bytes or fails: if they do not match the digest, the read of the last bytes
/// fails, so that a caller that has read everything can trust it.
pub trait ContentSource: Sync {
    /// Opens a blob for reading from its start.
    fn open(&self, digest: &Sha256, size: u64) -> io::Result<Box<dyn Read + Send + '_>>;
}
