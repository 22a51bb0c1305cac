//! The base system: locked Debian packages in, a normalised tree out.
//!
//! The packages' own maintainer scripts run, as Debian intends, in a root that mmdebstrap sets up: itself a locked package, run
//! from its verified bytes. The host's apt and dpkg decide nothing: all packages are installed by the root's own, locked dpkg.
//! In that step only the host's tools and the packages can be reached, and no network ([`sandbox`]); everything that may differ
//! between two runs is removed ([`normalise`]). As root or unprivileged, in any folder, locale, time zone and on any day the
//! tree is the same.
//!
//! This module drives a foreign program, so it uses `std::fs` and `std::process` itself; all paths are in the errors.

mod debs;
mod facts;
mod ground;
mod host;
mod known;
mod normalise;
mod packages;
mod rules;
pub(crate) mod sandbox;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) use facts::Fact;
pub(crate) use known::{answers_are_known, is_known, is_known_inside};
pub(crate) use normalise::{Filter, normalise};
pub(crate) use sandbox::Mode;

use self::packages::Steps;
use self::sandbox::HOST_PATH;
use crate::common::error::{Error, Result};
use crate::common::fsx::{self, change};
use crate::common::tree::{ContentSource, Layer, Tree};
use crate::common::value::{Arch, Cancel, Epoch, Sha256, TreePath};
use crate::formats::archive::{Policy, Sink, Verdict, deb, tar};

/// The version of this step. Raise it whenever the same packages would give another tree for a reason that is not in the digest
/// of the scripts: another rule of the normaliser, another option of mmdebstrap.
const FORMAT: u32 = 3;
/// The work folder in the scratch folder.
const WORK: &str = "base";
/// The folder of the packages in the work folder.
const DEBS: &str = "debs";
/// The path of the script in mmdebstrap's package.
const SCRIPT: &str = "usr/bin/mmdebstrap";
/// The maximum size of the script, which has 316 kB; a larger one is not mmdebstrap.
const SCRIPT_MAX: u64 = 4 << 20;
/// See the file's own comments.
const SETUP: &str = include_str!("setup.sh");
/// See the file's own comments.
const INSTALL: &str = include_str!("install.sh");
/// See the file's own comments.
const COMPILE: &str = include_str!("compile.py");
/// See the file's own comments. It does not affect the result.
const UNSYNCED: &str = include_str!("unsynced.pl");
/// The mount point of [`WORK`] in the sandbox: read-only except for [`FOLDERS`], so that nobody inside decides where kbake
/// writes.
const INSIDE: &str = "kbake";
/// The folders in [`WORK`] that the scripts may write to.
const FOLDERS: [&str; 2] = ["home", "tmp"];
/// The file in the work folder that the scripts write.
const AUDIT: &str = "audit";
/// The ratio of the packages' contents to their compressed size, rounded down: 3.4 for a system with a kernel.
const UNPACKED: u64 = 3;
/// The file that the scripts wait for. It states whether all packages are unpacked.
const READY: &str = "ready";
/// The words in that file, which are also the names under which both answers are prepared.
const YES: &str = "yes";
const NO: &str = "no";

/// One locked package. Its bytes are hashed again when they are read, whether they were verified before or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deb {
    /// Its name.
    pub name: String,
    /// Its full version.
    pub version: String,
    /// `amd64` or `all`.
    pub arch: String,
    /// The path of its bytes.
    pub path: PathBuf,
    /// Their digest.
    pub digest: Sha256,
    /// Their number.
    pub size: u64,
}

/// Everything that decides a base.
#[derive(Clone)]
pub(crate) struct Spec<'a> {
    /// A base made earlier, with its contents: the packages are installed on top of it.
    pub ground: Option<Ground<'a>>,
    /// The packages: together with the ground's, closed under their dependencies. Their order does not matter.
    pub debs: Vec<Deb>,
    /// The package of mmdebstrap. It is run, not installed.
    pub mmdebstrap: Deb,
    /// Paths that are removed from the installed tree, with everything below, before the initramfs is made.
    pub cleared: Vec<TreePath>,
    /// The latest time stamp in the tree.
    pub epoch: Epoch,
    /// Its architecture.
    pub arch: Arch,
}

/// A base and its contents.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    /// The tree, as returned by [`build`].
    pub tree: &'a Tree,
    /// The contents of its files.
    pub source: &'a dyn ContentSource,
}

/// A base as it was installed.
pub(crate) struct Installed {
    /// The normalised tree.
    pub tree: Tree,
    /// The digests of the files that the packages themselves ship. All other files in the tree were created by installation, or
    /// are the ground's.
    pub shipped: BTreeSet<Sha256>,
}

/// Checks whether a base can be made on this host, and in which mode.
///
/// # Errors
/// All missing requirements at once, with their packages.
pub(crate) fn host_check(arch: Arch) -> Result<Mode> {
    host::check(arch)
}

/// Checks that a base can be made in `folder`, which contains a store.
///
/// # Errors
/// A filesystem that does not allow programs to run.
pub(crate) fn folder_check(folder: &Path) -> Result<()> {
    host::check_folder(folder)
}

/// The free space that an installation needs at least, in bytes, for packages of `packed` bytes as they are locked: their
/// contents twice, once in the installed root and once on the way into the store.
pub(crate) fn room(packed: u64) -> u64 {
    packed.saturating_mul(UNPACKED).saturating_mul(2)
}

/// Facts about this host that a script could have written into a base. `scratch` is as for [`build`].
///
/// # Errors
/// A folder that cannot be written to.
pub(crate) fn host_facts(scratch: &Path) -> Result<Vec<Fact>> {
    let probe = scratch.join("clock");
    let now = time_of(&probe);
    fsx::remove_file(&probe)?;
    Ok(facts::of_host(Epoch::from_seconds(now?).map_err(Error::user)?))
}

/// The version of this step's code in a plan: it changes whenever the same packages may give other bytes.
pub(crate) fn format() -> String {
    format!("{FORMAT} {}", Sha256::of(format!("{SETUP}\0{INSTALL}\0{COMPILE}")))
}

/// Installs the packages and returns the normalised base; the contents of its files go to `sink`.
///
/// `scratch` is a folder that only the caller can write to and no other build uses, with free space for the contents of all
/// packages twice; it is empty again afterwards, whatever the outcome ([`clean`] does it after a SIGKILL).
///
/// # Errors
/// A package with other bytes than its digest, or with another name or version than locked; a set that is not a base system; a
/// failure of mmdebstrap with its last lines; an interruption.
pub(crate) fn build(spec: &Spec<'_>, how: &How<'_>, scratch: &Path, sink: &mut dyn Sink) -> Result<Installed> {
    clean(how.mode, scratch)?;
    let made = make(spec, how, &scratch.join(WORK), sink);
    let removed = clean(how.mode, scratch);
    let installed = made?;
    removed?;
    Ok(installed)
}

/// Options that do not affect the result.
pub(crate) struct How<'a> {
    /// The mode of the sandbox.
    pub mode: Mode,
    /// The number of threads that unpack.
    pub jobs: usize,
    /// The sink for progress in short lines; also called from other threads.
    pub event: &'a (dyn Fn(&str) + Sync),
    /// The cancellation flag.
    pub cancel: &'a Cancel,
}

/// Removes the leftovers of a killed build in `scratch`: an unprivileged caller's own `rm` cannot, since they contain folders
/// of subordinate ids.
pub(crate) fn clean(mode: Mode, scratch: &Path) -> Result<()> {
    sandbox::remove(mode, HOST_PATH, &scratch.join(WORK))
}

fn make(spec: &Spec<'_>, how: &How<'_>, work: &Path, sink: &mut dyn Sink) -> Result<Installed> {
    (how.event)("checking the packages");
    let (later, mut shipped) = prepare(spec, how, work)?;
    let mut filter = Filter::new(sink, spec.epoch, &spec.cleared);
    let policy = Policy { devices: Verdict::Refuse, ..Policy::system("the installed base", Layer::Base) };
    let progress = Progress { total: spec.debs.len(), configured: AtomicUsize::new(0), event: how.event };
    let command = command(spec, how.mode, work);
    let (unpacked, tree) = std::thread::scope(|scope| {
        let unpacking = scope.spawn(|| unpack_rest(&later, how, work));
        let lay_out = spec.ground.map(|ground| move |out: &mut dyn Write| ground::write(ground.tree, ground.source, out));
        let feed = lay_out.as_ref().map(|feed| feed as sandbox::Feed<'_>);
        let line = |line: &str| progress.line(line);
        let tree = sandbox::run(command, "mmdebstrap", feed, &line, how.cancel, |out| tar::read(out, &policy, &mut filter));
        (unpacking.join().unwrap_or_else(|_| Err(Error::internal("a thread that unpacks packages panicked"))), tree)
    });
    // The scripts end when unpacking fails: then that is the cause.
    shipped.extend(unpacked?);
    let mut tree = tree?;
    normalise(&mut tree, spec.epoch, filter.finish(), &spec.cleared)?;
    Ok(Installed { tree, shipped })
}

/// Fills `work` with everything that the scripts expect there, except for the packages that are installed later: these are
/// returned, with the digests of the files that the others ship.
fn prepare<'a>(spec: &'a Spec<'_>, how: &How<'_>, work: &Path) -> Result<(Vec<&'a Deb>, BTreeSet<Sha256>)> {
    for folder in ["", DEBS] {
        make_folder(&work.join(folder), 0o755)?;
    }
    for folder in FOLDERS {
        // Closed to everybody else on the host: a script can put programs there that run with the rights of their owner.
        make_folder(&work.join(folder), 0o700)?;
    }
    write(&work.join(AUDIT), b"")?;
    check_clock(work, spec.epoch)?;
    for word in [YES, NO] {
        write(&work.join(word), word.as_bytes())?;
    }
    let all: Vec<&Deb> = spec.debs.iter().collect();
    let mut packages = BTreeMap::new();
    for package in debs::describe(&all, how.jobs, how.cancel)? {
        let name = package.name.clone();
        if packages.insert(name.clone(), package).is_some() {
            return Err(Error::user(format!("the base names the package `{name}` twice")));
        }
    }
    let Steps { essential, rest } = match spec.ground {
        None => packages::steps(&packages)?,
        Some(_) => packages::further(&packages),
    };
    let list = |names: &[String]| names.iter().map(|name| format!("{name}\n")).collect::<String>();
    for (name, text) in [
        ("essential", list(&essential)),
        ("setup.sh", SETUP.to_owned()),
        ("install.sh", INSTALL.to_owned()),
        ("compile.py", COMPILE.to_owned()),
        ("unsynced.pl", UNSYNCED.to_owned()),
        ("own", rules::own_to_one_machine().map(|pattern| format!("{pattern}\n")).collect()),
        // The host's apt is only asked for its version and its default path: without any settings of the host's.
        ("apt.conf", "Dir::Etc::main \"/dev/null\";\nDir::Etc::parts \"/dev/null\";\n".to_owned()),
    ] {
        write(&work.join(name), text.as_bytes())?;
    }
    let cleared: Vec<u8> = spec.cleared.iter().flat_map(|path| [path.as_bytes(), b"\0"].concat()).collect();
    write(&work.join("cleared"), &cleared)?;
    if spec.ground.is_some() {
        write(&work.join("ground"), b"")?;
    }
    for (n, names) in rest.iter().enumerate() {
        // Three digits: the script runs the steps in the order of their names.
        write(&work.join(format!("rest.{n:03}")), list(names).as_bytes())?;
    }
    let policy = Policy::package(format!("mmdebstrap {}", spec.mmdebstrap.version), Layer::Base);
    let script = TreePath::fixed(SCRIPT);
    let found =
        debs::verified(&spec.mmdebstrap, how.cancel, |bytes| deb::members(bytes, std::slice::from_ref(&script), SCRIPT_MAX, &policy))?;
    write(&work.join("mmdebstrap"), &found[&script])?;
    let (first, later): (Vec<&Deb>, Vec<&Deb>) = all.into_iter().partition(|deb| essential.contains(&deb.name));
    let shipped = debs::unpack(&first, &work.join(DEBS), how.jobs, how.cancel)?;
    Ok((later, shipped))
}

/// Unpacks the packages that the scripts need later, and reports the outcome to them in every case: they wait for it.
fn unpack_rest(later: &[&Deb], how: &How<'_>, work: &Path) -> Result<BTreeSet<Sha256>> {
    let unpack = || debs::unpack(later, &work.join(DEBS), how.jobs, how.cancel);
    let unpacked =
        catch_unwind(AssertUnwindSafe(unpack)).unwrap_or_else(|_| Err(Error::internal("a thread that unpacks packages panicked")));
    // Both words are prepared in advance: on a full disk none could be written any more, and the scripts would wait forever.
    let (word, told) = (work.join(if unpacked.is_ok() { YES } else { NO }), work.join(READY));
    change::rename(&word, &told).map_err(|e| Error::io(format_args!("create {}", told.display()), &e))?;
    unpacked
}

/// The parts of the work folder that the sandbox has.
fn shares(work: &Path) -> Vec<sandbox::Share> {
    let change = |name: &str| sandbox::Share::change(work.join(name), format!("{INSIDE}/{name}"));
    std::iter::once(sandbox::Share::read(work, INSIDE)).chain(FOLDERS.into_iter().chain([AUDIT]).map(change)).collect()
}

/// The command of mmdebstrap, in a fixed environment.
fn command(spec: &Spec<'_>, mode: Mode, work: &Path) -> std::process::Command {
    let inside = Path::new("/").join(INSIDE);
    let mut command = sandbox::command(mode, HOST_PATH, &shares(work), &["perl"]);
    command.arg(inside.join("unsynced.pl")).arg("perl").arg(inside.join("mmdebstrap"));
    // The scripts do what mmdebstrap would do with the host's apt: variant `custom` leaves it to them.
    command.args(["--mode=root", "--variant=custom", "--format=tar", &format!("--architectures={}", spec.arch)]);
    // No /sys: packages must not see the host's devices.
    command.arg("--skip=update,cleanup/apt,check/qemu,output/dev,chroot/mount/sys");
    // Its socket is for hooks that talk to it. A process that a script leaves behind would keep it open, and mmdebstrap
    // waiting.
    let alone = "eval \"exec $MMDEBSTRAP_HOOKSOCK>&-\"; ";
    command.arg(format!("--setup-hook={alone}. \"$KBAKE_SCRATCH/setup.sh\""));
    command.arg(format!("--extract-hook={alone}. \"$KBAKE_SCRATCH/install.sh\""));
    // No suite, the tar to standard output, no package source.
    command.args(["", "-", ""]);
    command.env("KBAKE_SCRATCH", &inside).env("SOURCE_DATE_EPOCH", spec.epoch.to_string());
    command.env("HOME", inside.join("home")).env("TMPDIR", inside.join("tmp")).env("APT_CONFIG", inside.join("apt.conf"));
    command
}

/// Refuses a host clock before the epoch: new files get the host's time, and only later times are set back to the epoch.
fn check_clock(work: &Path, epoch: Epoch) -> Result<()> {
    let now = time_of(&work.join("clock"))?;
    if now >= i64::from(epoch.seconds()) {
        return Ok(());
    }
    Err(Error::user("this host's clock is behind the epoch of the build")
        .detail(format!("clock {now}, epoch {epoch} (seconds since 1970)"))
        .hint("set the clock, or choose an epoch that has passed"))
}

/// The host's time, taken from a new file at `probe`.
fn time_of(probe: &Path) -> Result<i64> {
    write(probe, b"")?;
    Ok(fs::metadata(probe).map_err(|e| Error::io(format_args!("stat {}", probe.display()), &e))?.mtime())
}

fn make_folder(path: &Path, mode: u32) -> Result<()> {
    change::make_folder(path, mode).map_err(|e| Error::io(format_args!("create {}", path.display()), &e))
}

fn open(path: &Path) -> Result<File> {
    fsx::open_read(path)
}

fn create(path: &Path) -> Result<File> {
    change::create(fs::OpenOptions::new().write(true).create_new(true).mode(0o644), path)
        .map_err(|e| Error::io(format_args!("create {}", path.display()), &e))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    change::write_all(&create(path)?, path, bytes).map_err(|e| Error::io(format_args!("write {}", path.display()), &e))
}

/// Condenses the programs' output to few and readable lines.
struct Progress<'a> {
    total: usize,
    configured: AtomicUsize,
    event: &'a (dyn Fn(&str) + Sync),
}

impl Progress<'_> {
    fn line(&self, line: &str) {
        if let Some(step) = line.strip_prefix("kbake: ") {
            (self.event)(step);
        } else if line.starts_with("Setting up ") {
            let before = self.configured.fetch_add(1, Ordering::Relaxed);
            let quarter = |count: usize| count * 4 / self.total.max(1);
            if quarter(before + 1) > quarter(before) {
                (self.event)(&format!("configured {} of {} packages", before + 1, self.total));
            }
        }
    }
}
