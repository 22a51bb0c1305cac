//! For tests: makes the n-th change of the disk under a folder fail, or end the process there.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What happens at the chosen step, and at all after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The disk is full.
    NoSpace,
    /// The process is killed, as by a power cut as far as its memory goes.
    Kill,
}

struct Plan {
    left: u32,
    fault: Fault,
    met: bool,
}

static FAULTS: Mutex<BTreeMap<PathBuf, Plan>> = Mutex::new(BTreeMap::new());

/// Lets `steps` changes under `root` happen; `fault` is the answer to the rest, until [`clear`].
pub(crate) fn after(root: &Path, steps: u32, fault: Fault) {
    FAULTS.lock().unwrap().insert(root.to_owned(), Plan { left: steps, fault, met: false });
}

/// The disk under `root` is well again. True when the fault was met.
pub(crate) fn clear(root: &Path) -> bool {
    FAULTS.lock().unwrap().remove(root).is_some_and(|plan| plan.met)
}

/// Called before each change of the disk.
pub(crate) fn step(path: &Path) -> io::Result<()> {
    let mut faults = FAULTS.lock().unwrap();
    let Some((_, plan)) = faults.iter_mut().find(|(root, _)| path.starts_with(root)) else { return Ok(()) };
    if plan.left > 0 {
        plan.left -= 1;
        return Ok(());
    }
    plan.met = true;
    match plan.fault {
        Fault::NoSpace => Err(io::ErrorKind::StorageFull.into()),
        Fault::Kill => {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            unreachable!("SIGKILL cannot be survived")
        }
    }
}
