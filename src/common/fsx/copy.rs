//! Cheap copies: with shared extents if the filesystem supports them, otherwise with holes preserved.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::path::Path;

use rustix::fs::SeekFrom as Extent;
use rustix::io::Errno;

use super::{Persisted, Stamp, Temp, change, digest, open_read};
use crate::common::error::{Error, Result};
use crate::common::value::{Cancel, Sha256};

/// The number of bytes to copy between two checks for cancellation.
const AT_ONCE: u64 = 64 << 20;

/// Copies a file whose digest was verified before to `to`, with exactly `mode`, unless something exists there.
///
/// # Errors
/// Class `Integrity` when the copy has another digest: `from` has been changed or replaced since.
pub(crate) fn copy_verified(from: &Path, to: &Path, mode: u32, expected: &Sha256, cancel: &Cancel) -> Result<Persisted> {
    let source = open_read(from)?;
    let temp = copied(&source, to, cancel)?;
    let found = temp.file().seek(SeekFrom::Start(0)).and_then(|_| digest(temp.file(), cancel));
    let (found, _) = found.map_err(|e| Error::io(format!("read {} back", temp.path().display()), &e))?;
    if found != *expected {
        let error = Error::integrity(format!("{} changed while it was copied to {}", from.display(), to.display()));
        return Err(error.detail(format!("expected sha256:{expected}")).detail(format!("found    sha256:{found}")));
    }
    temp.place(to, mode)
}

/// Copies an open file to `to` with exactly `mode`, atomically. The two never share an inode, so that a user who writes to the copy
/// cannot damage the original.
pub(crate) fn copy_file(source: &File, to: &Path, mode: u32, cancel: &Cancel) -> Result<Stamp> {
    copied(source, to, cancel)?.replace(to, mode)
}

/// A copy without its final name.
fn copied(source: &File, to: &Path, cancel: &Cancel) -> Result<Temp> {
    let temp = Temp::beside(to)?;
    copy_bytes(source, &temp, cancel).map_err(|e| Error::io(format!("write {}", to.display()), &e))?;
    Ok(temp)
}

fn copy_bytes(source: &File, target: &Temp, cancel: &Cancel) -> io::Result<()> {
    if change::clone(source, target.file(), target.path())? {
        return Ok(());
    }
    let size = source.metadata()?.len();
    target.set_len(size)?;
    let mut at = 0;
    while let Some((start, end)) = next_data(source, at, size)? {
        cancel.check()?;
        let end = end.min(start.saturating_add(AT_ONCE));
        let copied = change::copy(source, target.file(), target.path(), start, end - start)?;
        if copied != end - start {
            return Err(io::Error::other(format!("the source shrank while it was copied ({} of {size} bytes)", start + copied)));
        }
        at = end;
    }
    Ok(())
}

/// The next range of data at or after `at`. On a filesystem without holes it is the rest of the file.
fn next_data(file: &File, at: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= size {
        return Ok(None);
    }
    let start = match rustix::fs::seek(file, Extent::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::NOTSUP) => return Ok(Some((at, size))),
        Err(e) => return Err(e.into()),
    };
    let end = rustix::fs::seek(file, Extent::Hole(start))?;
    Ok(Some((start, end.min(size))))
}
