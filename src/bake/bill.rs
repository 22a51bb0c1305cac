//! A resolved role as a bill of materials: from the lockfile and the plan alone. `contents` adds what is in the things themselves.

use std::collections::BTreeMap;

use super::{Origin, Resolved};
use crate::plan::{Made, PlannedKind};
use crate::sbom::{Bill, Item, artifact_id, package_id};
use crate::value::{ArtifactName, Sha256, TreePath};

/// What is in the image of a role.
pub fn bill(resolved: &Resolved) -> Bill {
    of(resolved, items(resolved))
}

/// The bill of these items.
pub(super) fn of(resolved: &Resolved, items: Vec<Item>) -> Bill {
    let plan = &resolved.plan;
    let tools = vec![Item::package(&resolved.installer, &resolved.suite)];
    Bill::new(plan.role().clone(), plan.arch(), plan.key(), plan.epoch(), items, tools)
}

/// The items that are locked for the image of a role.
pub(super) fn items(resolved: &Resolved) -> Vec<Item> {
    let plan = &resolved.plan;
    let package = |package| Item::package(package, &resolved.suite);
    // Tools that are read and not run, as GRUB is, end up in the image themselves.
    let read = resolved.tools.iter().filter(|tool| tool.name != resolved.installer.name);
    let mut items: Vec<Item> = resolved.packages.iter().chain(read).map(package).collect();
    let mut places: BTreeMap<ArtifactName, Vec<String>> = BTreeMap::new();
    for (path, node) in plan.files() {
        match (&node.kind, resolved.origins.files.get(path)) {
            (PlannedKind::Made(Made::Extract(_)), Some(Origin::Artifact { name, .. })) => {
                places.entry(name.clone()).or_default().push(path.to_string());
            }
            (PlannedKind::Made(Made::Built(image, _)), Some(Origin::Image { from: Some(from), .. })) => {
                let inside = image.files.iter().map(|(inner, _)| format!("{path}:{inner}"));
                places.entry(from.clone()).or_default().extend(inside);
                items.push(Item::built(image, path, vec![id(resolved, from)]));
            }
            (PlannedKind::Made(Made::Pulled(image, _)), _) => items.push(Item::pulled(image, path)),
            (PlannedKind::Named { digest, .. }, _) => items.push(Item::file(path, *digest)),
            (PlannedKind::File(bytes), _) if is_recipes(resolved, path) => items.push(Item::file(path, Sha256::of(bytes))),
            _ => {}
        }
    }
    for (name, places) in places {
        let Some(item) = item(resolved, &name) else { continue };
        // A package may be installed besides.
        match items.iter_mut().find(|known| known.id == item.id) {
            Some(known) => known.places.extend(places),
            None => items.push(Item { places, ..item }),
        }
    }
    items
}

/// True for a file that a recipe holds.
pub(super) fn is_recipes(resolved: &Resolved, path: &TreePath) -> bool {
    matches!(resolved.origins.files.get(path), Some(Origin::Recipe(_)))
}

/// The artifact that a file of the image comes from, or is built of.
pub(super) fn artifact(origin: &Origin) -> Option<&ArtifactName> {
    match origin {
        Origin::Artifact { name, .. } | Origin::Image { from: Some(name), .. } => Some(name),
        _ => None,
    }
}

/// An artifact of the image: as such, or the package that it is a file of.
fn item(resolved: &Resolved, name: &ArtifactName) -> Option<Item> {
    let package = |package| Item::package(package, &resolved.suite);
    let locked = resolved.artifacts.locked.get(name).map(Item::artifact);
    locked.or_else(|| resolved.artifacts.members.get(name).map(package))
}

/// What it is called in the bill.
pub(super) fn id(resolved: &Resolved, name: &ArtifactName) -> String {
    match resolved.artifacts.members.get(name) {
        Some(package) if !resolved.artifacts.locked.contains_key(name) => package_id(package),
        _ => artifact_id(name),
    }
}
