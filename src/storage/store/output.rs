//! Stamps: known digests of files outside the store, such as exported images and read inputs.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::small::{self, Small};
use super::{FILE_MODE, Store};
use crate::common::error::{Class, Error, Result};
use crate::common::fsx::{self, Stamp};
use crate::common::value::{Sha256, Size, unescape};

/// The stamp entry of a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: String,
    digest: String,
    stamp: Stamp,
}

impl Store {
    /// Writes a copy of a blob to the absolute path `to`, atomically, with exactly `mode`, and records its stamp. The blob is
    /// hashed first, unless this process has just made it from bytes that it hashed.
    ///
    /// # Errors
    /// A missing or damaged blob.
    pub fn export(&self, digest: &Sha256, to: &Path, mode: u32) -> Result<()> {
        let stamp = match (self.open_verified(digest)?, self.composed(digest)?) {
            (Some(blob), _) => fsx::copy_file(blob.file(), to, mode, &self.cancel).map_err(|error| no_room(error, to, blob.size()))?,
            (None, Some(composed)) => composed.export(to, mode).map_err(|error| no_room(error, to, composed.size()))?,
            (None, None) => {
                return Err(Error::integrity(format!("blob {digest} is gone from the store {}", self.root().display()))
                    .hint("run the command again: the blob is fetched or made again"));
            }
        };
        self.put_stamp(to, &stamp, digest)
    }

    /// The digest of the file at the absolute path `path`, if it is recorded and the file has not changed since. An invalid
    /// entry counts as absent.
    pub fn stamp(&self, path: &Path) -> Result<Option<Sha256>> {
        Ok(self.known(path)?.map(|(digest, _)| digest))
    }

    /// The last recorded digest of the file at the absolute path `path`, even if the file has changed or gone.
    pub fn last_known(&self, path: &Path) -> Result<Option<Sha256>> {
        let Ok(Some(bytes)) = fsx::read_if_present(&self.stamp_path(path)?) else { return Ok(None) };
        let entry = serde_json::from_slice::<Entry>(&bytes).ok().filter(|entry| entry.path == shown(path));
        Ok(entry.and_then(|entry| entry.digest.parse().ok()))
    }

    /// [`Store::stamp`] with the file's size in bytes.
    pub fn known(&self, path: &Path) -> Result<Option<(Sha256, u64)>> {
        let Some(now) = Stamp::of(path)? else { return Ok(None) };
        let Ok(Small::Bytes(bytes)) = small::read(&self.stamp_path(path)?) else { return Ok(None) };
        let Ok(entry) = serde_json::from_slice::<Entry>(&bytes) else { return Ok(None) };
        let holds = entry.stamp == now && entry.path == shown(path);
        Ok(if holds { entry.digest.parse().ok().map(|digest| (digest, now.size)) } else { None })
    }

    /// Records that the file at the absolute path `path` has `digest`. `stamp` was taken before hashing, so that a change
    /// in between is detected.
    pub fn put_stamp(&self, path: &Path, stamp: &Stamp, digest: &Sha256) -> Result<()> {
        self.write_small(&self.stamp_path(path)?, &stamp_text(path, stamp, digest)?)
    }

    /// [`Store::put_stamp`] for files that others may write to. Files that were changed shortly before the command began are
    /// skipped: within the timestamp granularity, a later change could leave the same stamp.
    pub fn put_settled_stamps(&self, read: &[(PathBuf, Stamp, Sha256)]) -> Result<()> {
        // Without the command's start time this cannot be decided.
        let Some(now) = self.now else { return Ok(()) };
        let mut batch = fsx::Batch::default();
        for (path, stamp, digest) in read.iter().filter(|(_, stamp, _)| stamp.is_settled(now)) {
            let place = self.stamp_path(path)?;
            self.make_room(&place)?;
            batch.add(&place, FILE_MODE, &stamp_text(path, stamp, digest)?)?;
        }
        batch.commit()
    }

    /// True if the entry at `path` can never be used again. If the file cannot be inspected, the entry may still be of use.
    pub(super) fn is_stale(&self, path: &Path) -> bool {
        let Ok(found) = small::read(path) else { return false };
        let entry = found.bytes().and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).ok());
        let Some((entry, file)) = entry.and_then(|entry| Some((unescape(&entry.path)?, entry.stamp))) else { return true };
        Stamp::of(Path::new(OsStr::from_bytes(&entry))).is_ok_and(|now| now != Some(file))
    }

    fn stamp_path(&self, path: &Path) -> Result<PathBuf> {
        if !path.is_absolute() {
            return Err(Error::internal(format!("{} is not absolute, but stamps need absolute paths", path.display())));
        }
        Ok(self.root().join("stamps").join(format!("{}.json", Sha256::of(path.as_os_str().as_bytes()))))
    }
}

/// A no-space error that names the output's disk, which is often not the store's.
fn no_room(error: Error, to: &Path, needed: u64) -> Error {
    if error.class() != Class::NoSpace {
        return error;
    }
    let folder = to.parent().unwrap_or(to);
    let free = fsx::free_space(folder).map_or_else(|_| "not known".to_owned(), |free| Size(free).to_string());
    Error::new(Class::NoSpace, format!("not enough space in {} for {}", folder.display(), to.file_name().unwrap_or_default().display()))
        .detail(format!("needed {}  free {free}", Size(needed)))
        .detail(error.message())
        .hint("nothing was kept half-written; free some space there, or name a folder on another disk")
}

fn stamp_text(path: &Path, stamp: &Stamp, digest: &Sha256) -> Result<Vec<u8>> {
    let entry = Entry { path: shown(path), digest: digest.to_string(), stamp: *stamp };
    serde_json::to_vec(&entry).map_err(|e| Error::internal(format!("cannot serialize a stamp: {e}")))
}

fn shown(path: &Path) -> String {
    crate::common::value::escape(path.as_os_str().as_bytes())
}
