//! Detection of changed files without reading them.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::common::error::{Error, Result};

/// The identity of a file and the time of its last change. Equal stamps of one path mean that nobody has written to it.
///
/// ctime makes it reliable: unlike mtime, ordinary means cannot set it back. But a filesystem's clock has a granularity
/// of milliseconds, sometimes seconds: two writes within it have the same stamp. Code that caches a file's contents
/// must check [`Stamp::is_settled`] first. One change is never detected: a write to a mapped page that was dirty
/// already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// The device.
    pub dev: u64,
    /// The inode number.
    pub ino: u64,
    /// Its size in bytes.
    pub size: u64,
    /// The time of the last change of its bytes, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// The time of the last change of bytes or metadata, in nanoseconds since 1970.
    pub ctime_ns: i64,
}

impl Stamp {
    /// The stamp of the regular file at `path`; `None` if there is none. Follows links.
    pub fn of(path: &Path) -> Result<Option<Stamp>> {
        match fs::metadata(path) {
            Ok(meta) if meta.is_file() => Ok(Some(Self::of_metadata(&meta))),
            Ok(_) => Ok(None),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(Error::io(format!("stat {}", path.display()), &e)),
        }
    }

    /// The stamp of the regular file at `path` itself; `None` for anything else, links to files included.
    pub fn here(path: &Path) -> Result<Option<Stamp>> {
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_file() => Ok(Some(Self::of_metadata(&meta))),
            Ok(_) => Ok(None),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(Error::io(format!("stat {}", path.display()), &e)),
        }
    }

    /// The time of the last change of its bytes, in seconds since 1970.
    pub fn mtime(&self) -> i64 {
        self.mtime_ns.div_euclid(1_000_000_000)
    }

    /// True if every change at `now` or later, in seconds since 1970, changes this stamp: its last change is so long
    /// ago that the clock has advanced since, even that of FAT (two seconds) or of a server that is slightly behind.
    pub fn is_settled(&self, now: i64) -> bool {
        const TICK: i64 = 4;
        let last = self.mtime_ns.max(self.ctime_ns).div_euclid(1_000_000_000);
        last.saturating_add(TICK) <= now
    }

    /// The stamp of an open file.
    pub fn of_metadata(meta: &Metadata) -> Stamp {
        let ns = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Stamp {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.size(),
            mtime_ns: ns(meta.mtime(), meta.mtime_nsec()),
            ctime_ns: ns(meta.ctime(), meta.ctime_nsec()),
        }
    }
}
