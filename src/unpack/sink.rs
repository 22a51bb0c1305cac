//! Where the bytes of an archive's files go.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::error::{Error, Result};
use crate::tree::Content;
use crate::value::{Hasher, Sha256, TreePath};

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

/// Lets a file go by that nobody wants: what it is in the tree, with its bytes kept nowhere.
///
/// # Errors
/// Whatever reading gave, as of the archive `what`.
pub fn let_go(what: &str, size: u64, bytes: &mut dyn Read) -> Result<Content> {
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
