//! Fault injection for tests: makes the n-th change of the disk under a folder fail, tears it in two, or ends the
//! process before it, as a SIGKILL or a power cut would.

mod cut;

use std::collections::BTreeMap;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::change::Change;
use cut::Unsettled;
pub(crate) use cut::{Bytes, Names};

/// The fault at the chosen change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The disk is full from then on: every change that needs space fails.
    NoSpace,
    /// Only this change fails with an input/output error.
    Io,
    /// The disk is broken: this change and all later ones fail with an input/output error.
    Broken,
    /// The process is killed.
    Kill,
    /// A write stores half of its bytes, then the process is killed. Other changes are not made.
    Torn,
    /// The process is killed, and unsynced data is lost.
    PowerCut(Names, Bytes),
}

/// The ways in which a process can end prematurely.
pub(crate) const ENDS: [(&str, Fault); 7] = [
    ("kill", Fault::Kill),
    ("torn", Fault::Torn),
    ("bytes-cut", Fault::PowerCut(Names::Kept, Bytes::Cut)),
    ("bytes-zeroed", Fault::PowerCut(Names::Kept, Bytes::Zeros)),
    ("names-lost", Fault::PowerCut(Names::Lost, Bytes::Cut)),
    ("some-names-lost", Fault::PowerCut(Names::Some(1), Bytes::Zeros)),
    ("other-names-lost", Fault::PowerCut(Names::Some(2), Bytes::Kept)),
];

struct Plan {
    left: u32,
    fault: Fault,
    met: bool,
    /// The kinds and paths of the changes so far.
    seen: Vec<(&'static str, PathBuf)>,
    unsettled: Unsettled,
}

static FAULTS: Mutex<BTreeMap<PathBuf, Plan>> = Mutex::new(BTreeMap::new());

fn faults() -> MutexGuard<'static, BTreeMap<PathBuf, Plan>> {
    FAULTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets `steps` changes under `root` pass; then `fault` applies until [`clear`].
pub(crate) fn after(root: &Path, steps: u32, fault: Fault) {
    let unsettled = Unsettled::new(&root.with_extension("lost"));
    faults().insert(root.to_owned(), Plan { left: steps, fault, met: false, seen: Vec::new(), unsettled });
}

/// Removes the fault under `root`. True if it was hit.
pub(crate) fn clear(root: &Path) -> bool {
    faults().remove(root).is_some_and(|plan| plan.met)
}

/// Records all changes under `root`: kinds, and paths below `root`.
pub(crate) fn trace<T>(root: &Path, work: impl FnOnce() -> T) -> (T, Vec<(&'static str, PathBuf)>) {
    after(root, u32::MAX, Fault::Io);
    let done = work();
    let seen = faults().remove(root).map(|plan| plan.seen).unwrap_or_default();
    (done, seen)
}

/// Called before each change.
pub(super) fn before(change: &Change<'_>) -> io::Result<()> {
    let (kind, path) = named(change);
    let mut faults = faults();
    let Some((root, plan)) = faults.iter_mut().find(|(root, _)| path.starts_with(root)) else { return Ok(()) };
    if plan.left > 0 {
        plan.left -= 1;
        plan.seen.push((kind, path.strip_prefix(root).unwrap_or(path).to_owned()));
        if matches!(plan.fault, Fault::PowerCut(..)) {
            plan.unsettled.before(change);
        }
        return Ok(());
    }
    match plan.fault {
        Fault::Io if std::mem::replace(&mut plan.met, true) => Ok(()),
        Fault::Io | Fault::Broken => {
            plan.met = true;
            Err(Errno::IO.into())
        }
        Fault::NoSpace if !needs_space(change) => Ok(()),
        Fault::NoSpace => {
            plan.met = true;
            Err(io::ErrorKind::StorageFull.into())
        }
        Fault::Kill => kill(),
        Fault::Torn => {
            tear(change);
            kill()
        }
        Fault::PowerCut(names, bytes) => {
            plan.unsettled.lose(names, bytes);
            kill()
        }
    }
}

/// Called after each change.
pub(super) fn after_change(change: &Change<'_>, made: bool) {
    let (_, path) = named(change);
    let mut faults = faults();
    let Some((_, plan)) = faults.iter_mut().find(|(root, _)| path.starts_with(root)) else { return };
    if matches!(plan.fault, Fault::PowerCut(..)) {
        if made { plan.unsettled.after(change) } else { plan.unsettled.failed() }
    }
}

fn kill() -> ! {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    unreachable!("SIGKILL cannot be survived")
}

/// True if a full disk refuses the change. Removing names and setting modes need no space.
fn needs_space(change: &Change<'_>) -> bool {
    use Change::{Mode, Remove, RemoveFolder, Resize, SyncFolder, Touch};
    !matches!(change, Mode(_) | Touch(_) | Remove(_) | RemoveFolder(_) | Resize { .. } | SyncFolder(_))
}

/// Makes the first half of a write.
fn tear(change: &Change<'_>) {
    match change {
        Change::Write { file, bytes, .. } => (&mut &**file).write_all(&bytes[..bytes.len() / 2]).unwrap(),
        Change::Copy { from, file, start, len, .. } => {
            let (mut from, mut file) = (*from, *file);
            from.seek(SeekFrom::Start(*start)).unwrap();
            file.seek(SeekFrom::Start(*start)).unwrap();
            io::copy(&mut from.take(len / 2), &mut file).unwrap();
        }
        _ => {}
    }
}

fn named<'a>(change: &Change<'a>) -> (&'static str, &'a Path) {
    match *change {
        Change::Create(path) => ("create", path),
        Change::Write { path, .. } => ("write", path),
        Change::Copy { path, .. } => ("copy", path),
        Change::Resize { path, .. } => ("resize", path),
        Change::Mode(path) => ("mode", path),
        Change::Touch(path) => ("touch", path),
        Change::Sync { path, .. } => ("sync", path),
        Change::SyncFolder(path) => ("sync folder", path),
        Change::Rename { to, .. } => ("rename", to),
        Change::Link { to } => ("link", to),
        Change::Remove(path) => ("remove", path),
        Change::MakeFolder(path) => ("make folder", path),
        Change::RemoveFolder(path) => ("remove folder", path),
    }
}
