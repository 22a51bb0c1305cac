//! Several files that are renamed together.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Persisted, Staged, Temp, sync_dir};
use crate::common::error::{Error, Result};

/// Files that wait for their final names. Dropped without [`Batch::commit`], they are removed.
///
/// All are on disk before the first is renamed, and each folder is synced once: with many small files, syncing after
/// each would take most of the time.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    files: Vec<(Temp, PathBuf, u32)>,
    folders: Vec<Staged>,
}

impl Batch {
    /// Writes `bytes` to a temporary file for `path` with exactly `mode`.
    pub(crate) fn add(&mut self, path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
        let mut temp = Temp::beside(path)?;
        temp.write_all(bytes).map_err(|e| Error::io(format!("write {}", path.display()), &e))?;
        self.files.push((temp, path.to_owned(), mode));
        Ok(())
    }

    /// A folder for `path` with exactly `mode`, which replaces the existing one as a whole.
    pub(crate) fn folder(&mut self, path: &Path, mode: u32) -> Result<&mut Staged> {
        self.folders.push(Staged::beside(path, mode)?);
        self.folders.last_mut().ok_or_else(|| Error::internal("an added folder is missing"))
    }

    /// Renames all of them, replacing what exists.
    ///
    /// # Errors
    /// A folder whose replacement would lose files: then nothing is renamed. When the disk fails: files already renamed
    /// are complete, the others are unchanged.
    pub(crate) fn commit(mut self) -> Result<()> {
        self.folders.iter().try_for_each(Staged::require_replaceable)?;
        for (temp, path, mode) in &mut self.files {
            temp.settle(*mode).map_err(|e| Error::io(format!("write {}", path.display()), &e))?;
        }
        let mut folders: Vec<PathBuf> = Vec::new();
        for (temp, path, _) in self.files {
            temp.rename(&path).map_err(|e| Error::io(format!("write {}", path.display()), &e))?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders.iter().try_for_each(|folder| sync_dir(folder))?;
        self.folders.into_iter().try_for_each(Staged::take_name)
    }
}

/// The number of threads that sync files: a journal commits several files as fast as one.
const TOGETHER: usize = 8;

/// Renames many files into `folder` with exactly `mode`, each unless its target exists. Each file is on disk before it
/// is renamed, and all names are durable on return. Returns the result of each.
///
/// Like [`Temp::place`] for each, but faster.
///
/// # Errors
/// I/O errors. Files already renamed are complete.
pub(crate) fn place_all(files: Vec<(Temp, PathBuf)>, folder: &Path, mode: u32) -> Result<Vec<Persisted>> {
    let mut files = files;
    let share = files.len().div_ceil(TOGETHER).max(1);
    let settle = |files: &mut [(Temp, PathBuf)]| {
        files.iter_mut().try_for_each(|(temp, path)| temp.settle(mode).map_err(|e| Error::io(format!("write {}", path.display()), &e)))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = files.chunks_mut(share).map(|share| scope.spawn(move || settle(share))).collect();
        // Waits for all threads, even if one fails.
        let done: Vec<Result<()>> =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(Error::internal("a writer has panicked")))).collect();
        done.into_iter().collect::<Result<()>>()
    })?;
    let placed = files.into_iter().map(|(temp, path)| temp.place_settled(&path)).collect::<Result<Vec<_>>>();
    // Also after a failure: the names of the others must be durable.
    sync_dir(folder)?;
    placed
}
