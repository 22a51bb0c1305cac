//! Lower stores: read-only stores that are looked up after this one, for example a CI host's shared store or a read-only mount.
//!
//! A lookup tries this store first, then each lower store in order. Nothing is ever written to a lower store. If one of its
//! blobs is damaged, a mark in this store's own `quarantine/` keeps the blob from being used again, and the next command makes
//! or fetches its own copy. If one of its entries proves false, a mark excludes all lower stores for that action. That mark
//! stays, because an unreachable store may come back with the same false entry; an entry of this store is used as before.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::disposal::Disposal;
use super::small::{self, Small};
use super::{Blob, BlobFile, FILE_MODE, FORMAT, Store, action, format_of, list, lock};
use crate::common::error::{Class, Error, Result};
use crate::common::fsx::{self, Stamp};
use crate::common::value::{Cancel, Sha256};

/// A lower store, open for reading.
#[derive(Debug)]
pub struct Lower {
    root: PathBuf,
    /// Shared with its own commands, where we may hold it: its garbage collection waits for us then.
    _lock: Option<File>,
}

impl Lower {
    /// The store's folder, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens the store at `root`. `on_wait` is called once if its own garbage collection is running.
    fn open(root: PathBuf, cancel: &Cancel, on_wait: &dyn Fn()) -> Result<Lower> {
        let odd = |why: String| {
            Error::user(format!("{} cannot be used as a lower store", root.display()))
                .detail(why)
                .hint("name the folder of a kbake store with --lower-store, in $KBAKE_LOWER_STORES, or in [store] of config.toml")
        };
        let format = small::read(&root.join("format")).map_err(|e| odd(e.message().to_owned()))?;
        match (&format, format_of(&format)) {
            (_, Some(FORMAT)) => {}
            (_, Some(number)) => return Err(odd(format!("its format is {number}, this kbake knows {FORMAT}"))),
            (Small::Absent, None) => return Err(odd("it has no file `format`".to_owned())),
            (Small::Unusable(why), None) => return Err(odd(format!("its file `format` is unusable: {why}"))),
            (Small::Bytes(_), None) => return Err(odd("its file `format` is not valid".to_owned())),
        }
        for folder in ["blobs/sha256", "actions"] {
            // The dot checks search permission too, not only existence.
            match fsx::exists(&root.join(folder).join(".")) {
                Ok(true) => {}
                Ok(false) => return Err(odd(format!("it has no folder `{folder}`"))),
                Err(error) => return Err(odd(error.message().to_owned())),
            }
        }
        let lock = lock::acquire_to_read(&root.join("lock"), cancel, on_wait)?;
        Ok(Lower { root, _lock: lock })
    }

    /// The store's blobs, in the form of [`Store::blobs`].
    pub fn blobs(&self) -> Result<Vec<Blob>> {
        list::blobs(&self.root)
    }

    /// The path of a blob.
    pub fn path(&self, digest: &Sha256) -> PathBuf {
        super::blob_path(&self.root, digest)
    }
}

impl Store {
    /// The same store over the lower stores at `roots`, looked up in this order. Duplicates, and this store itself, are skipped.
    /// `on_wait` is called with a store whose garbage collection is waited for.
    ///
    /// # Errors
    /// A lower store that is missing, not a store, or of another format.
    pub fn over(mut self, roots: &[PathBuf], cancel: &Cancel, on_wait: &dyn Fn(&Path)) -> Result<Store> {
        for named in roots {
            let root = fsx::canonical(named).map_err(|error| {
                Error::user(format!("the lower store {} does not exist", named.display())).detail(error.message().to_owned())
            })?;
            if root != self.root && self.lower.iter().all(|lower| lower.root != root) {
                let told = root.clone();
                self.lower.push(Lower::open(root, cancel, &|| on_wait(&told))?);
            }
        }
        Ok(self)
    }

    /// The lower stores.
    pub fn lower(&self) -> &[Lower] {
        &self.lower
    }

    /// Hashes a blob of a lower store, unless it is marked as damaged. Returns the damage, after which the blob is no longer
    /// used.
    ///
    /// # Errors
    /// I/O errors.
    pub fn examine_lower(&self, lower: &Lower, digest: &Sha256) -> Result<Option<String>> {
        let Some(file) = BlobFile::open(lower.path(digest), Disposal::Distrust(self.root.clone()), *digest, &self.cancel)? else {
            return Ok(None);
        };
        if file.is_distrusted() {
            return Ok(None);
        }
        match file.verify() {
            Err(error) if error.class() == Class::Integrity => Ok(Some("its bytes have another digest; it is no longer used".into())),
            looked => looked.map(|()| None),
        }
    }

    /// Discards all current entries of an action: this store's entry is removed, and if a lower store has one, lower stores are
    /// excluded for the action.
    ///
    /// # Errors
    /// I/O errors.
    pub fn distrust_action(&self, kind: &str, key: &Sha256) -> Result<()> {
        let mut places = Vec::new();
        for lower in &self.lower {
            let place = action::path(&lower.root, kind, key);
            // If it cannot be checked, assume that the entry exists.
            if fsx::exists(&place).unwrap_or(true) {
                places.extend_from_slice(place.as_os_str().as_bytes());
                places.push(b'\n');
            }
        }
        if !places.is_empty() {
            // The text is informational.
            self.write_small(&self.distrust_mark(kind, key), &places)?;
        }
        self.remove_action(kind, key)
    }

    /// The lower stores to look up for an action.
    pub(super) fn trusted(&self, kind: &str, key: &Sha256) -> &[Lower] {
        // If the mark cannot be checked, assume that it exists: the action is then run here.
        let is_distrusted = !self.lower.is_empty() && fsx::exists(&self.distrust_mark(kind, key)).unwrap_or(true);
        if is_distrusted { &[] } else { &self.lower }
    }

    fn distrust_mark(&self, kind: &str, key: &Sha256) -> PathBuf {
        self.root.join("quarantine").join(format!("{kind}-{key}.{}", super::LOWER_ACTION))
    }

    /// True if the damaged file that the mark at `path` names is gone or has been replaced.
    pub(super) fn is_stale_mark(&self, path: &Path) -> bool {
        let Ok(Small::Bytes(text)) = small::read(path) else { return false };
        let place = PathBuf::from(OsStr::from_bytes(text.strip_suffix(b"\n").unwrap_or(&text)));
        let digest = place.file_name().and_then(OsStr::to_str).and_then(|name| name.parse().ok());
        let now = Stamp::of(&place).ok().flatten();
        digest.zip(now).is_none_or(|(digest, stamp)| Disposal::mark(&self.root, &digest, &stamp) != path)
    }

    /// The first copy of a blob in the lower stores that is not marked as damaged. A file that cannot be opened counts as
    /// absent.
    pub(super) fn lower_blob(&self, digest: &Sha256) -> Option<BlobFile> {
        let open =
            |lower: &Lower| BlobFile::open(lower.path(digest), Disposal::Distrust(self.root.clone()), *digest, &self.cancel).ok().flatten();
        self.lower.iter().filter_map(open).find(|blob| !blob.is_distrusted())
    }
}

impl BlobFile {
    /// True if the file is marked as damaged.
    fn is_distrusted(&self) -> bool {
        let Disposal::Distrust(store) = self.disposal() else { return false };
        // If the mark cannot be checked, the file is used: readers hash it anyway.
        self.stamp().is_ok_and(|stamp| fsx::exists(&Disposal::mark(store, &self.digest(), &stamp)).unwrap_or(false))
    }

    /// Takes the file out of use. Returns a description if that succeeded.
    pub(super) fn dispose(&self) -> Option<String> {
        match self.disposal() {
            Disposal::Quarantine(to) => {
                // Another process may already have replaced the file.
                let moved = self.is_in_place() && fsx::remove(to).and_then(|()| fsx::rename(self.place(), to)).is_ok();
                moved.then(|| format!("moved to {}", to.display()))
            }
            Disposal::Distrust(store) => {
                let mark = Disposal::mark(store, &self.digest(), &self.stamp().ok()?);
                // The path lets `is_stale_mark` find out when the mark is obsolete.
                let text = [self.place().as_os_str().as_bytes(), b"\n"].concat();
                fsx::write_atomic(&mark, FILE_MODE, &text).ok()?;
                Some(format!("it is {} in a lower store, and will not be used again", self.place().display()))
            }
        }
    }
}
