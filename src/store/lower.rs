//! Stores below this one: others look after them, we only read. A CI host's shared store, a read-only mount.
//!
//! What is looked up is looked for here first, then in each of them, in their order. Nothing is ever written there: not
//! even that a blob is damaged, which is noted in our own `quarantine/` instead, so that it is not used again and the
//! next command makes or fetches its own. An entry of theirs that was found to lie is noted there too: in that action no
//! lower store is asked from then on. That note stays, for it cannot be told from here whether a store that is out of
//! reach will come back with the same lie; an own entry counts as ever.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::small::{self, Small};
use super::{Blob, BlobFile, FILE_MODE, FORMAT, Store, action, format_of, list, lock};
use crate::error::{Class, Error, Result};
use crate::fsx::{self, Stamp};
use crate::value::{Cancel, Sha256};

/// A store of others, open for reading.
#[derive(Debug)]
pub struct Lower {
    root: PathBuf,
    /// Shared with its own commands, where we may hold it: its garbage collection waits for us then.
    _lock: Option<File>,
}

impl Lower {
    /// Its folder, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens the store at `root`. `on_wait` is called once when its own collection is at work.
    fn open(root: PathBuf, cancel: &Cancel, on_wait: &dyn Fn()) -> Result<Lower> {
        let odd = |why: String| {
            Error::user(format!("{} cannot be used as a lower store", root.display()))
                .detail(why)
                .hint("name the folder of another kbake's store with --lower-store, in $KBAKE_LOWER_STORES, or in [store] of config.toml")
        };
        let format = small::read(&root.join("format")).map_err(|e| odd(e.message().to_owned()))?;
        match (&format, format_of(&format)) {
            (_, Some(FORMAT)) => {}
            (_, Some(number)) => return Err(odd(format!("its format is {number}, this kbake knows {FORMAT}"))),
            (Small::Absent, None) => return Err(odd("it has no file `format`, as each store does".to_owned())),
            (Small::Odd(why), None) => return Err(odd(format!("its file `format` cannot be used: {why}"))),
            (Small::Bytes(_), None) => return Err(odd("its file `format` does not hold a store's format".to_owned())),
        }
        for folder in ["blobs/sha256", "actions"] {
            // The dot: not only that it is there, but that we may look into it.
            match fsx::exists(&root.join(folder).join(".")) {
                Ok(true) => {}
                Ok(false) => return Err(odd(format!("it has no folder `{folder}`"))),
                Err(error) => return Err(odd(error.message().to_owned())),
            }
        }
        let lock = lock::acquire_to_read(&root.join("lock"), cancel, on_wait)?;
        Ok(Lower { root, _lock: lock })
    }

    /// Its blobs, as [`Store::blobs`] has them.
    pub fn blobs(&self) -> Result<Vec<Blob>> {
        list::blobs(&self.root)
    }

    /// Where a blob's file would be.
    pub fn path(&self, digest: &Sha256) -> PathBuf {
        super::blob_path(&self.root, digest)
    }
}

impl Store {
    /// The same store over those at `roots`, the first of them looked into first. One that is named twice, or is this very
    /// store, counts once. `on_wait` is called with a store whose own collection is waited for.
    ///
    /// # Errors
    /// One that is missing, or no store, or of another format.
    pub fn over(mut self, roots: &[PathBuf], cancel: &Cancel, on_wait: &dyn Fn(&Path)) -> Result<Store> {
        for named in roots {
            let root = fsx::canonical(named)
                .map_err(|error| Error::user(format!("there is no lower store {}", named.display())).detail(error.message().to_owned()))?;
            if root != self.root && self.lower.iter().all(|lower| lower.root != root) {
                let told = root.clone();
                self.lower.push(Lower::open(root, cancel, &|| on_wait(&told))?);
            }
        }
        Ok(self)
    }

    /// The stores below.
    pub fn lower(&self) -> &[Lower] {
        &self.lower
    }

    /// Hashes a blob of a store below, unless it was found damaged before. A damaged one is not used any more; what was found
    /// in its place is given.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn examine_lower(&self, lower: &Lower, digest: &Sha256) -> Result<Option<String>> {
        let Some(file) = BlobFile::open(lower.path(digest), Disposal::Distrust(self.root.clone()), *digest, &self.cancel)? else {
            return Ok(None);
        };
        if file.is_distrusted() {
            return Ok(None);
        }
        match file.verify() {
            Err(error) if error.class() == Class::Integrity => {
                Ok(Some("its bytes have another digest; it is not used from there any more".into()))
            }
            looked => looked.map(|()| None),
        }
    }

    /// Believes no entry of an action that is there now: our own is removed, and where a lower store has one, none of them is
    /// asked for it any more.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn distrust_action(&self, kind: &str, key: &Sha256) -> Result<()> {
        let mut places = Vec::new();
        for lower in &self.lower {
            let place = action::path(&lower.root, kind, key);
            // In doubt it may be there again the next time.
            if fsx::exists(&place).unwrap_or(true) {
                places.extend_from_slice(place.as_os_str().as_bytes());
                places.push(b'\n');
            }
        }
        if !places.is_empty() {
            // The text is for people.
            self.write_small(&self.doubt(kind, key), &places)?;
        }
        self.remove_action(kind, key)
    }

    /// The lower stores that are asked for an action.
    pub(super) fn trusted(&self, kind: &str, key: &Sha256) -> &[Lower] {
        // In doubt it is rather made here.
        let doubted = !self.lower.is_empty() && fsx::exists(&self.doubt(kind, key)).unwrap_or(true);
        if doubted { &[] } else { &self.lower }
    }

    fn doubt(&self, kind: &str, key: &Sha256) -> PathBuf {
        self.root.join("quarantine").join(format!("{kind}-{key}.{}", super::DOUBT))
    }

    /// Whether the file that the mark at `path` is about is gone, or another by now.
    pub(super) fn is_stale_mark(&self, path: &Path) -> bool {
        let Ok(Small::Bytes(text)) = small::read(path) else { return false };
        let place = PathBuf::from(OsStr::from_bytes(text.strip_suffix(b"\n").unwrap_or(&text)));
        let digest = place.file_name().and_then(OsStr::to_str).and_then(|name| name.parse().ok());
        let now = Stamp::of(&place).ok().flatten();
        digest.zip(now).is_none_or(|(digest, stamp)| Disposal::mark(&self.root, &digest, &stamp) != path)
    }

    /// The first blob below that is not known to be damaged. What cannot be opened counts as not there.
    pub(super) fn lower_blob(&self, digest: &Sha256) -> Option<BlobFile> {
        let open =
            |lower: &Lower| BlobFile::open(lower.path(digest), Disposal::Distrust(self.root.clone()), *digest, &self.cancel).ok().flatten();
        self.lower.iter().filter_map(open).find(|blob| !blob.is_distrusted())
    }
}

/// What becomes of a blob's file that proves damaged.
#[derive(Debug)]
pub(super) enum Disposal {
    /// It moves to this place.
    Quarantine(PathBuf),
    /// It is of a lower store: the store in this folder remembers not to use it.
    Distrust(PathBuf),
}

impl Disposal {
    /// Where `store` remembers that this very file of a lower store is damaged. One that is put in its place is another.
    pub(super) fn mark(store: &Path, digest: &Sha256, stamp: &Stamp) -> PathBuf {
        let Stamp { dev, ino, size, mtime_ns, ctime_ns } = stamp;
        let which = Sha256::of(format!("{dev} {ino} {size} {mtime_ns} {ctime_ns}")).to_string();
        store.join("quarantine").join(format!("{digest}.{}.{}", &which[..16], super::DISTRUST))
    }
}

impl Disposal {
    /// Takes away what is at `path`, in a blob's place, and no file that can be read.
    ///
    /// # Errors
    /// One of our own that cannot be moved: nothing could be put in its place.
    pub(super) fn clear(&self, path: &Path) -> Result<()> {
        let Disposal::Quarantine(to) = self else { return Ok(()) };
        fsx::clear(path, Some(to), &small::is_odd)
    }
}

impl BlobFile {
    /// Whether it was found damaged in its lower store before.
    fn is_distrusted(&self) -> bool {
        let Disposal::Distrust(store) = self.disposal() else { return false };
        // In doubt it is looked at again: whoever reads it hashes it.
        self.stamp().is_ok_and(|stamp| fsx::exists(&Disposal::mark(store, &self.digest(), &stamp)).unwrap_or(false))
    }

    /// Takes the file out of use. Says how, if that could be done.
    pub(super) fn dispose(&self) -> Option<String> {
        match self.disposal() {
            Disposal::Quarantine(to) => {
                // Unless another process has already put a new one in its place.
                let moved = self.is_in_place() && fsx::remove(to).and_then(|()| fsx::rename(self.place(), to)).is_ok();
                moved.then(|| format!("moved to {}", to.display()))
            }
            Disposal::Distrust(store) => {
                let mark = Disposal::mark(store, &self.digest(), &self.stamp().ok()?);
                // By which the mark is known to be of no more use.
                let text = [self.place().as_os_str().as_bytes(), b"\n"].concat();
                fsx::write_atomic(&mark, FILE_MODE, &text).ok()?;
                Some(format!("it is {}, of a lower store, and will not be used again", self.place().display()))
            }
        }
    }
}
