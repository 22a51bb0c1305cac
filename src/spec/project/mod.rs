//! Finds recipes, sources, lockfiles and expected digests: in a folder, or as shipped in the binary.
//!
//! So `kbake build` works in a checkout, in a folder of `kbake init`, and anywhere else with the shipped files of this version.
//! Names are relative and with `/`, as they are shown: `recipes/roles/etcd.toml`.

mod expected;
mod git;
mod shipped;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

pub use expected::Expected;
pub(crate) use expected::lines as expected_lines;
pub(crate) use git::{lockfiles_at, would_git_add};

use crate::common::document::nearest;
use crate::common::error::{Error, Result};
use crate::common::fsx::{self, Inside};
use crate::common::value::{Cancel, RoleName, Sha256, quote};
use crate::spec::lock::Lock;
use crate::spec::recipe::{ChannelName, Recipe, Sources, Subject};

/// The location of a project's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Project {
    /// This folder.
    Folder(PathBuf),
    /// The binary.
    Shipped,
}

/// A file that a recipe's `source` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceFile {
    /// A small one: its bytes.
    Held(Vec<u8>),
    /// A large one: its path and digest.
    Named(LargeFile),
}

/// Digests of files that are not held in memory.
pub trait Digests {
    /// Announces files that will be asked for. The implementation may hash several at once.
    fn expect(&self, _files: &[OwnPath]) {}

    /// The digest and the size in bytes of a file; none if it does not exist.
    fn of(&self, file: &OwnPath) -> Result<Option<(Sha256, u64)>>;
}

/// Hashes every file when it is asked for, unless the user asks to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a>(pub &'a Cancel);

impl Digests for Reading<'_> {
    fn of(&self, file: &OwnPath) -> Result<Option<(Sha256, u64)>> {
        let path = file.path();
        let digest = |file: File| fsx::digest_of_open(&file, &path, self.0).map(|(digest, size, _)| (digest, size));
        file.open()?.map(digest).transpose()
    }
}

/// The path of a user's file that goes into an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnPath {
    /// In the project, with all links checked: the project may come from a stranger.
    Inside(Inside),
    /// An absolute path that the user typed.
    Typed(PathBuf),
}

impl OwnPath {
    /// The absolute path; of a file in the project, without links.
    pub fn path(&self) -> PathBuf {
        match self {
            OwnPath::Inside(inside) => inside.path(),
            OwnPath::Typed(path) => path.clone(),
        }
    }

    /// Opens the file; none if it does not exist.
    ///
    /// # Errors
    /// It leads out of the project by now, or is not a regular file.
    pub fn open(&self) -> Result<Option<File>> {
        match self {
            OwnPath::Inside(inside) => inside.open(),
            OwnPath::Typed(path) => match fsx::facts_followed(path)? {
                None => Ok(None),
                Some(facts) if facts.kind == fsx::Kind::File => fsx::open_read(path).map(Some),
                Some(_) => Err(Error::user(format!("{} is not a regular file", path.display()))),
            },
        }
    }
}

/// A file that is not held in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeFile {
    /// Its path.
    pub path: PathBuf,
    /// The digest of its bytes.
    pub digest: Sha256,
    /// Its size in bytes.
    pub size: u64,
}

/// The default path of the cluster file.
const CLUSTER: &str = "cluster.toml";
/// The template of a new project's cluster file: the shipped recipes can build it.
const FIRST_CLUSTER: &str = "recipes/clusters/lab.toml";

/// The compatibility table; a project may lack it.
const COMPATIBILITY: &str = "recipes/compatibility.toml";

/// The lockfile of advisories, which belongs to no channel.
pub(crate) const ADVISORIES_LOCK: &str = "lockfiles/advisories.lock";

/// The size above which files are not held in memory, in bytes: units and configuration are below, programs and disks above.
const HELD_MAX: u64 = 1 << 20;

/// One channel's files, parsed and checked one by one.
#[derive(Debug, Clone)]
pub struct Channel {
    /// `recipes/base.toml`, then all of `recipes/parts/`, then the requested roles.
    pub recipes: Vec<Recipe>,
    /// `recipes/sources/<channel>.toml`.
    pub sources: Sources,
    /// `lockfiles/<channel>.lock`, if it exists.
    pub lock: Option<Lock>,
}

/// A channel that another one is based on.
#[derive(Debug)]
pub struct BaseChannel {
    /// Its sources.
    pub sources: Sources,
    /// Its lockfile, if it exists; an error in it is not one of the other channel's.
    pub lock: Result<Option<Lock>>,
}

/// The selection of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// All roles of the channel.
    All,
    /// Each role by its name.
    Each,
}

impl Asked {
    /// The roles among `roles` that the channel has.
    fn of(self, roles: &[RoleName], sources: &Sources) -> Result<Vec<RoleName>> {
        match roles.iter().find(|role| self == Asked::Each && !sources.has_role(role)) {
            Some(role) => Err(Error::user(format!("the channel `{}` does not have the role `{role}`", sources.channel))
                .hint(format!("add it to `roles` in {}, and run `kbake lock --channel {}`", sources.file, sources.channel))),
            None => Ok(roles.iter().filter(|role| sources.has_role(role)).cloned().collect()),
        }
    }
}

/// The name of the file with git's ignore patterns.
const IGNORE: &str = ".gitignore";
const IGNORED: &str = "\
# Images, and the machines' disks and seeds.
/images/*
!/images/expected.toml
# Keys and certificates; seeds and kubeconfigs have keys in them.
secrets/
kubeconfig
*.kubeconfig
*.iso
*.img
user-data
";

impl Project {
    /// The project in `named`, or else in `current` if that has recipes, or else the shipped one.
    pub fn find(named: Option<&Path>, current: &Path) -> Result<Self> {
        let is_project = |folder: &Path| fsx::exists(&folder.join("recipes/sources"));
        match named {
            Some(folder) if is_project(folder)? => Ok(Project::Folder(folder.to_owned())),
            Some(folder) => Err(Error::user(format!("{} has no recipes/sources", folder.display()))
                .hint(format!("`kbake init {}` writes the shipped recipes there", quote(&folder.display().to_string())))),
            None if is_project(current)? => Ok(Project::Folder(current.to_owned())),
            None => Ok(Project::Shipped),
        }
    }

    /// The bytes of a file, if it exists.
    ///
    /// # Errors
    /// A link leads out of the project, or it is not a regular file.
    pub fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let folder = match self {
            Project::Folder(folder) => folder,
            Project::Shipped => return Ok(shipped::get(name).map(<[u8]>::to_vec)),
        };
        let Some((_, mut file)) = Inside::open_at(folder, Path::new(name))? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|e| Error::io(format!("read {}", folder.join(name).display()), &e))?;
        Ok(Some(bytes))
    }

    /// A file that becomes a file of the image, if it exists.
    pub fn source(&self, name: &str, digests: &dyn Digests) -> Result<Option<SourceFile>> {
        match self.large(name)? {
            Some(file) => Ok(digests.of(&file)?.map(|(digest, size)| SourceFile::Named(LargeFile { path: file.path(), digest, size }))),
            None => Ok(self.bytes(name)?.map(SourceFile::Held)),
        }
    }

    /// The path of a file, if it exists and is not held in memory.
    pub fn large(&self, name: &str) -> Result<Option<OwnPath>> {
        Ok(self.inside(name)?.filter(|inside| inside.size() > HELD_MAX).map(OwnPath::Inside))
    }

    /// A file of the project, if it exists; none in the shipped project.
    ///
    /// # Errors
    /// See [`Project::bytes`].
    pub fn inside(&self, name: &str) -> Result<Option<Inside>> {
        match self {
            Project::Folder(folder) => Inside::find(folder, Path::new(name)),
            Project::Shipped => Ok(None),
        }
    }

    /// The path of a user's own file that a lockfile names; none if it does not exist. A relative path stays in the project, an
    /// absolute one was typed by the user who locked it.
    ///
    /// # Errors
    /// See [`Project::bytes`].
    pub fn own_file(&self, name: &str) -> Result<Option<OwnPath>> {
        if Path::new(name).is_relative() {
            return Ok(self.inside(name)?.map(OwnPath::Inside));
        }
        Ok(fsx::exists(Path::new(name))?.then(|| OwnPath::Typed(name.into())))
    }

    /// The path of a user's own file, whether it exists or not.
    pub fn own_path(&self, name: &str) -> PathBuf {
        match self {
            Project::Folder(folder) => folder.join(name),
            Project::Shipped => name.into(),
        }
    }

    /// The text of a file, if it exists.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(bytes) = self.bytes(name)? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|e| {
            let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count() + 1;
            Error::user(format!("{name} is not UTF-8 text (line {line})"))
        })
    }

    /// The names of the roles, sorted.
    pub fn roles(&self) -> Result<Vec<RoleName>> {
        let parsed = |name: String| name.parse().map_err(|why| Error::user(format!("recipes/roles/{name}.toml: {why}")));
        self.stems("recipes/roles")?.into_iter().map(parsed).collect()
    }

    /// The names of the channels, sorted.
    pub fn channels(&self) -> Result<Vec<String>> {
        self.stems("recipes/sources")
    }

    /// Files that look like recipes or sources and are none: editors and other systems leave them under names with a leading
    /// dot.
    pub fn skipped(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for folder in ["recipes/parts", "recipes/roles", "recipes/sources"] {
            let files = self.file_names(folder)?.into_iter().filter(|name| name.starts_with('.') && name.ends_with(".toml"));
            found.extend(files.map(|name| format!("{folder}/{name}")));
        }
        Ok(found)
    }

    /// The names of the TOML files directly in `folder`, sorted, without their extension.
    fn stems(&self, folder: &str) -> Result<Vec<String>> {
        let files = self.file_names(folder)?.into_iter().filter(|name| !name.starts_with('.'));
        Ok(files.filter_map(|file| file.strip_suffix(".toml").map(str::to_owned)).collect())
    }

    fn file_names(&self, folder: &str) -> Result<Vec<String>> {
        Ok(match self {
            // A project may lack parts of its own.
            Project::Folder(project) if !fsx::exists(&project.join(folder))? => Vec::new(),
            Project::Folder(project) => fsx::list(&project.join(folder))?.into_iter().filter_map(|name| name.into_string().ok()).collect(),
            Project::Shipped => shipped::in_folder(&format!("{folder}/")),
        })
    }

    /// The names of the roles' recipes, sorted. One may be an invalid role name.
    pub fn role_names(&self) -> Result<Vec<String>> {
        self.stems("recipes/roles")
    }

    /// The role called `name`.
    ///
    /// # Errors
    /// A role without a recipe, with the known ones.
    pub fn role(&self, name: &str) -> Result<RoleName> {
        // Another recipe's name may be an invalid role name.
        let known = self.role_names()?;
        if !known.iter().any(|role| role == name) {
            return Err(Error::user(format!("unknown role `{}`", name.escape_debug()))
                .detail(format!("known: {}", known.join(", ")))
                .hint("a role is a recipe: recipes/roles/<role>.toml"));
        }
        name.parse().map_err(|why| Error::user(format!("recipes/roles/{name}.toml: {why}")))
    }

    /// Reads all files of the channel `name`.
    pub fn channel(&self, name: &str) -> Result<Channel> {
        self.read_channel(name, &self.roles()?, Asked::All, Lock::parse)
    }

    /// Like [`Project::channel`], with the recipes of these roles only: an error in another role's recipe does not matter.
    pub fn channel_for(&self, name: &str, roles: &[RoleName]) -> Result<Channel> {
        self.read_channel(name, roles, Asked::Each, Lock::parse)
    }

    /// Like [`Project::channel`], for a lockfile that is about to be rewritten: entries that a merge by hand left out of order
    /// are accepted.
    pub fn channel_to_lock(&self, name: &str) -> Result<Channel> {
        self.read_channel(name, &self.roles()?, Asked::All, Lock::parse_merged)
    }

    fn read_channel(&self, name: &str, roles: &[RoleName], asked: Asked, read_lock: fn(&str, &str) -> Result<Lock>) -> Result<Channel> {
        let required = |file: &str| {
            self.text(file)?.ok_or_else(|| Error::user(format!("{file} is missing")).hint("`kbake init` writes the shipped recipes"))
        };
        // The name becomes part of a path.
        let named: ChannelName = name.parse().map_err(|_| Error::user(format!("`{}` is not a channel name", name.escape_debug())))?;
        if lock_name(named.as_str()) == ADVISORIES_LOCK {
            return Err(Error::user(format!("a channel cannot be called `{named}`: {ADVISORIES_LOCK} has the pins of `kbake cve`"))
                .hint(format!("give recipes/sources/{named}.toml and its `channel` another name")));
        }
        let known = self.channels()?;
        if !known.contains(&named.to_string()) {
            return Err(Error::user(format!("unknown channel `{named}`"))
                .detail(format!("known: {}", known.join(", ")))
                .hint("a channel is a file with its package source: recipes/sources/<channel>.toml"));
        }
        let sources_file = format!("recipes/sources/{named}.toml");
        let sources = self.sources(&sources_file, &mut Vec::new())?;
        self.check_roles(&sources)?;
        let lock_file = lock_name(named.as_str());
        let mut recipes = vec![Recipe::parse("recipes/base.toml", &required("recipes/base.toml")?, Subject::Base)?];
        for part in self.stems("recipes/parts")? {
            let file = format!("recipes/parts/{part}.toml");
            let name = part.parse().map_err(|why| Error::user(format!("{file}: {why}")))?;
            recipes.push(Recipe::parse(&file, &required(&file)?, Subject::Part(name))?);
        }
        for role in &asked.of(roles, &sources)? {
            let file = format!("recipes/roles/{role}.toml");
            recipes.push(Recipe::parse(&file, &required(&file)?, Subject::Role(role.clone()))?);
        }
        Ok(Channel { recipes, sources, lock: self.text(&lock_file)?.map(|text| read_lock(&text, &lock_file)).transpose()? })
    }

    /// The channels that the channel `name` is based on, the nearest first.
    ///
    /// # Errors
    /// See [`Project::channel`], except for errors in the lockfiles.
    pub fn bases(&self, name: &ChannelName) -> Result<Vec<BaseChannel>> {
        let mut files = Vec::new();
        self.sources(&format!("recipes/sources/{name}.toml"), &mut files)?;
        let below = |file: &String| {
            let sources = self.sources(file, &mut Vec::new())?;
            let lock_file = lock_name(sources.channel.as_str());
            let lock = self.text(&lock_file)?.map(|text| Lock::parse_merged(&text, &lock_file));
            Ok(BaseChannel { sources, lock: lock.transpose() })
        };
        files.iter().skip(1).map(below).collect()
    }

    /// Refuses a channel's role in `roles` without a recipe.
    fn check_roles(&self, sources: &Sources) -> Result<()> {
        let known = self.role_names()?;
        let unknown = sources.roles.iter().flatten().find(|role| !known.iter().any(|name| name == role.value.as_str()));
        let Some(role) = unknown else { return Ok(()) };
        let error = role.place.error(format!("the project has no role `{}`", role.value));
        Err(match nearest(role.value.as_str(), known.iter().map(String::as_str)) {
            Some(meant) => error.hint(format!("did you mean `{meant}`?")),
            None => error.hint(format!("a role is a recipe: recipes/roles/{}.toml", role.value)),
        })
    }

    /// Parses a sources file and those that it is based on. `above` are the files that led here.
    fn sources(&self, file: &str, above: &mut Vec<String>) -> Result<Sources> {
        let text =
            self.text(file)?.ok_or_else(|| Error::user(format!("{file} is missing")).hint("`kbake init` writes the shipped recipes"))?;
        above.push(file.to_owned());
        let base = match Sources::base_of(file, &text)? {
            None => None,
            Some(base) => {
                let base_file = format!("recipes/sources/{}.toml", base.value);
                if above.contains(&base_file) {
                    return Err(base.place.error(format!("the channel is based on itself: {}", above.join(" → "))));
                }
                Some(self.sources(&base_file, above)?)
            }
        };
        Sources::parse(file, &text, base)
    }

    /// The names of all files that decide a channel's roles, sorted: recipes, sources, the compatibility table, the lockfile.
    /// Without the files that recipes' `source` names.
    pub fn files(&self, channel: &str) -> Result<Vec<String>> {
        let mut names = vec!["recipes/base.toml".to_owned(), lock_name(channel)];
        for folder in ["recipes/parts", "recipes/roles"] {
            names.extend(self.stems(folder)?.into_iter().map(|stem| format!("{folder}/{stem}.toml")));
        }
        let mut sources = Vec::new();
        self.sources(&format!("recipes/sources/{channel}.toml"), &mut sources)?;
        names.extend(sources);
        if self.bytes(COMPATIBILITY)?.is_some() {
            names.push(COMPATIBILITY.to_owned());
        }
        names.sort();
        Ok(names)
    }

    /// The digests that everyone must get, as far as they are recorded.
    pub fn expected(&self) -> Result<Expected> {
        const FILE: &str = "images/expected.toml";
        Ok(self.text(FILE)?.map(|text| Expected::parse(FILE, &text)).transpose()?.unwrap_or_default())
    }

    /// The lines that keep a project's images, and everything private in it, out of git; without those in `folder`'s
    /// `.gitignore`.
    pub fn missing_ignores(folder: &Path) -> Result<Vec<&'static str>> {
        let text = fsx::read_if_present(&folder.join(IGNORE))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let has = |line: &str| text.lines().any(|found| found.trim_matches('/').trim() == line.trim_matches('/'));
        Ok(IGNORED.lines().filter(|line| !line.starts_with('#') && !has(line)).collect())
    }

    /// Writes the shipped files into `folder`, a `.gitignore`, and the smallest example as its cluster file. Returns the names
    /// of the new ones.
    pub fn init(folder: &Path) -> Result<Vec<&'static str>> {
        let mut written = Vec::new();
        let cluster = shipped::get(FIRST_CLUSTER).map(|bytes| (CLUSTER, bytes));
        for (name, bytes) in shipped::FILES.iter().chain(&cluster).chain([&(IGNORE, IGNORED.as_bytes())]) {
            let path = folder.join(name);
            if fsx::exists(&path)? {
                continue;
            }
            if let Some(parent) = path.parent() {
                fsx::create_dir_all(parent)?;
            }
            fsx::write_atomic(&path, 0o644, bytes)?;
            written.push(*name);
        }
        Ok(written)
    }
}

impl Channel {
    /// The recipe of a subject.
    pub fn recipe(&self, subject: &Subject) -> Option<&Recipe> {
        self.recipes.iter().find(|recipe| recipe.subject == *subject)
    }

    /// The lockfile.
    ///
    /// # Errors
    /// It does not exist.
    pub fn locked(&self) -> Result<&Lock> {
        let name = &self.sources.channel;
        self.lock.as_ref().ok_or_else(|| {
            Error::user(format!("{} is missing", lock_name(name.as_str())))
                .hint(format!("run `kbake lock --channel {name}` to write it, or restore it from your version control"))
        })
    }
}

/// The lockfile of a channel, relative to the project.
pub(crate) fn lock_name(channel: &str) -> String {
    format!("lockfiles/{channel}.lock")
}
