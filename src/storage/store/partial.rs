//! Resumable downloads, which survive a killed process.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use rustix::fs::OFlags;

use super::{BLOB_MODE, Blob, PARTIAL, Store};
use crate::common::error::{Class, Error, Result};
use crate::common::fsx::{self, EarlySync, Links, Stamp, Temp, change};
use crate::common::value::{Cancel, Digest, Hasher, Hasher512, Sha256};

/// The result of claiming a download.
#[derive(Debug)]
pub enum Claim<'a> {
    /// The caller has the claim, and resumes where an earlier process stopped.
    Ours(Partial<'a>),
    /// Another thread or process has the claim; ask again later.
    Busy,
    /// The blob is already present.
    Present,
}

/// The first bytes of a blob with a known digest. When dropped, the bytes stay for the next process.
pub struct Partial<'a> {
    store: &'a Store,
    /// None after commit or a failed write.
    temp: Option<Temp>,
    digest: Digest,
    hashers: Hashers,
    len: u64,
    /// Syncs a large download in the background while it arrives.
    pub(super) early: Option<EarlySync>,
    /// Bytes received since the last background sync began.
    untold: u64,
}

/// Bytes between two background syncs.
const EARLY: u64 = 16 << 20;

/// All bytes of a blob, not yet renamed to its digest. When dropped, the bytes stay for the next process.
#[derive(Debug)]
pub struct Whole<'a> {
    partial: Partial<'a>,
    blob: Blob,
}

/// The hashers: SHA-256, which names the blob, and SHA-512 if that is the required digest.
#[derive(Clone)]
struct Hashers(Box<Hasher>, Option<Box<Hasher512>>);

impl Hashers {
    fn new(digest: &Digest) -> Self {
        Hashers(Box::default(), matches!(digest, Digest::Sha512(_)).then(Box::default))
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
        if let Some(longer) = &mut self.1 {
            longer.update(bytes);
        }
    }

    /// The SHA-256, and the digest to compare.
    fn finish(self) -> (Sha256, Digest) {
        let name = self.0.finish();
        (name, self.1.map_or(Digest::Sha256(name), |longer| Digest::Sha512(longer.finish())))
    }
}

impl Store {
    /// The number of bytes that an unfinished download has left.
    pub fn partial_size(&self, digest: &Digest) -> Result<u64> {
        Ok(Stamp::here(&self.partial_path(digest))?.map_or(0, |stamp| stamp.size))
    }

    fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.tmp().join(match digest {
            Digest::Sha256(digest) => format!("{PARTIAL}{digest}"),
            Digest::Sha512(digest) => format!("{PARTIAL}{digest}"),
        })
    }

    /// True if the download named `rest` (a digest) is still missing its blob.
    pub(super) fn is_awaited(&self, rest: &str) -> Result<bool> {
        // The two digests differ in length. The alias is not verified here: if it is wrong, a download merely starts over.
        match (rest.parse::<Sha256>(), rest.parse()) {
            (Ok(digest), _) => Ok(!self.contains(&digest)?),
            (_, Ok(digest)) => Ok(self.alias(&digest).is_none()),
            _ => Ok(false),
        }
    }

    /// Claims the download of a blob, of `size` bytes if that is known.
    pub fn partial(&self, digest: &Digest, size: Option<u64>) -> Result<Claim<'_>> {
        self.partial_within(digest, size, size.unwrap_or(u64::MAX), &self.cancel)
    }

    /// [`Store::partial`] with a size limit: if an earlier process left more than `most` bytes, they are discarded unread.
    pub fn partial_within(&self, digest: &Digest, size: Option<u64>, most: u64, cancel: &Cancel) -> Result<Claim<'_>> {
        let path = self.partial_path(digest);
        let what = |e: io::Error| Error::io(format!("open {}", path.display()), &e);
        loop {
            if self.resolve(digest, size)?.is_some() {
                return Ok(Claim::Present);
            }
            if fsx::special_at(&path, Links::Refused).is_some() {
                fsx::clear(&path, None, &|path| fsx::special_at(path, Links::Refused).is_some())?;
            }
            let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
            let file = change::create(&options, &path).map_err(what)?;
            match fsx::try_lock(&file) {
                Ok(true) => {}
                Ok(false) => return Ok(Claim::Busy),
                // The store's own lock works, so the filesystem supports locks.
                Err(e) => return Err(what(e)),
            }
            // The previous holder may have renamed or removed the file just before this lock was taken.
            if fsx::is_at(&file, &path).map_err(what)? && self.is_missing(digest, size, cancel)? {
                return Ok(Claim::Ours(Partial::resume(self, Temp::adopt(file, path), *digest, most, cancel)?));
            }
        }
    }
}

impl Store {
    /// True if a blob is absent and no other process is about to write its alias.
    fn is_missing(&self, digest: &Digest, size: Option<u64>, cancel: &Cancel) -> Result<bool> {
        if self.resolve(digest, size)?.is_some() {
            return Ok(false);
        }
        if matches!(digest, Digest::Sha256(_)) {
            return Ok(true);
        }
        // Between the rename of a blob and the writing of its alias, another process has neither a download nor a findable blob.
        drop(self.alias_lock(cancel)?);
        Ok(self.resolve(digest, size)?.is_none())
    }
}

impl<'a> Partial<'a> {
    fn resume(store: &'a Store, mut temp: Temp, digest: Digest, most: u64, cancel: &Cancel) -> Result<Self> {
        let failed = |temp: &Temp, e: &io::Error| Error::io(format!("read {}", temp.path().display()), e);
        if temp.file().metadata().map_err(|e| failed(&temp, &e))?.len() > most {
            temp.set_len(0).map_err(|e| failed(&temp, &e))?;
        }
        let (mut hashers, mut len, mut buffer) = (Hashers::new(&digest), 0, vec![0; 256 << 10]);
        loop {
            if let Err(interrupted) = cancel.check() {
                // The existing bytes stay for the next process.
                temp.keep();
                return Err(interrupted);
            }
            match temp.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    hashers.update(&buffer[..n]);
                    len += n as u64;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(failed(&temp, &e)),
            }
        }
        Ok(Partial { store, temp: Some(temp), digest, hashers, len, early: None, untold: 0 })
    }

    /// The number of bytes present.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if no bytes are present.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The digest of the present bytes, of the required kind.
    pub fn found(&self) -> Digest {
        self.hashers.clone().finish().1
    }

    /// Appends bytes. On a full disk the whole partial download is removed, because it is what fills the disk.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let store = self.store;
        store.cancel.check()?;
        let written = self.temp()?.write_all(bytes);
        if let Err(e) = written {
            let error = Error::io(format!("write to the store {}", store.root().display()), &e);
            // After a failed write the file may be longer than the hashed bytes.
            let kept = if error.class() == Class::NoSpace { 0 } else { self.len };
            if kept == 0 || self.temp()?.set_len(kept).is_err() {
                self.temp = None;
                self.len = 0;
            }
            return Err(error);
        }
        self.hashers.update(bytes);
        self.len += bytes.len() as u64;
        self.untold += bytes.len() as u64;
        if self.untold >= EARLY {
            self.untold = 0;
            let temp = self.temp.as_ref().ok_or_else(after_failure)?;
            let begun = self.early.get_or_insert_with(EarlySync::start).begin(temp);
            begun.map_err(|e| Error::io(format!("write to the store {}", store.root().display()), &e))?;
        }
        Ok(())
    }

    /// Discards all bytes.
    pub fn reset(&mut self) -> Result<()> {
        let temp = self.temp()?;
        let done = temp.set_len(0).and_then(|()| temp.seek(SeekFrom::Start(0)));
        done.map_err(|e| Error::io(format!("write {}", temp.path().display()), &e))?;
        (self.hashers, self.len) = (Hashers::new(&self.digest), 0);
        Ok(())
    }

    /// Ends the download. [`Store::place_whole`] makes the bytes a blob.
    ///
    /// # Errors
    /// [`Class::Integrity`] if the bytes do not have the digest; nothing is kept then.
    pub fn finish(mut self) -> Result<Whole<'a>> {
        let (name, found) = self.hashers.clone().finish();
        if found != self.digest {
            let error = Error::integrity("hash mismatch").detail(format!("expected {}  found {found}", self.digest));
            self.temp = None;
            return Err(error);
        }
        self.temp()?;
        let blob = Blob { digest: name, size: self.len };
        Ok(Whole { partial: self, blob })
    }

    /// Makes the bytes a blob.
    ///
    /// # Errors
    /// Those of [`Partial::finish`]; I/O errors.
    pub fn commit(self) -> Result<Blob> {
        let store = self.store;
        let whole = self.finish()?;
        let blob = whole.blob;
        store.place_whole(vec![whole])?;
        Ok(blob)
    }

    /// Waits for the background sync. If it fails, nothing is kept: the kernel reports a write-back error only once.
    fn settle_early(&mut self) -> io::Result<()> {
        let settled = self.early.take().map_or(Ok(()), EarlySync::finish);
        if settled.is_err() {
            self.temp = None;
        }
        settled
    }

    fn temp(&mut self) -> Result<&mut Temp> {
        self.temp.as_mut().ok_or_else(after_failure)
    }
}

fn after_failure() -> Error {
    Error::internal("a download continued after a failure")
}

impl Store {
    /// Makes many downloads durable blobs with one sync, and writes aliases for those with a SHA-512.
    pub fn place_whole(&self, all: Vec<Whole<'_>>) -> Result<()> {
        let (mut files, mut aliases) = (Vec::new(), Vec::new());
        for Whole { mut partial, blob } in all {
            partial.settle_early().map_err(|e| Error::io(format!("write to the store {}", self.root().display()), &e))?;
            if let Digest::Sha512(digest) = partial.digest {
                aliases.push((digest, blob));
            }
            let temp = partial.temp.take().ok_or_else(after_failure)?;
            // `holds` also moves a damaged blob in its place to quarantine.
            if !self.holds(&blob.digest, Some(blob.size))? {
                files.push((temp, self.own_path(&blob.digest)));
            }
        }
        let _turn = (!aliases.is_empty()).then(|| self.alias_lock(&self.cancel)).transpose()?;
        // Also syncs the folder for blobs that other processes have just renamed: the caller relies on all of them.
        fsx::place_all(files, &self.root().join("blobs/sha256"), BLOB_MODE)?;
        aliases.iter().try_for_each(|(digest, blob)| self.put_alias(digest, *blob))
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        // An error cannot be reported here; after one, nothing is kept.
        let _ = self.settle_early();
        if let Some(temp) = self.temp.take()
            && self.len > 0
        {
            temp.keep();
        }
    }
}

impl std::fmt::Debug for Partial<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Partial({}, {} bytes)", self.digest, self.len)
    }
}
