//! Private files and folders: permissions, reading without following links, and locks.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Links, Opened, Persisted, Temp, change, is_at, not_a_file, open_regular};
use crate::common::error::{Error, Result};

/// The properties of a path that decide who can read and write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The kind.
    pub kind: Kind,
    /// The permission bits, `0o7777` at most.
    pub mode: u32,
    /// The owner's user id.
    pub owner: u32,
    /// The size in bytes.
    pub size: u64,
}

/// The kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, pipe or socket.
    Other,
}

/// The kind of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// For readers; several can hold it.
    Shared,
    /// For one writer.
    Exclusive,
}

impl Facts {
    fn of(meta: &Metadata) -> Facts {
        let kind = match meta.file_type() {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_dir() => Kind::Folder,
            kind if kind.is_symlink() => Kind::Link,
            _ => Kind::Other,
        };
        Facts { kind, mode: meta.mode() & 0o7777, owner: meta.uid(), size: meta.len() }
    }
}

/// The effective user id of this process.
pub(crate) fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The facts about `path` itself, without following links; `None` if it does not exist.
pub(crate) fn facts(path: &Path) -> Result<Option<Facts>> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(Facts::of(&meta))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("stat {}", path.display()), &e)),
    }
}

/// The facts about the target of `path`, following links; `None` if it does not exist.
pub(crate) fn facts_followed(path: &Path) -> Result<Option<Facts>> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(Facts::of(&meta))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("stat {}", path.display()), &e)),
    }
}

/// The bytes of a regular file of at most `limit` bytes, and the facts about that very file. Only the facts for
/// anything else, links and larger files included; `None` if nothing exists.
pub(crate) fn read_no_follow(path: &Path, limit: u64) -> Result<Option<(Facts, Option<Vec<u8>>)>> {
    read_opened(path, limit, Links::Refused)
}

/// [`read_no_follow`] that follows links: the facts are those of the final target.
pub(crate) fn read_followed(path: &Path, limit: u64) -> Result<Option<(Facts, Option<Vec<u8>>)>> {
    read_opened(path, limit, Links::Followed)
}

fn read_opened(path: &Path, limit: u64, links: Links) -> Result<Option<(Facts, Option<Vec<u8>>)>> {
    let failed = |e: std::io::Error| Error::io(format!("read {}", path.display()), &e);
    let (file, facts) = match open_regular(path, links).map_err(failed)? {
        Opened::Absent => return Ok(None),
        Opened::Special(_) => {
            let found = if links == Links::Refused { facts(path) } else { facts_followed(path) };
            return Ok(found?.map(|facts| (facts, None)));
        }
        Opened::File(file, meta) => (file, Facts::of(&meta)),
    };
    if facts.size > limit {
        return Ok(Some((facts, None)));
    }
    // Sized exactly: a buffer that grows or shrinks would leave copies of possible keys in memory.
    let mut bytes = vec![0; facts.size as usize];
    (&file).read_exact(&mut bytes).map_err(failed)?;
    if (&file).read(&mut [0]).map_err(failed)? != 0 {
        return Err(failed(std::io::Error::other("the file grew while it was read")));
    }
    Ok(Some((facts, Some(bytes))))
}

/// Creates `path` with `bytes` and exactly `mode`, atomically, unless something exists there.
pub(crate) fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<Persisted> {
    let mut temp = Temp::beside(path)?;
    temp.write_all(bytes).map_err(|e| Error::io(format!("write {}", path.display()), &e))?;
    temp.place(path, mode)
}

/// Locks the file at `path`; an exclusive lock creates it with mode 0600. The lock is held as long as the file is open.
/// `None` when it is locked by another, or when there is no file to share.
///
/// On filesystems without locks, returns the file unlocked.
pub(crate) fn try_lock_at(path: &Path, access: Access) -> Result<Option<File>> {
    let failed = |e: std::io::Error| Error::io(format!("lock {}", path.display()), &e);
    let open = || match open_regular(path, Links::Refused)? {
        Opened::File(file, _) => Ok::<_, std::io::Error>(file),
        Opened::Special(special) => Err(not_a_file(path, special).into()),
        Opened::Absent => Err(ErrorKind::NotFound.into()),
    };
    let operation = match access {
        Access::Shared => FlockOperation::NonBlockingLockShared,
        Access::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    let file = match open() {
        Err(e) if e.kind() == ErrorKind::NotFound && access == Access::Shared => return Ok(None),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            match change::create(OpenOptions::new().read(true).write(true).create_new(true).mode(0o600), path) {
                Ok(file) => {
                    // The umask may have removed bits.
                    change::set_mode(&file, path, 0o600).map_err(failed)?;
                    file
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => match open() {
                    // Created by another process, and removed again.
                    Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
                    file => file.map_err(failed)?,
                },
                Err(e) => return Err(failed(e)),
            }
        }
        file => file.map_err(failed)?,
    };
    match flock(&file, operation) {
        // A lock on a file that has lost its name protects nothing.
        Ok(()) => Ok(is_at(&file, path).map_err(failed)?.then_some(file)),
        Err(Errno::NOLCK | Errno::NOSYS | Errno::NOTSUP) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(failed(e.into())),
    }
}
