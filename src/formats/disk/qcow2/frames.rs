//! A file of frames for later images: clusters in stored form, by their descriptions
//! ([`super::super::cluster::describe`]).
//!
//! ```text
//! frames            back to back, in the order of the entries
//! entries           36 bytes each: the description's digest, the frame's length (32 bits, little-endian; a whole
//!                   cluster's length: stored uncompressed; 0: a cluster of zeros, which has no frame)
//! count             of the entries, 64 bits, little-endian
//! "kbake-frames-1\n\0"
//! ```
//!
//! The index is at the end, so that the file is written in one pass.

use std::io::{self, Write};

use crate::common::error::{Error, Result};
use crate::common::value::Sha256;
use crate::formats::disk::cluster::CLUSTER;

const MAGIC: &[u8; 16] = b"kbake-frames-1\n\0";
const ENTRY: u64 = 36;
const TAIL: u64 = 8 + MAGIC.len() as u64;

/// Writes a file of frames.
pub(crate) struct FramesWriter<W: Write> {
    out: W,
    entries: Vec<u8>,
}

impl<W: Write> FramesWriter<W> {
    /// An empty file.
    pub(crate) fn new(out: W) -> Self {
        FramesWriter { out, entries: Vec::new() }
    }

    /// Adds the next cluster: its description's digest, and its stored form, which is empty for a cluster of zeros.
    ///
    /// # Errors
    /// Errors of the file.
    pub(crate) fn put(&mut self, key: &Sha256, stored: &[u8]) -> io::Result<()> {
        self.entries.extend_from_slice(&key.0);
        self.entries.extend_from_slice(&(stored.len() as u32).to_le_bytes());
        self.out.write_all(stored)
    }

    /// Writes the index.
    ///
    /// # Errors
    /// Errors of the file.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        let count = self.entries.len() as u64 / ENTRY;
        self.out.write_all(&self.entries)?;
        self.out.write_all(&count.to_le_bytes())?;
        self.out.write_all(MAGIC)?;
        Ok(self.out)
    }
}

/// A cluster in a file of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The digest of its description.
    pub key: Sha256,
    /// The offset of its stored form in bytes.
    pub offset: u64,
    /// The length of its stored form; 0 for a cluster of zeros.
    pub len: u32,
}

/// Reads the index of a file of frames of `size` bytes through `read_at`.
///
/// # Errors
/// [`crate::Class::Integrity`] when the file is not valid; errors of `read_at`.
pub(crate) fn index(size: u64, read_at: &dyn Fn(&mut [u8], u64) -> io::Result<()>) -> Result<Vec<Kept>> {
    let broken = |what: &str| Error::integrity(format!("the file of frames is invalid: {what}"));
    let read = |len: u64, at: u64| {
        let mut bytes = vec![0; len as usize];
        read_at(&mut bytes, at).map_err(|e| Error::io("read the file of frames", &e)).map(|()| bytes)
    };
    let tail_at = size.checked_sub(TAIL).ok_or_else(|| broken("too short"))?;
    let tail = read(TAIL, tail_at)?;
    let (count, magic) = tail.split_at(8);
    if magic != MAGIC {
        return Err(broken("the magic number at the end is wrong"));
    }
    let count = u64::from_le_bytes(count.try_into().map_err(|_| broken("no count"))?);
    let entries_at = count.checked_mul(ENTRY).and_then(|len| tail_at.checked_sub(len)).ok_or_else(|| broken("more entries than bytes"))?;
    let entries = read(tail_at - entries_at, entries_at)?;
    let mut offset = 0;
    let mut all = Vec::with_capacity(entries.len() / ENTRY as usize);
    for entry in entries.chunks_exact(ENTRY as usize) {
        let (key, len) = entry.split_at(32);
        let key = Sha256(key.try_into().map_err(|_| broken("no digest"))?);
        let len = u32::from_le_bytes(len.try_into().map_err(|_| broken("no length"))?);
        if len as usize > CLUSTER {
            return Err(broken("a frame is longer than a cluster"));
        }
        all.push(Kept { key, offset, len });
        offset += u64::from(len);
    }
    if offset == entries_at { Ok(all) } else { Err(broken("the frame lengths do not add up")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &[u8]) -> Result<Vec<Kept>> {
        index(file.len() as u64, &|into, at| {
            let from = file.get(at as usize..at as usize + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            into.copy_from_slice(from);
            Ok(())
        })
    }

    fn file() -> Vec<u8> {
        let mut writer = FramesWriter::new(Vec::new());
        for (name, stored) in [("a", &b"frame"[..]), ("zeros", b""), ("plain", &[7; CLUSTER])] {
            writer.put(&Sha256::of(name), stored).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn the_index_lists_what_was_put() {
        let found = read(&file()).unwrap();
        let expected = [("a", 0, 5), ("zeros", 5, 0), ("plain", 5, CLUSTER as u32)];
        assert_eq!(found, expected.map(|(name, offset, len)| Kept { key: Sha256::of(name), offset, len }));
        assert_eq!(read(&FramesWriter::new(Vec::new()).finish().unwrap()).unwrap(), []);
    }

    #[test]
    fn files_that_are_not_frames_are_refused() {
        let good = file();
        let changed = |at: usize, byte: u8| {
            let mut file = good.clone();
            let at = file.len() - at;
            file[at] = byte;
            file
        };
        for (bad, why) in [
            (vec![], "too short"),
            (good[..good.len() - 1].to_vec(), "magic number"),
            (changed(1, 1), "magic number"),
            (changed(24, 2), "add up"),
            (changed(24, 4), "longer than a cluster"),
            (changed(18, 1), "more entries than bytes"),
            (changed(26, 2), "longer than a cluster"),
            (changed(28, 1), "longer than a cluster"),
            (good[1..].to_vec(), "add up"),
        ] {
            let error = read(&bad).unwrap_err();
            assert!(error.to_string().contains(why), "{why}: {error}");
        }
    }
}
