//! `kbake diff`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::args::Diff;
use super::{Session, current_folder};
use crate::build;
use crate::common::error::{Class, Error, Result};
use crate::common::fsx;
use crate::common::report::Report as _;
use crate::formats::inspect;
use crate::spec::lock::{self, Lock};
use crate::spec::plan::compare;
use crate::spec::project::{self, Project};

/// The magic number of qcow2.
const QCOW2: &[u8] = b"QFI\xfb";
/// Sector size of a disk in bytes.
const SECTOR: u64 = 512;
/// Size limit of a plan or lockfile, in bytes.
const TEXT_MAX: u64 = 64 << 20;

/// One side of a comparison.
enum Side {
    /// A plan's text.
    Plan(String),
    /// A lockfile.
    Lock(Box<Lock>),
    /// A disk image.
    Image(PathBuf),
    /// A git revision of the project.
    Revision(String),
}

impl Session<'_> {
    /// `kbake diff`.
    pub(super) fn diff(&self, args: &Diff) -> Result<()> {
        let a = Side::of(&args.a)?;
        let b = args.b.as_deref().map(Side::of).transpose()?;
        let text = match (a, b) {
            (Side::Plan(a), Some(Side::Plan(b))) => plans((&args.a, &a), (args.b.as_deref().unwrap_or_default(), &b))?,
            (Side::Lock(a), Some(Side::Lock(b))) => locks(&a, &b),
            (Side::Image(a), Some(Side::Image(b))) => return self.diff_images(&a, &b),
            (Side::Lock(a), None) => locks(&a, &self.current_lock(&a)?),
            (Side::Lock(a), Some(Side::Revision(b))) => locks(&a, &self.lock_at(&a, &b)?),
            (Side::Revision(a), Some(Side::Lock(b))) => locks(&self.lock_at(&b, &a)?, &b),
            (Side::Revision(a), None) => self.revisions(&self.locks_at(&a)?, &self.locks_now(&a)?)?,
            (Side::Revision(a), Some(Side::Revision(b))) => self.revisions(&self.locks_at(&a)?, &self.locks_at(&b)?)?,
            (a, b) => return Err(unlike(&args.a, &a, args.b.as_deref().zip(b.as_ref()))),
        };
        if text.is_empty() {
            self.shell.say("no difference (for revisions, only the lockfiles are compared, not the recipes)");
        }
        self.shell.data(&text)
    }

    fn diff_images(&self, a: &Path, b: &Path) -> Result<()> {
        let mut differences = 0u64;
        let mut printed = Ok(());
        inspect::compare(a, b, self.cancel, &mut |difference| {
            differences += 1;
            printed = self.shell.data(&format!("{}\n", build::difference_line(&difference)));
            if printed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        printed?;
        if differences == 0 {
            self.shell.say("no difference");
        }
        Ok(())
    }

    /// The project's folder, in which the revision is looked up.
    fn folder(&self, revision: &str) -> Result<PathBuf> {
        match self.project()? {
            Project::Folder(folder) => Ok(folder),
            Project::Shipped => Err(Error::user(format!(
                "`{}` is not a file, and there is no project here whose revision it could be",
                revision.escape_debug()
            ))
            .hint("run the command in the project's folder, or name it with --project")),
        }
    }

    fn locks_at(&self, revision: &str) -> Result<BTreeMap<String, Lock>> {
        let texts = project::lockfiles_at(&self.folder(revision)?, revision)?;
        let parsed = |(name, text): (String, String)| Ok((name.clone(), Lock::parse(&text, &format!("{revision}:{name}"))?));
        self.wanted(texts).into_iter().map(parsed).collect()
    }

    /// The project's current lockfiles, for a comparison with the revision.
    fn locks_now(&self, revision: &str) -> Result<BTreeMap<String, Lock>> {
        let folder = self.folder(revision)?.join("lockfiles");
        let mut texts = BTreeMap::new();
        if fsx::exists(&folder)? {
            for name in fsx::list(&folder)?.into_iter().filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".lock")) {
                texts.insert(format!("lockfiles/{name}"), fsx::read_to_string(&folder.join(&name))?);
            }
        }
        self.wanted(texts).into_iter().map(|(name, text)| Ok((name.clone(), Lock::parse(&text, &name)?))).collect()
    }

    /// The lockfile of the channel from the command line, or all.
    fn wanted(&self, mut texts: BTreeMap<String, String>) -> BTreeMap<String, String> {
        texts.remove(project::ADVISORIES_LOCK);
        if let Some(channel) = &self.global.channel {
            texts.retain(|name, _| *name == project::lock_name(channel));
        }
        texts
    }

    /// The lock of the same channel in a revision.
    fn lock_at(&self, like: &Lock, revision: &str) -> Result<Lock> {
        let name = project::lock_name(like.channel.as_str());
        let text = project::lockfiles_at(&self.folder(revision)?, revision)?.remove(&name);
        Lock::parse(&text.ok_or_else(|| Error::user(format!("{revision} has no {name}")))?, &format!("{revision}:{name}"))
    }

    /// The lock of the same channel in the project.
    fn current_lock(&self, like: &Lock) -> Result<Lock> {
        let name = project::lock_name(like.channel.as_str());
        let text = self.project()?.text(&name)?;
        Lock::parse(&text.ok_or_else(|| Error::user(format!("{name} does not exist, so there is nothing to compare with")))?, &name)
    }

    fn revisions(&self, old: &BTreeMap<String, Lock>, new: &BTreeMap<String, Lock>) -> Result<String> {
        if old.is_empty() && new.is_empty() {
            return Err(Error::user("neither side has a lockfile").hint("`kbake lock` writes lockfiles/CHANNEL.lock"));
        }
        let mut text = String::new();
        for name in old.keys().chain(new.keys()).collect::<std::collections::BTreeSet<_>>() {
            match (old.get(name), new.get(name)) {
                (Some(old), Some(new)) => {
                    let lines = locks(old, new);
                    if !lines.is_empty() {
                        text += &format!("{name}\n{lines}");
                    }
                }
                (Some(_), None) => text += &format!("{name}\nremove      the whole lockfile\n"),
                (None, _) => text += &format!("{name}\nadd         the whole lockfile\n"),
            }
        }
        Ok(text)
    }
}

impl Side {
    /// An existing file, else a git revision.
    fn of(name: &str) -> Result<Side> {
        let path = Path::new(name);
        let facts = fsx::facts_followed(path)?;
        if facts.is_none_or(|facts| facts.kind == fsx::Kind::Folder) {
            return Ok(Side::Revision(name.to_owned()));
        }
        let failed = |e: std::io::Error| Error::io(format!("read {name}"), &e);
        let mut file = fsx::open_given(path)?;
        let mut bytes = Vec::new();
        // A pipe, for example from `<(kbake plan etcd)`, can be read only once.
        file.by_ref().take(SECTOR).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.starts_with(QCOW2) || std::str::from_utf8(&bytes).map_or_else(|e| e.error_len().is_some(), |text| text.contains('\0')) {
            return match fsx::size(path)? {
                Some(size) if bytes.starts_with(QCOW2) || (size > 0 && size % SECTOR == 0) => Ok(Side::Image(current_folder()?.join(path))),
                _ => Err(Error::user(format!("{name} is not a plan, lockfile or disk image"))),
            };
        }
        file.take(TEXT_MAX).read_to_end(&mut bytes).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|_| Error::user(format!("{name} is not a plan, lockfile or disk image")))?;
        if compare::is_plan(&text) {
            return Ok(Side::Plan(text));
        }
        Lock::parse(&text, name).map(|lock| Side::Lock(Box::new(lock))).map_err(|error| match text.contains("format = ") {
            true => error,
            false => Error::user(format!("{name} is not a plan, lockfile or disk image")),
        })
    }

    fn word(&self) -> &'static str {
        match self {
            Side::Plan(_) => "a plan",
            Side::Lock(_) => "a lockfile",
            Side::Image(_) => "a disk image",
            Side::Revision(_) => "a git revision",
        }
    }
}

/// The error for two sides that cannot be compared.
fn unlike(a: &str, first: &Side, other: Option<(&str, &Side)>) -> Error {
    match other {
        None => Error::new(Class::Usage, format!("{a} is {}: name a second one to compare it with", first.word())),
        Some((b, second)) => {
            Error::new(Class::Usage, format!("{a} is {}, and {b} is {}: they cannot be compared", first.word(), second.word()))
        }
    }
}

fn plans(a: (&str, &str), b: (&str, &str)) -> Result<String> {
    let (old, new) = (compare::lines(a.1, a.0)?, compare::lines(b.1, b.0)?);
    Ok(compare::compare(&old, &new).iter().map(|change| format!("{change}\n")).collect())
}

fn locks(a: &Lock, b: &Lock) -> String {
    lock::differences(a, b).iter().map(|difference| format!("{difference}\n")).collect()
}
