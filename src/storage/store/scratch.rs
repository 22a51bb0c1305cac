//! Temporary files and folders in the store's `tmp/`, on the same disk as the results.

use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::PoisonError;

use super::{Blob, Store, WORK, write};
use crate::common::error::{Error, Result};
use crate::common::fsx::{self, Persisted, Temp};
use crate::common::value::{Cancel, Hasher, Sha256};

/// Buffer size in bytes.
const BUFFER: usize = 1 << 20;

impl Store {
    /// A new temporary file, removed when dropped. The next process removes those of a dead process.
    pub fn scratch_file(&self) -> Result<Temp> {
        Temp::create(&self.tmp(), "scratch-".as_ref())
    }

    /// The work folder of the action `kind` with the key `key`. Other commands do not clean it up while this store is open. The
    /// holder of the action's [`Store::plan_lock`] has exclusive use of it; existing content was left by a dead process.
    pub fn work_folder(&self, kind: &str, key: &Sha256) -> Result<PathBuf> {
        let folder = self.tmp().join(format!("{WORK}{kind}-{key}"));
        let held = fsx::work_dir(&folder)?;
        self.work.lock().unwrap_or_else(PoisonError::into_inner).push(held);
        Ok(folder)
    }

    /// True if `folder` is still the one that [`Store::work_folder`] returned, with this process's lock.
    pub fn works_in(&self, folder: &std::path::Path) -> bool {
        let held = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().any(|held| matches!(fsx::is_at(held, folder), Ok(true)))
    }

    /// Stores a finished temporary file as a blob. The file is read again to hash it, because writers that seek cannot hash
    /// while writing.
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
