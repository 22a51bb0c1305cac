//! Reading blobs with verification.

use std::borrow::Borrow;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::disposal::Disposal;
use crate::common::error::{Error, Result};
use crate::common::fsx::{self, Links, Opened, Stamp};
use crate::common::value::{Cancel, Hasher, Hasher512, Sha256, Sha512};

const BUFFER: usize = 256 << 10;

/// A blob's open file, for random access from any number of threads. Bytes of [`BlobFile::read_at`] are not verified; use
/// [`BlobFile::range`] for parts with a digest of their own.
#[derive(Debug)]
pub struct BlobFile {
    file: File,
    path: PathBuf,
    disposal: Disposal,
    digest: Sha256,
    size: u64,
    cancel: Cancel,
}

/// Reads a whole blob.
pub(crate) type VerifyingReader = Verifying<BlobFile>;
/// Reads a part of a blob that has a digest of its own.
pub(crate) type RangeReader<'a> = Verifying<&'a BlobFile>;

impl BlobFile {
    /// Opens a blob's file; none if it is absent. A link, pipe or folder in its place, or a file without read permission, is
    /// damage: in this store it goes to quarantine, in a lower store it counts as absent.
    pub(super) fn open(path: PathBuf, disposal: Disposal, digest: Sha256, cancel: &Cancel) -> Result<Option<BlobFile>> {
        match fsx::open_regular(&path, Links::Refused) {
            Ok(Opened::Absent) => return Ok(None),
            Ok(Opened::File(file, meta)) => {
                return Ok(Some(BlobFile { file, path, disposal, digest, size: meta.len(), cancel: cancel.clone() }));
            }
            Ok(Opened::Special(_)) => {}
            Err(e) if e.kind() == ErrorKind::PermissionDenied => {}
            Err(e) => return Err(Error::io(format!("open {}", path.display()), &e)),
        }
        disposal.clear(&path)?;
        Ok(None)
    }

    /// The digest in the file's name.
    pub fn digest(&self) -> Sha256 {
        self.digest
    }

    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file's stamp, which changes whenever the file does.
    pub(super) fn stamp(&self) -> Result<Stamp> {
        let meta = self.file.metadata().map_err(|e| Error::io(format!("stat {}", self.path.display()), &e))?;
        Ok(Stamp::of_metadata(&meta))
    }

    /// The open file, for copies that share its extents.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Reads unverified bytes from `offset` on; 0 only at the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    /// Fills `buffer` from `offset` on, unverified.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// A reader for `len` bytes from `offset` on, which must have `digest`. If they do not, the read of the last byte fails, the
    /// whole blob is hashed, and it goes to quarantine if it is damaged.
    pub fn range(&self, offset: u64, len: u64, digest: Sha256) -> Result<RangeReader<'_>> {
        if offset.checked_add(len).is_none_or(|end| end > self.size) {
            return Err(self.mismatch(&format!("{len} bytes from byte {offset} on were expected, it has {}", self.size)));
        }
        Verifying::new(self, offset, len, digest)
    }

    /// Hashes the whole file.
    ///
    /// # Errors
    /// A damaged file, which is then in quarantine.
    pub fn verify(&self) -> Result<()> {
        let found = self.hash().map_err(|e| Error::io(format!("read {}", self.path.display()), &e))?;
        if found == self.digest { Ok(()) } else { Err(self.damaged(&format!("found sha256:{found}"))) }
    }

    fn hash(&self) -> io::Result<Sha256> {
        let mut hasher = Hasher::new();
        self.each_piece(|bytes| hasher.update(bytes))?;
        Ok(hasher.finish())
    }

    /// The SHA-512 of the whole file; the same pass verifies the SHA-256.
    ///
    /// # Errors
    /// A damaged file, which is then in quarantine.
    pub fn sha512(&self) -> Result<Sha512> {
        let (mut hasher, mut longer) = (Hasher::new(), Hasher512::new());
        let hashed = self.each_piece(|bytes| {
            hasher.update(bytes);
            longer.update(bytes);
        });
        hashed.map_err(|e| Error::io(format!("read {}", self.path.display()), &e))?;
        let found = hasher.finish();
        if found == self.digest { Ok(longer.finish()) } else { Err(self.damaged(&format!("found sha256:{found}"))) }
    }

    fn each_piece(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let (mut buffer, mut at) = (vec![0; BUFFER], 0);
        loop {
            self.cancel.check()?;
            match self.read_at(&mut buffer, at) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    take(&buffer[..n]);
                    at += n as u64;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// The path at which the file was opened.
    pub(super) fn place(&self) -> &Path {
        &self.path
    }

    /// True if the path still has this very file.
    pub(super) fn is_in_place(&self) -> bool {
        matches!(fsx::is_at(&self.file, &self.path), Ok(true))
    }

    pub(super) fn disposal(&self) -> &Disposal {
        &self.disposal
    }

    fn damaged(&self, found: &str) -> Error {
        let error = Error::integrity(format!("blob {} in the store is damaged", self.digest))
            .detail(format!("expected sha256:{}  {found}", self.digest));
        let error = self.dispose().into_iter().fold(error, Error::detail);
        error.hint("run the command again: the blob is fetched or made again; if it happens twice, check the disk")
    }

    /// The error for a failed expectation (`mismatch`) of a reader: either the blob is damaged, or the expectation is wrong.
    pub(super) fn mismatch(&self, mismatch: &str) -> Error {
        match self.verify() {
            Err(damage) => damage,
            Ok(()) => Error::integrity(format!("blob {} does not have the expected content", self.digest))
                .detail(mismatch)
                .detail("the blob itself is intact, so the reference to its parts is wrong"),
        }
    }
}

/// A reader for bytes with a known digest. If the bytes do not have it, the read of the last byte fails, and so does every
/// later one: whoever reads to the end has read verified bytes.
#[derive(Debug)]
pub struct Verifying<B> {
    blob: B,
    offset: u64,
    len: u64,
    at: u64,
    expected: Sha256,
    hasher: HasherState,
}

/// The hasher, or the result. A type of its own because `Hasher` has no `Debug`.
enum HasherState {
    Running(Box<Hasher>),
    Sound,
    Failed(Error),
}

impl std::fmt::Debug for HasherState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            HasherState::Running(_) => "Running",
            HasherState::Sound => "Sound",
            HasherState::Failed(_) => "Failed",
        })
    }
}

impl Verifying<BlobFile> {
    pub(super) fn whole(blob: BlobFile) -> Result<Self> {
        let (len, digest) = (blob.size, blob.digest);
        Verifying::new(blob, 0, len, digest)
    }
}

impl<B: Borrow<BlobFile>> Verifying<B> {
    fn new(blob: B, offset: u64, len: u64, expected: Sha256) -> Result<Self> {
        let mut reader = Verifying { blob, offset, len, at: 0, expected, hasher: HasherState::Running(Box::default()) };
        // With no bytes there is no last read.
        if len == 0 {
            reader.settle()?;
        }
        Ok(reader)
    }

    /// The total number of bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Compares the digests after all bytes are read.
    fn settle(&mut self) -> Result<()> {
        let HasherState::Running(hasher) = std::mem::replace(&mut self.hasher, HasherState::Sound) else { return Ok(()) };
        let found = hasher.finish();
        if found == self.expected {
            return Ok(());
        }
        Err(self.fail(&format!("expected sha256:{}  found sha256:{found}  from byte {} on", self.expected, self.offset)))
    }

    fn fail(&mut self, mismatch: &str) -> Error {
        let blob = self.blob.borrow();
        let error = blob.mismatch(mismatch);
        self.hasher = HasherState::Failed(error.clone());
        error
    }
}

impl<B: Borrow<BlobFile>> Read for Verifying<B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let hasher = match &mut self.hasher {
            HasherState::Failed(error) => return Err(error.clone().into()),
            HasherState::Sound => return Ok(0),
            HasherState::Running(hasher) => hasher,
        };
        let most = usize::try_from(self.len - self.at).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        self.blob.borrow().cancel.check()?;
        let n = self.blob.borrow().read_at(&mut buffer[..most], self.offset + self.at)?;
        if n == 0 {
            let mismatch = format!("it ends at byte {} of {}", self.offset + self.at, self.offset + self.len);
            return Err(self.fail(&mismatch).into());
        }
        hasher.update(&buffer[..n]);
        self.at += n as u64;
        if self.at == self.len {
            self.settle()?;
        }
        Ok(n)
    }
}
