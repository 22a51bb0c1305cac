//! The base system: locked Debian packages in, a normalised tree out.
//!
//! The packages' own maintainer scripts run, as Debian means them to, in a root that mmdebstrap sets up: itself a
//! locked package, run from its verified bytes. The host's apt and dpkg decide nothing: all packages are installed by the
//! root's own, locked dpkg. In that step nothing of the host can be reached but its tools and the packages, and no network
//! ([`sandbox`]); whatever two runs would not have in common is taken out ([`normalise`]). As root or unprivileged,
//! in any folder, locale, time zone and on any day the tree is the same.
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
pub mod sandbox;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

pub use facts::Fact;
pub use known::{answers_are_known, is_known, is_known_inside};
pub use normalise::{Filter, Rewritten, normalise};
pub use rules::own_to_one_machine;
pub use sandbox::Mode;

use self::packages::Steps;
use self::sandbox::HOST_PATH;
use crate::error::{Error, Result};
use crate::fsx::{self, change};
use crate::tree::{ContentSource, Layer, Tree};
use crate::unpack::{Policy, Sink, Verdict, deb, tar};
use crate::value::{Arch, Cancel, Epoch, Sha256, TreePath};

/// Changes whenever the same packages would give another tree for a reason that the scripts' digest does not show:
/// another rule of the normaliser, another option of mmdebstrap.
const FORMAT: u32 = 3;
/// The folder in the scratch folder that all is in.
const WORK: &str = "base";
/// The folder in that one that the packages are in.
const DEBS: &str = "debs";
/// Where the script lies in mmdebstrap's package.
const SCRIPT: &str = "usr/bin/mmdebstrap";
/// The script's size is 316 kB; a package with more than this in its place is another one.
const SCRIPT_MAX: u64 = 4 << 20;
/// See the file's own comments.
const SETUP: &str = include_str!("setup.sh");
/// See the file's own comments.
const INSTALL: &str = include_str!("install.sh");
/// See the file's own comments.
const COMPILE: &str = include_str!("compile.py");
/// See the file's own comments. It decides no byte of the outcome.
const UNSYNCED: &str = include_str!("unsynced.pl");
/// The mount point of [`WORK`] in the sandbox: read-only but for the two below, so that nobody inside decides where kbake writes.
const INSIDE: &str = "kbake";
/// The folders in [`WORK`] that the scripts may write to.
const FOLDERS: [&str; 2] = ["home", "tmp"];
/// The file in it that they write.
const AUDIT: &str = "audit";
/// How many times as large as the locked packages their contents are, rounded down: 3.4 for a system with a kernel.
const UNPACKED: u64 = 3;
/// What the script waits for: a file that says whether all packages lie ready.
const READY: &str = "ready";
/// What that file says, and the names under which both answers wait.
const YES: &str = "yes";
const NO: &str = "no";

/// One locked package, verified before or not: its bytes are hashed again when they are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deb {
    /// Its name.
    pub name: String,
    /// Its full version.
    pub version: String,
    /// `amd64` or `all`.
    pub arch: String,
    /// Where its bytes are.
    pub path: PathBuf,
    /// Their digest.
    pub digest: Sha256,
    /// Their number.
    pub size: u64,
}

/// All that decides a base.
#[derive(Clone)]
pub struct Spec<'a> {
    /// A base that was made before, with its contents: the packages are installed on top of it.
    pub ground: Option<Ground<'a>>,
    /// The packages: with those of the ground, closed under their dependencies. Their order does not matter.
    pub debs: Vec<Deb>,
    /// The package of mmdebstrap. It is run, not installed.
    pub mmdebstrap: Deb,
    /// Paths that are taken out of the installed tree before the initramfs is made, with all below.
    pub cleared: Vec<TreePath>,
    /// The latest time in the tree.
    pub epoch: Epoch,
    /// What it runs on.
    pub arch: Arch,
}

/// A base and its contents.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// As [`build`] gave it.
    pub tree: &'a Tree,
    /// What it names.
    pub source: &'a dyn ContentSource,
}

/// A base as it was installed.
pub struct Installed {
    /// The normalised tree.
    pub tree: Tree,
    /// The digests of the files that the packages themselves ship. What is in the tree beside them was made by
    /// installation, or is the ground's.
    pub shipped: BTreeSet<Sha256>,
}

/// Whether a base can be made on this host, and how.
///
/// # Errors
/// All that is missing, at once, with the packages that have it.
pub fn host_check(arch: Arch) -> Result<Mode> {
    host::check(arch)
}

/// Checks that a base can be made in `folder`, which a store is in.
///
/// # Errors
/// A filesystem from which no program can be run.
pub fn folder_check(folder: &Path) -> Result<()> {
    host::check_folder(folder)
}

/// The bytes that an installation needs at least while it goes on, of packages that have `packed` bytes as they are locked:
/// their contents twice, once in the installed root and once on the way into the store.
pub fn room(packed: u64) -> u64 {
    packed.saturating_mul(UNPACKED).saturating_mul(2)
}

/// Facts of this host's own that a script could have written into a base. `scratch` is as for [`build`].
///
/// # Errors
/// A folder that cannot be written to.
pub fn host_facts(scratch: &Path) -> Result<Vec<Fact>> {
    let probe = scratch.join("clock");
    let now = time_of(&probe);
    fsx::remove_file(&probe)?;
    Ok(facts::of_host(Epoch::from_seconds(now?).map_err(Error::user)?))
}

/// What stands in a plan for all that this module does: another word whenever other bytes may come of the same packages.
pub fn format() -> String {
    format!("{FORMAT} {}", Sha256::of(format!("{SETUP}\0{INSTALL}\0{COMPILE}")))
}

/// Installs the packages and gives the normalised base; the contents of its files go to `sink`.
///
/// `scratch` is a folder that only the caller can write to and no other build uses, with room for all that is in the
/// packages twice; it is empty again afterwards, whatever the outcome ([`clean`] does it after a SIGKILL).
///
/// # Errors
/// A package that is not what its digest says, or not the one that was locked; a set that is no base system; the
/// failure of mmdebstrap with its last lines; an interruption.
pub fn build(spec: &Spec<'_>, how: &How<'_>, scratch: &Path, sink: &mut dyn Sink) -> Result<Installed> {
    clean(how.mode, scratch)?;
    let made = make(spec, how, &scratch.join(WORK), sink);
    let removed = clean(how.mode, scratch);
    let installed = made?;
    removed?;
    Ok(installed)
}

/// What decides nothing of the outcome.
pub struct How<'a> {
    /// Who makes the tree.
    pub mode: Mode,
    /// How many threads unpack.
    pub jobs: usize,
    /// Is called with short lines, also from another thread.
    pub event: &'a (dyn Fn(&str) + Sync),
    /// Whether to stop.
    pub cancel: &'a Cancel,
}

/// Removes what a build that was killed has left in `scratch`: an unprivileged caller's own `rm` cannot, for it holds
/// folders of subordinate ids.
pub fn clean(mode: Mode, scratch: &Path) -> Result<()> {
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
        let tree = sandbox::run_fed(command, "mmdebstrap", feed, &line, how.cancel, |out| tar::read(out, &policy, &mut filter));
        (unpacking.join().unwrap_or_else(|_| Err(Error::internal("a thread that unpacks packages panicked"))), tree)
    });
    // The scripts end when unpacking fails: that is the cause, then.
    shipped.extend(unpacked?);
    let mut tree = tree?;
    normalise(&mut tree, spec.epoch, filter.finish(), &spec.cleared)?;
    Ok(Installed { tree, shipped })
}

/// Fills `work` with all that the scripts look for there, but for the packages that are installed later: these are given back,
/// with the digests of what the others ship.
fn prepare<'a>(spec: &'a Spec<'_>, how: &How<'_>, work: &Path) -> Result<(Vec<&'a Deb>, BTreeSet<Sha256>)> {
    for folder in ["", DEBS] {
        make_folder(&work.join(folder), 0o755)?;
    }
    for folder in FOLDERS {
        // For nobody else on the host: a script can put programs there that run with the rights of their owner.
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
        // The host's apt is only asked for its version and its default path: with no settings of the host's.
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
        // Three digits: the script takes the steps in the order of their names.
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

/// Unpacks what the scripts need later, and tells them how that ended, whatever happens: they wait for it.
fn unpack_rest(later: &[&Deb], how: &How<'_>, work: &Path) -> Result<BTreeSet<Sha256>> {
    let unpack = || debs::unpack(later, &work.join(DEBS), how.jobs, how.cancel);
    let unpacked =
        catch_unwind(AssertUnwindSafe(unpack)).unwrap_or_else(|_| Err(Error::internal("a thread that unpacks packages panicked")));
    // Both words lie there since the beginning: on a full disk none could be written any more, and the scripts would wait.
    let (word, told) = (work.join(if unpacked.is_ok() { YES } else { NO }), work.join(READY));
    change::rename(&word, &told).map_err(|e| Error::io(format_args!("create {}", told.display()), &e))?;
    unpacked
}

/// The parts of the work folder that are in the sandbox.
fn shares(work: &Path) -> Vec<sandbox::Share> {
    let change = |name: &str| sandbox::Share::change(work.join(name), format!("{INSIDE}/{name}"));
    std::iter::once(sandbox::Share::read(work, INSIDE)).chain(FOLDERS.into_iter().chain([AUDIT]).map(change)).collect()
}

/// mmdebstrap, with fixed surroundings.
fn command(spec: &Spec<'_>, mode: Mode, work: &Path) -> std::process::Command {
    let inside = Path::new("/").join(INSIDE);
    let mut command = sandbox::command(mode, HOST_PATH, &shares(work), &["perl"]);
    command.arg(inside.join("unsynced.pl")).arg("perl").arg(inside.join("mmdebstrap"));
    // The scripts do what mmdebstrap would do with the host's apt: variant `custom` leaves it to them.
    command.args(["--mode=root", "--variant=custom", "--format=tar", &format!("--architectures={}", spec.arch)]);
    // No /sys: what the host's devices are is no package's business.
    command.arg("--skip=update,cleanup/apt,check/qemu,output/dev,chroot/mount/sys");
    // Its socket is for hooks that talk to it. A process that a script leaves behind would keep it open, and mmdebstrap waiting.
    let alone = "eval \"exec $MMDEBSTRAP_HOOKSOCK>&-\"; ";
    command.arg(format!("--setup-hook={alone}. \"$KBAKE_SCRATCH/setup.sh\""));
    command.arg(format!("--extract-hook={alone}. \"$KBAKE_SCRATCH/install.sh\""));
    // No suite, the tar to standard output, no package source.
    command.args(["", "-", ""]);
    command.env("KBAKE_SCRATCH", &inside).env("SOURCE_DATE_EPOCH", spec.epoch.to_string());
    command.env("HOME", inside.join("home")).env("TMPDIR", inside.join("tmp")).env("APT_CONFIG", inside.join("apt.conf"));
    command
}

/// What is made in the run gets the host's time, and only what is later than the epoch is set back to it.
fn check_clock(work: &Path, epoch: Epoch) -> Result<()> {
    let now = time_of(&work.join("clock"))?;
    if now >= i64::from(epoch.seconds()) {
        return Ok(());
    }
    Err(Error::user("this host's clock is behind the epoch of the build")
        .detail(format!("clock {now}, epoch {epoch} (seconds since 1970)"))
        .hint("set the clock, or choose an epoch that has passed"))
}

/// The host's time, which a new file at `probe` gets.
fn time_of(probe: &Path) -> Result<i64> {
    write(probe, b"")?;
    Ok(fs::metadata(probe).map_err(|e| Error::io(format_args!("look at {}", probe.display()), &e))?.mtime())
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

/// Makes few and readable lines of what the programs say.
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
