//! Reading the blobs of a disk: each once, from start to end, with its length verified.

use std::io::{ErrorKind, Read};

use super::ContentSource;
use crate::common::error::{Error, Result};
use crate::common::value::Sha256;

/// A reader of a disk's blobs, in the order that [`super::Pieces`] guarantees.
pub(super) struct Blobs<'a> {
    source: &'a dyn ContentSource,
    open: Option<Open<'a>>,
}

/// The blob that is being read.
struct Open<'a> {
    digest: Sha256,
    size: u64,
    /// The number of bytes read so far.
    at: u64,
    reader: Box<dyn Read + Send + 'a>,
}

impl<'a> Blobs<'a> {
    /// Opens no blob yet.
    pub(super) fn new(source: &'a dyn ContentSource) -> Self {
        Blobs { source, open: None }
    }

    /// Fills `into` with the blob's bytes from `offset`: the end of the last call, or 0 for a new blob.
    ///
    /// Reads past the blob's last byte, so that a source with too many bytes is detected.
    pub(super) fn read(&mut self, digest: Sha256, size: u64, offset: u64, into: &mut [u8]) -> Result<()> {
        if offset == 0 {
            let reader = self.source.open(&digest, size).map_err(|e| Error::io(format!("open blob {digest}"), &e))?;
            self.open = Some(Open { digest, size, at: 0, reader });
        }
        match &mut self.open {
            Some(open) if open.digest == digest && open.at == offset => open.read(into)?,
            _ => return Err(Error::internal(format!("blob {digest} is read at byte {offset}, out of order"))),
        }
        if offset + into.len() as u64 == size
            && let Some(mut open) = self.open.take()
        {
            open.finish()?;
        }
        Ok(())
    }
}

impl Open<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < into.len() {
            let count = self.some(&mut into[filled..])?;
            if count == 0 {
                let found = self.at + filled as u64;
                return Err(Error::integrity(format!("blob {} is too short", self.digest))
                    .detail(format!("expected {} bytes, found {found}", self.size)));
            }
            filled += count;
        }
        self.at += filled as u64;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if self.some(&mut [0])? != 0 {
            return Err(
                Error::integrity(format!("blob {} is too long", self.digest)).detail(format!("expected {} bytes, found more", self.size))
            );
        }
        Ok(())
    }

    fn some(&mut self, into: &mut [u8]) -> Result<usize> {
        loop {
            match self.reader.read(into) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => return other.map_err(|e| Error::io(format!("read blob {}", self.digest), &e)),
            }
        }
    }
}
