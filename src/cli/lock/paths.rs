//! Paths of local files: as typed, and as written in lockfiles.

use std::path::{Component, Path, PathBuf};

use crate::common::error::{Error, Result};
use crate::spec::recipe::{Artifact, Origin};

/// The project file that the sources name for an artifact, in a lockfile's form.
pub(super) fn file_of_sources(artifact: &Artifact) -> Option<String> {
    match &artifact.origin {
        Origin::Path { path, .. } => Some(format!("recipes/{}", path.value)),
        _ => None,
    }
}

/// Removes `.` and `..` lexically.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = found.pop(),
            part => found.push(part),
        }
    }
    found
}

/// A path in a lockfile's form. `shown` is the typed path.
///
/// # Errors
/// A path with characters that a lockfile does not support.
pub(super) fn lockfile_path(path: &Path, shown: &Path) -> Result<String> {
    let text = path.to_str().filter(|text| !text.chars().any(|c| c.is_control() || "\"\\".contains(c)));
    let text =
        text.ok_or_else(|| Error::user(format!("the path of {} has characters that a lockfile does not support", shown.display())))?;
    Ok(text.to_owned())
}
