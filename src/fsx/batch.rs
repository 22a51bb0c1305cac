//! Several files that get their names together.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Persisted, Staged, Temp, sync_dir};
use crate::error::{Error, Result};

/// Files on their way to their names. Dropped without [`Batch::commit`], they are removed.
///
/// All are on the disk before the first has its name, and each folder is synced once: with many small files, waiting
/// for the disk after each would take most of the time.
#[derive(Debug, Default)]
pub struct Batch {
    files: Vec<(Temp, PathBuf, u32)>,
    folders: Vec<Staged>,
}

impl Batch {
    /// Writes `bytes` beside `path`, which they will be at with exactly `mode`.
    pub fn add(&mut self, path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
        let mut temp = Temp::beside(path)?;
        temp.write_all(bytes).map_err(|e| Error::io(format!("write {}", path.display()), &e))?;
        self.files.push((temp, path.to_owned(), mode));
        Ok(())
    }

    /// A folder that will be at `path` with exactly `mode`, as a whole, in place of the one that is there.
    pub fn folder(&mut self, path: &Path, mode: u32) -> Result<&mut Staged> {
        self.folders.push(Staged::beside(path, mode)?);
        self.folders.last_mut().ok_or_else(|| Error::internal("a folder was added and is not there"))
    }

    /// Puts all of them in place of what was there.
    ///
    /// # Errors
    /// A folder with files that would be lost: nothing has its name then. When the disk fails: those that have their name by
    /// then are whole, the others are as before.
    pub fn commit(mut self) -> Result<()> {
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

/// How many files are brought to the disk at a time: a journal takes many together as fast as one.
const TOGETHER: usize = 8;

/// Gives many files their names in `folder`, unless something has them already, with exactly `mode`. Each is on the disk
/// before it has its name, and all names last when this returns. Gives what came of each.
///
/// As [`Temp::place`] for each, but for how long that waits.
///
/// # Errors
/// When the disk fails. Those that have their name by then are whole.
pub fn place_all(files: Vec<(Temp, PathBuf)>, folder: &Path, mode: u32) -> Result<Vec<Persisted>> {
    let mut files = files;
    let share = files.len().div_ceil(TOGETHER).max(1);
    let settle = |files: &mut [(Temp, PathBuf)]| {
        files.iter_mut().try_for_each(|(temp, path)| temp.settle(mode).map_err(|e| Error::io(format!("write {}", path.display()), &e)))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = files.chunks_mut(share).map(|share| scope.spawn(move || settle(share))).collect();
        // All are waited for, whatever came of the first.
        let done: Vec<Result<()>> =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(Error::internal("a writer has panicked")))).collect();
        done.into_iter().collect::<Result<()>>()
    })?;
    let placed = files.into_iter().map(|(temp, path)| temp.place_settled(&path)).collect::<Result<Vec<_>>>();
    // Also where one has failed: the others' names shall last.
    sync_dir(folder)?;
    placed
}
