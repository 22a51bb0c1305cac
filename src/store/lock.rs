//! Waiting for other processes. Correctness never depends on it, except that nothing is removed from the store
//! while others read.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::{Access, FILE_MODE, Store};
use crate::error::{Error, Result};
use crate::fsx::{self, Links, Opened, change};
use crate::value::{Cancel, Sha256, quote};

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
        if fsx::odd_at(&path, Links::Refused).is_some() {
            fsx::clear(&path, None, &|path| fsx::odd_at(path, Links::Refused).is_some())?;
        }
        Ok(PlanLock { _file: acquire(&path, Access::Exclusive, cancel, on_wait)? })
    }
}

/// Locks the file at `path`, creating it. It stays for good: to remove a lock's file is to let two hold it. Where somebody has
/// removed it all the same, the next one is locked: a file without a name keeps nobody out.
pub(super) fn acquire(path: &Path, access: Access, cancel: &Cancel, on_wait: &dyn Fn()) -> Result<File> {
    loop {
        let file = acquire_once(path, access, cancel, on_wait)?;
        if fsx::is_at(&file, path).map_err(|e| Error::io(format!("look at {}", path.display()), &e))? {
            return Ok(file);
        }
    }
}

/// Opens the lock's file at `path`, which is made if it is not there.
fn open(path: &Path) -> Result<File> {
    if let Some(odd) = fsx::odd_at(path, Links::Refused) {
        let word = quote(&path.display().to_string());
        return Err(fsx::no_file(path, odd).hint(format!("remove it: rm -r {word}")));
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

/// Takes the lock at `path` beside other readers, if the file can be opened and its filesystem has locks: on what another
/// user looks after we may have to do without.
pub(super) fn acquire_to_read(path: &Path, cancel: &Cancel, on_wait: &dyn Fn()) -> Result<Option<File>> {
    let Ok(Opened::File(file, _)) = fsx::look(path, Links::Refused) else { return Ok(None) };
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
