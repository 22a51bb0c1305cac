//! Locks between processes. Correctness depends on them in one point only: nothing is removed from the store while others
//! read.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::{Access, FILE_MODE, Store};
use crate::common::error::{Error, Result};
use crate::common::fsx::{self, Links, Opened, change};
use crate::common::value::{Cancel, Sha256, quote};

/// Poll interval for a lock that another process holds. Blocking in the kernel would not notice `cancel`.
const POLL: Duration = Duration::from_millis(50);

/// Exclusive lock on a plan, held until it is dropped.
#[derive(Debug)]
pub struct PlanLock {
    _file: File,
}

impl Store {
    /// Takes the lock on the plan `key`, waiting for other processes. `on_wait` is called once before waiting; the caller
    /// must then look again whether the other process has done the work.
    pub fn plan_lock(&self, key: &Sha256, cancel: &Cancel, on_wait: &dyn Fn()) -> Result<PlanLock> {
        let path = self.root().join("locks").join(key.to_string());
        if fsx::special_at(&path, Links::Refused).is_some() {
            fsx::clear(&path, None, &|path| fsx::special_at(path, Links::Refused).is_some())?;
        }
        Ok(PlanLock { _file: acquire(&path, Access::Exclusive, cancel, on_wait)? })
    }
}

/// Locks the file at `path`, creating it. Lock files are never removed, because then two processes could hold one lock. If the
/// file was removed by someone else, the new file is locked instead: an unlinked file excludes nobody.
pub(super) fn acquire(path: &Path, access: Access, cancel: &Cancel, on_wait: &dyn Fn()) -> Result<File> {
    loop {
        let file = acquire_once(path, access, cancel, on_wait)?;
        if fsx::is_at(&file, path).map_err(|e| Error::io(format!("stat {}", path.display()), &e))? {
            return Ok(file);
        }
    }
}

/// Opens the lock file at `path`, creating it if needed.
fn open(path: &Path) -> Result<File> {
    if let Some(odd) = fsx::special_at(path, Links::Refused) {
        let word = quote(&path.display().to_string());
        return Err(fsx::not_a_file(path, odd).hint(format!("remove it: rm -r {word}")));
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let file = change::create(OpenOptions::new().read(true).append(true).create(true).mode(FILE_MODE).custom_flags(flags), path);
    file.map_err(|e| Error::io(format!("open {}", path.display()), &e))
}

fn acquire_once(path: &Path, access: Access, cancel: &Cancel, on_wait: &dyn Fn()) -> Result<File> {
    let file = open(path)?;
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

/// Takes a shared lock at `path`, if the file can be opened and its filesystem has locks. Another user's store may allow
/// neither.
pub(super) fn acquire_to_read(path: &Path, cancel: &Cancel, on_wait: &dyn Fn()) -> Result<Option<File>> {
    let Ok(Opened::File(file, _)) = fsx::open_regular(path, Links::Refused) else { return Ok(None) };
    Ok(wait(&file, FlockOperation::NonBlockingLockShared, cancel, on_wait)?.is_ok().then_some(file))
}

/// Waits until the lock is taken, fails, or `cancel` is set.
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
