//! The only door to the host's files: every error names its path, listings are sorted, what is written is
//! written whole or not at all, and modes never depend on the umask.

#![cfg_attr(not(test), expect(clippy::disallowed_methods, reason = "this is the door that the others must use"))]

mod batch;
pub(crate) mod change;
mod copy;
mod early;
#[cfg(test)]
pub(crate) mod fault;
mod private;
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

pub use batch::{Batch, place_all};
pub(crate) use copy::copy_file;
pub use copy::{copy_or_reflink, copy_verified};
pub use early::EarlySync;
pub use private::{Access, Facts, Kind, facts, facts_followed, read_no_follow, try_lock_at, user, write_new};
pub use stamp::Stamp;
pub use temp::{Persisted, Temp, reap, reap_dir};
pub(crate) use temp::{is_at, try_lock, work_dir};
pub use trust::{Distrust, create_closed, distrust, distrust_above};
pub use used::is_used_by_a_machine;

use crate::error::{Error, Result};
use crate::value::{Hasher, Sha256};

/// The whole file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| Error::io(format!("read {}", path.display()), &e))
}

/// The whole file, or none when nothing is there.
pub fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("read {}", path.display()), &e)),
    }
}

/// The whole file as text.
///
/// # Errors
/// Also when it is not UTF-8; the line is named.
pub fn read_to_string(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = good.iter().filter(|&&b| b == b'\n').count() + 1;
        Error::user(format!("{} is not UTF-8 text", path.display())).detail(format!("the first other byte is in line {line}"))
    })
}

/// The first bytes of a regular file, `most` of them; none when nothing is there, or something else.
pub fn read_head(path: &Path, most: usize) -> Result<Option<Vec<u8>>> {
    let failed = |e: std::io::Error| Error::io(format!("read {}", path.display()), &e);
    if facts_followed(path)?.is_none_or(|facts| facts.kind != Kind::File) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    open_read(path)?.take(most as u64).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// The digest and the size in bytes of a file however large; none when nothing is there.
pub fn digest_if_present(path: &Path) -> Result<Option<(Sha256, u64)>> {
    Ok(digest_and_stamp(path)?.map(|(digest, size, _)| (digest, size)))
}

/// As [`digest_if_present`], with the stamp that the file had before it was read. One that was written to meanwhile has
/// another by now.
pub fn digest_and_stamp(path: &Path) -> Result<Option<(Sha256, u64, Stamp)>> {
    let failed = |e: std::io::Error| Error::io(format!("read {}", path.display()), &e);
    let read = |file: File| {
        let stamp = Stamp::of_metadata(&file.metadata()?);
        digest(&file).map(|(digest, size)| (digest, size, stamp))
    };
    match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        file => file.and_then(read).map(Some).map_err(failed),
    }
}

/// The digest of what is in the file from where it stands, and how many bytes that is.
fn digest(mut file: &File) -> std::io::Result<(Sha256, u64)> {
    let (mut hasher, mut size, mut buffer) = (Hasher::new(), 0, vec![0; 256 << 10]);
    loop {
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

/// Opens an existing file for reading.
pub fn open_read(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| Error::io(format!("open {}", path.display()), &e))
}

/// Whether something is there (a dangling link is).
pub fn exists(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io(format!("look at {}", path.display()), &e)),
    }
}

/// The absolute path of what is there, without links.
pub fn canonical(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|e| Error::io(format!("open {}", path.display()), &e))
}

/// Marks a file as written just now.
pub fn touch(path: &Path) -> Result<()> {
    change::touch(path).map_err(|e| Error::io(format!("mark {} as used", path.display()), &e))
}

/// The folder and those above it, with the modes that the umask gives.
pub fn create_dir_all(path: &Path) -> Result<()> {
    change::make_folders(path).map_err(|e| Error::io(format!("create the folder {}", path.display()), &e))
}

/// One folder, with exactly `mode` when it is new. One that is there keeps its mode.
pub fn create_dir(path: &Path, mode: u32) -> Result<()> {
    let what = || format!("create the folder {}", path.display());
    match change::make_folder(path, mode) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(e) => Err(Error::io(what(), &e)),
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

/// Gives a file another name on the same disk, in place of what had that name.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    change::rename(from, to).map_err(|e| Error::io(format!("move {} to {}", from.display(), to.display()), &e))
}

/// Removes a file or link; one that is gone already is fine.
pub fn remove_file(path: &Path) -> Result<()> {
    match change::remove(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(format!("remove {}", path.display()), &e)),
        _ => Ok(()),
    }
}

/// Removes a folder with all that is in it, without following links; one that is gone already is fine.
pub fn remove_dir_all(path: &Path) -> Result<()> {
    match change::remove_folder(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(format!("remove the folder {}", path.display()), &e)),
        _ => Ok(()),
    }
}

/// Removes whatever is at `path`, without following links; what is gone already is fine.
pub fn remove(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => remove_dir_all(path),
        _ => remove_file(path),
    }
}

/// The size of a file in bytes; none when nothing is there.
pub fn size(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(meta.len())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("look at {}", path.display()), &e)),
    }
}

/// How many bytes the files in a folder have, links not followed, and when it or any of them was last written, in seconds
/// since 1970. As much as can be seen: a folder of another user's counts as empty.
pub fn extent(path: &Path) -> (u64, i64) {
    let Ok(meta) = fs::symlink_metadata(path) else { return (0, 0) };
    let names = if meta.is_dir() { list(path).unwrap_or_default() } else { Vec::new() };
    let own = if meta.is_file() { meta.len() } else { 0 };
    names
        .iter()
        .map(|name| extent(&path.join(name)))
        .fold((own, meta.mtime()), |(size, used), (more, later)| (size + more, used.max(later)))
}

/// Puts `bytes` at `path` with exactly `mode`, in place of what was there: a reader, and a machine after a power
/// cut, sees the old file or the whole new one.
pub fn write_atomic(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut temp = Temp::beside(path)?;
    temp.write_all(bytes).map_err(|e| Error::io(format!("write {}", path.display()), &e))?;
    temp.replace(path, mode).map(drop)
}

/// The bytes that an ordinary user can still write to the filesystem that holds `path`.
pub fn free_space(path: &Path) -> Result<u64> {
    let found = rustix::fs::statvfs(path).map_err(|e| Error::io(format!("ask for the free space at {}", path.display()), &e.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Makes the names in a folder last over a power cut.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    match change::sync_folder(path) {
        // Some network and FUSE filesystems cannot sync a folder and say so like this.
        Err(e) if e.kind() == ErrorKind::InvalidInput => Ok(()),
        done => done.map_err(|e| Error::io(format!("sync the folder {}", path.display()), &e)),
    }
}
