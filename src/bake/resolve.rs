//! Recipes and lockfile → plan: whose packages, which files, in which order they override each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::artifacts::{self, Artifacts};
use super::authorities;
use super::effect::Effects;
use super::origin::{Origin, Origins, Shown};
use crate::base;
use crate::disk::grub;
use crate::document::{Located, Place};
use crate::error::{Error, Result};
use crate::lock::{self, Entry as Locked, Request, SetName, recipes_for};
use crate::plan::{self, Account, Inputs, Owner, Package, Plan, PlannedKind, PlannedNode, Preset};
use crate::project::{Channel, Digests, LargeFile, OwnPath, Project, Reading, SourceFile};
use crate::recipe::{Body, FileMode, Intent, Part, Recipe, Subject, base_layers, role_layers};
use crate::render::{self, Facts};
use crate::value::{Cancel, Digest, RoleName, TreePath};

/// The file that lists the recipes' kernel modules.
pub(super) const MODULES: &str = "etc/modules-load.d/kernel-modules.conf";

/// The tool that is run to install packages.
const INSTALLER: &str = "mmdebstrap";

/// A role's plan, and the packages it is made of.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The plan.
    pub plan: Plan,
    /// What is installed.
    pub packages: Vec<Locked>,
    /// What installs it.
    pub installer: Locked,
    /// The suite that all were locked from.
    pub suite: String,
    /// What is run or read at bake time, the installer included.
    pub tools: Vec<Locked>,
    /// The recipes' large files.
    pub sources: Vec<LargeFile>,
    /// What artifacts and container images come to.
    pub artifacts: Artifacts,
    /// Whose doing the plan's lines are.
    pub origins: Origins,
    /// Statements that must have an effect on the installed base.
    pub effects: Effects,
    /// Files of recipes that everyone may have, whatever they look like.
    pub public: BTreeSet<TreePath>,
    /// The lockfile, as it was read.
    pub lock: LockFile,
}

/// A lockfile's name and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFile {
    /// Relative to the project: `lockfiles/debian.lock`.
    pub name: String,
    /// All of it.
    pub text: String,
}

impl Resolved {
    /// The name by which messages speak of the artifact with a digest.
    pub fn artifact_name(&self, digest: &Digest) -> String {
        artifacts::name_of(&self.artifacts, digest)
    }
}

/// Resolves `role`. Nothing is fetched; the lockfile must fit the recipes. All files that it names are read.
pub fn resolve(project: &Project, channel: &Channel, role: &RoleName, cancel: &Cancel) -> Result<Resolved> {
    resolve_by(project, channel, role, &Reading(cancel))
}

/// As [`resolve`], with what knows the digests of large files.
pub(super) fn resolve_by(project: &Project, channel: &Channel, role: &RoleName, digests: &dyn Digests) -> Result<Resolved> {
    let name = channel.sources.channel.as_str();
    let lock = channel.locked()?;
    let missing = || Error::internal(format!("the role `{role}` has no recipe"));
    channel.recipe(&Subject::Role(role.clone())).ok_or_else(missing)?;
    channel.recipe(&Subject::Base).ok_or_else(missing)?;
    // Other roles may be new, changed or gone.
    let asked = Request::of(&channel.sources, &recipes_for(&channel.recipes, role)?)?;
    lock.check_some(&crate::project::lock_name(name), &asked)?;
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
    let mut files = rendered(role, &layers, &artifacts.facts, &mut origins)?;
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
    render::static_pod_clashes(held)?;
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
    let file = crate::project::lock_name(name);
    let file = LockFile { text: project.text(&file)?.unwrap_or_default(), name: file };
    Ok(Resolved {
        plan,
        packages: installed,
        installer,
        suite: lock.suite.to_string(),
        tools,
        sources,
        artifacts,
        origins,
        effects,
        public,
        lock: file,
    })
}

/// What the recipes ask for, to hold against the lockfile or to resolve.
pub fn request(channel: &Channel) -> Result<Request> {
    Request::of(&channel.sources, &channel.recipes)
}

fn package(locked: &Locked) -> Package {
    Package { name: locked.name.as_str().to_owned(), digest: locked.sha256 }
}

/// Refuses packages with several kernels: which of them the image would boot, nobody has said.
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

/// The paths that these recipes take out of the installed base.
fn cleared(layers: &[&Recipe]) -> BTreeSet<TreePath> {
    layers.iter().flat_map(|recipe| &recipe.cleared).map(|path| path.value.clone()).collect()
}

/// The files that these recipes call public. What a later one says of a path counts.
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

/// Entries that make on the node what these packages would have made once for all nodes.
fn makers(installed: &[Locked], origins: &mut Origins) -> Vec<(TreePath, PlannedNode)> {
    let names = installed.iter().map(|package| package.name.as_str()).collect();
    let entries: Vec<_> = render::identity_entries(&names).into_iter().map(from_render).collect();
    origins.rest(entries.iter().map(|(path, _)| path), &Origin::Kbake);
    entries
}

/// The files that kbake's own code writes: the shared ones, the boot menu, and those of the recipe's parts.
fn rendered(role: &RoleName, layers: &[&Recipe], facts: &Facts, origins: &mut Origins) -> Result<BTreeMap<TreePath, PlannedNode>> {
    let uuid = *plan::root_uuid(role).as_bytes();
    let mut files: BTreeMap<_, _> = render::base_entries(uuid).into_iter().map(from_render).collect();
    let arguments: Vec<&str> = grub::Menu::CONSOLES.iter().copied().chain(kernel_args(layers)).collect();
    let menu = grub::Menu { title: "Linux", root: uuid, arguments: &arguments }.text()?;
    let menu_path = TreePath::parse(grub::MENU_PATH.as_bytes(), true).map_err(Error::internal)?;
    files.insert(menu_path, PlannedNode { mode: 0o644, owner: Owner::root(), kind: PlannedKind::File(menu.into_bytes().into()) });
    files.extend(module_list(layers)?);
    origins.rest(files.keys(), &Origin::Kbake);
    for recipe in layers {
        let Subject::Part(name) = &recipe.subject else { continue };
        if let Some(part) = Part::named(name.as_str()) {
            let entries: Vec<_> = render::part_entries(part, facts)?.into_iter().map(from_render).collect();
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

fn from_render(entry: render::Entry) -> (TreePath, PlannedNode) {
    let owned = |owner: render::Owner| Owner { user: owner.user.into(), group: owner.group.into() };
    match entry {
        render::Entry::Dir { path, mode, owner } => (path, PlannedNode { mode, owner: owned(owner), kind: PlannedKind::Dir }),
        render::Entry::File { path, mode, owner, bytes } => {
            (path, PlannedNode { mode, owner: owned(owner), kind: PlannedKind::File(bytes.into()) })
        }
        render::Entry::Symlink { path, target } => (path, PlannedNode::symlink(target)),
        render::Entry::Absent { path } => (path, PlannedNode::absent()),
    }
}

/// A recipe's own entries win over what kbake writes, and a role's over the base's.
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
                        let found = project.source(&name, digests)?.ok_or_else(|| body.place.error(format!("{name} is missing")))?;
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
        // A path that another recipe or kbake's own code puts there is not in the base.
        if is_removal && before.is_none() {
            effects.removals.push(Located { value: located.value.path.clone(), place: located.place.clone() });
        }
    }
    Ok(())
}

/// A program that lost its bit would fail on the machine; one that got it from the disk would be another file elsewhere.
fn which_mode(place: &Place, name: &str) -> Error {
    place
        .error(format!("{name} is executable, and the recipe does not say whether it is in the image"))
        .hint("give the [[file]] `mode = \"0755\"`, or `mode = \"0644\"` when it is no program")
}

/// The files of recipes that are not held in memory, in the order in which they will be asked for.
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

/// Where in the project a recipe's `source` is.
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
