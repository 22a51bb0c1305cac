//! What tells an unchanged file from a changed one without reading it.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which file it is and when it last changed. Two equal stamps of one path mean: nobody has written to it.
///
/// ctime is what makes it strong: it cannot be set back by ordinary means, unlike mtime. But a filesystem's clock ticks,
/// often in milliseconds and sometimes in seconds: what is written twice in a tick has one stamp both times. Whoever
/// remembers what was in a file asks [`Stamp::is_settled`] first. One thing is never noticed: writing into a page that
/// has been mapped, written to, and not yet brought to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// The device that holds it.
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    /// Its size in bytes.
    pub size: u64,
    /// When its bytes last changed, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// When anything of it last changed, in nanoseconds since 1970.
    pub ctime_ns: i64,
}

impl Stamp {
    /// The stamp of the regular file at `path`; none when there is none. Links are followed.
    pub fn of(path: &Path) -> Result<Option<Stamp>> {
        match fs::metadata(path) {
            Ok(meta) if meta.is_file() => Ok(Some(Self::of_metadata(&meta))),
            Ok(_) => Ok(None),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(Error::io(format!("look at {}", path.display()), &e)),
        }
    }

    /// The stamp of the regular file at `path` itself; none when something else is there, be it a link to a file.
    pub fn here(path: &Path) -> Result<Option<Stamp>> {
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_file() => Ok(Some(Self::of_metadata(&meta))),
            Ok(_) => Ok(None),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(Error::io(format!("look at {}", path.display()), &e)),
        }
    }

    /// When its bytes last changed, in seconds since 1970.
    pub fn mtime(&self) -> i64 {
        self.mtime_ns.div_euclid(1_000_000_000)
    }

    /// Whether no change at `now` or later, in seconds since 1970, can leave this stamp as it is: its last one is so long
    /// ago that the clock has ticked since, even that of FAT (two seconds), and that of a server which is a little behind.
    pub fn is_settled(&self, now: i64) -> bool {
        const TICK: i64 = 4;
        let last = self.mtime_ns.max(self.ctime_ns).div_euclid(1_000_000_000);
        last.saturating_add(TICK) <= now
    }

    /// The stamp of a file that is open.
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
