//! Blob writers.

use std::io::{self, Write};

use super::{BLOB_MODE, Blob, Store};
use crate::common::error::{Error, Result};
use crate::common::fsx::{self, Persisted, Temp};
use crate::common::value::{Hasher, Sha256, Size};

/// Writes and hashes a blob's bytes. Dropped before [`BlobWriter::commit`], it leaves nothing.
pub struct BlobWriter<'a> {
    store: &'a Store,
    temp: Temp,
    hasher: Hasher,
    size: u64,
    expected: Option<Sha256>,
    max_size: Option<u64>,
}

impl<'a> BlobWriter<'a> {
    pub(super) fn create(store: &'a Store, expected: Option<Sha256>, max_size: Option<u64>) -> Result<Self> {
        let temp = Temp::create(&store.tmp(), "blob-".as_ref())?;
        Ok(BlobWriter { store, temp, hasher: Hasher::new(), size: 0, expected, max_size })
    }

    /// [`Write::write_all`] with an error that names the store.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(|e| Error::io(format!("write to the store {}", self.store.root().display()), &e))
    }

    /// The number of bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Makes the bytes a durable blob. An existing blob is kept.
    ///
    /// # Errors
    /// [`crate::Class::Integrity`] if the bytes do not have the expected digest; nothing is kept then.
    pub fn commit(self) -> Result<Blob> {
        let store = self.store;
        let Unplaced { temp, blob } = self.finish()?;
        if place(store, temp, blob)? == Persisted::Done {
            store.note_hashed(&blob.digest)?;
        }
        Ok(blob)
    }

    /// Ends the writing. [`Store::place`] makes the bytes a blob, together with others.
    ///
    /// # Errors
    /// Those of [`BlobWriter::commit`].
    pub fn finish(self) -> Result<Unplaced> {
        let blob = Blob { digest: self.hasher.finish(), size: self.size };
        if let Some(expected) = self.expected
            && expected != blob.digest
        {
            return Err(Error::integrity("hash mismatch").detail(format!("expected sha256:{expected}  found sha256:{}", blob.digest)));
        }
        Ok(Unplaced { temp: self.temp, blob })
    }
}

/// A complete blob, not yet renamed to its digest. Dropped, it leaves nothing.
pub struct Unplaced {
    temp: Temp,
    blob: Blob,
}

impl Unplaced {
    /// The future blob.
    pub fn blob(&self) -> Blob {
        self.blob
    }
}

impl Store {
    /// Makes many blobs durable with one sync.
    pub fn place(&self, all: Vec<Unplaced>) -> Result<()> {
        let (mut files, mut digests) = (Vec::new(), Vec::new());
        for Unplaced { temp, blob } in all {
            // `holds` also moves a damaged blob in its place to quarantine.
            if !self.holds(&blob.digest, Some(blob.size))? {
                files.push((temp, self.own_path(&blob.digest)));
                digests.push(blob.digest);
            }
        }
        let placed = fsx::place_all(files, &self.root().join("blobs/sha256"), BLOB_MODE)?;
        let ours = digests.iter().zip(placed).filter(|(_, placed)| *placed == Persisted::Done);
        ours.map(|(digest, _)| digest).try_for_each(|digest| self.note_hashed(digest))
    }
}

/// Renames a file whose bytes are known to be `blob` to its digest, unless the blob is present.
pub(super) fn place(store: &Store, temp: Temp, blob: Blob) -> Result<Persisted> {
    let path = store.own_path(&blob.digest);
    if store.holds(&blob.digest, Some(blob.size))? {
        // Its writer may not have synced the folder yet, and the caller relies on the name.
        fsx::sync_dir(path.parent().unwrap_or(store.root()))?;
        return Ok(Persisted::WasThere);
    }
    temp.place(&path, BLOB_MODE)
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(max) = self.max_size
            && self.size.saturating_add(bytes.len() as u64) > max
        {
            return Err(Error::integrity(format!("more than the expected {} ({max} bytes)", Size(max))).into());
        }
        self.store.cancel.check()?;
        let n = self.temp.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
