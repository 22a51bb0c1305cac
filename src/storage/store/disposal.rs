//! The handling of blobs that prove damaged: quarantine in the store itself, a mark for those of a lower store.

use std::path::{Path, PathBuf};

use super::small;
use crate::common::error::Result;
use crate::common::fsx::{self, Stamp};
use crate::common::value::Sha256;

/// The handling of a blob's file that proves damaged.
#[derive(Debug)]
pub(super) enum Disposal {
    /// Move it to this path.
    Quarantine(PathBuf),
    /// It belongs to a lower store: mark it in the store in this folder.
    Distrust(PathBuf),
}

impl Disposal {
    /// The path of `store`'s mark for a damaged file of a lower store. The stamp is part of the name, so a replaced file is not
    /// marked.
    pub(super) fn mark(store: &Path, digest: &Sha256, stamp: &Stamp) -> PathBuf {
        let Stamp { dev, ino, size, mtime_ns, ctime_ns } = stamp;
        let which = Sha256::of(format!("{dev} {ino} {size} {mtime_ns} {ctime_ns}")).to_string();
        store.join("quarantine").join(format!("{digest}.{}.{}", &which[..16], super::LOWER_BLOB))
    }
}

impl Disposal {
    /// Moves an unusable thing (a link, folder, unreadable file) at `path` out of a blob's place.
    ///
    /// # Errors
    /// A thing in this store that cannot be moved: the blob could not be written.
    pub(super) fn clear(&self, path: &Path) -> Result<()> {
        let Disposal::Quarantine(to) = self else { return Ok(()) };
        fsx::clear(path, Some(to), &small::is_unusable)
    }
}
