//! The digests of the user's own large files: from the store's memory where a file has not changed, else by reading it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Bake;
use super::resolve::{Resolved, resolve_by};
use crate::error::Result;
use crate::fsx::{self, Stamp};
use crate::project::{Channel, Digests, Project};
use crate::store::Store;
use crate::value::{Cancel, RoleName, Sha256};

impl Bake<'_> {
    /// As [`super::resolve()`] for each of `roles`. But a file that is as it was when it was read last is not read again.
    pub fn resolve(&self, project: &Project, channel: &Channel, roles: &[RoleName]) -> Result<Vec<Resolved>> {
        self.recalling(|recall| roles.iter().map(|role| resolve_by(project, channel, role, recall)).collect())
    }

    /// As [`Bake::resolve`], for one.
    pub fn resolve_one(&self, project: &Project, channel: &Channel, role: &RoleName) -> Result<Resolved> {
        self.recalling(|recall| resolve_by(project, channel, role, recall))
    }

    fn recalling<T>(&self, work: impl FnOnce(&Recall) -> T) -> T {
        let recall = Recall { store: self.store, cancel: self.cancel, jobs: self.jobs, found: Mutex::default(), read: Mutex::default() };
        let done = work(&recall);
        // What cannot be remembered is read again, and nothing worse.
        let _ = self.store.put_settled_stamps(&recall.read.into_inner().unwrap_or_else(PoisonError::into_inner));
        done
    }
}

/// What one command knows of files.
struct Recall<'a> {
    store: &'a Store,
    cancel: &'a Cancel,
    /// How many files are read at once.
    jobs: usize,
    /// By the paths that were asked for. Each is looked at once, so that all roles have it alike.
    found: Mutex<BTreeMap<PathBuf, (Sha256, u64)>>,
    /// What had to be read: by which path without links it is, and as what.
    read: Mutex<Vec<(PathBuf, Stamp, Sha256)>>,
}

impl Digests for Recall<'_> {
    fn expect(&self, paths: &[PathBuf]) {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Whoever asks for it will be told what is wrong.
                let _ = self.of(path);
            }
        };
        let threads = self.jobs.min(paths.len());
        std::thread::scope(|scope| {
            (1..threads).for_each(|_| drop(scope.spawn(work)));
            work();
        });
    }

    fn of(&self, path: &Path) -> Result<Option<(Sha256, u64)>> {
        if let Some(found) = lock(&self.found).get(path) {
            return Ok(Some(*found));
        }
        let found = self.find(path)?;
        if let Some(found) = found {
            lock(&self.found).insert(path.to_owned(), found);
        }
        Ok(found)
    }
}

impl Recall<'_> {
    fn find(&self, path: &Path) -> Result<Option<(Sha256, u64)>> {
        // What is gone, or no file, has no memory.
        if Stamp::of(path)?.is_none() {
            return Ok(fsx::digest_until(path, self.cancel)?.map(|(digest, size, _)| (digest, size)));
        }
        // A store serves many folders, and a link may come to lead elsewhere.
        let path = fsx::canonical(path)?;
        if let Some(known) = self.store.known(&path)? {
            return Ok(Some(known));
        }
        let Some((digest, size, stamp)) = fsx::digest_until(&path, self.cancel)? else { return Ok(None) };
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
#[path = "tests/recall.rs"]
mod tests;
