//! The only module that changes files on the host. Every error names its path, listings are sorted, files are written
//! atomically, and modes never depend on the umask.

#![cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "this is the door that the others must use"))]

mod batch;
pub(crate) mod change;
mod copy;
mod early;
#[cfg(test)]
pub(crate) mod fault;
mod inside;
mod open;
mod private;
mod staged;
mod stamp;
mod temp;
#[cfg(test)]
mod tests;
mod trust;
mod used;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

pub(crate) use batch::{Batch, place_all};
pub(crate) use copy::copy_file;
pub(crate) use copy::copy_verified;
pub(crate) use early::EarlySync;
pub(crate) use inside::Inside;
pub(crate) use open::{Links, Opened, not_a_file, open_if_present, open_regular, read_all, special_at};
pub(crate) use open::{TEXT_MAX, open_disk, open_given, open_read, read, read_given_to_string, read_if_present, read_to_string};
pub(crate) use private::{Access, Facts, Kind, facts, facts_followed, read_followed, read_no_follow, try_lock_at, user, write_new};
pub(crate) use staged::Staged;
pub(crate) use stamp::Stamp;
pub use temp::{Persisted, Temp};
pub(crate) use temp::{clear, empty_dir, is_at, try_lock, work_dir};
pub(crate) use temp::{reap, reap_dir};
pub(crate) use trust::{Distrust, create_closed, distrust, distrust_above};
pub(crate) use used::is_used_by_a_machine;

use crate::common::error::{Error, Result};
use crate::common::value::{Cancel, Hasher, Sha256};

/// The first `most` bytes of a regular file; `None` if there is no regular file.
pub(crate) fn read_head(path: &Path, most: usize) -> Result<Option<Vec<u8>>> {
    let failed = |e: std::io::Error| Error::io(format!("read {}", path.display()), &e);
    if facts_followed(path)?.is_none_or(|facts| facts.kind != Kind::File) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    open_read(path)?.take(most as u64).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// The digest and the size in bytes of a file of any size; `None` if it does not exist.
///
/// # Errors
/// Cancellation; a file that is not regular; I/O errors.
pub fn digest_if_present(path: &Path, cancel: &Cancel) -> Result<Option<(Sha256, u64)>> {
    Ok(digest_until(path, cancel)?.map(|(digest, size, _)| (digest, size)))
}

/// [`digest_if_present`], with the file's stamp before it was read. A later stamp differs if the file was written to
/// meanwhile.
///
/// # Errors
/// Cancellation; a file that is not regular; I/O errors.
pub(crate) fn digest_until(path: &Path, cancel: &Cancel) -> Result<Option<(Sha256, u64, Stamp)>> {
    let Some((file, _)) = open_if_present(path)? else { return Ok(None) };
    digest_of_open(&file, path, cancel).map(Some)
}

/// [`digest_until`] of an open file; messages name it by `path`.
pub(crate) fn digest_of_open(file: &File, path: &Path, cancel: &Cancel) -> Result<(Sha256, u64, Stamp)> {
    let stamp = Stamp::of_metadata(&file.metadata().map_err(|e| Error::io(format!("read {}", path.display()), &e))?);
    digest_of(file, path, cancel).map(|(digest, size)| (digest, size, stamp))
}

/// The digest and length of the rest of `file` from its current position. `path` is for messages.
pub(crate) fn digest_of(file: &File, path: &Path, cancel: &Cancel) -> Result<(Sha256, u64)> {
    digest(file, cancel).map_err(|e| Error::io(format!("read {}", path.display()), &e))
}

/// The digest and length of the rest of the file from its current position.
fn digest(mut file: &File, cancel: &Cancel) -> std::io::Result<(Sha256, u64)> {
    let (mut hasher, mut size, mut buffer) = (Hasher::new(), 0, vec![0; 256 << 10]);
    loop {
        cancel.check()?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finish(), size)),
            Ok(n) => {
                hasher.update(&buffer[..n]);
                size += n as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// True if the path exists, as a dangling link too.
pub(crate) fn exists(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io(format!("stat {}", path.display()), &e)),
    }
}

/// The absolute path without symbolic links; the path must exist.
pub(crate) fn canonical(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|e| Error::io(format!("open {}", path.display()), &e))
}

/// Sets a file's modification time to now.
pub(crate) fn touch(path: &Path) -> Result<()> {
    change::touch(path).map_err(|e| Error::io(format!("mark {} as used", path.display()), &e))
}

/// Creates the folder and its parents, with modes subject to the umask.
pub(crate) fn create_dir_all(path: &Path) -> Result<()> {
    folder_made(path, &|| change::make_folders(path))
}

/// Creates one folder, with exactly `mode`. An existing one keeps its mode.
pub(crate) fn create_dir(path: &Path, mode: u32) -> Result<()> {
    folder_made(path, &|| change::make_folder(path, mode))
}

/// The number of retries when another process removes a folder while it is created.
const FOLDER_TRIES: u32 = 1000;

/// Creates the folder at `path` by `make`, unless it exists. Between two checks another process may create the folder,
/// or remove it.
fn folder_made(path: &Path, make: &dyn Fn() -> std::io::Result<()>) -> Result<()> {
    let failed = |e: &std::io::Error| Error::io(format!("create the folder {}", path.display()), e);
    let mut tries = FOLDER_TRIES;
    loop {
        let Err(error) = make() else { return Ok(()) };
        match (error.kind(), fs::metadata(path)) {
            (ErrorKind::AlreadyExists, Ok(found)) if found.is_dir() => return Ok(()),
            // A dangling link is no race.
            (ErrorKind::AlreadyExists, Err(e)) if e.kind() == ErrorKind::NotFound && tries > 0 && !exists(path)? => {}
            (ErrorKind::AlreadyExists, _) => {
                let special = special_at(path, Links::Refused).unwrap_or("a file");
                return Err(failed(&error).detail(format!("{} is {special}; expected a folder", path.display())));
            }
            (ErrorKind::NotFound, _) if tries > 0 && path.parent().is_some_and(Path::is_dir) => {}
            _ => return Err(failed(&error)),
        }
        tries -= 1;
    }
}

/// The names in a folder, sorted by bytes.
pub fn list(path: &Path) -> Result<Vec<OsString>> {
    let what = |e: std::io::Error| Error::io(format!("list the folder {}", path.display()), &e);
    let names: std::io::Result<Vec<_>> = fs::read_dir(path).map_err(what)?.map(|entry| entry.map(|e| e.file_name())).collect();
    let mut names = names.map_err(what)?;
    names.sort();
    Ok(names)
}

/// Renames a file within its filesystem and replaces an existing target.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    change::rename(from, to).map_err(|e| Error::io(format!("move {} to {}", from.display(), to.display()), &e))
}

/// Removes a file or link; succeeds if there is none.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match change::remove(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(format!("remove {}", path.display()), &e)),
        _ => Ok(()),
    }
}

/// Removes a folder and its contents without following links; succeeds if there is none.
pub(crate) fn remove_dir_all(path: &Path) -> Result<()> {
    match change::remove_folder(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(format!("remove the folder {}", path.display()), &e)),
        _ => Ok(()),
    }
}

/// Removes a file, link or folder without following links; succeeds if there is none.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => remove_dir_all(path),
        _ => remove_file(path),
    }
}

/// The size of a file in bytes; `None` if it does not exist.
pub(crate) fn size(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(meta.len())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("stat {}", path.display()), &e)),
    }
}

/// The total size in bytes of the files in a folder, without following links, and the latest modification time among
/// all of them, in seconds since 1970. Best effort: an unreadable folder counts as empty.
pub(crate) fn extent(path: &Path) -> (u64, i64) {
    let Ok(meta) = fs::symlink_metadata(path) else { return (0, 0) };
    let names = if meta.is_dir() { list(path).unwrap_or_default() } else { Vec::new() };
    let own = if meta.is_file() { meta.len() } else { 0 };
    names
        .iter()
        .map(|name| extent(&path.join(name)))
        .fold((own, meta.mtime()), |(size, used), (more, later)| (size + more, used.max(later)))
}

/// Replaces the file at `path` by `bytes` with exactly `mode`. Atomic: a reader, also after a power cut, sees the old
/// file or the complete new one.
pub(crate) fn write_atomic(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut temp = Temp::beside(path)?;
    temp.write_all(bytes).map_err(|e| Error::io(format!("write {}", path.display()), &e))?;
    temp.replace(path, mode).map(drop)
}

/// The free bytes for an unprivileged user on the filesystem that contains `path`.
pub(crate) fn free_space(path: &Path) -> Result<u64> {
    let found = rustix::fs::statvfs(path).map_err(|e| Error::io(format!("get the free space of {}", path.display()), &e.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// True if the filesystem that contains `path` allows running programs: it is not mounted `noexec`.
pub(crate) fn runs_programs(path: &Path) -> Result<bool> {
    let found = rustix::fs::statvfs(path).map_err(|e| Error::io(format!("get the mount options of {}", path.display()), &e.into()))?;
    Ok(!found.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC))
}

/// Makes the names in a folder survive a power cut.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    match change::sync_folder(path) {
        // Some network and FUSE filesystems cannot sync a folder and return this error.
        Err(e) if e.kind() == ErrorKind::InvalidInput => Ok(()),
        done => done.map_err(|e| Error::io(format!("sync the folder {}", path.display()), &e)),
    }
}
