//! Empty qcow2 files, over a backing file or without: the disk of one machine, which starts as its role's disk.
//!
//! An overlay holds what the machine has written; everything else is read from the backing file, which must never
//! change. Not supported: backing files that are not plain files, and several layers (QEMU knows both).

use super::header::Kind;
use super::layout::Layout;
use super::{MAX_VIRTUAL_SIZE, check_size};
use crate::common::error::{Error, Result};

/// The magic bytes at the start of every qcow2 file.
const MAGIC: &[u8] = b"QFI\xfb";
/// The longest backing file name that the format allows, in bytes.
const NAME_MAX: usize = 1023;

/// The backing file of an overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backing<'a> {
    /// The file's path. QEMU resolves a relative path from the overlay's own folder.
    pub name: &'a str,
    /// The file's format as QEMU names it, `qcow2` or `raw`: QEMU must not guess it from contents that a guest can write.
    pub format: &'static str,
    /// The virtual size of its disk in bytes.
    pub size: u64,
}

/// An overlay: a disk of `virtual_size` bytes that reads as the backing disk, and as zeros past that disk's end.
///
/// The file is 256 KiB long, and 64 KiB more per 4 TiB of disk after the first: 448 KiB for 16 TiB.
///
/// # Errors
/// A name that is empty, longer than 1023 bytes, has control characters, or has a `:` before its first `/` (QEMU would
/// take the part before it for a protocol); a `virtual_size` that is less than the backing disk's, not a multiple of
/// 512, or more than 2 PiB.
pub(crate) fn overlay(backing: &Backing, virtual_size: u64) -> Result<Vec<u8>> {
    check_name(backing.name)?;
    check_size(0, virtual_size)?;
    if virtual_size < backing.size {
        return Err(Error::user(format!(
            "a disk of {virtual_size} bytes is smaller than its backing disk `{}` of {} bytes",
            backing.name, backing.size
        ))
        .hint(format!("choose a size of at least that, a multiple of 512 up to {MAX_VIRTUAL_SIZE}")));
    }
    Ok(file(virtual_size, Kind::Overlay { backing: backing.name, format: backing.format }))
}

/// A disk of `virtual_size` zeros, without a backing file. The file is as long as an overlay.
///
/// # Errors
/// A size that is not a multiple of 512, or more than 2 PiB.
pub(crate) fn empty(virtual_size: u64) -> Result<Vec<u8>> {
    check_size(0, virtual_size)?;
    Ok(file(virtual_size, Kind::Empty))
}

fn file(virtual_size: u64, kind: Kind) -> Vec<u8> {
    let mut file = Vec::new();
    for (offset, bytes) in Layout::new().finish(virtual_size, kind) {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        file.resize(file.len().max(end), 0);
        file[start..end].copy_from_slice(&bytes);
    }
    file
}

/// The backing file's name and the virtual size in bytes, from the first bytes of a qcow2 file; `None` for other files,
/// and without a backing file.
pub(crate) fn backing_of(head: &[u8]) -> Option<(String, u64)> {
    let number = |at: usize, len: usize| Some(head.get(at..at + len)?.iter().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte)));
    if head.get(..4)? != MAGIC {
        return None;
    }
    let (offset, len, size) = (number(8, 8)?, number(16, 4)?, number(24, 8)?);
    let start = usize::try_from(offset).ok().filter(|&offset| offset != 0)?;
    let name = head.get(start..start.checked_add(usize::try_from(len).ok()?)?)?;
    Some((String::from_utf8(name.to_vec()).ok()?, size))
}

fn check_name(name: &str) -> Result<()> {
    let refused = |why: &str| Error::user(format!("`{}` cannot name a backing file: {why}", name.escape_debug()));
    if name.is_empty() {
        return Err(refused("it is empty"));
    }
    if name.len() > NAME_MAX {
        return Err(refused(&format!("it has {} bytes, the format allows {NAME_MAX}", name.len())));
    }
    if name.chars().any(char::is_control) {
        return Err(refused("it has control characters"));
    }
    if let Some((before, _)) = name.split_once(':')
        && !before.contains('/')
    {
        let error = refused(&format!("QEMU would take `{}:` for a protocol", before.escape_debug()));
        return Err(error.hint(format!("write `./{}`", name.escape_debug())));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
