//! Copies bytes into an archive: counts and hashes them, and compares them with the expected size and digest.

use std::io::{self, ErrorKind, Read, Write};

use crate::common::error::{Error, Result};
use crate::common::tree::ContentSource;
use crate::common::value::{Cancel, Hasher, Sha256};

/// The size of the buffer, in bytes.
const BUFFER: usize = 128 << 10;

/// A writer that hashes its bytes.
pub(super) struct Hashing<'a> {
    out: &'a mut dyn Write,
    hasher: Hasher,
    count: u64,
}

impl<'a> Hashing<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Hashing { out, hasher: Hasher::new(), count: 0 }
    }

    /// The digest and number of all bytes written.
    pub(super) fn finish(self) -> (Sha256, u64) {
        (self.hasher.finish(), self.count)
    }
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The source of blobs, and the cancellation flag.
pub(super) struct Copier<'a> {
    pub source: &'a dyn ContentSource,
    pub cancel: &'a Cancel,
}

impl Copier<'_> {
    /// Copies a blob to `out`, whose contents must be discarded on an error: the blob may be longer, shorter, or of
    /// another digest. Returns the first `head` bytes, or all if there are fewer. `what` names the blob in errors.
    pub(super) fn copy(&self, digest: Sha256, size: u64, what: &str, head: usize, out: &mut dyn Write) -> Result<Vec<u8>> {
        let wrong = |found: String| Error::integrity(format!("{what} has changed")).detail(format!("expected {found}"));
        let mut reader = self.source.open(&digest, size).map_err(|e| Error::io(format!("open {what}, sha256:{digest}"), &e))?;
        let mut out = Hashing::new(out);
        let mut seen = Vec::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            self.cancel.check()?;
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::io(format!("read {what}, sha256:{digest}"), &e)),
            };
            if out.count + count as u64 > size {
                return Err(wrong(format!("{size} bytes, found more")));
            }
            seen.extend_from_slice(&buffer[..count.min(head.saturating_sub(seen.len()))]);
            put(&mut out, &buffer[..count])?;
        }
        match out.finish() {
            (_, found) if found != size => Err(wrong(format!("{size} bytes, found {found}"))),
            (found, _) if found != digest => Err(wrong(format!("sha256:{digest}, found sha256:{found}"))),
            _ => Ok(seen),
        }
    }
}

/// Writes all of `bytes`.
pub(super) fn put(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(|e| Error::io("write a container image", &e))
}
