//! The vulnerabilities that a move from one lock to another fixes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Advisories, Inside, Module, Package, Software, Status, own_modules, report, source_version, tracked};
use crate::spec::lock::{Entry, Lock};

/// The vulnerabilities that a new version of a product fixes. Shown as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fixed {
    /// The product.
    pub product: String,
    /// Their ids.
    pub ids: BTreeSet<String>,
}

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fixes   {}:", self.product)?;
        self.ids.iter().try_for_each(|id| write!(f, " {id}"))
    }
}

/// The vulnerabilities of the old lock that the new one does not have, by product. A product that is no longer locked fixes nothing.
pub(crate) fn fixed_by(advisories: &Advisories, old: &Lock, new: &Lock) -> Vec<Fixed> {
    let (before, after) = (affected(old, advisories), affected(new, advisories));
    let kept = products(new);
    let gone = |(product, ids): (String, BTreeSet<String>)| {
        let left = after.get(&product);
        let ids: BTreeSet<String> = ids.into_iter().filter(|id| left.is_none_or(|left| !left.contains(id))).collect();
        (!ids.is_empty() && kept.contains(&product)).then_some(Fixed { product, ids })
    };
    before.into_iter().filter_map(gone).collect()
}

/// The ids that affect each product of a lock.
fn affected(lock: &Lock, advisories: &Advisories) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let report = report(&software(lock), advisories);
    for finding in report.findings.into_iter().filter(|finding| finding.status != Status::NotApplicable) {
        found.entry(finding.product).or_default().insert(finding.id);
    }
    found
}

fn products(lock: &Lock) -> BTreeSet<String> {
    let Software { packages, modules, .. } = software(lock);
    packages.into_iter().map(|package| package.product).chain(modules.into_iter().map(|module| module.product)).collect()
}

/// The software that a lock names itself: packages, and the modules whose version is that of an artifact.
pub(crate) fn software(lock: &Lock) -> Software {
    let release = lock.codename().to_owned();
    let packages = lock.entries().map(|entry| package(entry, &release)).collect();
    let modules = lock.artifacts.values().flat_map(|artifact| {
        let version = artifact.version.as_ref().map(ToString::to_string);
        let module = move |path: &&str| {
            let version = version.clone()?;
            let (product, inside) = (artifact.name.to_string(), Inside::Release(Some(version.clone())));
            Some(Module { product, path: (*path).to_owned(), version, purl: String::new(), inside })
        };
        own_modules(&artifact.name).iter().filter_map(module)
    });
    Software { packages, modules: modules.collect(), unknown: BTreeSet::new() }
}

/// A locked package, by its source.
pub(crate) fn package(entry: &Entry, release: &str) -> Package {
    let (source, version) = tracked(entry.source_name(), &source_version(entry), &entry.version);
    Package { product: source.clone(), source, version, release: release.to_owned(), is_locked: true, purls: BTreeSet::new() }
}
