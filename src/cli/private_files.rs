//! Private files outside the store: secure folders, permissions, and git.

use std::path::Path;

use super::Session;
use crate::common::error::{Error, Result};
use crate::common::fsx::{self, Kind};
use crate::common::value::quote;
use crate::spec::project;

/// The mode of a `.gitignore`.
const IGNORE_MODE: u32 = 0o644;
/// Permission bits of group and others.
const OTHERS: u32 = 0o077;

/// Creates the folder, or accepts an existing one if no other user can change it or a folder above it. `purpose` begins an
/// error message, such as "no seed is written to". Returns whether the folder was created.
///
/// # Errors
/// A folder that other users could replace.
pub(super) fn open_folder(path: &Path, mode: u32, purpose: &str) -> Result<bool> {
    require_folder(path, purpose)?;
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        fsx::create_closed(above)?;
    }
    let made = !fsx::exists(path)?;
    fsx::create_dir(path, mode)?;
    // Another process may have created it first.
    require_folder(path, purpose)?;
    Ok(made)
}

/// Refuses anything but a folder, and an insecure folder. The folder may be absent.
fn require_folder(path: &Path, purpose: &str) -> Result<()> {
    if fsx::facts(path)?.is_some_and(|facts| facts.kind != Kind::Folder) {
        return Err(
            Error::user(format!("{purpose} {}: it is a link or a file, not a folder", path.display())).hint("name the folder itself")
        );
    }
    require_trust(path, purpose)
}

/// Refuses a folder that other users could change or replace.
pub(super) fn require_trust(folder: &Path, purpose: &str) -> Result<()> {
    fsx::distrust(folder)?.map_or(Ok(()), |found| Err(distrusted(folder, purpose, found)))
}

/// [`require_trust`] for the folders above a file.
pub(super) fn require_trust_above(file: &Path, purpose: &str) -> Result<()> {
    fsx::distrust_above(file)?.map_or(Ok(()), |found| Err(distrusted(file, purpose, found)))
}

fn distrusted(path: &Path, purpose: &str, found: fsx::Distrust) -> Error {
    Error::user(format!("{purpose} {}: {} {}", path.display(), found.folder.display(), found.what))
        .detail("every folder above must belong to you or root, and no one else may have write permission")
        .detail("if chmod has no effect (FAT, some network shares), use another filesystem")
        .hint(found.remedy)
}

/// Writes a `.gitignore`, because private files contain keys. Only for a folder that kbake has created.
pub(super) fn keep_out_of_git(folder: &Path) -> Result<()> {
    fsx::write_new(&folder.join(".gitignore"), IGNORE_MODE, b"*\n").map(drop)
}

impl Session<'_> {
    /// Warns of private files that `git add` would include.
    pub(super) fn warn_of_git<'p>(&self, files: impl IntoIterator<Item = &'p Path>) {
        for file in files.into_iter().filter(|file| project::would_git_add(file)) {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let ignore = folder.map_or_else(|| ".gitignore".into(), |folder| folder.join(".gitignore"));
            let (line, ignore) = (quote(&format!("/{name}")), quote(&ignore.display().to_string()));
            self.shell.notice(&format!("warning: git does not ignore {}, which contains keys: echo {line} >> {ignore}", file.display()));
        }
    }

    /// Reports whether these files are private: some filesystems have no permissions. `subject` is, for example, "the seeds are
    /// written and".
    pub(super) fn tell_private<'p>(&self, subject: &str, files: impl IntoIterator<Item = &'p Path>) -> Result<()> {
        for file in files {
            let Some(mode) = fsx::facts(file)?.map(|facts| facts.mode).filter(|mode| mode & OTHERS != 0) else { continue };
            let what = format!("is not private: its filesystem has no permissions (mode {mode:04o}), so every user of this host");
            self.shell.notice(&format!("warning: {} {what} can read its keys", file.display()));
            return Ok(());
        }
        crate::common::report::Report::say(self.shell, &format!("{subject} private (mode 0600)"));
        Ok(())
    }
}
