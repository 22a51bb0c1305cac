//! The commands that compare and explain: `kbake why`, `kbake diff`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::args::{Diff, Sources};
use super::{Session, current_folder, data};
use crate::bake::{self, Before, Reason, Why};
use crate::error::{Class, Error, Result};
use crate::fsx;
use crate::inspect;
use crate::lock::{self, Lock};
use crate::plan::compare;
use crate::project::{self, Project};
use crate::report::Report as _;
use crate::value::RoleName;

/// What every qcow2 file begins with.
const QCOW2: &[u8] = b"QFI\xfb";
/// Disks are made of sectors of so many bytes.
const SECTOR: u64 = 512;
/// A plan or lockfile is at most this large, in bytes.
const TEXT_MAX: u64 = 64 << 20;

/// One side of a comparison, as it was found.
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
    /// `kbake why`.
    pub fn why(&self, role: &str) -> Result<()> {
        let project = self.project()?;
        let role = project.role(role)?;
        let channel = project.channel(&self.channel()?)?;
        let name = channel.sources.channel.as_str();
        let owner = bake::owner(&project, &current_folder()?, name, &role);
        let why = self.bake(&Sources::nowhere(), None, |bake| bake.why(&owner, &bake.resolve_one(&project, &channel, &role)?))?;
        self.shell.document(|| data::why(&role, name, &why), &answer(&role, name, &why))
    }

    /// `kbake diff`.
    pub fn diff(&self, args: &Diff) -> Result<()> {
        let a = Side::of(&args.a)?;
        let b = args.b.as_deref().map(Side::of).transpose()?;
        let text = match (a, b) {
            (Side::Plan(a), Some(Side::Plan(b))) => plans((&args.a, &a), (args.b.as_deref().unwrap_or_default(), &b))?,
            (Side::Lock(a), Some(Side::Lock(b))) => locks(&a, &b),
            (Side::Image(a), Some(Side::Image(b))) => return self.diff_images(&a, &b),
            (Side::Lock(a), None) => locks(&a, &self.current_lock(&a)?),
            (Side::Lock(a), Some(Side::Revision(b))) => locks(&a, &self.lock_at(&a, &b)?),
            (Side::Revision(a), Some(Side::Lock(b))) => locks(&self.lock_at(&b, &a)?, &b),
            (Side::Revision(a), None) => self.revisions(&self.locks_at(&a)?, &self.locks_now()?)?,
            (Side::Revision(a), Some(Side::Revision(b))) => self.revisions(&self.locks_at(&a)?, &self.locks_at(&b)?)?,
            (a, b) => return Err(unlike(&args.a, &a, args.b.as_deref().zip(b.as_ref()))),
        };
        if text.is_empty() {
            self.shell.say("no difference (of revisions, their lockfiles are compared, and not their recipes)");
        }
        self.shell.data(&text)
    }

    fn diff_images(&self, a: &Path, b: &Path) -> Result<()> {
        let mut differences = 0u64;
        let mut printed = Ok(());
        inspect::compare(a, b, self.cancel, &mut |difference| {
            differences += 1;
            printed = self.shell.data(&format!("{}\n", bake::difference_line(&difference)));
            if printed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        printed?;
        if differences == 0 {
            self.shell.say("no difference");
        }
        Ok(())
    }

    /// The folder that the revisions are of.
    fn folder(&self) -> Result<PathBuf> {
        match self.project()? {
            Project::Folder(folder) => Ok(folder),
            Project::Shipped => Err(Error::user("there is no project here whose revisions could be compared, and no such file")
                .hint("go to the project's folder, or name it with --project")),
        }
    }

    fn locks_at(&self, revision: &str) -> Result<BTreeMap<String, Lock>> {
        let texts = project::lockfiles_at(&self.folder()?, revision)?;
        let parsed = |(name, text): (String, String)| Ok((name.clone(), Lock::parse(&text, &format!("{revision}:{name}"))?));
        self.wanted(texts).into_iter().map(parsed).collect()
    }

    fn locks_now(&self) -> Result<BTreeMap<String, Lock>> {
        let folder = self.folder()?.join("lockfiles");
        let mut texts = BTreeMap::new();
        if fsx::exists(&folder)? {
            for name in fsx::list(&folder)?.into_iter().filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".lock")) {
                texts.insert(format!("lockfiles/{name}"), fsx::read_to_string(&folder.join(&name))?);
            }
        }
        self.wanted(texts).into_iter().map(|(name, text)| Ok((name.clone(), Lock::parse(&text, &name)?))).collect()
    }

    /// Those of a channel that was named; else all.
    fn wanted(&self, mut texts: BTreeMap<String, String>) -> BTreeMap<String, String> {
        if let Some(channel) = &self.global.channel {
            texts.retain(|name, _| *name == project::lock_name(channel));
        }
        texts
    }

    /// A revision's lock of the same channel.
    fn lock_at(&self, like: &Lock, revision: &str) -> Result<Lock> {
        let name = project::lock_name(like.channel.as_str());
        let text = project::lockfiles_at(&self.folder()?, revision)?.remove(&name);
        Lock::parse(&text.ok_or_else(|| Error::user(format!("{revision} has no {name}")))?, &format!("{revision}:{name}"))
    }

    /// The project's lock of the same channel.
    fn current_lock(&self, like: &Lock) -> Result<Lock> {
        let name = project::lock_name(like.channel.as_str());
        let text = self.project()?.text(&name)?;
        Lock::parse(&text.ok_or_else(|| Error::user(format!("{name} is missing, to be compared with")))?, &name)
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
    /// A file that is there; else what git may know.
    fn of(name: &str) -> Result<Side> {
        let path = Path::new(name);
        let facts = fsx::facts_followed(path)?;
        if facts.is_none_or(|facts| facts.kind == fsx::Kind::Folder) {
            return Ok(Side::Revision(name.to_owned()));
        }
        let failed = |e: std::io::Error| Error::io(format!("read {name}"), &e);
        let mut file = fsx::open_given(path)?;
        let mut bytes = Vec::new();
        // A pipe, as a shell gives it for `<(kbake plan etcd)`, can be read once only.
        file.by_ref().take(SECTOR).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.starts_with(QCOW2) || std::str::from_utf8(&bytes).map_or_else(|e| e.error_len().is_some(), |text| text.contains('\0')) {
            return match fsx::size(path)? {
                Some(size) if bytes.starts_with(QCOW2) || (size > 0 && size % SECTOR == 0) => Ok(Side::Image(current_folder()?.join(path))),
                _ => Err(Error::user(format!("{name} is no plan, lockfile or disk image"))),
            };
        }
        file.take(TEXT_MAX).read_to_end(&mut bytes).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|_| Error::user(format!("{name} is no plan, lockfile or disk image")))?;
        if compare::is_plan(&text) {
            return Ok(Side::Plan(text));
        }
        Lock::parse(&text, name).map(|lock| Side::Lock(Box::new(lock))).map_err(|error| match text.contains("format = ") {
            true => error,
            false => Error::user(format!("{name} is no plan, lockfile or disk image")),
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

/// Two things that cannot be compared.
fn unlike(a: &str, first: &Side, other: Option<(&str, &Side)>) -> Error {
    match other {
        None => Error::new(Class::Usage, format!("{a} is {}: a second one is needed to compare it with", first.word())),
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

/// What `kbake why` prints.
fn answer(role: &RoleName, channel: &str, why: &Why) -> String {
    match why {
        Why::NeverBuilt { in_store: false } => {
            format!("{role} was not built from this project yet (channel {channel}), as far as this store knows: all of it must be made\n")
        }
        Why::NeverBuilt { in_store: true } => format!(
            "{role} was not built from this project yet (channel {channel}), but the store has the image of its very plan: nothing must be made\n"
        ),
        Why::Forgotten => {
            format!("{role}: its plan is another one than the last time, and the store no longer has that one to compare it with\n")
        }
        Why::Changed { reasons, in_store } => {
            let count = plural(reasons.len());
            let verdict = match (in_store, reasons.iter().any(|reason| reason.change.subject.is_of_base())) {
                (true, _) => "its image is in the store all the same: nothing must be made",
                (false, true) => "its packages are installed again",
                (false, false) => "its packages stay as they are installed, only the image is written again",
            };
            format!("{role} has another plan than the last time, by {count}; {verdict}\n{}", listed(reasons))
        }
        Why::Lost { miss, before } => {
            format!(
                "{role} must be built: its plan is the one of the last time, but of its image this is known: {miss}\n{}",
                earlier(before)
            )
        }
        Why::Current { before } => format!("{role} is up to date: its plan is the one that was built last\n{}", earlier(before)),
    }
}

fn earlier(before: &Before) -> String {
    match before {
        Before::First => "no plan before that one is known\n".into(),
        Before::Forgotten => "the plan before that one is no longer in the store\n".into(),
        Before::Changed(reasons) => format!("since the plan before that one, {} changed:\n{}", plural(reasons.len()), listed(reasons)),
    }
}

fn plural(lines: usize) -> String {
    if lines == 1 { "1 line".into() } else { format!("{lines} lines") }
}

fn listed(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| format!("  {reason}\n")).collect()
}
