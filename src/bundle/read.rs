//! Reading a bundle as a stream: nothing is looked for, everything is known before it comes, and what is otherwise is
//! refused. Memory is bounded by the documents' limits.

use std::collections::BTreeSet;
use std::io::{self, BufReader, ErrorKind, Read};

use super::refuse::{Place, refuse};
use super::{Content, INDEX_MAX, Outline, Part, document, document_size, layout};
use crate::error::{Error, Result};
use crate::oci::tar::{self, BLOCK};
use crate::value::{Hasher, RoleName, Sha256};

/// How much is read at a time, in bytes.
const BUFFER: usize = 256 << 10;

/// Takes what a bundle has.
pub trait Visitor {
    /// Everything that the bundle says it has, before the first blob comes. An error here ends the reading.
    fn outline(&mut self, outline: &Outline) -> Result<()>;

    /// The next blob.
    fn blob(&mut self, part: &Part, bytes: &mut Bytes<'_>) -> Result<Taken>;
}

/// What came of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was read, and has this digest.
    Hashed(Sha256),
    /// It is not wanted: it is passed over, and nobody knows its digest.
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
    /// Hands all to `take`, in large pieces.
    pub fn each(&mut self, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while self.left > 0 {
            let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.buffer.len());
            let n = some(self.from, &mut self.buffer[..most], self.what)?;
            self.left -= n as u64;
            take(&self.buffer[..n])?;
        }
        Ok(())
    }

    /// Reads all, and gives its digest. `passed` is told of each piece how long it was.
    pub fn hash(&mut self, passed: &mut dyn FnMut(usize) -> Result<()>) -> Result<Taken> {
        let mut hasher = Hasher::new();
        self.each(&mut |bytes| {
            hasher.update(bytes);
            passed(bytes.len())
        })?;
        Ok(Taken::Hashed(hasher.finish()))
    }
}

/// At least one byte, as there must be.
fn some(from: &mut dyn Read, buffer: &mut [u8], what: &str) -> Result<usize> {
    loop {
        match from.read(buffer) {
            Ok(0) => return Err(refuse(Place::Inside(what), "it ends there")),
            Ok(n) => return Ok(n),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(unreadable(&e)),
        }
    }
}

fn unreadable(error: &io::Error) -> Error {
    Error::io("read the bundle", error)
}

/// Reads a bundle to its end, which must be the stream's. Gives its digest.
///
/// # Errors
/// Of class `Integrity` when anything in it is not as it must be; `User` when it is no bundle, or of a newer format;
/// those of the visitor and of the stream.
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
            Ok(_) => return Err(refuse(Place::Behind, "there is more behind its end")),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(unreadable(&e)),
        }
    }
}

/// Reads a bundle's documents only. Gives what it says that it has, and its digest.
///
/// # Errors
/// As [`read`].
pub fn documents(from: &mut dyn Read) -> Result<(Outline, Sha256)> {
    Tar::new(from).documents()
}

/// A tar that is being read.
struct Tar<'a> {
    /// Headers are small; what is large goes past its buffer.
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
            crate::Class::Integrity => refuse(Place::Start, "it is too short"),
            _ => error,
        })?;
        if first != header {
            return Err(refuse(Place::Start, "it does not begin as one"));
        }
        self.expect(text.as_bytes(), name)?;
        self.expect(&tar::END[..tar::padding(text.len() as u64)], name)?;

        let header = self.take(BLOCK as u64, layout::INDEX)?;
        let size = tar::size(&header).filter(|size| header == layout::header(layout::INDEX, *size));
        let size = size.ok_or_else(|| refuse(Place::Header { name: layout::INDEX, expected: None, found: &header }, ""))?;
        if size > INDEX_MAX {
            return Err(refuse(Place::Inside(layout::INDEX), &format!("it has {size} bytes, at most {INDEX_MAX} are read")));
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
        outline.check().map_err(|why| Error::integrity("the bundle is not sound: its documents contradict each other").detail(why))?;
        Ok(outline)
    }

    /// A manifest or configuration. Two contents cannot share one: it has their name in it.
    fn document(
        &mut self,
        name: &RoleName,
        what: &str,
        (digest, size): (Sha256, u64),
        sum: &mut u64,
        seen: &mut BTreeSet<Sha256>,
    ) -> Result<Vec<u8>> {
        let bad = |why: &str| Error::integrity(format!("the bundle is not sound: the {what} of `{name}` cannot be used")).detail(why);
        document_size(size, sum).map_err(|why| bad(&why))?;
        if !seen.insert(digest) {
            return Err(bad("another one has the same digest"));
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

    /// Exactly so many bytes, which are few.
    fn take(&mut self, size: u64, what: &str) -> Result<Vec<u8>> {
        let mut taken = Vec::new();
        let mut bytes = Bytes { from: &mut self.from, left: size, what, buffer: &mut self.buffer };
        bytes.each(&mut |piece| {
            taken.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(taken)
    }

    /// A small file's contents, and what fills them up.
    fn contents(&mut self, what: &str, size: u64) -> Result<Vec<u8>> {
        let bytes = self.take(size, what)?;
        self.expect(&tar::END[..tar::padding(size)], what)?;
        Ok(bytes)
    }

    /// The header that must come now.
    fn header(&mut self, name: &str, expected: &[u8]) -> Result<()> {
        for expected in expected.chunks(BLOCK) {
            let found = self.take(BLOCK as u64, name)?;
            if found != expected {
                return Err(refuse(Place::Header { name, expected: Some(expected), found: &found }, ""));
            }
        }
        Ok(())
    }

    /// Bytes that can be only these.
    fn expect(&mut self, expected: &[u8], what: &str) -> Result<()> {
        let found = self.take(expected.len() as u64, what)?;
        match found == expected {
            true => Ok(()),
            false => Err(refuse(Place::Inside(what), "other bytes stand there than those that must")),
        }
    }
}

fn mismatch(what: &str, expected: Sha256, found: Sha256) -> Error {
    Error::integrity(format!("hash mismatch in the bundle, of {what}"))
        .detail(format!("expected sha256:{expected}  found sha256:{found}"))
        .hint("the file was damaged on its way: copy it again, and compare with `kbake bundle verify`")
}
