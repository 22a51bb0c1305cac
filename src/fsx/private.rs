//! Private files and folders: who may reach them, reading without being led elsewhere, and locks on them.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Links, Opened, Persisted, Temp, change, is_at, look, no_file};
use crate::error::{Error, Result};

/// What is at a path, in so far as it decides who can read and write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What it is.
    pub kind: Kind,
    /// The permission bits, `0o7777` at most.
    pub mode: u32,
    /// Whose it is: a user's number.
    pub owner: u32,
    /// The size in bytes.
    pub size: u64,
}

/// The kinds of things at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, pipe or socket.
    Other,
}

/// Whether others may hold the same lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Readers, together.
    Shared,
    /// One writer, alone.
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

/// The number of the user that this process acts as.
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// What is at `path` itself, links not followed; none when nothing is there.
pub fn facts(path: &Path) -> Result<Option<Facts>> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(Facts::of(&meta))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("look at {}", path.display()), &e)),
    }
}

/// What `path` leads to, links followed; none when nothing is there.
pub fn facts_followed(path: &Path) -> Result<Option<Facts>> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(Facts::of(&meta))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("look at {}", path.display()), &e)),
    }
}

/// The bytes of a regular file of `limit` bytes at most, and the facts of that very file. Of anything else, links
/// included, and of larger files only the facts; none when nothing is there.
pub fn read_no_follow(path: &Path, limit: u64) -> Result<Option<(Facts, Option<Vec<u8>>)>> {
    let failed = |e: std::io::Error| Error::io(format!("read {}", path.display()), &e);
    let (file, facts) = match look(path, Links::Refused).map_err(failed)? {
        Opened::Absent => return Ok(None),
        Opened::Odd(_) => return Ok(facts(path)?.map(|facts| (facts, None))),
        Opened::File(file, meta) => (file, Facts::of(&meta)),
    };
    if facts.size > limit {
        return Ok(Some((facts, None)));
    }
    // Exactly as much as there is: a buffer that grows or shrinks would leave copies of what may be a key.
    let mut bytes = vec![0; facts.size as usize];
    (&file).read_exact(&mut bytes).map_err(failed)?;
    if (&file).read(&mut [0]).map_err(failed)? != 0 {
        return Err(failed(std::io::Error::other("it grew meanwhile")));
    }
    Ok(Some((facts, Some(bytes))))
}

/// Puts `bytes` at `path` with exactly `mode`, whole or not at all, unless something is there already.
pub fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<Persisted> {
    let mut temp = Temp::beside(path)?;
    temp.write_all(bytes).map_err(|e| Error::io(format!("write {}", path.display()), &e))?;
    temp.place(path, mode)
}

/// Takes the lock on the file at `path`, which is made with mode 0600 for an exclusive one. The lock is held as long
/// as the file is open. None when somebody else has it, or when there is no file to share.
///
/// Where the filesystem has no locks, the file is returned without one.
pub fn try_lock_at(path: &Path, access: Access) -> Result<Option<File>> {
    let failed = |e: std::io::Error| Error::io(format!("lock {}", path.display()), &e);
    let open = || match look(path, Links::Refused)? {
        Opened::File(file, _) => Ok::<_, std::io::Error>(file),
        Opened::Odd(odd) => Err(no_file(path, odd).into()),
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
                    // The umask may have taken bits away.
                    change::set_mode(&file, path, 0o600).map_err(failed)?;
                    file
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => match open() {
                    // Made by another process, and gone again.
                    Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
                    file => file.map_err(failed)?,
                },
                Err(e) => return Err(failed(e)),
            }
        }
        file => file.map_err(failed)?,
    };
    match flock(&file, operation) {
        // A file that has lost its name keeps nobody out.
        Ok(()) => Ok(is_at(&file, path).map_err(failed)?.then_some(file)),
        Err(Errno::NOLCK | Errno::NOSYS | Errno::NOTSUP) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(failed(e.into())),
    }
}
