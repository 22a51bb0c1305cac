//! The base system: locked Debian packages in, a normalised tree out.
//!
//! The packages' own maintainer scripts run, as Debian means them to, in a root that mmdebstrap sets up: itself a
//! locked package, run from its verified bytes. The host's apt and dpkg decide nothing: the essential packages are
//! installed by the root's own dpkg, the others by its own apt, both locked. There is no network in that step
//! ([`sandbox`]), and whatever two runs would not have in common is taken out ([`normalise`]). As root or unprivileged,
//! in any folder, locale, time zone and on any day the tree is the same.
//!
//! This module drives a foreign program, so it uses `std::fs` and `std::process` itself; all paths are in the errors.

mod host;
mod normalise;
mod packages;
mod rules;
pub mod sandbox;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

pub use normalise::{Filter, Rewritten, normalise};
pub use sandbox::Mode;

use self::packages::{Package, Steps};
use self::sandbox::HOST_PATH;
use crate::error::{Error, Result};
use crate::fsx::change;
use crate::tree::{Layer, Tree};
use crate::unpack::{Policy, Sink, Verdict, deb, tar};
use crate::value::{Arch, Cancel, Epoch, Hasher, Sha256, TreePath};

/// Changes whenever the same packages would give another tree for a reason that the scripts' digest does not show:
/// another rule of the normaliser, another option of mmdebstrap.
const FORMAT: u32 = 1;
/// The folder in the scratch folder that all is in.
const WORK: &str = "base";
/// Where the script lies in mmdebstrap's package.
const SCRIPT: &str = "usr/bin/mmdebstrap";
/// The script's size is 316 kB; a package with more than this in its place is another one.
const SCRIPT_MAX: u64 = 4 << 20;
/// See the file's own comments.
const SETUP: &str = include_str!("setup.sh");
/// See the file's own comments.
const INSTALL: &str = include_str!("install.sh");

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The packages, closed under their dependencies, with apt among them. Their order does not matter.
    pub debs: Vec<Deb>,
    /// The package of mmdebstrap. It is run, not installed.
    pub mmdebstrap: Deb,
    /// The latest time in the tree.
    pub epoch: Epoch,
    /// What it runs on.
    pub arch: Arch,
}

/// Whether a base can be made on this host, and how.
///
/// # Errors
/// All that is missing, at once, with the packages that have it.
pub fn host_check(arch: Arch) -> Result<Mode> {
    host::check(arch)
}

/// What stands in a plan for all that this module does: another word whenever other bytes may come of the same packages.
pub fn format() -> String {
    format!("{FORMAT} {}", Sha256::of(format!("{SETUP}\0{INSTALL}")))
}

/// Installs the packages and gives the normalised tree; the contents of its files go to `sink`.
///
/// `scratch` is a folder that only the caller can write to and no other build uses, with room for the packages twice and
/// for all that is in them; it is empty again afterwards, whatever the outcome ([`clean`] does it after a SIGKILL). `event` is called with short lines, also from another thread.
///
/// # Errors
/// A package that is not what its digest says, or not the one that was locked; a set that is no base system; the
/// failure of mmdebstrap with its last lines; an interruption.
pub fn build(spec: &Spec, mode: Mode, scratch: &Path, sink: &mut dyn Sink, event: &(dyn Fn(&str) + Sync), cancel: &Cancel) -> Result<Tree> {
    clean(mode, scratch)?;
    let made = make(spec, mode, &scratch.join(WORK), sink, event, cancel);
    let removed = clean(mode, scratch);
    let tree = made?;
    removed?;
    Ok(tree)
}

/// Removes what a build that was killed has left in `scratch`: an unprivileged caller's own `rm` cannot, for it holds
/// folders of subordinate ids.
pub fn clean(mode: Mode, scratch: &Path) -> Result<()> {
    sandbox::remove(mode, HOST_PATH, &scratch.join(WORK))
}

fn make(spec: &Spec, mode: Mode, work: &Path, sink: &mut dyn Sink, event: &(dyn Fn(&str) + Sync), cancel: &Cancel) -> Result<Tree> {
    event("checking the packages");
    prepare(spec, work, cancel)?;
    let mut filter = Filter::new(sink, spec.epoch);
    let policy = Policy { devices: Verdict::Refuse, ..Policy::system("the installed base", Layer::Base) };
    let progress = Progress { total: spec.debs.len(), configured: AtomicUsize::new(0), event };
    let command = command(spec, mode, work);
    let mut tree = sandbox::run(command, "mmdebstrap", &|line| progress.line(line), cancel, |out| tar::read(out, &policy, &mut filter))?;
    normalise(&mut tree, spec.epoch, filter.finish())?;
    Ok(tree)
}

/// Fills `work` with all that the scripts look for there.
fn prepare(spec: &Spec, work: &Path, cancel: &Cancel) -> Result<()> {
    for folder in ["", "debs", "home", "tmp"] {
        make_folder(&work.join(folder))?;
    }
    check_clock(work, spec.epoch)?;
    let mut packages = BTreeMap::new();
    for deb in &spec.debs {
        cancel.check()?;
        let package = take(deb, &work.join("debs"))?;
        if packages.insert(deb.name.clone(), package).is_some() {
            return Err(Error::user(format!("the base names the package `{}` twice", deb.name)));
        }
    }
    let Steps { essential, rest } = packages::steps(&packages)?;
    let list = |names: Vec<String>| names.into_iter().map(|name| name + "\n").collect::<String>();
    for (name, text) in [
        ("essential", list(essential)),
        ("rest", list(rest)),
        ("setup.sh", SETUP.to_owned()),
        ("install.sh", INSTALL.to_owned()),
        // The host's apt is only asked for its version and its default path: with no settings of the host's.
        ("apt.conf", "Dir::Etc::main \"/dev/null\";\nDir::Etc::parts \"/dev/null\";\n".to_owned()),
    ] {
        write(&work.join(name), text.as_bytes())?;
    }
    let policy = Policy::package(format!("mmdebstrap {}", spec.mmdebstrap.version), Layer::Base);
    let script = TreePath::fixed(SCRIPT);
    let package = work.join("mmdebstrap.deb");
    copy_verified(&spec.mmdebstrap, &package)?;
    let found = deb::members(open(&package)?, std::slice::from_ref(&script), SCRIPT_MAX, &policy)?;
    write(&work.join("mmdebstrap"), &found[&script])
}

/// Copies a package to `folder`, as `NAME.deb`, and reads what it says of itself.
fn take(deb: &Deb, folder: &Path) -> Result<Package> {
    if !packages::is_name(&deb.name) {
        return Err(Error::user(format!("`{}` is no package name", deb.name.escape_debug())));
    }
    let copy = folder.join(format!("{}.deb", deb.name));
    copy_verified(deb, &copy)?;
    let control = deb::control(open(&copy)?, &format!("the package `{}`", deb.name))?;
    let locked = [deb.name.as_str(), deb.version.as_str(), deb.arch.as_str()];
    let found = [control.package(), control.version(), control.architecture()];
    if locked != found {
        return Err(Error::integrity(format!("the package locked as `{}` is another one", deb.name))
            .detail(format!("expected {}, found {}", locked.join(" "), found.join(" ")))
            .hint("run `kbake lock` to resolve the packages anew"));
    }
    Ok(Package::of(&control))
}

/// Copies a package, and fails unless its bytes are those that were locked.
fn copy_verified(deb: &Deb, copy: &Path) -> Result<()> {
    let mut from = open(&deb.path)?;
    let to = create(copy)?;
    let mut hasher = Hasher::new();
    let mut found_size = 0u64;
    let mut buffer = vec![0; 1 << 17];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io(format_args!("read {}", deb.path.display()), &e)),
        };
        hasher.update(&buffer[..count]);
        found_size += count as u64;
        change::write_all(&to, copy, &buffer[..count]).map_err(|e| Error::io(format_args!("write {}", copy.display()), &e))?;
    }
    let found = hasher.finish();
    if found != deb.digest || found_size != deb.size {
        return Err(Error::integrity(format!("hash mismatch for `{}`", deb.name))
            .detail(format!("expected sha256:{} ({} bytes)", deb.digest, deb.size))
            .detail(format!("found sha256:{found} ({found_size} bytes) in {}", deb.path.display())));
    }
    Ok(())
}

/// mmdebstrap, with fixed surroundings.
fn command(spec: &Spec, mode: Mode, work: &Path) -> std::process::Command {
    let mut command = sandbox::command(mode, HOST_PATH, &["perl"]);
    command.arg(work.join("mmdebstrap"));
    // The scripts do what mmdebstrap would do with the host's apt: variant `custom` leaves it to them.
    command.args(["--mode=root", "--variant=custom", "--format=tar", &format!("--architectures={}", spec.arch)]);
    command.arg("--skip=update,cleanup/apt,check/qemu,output/dev");
    command.args(["--setup-hook=. \"$KBAKE_SCRATCH/setup.sh\"", "--extract-hook=. \"$KBAKE_SCRATCH/install.sh\""]);
    // No suite, the tar to standard output, no package source.
    command.args(["", "-", ""]);
    command.env("KBAKE_SCRATCH", work).env("SOURCE_DATE_EPOCH", spec.epoch.to_string());
    command.env("HOME", work.join("home")).env("TMPDIR", work.join("tmp")).env("APT_CONFIG", work.join("apt.conf"));
    command
}

/// What is made in the run gets the host's time, and only what is later than the epoch is set back to it.
fn check_clock(work: &Path, epoch: Epoch) -> Result<()> {
    let probe = work.join("clock");
    write(&probe, b"")?;
    let now = fs::metadata(&probe).map_err(|e| Error::io(format_args!("look at {}", probe.display()), &e))?.mtime();
    if now >= i64::from(epoch.seconds()) {
        return Ok(());
    }
    Err(Error::user("this host's clock is behind the epoch of the build")
        .detail(format!("clock {now}, epoch {epoch} (seconds since 1970)"))
        .hint("set the clock, or choose an epoch that has passed"))
}

/// Can be passed through by the ids that the caller is mapped to.
fn make_folder(path: &Path) -> Result<()> {
    change::make_folder(path, 0o755).map_err(|e| Error::io(format_args!("create {}", path.display()), &e))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| Error::io(format_args!("open {}", path.display()), &e))
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
