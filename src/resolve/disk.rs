//! The few files that resolving writes and reads: apt's private state in a temporary folder, and lists of mirrors.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Makes a folder and those above it.
pub(super) fn make_dir(path: &Path) -> Result<()> {
    #[allow(clippy::disallowed_methods, reason = "a private temporary folder, named in the error")]
    fs::create_dir_all(path).map_err(|error| Error::io(format!("create `{}`", path.display()), &error))
}

/// Writes a file of apt's private configuration.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    #[allow(clippy::disallowed_methods, reason = "a private temporary folder, named in the error")]
    fs::write(path, text).map_err(|error| Error::io(format!("write `{}`", path.display()), &error))
}

/// A text file's content; none when there is no such file.
pub(super) fn read_if_there(path: &Path) -> Result<Option<String>> {
    #[allow(clippy::disallowed_methods, reason = "the error names the path")]
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("read `{}`", path.display()), &error)),
    }
}

/// The one file in `folder` whose name ends with `ending`; none when there is none, or more.
pub(super) fn only_file(folder: &Path, ending: &str) -> Result<Option<PathBuf>> {
    let failed = |error| Error::io(format!("list `{}`", folder.display()), &error);
    let mut found = Vec::new();
    #[allow(clippy::disallowed_methods, reason = "the order does not matter: there is one, or none counts")]
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ending)) {
            found.push(path);
        }
    }
    Ok(if found.len() == 1 { found.pop() } else { None })
}
