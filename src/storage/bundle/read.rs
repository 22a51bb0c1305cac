//! The streaming bundle reader. Every header is known before it arrives, and any difference is refused. Memory is bounded by
//! the limits of the documents.

use std::collections::BTreeSet;
use std::io::{self, BufReader, ErrorKind, Read};

use super::refuse::{Place, refuse};
use super::{Content, INDEX_MAX, Outline, Part, document, document_size, layout};
use crate::common::error::{Error, Result};
use crate::common::value::{Hasher, RoleName, Sha256};
use crate::formats::oci::tar::{self, BLOCK};

/// Buffer size in bytes.
const BUFFER: usize = 256 << 10;

/// Receives the contents of a bundle.
pub trait Visitor {
    /// Called once with the outline, before the first blob. An error ends the reading.
    fn outline(&mut self, outline: &Outline) -> Result<()>;

    /// Called for each blob in order.
    fn blob(&mut self, part: &Part, bytes: &mut Bytes<'_>) -> Result<Taken>;
}

/// A visitor's result for a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The blob was read completely and has this digest.
    Hashed(Sha256),
    /// The blob is not needed: the reader skips it without hashing.
    Unread,
}

/// The bytes of one blob.
pub struct Bytes<'a> {
    from: &'a mut dyn Read,
    left: u64,
    what: &'a str,
    buffer: &'a mut [u8],
}

impl Bytes<'_> {
    /// Passes all bytes to `take`, in large pieces.
    pub fn each(&mut self, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while self.left > 0 {
            let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.buffer.len());
            let n = some(self.from, &mut self.buffer[..most], self.what)?;
            self.left -= n as u64;
            take(&self.buffer[..n])?;
        }
        Ok(())
    }

    /// Hashes all bytes. `passed` is called with the length of each piece.
    pub fn hash(&mut self, passed: &mut dyn FnMut(usize) -> Result<()>) -> Result<Taken> {
        let mut hasher = Hasher::new();
        self.each(&mut |bytes| {
            hasher.update(bytes);
            passed(bytes.len())
        })?;
        Ok(Taken::Hashed(hasher.finish()))
    }
}

/// Reads at least one byte.
fn some(from: &mut dyn Read, buffer: &mut [u8], what: &str) -> Result<usize> {
    loop {
        match from.read(buffer) {
            Ok(0) => return Err(refuse(Place::Inside(what), "the bundle ends there")),
            Ok(n) => return Ok(n),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(unreadable(&e)),
        }
    }
}

fn unreadable(error: &io::Error) -> Error {
    Error::io("read the bundle", error)
}

/// Reads a bundle to the end of the stream. Returns its digest.
///
/// # Errors
/// Class `Integrity` for an invalid bundle; `User` if it is not a bundle, or of a newer format; those of the visitor and of
/// the stream.
pub fn read(from: &mut dyn Read, visitor: &mut dyn Visitor) -> Result<Sha256> {
    let mut tar = Tar::new(from);
    let (outline, digest) = tar.documents()?;
    visitor.outline(&outline)?;
    for entry in outline.entries() {
        tar.blob(entry.part, visitor)?;
    }
    tar.expect(&tar::END, "the end")?;
    let mut more = [0; 1];
    loop {
        match tar.from.read(&mut more) {
            Ok(0) => return Ok(digest),
            Ok(_) => return Err(refuse(Place::Behind, "there are bytes after its end")),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(unreadable(&e)),
        }
    }
}

/// Reads only a bundle's documents. Returns its outline and digest.
///
/// # Errors
/// Those of [`read`].
pub fn documents(from: &mut dyn Read) -> Result<(Outline, Sha256)> {
    Tar::new(from).documents()
}

/// The tar reader.
struct Tar<'a> {
    /// Buffers the small headers; large reads bypass the buffer.
    from: BufReader<&'a mut dyn Read>,
    buffer: Vec<u8>,
}

impl<'a> Tar<'a> {
    fn new(from: &'a mut dyn Read) -> Self {
        Tar { from: BufReader::with_capacity(BUFFER, from), buffer: vec![0; BUFFER] }
    }

    fn documents(&mut self) -> Result<(Outline, Sha256)> {
        let (name, text) = layout::LAYOUT;
        let header = layout::header(name, text.len() as u64);
        let first = self.take(BLOCK as u64, "its first header").map_err(|error| match error.class() {
            crate::Class::Integrity => refuse(Place::Start, "too short"),
            _ => error,
        })?;
        if first != header {
            return Err(refuse(Place::Start, "its first bytes differ"));
        }
        self.expect(text.as_bytes(), name)?;
        self.expect(&tar::END[..tar::padding(text.len() as u64)], name)?;

        let header = self.take(BLOCK as u64, layout::INDEX)?;
        let size = tar::size(&header).filter(|size| header == layout::header(layout::INDEX, *size));
        let size = size.ok_or_else(|| refuse(Place::Header { name: layout::INDEX, expected: None, found: &header }, ""))?;
        if size > INDEX_MAX {
            return Err(refuse(Place::Inside(layout::INDEX), &format!("{size} bytes, the limit is {INDEX_MAX}")));
        }
        let bytes = self.contents(layout::INDEX, size)?;
        let digest = Sha256::of(&bytes);
        let listed = document::read_index(&bytes)?;
        drop(bytes);
        for folder in layout::FOLDERS {
            self.header(folder, &layout::folder(folder))?;
        }
        let outline = self.outline(listed)?;
        Ok((outline, digest))
    }

    fn outline(&mut self, listed: document::Listed) -> Result<Outline> {
        let (mut sum, mut seen, mut contents) = (0, BTreeSet::new(), Vec::new());
        for (name, digest, size) in listed.manifests {
            let manifest = self.document(&name, "manifest", (digest, size), &mut sum, &mut seen)?;
            let described = document::read_manifest(&manifest, &name)?;
            let config = self.document(&name, "configuration", described.config, &mut sum, &mut seen)?;
            contents.push(Content { name, config, parts: described.parts });
        }
        let outline = Outline { contents, since: listed.since };
        outline.check().map_err(|why| Error::integrity("the bundle is damaged: its documents are inconsistent").detail(why))?;
        Ok(outline)
    }

    /// Reads a manifest or configuration. Two contents cannot share one, because it contains the content's name.
    fn document(
        &mut self,
        name: &RoleName,
        what: &str,
        (digest, size): (Sha256, u64),
        sum: &mut u64,
        seen: &mut BTreeSet<Sha256>,
    ) -> Result<Vec<u8>> {
        let bad = |why: &str| Error::integrity(format!("the bundle is damaged: the {what} of `{name}` is invalid")).detail(why);
        document_size(size, sum).map_err(|why| bad(&why))?;
        if !seen.insert(digest) {
            return Err(bad("another document has the same digest"));
        }
        let path = layout::name(&digest);
        self.header(&path, &layout::header(&path, size))?;
        let bytes = self.contents(&path, size)?;
        match Sha256::of(&bytes) {
            found if found == digest => Ok(bytes),
            found => Err(mismatch(&format!("the {what} of `{name}`"), digest, found)),
        }
    }

    fn blob(&mut self, part: &Part, visitor: &mut dyn Visitor) -> Result<()> {
        let path = layout::name(&part.digest);
        self.header(&path, &layout::header(&path, part.size))?;
        let mut bytes = Bytes { from: &mut self.from, left: part.size, what: &path, buffer: &mut self.buffer };
        match visitor.blob(part, &mut bytes)? {
            Taken::Hashed(found) if bytes.left == 0 => {
                if found != part.digest {
                    return Err(mismatch(&format!("`{}`", part.title), part.digest, found));
                }
            }
            Taken::Hashed(_) => return Err(Error::internal("a blob of a bundle was hashed before it was read")),
            Taken::Unread => bytes.each(&mut |_| Ok(()))?,
        }
        self.expect(&tar::END[..tar::padding(part.size)], &path)
    }

    /// Reads exactly `size` bytes into memory.
    fn take(&mut self, size: u64, what: &str) -> Result<Vec<u8>> {
        let mut taken = Vec::new();
        let mut bytes = Bytes { from: &mut self.from, left: size, what, buffer: &mut self.buffer };
        bytes.each(&mut |piece| {
            taken.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(taken)
    }

    /// Reads a small file's content and padding.
    fn contents(&mut self, what: &str, size: u64) -> Result<Vec<u8>> {
        let bytes = self.take(size, what)?;
        self.expect(&tar::END[..tar::padding(size)], what)?;
        Ok(bytes)
    }

    /// Reads the expected header.
    fn header(&mut self, name: &str, expected: &[u8]) -> Result<()> {
        for expected in expected.chunks(BLOCK) {
            let found = self.take(BLOCK as u64, name)?;
            if found != expected {
                return Err(refuse(Place::Header { name, expected: Some(expected), found: &found }, ""));
            }
        }
        Ok(())
    }

    /// Reads the expected bytes.
    fn expect(&mut self, expected: &[u8], what: &str) -> Result<()> {
        let found = self.take(expected.len() as u64, what)?;
        match found == expected {
            true => Ok(()),
            false => Err(refuse(Place::Inside(what), "unexpected bytes")),
        }
    }
}

fn mismatch(what: &str, expected: Sha256, found: Sha256) -> Error {
    Error::integrity(format!("hash mismatch in the bundle for {what}"))
        .detail(format!("expected sha256:{expected}  found sha256:{found}"))
        .hint("the file was damaged in transfer: copy it again, and check it with `kbake bundle verify`")
}
