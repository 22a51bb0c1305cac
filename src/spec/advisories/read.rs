//! All advisories for some software.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::osv::Record;
use super::tracker::Tracker;
use super::{Format, Severity, Software, files, tracker};
use crate::common::error::Result;

/// The names that advisories are kept for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Debian's source packages.
    pub sources: BTreeSet<String>,
    /// Debian's releases.
    pub releases: BTreeSet<String>,
}

impl Wanted {
    /// The names in some software.
    pub(crate) fn of<'a>(all: impl IntoIterator<Item = &'a Software>) -> Self {
        let mut wanted = Wanted::default();
        for software in all {
            for package in &software.packages {
                wanted.sources.insert(package.source.clone());
                wanted.releases.insert(package.release.clone());
            }
        }
        wanted
    }
}

/// Advisories of all publishers.
#[derive(Debug, Default)]
pub(crate) struct Advisories {
    /// Debian's, if they were read.
    pub(super) tracker: Option<Tracker>,
    /// Those on Go modules, if they were read.
    pub(super) records: Option<Vec<Record>>,
}

impl Advisories {
    /// Adds a publisher's file, which `what` names in messages.
    ///
    /// # Errors
    /// A file that cannot be read; errors of `reader`.
    pub(crate) fn add(&mut self, format: Format, what: &str, reader: impl Read, wanted: &Wanted) -> Result<()> {
        match format {
            Format::DebianTracker => {
                let found = tracker::read(reader, what, &wanted.sources, &wanted.releases)?;
                let tracker = self.tracker.get_or_insert_default();
                tracker.releases.extend(found.releases);
                for (source, issues) in found.issues {
                    tracker.issues.entry(source).or_default().extend(issues);
                }
            }
            Format::Osv => self.records.get_or_insert_default().extend(files::records(reader, what)?),
        }
        Ok(())
    }

    /// The ids of one vulnerability, by each of them.
    pub(super) fn names(&self) -> Names {
        Names::of(self.records.iter().flatten())
    }
}

/// The ids of vulnerabilities: records that name each other describe the same one.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The number of the vulnerability of an id.
    number: BTreeMap<String, usize>,
    /// All ids of a vulnerability, and the worst severity of its records.
    all: Vec<(BTreeSet<String>, Severity)>,
}

impl Names {
    fn of<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        let mut names = Names::default();
        records.for_each(|record| names.join(record));
        names
    }

    /// Adds a record, and joins everything that shares an id with it.
    fn join(&mut self, record: &Record) {
        let mut ids: BTreeSet<String> = record.aliases.iter().chain([&record.id]).cloned().collect();
        let known: BTreeSet<usize> = ids.iter().filter_map(|id| self.number.get(id).copied()).collect();
        let mut severity = record.severity;
        for number in known {
            let (others, worst) = std::mem::take(&mut self.all[number]);
            ids.extend(others);
            severity = severity.max(worst);
        }
        self.number.extend(ids.iter().map(|id| (id.clone(), self.all.len())));
        self.all.push((ids, severity));
    }

    /// The vulnerability's own name: its first CVE, else the id itself.
    pub(super) fn name<'a>(&'a self, id: &'a str) -> &'a str {
        let first = self.all(id).and_then(|ids| ids.iter().find(|id| id.starts_with("CVE-")));
        first.or_else(|| self.all(id)?.iter().find(|id| id.starts_with("GHSA-"))).map_or(id, String::as_str)
    }

    /// Its other ids.
    pub(super) fn aliases(&self, id: &str) -> BTreeSet<String> {
        let name = self.name(id);
        self.all(id).into_iter().flatten().filter(|other| *other != name).cloned().collect()
    }

    /// The worst severity that a record gives it.
    pub(super) fn severity(&self, id: &str) -> Severity {
        self.number.get(id).map_or(Severity::Unknown, |number| self.all[*number].1)
    }

    fn all(&self, id: &str) -> Option<&BTreeSet<String>> {
        self.number.get(id).map(|number| &self.all[*number].0)
    }
}
