//! Several files that get their names together.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Temp, sync_dir};
use crate::error::{Error, Result};

/// Files on their way to their names. Dropped without [`Batch::commit`], they are removed.
///
/// All are on the disk before the first has its name, and each folder is synced once: with many small files, waiting
/// for the disk after each would take most of the time.
#[derive(Debug, Default)]
pub struct Batch(Vec<(Temp, PathBuf, u32)>);

impl Batch {
    /// Writes `bytes` beside `path`, which they will be at with exactly `mode`.
    pub fn add(&mut self, path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
        let mut temp = Temp::beside(path)?;
        temp.write_all(bytes).map_err(|e| Error::io(format!("write {}", path.display()), &e))?;
        self.0.push((temp, path.to_owned(), mode));
        Ok(())
    }

    /// Puts all of them in place of what was there.
    ///
    /// # Errors
    /// When the disk fails. Those that have their name by then are whole, the others are as before.
    pub fn commit(mut self) -> Result<()> {
        for (temp, path, mode) in &mut self.0 {
            temp.settle(*mode).map_err(|e| Error::io(format!("write {}", path.display()), &e))?;
        }
        let mut folders: Vec<PathBuf> = Vec::new();
        for (temp, path, _) in self.0 {
            temp.rename(&path).map_err(|e| Error::io(format!("write {}", path.display()), &e))?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders.iter().try_for_each(|folder| sync_dir(folder))
    }
}
