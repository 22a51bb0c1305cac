//! The layer of a built image: an uncompressed tar of its files, generated each time that it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use super::ELF_HEAD;
use super::copy::{Copier, put};
use super::overlay::WHITEOUT;
use super::tar::{self, Kind};
use crate::common::error::{Error, Result};
use crate::common::value::{Epoch, Sha256, TreePath};

/// A callback for the path, the mode and the first bytes of each file.
pub(super) type Seen<'a> = dyn FnMut(&TreePath, u16, &[u8]) -> Result<()> + 'a;

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// The path.
    pub path: TreePath,
    /// Permission bits.
    pub mode: u16,
    /// The length in bytes.
    pub size: u64,
    /// The digest of the contents.
    pub digest: Sha256,
}

/// Files in path order, each with folders as its parents only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    entries: BTreeMap<TreePath, Entry>,
    epoch: Epoch,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Folder,
    File { mode: u16, size: u64, digest: Sha256 },
}

impl Layer {
    /// Checks that the paths do not conflict, and adds the parent folders.
    pub(super) fn new(files: &[File], epoch: Epoch) -> Result<Self, String> {
        let paths: BTreeSet<&TreePath> = files.iter().map(|file| &file.path).collect();
        let mut entries = BTreeMap::new();
        for File { path, mode, size, digest } in files {
            if path.is_root() {
                return Err("a file must have a name".into());
            }
            if std::str::from_utf8(path.as_bytes()).is_err() {
                return Err(format!("{path}: the name is not UTF-8"));
            }
            if path.components().any(|name| name.starts_with(WHITEOUT)) {
                return Err(format!("{path}: a name that begins with `.wh.` would remove a file"));
            }
            if *mode > 0o7777 {
                return Err(format!("{path}: the mode {mode:o} has more than permission bits"));
            }
            let mut above = path.parent();
            while let Some(folder) = above.filter(|folder| !folder.is_root()) {
                if paths.contains(&folder) {
                    return Err(format!("{path}: its parent {folder} is a file"));
                }
                above = folder.parent();
                entries.insert(folder, Entry::Folder);
            }
            if entries.insert(path.clone(), Entry::File { mode: *mode, size: *size, digest: *digest }).is_some() {
                return Err(format!("{path}: is named twice"));
            }
        }
        Ok(Layer { entries, epoch })
    }

    /// Writes the tar. Calls `seen` with the first [`ELF_HEAD`] bytes of each file, after the whole file is verified.
    pub(super) fn write(&self, copier: &Copier, out: &mut dyn Write, seen: &mut Seen) -> Result<()> {
        for (path, entry) in &self.entries {
            // `new` accepts no other path.
            let name = std::str::from_utf8(path.as_bytes()).map_err(|_| Error::internal(format!("{path} is not UTF-8")))?;
            match *entry {
                Entry::Folder => put(out, &tar::header(&format!("{name}/"), Kind::Folder, 0o755, self.epoch.seconds()))?,
                Entry::File { mode, size, digest } => {
                    put(out, &tar::header(name, Kind::File(size), mode, self.epoch.seconds()))?;
                    let head = copier.copy(digest, size, &path.to_string(), ELF_HEAD, out)?;
                    seen(path, mode, &head)?;
                    put(out, &tar::END[..tar::padding(size)])?;
                }
            }
        }
        put(out, &tar::END)
    }
}
