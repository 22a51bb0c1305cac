//! Where the bytes of an archive's files go.

use std::collections::BTreeMap;
use std::io::Read;

use crate::error::{Error, Result};
use crate::tree::Content;
use crate::value::{Sha256, TreePath};

/// Takes the bytes of files, one file after the other.
pub trait Sink {
    /// Keeps the `size` bytes that `bytes` gives and says what they are in the tree. For a stretch of a sparse file
    /// (the same path then comes more than once) the answer must be a [`Content::Blob`].
    ///
    /// # Errors
    /// Whatever reading gave (through [`Error::io`], which keeps a hostile archive's message), or a failure to store.
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content>;
}

/// Keeps everything in memory, by digest. For tests and small archives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The contents of all files.
    pub blobs: BTreeMap<Sha256, Vec<u8>>,
}

impl Sink for Memory {
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content> {
        // Not `with_capacity(size)`: a size is only a claim until the bytes have come.
        let mut held = Vec::new();
        bytes.read_to_end(&mut held).map_err(|e| Error::io(format_args!("read {path}"), &e))?;
        let digest = Sha256::of(&held);
        self.blobs.insert(digest, held);
        Ok(Content::Blob { digest, size })
    }
}
