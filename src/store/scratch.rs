//! Files and folders that work needs while it goes on, in the store's `tmp/`, on the disk where results will be.

use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::PoisonError;

use super::{Blob, Store, WORK, write};
use crate::error::{Error, Result};
use crate::fsx::{self, Persisted, Temp};
use crate::value::{Cancel, Hasher, Sha256};

/// Bytes that are hashed at a time.
const BUFFER: usize = 1 << 20;

impl Store {
    /// A new temporary file. Dropped, it is gone; what a dead process left is removed by the next one.
    pub fn scratch_file(&self) -> Result<Temp> {
        Temp::create(&self.tmp(), "scratch-".as_ref())
    }

    /// The folder for the work on the action `kind` with the key `key`, safe from other commands' cleaning as long as this
    /// store is open. Whoever holds the action's [`Store::plan_lock`] has it alone, and what is in it already was left by a
    /// dead process.
    pub fn work_folder(&self, kind: &str, key: &Sha256) -> Result<PathBuf> {
        let folder = self.tmp().join(format!("{WORK}{kind}-{key}"));
        let held = fsx::work_dir(&folder)?;
        self.work.lock().unwrap_or_else(PoisonError::into_inner).push(held);
        Ok(folder)
    }

    /// True as long as `folder` is the one that [`Store::work_folder`] gave, with the lock that keeps others out.
    pub fn works_in(&self, folder: &std::path::Path) -> bool {
        let held = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().any(|held| matches!(fsx::is_at(held, folder), Ok(true)))
    }

    /// Makes a finished temporary file a blob. It is read once more to be hashed: a writer that seeks cannot hash on
    /// the way.
    pub fn adopt(&self, mut temp: Temp, cancel: &Cancel) -> Result<Blob> {
        let failed = |e: &std::io::Error| Error::io("read a temporary file of the store", e);
        let (mut hasher, mut size, mut buffer) = (Hasher::new(), 0, vec![0; BUFFER]);
        temp.seek(SeekFrom::Start(0)).map_err(|e| failed(&e))?;
        loop {
            cancel.check()?;
            match temp.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(&buffer[..n]);
                    size += n as u64;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(failed(&e)),
            }
        }
        let blob = Blob { digest: hasher.finish(), size };
        if write::place(self, temp, blob)? == Persisted::Done {
            self.note_hashed(&blob.digest)?;
        }
        Ok(blob)
    }
}
