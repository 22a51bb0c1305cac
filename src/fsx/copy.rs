//! Copies that cost as little as the filesystem allows: shared extents where it can, holes kept where it cannot.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::path::Path;

use rustix::fs::SeekFrom as Extent;
use rustix::io::Errno;

use super::{Persisted, Stamp, Temp, change, digest, open_read};
use crate::error::{Error, Result};
use crate::value::{Cancel, Sha256};

/// So many bytes are copied between two looks at whether to stop.
const AT_ONCE: u64 = 64 << 20;

/// Puts a copy of `from` at `to` with exactly `mode`, whole or not at all. The two never share an inode, so a
/// user who writes into the copy cannot harm the original.
pub fn copy_or_reflink(from: &Path, to: &Path, mode: u32, cancel: &Cancel) -> Result<()> {
    let source = open_read(from)?;
    copy_file(&source, to, mode, cancel).map(drop).map_err(|error| error.detail(format!("copied from {}", from.display())))
}

/// As [`copy_or_reflink`], of a file that had this digest when it was looked at, and unless something is at `to` already.
///
/// # Errors
/// Of class `Integrity` when the copy has another digest: somebody has written to `from` or replaced it since.
pub fn copy_verified(from: &Path, to: &Path, mode: u32, expected: &Sha256, cancel: &Cancel) -> Result<Persisted> {
    let source = open_read(from)?;
    let temp = copied(&source, to, cancel)?;
    let found = temp.file().seek(SeekFrom::Start(0)).and_then(|_| digest(temp.file(), cancel));
    let (found, _) = found.map_err(|e| Error::io(format!("read {} back", temp.path().display()), &e))?;
    if found != *expected {
        let error = Error::integrity(format!("{} has changed while it was copied to {}", from.display(), to.display()));
        return Err(error.detail(format!("expected sha256:{expected}")).detail(format!("found    sha256:{found}")));
    }
    temp.place(to, mode)
}

/// As [`copy_or_reflink`], from a file that is open.
pub(crate) fn copy_file(source: &File, to: &Path, mode: u32, cancel: &Cancel) -> Result<Stamp> {
    copied(source, to, cancel)?.replace(to, mode)
}

/// A copy that has no name yet.
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

/// The next stretch at or behind `at` that is no hole. A filesystem that knows no holes has one stretch.
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
