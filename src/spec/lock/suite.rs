//! The suites that a lock's packages were resolved in, each with the date of its state.

use std::collections::BTreeSet;
use std::fmt;

use crate::common::value::Timestamp;
use crate::spec::recipe::{Suite, Word};

/// A suite that packages are resolved in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedSuite {
    /// Its codename.
    pub name: Word,
    /// The archive that has it.
    pub archive: Word,
    /// Its components.
    pub components: BTreeSet<Word>,
}

/// A suite that packages were resolved in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedSuite {
    /// The suite.
    pub suite: WantedSuite,
    /// The date in its signed release file; none before anything was resolved.
    pub released: Option<Timestamp>,
}

impl WantedSuite {
    /// The suite of a sources file.
    pub fn of(suite: &Suite) -> Self {
        WantedSuite {
            name: suite.name.value.clone(),
            archive: suite.archive.clone(),
            components: suite.components.iter().map(|component| component.value.clone()).collect(),
        }
    }

    /// The same suite, before anything was resolved in it.
    pub fn unresolved(&self) -> LockedSuite {
        LockedSuite { suite: self.clone(), released: None }
    }
}

impl fmt::Display for WantedSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let components: Vec<&str> = self.components.iter().map(Word::as_str).collect();
        write!(f, "{}/{} ({})", self.archive, self.name, components.join(" "))
    }
}

/// True if these are the same suites in the same order, whatever their dates.
pub(super) fn are_same(wanted: &[WantedSuite], locked: &[LockedSuite]) -> bool {
    wanted.iter().eq(locked.iter().map(|locked| &locked.suite))
}

/// The suites on one line, for messages.
pub(super) fn shown<'a>(suites: impl IntoIterator<Item = &'a WantedSuite>) -> String {
    suites.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
