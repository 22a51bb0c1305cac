//! Changed packages between two locks, for review.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::common::value::{PackageArch, PackageName};

use super::{Entry, Lock};

/// One changed package. Shown as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// New in the lock.
    Added(Entry),
    /// No longer in the lock.
    Removed(Entry),
    /// Another version, or other bytes.
    Moved {
        /// The entry of the old lock.
        from: Entry,
        /// The entry of the new lock.
        to: Entry,
        /// The cause of the change.
        cause: Cause,
    },
    /// The same bytes for other sets.
    Regrouped {
        /// The entry of the old lock.
        from: Entry,
        /// The entry of the new lock, with other sets.
        to: Entry,
    },
}

/// The cause of a version change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It was requested with `--upgrade`, directly or through a sibling.
    Upgrade,
    /// The archive no longer has the locked version, or that of a sibling built from the same source.
    Vanished,
}

/// All changes, sorted by name and architecture. `vanished` names the packages that had to move.
pub(crate) fn changes(old: Option<&Lock>, new: &Lock, vanished: &BTreeSet<PackageName>) -> Vec<Change> {
    let none = BTreeMap::new();
    let old = old.map_or(&none, |lock| &lock.entries);
    let keys: BTreeSet<&(PackageName, PackageArch)> = old.keys().chain(new.entries.keys()).collect();
    keys.into_iter().filter_map(|key| change(old.get(key), new.entries.get(key), vanished)).collect()
}

fn change(from: Option<&Entry>, to: Option<&Entry>, vanished: &BTreeSet<PackageName>) -> Option<Change> {
    match (from.cloned(), to.cloned()) {
        (None, Some(to)) => Some(Change::Added(to)),
        (Some(from), None) => Some(Change::Removed(from)),
        (Some(from), Some(to)) if from.version != to.version || from.sha256 != to.sha256 => {
            let cause = if vanished.contains(&to.name) { Cause::Vanished } else { Cause::Upgrade };
            Some(Change::Moved { from, to, cause })
        }
        (Some(from), Some(to)) if from.sets != to.sets => Some(Change::Regrouped { from, to }),
        _ => None,
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Added(entry) => write!(f, "add     {} {} ({})", entry.name, entry.version, sets(entry)),
            Change::Removed(entry) => write!(f, "remove  {} {} ({})", entry.name, entry.version, sets(entry)),
            Change::Moved { from, to, cause } => {
                let why = match cause {
                    Cause::Upgrade => "",
                    Cause::Vanished => ": the archive no longer has the locked version",
                };
                write!(f, "move    {} {} -> {}{why}", to.name, from.version, to.version)
            }
            Change::Regrouped { from, to } => write!(f, "regroup {} ({}) -> ({})", to.name, sets(from), sets(to)),
        }
    }
}

fn sets(entry: &Entry) -> String {
    entry.sets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
