//! The contents of a whole tree as one blob: a *pack*.
//!
//! All files' contents lie back to back in tree order, each distinct digest once, where it comes first; nothing
//! else. So the index follows from the tree, or from its text, and a base system of tens of thousands of files is
//! one file to open. Contents that the tree holds itself are in the pack too: a tree that came back from its
//! [text](super::text) names them by digest, and must find them.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use super::ContentSource;
use super::{Content, Kind, Tree};
use crate::error::{Error, Result};
use crate::value::{Hasher, Sha256};

/// Bytes read at a time where the caller asks for less.
const CHUNK: usize = 256 << 10;

/// Bytes at positions: an open file, as far as a pack needs one.
pub trait ReadAt: Sync {
    /// Reads at `offset` (in bytes) into `buffer`; 0 only at the end or for an empty buffer.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.as_slice().read_at(offset, buffer)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buffer)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buffer)
    }
}

/// Where each content lies in the pack of a tree.
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
    /// When the tree gives one digest two sizes, which no true digest has.
    pub fn of(tree: &Tree) -> Result<Self> {
        lay_out(tree, |_| Ok(()))
    }

    /// Offset and size of a content, in bytes.
    pub fn get(&self, digest: &Sha256) -> Option<(u64, u64)> {
        self.places.get(digest).copied()
    }

    /// The length of the pack in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the pack has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Writes the pack of a tree, with contents from `source`, and returns its length in bytes.
///
/// # Errors
/// Failures of `source` and `out`; a content of another length than the tree says.
pub fn write(tree: &Tree, source: &dyn ContentSource, out: &mut dyn Write) -> Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let index = lay_out(tree, |item| match item {
        Item { held: Some(bytes), .. } => out.write_all(bytes).map_err(|e| Error::io("write a pack", &e)),
        Item { digest, size, held: None } => copy(source, &digest, size, out, &mut buffer),
    })?;
    Ok(index.len)
}

/// One content of a tree.
struct Item<'a> {
    digest: Sha256,
    size: u64,
    held: Option<&'a [u8]>,
}

/// Goes through the distinct contents in the order of the pack.
fn lay_out(tree: &Tree, mut visit: impl FnMut(Item<'_>) -> Result<()>) -> Result<PackIndex> {
    let mut index = PackIndex { places: BTreeMap::new(), len: 0 };
    let mut place = |item: Item<'_>| {
        let (digest, size) = (item.digest, item.size);
        match index.places.get(&digest) {
            Some(&(_, known)) if known == size => return Ok(()),
            Some(&(_, known)) => {
                return Err(Error::integrity(format!("the tree gives sha256:{digest} two sizes, {known} and {size} bytes")));
            }
            None => {}
        }
        visit(item)?;
        index.places.insert(digest, (index.len, size));
        index.len = index.len.checked_add(size).ok_or_else(|| Error::integrity("the tree's contents have more than 2^64 bytes"))?;
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
        return Err(Error::integrity(format!("sha256:{digest} gave {done} bytes, {size} are expected")));
    }
    Ok(())
}

/// The contents in a pack.
pub struct PackSource<R> {
    pack: R,
    index: PackIndex,
}

impl<R: ReadAt> PackSource<R> {
    /// Over an open pack and the index of its tree. `len` is the pack's length in bytes.
    ///
    /// # Errors
    /// When the pack has another length than its tree's contents.
    pub fn new(pack: R, len: u64, index: PackIndex) -> Result<Self> {
        if len != index.len {
            return Err(Error::integrity(format!("a pack has {len} bytes, and its tree's contents {}", index.len)));
        }
        Ok(PackSource { pack, index })
    }
}

impl<R: ReadAt> ContentSource for PackSource<R> {
    /// Opens a content. One that the tree does not have is [`io::ErrorKind::NotFound`].
    fn open(&self, digest: &Sha256, size: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let Some((offset, known)) = self.index.get(digest) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("sha256:{digest} is not in the pack")));
        };
        if known != size {
            return Err(Error::integrity(format!("sha256:{digest} has {known} bytes in the pack, {size} were asked for")).into());
        }
        if size == 0 && *digest != Sha256::of([]) {
            return Err(mismatch(digest, &Sha256::of([])).into());
        }
        let state = State::Open(Hasher::new());
        Ok(Box::new(PackReader { pack: &self.pack, digest: *digest, offset, left: size, state, held: Vec::new(), taken: 0 }))
    }
}

/// Reads one content, and fails on the read that would give the last byte of a wrong one.
struct PackReader<'a, R> {
    pack: &'a R,
    digest: Sha256,
    /// Where the next read from the pack starts, in bytes.
    offset: u64,
    /// Bytes not read from the pack yet.
    left: u64,
    state: State,
    /// Bytes read ahead for a caller with a small buffer, and how many it has taken.
    held: Vec<u8>,
    taken: usize,
}

enum State {
    Open(Hasher),
    /// All bytes read, the digest is right.
    Good,
    /// A read failed: so do all that follow.
    Failed,
}

impl<R: ReadAt> PackReader<'_, R> {
    /// Reads what comes next in the pack, and checks the digest when nothing is left.
    fn next(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let State::Open(mut hasher) = std::mem::replace(&mut self.state, State::Failed) else {
            return Err(Error::internal("a content was read on after a failure").into());
        };
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let got = loop {
            match self.pack.read_at(self.offset, &mut buffer[..most]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if got == 0 {
            return Err(Error::integrity(format!("the pack ends at byte {}, inside sha256:{}", self.offset, self.digest)).into());
        }
        hasher.update(&buffer[..got]);
        self.offset += got as u64;
        self.left -= got as u64;
        if self.left > 0 {
            self.state = State::Open(hasher);
            return Ok(got);
        }
        let found = hasher.finish();
        if found != self.digest {
            return Err(mismatch(&self.digest, &found).into());
        }
        self.state = State::Good;
        Ok(got)
    }
}

impl<R: ReadAt> Read for PackReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.taken == self.held.len() {
            if self.left == 0 && !matches!(self.state, State::Failed) {
                return Ok(0);
            }
            if buffer.len() >= CHUNK || buffer.len() as u64 >= self.left {
                return self.next(buffer);
            }
            let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK);
            let mut held = std::mem::take(&mut self.held);
            held.resize(len, 0);
            self.taken = 0;
            let got = self.next(&mut held)?;
            held.truncate(got);
            self.held = held;
        }
        let len = buffer.len().min(self.held.len() - self.taken);
        buffer[..len].copy_from_slice(&self.held[self.taken..self.taken + len]);
        self.taken += len;
        Ok(len)
    }
}

fn mismatch(expected: &Sha256, found: &Sha256) -> Error {
    Error::integrity("a content in a pack is not what its digest says").detail(format!("expected sha256:{expected}  found sha256:{found}"))
}

/// Several sources as one: the first that knows a digest has it. A source says "not mine" with
/// [`io::ErrorKind::NotFound`]; any other failure is final.
pub struct LayeredSource<'a>(pub Vec<&'a dyn ContentSource>);

impl ContentSource for LayeredSource<'_> {
    fn open(&self, digest: &Sha256, size: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        for source in &self.0 {
            match source.open(digest, size) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, format!("no source has sha256:{digest}")))
    }
}

#[cfg(test)]
mod tests;
