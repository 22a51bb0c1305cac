//! The store: blobs by SHA-256, action entries (cached results), and the locks that let processes share both.
//!
//! ```text
//! format            "1\n"; a newer number is refused
//! lock              held shared by every command, exclusive by the garbage collection
//! blobs/sha256/     one file per blob, named by its digest, mode 0444
//! actions/          <kind>-<key>.json: the outputs of the action with this key; or the blob with a SHA-512
//! claims/           <plan>.json: a bundle's claim about a plan's image, which a build must reproduce
//! roots/            what was built or fetched for a project, channel and role
//! locks/            one file per plan: only one process works on a plan
//! stamps/           digests of files outside the store, so that unchanged files are not hashed again
//! tmp/              files being written; partial-<digest> are resumable downloads
//! quarantine/       damaged blobs; <digest>.<file>.lower marks a damaged blob of a lower store, and
//!                   <kind>-<key>.distrust an action for which lower stores are not trusted
//! ```
//!
//! A blob is renamed to its digest only when it is complete and synced; an action entry is written after its blobs. So a
//! crash at any point leaves a consistent store, with at most a file in `tmp/` that the next command removes. Bytes leave
//! the store for an image only through readers that hash them.

mod action;
mod alias;
mod blob;
mod check;
mod claim;
mod composed;
mod disposal;
pub(crate) mod gc;
pub(crate) mod inventory;
mod list;
mod lock;
mod lower;
mod output;
mod partial;
mod root;
mod scratch;
mod small;
mod source;
pub(crate) mod usage;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub use action::{Action, Lookup};
pub(crate) use action::{COMPOSED, FRAMES, Miss};
pub(crate) use blob::{BlobFile, Verifying, VerifyingReader};
pub use claim::ImageClaim;
pub(crate) use composed::{Stretch, Stretches};
pub(crate) use lock::PlanLock;
pub(crate) use lower::Lower;
pub use partial::Claim;
pub(crate) use partial::{Partial, Whole};
pub use root::{Generation, History, Owner, Root};
pub use source::StoreSource;
pub(crate) use write::{BlobWriter, Unplaced};

use self::disposal::Disposal;
use self::small::Small;
use crate::common::error::{Class, Error, Result};
use crate::common::fsx::{self, Stamp};
use crate::common::value::{Cancel, Sha256, Sha512, Size};

/// The store format that this code reads and writes.
const FORMAT: u32 = 1;
/// The store's folders, in the order of creation.
const FOLDERS: [&str; 9] = ["blobs", "blobs/sha256", "actions", "claims", "roots", "locks", "stamps", "tmp", "quarantine"];
/// Mode of blobs, which are never written again.
const BLOB_MODE: u32 = 0o444;
/// The read permission bits of owner, group and others.
const READABLE: u32 = 0o444;
/// Mode of all other files. Explicit, because with a umask of 0 every user could write to the store.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;
/// Name prefix of resumable downloads in `tmp/`.
const PARTIAL: &str = "partial-";
/// Name prefix of work folders in `tmp/`.
const WORK: &str = "work-";
/// File extension in `quarantine/` of the marks for damaged blobs of lower stores.
const LOWER_BLOB: &str = "lower";
/// File extension in `quarantine/` of the marks for actions for which lower stores are not trusted.
const LOWER_ACTION: &str = "distrust";

/// A command's access to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads and adds, concurrently with other processes.
    Shared,
    /// May remove anything; excludes all other processes.
    Exclusive,
}

/// A blob's digest and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blob {
    /// The SHA-256 of the bytes.
    pub digest: Sha256,
    /// The number of bytes.
    pub size: u64,
}

/// An open store. The lock is held until the value is dropped.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    access: Access,
    _lock: File,
    lower: Vec<Lower>,
    /// Start time of the command, if used entries are to be marked as used.
    now: Option<inventory::Moment>,
    /// Blobs whose files this process has hashed, with the files' stamps at that time.
    hashed: Mutex<BTreeMap<Sha256, Stamp>>,
    /// Blobs that this process has composed, with the stamps of the parts' files at that time.
    composed: Mutex<BTreeMap<Sha256, Vec<Stamp>>>,
    /// SHA-512 → SHA-256 of the same bytes, computed by this process.
    proved: Mutex<BTreeMap<Sha512, Sha256>>,
    /// The work folders of this process, held open with their locks.
    work: Mutex<Vec<File>>,
    /// Cancellation flag: every loop over bytes checks it.
    cancel: Cancel,
}

impl Store {
    /// Opens the store at `root`, creating it if it is new, and removes files that dead processes left in `tmp/`.
    ///
    /// Waits while another process's lock excludes `access`; `on_wait` is called once before waiting.
    ///
    /// # Errors
    /// A newer format, a folder that is not a store, a filesystem without locks; `cancel` while waiting.
    pub fn open(root: &Path, access: Access, cancel: &Cancel, on_wait: &dyn Fn()) -> Result<Store> {
        refuse_other_folder(root)?;
        fsx::create_dir_all(root)?;
        // An absolute root, so that stored paths do not depend on the current folder.
        let root = fsx::canonical(root)?;
        let lock = lock::acquire(&root.join("lock"), access, cancel, on_wait)?;
        let store = Store {
            root,
            access,
            _lock: lock,
            lower: Vec::new(),
            now: None,
            hashed: Mutex::default(),
            composed: Mutex::default(),
            proved: Mutex::default(),
            work: Mutex::default(),
            cancel: cancel.clone(),
        };
        store.settle_format()?;
        store.clean()?;
        Ok(store)
    }

    /// The store's folder, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// True if the store's lock file is still the one that this process holds, not removed or replaced.
    pub fn is_in_place(&self) -> bool {
        matches!(fsx::is_at(&self._lock, &self.root.join("lock")), Ok(true))
    }

    /// The same store, which marks looked-up actions as used at `now`, so that the garbage collection can keep them.
    pub fn marking_use(self, now: inventory::Moment) -> Store {
        Store { now: Some(now), ..self }
    }

    /// The path of a blob's file in this store or a lower one, or its future path in this store. The bytes are not verified:
    /// for messages, and for external tools that verify them.
    pub fn path(&self, digest: &Sha256) -> PathBuf {
        let own = self.own_path(digest);
        if self.lower.is_empty() || matches!(Stamp::here(&own), Ok(Some(_))) {
            return own;
        }
        self.lower_blob(digest).map_or(own, |blob| blob.place().to_owned())
    }

    /// The path of a blob's file in this store itself.
    fn own_path(&self, digest: &Sha256) -> PathBuf {
        blob_path(&self.root, digest)
    }

    /// True if a blob is present. Its bytes are verified when they are read.
    pub fn contains(&self, digest: &Sha256) -> Result<bool> {
        self.holds(digest, None)
    }

    /// A blob's size in bytes; none if it is absent.
    pub fn size(&self, digest: &Sha256) -> Result<Option<u64>> {
        match self.plain_size(digest)? {
            Some(size) => Ok(Some(size)),
            None => self.composed_size(digest),
        }
    }

    /// [`Store::size`] for a blob with a file of its own.
    fn plain_size(&self, digest: &Sha256) -> Result<Option<u64>> {
        let own = match fsx::facts(&self.own_path(digest))? {
            None => None,
            Some(facts) if facts.kind == fsx::Kind::File && facts.mode & READABLE != 0 => Some(facts.size),
            // Opening moves anything else in the blob's place to quarantine.
            Some(_) => self.own_blob(digest)?.map(|blob| blob.size()),
        };
        Ok(own.or_else(|| self.lower_blob(digest).map(|blob| blob.size())))
    }

    /// True if a blob is present and, where `size` is given, has that size. A damaged blob of another size goes to quarantine.
    pub fn holds(&self, digest: &Sha256, size: Option<u64>) -> Result<bool> {
        if self.holds_plain(digest, size)? {
            return Ok(true);
        }
        Ok(self.composed_size(digest)?.is_some_and(|found| size.is_none_or(|size| size == found)))
    }

    /// [`Store::holds`] for a blob with a file of its own.
    fn holds_plain(&self, digest: &Sha256, size: Option<u64>) -> Result<bool> {
        // If the first copy is damaged, a lower store may have a good one.
        for _ in 0..=self.lower.len() {
            let Some(found) = self.plain_size(digest)? else { return Ok(false) };
            // After a power cut some filesystems keep the name but lose the bytes.
            let hollow = found == 0 && *digest != Sha256::of(b"");
            if !hollow && size.is_none_or(|size| size == found) {
                return Ok(true);
            }
            // Either the file is damaged or `size` is wrong: hash the bytes to find out.
            match self.plain(digest)?.map(|blob| blob.verify()) {
                Some(Err(error)) if error.class() == Class::Integrity => {}
                Some(Err(error)) => return Err(error),
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Opens a blob for random access; none if it is absent. A composed blob is first written to a file of its own; use
    /// [`Store::composed`] to read it without that.
    pub fn blob(&self, digest: &Sha256) -> Result<Option<BlobFile>> {
        if let Some(blob) = self.plain(digest)? {
            return Ok(Some(blob));
        }
        match self.composed(digest)? {
            Some(composed) => {
                self.settle_composed(&composed)?;
                self.plain(digest)
            }
            None => Ok(None),
        }
    }

    /// Hashes a blob with a file of its own, or a composed one. False if it is absent.
    ///
    /// # Errors
    /// A damaged blob or part, which is then in quarantine.
    pub fn verify_blob(&self, digest: &Sha256) -> Result<bool> {
        if let Some(blob) = self.plain(digest)? {
            return blob.verify().map(|()| true);
        }
        match self.composed(digest)? {
            Some(composed) => composed.verify().map(|()| true),
            None => Ok(false),
        }
    }

    /// [`Store::blob`] for a blob with a file of its own.
    fn plain(&self, digest: &Sha256) -> Result<Option<BlobFile>> {
        Ok(self.own_blob(digest)?.or_else(|| self.lower_blob(digest)))
    }

    /// [`Store::reader`] for a blob with a file of its own.
    fn plain_reader(&self, digest: &Sha256) -> Result<Option<VerifyingReader>> {
        self.plain(digest)?.map(Verifying::whole).transpose()
    }

    /// Opens a verified blob with a file of its own: it is hashed, unless this process has done so since the file was last
    /// written. None if it is absent.
    ///
    /// # Errors
    /// A damaged file, which is then in quarantine.
    pub fn open_verified(&self, digest: &Sha256) -> Result<Option<BlobFile>> {
        let Some(blob) = self.plain(digest)? else { return Ok(None) };
        let stamp = blob.stamp()?;
        let known = |store: &Store| store.hashed.lock().unwrap_or_else(PoisonError::into_inner).get(digest) == Some(&stamp);
        if !known(self) {
            blob.verify()?;
            self.hashed.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, stamp);
        }
        Ok(Some(blob))
    }

    fn own_blob(&self, digest: &Sha256) -> Result<Option<BlobFile>> {
        let quarantine = self.root.join("quarantine").join(digest.to_string());
        BlobFile::open(self.own_path(digest), Disposal::Quarantine(quarantine), *digest, &self.cancel)
    }

    /// Opens a blob for sequential reading; none if it is absent. If the bytes do not have the digest, the read of the last
    /// byte fails and the file goes to quarantine, so that the next command fetches or makes it again.
    pub fn reader(&self, digest: &Sha256) -> Result<Option<VerifyingReader>> {
        self.blob(digest)?.map(Verifying::whole).transpose()
    }

    /// The error of an operation that read these blobs and failed. If one of them is damaged, the damage is the cause, and the
    /// blob goes to quarantine: an operation that stops in the middle of a blob never reaches its verification.
    pub fn explain(&self, error: Error, blobs: impl IntoIterator<Item = Sha256>) -> Error {
        let damage = |digest: Sha256| match self.plain(&digest) {
            Ok(Some(blob)) => blob.verify().err().filter(|damage| damage.class() == Class::Integrity),
            _ => None,
        };
        match blobs.into_iter().find_map(damage) {
            Some(damage) => damage.detail(format!("found after this error: {}", error.message())),
            None => error,
        }
    }

    /// A writer for a new blob. `expected` is its required digest, `max_size` its size limit in bytes.
    pub fn writer(&self, expected: Option<Sha256>, max_size: Option<u64>) -> Result<BlobWriter<'_>> {
        BlobWriter::create(self, expected, max_size)
    }

    /// Stores `bytes` as a blob, unless it is present.
    pub fn insert(&self, bytes: &[u8]) -> Result<Blob> {
        let blob = Blob { digest: Sha256::of(bytes), size: bytes.len() as u64 };
        if self.holds(&blob.digest, Some(blob.size))? {
            return Ok(blob);
        }
        let mut writer = self.writer(Some(blob.digest), None)?;
        writer.put(bytes)?;
        writer.commit()
    }

    /// Fails with [`Class::NoSpace`] if fewer than `bytes` are free.
    pub fn require_space(&self, bytes: u64) -> Result<()> {
        let free = fsx::free_space(&self.root)?;
        if free >= bytes {
            return Ok(());
        }
        Err(Error::new(Class::NoSpace, format!("not enough space for the store {}", self.root.display()))
            .detail(format!("needed {}  free {}", Size(bytes), Size(free)))
            .hint(format!("free {}, or point $KBAKE_STORE at a larger disk", Size(bytes - free))))
    }

    /// Records that this process has hashed the blob's file while writing it.
    fn note_hashed(&self, digest: &Sha256) -> Result<()> {
        if let Some(stamp) = Stamp::here(&self.own_path(digest))? {
            self.hashed.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, stamp);
        }
        Ok(())
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Checks the format, or creates a new store's folders and, last, its format file.
    fn settle_format(&self) -> Result<()> {
        let path = self.root.join("format");
        let text = small::read(&path)?;
        if text != Small::Absent {
            match format_of(&text) {
                Some(FORMAT) => {}
                Some(number) if number > FORMAT => {
                    return Err(Error::user(format!("the store {} was made by a newer kbake", self.root.display()))
                        .detail(format!("its format is {number}, this kbake knows {FORMAT}"))
                        .hint("use that kbake, or point $KBAKE_STORE at another folder"));
                }
                _ => {
                    let odd = if let Small::Unusable(odd) = &text { Some(odd.clone()) } else { None };
                    let error = Error::user(format!("{} is not a valid store format file", path.display()));
                    return Err(odd
                        .into_iter()
                        .fold(error, Error::detail)
                        .hint("everything in a store can be fetched or rebuilt: remove the folder, or point $KBAKE_STORE at another one"));
                }
            }
        }
        for folder in FOLDERS {
            fsx::create_dir(&self.root.join(folder), FOLDER_MODE)?;
        }
        if text == Small::Absent {
            // Writing the format file syncs the store's folder, but not the folder inside `blobs/`.
            fsx::sync_dir(&self.root.join("blobs"))?;
            fsx::write_atomic(&path, FILE_MODE, format!("{FORMAT}\n").as_bytes())?;
        }
        Ok(())
    }

    /// Removes files and folders of dead processes from `tmp/`. A partial download stays unless its blob is present.
    fn clean(&self) -> Result<()> {
        let tmp = self.tmp();
        for name in fsx::list(&tmp)? {
            let path = tmp.join(&name);
            let name = name.to_str().unwrap_or_default();
            let right = if name.starts_with(WORK) { fsx::Kind::Folder } else { fsx::Kind::File };
            let is_odd = |path: &Path| matches!(fsx::facts(path), Ok(Some(facts)) if facts.kind != right);
            // Best effort: a leftover temp file is harmless.
            if (name.starts_with(WORK) || name.starts_with(PARTIAL)) && is_odd(&path) {
                // kbake did not create it, and it would block the next download or work folder.
                let _ = fsx::clear(&path, None, &is_odd);
            } else if name.starts_with(WORK) {
                let _ = fsx::reap_dir(&path);
            } else if !name.strip_prefix(PARTIAL).map_or(Ok(false), |rest| self.is_awaited(rest))? {
                let _ = fsx::reap(&path);
            }
        }
        Ok(())
    }
}

/// The path of a blob in the store at `root`.
fn blob_path(root: &Path, digest: &Sha256) -> PathBuf {
    root.join("blobs/sha256").join(digest.to_string())
}

/// The number in a store's `format` file.
fn format_of(text: &Small) -> Option<u32> {
    let Small::Bytes(text) = text else { return None };
    std::str::from_utf8(text).ok()?.trim_end().parse().ok()
}

/// Refuses a non-empty folder that is not a store: the path is mistyped, and the garbage collection must never run there.
///
/// The order of the checks matters: another process may be creating the store. Its lock is the first file in it, so a folder
/// that was non-empty and then has no lock is not a store.
fn refuse_other_folder(root: &Path) -> Result<()> {
    if !fsx::exists(root)? || fsx::list(root)?.is_empty() {
        return Ok(());
    }
    if fsx::exists(&root.join("lock"))? || fsx::exists(&root.join("format"))? {
        return Ok(());
    }
    Err(Error::user(format!("{} is neither empty nor a store", root.display())).hint("point $KBAKE_STORE at a new or empty folder"))
}
