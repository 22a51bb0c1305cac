//! A folder that has its name once all that is in it is whole, in place of the one that was there.

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
use crate::error::{Error, Result};

/// So many names are tried before giving up.
const NAMES: u32 = 1000;
/// A part of the names of all temporary files and folders.
pub(super) const MARK: &str = ".kbake-";

/// A folder on its way to its name. Dropped before [`super::Batch::commit`], it is removed with all that is in it. What a killed
/// process left, the next one removes: nobody holds its lock.
#[derive(Debug)]
pub struct Staged {
    target: PathBuf,
    path: PathBuf,
    mode: u32,
    names: BTreeSet<OsString>,
    held: File,
    done: bool,
}

impl Staged {
    /// A new folder beside `target`, hidden, for its owner alone.
    pub(super) fn beside(target: &Path, mode: u32) -> Result<Staged> {
        let name = target.file_name().ok_or_else(|| Error::user(format!("{} is no name of a folder", target.display())))?;
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

    /// Puts a file into it, on the disk for good, with exactly `mode`.
    pub fn add(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        let failed = |e: io::Error| Error::io(format!("write {}", self.target.join(name).display()), &e);
        let file = change::create(OpenOptions::new().write(true).create_new(true).mode(0o600), &path).map_err(failed)?;
        change::set_mode(&file, &path, mode).map_err(failed)?;
        change::write_all(&file, &path, bytes).map_err(failed)?;
        change::sync(&file, &path).map_err(failed)?;
        self.names.insert(name.into());
        Ok(())
    }

    /// Fails when its name is that of something else, or of a folder with files that it would not have.
    pub(super) fn require_replaceable(&self) -> Result<()> {
        let shown = self.target.display();
        match facts(&self.target)?.map(|facts| facts.kind) {
            None => return Ok(()),
            Some(super::Kind::Folder) => {}
            Some(_) => return Err(Error::user(format!("{shown} is no folder"))),
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
            // Filesystems that can do neither: for a moment there is no folder, and never a mixed one.
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
            // Nothing can be done about a failure here; the next process reaps what stays.
            let _ = change::remove_folder(&self.path);
        }
    }
}

/// A new folder at `path`, with its lock. None when the name is another's.
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
    // Between the calls, another process's cleaning may have taken the folder for a leftover.
    let held = open_dir(path)?;
    let is_ours = flock(&held, FlockOperation::NonBlockingLockShared) != Err(Errno::WOULDBLOCK) && is_at(&held, path)?;
    Ok(is_ours.then_some(held))
}

/// True for the name of a temporary file.
fn is_left(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") && name.windows(MARK.len()).any(|part| part == MARK.as_bytes())
}
