//! The store's small files: entries, roots, claims, stamps, marks. Their names are this program's, so whatever else is at one is
//! no answer to wait for or to follow, and gives way.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{FILE_MODE, Store};
use crate::error::{Error, Result};
use crate::fsx::{self, Links, Opened};

/// The thing at the name of a small file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Small {
    /// Nothing.
    Absent,
    /// Something that is no small file; what, for people.
    Odd(String),
    /// The file's bytes.
    Bytes(Vec<u8>),
}

impl Small {
    /// The bytes, if there are any.
    pub(super) fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Small::Bytes(bytes) => Some(bytes),
            Small::Absent | Small::Odd(_) => None,
        }
    }
}

/// Reads the small file at `path`.
///
/// # Errors
/// Those of the disk.
pub(super) fn read(path: &Path) -> Result<Small> {
    let failed = |e: std::io::Error| Error::io(format!("read {}", path.display()), &e);
    let file = match fsx::look(path, Links::Refused) {
        Ok(Opened::Absent) => return Ok(Small::Absent),
        Ok(Opened::Odd(odd)) => return Ok(Small::Odd(format!("it is {odd}, no regular file"))),
        Ok(Opened::File(_, meta)) if meta.len() > fsx::TEXT_MAX => return Ok(Small::Odd("it is too long".to_owned())),
        Ok(Opened::File(file, _)) => file,
        Err(e) if e.kind() == ErrorKind::PermissionDenied => return Ok(Small::Odd("it may not be read".to_owned())),
        Err(e) => return Err(failed(e)),
    };
    fsx::read_all(file, path, fsx::TEXT_MAX).map(Small::Bytes)
}

/// True when something is at `path` that no reader of the store can use as a file.
pub(super) fn is_odd(path: &Path) -> bool {
    match fsx::look(path, Links::Refused) {
        Ok(found) => matches!(found, Opened::Odd(_)),
        // Not where the disk or the limits of this process are to blame.
        Err(e) => e.kind() == ErrorKind::PermissionDenied,
    }
}

impl Store {
    /// Writes the small file at `path`, in place of whatever is there.
    pub(super) fn write_small(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.make_room(path)?;
        fsx::write_atomic(path, FILE_MODE, bytes)
    }

    /// Puts a folder aside that is in the place of a file: a file does not replace it.
    pub(super) fn make_room(&self, path: &Path) -> Result<()> {
        if !is_folder(path) {
            return Ok(());
        }
        fsx::clear(path, Some(&self.aside(path)), &is_folder)
    }

    /// Removes the small file at `path`, if it is there. A folder in its place is put aside.
    pub(super) fn remove_small(&self, path: &Path) -> Result<()> {
        self.make_room(path)?;
        fsx::remove_file(path)
    }

    /// The place for something that is no blob and not as it should be.
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
