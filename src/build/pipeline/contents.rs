//! Contents of a role's filesystem by digest: the base's pack in the store, other blobs, and large files of the project.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::tree::ContentSource;
use crate::common::tree::pack::PackIndex;
use crate::common::value::{Hasher, Sha256};
use crate::spec::project::LargeFile;
use crate::storage::store::{Blob, BlobFile};

/// Blobs that a tree names beside its pack, open for reading.
pub(crate) type Blobs = BTreeMap<Sha256, BlobFile>;

/// The contents of a tree: the base's pack in the store, and the recipes' large files.
pub struct Contents {
    pack: BlobFile,
    index: PackIndex,
    files: Vec<LargeFile>,
    blobs: Blobs,
    /// Packs of unpacked container images.
    packs: Vec<(BlobFile, PackIndex)>,
}

impl Contents {
    /// The contents of the tree that `index` was made from.
    pub fn new(pack: BlobFile, index: PackIndex) -> Self {
        Contents { pack, index, files: Vec::new(), blobs: Blobs::new(), packs: Vec::new() }
    }

    /// The blob of the base's contents.
    pub fn pack(&self) -> Blob {
        Blob { digest: self.pack.digest(), size: self.pack.size() }
    }

    /// Adds large files of the project.
    pub fn with_files(self, files: Vec<LargeFile>) -> Self {
        Contents { files, ..self }
    }

    /// The pack of an unpacked container image that has a content, and its place there.
    fn pack_of(&self, digest: &Sha256, size: u64) -> Option<(&BlobFile, u64)> {
        let place = |index: &PackIndex| index.get(digest).filter(|(_, known)| *known == size).map(|(offset, _)| offset);
        self.packs.iter().find_map(|(pack, index)| Some((pack, place(index)?)))
    }

    /// Adds the contents of unpacked container images.
    pub fn with_packs(self, packs: Vec<(BlobFile, PackIndex)>) -> Self {
        Contents { packs, ..self }
    }

    /// Adds blobs of the store.
    pub fn with_blobs(self, blobs: Blobs) -> Self {
        Contents { blobs, ..self }
    }
}

impl ContentSource for Contents {
    fn open(&self, digest: &Sha256, size: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        match self.index.get(digest) {
            Some((offset, known)) if known == size => Ok(Box::new(self.pack.range(offset, size, *digest)?)),
            _ if self.blobs.contains_key(digest) => Ok(Box::new(self.blobs[digest].range(0, size, *digest)?)),
            _ if let Some((pack, offset)) = self.pack_of(digest, size) => Ok(Box::new(pack.range(offset, size, *digest)?)),
            _ => match self.files.iter().find(|file| (file.digest, file.size) == (*digest, size)) {
                Some(file) => Ok(Box::new(VerifiedFile::open(file)?)),
                None => Err(Error::internal(format!("no source has the content sha256:{digest} of {size} bytes")).into()),
            },
        }
    }
}

/// Reads a file of the project. The read of the last byte fails when the file has changed since the plan was made.
pub(in crate::build) struct VerifiedFile<'a> {
    expected: &'a LargeFile,
    file: std::fs::File,
    hasher: Hasher,
    left: u64,
    /// Set after a failed read; later reads fail too.
    failed: bool,
}

impl<'a> VerifiedFile<'a> {
    pub(in crate::build) fn open(expected: &'a LargeFile) -> Result<Self> {
        let file = fsx::open_read(&expected.path)?;
        Ok(VerifiedFile { expected, file, hasher: Hasher::new(), left: expected.size, failed: false })
    }

    fn changed(&self) -> io::Error {
        Error::user(format!("{} changed while the image was built from it", self.expected.path.display()))
            .hint("run the command again once nobody writes to the file")
            .into()
    }
}

impl Read for VerifiedFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(self.changed());
        }
        let n = self.file.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        // Readers of blobs read once more past the end, so a file that grew is noticed too.
        let grew = n as u64 > self.left;
        let shrank = n == 0 && !buffer.is_empty() && self.left > 0;
        self.left = self.left.saturating_sub(n as u64);
        self.failed = grew || shrank || (self.left == 0 && self.hasher.clone().finish() != self.expected.digest);
        if self.failed { Err(self.changed()) } else { Ok(n) }
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changed_behind_the_plan_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        let good: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let file = LargeFile { path: path.clone(), digest: Sha256::of(&good), size: good.len() as u64 };
        let read = || {
            let mut bytes = Vec::new();
            VerifiedFile::open(&file).unwrap().read_to_end(&mut bytes).map(|_| bytes)
        };
        fsx::write_atomic(&path, 0o644, &good).unwrap();
        assert_eq!(read().unwrap(), good);
        let mut flipped = good.clone();
        flipped[2_999_999] ^= 1;
        for bad in [&flipped[..], &good[..2_999_999], &[&good[..], b"x"].concat(), b""] {
            fsx::write_atomic(&path, 0o644, bad).unwrap();
            let error = Error::io("read", &read().unwrap_err());
            assert!(error.to_string().contains("changed while the image was built"), "{error}");
        }
    }
}
