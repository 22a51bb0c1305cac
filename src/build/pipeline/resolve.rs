//! Recipes and lockfile → plan: packages, files, and the order in which recipes override each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::artifacts::{self, Artifacts};
use super::authorities;
use super::effect::Effects;
use super::origin::{MODULES, Origin, Origins, Shown};
use crate::build::base;
use crate::build::role::{self, CloudInit, Facts};
use crate::common::document::{Located, Place};
use crate::common::error::{Error, Result};
use crate::common::value::{Cancel, Digest, Mirror, RoleName, TreePath};
use crate::formats::disk::grub;
use crate::spec::lock::{self, Entry as Locked, Lock, Request, SetName, recipes_for};
use crate::spec::plan::{self, Account, Inputs, Owner, Package, Plan, PlannedKind, PlannedNode, Preset};
use crate::spec::project::{Channel, Digests, LargeFile, OwnPath, Project, Reading, SourceFile};
use crate::spec::recipe::{Archive, Body, FileMode, Intent, Part, Recipe, Sources, Subject, archives, base_layers, role_layers};

/// The tool that is run to install packages.
const INSTALLER: &str = "mmdebstrap";

/// A role's plan and its inputs.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The plan.
    pub plan: Plan,
    /// The packages that are installed.
    pub packages: Vec<Locked>,
    /// The tool that installs them.
    pub installer: Locked,
    /// The archives that packages come from.
    pub archives: PackageArchives,
    /// Packages that are run or read during the build, including the installer.
    pub tools: Vec<Locked>,
    /// The recipes' large files.
    pub sources: Vec<LargeFile>,
    /// The files and inputs of artifacts and container images.
    pub artifacts: Artifacts,
    /// The origins of the plan's lines.
    pub origins: Origins,
    /// Statements that must have an effect on the installed base.
    pub effects: Effects,
    /// The recipes' files that are declared public, and so not audited.
    pub public: BTreeSet<TreePath>,
    /// The lockfile as it was read.
    pub lock: LockFile,
}

/// The archives of a channel's packages.
#[derive(Debug, Clone)]
pub struct PackageArchives {
    /// The archives.
    pub archives: Vec<Archive>,
    /// The codename of the first suite, which names the distribution.
    pub codename: String,
    /// Addresses of their earlier states: those in which packages were locked.
    pub snapshots: Vec<Mirror>,
}

impl PackageArchives {
    fn of(sources: &Sources, lock: &Lock) -> Self {
        let mut snapshots: Vec<Mirror> = Vec::new();
        for suite in &sources.suites {
            let archive = suite.archive.as_str();
            let locked = lock.suites.iter().find(|locked| locked.suite.name == suite.name.value && locked.suite.archive == suite.archive);
            let (Some(snapshot), Some(time)) = (&suite.snapshot, locked.and_then(|locked| locked.released)) else { continue };
            // An archive of snapshots looks at its source a few times a day: on the day after, it has all files of that state, and
            // the source has not yet removed one.
            for time in [time.next_day(), time] {
                let mirror = Mirror::of(archive, snapshot.value.at(time));
                if !snapshots.contains(&mirror) {
                    snapshots.push(mirror);
                }
            }
        }
        PackageArchives { archives: archives(&sources.suites), codename: lock.codename().to_owned(), snapshots }
    }
}

/// A lockfile's name and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFile {
    /// The path in the project: `lockfiles/debian.lock`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Resolved {
    /// The artifact's name in messages, by digest.
    pub fn artifact_name(&self, digest: &Digest) -> String {
        artifacts::name_of(&self.artifacts, digest)
    }
}

/// Resolves `role`. Fetches nothing; the lockfile must match the recipes. Reads all files that the lockfile names.
pub fn resolve(project: &Project, channel: &Channel, role: &RoleName, cancel: &Cancel) -> Result<Resolved> {
    resolve_by(project, channel, role, &Reading(cancel))
}

/// [`resolve`] with a source for the digests of large files.
pub(in crate::build) fn resolve_by(project: &Project, channel: &Channel, role: &RoleName, digests: &dyn Digests) -> Result<Resolved> {
    let name = channel.sources.channel.as_str();
    let lock = channel.locked()?;
    let missing = || Error::internal(format!("the role `{role}` has no recipe"));
    channel.recipe(&Subject::Role(role.clone())).ok_or_else(missing)?;
    channel.recipe(&Subject::Base).ok_or_else(missing)?;
    // The lockfile may be outdated for other roles.
    let asked = Request::of(&channel.sources, &recipes_for(&channel.recipes, role)?)?;
    lock.check_some(&crate::spec::project::lock_name(name), &asked)?;
    let common_layers = base_layers(&channel.recipes)?;
    let common_cleared = cleared(&common_layers);
    let layers = [common_layers, role_layers(&channel.recipes, role)?].concat();

    let installed: Vec<Locked> = lock.packages_of(role)?.into_iter().cloned().collect();
    let tools: Vec<Locked> = channel.sources.tools.iter().map(|tool| lock.tool(tool.value.as_str()).cloned()).collect::<Result<_>>()?;
    let installer = tools.iter().find(|tool| tool.name.as_str() == INSTALLER).ok_or_else(|| {
        Error::user(format!("`tools` in {} does not name `{INSTALLER}`, which installs the packages", channel.sources.file))
            .hint(format!("add it, and run `kbake lock --channel {name}`"))
    })?;
    one_kernel(role, &installed, &layers, name)?;
    digests.expect(&large_files(project, &layers)?);
    let artifacts = artifacts::of(project, channel, lock, &layers, digests)?;
    let mut origins = Origins::default();
    origins.channel(&channel.sources);
    let cloud_init = installed.iter().find(|package| package.name.as_str() == "cloud-init");
    let cloud_init = cloud_init.map(|package| CloudInit::of(package.version.as_str())).unwrap_or_default();
    let mut files = rendered(role, &layers, &artifacts.facts, cloud_init, &mut origins)?;
    files.extend(makers(&installed, &mut origins));
    files.extend(artifacts.nodes.clone());
    origins.files.extend(artifacts.origins.clone());
    let (mut sources, mut presets, mut users) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    let (cleared, public) = (cleared(&layers), public(&layers));
    let mut effects = Effects::default();
    for recipe in &layers {
        add_entries(project, recipe, digests, &mut files, &mut sources, &mut effects)?;
        add_presets(recipe, &mut presets);
        origins.recipe(recipe);
        for user in &recipe.users {
            users.insert(user.value.name.to_string(), Account { id: user.value.id, home: user.value.home.clone() });
        }
    }
    let held = files.iter().filter_map(|(path, node)| match &node.kind {
        PlannedKind::File(bytes) => Some((path, &bytes[..])),
        _ => None,
    });
    role::static_pod_clashes(held)?;
    let links = authorities::links(&files)?;
    origins.rest(links.keys(), &Origin::Kbake);
    files.extend(links);
    let plan = Plan::new(Inputs {
        role: role.clone(),
        arch: channel.sources.arch,
        epoch: channel.sources.epoch,
        base_format: base::format(),
        packages: installed.iter().map(package).collect(),
        common: installed.iter().filter(|one| one.sets.contains(&SetName::Base)).map(|one| one.name.to_string()).collect(),
        cleared,
        common_cleared,
        installer: package(installer),
        tools: tools.iter().filter(|tool| tool.name != installer.name).map(package).collect(),
        files,
        presets,
        users,
    })?;
    let installer = installer.clone();
    let file = crate::spec::project::lock_name(name);
    let file = LockFile { text: project.text(&file)?.unwrap_or_default(), name: file };
    Ok(Resolved {
        plan,
        packages: installed,
        installer,
        archives: PackageArchives::of(&channel.sources, lock),
        tools,
        sources,
        artifacts,
        origins,
        effects,
        public,
        lock: file,
    })
}

/// The recipes' package requests, to check the lockfile or to resolve them.
pub(crate) fn request(channel: &Channel) -> Result<Request> {
    Request::of(&channel.sources, &channel.recipes)
}

fn package(locked: &Locked) -> Package {
    Package { name: locked.name.as_str().to_owned(), digest: locked.sha256 }
}

/// Refuses a role with several kernels: nothing says which of them the image would boot.
fn one_kernel(role: &RoleName, installed: &[Locked], layers: &[&Recipe], channel: &str) -> Result<()> {
    let kernels = lock::kernels(installed);
    if kernels.len() < 2 {
        return Ok(());
    }
    let asked = layers.iter().flat_map(|recipe| &recipe.packages).filter(|package| lock::asks_for_kernel(package.value.as_str()));
    let asked: Vec<String> = asked.map(|package| format!("`{}` at {}", package.value, Shown(&package.place))).collect();
    let error = Error::user(format!("the role `{role}` has {} kernels, and an image boots one", kernels.len()));
    let error = kernels.iter().fold(error, |error, kernel| error.detail(format!("{} {}", kernel.name, kernel.version)));
    let error = asked.iter().fold(error, |error, asked| error.detail(format!("asked for: {asked}")));
    Err(error.hint(format!(
        "remove all but one of these lines, in base.toml for another kernel in all roles; then run `kbake lock --channel {channel}`"
    )))
}

/// The paths that these recipes remove from the installed base.
fn cleared(layers: &[&Recipe]) -> BTreeSet<TreePath> {
    layers.iter().flat_map(|recipe| &recipe.cleared).map(|path| path.value.clone()).collect()
}

/// The files that these recipes declare public. A later recipe overrides an earlier one.
fn public(layers: &[&Recipe]) -> BTreeSet<TreePath> {
    let mut paths = BTreeSet::new();
    for entry in layers.iter().flat_map(|recipe| &recipe.entries) {
        match &entry.value.intent {
            Intent::File { public: Some(_), .. } => paths.insert(entry.value.path.clone()),
            _ => paths.remove(&entry.value.path),
        };
    }
    paths
}

/// Entries that generate on the node the data that these packages would have generated once for all nodes.
fn makers(installed: &[Locked], origins: &mut Origins) -> Vec<(TreePath, PlannedNode)> {
    let names = installed.iter().map(|package| package.name.as_str()).collect();
    let entries: Vec<_> = role::identity_entries(&names).into_iter().map(from_render).collect();
    origins.rest(entries.iter().map(|(path, _)| path), &Origin::Kbake);
    entries
}

/// The files that kbake's own code writes: shared files, the boot menu, and the files of the recipe's parts.
fn rendered(
    role: &RoleName,
    layers: &[&Recipe],
    facts: &Facts,
    cloud_init: CloudInit,
    origins: &mut Origins,
) -> Result<BTreeMap<TreePath, PlannedNode>> {
    let uuid = *plan::root_uuid(role).as_bytes();
    let mut files: BTreeMap<_, _> = role::base_entries(uuid, cloud_init).into_iter().map(from_render).collect();
    let arguments: Vec<&str> = grub::Menu::CONSOLES.iter().copied().chain(kernel_args(layers)).collect();
    let menu = grub::Menu { title: "Linux", root: uuid, arguments: &arguments }.text()?;
    let menu_path = TreePath::parse(grub::MENU_PATH.as_bytes(), true).map_err(Error::internal)?;
    files.insert(menu_path, PlannedNode { mode: 0o644, owner: Owner::root(), kind: PlannedKind::File(menu.into_bytes().into()) });
    files.extend(module_list(layers)?);
    origins.rest(files.keys(), &Origin::Kbake);
    for recipe in layers {
        let Subject::Part(name) = &recipe.subject else { continue };
        if let Some(part) = Part::named(name.as_str()) {
            let entries: Vec<_> = role::part_entries(part, facts)?.into_iter().map(from_render).collect();
            origins.files.extend(entries.iter().map(|(path, _)| (path.clone(), Origin::Part(name.to_string()))));
            files.extend(entries);
        }
    }
    Ok(files)
}

/// The recipes' kernel arguments in their order, each once.
fn kernel_args<'a>(layers: &[&'a Recipe]) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for argument in layers.iter().flat_map(|recipe| &recipe.kernel_args) {
        if !found.contains(&argument.value.as_str()) {
            found.push(argument.value.as_str());
        }
    }
    found
}

/// The file that makes systemd load the recipes' modules
/// ([modules-load.d(5)](https://www.freedesktop.org/software/systemd/man/latest/modules-load.d.html)).
fn module_list(layers: &[&Recipe]) -> Result<Option<(TreePath, PlannedNode)>> {
    let modules: Vec<&str> = layers.iter().flat_map(|recipe| &recipe.kernel_modules).map(|module| module.value.as_str()).collect();
    if modules.is_empty() {
        return Ok(None);
    }
    let path = TreePath::parse(MODULES.as_bytes(), false).map_err(Error::internal)?;
    let text = format!("# `kernel-modules` of the recipes.\n{}\n", modules.join("\n"));
    Ok(Some((path, PlannedNode { mode: 0o644, owner: Owner::root(), kind: PlannedKind::File(text.into_bytes().into()) })))
}

fn from_render(entry: role::Entry) -> (TreePath, PlannedNode) {
    let owned = |owner: role::Owner| Owner { user: owner.user.into(), group: owner.group.into() };
    match entry {
        role::Entry::Dir { path, mode, owner } => (path, PlannedNode { mode, owner: owned(owner), kind: PlannedKind::Dir }),
        role::Entry::File { path, mode, owner, bytes } => {
            (path, PlannedNode { mode, owner: owned(owner), kind: PlannedKind::File(bytes.into()) })
        }
        role::Entry::Symlink { path, target } => (path, PlannedNode::symlink(target)),
        role::Entry::Absent { path } => (path, PlannedNode::absent()),
    }
}

/// A recipe's entries override kbake's files, and a role's override the base's.
fn add_entries(
    project: &Project,
    recipe: &Recipe,
    digests: &dyn Digests,
    files: &mut BTreeMap<TreePath, PlannedNode>,
    sources: &mut Vec<LargeFile>,
    effects: &mut Effects,
) -> Result<()> {
    effects.modules.extend(recipe.kernel_modules.iter().cloned());
    let named = |user: &dyn Display, group: &dyn Display| Owner { user: user.to_string(), group: group.to_string() };
    for located in &recipe.entries {
        let node = match &located.value.intent {
            Intent::Dir { mode, owner, group } => PlannedNode { mode: mode.bits(), owner: named(owner, group), kind: PlannedKind::Dir },
            Intent::File { body, mode, owner, group, .. } => {
                let kind = match &body.value {
                    Body::Text(text) => PlannedKind::File(text.as_bytes().into()),
                    Body::Source(source) => {
                        let name = source_name(source);
                        if *mode == FileMode::Usual && project.inside(&name)?.is_some_and(|file| file.is_executable()) {
                            return Err(which_mode(&body.place, &name));
                        }
                        let found = project
                            .source(&name, digests)?
                            .ok_or_else(|| body.place.error(format!("{name} does not exist")).hint("add the file, or change `source`"))?;
                        from_source(found, sources)
                    }
                };
                PlannedNode { mode: mode.bits(), owner: named(owner, group), kind }
            }
            Intent::Symlink { target } => PlannedNode::symlink(target.clone().into_bytes()),
            Intent::Remove => PlannedNode::absent(),
        };
        let is_removal = node.kind == PlannedKind::Absent;
        let before = files.insert(located.value.path.clone(), node);
        // A path that another recipe or kbake's code writes need not be in the base.
        if is_removal && before.is_none() {
            effects.removals.push(Located { value: located.value.path.clone(), place: located.place.clone() });
        }
    }
    Ok(())
}

/// Requires an explicit mode for an executable file: a mode from the disk would differ between checkouts.
fn which_mode(place: &Place, name: &str) -> Error {
    place
        .error(format!("{name} is executable on disk; the recipe must say its mode in the image"))
        .hint("give the [[file]] `mode = \"0755\"`, or `mode = \"0644\"` if it is not a program")
}

/// The recipes' large files, in the order in which they will be read.
fn large_files(project: &Project, layers: &[&Recipe]) -> Result<Vec<OwnPath>> {
    let mut found = Vec::new();
    for located in layers.iter().flat_map(|recipe| &recipe.entries) {
        if let Intent::File { body, .. } = &located.value.intent
            && let Body::Source(source) = &body.value
        {
            found.extend(project.large(&source_name(source))?);
        }
    }
    Ok(found)
}

/// The path in the project of a recipe's `source`.
fn source_name(source: &impl Display) -> String {
    format!("recipes/{source}")
}

fn from_source(found: SourceFile, sources: &mut Vec<LargeFile>) -> PlannedKind {
    match found {
        SourceFile::Held(bytes) => PlannedKind::File(bytes.into()),
        SourceFile::Named(file) => {
            let kind = PlannedKind::Named { digest: file.digest, size: file.size };
            sources.push(file);
            kind
        }
    }
}

fn add_presets(recipe: &Recipe, presets: &mut BTreeMap<String, Preset>) {
    let lists = [(&recipe.units.enable, Preset::Enable), (&recipe.units.disable, Preset::Disable), (&recipe.units.mask, Preset::Mask)];
    for (units, preset) in lists {
        presets.extend(units.iter().map(|unit| (unit.value.to_string(), preset)));
    }
}
