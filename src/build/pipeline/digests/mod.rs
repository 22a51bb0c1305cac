//! The digests of the user's own large files: from the store's digest cache if a file has not changed, else by reading it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::resolve::{Resolved, resolve_by};
use crate::build::Bake;
use crate::common::error::Result;
use crate::common::fsx::{self, Stamp};
use crate::common::value::{Cancel, RoleName, Sha256};
use crate::spec::project::{Channel, Digests, OwnPath, Project};
use crate::storage::store::Store;

impl Bake<'_> {
    /// [`super::resolve()`] for each of `roles`, without reading again a file that has not changed since it was last read.
    pub fn resolve(&self, project: &Project, channel: &Channel, roles: &[RoleName]) -> Result<Vec<Resolved>> {
        self.with_cache(|digests| roles.iter().map(|role| resolve_by(project, channel, role, digests)).collect())
    }

    /// [`Bake::resolve`] for one role.
    pub fn resolve_one(&self, project: &Project, channel: &Channel, role: &RoleName) -> Result<Resolved> {
        self.with_cache(|digests| resolve_by(project, channel, role, digests))
    }

    fn with_cache<T>(&self, work: impl FnOnce(&FileDigests) -> T) -> T {
        let digests =
            FileDigests { store: self.store, cancel: self.cancel, jobs: self.jobs, found: Mutex::default(), read: Mutex::default() };
        let done = work(&digests);
        // Best effort: a digest that is not cached is computed again next time.
        let _ = self.store.put_settled_stamps(&digests.read.into_inner().unwrap_or_else(PoisonError::into_inner));
        done
    }
}

/// The file digests that one command knows.
struct FileDigests<'a> {
    store: &'a Store,
    cancel: &'a Cancel,
    /// The number of files that are read at once.
    jobs: usize,
    /// Digests by the paths that were asked for. Each file is checked once, so that all roles see the same state.
    found: Mutex<BTreeMap<PathBuf, (Sha256, u64)>>,
    /// Files that had to be read: canonical path, and the state to record.
    read: Mutex<Vec<(PathBuf, Stamp, Sha256)>>,
}

impl Digests for FileDigests<'_> {
    fn expect(&self, paths: &[OwnPath]) {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Ignored here: the caller that asks for the file reports the error.
                let _ = self.of(path);
            }
        };
        let threads = self.jobs.min(paths.len());
        std::thread::scope(|scope| {
            (1..threads).for_each(|_| drop(scope.spawn(work)));
            work();
        });
    }

    fn of(&self, file: &OwnPath) -> Result<Option<(Sha256, u64)>> {
        let path = file.path();
        if let Some(found) = lock(&self.found).get(&path) {
            return Ok(Some(*found));
        }
        let found = self.find(file)?;
        if let Some(found) = found {
            lock(&self.found).insert(path, found);
        }
        Ok(found)
    }
}

impl FileDigests<'_> {
    fn find(&self, file: &OwnPath) -> Result<Option<(Sha256, u64)>> {
        let Some(open) = file.open()? else { return Ok(None) };
        // The cache has canonical paths: a store serves many folders, and a link may change its target.
        let path = fsx::canonical(&file.path())?;
        if let Some(known) = self.store.known(&path)? {
            return Ok(Some(known));
        }
        let (digest, size, stamp) = fsx::digest_of_open(&open, &path, self.cancel)?;
        if stamp.size == size {
            lock(&self.read).push((path, stamp, digest));
        }
        Ok(Some((digest, size)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
