//! The destination of the bytes of an archive's files.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::common::error::{Error, Result};
use crate::common::tree::Content;
use crate::common::value::{Hasher, Sha256, TreePath};

/// Receives the bytes of files, one file after the other.
pub trait Sink {
    /// Stores the `size` bytes of `bytes`; returns their content for the tree. For a segment of a sparse file (the same
    /// path then occurs several times) the result must be a [`Content::Blob`].
    ///
    /// # Errors
    /// Errors of the reader (through [`Error::io`], which keeps messages about a hostile archive), or of the storage.
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content>;
}

/// A sink that keeps everything in memory, by digest. For tests and small archives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The contents of all files.
    pub blobs: BTreeMap<Sha256, Vec<u8>>,
}

impl Sink for Memory {
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content> {
        // Not `with_capacity(size)`: the size is only a claim until the bytes are read.
        let mut held = Vec::new();
        bytes.read_to_end(&mut held).map_err(|e| Error::io(format_args!("read {path}"), &e))?;
        let digest = Sha256::of(&held);
        self.blobs.insert(digest, held);
        Ok(Content::Blob { digest, size })
    }
}

/// Reads a file that is not needed: returns its content for the tree without storing the bytes.
///
/// # Errors
/// Errors of the reader; `what` names the archive.
pub fn discard(what: &str, size: u64, bytes: &mut dyn Read) -> Result<Content> {
    let mut hash = Hashing(Hasher::new());
    io::copy(bytes, &mut hash).map_err(|e| Error::io(format_args!("read {what}"), &e))?;
    Ok(Content::Blob { digest: hash.0.finish(), size })
}

struct Hashing(Hasher);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
