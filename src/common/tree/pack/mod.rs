//! The contents of a whole tree as one blob: a *pack*.
//!
//! The contents of all files are concatenated in tree order, each distinct digest once, at its first occurrence;
//! nothing else. So the index follows from the tree, or from its text, and a base system of tens of thousands of files
//! is one file to open. Contents that the tree holds itself are included: a tree parsed from its [text](super::text)
//! references them by digest, and must find them.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::ContentSource;
use super::{Content, Kind, Tree};
use crate::common::error::{Error, Result};
use crate::common::value::Sha256;

/// The number of bytes to copy at a time.
const CHUNK: usize = 256 << 10;

/// The place of each content in the pack of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackIndex {
    /// Offset and size by digest, in bytes.
    places: BTreeMap<Sha256, (u64, u64)>,
    len: u64,
}

impl PackIndex {
    /// The index of a tree's pack.
    ///
    /// # Errors
    /// A tree with two sizes for one digest.
    pub fn of(tree: &Tree) -> Result<Self> {
        lay_out(tree, |_| Ok(()))
    }

    /// Offset and size of a blob, in bytes.
    pub fn get(&self, digest: &Sha256) -> Option<(u64, u64)> {
        self.places.get(digest).copied()
    }

    /// The length of the pack in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if the pack has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Writes the pack of a tree, with contents from `source`, and returns its length in bytes.
///
/// # Errors
/// Errors of `source` and `out`; contents whose length differs from the tree's.
pub(crate) fn write(tree: &Tree, source: &dyn ContentSource, out: &mut dyn Write) -> Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let index = lay_out(tree, |item| match item {
        Item { held: Some(bytes), .. } => out.write_all(bytes).map_err(|e| Error::io("write a pack", &e)),
        Item { digest, size, held: None } => copy(source, &digest, size, out, &mut buffer),
    })?;
    Ok(index.len)
}

/// A content of a tree.
struct Item<'a> {
    digest: Sha256,
    size: u64,
    held: Option<&'a [u8]>,
}

/// Visits the distinct contents in the order of the pack.
fn lay_out(tree: &Tree, mut visit: impl FnMut(Item<'_>) -> Result<()>) -> Result<PackIndex> {
    let mut index = PackIndex { places: BTreeMap::new(), len: 0 };
    let mut place = |item: Item<'_>| {
        let (digest, size) = (item.digest, item.size);
        match index.places.get(&digest) {
            Some(&(_, known)) if known == size => return Ok(()),
            Some(&(_, known)) => {
                return Err(Error::integrity(format!("the tree has two sizes for sha256:{digest}: {known} and {size} bytes")));
            }
            None => {}
        }
        visit(item)?;
        index.places.insert(digest, (index.len, size));
        index.len = index.len.checked_add(size).ok_or_else(|| Error::integrity("the tree's contents exceed 2^64 bytes"))?;
        Ok(())
    };
    for (_, node) in tree.iter() {
        match &node.kind {
            Kind::File(Content::Inline(bytes)) => {
                place(Item { digest: Sha256::of(bytes), size: bytes.len() as u64, held: Some(bytes) })?;
            }
            Kind::File(Content::Blob { digest, size }) => place(Item { digest: *digest, size: *size, held: None })?,
            Kind::File(Content::Sparse { segments, .. }) => {
                segments.iter().try_for_each(|part| place(Item { digest: part.digest, size: part.size, held: None }))?;
            }
            _ => {}
        }
    }
    Ok(index)
}

fn copy(source: &dyn ContentSource, digest: &Sha256, size: u64, out: &mut dyn Write, buffer: &mut [u8]) -> Result<()> {
    let failed = |e| Error::io(format_args!("read sha256:{digest}"), &e);
    let mut reader = source.open(digest, size).map_err(failed)?;
    let mut done = 0;
    loop {
        match reader.read(buffer) {
            Ok(0) => break,
            Ok(n) => {
                out.write_all(&buffer[..n]).map_err(|e| Error::io("write a pack", &e))?;
                done += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(e)),
        }
    }
    if done != size {
        return Err(Error::integrity(format!("sha256:{digest} has {done} bytes, expected {size}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
