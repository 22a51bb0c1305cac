//! The content source of tests.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};

use crate::common::tree::{Content, ContentSource};
use crate::common::value::Sha256;

/// Blobs in memory, by digest.
///
/// It is stricter than a real source may be: opening a blob with a wrong size panics, and a reader returns odd pieces, as a pipe or a
/// decompressor does. [`Blobs::lying`] is a source with wrong bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Blobs(BTreeMap<Sha256, Vec<u8>>);

impl Blobs {
    /// Adds a blob; returns its digest.
    pub(crate) fn add(&mut self, bytes: impl Into<Vec<u8>>) -> Sha256 {
        let bytes = bytes.into();
        let digest = Sha256::of(&bytes);
        self.0.insert(digest, bytes);
        digest
    }

    /// Adds a blob; returns its reference in a tree.
    pub(crate) fn content(&mut self, bytes: &[u8]) -> Content {
        Content::Blob { digest: self.add(bytes), size: bytes.len() as u64 }
    }

    /// A blob's bytes.
    pub(crate) fn bytes(&self, digest: &Sha256) -> &[u8] {
        &self.0[digest]
    }

    /// The blobs in the order of their digests.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Sha256, &[u8])> {
        self.0.iter().map(|(digest, bytes)| (digest, bytes.as_slice()))
    }

    /// All blobs but one.
    pub(crate) fn without(&self, digest: &Sha256) -> Self {
        let mut others = self.0.clone();
        others.remove(digest).expect("a blob of this source");
        Blobs(others)
    }

    /// These blobs, but with `lie` in the place of one, whatever size is asked for.
    pub(crate) fn lying<'a>(&'a self, digest: &'a Sha256, lie: &'a [u8]) -> Lying<'a> {
        Lying { honest: self, digest, lie }
    }
}

impl From<BTreeMap<Sha256, Vec<u8>>> for Blobs {
    fn from(blobs: BTreeMap<Sha256, Vec<u8>>) -> Self {
        assert!(blobs.iter().all(|(digest, bytes)| Sha256::of(bytes) == *digest), "a blob under another's digest");
        Blobs(blobs)
    }
}

impl ContentSource for Blobs {
    fn open(&self, digest: &Sha256, size: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let bytes = self.0.get(digest).ok_or(ErrorKind::NotFound)?;
        assert_eq!(bytes.len() as u64, size, "the size of {digest}");
        Ok(Box::new(OddPieces(bytes)))
    }
}

/// The source of [`Blobs::lying`].
pub(crate) struct Lying<'a> {
    honest: &'a Blobs,
    digest: &'a Sha256,
    lie: &'a [u8],
}

impl ContentSource for Lying<'_> {
    fn open(&self, digest: &Sha256, size: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        if digest == self.digest { Ok(Box::new(OddPieces(self.lie))) } else { self.honest.open(digest, size) }
    }
}

/// A reader that returns at most half of what is left, so that small blobs come in pieces too, and never more than a prime number of bytes.
struct OddPieces<'a>(&'a [u8]);

impl Read for OddPieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(7919).min(self.0.len().div_ceil(2));
        self.0.read(&mut into[..count])
    }
}
