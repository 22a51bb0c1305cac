//! The store's small files: entries, roots, claims, stamps, marks. kbake owns their names, so anything else at such a name
//! (a link, pipe or folder) is never followed or read, and is moved out of the way.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{FILE_MODE, Store};
use crate::common::error::{Error, Result};
use crate::common::fsx::{self, Links, Opened};

/// The content at a small file's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Small {
    /// Nothing.
    Absent,
    /// Not a usable file; the reason, for messages.
    Unusable(String),
    /// The file's bytes.
    Bytes(Vec<u8>),
}

impl Small {
    /// The bytes, if it is a usable file.
    pub(super) fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Small::Bytes(bytes) => Some(bytes),
            Small::Absent | Small::Unusable(_) => None,
        }
    }
}

/// Reads the small file at `path`.
///
/// # Errors
/// I/O errors.
pub(super) fn read(path: &Path) -> Result<Small> {
    let failed = |e: std::io::Error| Error::io(format!("read {}", path.display()), &e);
    let file = match fsx::open_regular(path, Links::Refused) {
        Ok(Opened::Absent) => return Ok(Small::Absent),
        Ok(Opened::Special(kind)) => return Ok(Small::Unusable(format!("it is {kind}, not a regular file"))),
        Ok(Opened::File(_, meta)) if meta.len() > fsx::TEXT_MAX => return Ok(Small::Unusable("it is too long".to_owned())),
        Ok(Opened::File(file, _)) => file,
        Err(e) if e.kind() == ErrorKind::PermissionDenied => return Ok(Small::Unusable("permission to read it is denied".to_owned())),
        Err(e) => return Err(failed(e)),
    };
    fsx::read_all(file, path, fsx::TEXT_MAX).map(Small::Bytes)
}

/// True if the store's readers cannot use the content at `path` as a file.
pub(super) fn is_unusable(path: &Path) -> bool {
    match fsx::open_regular(path, Links::Refused) {
        Ok(found) => matches!(found, Opened::Special(_)),
        // Other errors (I/O, limits of this process) say nothing about the file.
        Err(e) => e.kind() == ErrorKind::PermissionDenied,
    }
}

impl Store {
    /// Writes the small file at `path`, replacing whatever is there.
    pub(super) fn write_small(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.make_room(path)?;
        fsx::write_atomic(path, FILE_MODE, bytes)
    }

    /// Moves a folder in the place of a file to quarantine, because a rename cannot replace it by a file.
    pub(super) fn make_room(&self, path: &Path) -> Result<()> {
        if !is_folder(path) {
            return Ok(());
        }
        fsx::clear(path, Some(&self.aside(path)), &is_folder)
    }

    /// Removes the small file at `path`, if it exists. A folder in its place goes to quarantine.
    pub(super) fn remove_small(&self, path: &Path) -> Result<()> {
        self.make_room(path)?;
        fsx::remove_file(path)
    }

    /// The quarantine path for something that is not a blob.
    fn aside(&self, path: &Path) -> PathBuf {
        let mut name = path.parent().and_then(Path::file_name).unwrap_or_default().to_owned();
        name.push("-");
        name.push(path.file_name().unwrap_or_default());
        self.root().join("quarantine").join(name)
    }
}

fn is_folder(path: &Path) -> bool {
    matches!(fsx::facts(path), Ok(Some(facts)) if facts.kind == fsx::Kind::Folder)
}
