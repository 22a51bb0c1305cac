//! Composed blobs: not a file of their own, but a sequence of stretches of other blobs.
//!
//! Parts that many similar images share are stored once. An entry of the kind [`KIND`] under the blob's digest names the list
//! of stretches and the blobs they refer to, so that the garbage collection keeps them. The entry is not trusted: a composed
//! blob is hashed when it is read or written to a file, unless this process has composed it.
//!
//! ```text
//! kbake-composed 1
//! size SIZE
//! part DIGEST SIZE       one line per blob, numbered from 0
//! N OFFSET LEN           a stretch of blob N
//! zero LEN               zeros
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::Path;
use std::sync::PoisonError;

use super::action::COMPOSED as KIND;
use super::{Action, BLOB_MODE, Blob, BlobFile, Lookup, Store};
use crate::common::error::{Class, Error, Result};
use crate::common::fsx::{self, Persisted, Stamp, Temp};
use crate::common::value::{Cancel, Hasher, Sha256};

/// The entry's name for the list of stretches.
const LIST: &str = "list";
/// Size limit of a list in bytes; an image of 8 TiB needs less.
const LIST_MAX: u64 = 1 << 30;
/// The first line of the list.
const HEAD: &str = "kbake-composed 1";
/// Buffer size in bytes.
const BUFFER: usize = 1 << 20;

/// A stretch of a composed blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stretch {
    /// A range of another blob.
    Of {
        /// The blob that has the bytes.
        blob: Blob,
        /// The start of the stretch in that blob, in bytes.
        offset: u64,
        /// The length of the stretch in bytes.
        len: u64,
    },
    /// Zero bytes.
    Zero {
        /// The length of the stretch in bytes.
        len: u64,
    },
}

/// A composed blob with its parts open.
#[derive(Debug)]
pub struct Composed<'a> {
    store: &'a Store,
    digest: Sha256,
    bytes: Stretches,
}

/// The unverified bytes of a composed blob, for random access.
#[derive(Debug)]
pub struct Stretches {
    size: u64,
    parts: Vec<BlobFile>,
    /// The start of each stretch, with the part's number and offset (none for zeros). Without gaps.
    stretches: Vec<(u64, Option<(usize, u64)>)>,
}

/// The stored list.
#[derive(Debug, Default, PartialEq, Eq)]
struct List {
    size: u64,
    parts: Vec<Blob>,
    /// The length of each stretch, with the part's number and offset (none for zeros).
    stretches: Vec<(u64, Option<(usize, u64)>)>,
}

impl List {
    /// Numbers the parts and merges adjacent stretches.
    fn of(stretches: &[Stretch]) -> List {
        let mut list = List::default();
        let mut numbers: BTreeMap<Blob, usize> = BTreeMap::new();
        for stretch in stretches {
            let (len, from) = match *stretch {
                Stretch::Zero { len } => (len, None),
                Stretch::Of { blob, offset, len } => {
                    let number = *numbers.entry(blob).or_insert_with(|| {
                        list.parts.push(blob);
                        list.parts.len() - 1
                    });
                    (len, Some((number, offset)))
                }
            };
            list.size += len;
            match (list.stretches.last_mut(), from) {
                (Some((last, None)), None) => *last += len,
                (Some((last, Some((number, start)))), Some((next, offset))) if *number == next && *start + *last == offset => *last += len,
                _ => list.stretches.push((len, from)),
            }
        }
        list
    }

    fn text(&self) -> String {
        let mut text = format!("{HEAD}\nsize {}\n", self.size);
        for part in &self.parts {
            let _ = writeln!(text, "part {} {}", part.digest, part.size);
        }
        for (len, from) in &self.stretches {
            let _ = match from {
                Some((number, offset)) => writeln!(text, "{number} {offset} {len}"),
                None => writeln!(text, "zero {len}"),
            };
        }
        text
    }

    fn parse(text: &str) -> Option<List> {
        let mut lines = text.lines();
        if lines.next()? != HEAD {
            return None;
        }
        let mut list = List { size: lines.next()?.strip_prefix("size ")?.parse().ok()?, ..List::default() };
        let mut end = 0u64;
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let (len, from) = match *words {
                ["part", digest, size] => {
                    list.parts.push(Blob { digest: digest.parse().ok()?, size: size.parse().ok()? });
                    continue;
                }
                ["zero", len] => (len.parse().ok()?, None),
                [number, offset, len] => {
                    let (number, offset, len): (usize, u64, u64) = (number.parse().ok()?, offset.parse().ok()?, len.parse().ok()?);
                    if offset.checked_add(len)? > list.parts.get(number)?.size {
                        return None;
                    }
                    (len, Some((number, offset)))
                }
                _ => return None,
            };
            end = end.checked_add(len)?;
            list.stretches.push((len, from));
        }
        (end == list.size).then_some(list)
    }
}

impl Store {
    /// Makes a composed blob from stretches of blobs in the store. Its digest is computed by reading all bytes once.
    ///
    /// # Errors
    /// A part that is damaged, gone or too short; cancellation.
    pub fn compose(&self, stretches: &[Stretch], cancel: &Cancel) -> Result<Blob> {
        let list = List::of(stretches);
        let gone = || self.part_is_gone();
        let text = self.insert(list.text().as_bytes())?;
        for part in list.parts.iter().chain([&text]) {
            // A blob writer keeps an existing file, which may be damaged; verify it before its bytes become part of another blob.
            self.open_verified(&part.digest)?.ok_or_else(gone)?;
        }
        let composed = self.open_list(&list, Sha256::of(""))?.ok_or_else(gone)?;
        let stamps = composed.bytes.stamps()?;
        let mut hasher = Hasher::new();
        composed.each(&mut |bytes| {
            cancel.check()?;
            hasher.update(bytes);
            Ok(())
        })?;
        let blob = Blob { digest: hasher.finish(), size: list.size };
        let parts = list.parts.iter().enumerate().map(|(number, part)| (format!("part-{number:04}"), *part));
        let outputs = parts.chain([(LIST.to_owned(), text)]).collect();
        self.put_action(KIND, &blob.digest, &Action { outputs })?;
        self.composed.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.digest, stamps);
        Ok(blob)
    }

    /// The unverified bytes of the blob that [`Store::compose`] would make.
    ///
    /// # Errors
    /// A part that is gone; I/O errors.
    pub fn stretches(&self, stretches: &[Stretch]) -> Result<Stretches> {
        let composed = self.open_list(&List::of(stretches), Sha256::of(""))?;
        composed.map(Composed::into_unverified).ok_or_else(|| self.part_is_gone())
    }

    fn part_is_gone(&self) -> Error {
        Error::integrity(format!("a part of a composed blob is gone from the store {}", self.root().display()))
            .hint("run the command again: the part is made again")
    }

    /// Opens a composed blob; none if its entry or a part is absent.
    ///
    /// # Errors
    /// I/O errors.
    pub fn composed(&self, digest: &Sha256) -> Result<Option<Composed<'_>>> {
        match self.list(digest)? {
            Some(list) => self.open_list(&list, *digest),
            None => Ok(None),
        }
    }

    /// The size of a composed blob; none if its entry or a part is absent.
    pub(super) fn composed_size(&self, digest: &Sha256) -> Result<Option<u64>> {
        Ok(self.list(digest)?.map(|list| list.size))
    }

    /// The list of a composed blob, if all its parts are present. An invalid entry is removed or, in a lower store, distrusted.
    fn list(&self, digest: &Sha256) -> Result<Option<List>> {
        let Lookup::Hit(action) = self.action(KIND, digest) else { return Ok(None) };
        let list = match action.outputs.get(LIST) {
            Some(list) => self.plain_reader(&list.digest)?,
            None => None,
        };
        let Some(reader) = list else { return Ok(None) };
        let mut bytes = Vec::new();
        // A longer list is invalid anyway, so it does not matter that the reader cannot verify it to the end.
        let list = match reader.take(LIST_MAX).read_to_end(&mut bytes) {
            Ok(_) => std::str::from_utf8(&bytes).ok().and_then(List::parse),
            Err(e) if Error::io("read a list of stretches", &e).class() == Class::Integrity => None,
            Err(e) => return Err(Error::io("read a list of stretches", &e)),
        };
        // The lookup has checked the presence of the outputs, so the list may refer to those only.
        let sound = list.filter(|list| list.parts.iter().all(|part| action.outputs.values().any(|output| output == part)));
        if sound.is_none() {
            self.distrust_action(KIND, digest)?;
        }
        Ok(sound)
    }

    fn open_list(&self, list: &List, digest: Sha256) -> Result<Option<Composed<'_>>> {
        let mut parts = Vec::with_capacity(list.parts.len());
        for part in &list.parts {
            match self.plain(&part.digest)? {
                Some(file) if file.size() == part.size => parts.push(file),
                _ => return Ok(None),
            }
        }
        let mut at = 0;
        let stretches = list.stretches.iter().map(|(len, from)| {
            at += len;
            (at - len, *from)
        });
        let bytes = Stretches { size: list.size, stretches: stretches.collect(), parts };
        Ok(Some(Composed { store: self, digest, bytes }))
    }

    /// Writes a composed blob to a file of its own.
    pub(super) fn settle_composed(&self, composed: &Composed) -> Result<()> {
        self.require_space(composed.size())?;
        let temp = Temp::create(&self.tmp(), "blob-".as_ref())?;
        composed.write(&temp)?;
        if temp.place(&self.own_path(&composed.digest), BLOB_MODE)? == Persisted::Done {
            self.note_hashed(&composed.digest)?;
        }
        Ok(())
    }
}

impl Stretches {
    /// The number of bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills `into` with unverified bytes from `at` on.
    ///
    /// # Errors
    /// A range past the end; I/O errors.
    pub fn read_exact_at(&self, mut into: &mut [u8], mut at: u64) -> io::Result<()> {
        if at.checked_add(into.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut next = self.stretches.partition_point(|(start, _)| *start <= at).saturating_sub(1);
        while !into.is_empty() {
            let (start, from) = self.stretches[next];
            let end = self.stretches.get(next + 1).map_or(self.size, |(start, _)| *start);
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(into.len());
            let (now, later) = into.split_at_mut(len);
            match from {
                Some((part, offset)) => self.parts[part].read_exact_at(now, offset + (at - start))?,
                None => now.fill(0),
            }
            (into, at, next) = (later, at + len as u64, next + 1);
        }
        Ok(())
    }

    /// The current stamps of the parts' files, in order.
    fn stamps(&self) -> Result<Vec<Stamp>> {
        self.parts.iter().map(BlobFile::stamp).collect()
    }
}

impl<'a> Composed<'a> {
    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.bytes.size
    }

    /// The bytes without verification.
    pub fn into_unverified(self) -> Stretches {
        self.bytes
    }

    /// Hashes the whole blob.
    ///
    /// # Errors
    /// Those of the last read of [`Composed::reader`].
    pub fn verify(&self) -> Result<()> {
        let mut hasher = Hasher::new();
        self.each(&mut |bytes| {
            hasher.update(bytes);
            Ok(())
        })?;
        self.settle(hasher)
    }

    /// A sequential reader. If the bytes do not have the digest, the read of the last byte fails and damaged parts go to
    /// quarantine.
    pub fn reader(self) -> ComposedReader<'a> {
        ComposedReader { composed: self, at: 0, hasher: Some(Hasher::new()), failed: None }
    }

    /// Writes a copy to `to`, atomically, with exactly `mode`.
    ///
    /// # Errors
    /// Those of [`Composed::reader`]; I/O errors.
    pub fn export(&self, to: &Path, mode: u32) -> Result<Stamp> {
        let temp = Temp::beside(to)?;
        self.write(&temp)?;
        temp.replace(to, mode)
    }

    /// Writes the whole blob. It is hashed on the way, unless this process has composed it from the same, unchanged parts.
    fn write(&self, temp: &Temp) -> Result<()> {
        let failed = |e: &io::Error| Error::io(format!("write {}", temp.path().display()), e);
        let here = self.store.composed.lock().unwrap_or_else(PoisonError::into_inner).get(&self.digest).cloned();
        let mut hasher = if here == Some(self.bytes.stamps()?) { None } else { Some(Hasher::new()) };
        self.each(&mut |bytes| {
            if let Some(hasher) = &mut hasher {
                hasher.update(bytes);
            }
            fsx::change::write_all(temp.file(), temp.path(), bytes).map_err(|e| failed(&e))
        })?;
        hasher.map_or(Ok(()), |hasher| self.settle(hasher))
    }

    fn each(&self, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let (mut buffer, mut at) = (vec![0; BUFFER], 0);
        while at < self.size() {
            self.store.cancel.check()?;
            let len = usize::try_from(self.size() - at).unwrap_or(BUFFER).min(BUFFER);
            self.bytes.read_exact_at(&mut buffer[..len], at).map_err(|e| self.failed(&e))?;
            take(&buffer[..len])?;
            at += len as u64;
        }
        Ok(())
    }

    fn settle(&self, hasher: Hasher) -> Result<()> {
        let found = hasher.finish();
        if found == self.digest { Ok(()) } else { Err(self.mismatch(&found)) }
    }

    fn failed(&self, e: &io::Error) -> Error {
        Error::io(format!("read the parts of blob {}", self.digest), e)
    }

    /// The error for bytes without the digest: a part is damaged, or the entry names wrong stretches.
    fn mismatch(&self, found: &Sha256) -> Error {
        let mut damaged = self.bytes.parts.iter().filter_map(|part| part.verify().err());
        if let Some(error) = damaged.next() {
            // Moves every damaged part to quarantine, so that one more run is enough.
            damaged.for_each(drop);
            return error.detail(format!("blob {} is composed of it", self.digest));
        }
        let error = Error::integrity(format!("the composed blob {} does not match its digest", self.digest))
            .detail(format!("expected sha256:{}  found sha256:{found}", self.digest));
        match self.store.distrust_action(KIND, &self.digest) {
            Ok(()) => error.hint("run the command again: the blob is composed again"),
            Err(worse) => worse,
        }
    }
}

/// The reader of [`Composed::reader`].
pub struct ComposedReader<'a> {
    composed: Composed<'a>,
    at: u64,
    /// None after verification, successful or not.
    hasher: Option<Hasher>,
    /// Set after a failed read; later reads fail too.
    failed: Option<Error>,
}

impl Read for ComposedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        self.composed.store.cancel.check()?;
        let left = usize::try_from(self.composed.size() - self.at).unwrap_or(usize::MAX);
        let len = left.min(buffer.len());
        self.composed.bytes.read_exact_at(&mut buffer[..len], self.at)?;
        self.at += len as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..len]);
        }
        if self.at == self.composed.size()
            && let Some(hasher) = self.hasher.take()
            && let Err(error) = self.composed.settle(hasher)
        {
            self.failed = Some(error.clone());
            return Err(error.into());
        }
        Ok(len)
    }
}

#[cfg(test)]
#[path = "tests/composed.rs"]
mod tests;
