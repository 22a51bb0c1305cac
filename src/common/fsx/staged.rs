//! Folders that are replaced as a whole, once their contents are complete.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::temp::{open_dir, reap_dir};
use super::{change, facts, is_at, list, sync_dir};
use crate::common::error::{Error, Result};

/// The number of temporary names to try.
const NAMES: u32 = 1000;
/// The part that the names of all temporary files and folders contain.
pub(super) const MARK: &str = ".kbake-";

/// A folder that waits for its final name. Dropped before [`super::Batch::commit`], it is removed with its contents.
/// The leftover of a killed process is removed by the next one: nobody holds its lock.
#[derive(Debug)]
pub(crate) struct Staged {
    target: PathBuf,
    path: PathBuf,
    mode: u32,
    names: BTreeSet<OsString>,
    held: File,
    done: bool,
}

impl Staged {
    /// Creates a hidden folder beside `target`, accessible to its owner only.
    pub(super) fn beside(target: &Path, mode: u32) -> Result<Staged> {
        let name = target.file_name().ok_or_else(|| Error::user(format!("{} does not name a folder", target.display())))?;
        let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        for n in 0..NAMES {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(format!("{MARK}{n}"));
            let path = dir.join(hidden);
            let made = make(&path).map_err(|e| Error::io(format!("create the folder {}", path.display()), &e))?;
            if let Some(held) = made {
                return Ok(Staged { target: target.to_owned(), path, mode, names: BTreeSet::new(), held, done: false });
            }
        }
        Err(Error::user(format!("all {NAMES} temporary names in {} are taken", dir.display())))
    }

    /// Adds a file with exactly `mode`, and syncs it.
    pub(crate) fn add(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        let failed = |e: io::Error| Error::io(format!("write {}", self.target.join(name).display()), &e);
        let file = change::create(OpenOptions::new().write(true).create_new(true).mode(0o600), &path).map_err(failed)?;
        change::set_mode(&file, &path, mode).map_err(failed)?;
        change::write_all(&file, &path, bytes).map_err(failed)?;
        change::sync(&file, &path).map_err(failed)?;
        self.names.insert(name.into());
        Ok(())
    }

    /// Fails when the target is not a folder, or has files that the replacement would lose.
    pub(super) fn require_replaceable(&self) -> Result<()> {
        let shown = self.target.display();
        match facts(&self.target)?.map(|facts| facts.kind) {
            None => return Ok(()),
            Some(super::Kind::Folder) => {}
            Some(_) => return Err(Error::user(format!("{shown} is not a folder"))),
        }
        let is_other = |name: &OsString| !self.names.contains(name) && !is_left(name);
        match list(&self.target)?.into_iter().find(is_other) {
            None => Ok(()),
            Some(other) => Err(Error::user(format!("{} would be lost", self.target.join(other).display()))
                .detail(format!("{shown} is replaced as a whole, and the new one does not have it"))
                .hint("move it elsewhere, or write to another folder with --out")),
        }
    }

    /// Gives it its name.
    pub(super) fn take_name(mut self) -> Result<()> {
        let failed = |e: io::Error| Error::io(format!("write {}", self.target.display()), &e);
        change::set_mode(&self.held, &self.path, self.mode).map_err(failed)?;
        sync_dir(&self.path)?;
        let placed = match change::rename_new(&self.path, &self.target) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => change::exchange(&self.path, &self.target).map(|()| true),
            renamed => renamed.map(|()| false),
        };
        let replaced = match placed {
            // Filesystems that support neither: for a moment there is no folder, but never a mixed one.
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP)) => {
                super::remove_dir_all(&self.target)?;
                change::rename(&self.path, &self.target).map_err(failed)?;
                false
            }
            placed => placed.map_err(failed)?,
        };
        self.done = true;
        if replaced {
            super::remove_dir_all(&self.path)?;
        }
        sync_dir(self.target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.done {
            // A failure is harmless: the next process reaps the folder.
            let _ = change::remove_folder(&self.path);
        }
    }
}

/// Creates a folder at `path` and locks it. `None` when another process uses the name.
fn make(path: &Path) -> io::Result<Option<File>> {
    match change::make_folder(path, 0o700) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            let is_free = reap_dir(path)? && change::make_folder(path, 0o700).is_ok();
            if !is_free {
                return Ok(None);
            }
        }
        made => made?,
    }
    // Between the calls, another process's reaping may have removed the folder as a leftover.
    let held = open_dir(path)?;
    let is_ours = flock(&held, FlockOperation::NonBlockingLockShared) != Err(Errno::WOULDBLOCK) && is_at(&held, path)?;
    Ok(is_ours.then_some(held))
}

/// True if this is the name of a temporary file.
fn is_left(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") && name.windows(MARK.len()).any(|part| part == MARK.as_bytes())
}
