//! Pins: all locked versions stay, except for requested upgrades and versions that the archive no longer has.

use std::collections::{BTreeMap, BTreeSet};

use super::output::Available;
use crate::common::document::nearest;
use crate::common::value::{PackageName, Version};
use crate::spec::lock::{Entry, Lock};
use crate::{Error, Result};

/// The packages that may move to a newer version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// None that the archive still has.
    Nothing,
    /// All.
    All,
    /// These packages, and those built from the same sources.
    Names(BTreeSet<PackageName>),
}

/// The pinned and the vanished packages.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pins {
    /// The packages that stay, with their versions.
    pub kept: BTreeMap<PackageName, Version>,
    /// The packages whose version the archive no longer has, and their siblings.
    pub vanished: BTreeSet<PackageName>,
}

/// Pins by source. Packages built from one source depend on each other's exact version, so they stay or move together. Their
/// common folder in the pool identifies the source.
pub(super) fn pins(old: &Lock, upgrade: &Upgrade, available: &Available) -> Pins {
    let gone = |entry: &&Entry| !available.get(&entry.name).is_some_and(|versions| versions.contains(&entry.version));
    let folders = |entry: &Entry| entry.source.folder().to_owned();
    let gone: BTreeSet<String> = old.entries().filter(gone).map(folders).collect();
    let wanted: BTreeSet<String> = old.entries().filter(|entry| is_wanted(upgrade, &entry.name)).map(folders).collect();
    let mut pins = Pins { kept: BTreeMap::new(), vanished: BTreeSet::new() };
    for entry in old.entries() {
        if gone.contains(entry.source.folder()) {
            pins.vanished.insert(entry.name.clone());
        } else if !wanted.contains(entry.source.folder()) {
            pins.kept.insert(entry.name.clone(), entry.version.clone());
        }
    }
    pins
}

/// True if the user named this very package.
pub(super) fn is_wanted(upgrade: &Upgrade, name: &PackageName) -> bool {
    match upgrade {
        Upgrade::Nothing => false,
        Upgrade::All => true,
        Upgrade::Names(names) => names.contains(name),
    }
}

/// Refuses to upgrade a package that is not locked: a misspelt name would otherwise look like "nothing newer".
pub(super) fn check_upgrade(old: Option<&Lock>, upgrade: &Upgrade) -> Result<()> {
    let Upgrade::Names(names) = upgrade else { return Ok(()) };
    let locked: BTreeSet<&str> = old.iter().flat_map(|lock| lock.entries()).map(|entry| entry.name.as_str()).collect();
    let Some(unknown) = names.iter().find(|name| !locked.contains(name.as_str())) else { return Ok(()) };
    let error = Error::user(format!("cannot upgrade `{unknown}`: it is not in the lockfile"));
    Err(match nearest(unknown.as_str(), locked) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint("`kbake lock` without `--upgrade` locks the recipes' new packages"),
    })
}
