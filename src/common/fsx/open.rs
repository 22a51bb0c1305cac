//! Opening existing files, for all readers.
//!
//! A path may name anything: a pipe without a writer, an endless device, a link to elsewhere. A file that the program
//! finds by itself, or that another file names, must be a regular one. A path from the user may also be a pipe, as
//! shells create for `<(…)` and `/dev/stdin`.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal as _, Read};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::common::error::{Error, Result};
use crate::common::value::Size;

/// The largest text file that is read into memory, in bytes: 64 MiB. A lockfile of thousands of packages has a few MiB.
pub(crate) const TEXT_MAX: u64 = 64 << 20;

/// The rule for a symbolic link as the last component of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Follow it, for the user's own files.
    Followed,
    /// Refuse it, for names that only this program creates.
    Refused,
}

/// The result of opening a regular file.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Nothing exists; also a dangling link, where links are followed.
    Absent,
    /// Something else exists, named in words that fit after "is".
    Special(&'static str),
    /// The file, and its own metadata.
    File(File, Metadata),
}

/// Opens the regular file at `path` for reading. Never blocks, and takes no controlling terminal.
///
/// # Errors
/// I/O errors, and a file that may not be read.
pub(crate) fn open_regular(path: &Path, links: Links) -> io::Result<Opened> {
    match open_any(path, links) {
        Ok(file) => {
            let meta = file.metadata()?;
            Ok(if meta.is_file() { Opened::File(file, meta) } else { Opened::Special(kind_of(&meta)) })
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Opened::Absent),
        // A socket cannot be opened, a device may have no driver, a link may be refused.
        Err(e) => match special_at(path, links) {
            Some(special) => Ok(Opened::Special(special)),
            None => Err(e),
        },
    }
}

fn open_any(path: &Path, links: Links) -> io::Result<File> {
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    if links == Links::Refused {
        flags |= OFlags::NOFOLLOW;
    }
    loop {
        match OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path) {
            // Another process holds a lease on the file; the kernel is revoking it.
            Err(e) if Errno::from_io_error(&e) == Some(Errno::WOULDBLOCK) => std::thread::sleep(std::time::Duration::from_millis(20)),
            opened => return opened,
        }
    }
}

/// The kind of the thing at `path`, if it is not a regular file.
pub(crate) fn special_at(path: &Path, links: Links) -> Option<&'static str> {
    let meta = match links {
        Links::Followed => fs::metadata(path),
        Links::Refused => fs::symlink_metadata(path),
    };
    meta.ok().filter(|meta| !meta.is_file()).map(|meta| kind_of(&meta))
}

fn kind_of(meta: &Metadata) -> &'static str {
    match meta.file_type() {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_block_device() || kind.is_char_device() => "a device",
        _ => "not a regular file",
    }
}

/// The error for something other than a regular file.
pub(crate) fn not_a_file(path: &Path, special: &str) -> Error {
    Error::user(format!("{} is {special}; expected a regular file", path.display()))
}

/// Opens an existing regular file for reading, following links.
pub(crate) fn open_read(path: &Path) -> Result<File> {
    open_if_present(path)?.map(|(file, _)| file).ok_or_else(|| failed("open", path)(Errno::NOENT.into()))
}

/// [`open_read`], with the file's metadata; `None` if it does not exist.
pub(crate) fn open_if_present(path: &Path) -> Result<Option<(File, Metadata)>> {
    match open_regular(path, Links::Followed).map_err(failed("open", path))? {
        Opened::Absent => Ok(None),
        Opened::Special(special) => Err(not_a_file(path, special)),
        Opened::File(file, meta) => Ok(Some((file, meta))),
    }
}

/// Opens a disk image for reading: a regular file or a block device.
pub(crate) fn open_disk(path: &Path) -> Result<File> {
    match open_regular(path, Links::Followed).map_err(failed("open", path))? {
        Opened::File(file, _) => Ok(file),
        Opened::Special(_) if fs::metadata(path).is_ok_and(|meta| meta.file_type().is_block_device()) => {
            open_any(path, Links::Followed).map_err(failed("open", path))
        }
        Opened::Special(special) => Err(not_a_file(path, special)),
        Opened::Absent => Err(failed("open", path)(Errno::NOENT.into())),
    }
}

/// Opens a path that the user typed, to be read once from start to end: a regular file, or a pipe, whose writer is
/// waited for. A terminal counts as a pipe; the only other device is the null device.
pub(crate) fn open_given(path: &Path) -> Result<File> {
    let meta = fs::metadata(path).map_err(failed("open", path))?;
    let kind = meta.file_type();
    if !kind.is_fifo() && !kind.is_char_device() {
        return open_read(path);
    }
    let flags = OFlags::NOCTTY | if kind.is_fifo() { OFlags::empty() } else { OFlags::NONBLOCK };
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path).map_err(failed("open", path))?;
    let meta = file.metadata().map_err(failed("open", path))?;
    match meta.file_type() {
        kind if kind.is_file() || kind.is_fifo() || is_null(&meta) => Ok(file),
        kind if kind.is_char_device() && file.is_terminal() => {
            let flags = rustix::fs::fcntl_getfl(&file).and_then(|flags| rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK));
            flags.map_err(|e| failed("open", path)(e.into())).map(|()| file)
        }
        _ => Err(not_a_file(path, kind_of(&meta)).hint("a pipe is accepted too")),
    }
}

/// True if this is the null device, by Linux's list of devices.
fn is_null(meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == rustix::fs::makedev(1, 3)
}

/// The contents of a file.
///
/// # Errors
/// I/O errors; a file that is not regular, or longer than [`TEXT_MAX`].
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    read_if_present(path)?.ok_or_else(|| failed("read", path)(Errno::NOENT.into()))
}

/// [`read`]; `None` if the file does not exist.
pub(crate) fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>> {
    match open_regular(path, Links::Followed).map_err(failed("read", path))? {
        Opened::Absent => Ok(None),
        Opened::File(file, _) => read_all(file, path, TEXT_MAX).map(Some),
        Opened::Special(_) if fs::metadata(path).is_ok_and(|meta| is_null(&meta)) => Ok(Some(Vec::new())),
        Opened::Special(special) => Err(not_a_file(path, special)),
    }
}

/// The contents of a text file.
///
/// # Errors
/// Those of [`read`]; text that is not UTF-8 (the line is named).
pub(crate) fn read_to_string(path: &Path) -> Result<String> {
    text(path, read(path)?)
}

/// [`read_to_string`] of a path that the user typed, opened by [`open_given`].
pub(crate) fn read_given_to_string(path: &Path) -> Result<String> {
    text(path, read_all(open_given(path)?, path, TEXT_MAX)?)
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = good.iter().filter(|&&b| b == b'\n').count() + 1;
        Error::user(format!("{} is not UTF-8 text", path.display())).detail(format!("the first invalid byte is in line {line}"))
    })
}

/// Reads all of `file`, which may have at most `limit` bytes. `path` is for messages.
pub(crate) fn read_all(file: File, path: &Path, limit: u64) -> Result<Vec<u8>> {
    // Sized in advance: a growing buffer would leave copies of possible keys in memory.
    let size = file.metadata().map_or(0, |meta| meta.len());
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(limit)).unwrap_or(0) + 1);
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::user(format!("{} is too long: more than {}", path.display(), Size(limit))));
    }
    Ok(bytes)
}

fn failed<'a>(what: &'a str, path: &'a Path) -> impl Fn(io::Error) -> Error + 'a {
    move |e| Error::io(format!("{what} {}", path.display()), &e)
}
