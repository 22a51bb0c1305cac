//! A resolved role as a bill of materials, from the lockfile and the plan alone. `contents` adds the contents of the items.

use std::collections::BTreeMap;

use crate::build::sbom::{Bill, Item, artifact_id, distro, package_id};
use crate::build::{Origin, Resolved};
use crate::common::value::{ArtifactName, Sha256, TreePath};
use crate::spec::plan::{Extraction, PlannedKind};

/// The bill's items for the image of a role.
pub(crate) fn bill(resolved: &Resolved) -> Bill {
    of(resolved, items(resolved))
}

/// The bill of these items.
pub(in crate::build) fn of(resolved: &Resolved, items: Vec<Item>) -> Bill {
    let plan = &resolved.plan;
    let tools = vec![Item::package(&resolved.installer, &distro(&resolved.packages, &resolved.archives.codename))];
    Bill::new(plan.role().clone(), plan.arch(), plan.key(), plan.epoch(), items, tools)
}

/// The items that are locked for the image of a role.
pub(in crate::build) fn items(resolved: &Resolved) -> Vec<Item> {
    let plan = &resolved.plan;
    let distro = distro(&resolved.packages, &resolved.archives.codename);
    let package = |package| Item::package(package, &distro);
    // Tools that are read instead of run, such as GRUB, become part of the image.
    let read = resolved.tools.iter().filter(|tool| tool.name != resolved.installer.name);
    let mut items: Vec<Item> = resolved.packages.iter().chain(read).map(package).collect();
    let mut places: BTreeMap<ArtifactName, Vec<String>> = BTreeMap::new();
    for (path, node) in plan.files() {
        match (&node.kind, resolved.origins.files.get(path)) {
            (PlannedKind::Extraction(Extraction::File(_)), Some(Origin::Artifact { name, .. })) => {
                places.entry(name.clone()).or_default().push(path.to_string());
            }
            (PlannedKind::Extraction(Extraction::Built(image, _)), Some(Origin::Image { from: Some(from), .. })) => {
                let inside = image.files.iter().map(|(inner, _)| format!("{path}:{inner}"));
                places.entry(from.clone()).or_default().extend(inside);
                items.push(Item::built(image, path, vec![id(resolved, from)]));
            }
            (PlannedKind::Extraction(Extraction::Pulled(image, _)), _) => items.push(Item::pulled(image, path)),
            (PlannedKind::Named { digest, .. }, _) => items.push(Item::file(path, *digest)),
            (PlannedKind::File(bytes), _) if is_recipes(resolved, path) => items.push(Item::file(path, Sha256::of(bytes))),
            _ => {}
        }
    }
    for (name, places) in places {
        let Some(item) = item(resolved, &name) else { continue };
        // The package may be installed as well.
        match items.iter_mut().find(|known| known.id == item.id) {
            Some(known) => known.places.extend(places),
            None => items.push(Item { places, ..item }),
        }
    }
    items
}

/// True for a file that a recipe has.
pub(in crate::build) fn is_recipes(resolved: &Resolved, path: &TreePath) -> bool {
    matches!(resolved.origins.files.get(path), Some(Origin::Recipe(_)))
}

/// The artifact that a file of the image comes from, or is built from.
pub(in crate::build) fn artifact(origin: &Origin) -> Option<&ArtifactName> {
    match origin {
        Origin::Artifact { name, .. } | Origin::Image { from: Some(name), .. } => Some(name),
        _ => None,
    }
}

/// An artifact of the image: the artifact itself, or the package that it is a file of.
fn item(resolved: &Resolved, name: &ArtifactName) -> Option<Item> {
    let package = |package| Item::package(package, &distro(&resolved.packages, &resolved.archives.codename));
    let locked = resolved.artifacts.locked.get(name).map(Item::artifact);
    locked.or_else(|| resolved.artifacts.members.get(name).map(package))
}

/// The item's id in the bill.
pub(in crate::build) fn id(resolved: &Resolved, name: &ArtifactName) -> String {
    match resolved.artifacts.members.get(name) {
        Some(package) if !resolved.artifacts.locked.contains_key(name) => package_id(package),
        _ => artifact_id(name),
    }
}
