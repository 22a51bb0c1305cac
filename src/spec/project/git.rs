//! A project's lockfiles at a git revision. Runs the host's `git`, which only reads.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::error::{Error, Result};
use crate::common::fsx;

/// The folder of lockfiles, relative to the project.
const LOCKFILES: &str = "lockfiles/";

/// The texts of all lockfiles of a project in `folder` at `revision`, by their names relative to it.
///
/// # Errors
/// A revision that git does not know, a folder outside of any repository, a host without git.
pub(crate) fn lockfiles_at(folder: &Path, revision: &str) -> Result<BTreeMap<String, String>> {
    if revision.is_empty() || revision.starts_with('-') {
        return Err(Error::user(format!("`{}` is not a git revision", revision.escape_debug())));
    }
    let unknown =
        |error: Error| error.hint("name a revision as `git log` prints it, or two existing files: lockfiles, plans or disk images");
    let commit = git(folder, &["rev-parse", "--verify", "--end-of-options", &format!("{revision}^{{commit}}")]).map_err(unknown)?;
    let commit = String::from_utf8_lossy(&commit).trim().to_owned();
    // Paths are relative to the folder, anywhere in the repository; `-z` leaves them unquoted.
    let names = git(folder, &["ls-tree", "-z", "--name-only", &commit, LOCKFILES])?;
    let mut found = BTreeMap::new();
    for name in names.split(|&b| b == 0).filter_map(|name| std::str::from_utf8(name).ok()).filter(|name| name.ends_with(".lock")) {
        let text = git(folder, &["show", &format!("{commit}:./{name}")])?;
        let text = String::from_utf8(text).map_err(|_| Error::user(format!("{name} at {revision} is not UTF-8 text")))?;
        found.insert(name.to_owned(), text);
    }
    Ok(found)
}

/// The output of a git command.
fn git(folder: &Path, args: &[&str]) -> Result<Vec<u8>> {
    let mut command = Command::new("git");
    command.arg("--no-pager").arg("-C").arg(folder).args(args).env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0");
    let output = command.output().map_err(|e| match e.kind() {
        ErrorKind::NotFound => Error::user("`git` is not installed; it is needed to read revisions").hint("install the package `git`"),
        _ => Error::io("run git", &e),
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let error = Error::user(format!("git cannot resolve {}", args.last().copied().unwrap_or_default().trim_end_matches("^{commit}")));
    Err(String::from_utf8_lossy(&output.stderr).lines().fold(error, |error, line| error.detail(line.to_owned())))
}

/// True if a file lies in a git work tree and `git add` would add it. A file that git does not report as ignored counts as
/// added.
pub(crate) fn would_git_add(file: &Path) -> bool {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(place), Some(name)) = (fsx::canonical(folder), file.file_name()) else { return false };
    if !place.ancestors().any(|folder| fsx::exists(&folder.join(".git")).unwrap_or(false)) {
        return false;
    }
    let mut command = Command::new("git");
    command.arg("-C").arg(&place).args(["check-ignore", "-q", "--"]).arg(name).env("GIT_OPTIONAL_LOCKS", "0");
    let output = command.stdin(Stdio::null()).output();
    !output.is_ok_and(|output| output.status.success())
}
