//! Blobs by their SHA-256, what was made from what, and the locks that let processes share both.
//!
//! ```text
//! format            "1\n"; a newer number is refused
//! lock              held shared by every command, exclusive by the garbage collection
//! blobs/sha256/     one file per blob, named by its digest, mode 0444
//! actions/          <kind>-<key>.json: what an action with this key gave; or which blob had a SHA-512
//! claims/           <plan>.json: what a bundle said that a plan gives; to be met
//! roots/            what was built or fetched for which project, channel and role
//! locks/            one file per plan, for single flight
//! stamps/           what is known of files outside the store, so that they need not be hashed again
//! tmp/              files being written; partial-<digest> are downloads to go on with
//! quarantine/       blobs that were found damaged; <digest>.<file>.lower stands for one of a lower store, and
//!                   <kind>-<key>.distrust says that lower stores are not believed in that action
//! ```
//!
//! A blob that has its name is whole and on the disk; an action entry is written after its blobs. So a crash
//! at any point leaves a store that is sound, with at most a file in `tmp/` that the next command removes.
//! Bytes leave the store for an image only through readers that hash them.

mod action;
mod alias;
mod blob;
mod check;
mod claim;
mod composed;
pub mod gc;
mod list;
mod lock;
mod lower;
mod output;
mod partial;
mod root;
mod scratch;
mod small;
mod source;
pub mod survey;
pub mod usage;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub use action::{Action, Lookup, Miss};
pub use blob::{BlobFile, RangeReader, Verifying, VerifyingReader};
pub use check::Examined;
pub use claim::ImageClaim;
pub use composed::{Composed, ComposedReader, FRAMES, KIND as COMPOSED, Stretch, Stretches};
pub use list::Found;
pub use lock::PlanLock;
pub use lower::Lower;
pub use partial::{Claim, Partial, Whole};
pub use root::{Generation, History, Owner, Root};
pub use source::StoreSource;
pub use write::{BlobWriter, Unplaced};

use self::lower::Disposal;
use self::small::Small;
use crate::error::{Class, Error, Result};
use crate::fsx::{self, Stamp};
use crate::value::{Cancel, Sha256, Sha512, Size};

/// The layout that this code reads and writes.
const FORMAT: u32 = 1;
/// In the order in which they are created.
const FOLDERS: [&str; 9] = ["blobs", "blobs/sha256", "actions", "claims", "roots", "locks", "stamps", "tmp", "quarantine"];
/// Of blobs: nobody writes them again.
const BLOB_MODE: u32 = 0o444;
/// The read permission bits of owner, group and others.
const READABLE: u32 = 0o444;
/// Of everything else. Explicit, because a umask of 0 would let every user write into the store.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;
/// Of downloads that a later command goes on with.
const PARTIAL: &str = "partial-";
/// Of the folders of work that is more than a file.
const WORK: &str = "work-";
/// The ending of the names in `quarantine/` that stand for damaged blobs of lower stores.
const DISTRUST: &str = "lower";
/// The ending of the names in `quarantine/` that stand for actions in which lower stores are not believed.
const DOUBT: &str = "distrust";

/// How a command uses the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Adds and reads; beside others.
    Shared,
    /// May remove what others would read; alone.
    Exclusive,
}

/// Bytes in the store, by name and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blob {
    /// The SHA-256 of the bytes.
    pub digest: Sha256,
    /// How many there are.
    pub size: u64,
}

/// An open store. Its lock is held until it is dropped.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    access: Access,
    _lock: File,
    lower: Vec<Lower>,
    /// The time at which the command began, if what it uses is to be marked as used.
    now: Option<survey::Moment>,
    /// Blobs whose files this process has hashed, as the files were then.
    hashed: Mutex<BTreeMap<Sha256, Stamp>>,
    /// Blobs that this process has composed, with what the parts' files were then.
    composed: Mutex<BTreeMap<Sha256, Vec<Stamp>>>,
    /// What this process has seen for itself: bytes with this SHA-512 have that SHA-256.
    proved: Mutex<BTreeMap<Sha512, Sha256>>,
    /// Folders that this process works in, held open.
    work: Mutex<Vec<File>>,
    /// Cancellation flag: every loop over bytes checks it.
    cancel: Cancel,
}

impl Store {
    /// Opens the store at `root`, creating it when it is new, and removes what dead processes left in `tmp/`.
    ///
    /// Waits while another process holds the store in a way that excludes `access`; `on_wait` is called once when
    /// it comes to that.
    ///
    /// # Errors
    /// A newer format, a folder that is something else, a filesystem without locks; `cancel` while waiting.
    pub fn open(root: &Path, access: Access, cancel: &Cancel, on_wait: &dyn Fn()) -> Result<Store> {
        refuse_other_folder(root)?;
        fsx::create_dir_all(root)?;
        // An absolute root, so that what is remembered about paths does not depend on the current folder.
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

    /// Its folder, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// True as long as its folder has the lock that this process holds: not when somebody has removed or replaced it.
    pub fn is_in_place(&self) -> bool {
        matches!(fsx::is_at(&self._lock, &self.root.join("lock")), Ok(true))
    }

    /// The same store, in which actions that are looked up are marked as used at `now`. So the garbage collection can
    /// keep what is in use.
    pub fn marking_use(self, now: survey::Moment) -> Store {
        Store { now: Some(now), ..self }
    }

    /// Where a blob's file is, in this store or a lower one, or where it would be. Its bytes are not verified: for humans
    /// and for foreign tools that do so.
    pub fn path(&self, digest: &Sha256) -> PathBuf {
        let own = self.own_path(digest);
        if self.lower.is_empty() || matches!(Stamp::here(&own), Ok(Some(_))) {
            return own;
        }
        self.lower_blob(digest).map_or(own, |blob| blob.place().to_owned())
    }

    /// Where a blob's file is in this very store, or would be.
    fn own_path(&self, digest: &Sha256) -> PathBuf {
        blob_path(&self.root, digest)
    }

    /// Whether a blob is there. Its bytes are looked at when they are read.
    pub fn contains(&self, digest: &Sha256) -> Result<bool> {
        self.holds(digest, None)
    }

    /// A blob's size in bytes; none when it is not there.
    pub fn size(&self, digest: &Sha256) -> Result<Option<u64>> {
        match self.plain_size(digest)? {
            Some(size) => Ok(Some(size)),
            None => self.composed_size(digest),
        }
    }

    /// As [`Store::size`], of a blob with a file of its own.
    fn plain_size(&self, digest: &Sha256) -> Result<Option<u64>> {
        let own = match fsx::facts(&self.own_path(digest))? {
            None => None,
            Some(facts) if facts.kind == fsx::Kind::File && facts.mode & READABLE != 0 => Some(facts.size),
            // Opening it makes room where something else is in its place.
            Some(_) => self.own_blob(digest)?.map(|blob| blob.size()),
        };
        Ok(own.or_else(|| self.lower_blob(digest).map(|blob| blob.size())))
    }

    /// Whether a blob is there and, where `size` is known, has that size. A damaged one of
    /// another size goes to quarantine.
    pub fn holds(&self, digest: &Sha256, size: Option<u64>) -> Result<bool> {
        if self.holds_plain(digest, size)? {
            return Ok(true);
        }
        Ok(self.composed_size(digest)?.is_some_and(|found| size.is_none_or(|size| size == found)))
    }

    /// As [`Store::holds`], of a blob with a file of its own.
    fn holds_plain(&self, digest: &Sha256, size: Option<u64>) -> Result<bool> {
        // Behind a damaged one a lower store may have a good one.
        for _ in 0..=self.lower.len() {
            let Some(found) = self.plain_size(digest)? else { return Ok(false) };
            // The trace of a power cut on a filesystem that lost the bytes but kept the name.
            let hollow = found == 0 && *digest != Sha256::of(b"");
            if !hollow && size.is_none_or(|size| size == found) {
                return Ok(true);
            }
            // Either the file is damaged or `size` is wrong; only the bytes can tell.
            match self.plain(digest)?.map(|blob| blob.verify()) {
                Some(Err(error)) if error.class() == Class::Integrity => {}
                Some(Err(error)) => return Err(error),
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Opens a blob for reading at any place; none when it is not there. One that is composed gets a file of its own by that:
    /// who can do with less opens it by [`Store::composed`].
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

    /// Hashes a blob, whatever form it has. False when it is not there.
    ///
    /// # Errors
    /// Damage; what is damaged is then in quarantine.
    pub fn verify_blob(&self, digest: &Sha256) -> Result<bool> {
        if let Some(blob) = self.plain(digest)? {
            return blob.verify().map(|()| true);
        }
        match self.composed(digest)? {
            Some(composed) => composed.verify().map(|()| true),
            None => Ok(false),
        }
    }

    /// As [`Store::blob`], of a blob with a file of its own.
    fn plain(&self, digest: &Sha256) -> Result<Option<BlobFile>> {
        Ok(self.own_blob(digest)?.or_else(|| self.lower_blob(digest)))
    }

    /// As [`Store::reader`], of a blob with a file of its own.
    fn plain_reader(&self, digest: &Sha256) -> Result<Option<VerifyingReader>> {
        self.plain(digest)?.map(Verifying::whole).transpose()
    }

    /// Opens a blob with a file of its own whose bytes are known to be right: they are hashed, unless this process has done so
    /// since the file was last written. None when it is not there.
    ///
    /// # Errors
    /// Damage; the file is then in quarantine.
    pub fn sound(&self, digest: &Sha256) -> Result<Option<BlobFile>> {
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

    /// Opens a blob for reading from start to end; none when it is not there. The read that would give the last
    /// byte fails when the bytes do not have the digest, and the file goes to quarantine, so that the next command
    /// gets it anew.
    pub fn reader(&self, digest: &Sha256) -> Result<Option<VerifyingReader>> {
        self.blob(digest)?.map(Verifying::whole).transpose()
    }

    /// The error of work that read these blobs and failed. When one of them is damaged, that is why, and it goes to
    /// quarantine: who stops in the middle of a blob has not learnt whether the rest would have been right.
    pub fn explain(&self, error: Error, blobs: impl IntoIterator<Item = Sha256>) -> Error {
        let damage = |digest: Sha256| match self.plain(&digest) {
            Ok(Some(blob)) => blob.verify().err().filter(|damage| damage.class() == Class::Integrity),
            _ => None,
        };
        match blobs.into_iter().find_map(damage) {
            Some(damage) => damage.detail(format!("found because of this: {}", error.message())),
            None => error,
        }
    }

    /// A new blob. `expected` is the digest that it must have, `max_size` the most bytes that it may have.
    pub fn writer(&self, expected: Option<Sha256>, max_size: Option<u64>) -> Result<BlobWriter<'_>> {
        BlobWriter::create(self, expected, max_size)
    }

    /// Makes `bytes` a blob, unless they are one.
    pub fn insert(&self, bytes: &[u8]) -> Result<Blob> {
        let blob = Blob { digest: Sha256::of(bytes), size: bytes.len() as u64 };
        if self.holds(&blob.digest, Some(blob.size))? {
            return Ok(blob);
        }
        let mut writer = self.writer(Some(blob.digest), None)?;
        writer.put(bytes)?;
        writer.commit()
    }

    /// Fails with [`Class::NoSpace`] and the figures when fewer than `bytes` are free.
    pub fn require_space(&self, bytes: u64) -> Result<()> {
        let free = fsx::free_space(&self.root)?;
        if free >= bytes {
            return Ok(());
        }
        Err(Error::new(Class::NoSpace, format!("not enough space for the store {}", self.root.display()))
            .detail(format!("needed {}  free {}", Size(bytes), Size(free)))
            .hint(format!("free {}, or point $KBAKE_STORE at a larger disk", Size(bytes - free))))
    }

    /// Remembers that the file of a blob was hashed by this process, which made it.
    fn note_hashed(&self, digest: &Sha256) -> Result<()> {
        if let Some(stamp) = Stamp::here(&self.own_path(digest))? {
            self.hashed.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, stamp);
        }
        Ok(())
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Checks the format, or gives a new store its folders and, last, its format.
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
                    let odd = if let Small::Odd(odd) = &text { Some(odd.clone()) } else { None };
                    let error = Error::user(format!("{} does not hold a store's format", path.display()));
                    return Err(odd.into_iter().fold(error, Error::detail).hint(
                        "everything in a store can be fetched or made again: remove the folder, or point $KBAKE_STORE at another one",
                    ));
                }
            }
        }
        for folder in FOLDERS {
            fsx::create_dir(&self.root.join(folder), FOLDER_MODE)?;
        }
        if text == Small::Absent {
            // The format lasts from its writing on, and with it all folders right beside it. So must the one below.
            fsx::sync_dir(&self.root.join("blobs"))?;
            fsx::write_atomic(&path, FILE_MODE, format!("{FORMAT}\n").as_bytes())?;
        }
        Ok(())
    }

    /// Removes the files of dead writers and folders of dead workers; downloads stay unless their blob has come.
    fn clean(&self) -> Result<()> {
        let tmp = self.tmp();
        for name in fsx::list(&tmp)? {
            let path = tmp.join(&name);
            let name = name.to_str().unwrap_or_default();
            let right = if name.starts_with(WORK) { fsx::Kind::Folder } else { fsx::Kind::File };
            let is_odd = |path: &Path| matches!(fsx::facts(path), Ok(Some(facts)) if facts.kind != right);
            // What cannot be removed now is no reason to stop; it is only a file too many.
            if (name.starts_with(WORK) || name.starts_with(PARTIAL)) && is_odd(&path) {
                // No process of ours works with it, and it would be in the way of the next one.
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

/// Where the store at `root` has a blob.
fn blob_path(root: &Path, digest: &Sha256) -> PathBuf {
    root.join("blobs/sha256").join(digest.to_string())
}

/// The number in a store's file `format`.
fn format_of(text: &Small) -> Option<u32> {
    let Small::Bytes(text) = text else { return None };
    std::str::from_utf8(text).ok()?.trim_end().parse().ok()
}

/// A folder full of other things is a mistyped path, and the garbage collection must never run there.
///
/// The order matters: another process may be making the store just now. Its lock is the first file in it, so whoever
/// has seen any file and then finds no lock has seen a stranger's.
fn refuse_other_folder(root: &Path) -> Result<()> {
    if !fsx::exists(root)? || fsx::list(root)?.is_empty() {
        return Ok(());
    }
    if fsx::exists(&root.join("lock"))? || fsx::exists(&root.join("format"))? {
        return Ok(());
    }
    Err(Error::user(format!("{} is not empty and not a store", root.display())).hint("point $KBAKE_STORE at a new or empty folder"))
}
