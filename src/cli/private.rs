//! Privacy outside the store: folders that nobody else can change, files that nobody else can read, and git.

use std::path::Path;

use super::Session;
use crate::error::{Error, Result};
use crate::fsx::{self, Kind};
use crate::project;
use crate::value::quote;

/// The mode of a `.gitignore`.
const IGNORE_MODE: u32 = 0o644;
/// The bits that let others read or change a file.
const OTHERS: u32 = 0o077;

/// Makes the folder, or takes the one that is there if nobody else can change it or what leads to it. `purpose` begins a
/// message: "no seed is put into". Gives whether it was made.
///
/// # Errors
/// When others could put something else in its place.
pub(super) fn open_folder(path: &Path, mode: u32, purpose: &str) -> Result<bool> {
    require_folder(path, purpose)?;
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        fsx::create_closed(above)?;
    }
    let made = !fsx::exists(path)?;
    fsx::create_dir(path, mode)?;
    // Somebody may have been faster.
    require_folder(path, purpose)?;
    Ok(made)
}

/// Refuses what is no folder, or could be exchanged. What is not there yet may be made.
fn require_folder(path: &Path, purpose: &str) -> Result<()> {
    if fsx::facts(path)?.is_some_and(|facts| facts.kind != Kind::Folder) {
        return Err(Error::user(format!("{purpose} {}: it is no folder of its own, but a link or a file", path.display()))
            .hint("name the folder itself"));
    }
    require_trust(path, purpose)
}

/// Refuses a folder that others could change, or exchange.
pub(super) fn require_trust(folder: &Path, purpose: &str) -> Result<()> {
    fsx::distrust(folder)?.map_or(Ok(()), |found| Err(distrusted(folder, purpose, found)))
}

/// As [`require_trust`], of the folders that lead to a file.
pub(super) fn require_trust_above(file: &Path, purpose: &str) -> Result<()> {
    fsx::distrust_above(file)?.map_or(Ok(()), |found| Err(distrusted(file, purpose, found)))
}

fn distrusted(path: &Path, purpose: &str, found: fsx::Distrust) -> Error {
    Error::user(format!("{purpose} {}: {} {}", path.display(), found.folder.display(), found.what))
        .detail("every folder on the way must belong to you or root, and nobody else may write to it")
        .detail("where chmod changes nothing (FAT, some shares), use another filesystem")
        .hint(found.mend)
}

/// Private files hold keys, and `git add` takes whatever is not refused. Only for a folder that kbake has made.
pub(super) fn keep_out_of_git(folder: &Path) -> Result<()> {
    fsx::write_new(&folder.join(".gitignore"), IGNORE_MODE, b"*\n").map(drop)
}

impl Session<'_> {
    /// Warns of private files that git would take.
    pub(super) fn warn_of_git<'p>(&self, files: impl IntoIterator<Item = &'p Path>) {
        for file in files.into_iter().filter(|file| project::would_git_take(file)) {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let ignore = folder.map_or_else(|| ".gitignore".into(), |folder| folder.join(".gitignore"));
            let (line, ignore) = (quote(&format!("/{name}")), quote(&ignore.display().to_string()));
            self.shell.notice(&format!("warning: git would take {}, which holds keys: echo {line} >> {ignore}", file.display()));
        }
    }

    /// How private these files came to be: some filesystems keep no modes. `subject` is as "the seeds are written; they are".
    pub(super) fn tell_private<'p>(&self, subject: &str, files: impl IntoIterator<Item = &'p Path>) -> Result<()> {
        for file in files {
            let Some(mode) = fsx::facts(file)?.map(|facts| facts.mode).filter(|mode| mode & OTHERS != 0) else { continue };
            let what = format!("is not private: its filesystem keeps no permissions (mode {mode:04o}), and every user of this machine");
            self.shell.notice(&format!("warning: {} {what} can read the keys in it", file.display()));
            return Ok(());
        }
        crate::report::Report::say(self.shell, &format!("{subject} private (mode 0600)"));
        Ok(())
    }
}
