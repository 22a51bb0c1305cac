//! Temporary files: written beside their final name, and renamed once they are complete and on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::{Stamp, change, sync_dir};
use crate::common::error::{Error, Result};

/// The number of temporary names to try. More concurrent writers of one file than this are a bug.
const NAMES: u32 = 10_000;

/// A file that has no final name yet. Dropped without one, it is removed.
///
/// Its writer holds a lock (`flock`) on it. So the leftover of a killed process is recognised by being unlocked, and
/// [`reap`] removes it without guessing by age or process number.
#[derive(Debug)]
pub struct Temp {
    file: File,
    path: PathBuf,
    done: bool,
}

/// The result of a rename that replaces nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persisted {
    /// The file has its final name.
    Done,
    /// Another file had that name already, and keeps it.
    WasThere,
}

impl Temp {
    /// Creates a hidden file beside `target`, readable by the owner only.
    pub fn beside(target: &Path) -> Result<Temp> {
        let name = target.file_name().ok_or_else(|| Error::user(format!("{} does not name a file", target.display())))?;
        let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut stem = std::ffi::OsString::from(".");
        stem.push(name);
        stem.push(".kbake-");
        Self::create(dir, &stem)
    }

    /// Creates a file in `dir` whose name starts with `stem`, readable by the owner only. Removes the leftovers of dead
    /// processes under that name.
    pub fn create(dir: &Path, stem: &std::ffi::OsStr) -> Result<Temp> {
        let mut failed = None;
        for n in 0..NAMES {
            let mut name = stem.to_owned();
            name.push(n.to_string());
            let path = dir.join(name);
            match Self::try_create(&path) {
                Ok(Some(temp)) => return Ok(temp),
                Ok(None) => {}
                Err(e) => {
                    failed = Some(Error::io(format!("create {}", path.display()), &e));
                    break;
                }
            }
        }
        Err(failed.unwrap_or_else(|| Error::user(format!("all {NAMES} temporary names in {} are taken", dir.display()))))
    }

    /// `None` when another process uses the name.
    fn try_create(path: &Path) -> io::Result<Option<Temp>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits() as i32);
        let new = || change::create(&options, path);
        let file = match new() {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                if !reap(path)? {
                    return Ok(None);
                }
                match new() {
                    Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(None),
                    file => file?,
                }
            }
            file => file?,
        };
        // Between the two calls above, another process's reaping may have removed the file as a leftover.
        let ours = match try_lock(&file) {
            Ok(locked) => locked && is_at(&file, path)?,
            Err(e) if e.kind() == ErrorKind::Unsupported => true,
            Err(e) => return Err(e),
        };
        Ok(ours.then(|| Temp { file, path: path.to_owned(), done: false }))
    }

    /// Takes over a file at `path` that the caller has already locked.
    pub(crate) fn adopt(file: File, path: PathBuf) -> Temp {
        Temp { file, path, done: false }
    }

    /// The file, for reading back and seeking.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Changes the length.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        change::set_len(&self.file, &self.path, len)
    }

    /// The current path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the file at its temporary path, for a later process to resume.
    pub(crate) fn keep(mut self) {
        self.done = true;
    }

    /// Syncs the file with exactly `mode`, and renames it to `to`, replacing an existing file. Returns the stamp of
    /// this very file: by the time a caller looks at the name, another process may have replaced it.
    pub fn replace(mut self, to: &Path, mode: u32) -> Result<Stamp> {
        let what = |e: io::Error| Error::io(format!("write {}", to.display()), &e);
        self.settle(mode).map_err(what)?;
        self.take_name(to).map_err(what)?;
        let stamp = Stamp::of_metadata(&self.file.metadata().map_err(what)?);
        sync_parent(to)?;
        Ok(stamp)
    }

    /// Syncs the file with exactly `mode`, and renames it to `to` unless something exists there.
    pub fn place(mut self, to: &Path, mode: u32) -> Result<Persisted> {
        let what = |e: io::Error| Error::io(format!("write {}", to.display()), &e);
        self.settle(mode).map_err(what)?;
        let placed = self.place_settled(to)?;
        if placed == Persisted::Done {
            sync_parent(to)?;
        }
        Ok(placed)
    }

    /// Renames a synced file to `to` unless something exists there. The name is durable once its folder is synced.
    pub(super) fn place_settled(mut self, to: &Path) -> Result<Persisted> {
        let what = |e: io::Error| Error::io(format!("write {}", to.display()), &e);
        let placed = match change::rename_new(&self.path, to) {
            // Filesystems without that flag: a hard link does not replace either; then the first name is removed.
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP)) => {
                change::link(&self.path, to).map(|()| false)
            }
            renamed => renamed.map(|()| true),
        };
        match placed {
            Ok(renamed) => self.done = renamed,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(Persisted::WasThere),
            Err(e) => return Err(what(e)),
        }
        Ok(Persisted::Done)
    }

    /// Renames a synced file to `to`, replacing an existing file.
    pub(super) fn rename(mut self, to: &Path) -> io::Result<()> {
        self.take_name(to)
    }

    fn take_name(&mut self, to: &Path) -> io::Result<()> {
        change::rename(&self.path, to)?;
        self.done = true;
        Ok(())
    }

    /// Syncs the file with exactly `mode`.
    pub(super) fn settle(&mut self, mode: u32) -> io::Result<()> {
        change::allow_other_modes(change::set_mode(&self.file, &self.path, mode))?;
        // Otherwise a power cut leaves empty files under their final names.
        change::sync(&self.file, &self.path)
    }
}

impl Write for Temp {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        change::write(&self.file, &self.path, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Temp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for Temp {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.done {
            // A failure is harmless: the next process reaps the file.
            let _ = change::remove(&self.path);
        }
    }
}

/// Removes the temporary file at `path` if its writer is dead. True if nothing exists there afterwards.
pub(crate) fn reap(path: &Path) -> io::Result<bool> {
    let file = match OpenOptions::new().read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(true),
        // A link, or another user's file: not ours to remove.
        Err(_) => return Ok(false),
    };
    if !file.metadata()?.is_file() || !matches!(try_lock(&file), Ok(true)) {
        return Ok(false);
    }
    if is_at(&file, path)? {
        change::remove(path)?;
    }
    Ok(true)
}

/// Creates the working folder `path`, which [`reap_dir`] spares as long as the returned file is open. The folder may
/// exist, have contents, and be in use by others.
pub(crate) fn work_dir(path: &Path) -> Result<File> {
    loop {
        super::create_dir_all(path)?;
        let held = match open_dir(path) {
            // Reaped by another process before we locked it.
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            opened => opened.and_then(|dir| {
                while flock(&dir, FlockOperation::LockShared) == Err(Errno::INTR) {}
                Ok(is_at(&dir, path)?.then_some(dir))
            }),
        };
        if let Some(dir) = held.map_err(|e| Error::io(format!("open the folder {}", path.display()), &e))? {
            return Ok(dir);
        }
    }
}

/// Removes the contents of the folder at `path`, which the caller has from [`work_dir`]. The folder itself stays: it
/// holds the lock, and a new one in its place would be unlocked.
pub(crate) fn empty_dir(path: &Path) -> Result<()> {
    super::list(path)?.iter().try_for_each(|name| super::remove(&path.join(name)))
}

/// Moves `path` to `aside`, or removes it, if `is_wrong` returns true. Only for names that this program creates.
///
/// Several processes may find the same wrong file. The first makes room, and the others must spare the replacement. So
/// they take turns, by a lock on the folder.
pub(crate) fn clear(path: &Path, aside: Option<&Path>, is_wrong: &dyn Fn(&Path) -> bool) -> Result<()> {
    let failed = |e: io::Error| Error::io(format!("allocate space for {}", path.display()), &e);
    let folder = File::open(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
    while flock(&folder, FlockOperation::LockExclusive) == Err(Errno::INTR) {}
    match aside {
        _ if !is_wrong(path) => Ok(()),
        None => super::remove(path),
        Some(aside) => {
            // A folder cannot replace a file, nor the reverse.
            super::remove(aside)?;
            super::rename(path, aside)
        }
    }
}

/// Removes the folder at `path` and its contents, if no process works in it. True if it was removed.
pub(crate) fn reap_dir(path: &Path) -> io::Result<bool> {
    let Ok(dir) = open_dir(path) else { return Ok(false) };
    if !matches!(try_lock(&dir), Ok(true)) || !is_at(&dir, path)? {
        return Ok(false);
    }
    change::remove_folder(path).map(|()| true)
}

pub(super) fn open_dir(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlags::NOFOLLOW | OFlags::DIRECTORY).bits() as i32).open(path)
}

/// Takes the exclusive lock on `file` if no other process or thread holds one.
///
/// # Errors
/// `Unsupported` if the filesystem has no locks.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(Errno::NOLCK | Errno::NOSYS | Errno::NOTSUP) => Err(ErrorKind::Unsupported.into()),
        Err(e) => Err(e.into()),
    }
}

/// True if `path` still names this very file.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn sync_parent(path: &Path) -> Result<()> {
    sync_dir(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}
