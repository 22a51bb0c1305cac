//! The store as content source of the disk writers.

use std::io::{self, Read};

use super::{Store, Verifying};
use crate::common::error::Error;
use crate::common::tree::ContentSource;
use crate::common::value::Sha256;

/// The store's blobs as content of disks, verified while they are read.
#[derive(Debug, Clone, Copy)]
pub struct StoreSource<'a>(pub &'a Store);

impl ContentSource for StoreSource<'_> {
    fn open(&self, digest: &Sha256, size: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let Some(blob) = self.0.plain(digest)? else {
            if let Some(composed) = self.0.composed(digest)?
                && composed.size() == size
            {
                return Ok(Box::new(composed.reader()));
            }
            return Err(Error::integrity(format!("blob {digest} is gone from the store {}", self.0.root().display()))
                .hint("run the command again: the blob is fetched or made again")
                .into());
        };
        if blob.size() != size {
            return Err(blob.mismatch(&format!("{size} bytes were expected, it has {}", blob.size())).into());
        }
        Ok(Box::new(Verifying::whole(blob)?))
    }
}
