//! Contents of an item as further items of the bill.

use std::collections::BTreeMap;

use super::look::Inside;
use super::{Job, Places};
use crate::build::Resolved;
use crate::build::pipeline::extract::stripped;
use crate::build::sbom::{self, Item};
use crate::common::value::TreePath;
use crate::formats::inspect::contents::{Content as Found, GoModule, GoProgram, Installed, Manager, Replacement, System};
use crate::spec::plan::PlannedKind;

/// The name of Go's standard library in scanners.
const LIBRARY: &str = "stdlib";
/// The fact of a program that was built without modules.
const NO_MODULES: &str = "packages without modules; the name is the main package's";
/// The files that identify a system. The first is often a link to the second.
const RELEASES: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

/// The items of a bill under construction, each once.
pub(super) struct Items(BTreeMap<String, Item>);

impl Items {
    pub(super) fn of(list: Vec<Item>) -> Self {
        let mut items = Items(BTreeMap::new());
        list.into_iter().for_each(|item| items.add(item));
        items
    }

    fn add(&mut self, item: Item) {
        match self.0.get_mut(&item.id) {
            Some(known) => known.merge(item),
            None => drop(self.0.insert(item.id.clone(), item)),
        }
    }

    pub(super) fn into_list(self) -> Vec<Item> {
        self.0.into_values().collect()
    }
}

/// Adds the contents of an item, and links the item to them.
pub(super) fn parent(resolved: &Resolved, job: &Job, inside: &Inside, items: &mut Items) {
    let (mut contains, mut facts) = (Vec::new(), Vec::new());
    facts.extend(inside.unread.iter().map(|why| ("not-read", why.clone())));
    let system = RELEASES.iter().find_map(|path| match inside.found.get(&TreePath::fixed(path)) {
        Some(Found::System(system)) => Some(system),
        _ => None,
    });
    for (path, found) in &inside.found {
        let places = job.places.of(resolved, path);
        if places.is_empty() {
            continue;
        }
        let inner = match found {
            Found::Go(Ok(program)) => modules(program),
            Found::Go(Err(why)) => {
                facts.extend(places.iter().map(|place| ("modules-not-read", format!("{place}: {why}"))));
                Vec::new()
            }
            Found::Python(found) => vec![Item::python(&found.name, &found.version)],
            Found::Installed(packages) if matches!(job.places, Places::In(_)) => {
                packages.iter().map(|package| installed(&job.id, package, system)).collect()
            }
            Found::Installed(_) | Found::System(_) => Vec::new(),
        };
        for item in inner {
            contains.push(item.id.clone());
            items.add(Item { places: places.clone(), ..item });
        }
    }
    if let Some(item) = items.0.get_mut(&job.id) {
        contains.retain(|id| *id != job.id);
        item.contains.extend(contains);
        item.contains.sort();
        item.contains.dedup();
        item.facts.extend(facts);
        item.facts.sort();
    }
}

impl Places {
    /// The places of a file in the image; empty when the image does not have it.
    fn of(&self, resolved: &Resolved, path: &TreePath) -> Vec<String> {
        match self {
            Places::Root if is_gone(resolved, path) => Vec::new(),
            Places::Root => vec![path.to_string()],
            Places::In(archive) => vec![format!("{archive}:{path}")],
            Places::Itself(places) => places.clone(),
            Places::Members { .. } => self.member(path).cloned().unwrap_or_default(),
        }
    }

    /// The places of a member of an archive.
    pub(super) fn member(&self, path: &TreePath) -> Option<&Vec<String>> {
        let Places::Members { strip, members } = self else { return None };
        members.get(&stripped(path, *strip)?)
    }
}

/// True when a role removes or replaces a package's file.
fn is_gone(resolved: &Resolved, path: &TreePath) -> bool {
    let plan = &resolved.plan;
    let is_planned = |path: TreePath| plan.files().get(&path).is_some_and(|node| !matches!(node.kind, PlannedKind::Dir));
    std::iter::successors(Some(path.clone()), TreePath::parent).any(is_planned)
        || [true, false].into_iter().flat_map(|common| plan.cleared(common)).any(|gone| path.is_within(gone))
}

/// All modules of a program: its own, the others, and the standard library.
fn modules(program: &GoProgram) -> Vec<Item> {
    let mut own: Vec<Item> = program.main.iter().map(module).chain(unversioned(program)).collect();
    for item in own.iter_mut().filter(|item| item.version.is_none()) {
        item.facts.extend(program.revision.iter().map(|revision| ("commit", revision.clone())));
    }
    let library = program.library().map(|version| Item::go_module(LIBRARY, Some(version), None));
    own.into_iter().chain(program.modules.iter().map(module)).chain(library).collect()
}

/// True for the item of a program that was built without modules.
pub(in crate::build::explain) fn built_without_modules(item: &Item) -> bool {
    item.facts.iter().any(|(_, value)| value == NO_MODULES)
}

/// A program that was built without modules: only its main package is known.
fn unversioned(program: &GoProgram) -> Option<Item> {
    // Go's name for a main package given as files on the command line.
    let package = program.package.as_ref().filter(|path| program.main.is_none() && *path != "command-line-arguments")?;
    let mut item = Item::go_module(package, None, None);
    item.facts.push(("built-from", NO_MODULES.to_owned()));
    Some(item)
}

fn module(module: &GoModule) -> Item {
    let mut item = Item::go_module(&module.path, module.version.as_deref(), module.sum.as_deref());
    item.facts.extend(module.replacement.iter().map(|replacement| match replacement {
        Replacement::Of(other) => ("replaces", other.clone()),
        Replacement::Folder => ("built-from", "a folder of the program's sources".to_owned()),
    }));
    item
}

/// A package in a container image.
fn installed(container: &str, package: &Installed, system: Option<&System>) -> Item {
    let id = system.and_then(|system| system.id.as_deref());
    let numbered = |system: &System| Some(format!("{}-{}", system.id.as_deref()?, system.version.as_deref()?));
    let codename = system.and_then(|system| system.codename.as_deref());
    let distro = system.and_then(numbered).or_else(|| codename.map(str::to_owned));
    let manager = match package.manager {
        Manager::Dpkg => sbom::Manager::Dpkg,
        Manager::Apk => sbom::Manager::Apk,
    };
    let Installed { name, version, arch, source, .. } = package;
    Item::installed(container, &sbom::Installed { manager, name, version, arch, source, system: id, distro, codename })
}
