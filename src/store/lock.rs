//! Waiting for other processes. Correctness never depends on it, except that nothing is removed from the store
//! while others read.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Access, FILE_MODE, Store};
use crate::error::{Error, Result};
use crate::fsx::{self, change};
use crate::value::{Cancel, Sha256};

/// Between two looks at a lock that another process has. Blocking in the kernel would not notice `cancel`.
const POLL: Duration = Duration::from_millis(50);

/// As long as it lives, no other process works on the same plan.
#[derive(Debug)]
pub struct PlanLock {
    _file: File,
}

impl Store {
    /// Waits until no other process works on the plan `key`, and keeps others from it. `on_wait` is called once when
    /// there is another: look again afterwards whether it has done the work.
    pub fn plan_lock(&self, key: &Sha256, cancel: &Cancel, on_wait: &dyn Fn()) -> Result<PlanLock> {
        let path = self.root().join("locks").join(key.to_string());
        Ok(PlanLock { _file: acquire(&path, Access::Exclusive, cancel, on_wait)? })
    }
}

/// Locks the file at `path`, creating it. It stays for good: to remove a lock's file is to let two hold it.
pub(super) fn acquire(path: &Path, access: Access, cancel: &Cancel, on_wait: &dyn Fn()) -> Result<File> {
    let file = change::create(OpenOptions::new().read(true).append(true).create(true).mode(FILE_MODE), path);
    let file = file.map_err(|e| Error::io(format!("open {}", path.display()), &e))?;
    let operation = match access {
        Access::Shared => FlockOperation::NonBlockingLockShared,
        Access::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    wait(&file, operation, cancel, on_wait)?.map_err(|e| {
        Error::io(format!("lock {}", path.display()), &e.into())
            .hint("a store needs a filesystem with locks: point $KBAKE_STORE at a local disk")
    })?;
    Ok(file)
}

/// Takes the lock at `path` beside other readers, if the file can be opened and its filesystem has locks: on what another
/// user looks after we may have to do without.
pub(super) fn acquire_to_read(path: &Path, cancel: &Cancel, on_wait: &dyn Fn()) -> Result<Option<File>> {
    let Ok(file) = fsx::open_read(path) else { return Ok(None) };
    Ok(wait(&file, FlockOperation::NonBlockingLockShared, cancel, on_wait)?.is_ok().then_some(file))
}

/// Waits for a lock until it is taken, or cannot be, or `cancel`.
fn wait(file: &File, operation: FlockOperation, cancel: &Cancel, on_wait: &dyn Fn()) -> Result<Result<(), Errno>> {
    let mut told = false;
    loop {
        cancel.check()?;
        match flock(file, operation) {
            Err(Errno::WOULDBLOCK) => {}
            Err(Errno::INTR) => continue,
            taken => return Ok(taken),
        }
        if !std::mem::replace(&mut told, true) {
            on_wait();
        }
        thread::sleep(POLL);
    }
}
