//! Downloads that survive a killed process.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::OFlags;

use super::{Blob, PARTIAL, Store, write};
use crate::error::{Class, Error, Result};
use crate::fsx::{self, Temp};
use crate::value::{Hasher, Sha256};

/// Who is to get a blob.
#[derive(Debug)]
pub enum Claim<'a> {
    /// The caller, who goes on where an earlier process stopped.
    Ours(Partial<'a>),
    /// Another thread or process is at it; ask again later.
    Busy,
    /// Nobody: it is there.
    Present,
}

/// The first bytes of a blob with a known digest. Dropped, its bytes stay for the next process.
pub struct Partial<'a> {
    store: &'a Store,
    /// Some until it is committed.
    temp: Option<Temp>,
    digest: Sha256,
    hasher: Hasher,
    len: u64,
}

impl Store {
    /// How many bytes of a blob an unfinished download has left.
    pub fn partial_size(&self, digest: &Sha256) -> Result<u64> {
        Ok(fsx::size(&self.tmp().join(format!("{PARTIAL}{digest}")))?.unwrap_or(0))
    }

    /// Claims the download of a blob of `size` bytes, where that is known.
    pub fn partial(&self, digest: &Sha256, size: Option<u64>) -> Result<Claim<'_>> {
        let path = self.tmp().join(format!("{PARTIAL}{digest}"));
        let what = |e: io::Error| Error::io(format!("open {}", path.display()), &e);
        loop {
            if self.holds(digest, size)? {
                return Ok(Claim::Present);
            }
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits() as i32);
            let file = fsx::step(&path).and_then(|()| options.open(&path)).map_err(what)?;
            match fsx::try_lock(&file) {
                Ok(true) => {}
                Ok(false) => return Ok(Claim::Busy),
                // The store's own lock was taken, so this filesystem has locks.
                Err(e) => return Err(what(e)),
            }
            // Whoever had it may have given it its name, or removed it, just before we had the lock.
            if fsx::is_at(&file, &path).map_err(what)? && !self.holds(digest, size)? {
                return Ok(Claim::Ours(Partial::resume(self, Temp::adopt(file, path), *digest)?));
            }
        }
    }
}

impl<'a> Partial<'a> {
    fn resume(store: &'a Store, mut temp: Temp, digest: Sha256) -> Result<Self> {
        let (mut hasher, mut len, mut buffer) = (Hasher::new(), 0, vec![0; 256 << 10]);
        loop {
            match temp.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(&buffer[..n]);
                    len += n as u64;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(format!("read {}", temp.path().display()), &e)),
            }
        }
        Ok(Partial { store, temp: Some(temp), digest, hasher, len })
    }

    /// How many bytes are there.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether none are there.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The digest of the bytes that are there.
    pub fn found(&self) -> Sha256 {
        self.hasher.clone().finish()
    }

    /// Adds the next bytes. When the disk is full, what was there goes too: it is what fills the disk.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let store = self.store;
        let written = self.temp()?.write_all(bytes);
        if let Err(e) = written {
            let error = Error::io(format!("write to the store {}", store.root().display()), &e);
            // After a failed write the file may be longer than what was hashed.
            let kept = if error.class() == Class::NoSpace { 0 } else { self.len };
            if kept == 0 || self.temp()?.file().set_len(kept).is_err() {
                self.temp = None;
                self.len = 0;
            }
            return Err(error);
        }
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Forgets all bytes.
    pub fn reset(&mut self) -> Result<()> {
        let temp = self.temp()?;
        let done = temp.file().set_len(0).and_then(|()| temp.seek(SeekFrom::Start(0)));
        done.map_err(|e| Error::io(format!("write {}", temp.path().display()), &e))?;
        (self.hasher, self.len) = (Hasher::new(), 0);
        Ok(())
    }

    /// Makes the bytes the blob.
    ///
    /// # Errors
    /// [`Class::Integrity`] when they do not have its digest; nothing is kept then.
    pub fn commit(mut self) -> Result<Blob> {
        let found = self.found();
        if found != self.digest {
            let error = Error::integrity("hash mismatch").detail(format!("expected sha256:{}  found sha256:{found}", self.digest));
            self.temp = None;
            return Err(error);
        }
        let blob = Blob { digest: found, size: self.len };
        match self.temp.take() {
            Some(temp) => write::place(self.store, temp, blob).map(|_| blob),
            None => Err(Error::internal("a download was committed after it had failed")),
        }
    }

    fn temp(&mut self) -> Result<&mut Temp> {
        self.temp.as_mut().ok_or_else(|| Error::internal("a download went on after it had failed"))
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
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
