//! Opening what exists: the one door for all readers.
//!
//! A name may hold anything: a pipe that nobody writes to, a device without end, a link to elsewhere. A file that the program
//! finds by itself, or that another file names, must be a regular one. A path that the user typed may also be a pipe, as shells
//! give it for `<(…)` and `/dev/stdin`.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal as _, Read};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::value::Size;

/// The most bytes of a file whose content is text and held in memory: a lockfile of thousands of packages has a few of these
/// 64 MiB.
pub const TEXT_MAX: u64 = 64 << 20;

/// The rule for a link as the last part of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// As the user's own files may be.
    Followed,
    /// For names that only this program makes.
    Refused,
}

/// The thing at a name where a regular file belongs.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Nothing; also a link to nothing, where links are followed.
    Absent,
    /// Something else, in words that fit behind "is".
    Odd(&'static str),
    /// The file, and what the system says of this very one.
    File(File, Metadata),
}

/// Opens the regular file at `path` for reading. Never waits, and takes no terminal.
///
/// # Errors
/// Those of the disk, and a file that may not be read.
pub(crate) fn look(path: &Path, links: Links) -> io::Result<Opened> {
    match open_any(path, links) {
        Ok(file) => {
            let meta = file.metadata()?;
            Ok(if meta.is_file() { Opened::File(file, meta) } else { Opened::Odd(kind_of(&meta)) })
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Opened::Absent),
        // A socket cannot be opened at all, a device may have nothing behind it, a link is refused.
        Err(e) => match odd_at(path, links) {
            Some(odd) => Ok(Opened::Odd(odd)),
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
            // Another process holds a lease on the file, which the system takes back from it now.
            Err(e) if Errno::from_io_error(&e) == Some(Errno::WOULDBLOCK) => std::thread::sleep(std::time::Duration::from_millis(20)),
            opened => return opened,
        }
    }
}

/// The thing at `path`, if it is no regular file.
pub(crate) fn odd_at(path: &Path, links: Links) -> Option<&'static str> {
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
        _ => "no regular file",
    }
}

/// The error for something else in a regular file's place.
pub(crate) fn no_file(path: &Path, odd: &str) -> Error {
    Error::user(format!("{} is {odd}, and a regular file is needed there", path.display()))
}

/// Opens an existing regular file for reading, links followed.
pub fn open_read(path: &Path) -> Result<File> {
    open_if_present(path)?.map(|(file, _)| file).ok_or_else(|| failed("open", path)(Errno::NOENT.into()))
}

/// As [`open_read`], with what the system says of the file; none when nothing is there.
pub(crate) fn open_if_present(path: &Path) -> Result<Option<(File, Metadata)>> {
    match look(path, Links::Followed).map_err(failed("open", path))? {
        Opened::Absent => Ok(None),
        Opened::Odd(odd) => Err(no_file(path, odd)),
        Opened::File(file, meta) => Ok(Some((file, meta))),
    }
}

/// Opens a disk image for reading: a regular file, or a block device.
pub fn open_disk(path: &Path) -> Result<File> {
    match look(path, Links::Followed).map_err(failed("open", path))? {
        Opened::File(file, _) => Ok(file),
        Opened::Odd(_) if fs::metadata(path).is_ok_and(|meta| meta.file_type().is_block_device()) => {
            open_any(path, Links::Followed).map_err(failed("open", path))
        }
        Opened::Odd(odd) => Err(no_file(path, odd)),
        Opened::Absent => Err(failed("open", path)(Errno::NOENT.into())),
    }
}

/// Opens what the user has typed the path of, to be read once from start to end: a regular file, or a pipe, which is waited
/// for. A terminal counts as one; of devices else only the null device.
pub fn open_given(path: &Path) -> Result<File> {
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
        _ => Err(no_file(path, kind_of(&meta)).hint("a pipe will do, too")),
    }
}

/// The null device, by Linux's list of devices.
fn is_null(meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == rustix::fs::makedev(1, 3)
}

/// The whole file.
///
/// # Errors
/// Also when it is no regular file, or has more than [`TEXT_MAX`] bytes.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    read_if_present(path)?.ok_or_else(|| failed("read", path)(Errno::NOENT.into()))
}

/// As [`read`]; none when nothing is there.
pub fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>> {
    match look(path, Links::Followed).map_err(failed("read", path))? {
        Opened::Absent => Ok(None),
        Opened::File(file, _) => read_all(file, path, TEXT_MAX).map(Some),
        Opened::Odd(_) if fs::metadata(path).is_ok_and(|meta| is_null(&meta)) => Ok(Some(Vec::new())),
        Opened::Odd(odd) => Err(no_file(path, odd)),
    }
}

/// The whole file as text.
///
/// # Errors
/// Those of [`read`]; also when it is not UTF-8: the line is named.
pub fn read_to_string(path: &Path) -> Result<String> {
    text(path, read(path)?)
}

/// As [`read_to_string`], of what the user has typed the path of, as [`open_given`] opens it.
pub fn read_given_to_string(path: &Path) -> Result<String> {
    text(path, read_all(open_given(path)?, path, TEXT_MAX)?)
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = good.iter().filter(|&&b| b == b'\n').count() + 1;
        Error::user(format!("{} is not UTF-8 text", path.display())).detail(format!("the first other byte is in line {line}"))
    })
}

/// All that `file`, opened at `path`, has to give, which may be `limit` bytes at most.
pub(crate) fn read_all(file: File, path: &Path, limit: u64) -> Result<Vec<u8>> {
    // As much as there is: a buffer that grows would leave copies of what may be a key.
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
