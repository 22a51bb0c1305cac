//! Which locked versions stay: all, but for what the user wants upgraded and what the archive no longer has.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::nearest;
use crate::lock::{Entry, Lock};
use crate::value::{PackageName, Version};
use crate::{Error, Result};

/// What may move to a newer version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upgrade {
    /// Nothing that the archive still has.
    Nothing,
    /// Everything.
    All,
    /// These packages, and those built from the same sources.
    Names(BTreeSet<PackageName>),
}

/// The decision.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pins {
    /// What stays, and at which version.
    pub kept: BTreeMap<PackageName, Version>,
    /// What the archive no longer has, with its siblings.
    pub vanished: BTreeSet<PackageName>,
}

/// Packages built from one source depend on each other's exact version, so they stay or move together. One source's
/// packages share a folder of the pool.
pub(super) fn pins(old: &Lock, upgrade: &Upgrade, available: &BTreeMap<PackageName, BTreeSet<Version>>) -> Pins {
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

/// Whether the user asked for this very package to move.
pub(super) fn is_wanted(upgrade: &Upgrade, name: &PackageName) -> bool {
    match upgrade {
        Upgrade::Nothing => false,
        Upgrade::All => true,
        Upgrade::Names(names) => names.contains(name),
    }
}

/// Refuses to upgrade what is not locked: a misspelt name would otherwise look like "nothing newer".
pub(super) fn check_upgrade(old: Option<&Lock>, upgrade: &Upgrade) -> Result<()> {
    let Upgrade::Names(names) = upgrade else { return Ok(()) };
    let locked: BTreeSet<&str> = old.iter().flat_map(|lock| lock.entries()).map(|entry| entry.name.as_str()).collect();
    let Some(unknown) = names.iter().find(|name| !locked.contains(name.as_str())) else { return Ok(()) };
    let error = Error::user(format!("cannot upgrade `{unknown}`: it is not in the lockfile"));
    Err(match nearest(unknown.as_str(), locked) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint("`kbake lock` without `--upgrade` locks what the recipes newly ask for"),
    })
}
