//! Software and advisories → findings.

use std::collections::BTreeMap;

use super::osv::{Hit, Record};
use super::read::Names;
use super::software::Inside;
use super::tracker::{Fix, State, Tracker};
use super::{Advisories, Finding, Module, Package, Part, Report, Severity, Software, Status};
use crate::common::value::Version;

/// Findings by vulnerability and product.
type Found = BTreeMap<(String, String), Finding>;

/// All findings in some software. Pure: the order of neither changes the result.
pub(crate) fn report(software: &Software, advisories: &Advisories) -> Report {
    let names = advisories.names();
    let (mut found, mut unknown) = (Found::new(), software.unknown.clone());
    let tracker = advisories.tracker.as_ref();
    if tracker.is_none() && !software.packages.is_empty() {
        unknown.insert("Debian packages: no advisories of the format debian-security-tracker are given".to_owned());
    }
    for package in &software.packages {
        let Some(tracker) = tracker else { continue };
        if !tracker.releases.contains(&package.release) {
            unknown.insert(format!("packages of `{}`: Debian's security tracker does not know the release", package.release));
        }
        debian(package, tracker, &names, &mut found);
    }
    match &advisories.records {
        Some(records) => modules(software, records, tracker, &names, &mut found),
        None if software.modules.is_empty() => {}
        None => _ = unknown.insert("Go modules: no advisories of the format osv are given".to_owned()),
    }
    let mut findings: Vec<Finding> = found.into_values().collect();
    for finding in &mut findings {
        finding.parts.sort();
        finding.parts.dedup();
    }
    findings.sort_by(|a, b| (b.severity, &a.id, &a.product).cmp(&(a.severity, &b.id, &b.product)));
    Report { findings, unknown }
}

/// Adds the vulnerabilities that Debian's tracker lists for a package's source.
fn debian(package: &Package, tracker: &Tracker, names: &Names, found: &mut Found) {
    for (id, states) in tracker.issues.get(&package.source).into_iter().flatten() {
        let Some(state) = states.get(&package.release) else { continue };
        let Some((status, reason)) = verdict(package, state) else { continue };
        let severity = match state.severity() {
            Severity::Unknown => names.severity(id),
            known => known,
        };
        let fixed = match &state.fix {
            Fix::In(version) => Some(version.to_string()),
            Fix::NotAffected | Fix::Missing => None,
        };
        let part = Part { name: package.source.clone(), version: package.version.to_string(), fixed, purls: package.purls.clone() };
        add(found, names, id, &package.product, Verdict { severity, status, reason, part });
    }
}

/// The status of a vulnerability for a package's version, with its reason; none if the version has the fix.
fn verdict(package: &Package, state: &State) -> Option<(Status, Option<String>)> {
    let is_older = |fixed: &Version| package.version.compare(fixed).is_lt();
    let is_available = |fixed: &Version| state.available.iter().any(|version| version.compare(fixed).is_ge());
    match &state.fix {
        Fix::NotAffected => Some((Status::NotApplicable, Some("Debian: this release is not affected".to_owned()))),
        Fix::In(fixed) if !is_older(fixed) => None,
        _ if state.is_unimportant() => Some((Status::NotApplicable, Some("Debian: unimportant, without impact on security".to_owned()))),
        Fix::In(fixed) if is_available(fixed) && package.is_locked => Some((Status::Fixable, None)),
        Fix::In(fixed) if is_available(fixed) => Some((Status::Open, Some("needs an image with the fixed package".to_owned()))),
        Fix::In(_) | Fix::Missing => Some((Status::Open, state.reason.clone())),
    }
}

fn modules(software: &Software, records: &[Record], tracker: Option<&Tracker>, names: &Names, found: &mut Found) {
    let mut by_path: BTreeMap<&str, Vec<&Module>> = BTreeMap::new();
    for module in &software.modules {
        by_path.entry(&module.path).or_default().push(module);
    }
    for record in records {
        for affected in &record.affected {
            for module in by_path.get(affected.module.as_str()).into_iter().flatten() {
                let Some(Hit { fixed }) = affected.hit(&module.version) else { continue };
                if is_tracked(module, names.name(&record.id), tracker) {
                    continue;
                }
                let (status, reason) = match (&fixed, module.is_own()) {
                    (Some(_), true) => (Status::Fixable, None),
                    (Some(_), false) => (Status::Open, Some("needs a release with the fixed module".to_owned())),
                    (None, _) => (Status::Open, None),
                };
                let severity = match names.severity(&record.id) {
                    Severity::Unknown => urgency(tracker, names.name(&record.id)),
                    known => known,
                };
                let (name, version) = (module.path.clone(), module.version.clone());
                let part = Part { name, version, fixed, purls: [module.purl.clone()].into() };
                add(found, names, &record.id, &module.product, Verdict { severity, status, reason, part });
            }
        }
    }
}

/// True if Debian's tracker has a verdict on the vulnerability for the package of the module.
fn is_tracked(module: &Module, id: &str, tracker: Option<&Tracker>) -> bool {
    let Inside::Debian { source, release } = &module.inside else { return false };
    let states = tracker.and_then(|tracker| tracker.issues.get(source)?.get(id));
    states.is_some_and(|states| states.contains_key(release))
}

/// The worst urgency of a vulnerability in the tracker.
fn urgency(tracker: Option<&Tracker>, id: &str) -> Severity {
    let issues = tracker.into_iter().flat_map(|tracker| tracker.issues.values());
    issues.filter_map(|issues| issues.get(id)).flat_map(|states| states.values().map(State::severity)).max().unwrap_or_default()
}

/// A verdict of one advisory.
struct Verdict {
    severity: Severity,
    status: Status,
    reason: Option<String>,
    part: Part,
}

fn add(found: &mut Found, names: &Names, id: &str, product: &str, verdict: Verdict) {
    let Verdict { severity, status, reason, part } = verdict;
    let (name, aliases) = (names.name(id), names.aliases(id));
    let finding = found.entry((name.to_owned(), product.to_owned())).or_insert_with(|| Finding {
        id: name.to_owned(),
        aliases,
        product: product.to_owned(),
        severity,
        status,
        reason: reason.clone(),
        statement: None,
        parts: Vec::new(),
    });
    finding.severity = finding.severity.max(severity);
    // An affected part decides over one that is not; an open part is not fixed by the update of another.
    if rank(status) > rank(finding.status) {
        (finding.status, finding.reason) = (status, reason);
    }
    match finding.parts.iter_mut().find(|known| (&known.name, &known.version) == (&part.name, &part.version)) {
        // Records of one vulnerability may name different fixes: the later one has them all.
        Some(known) if known.fixed != part.fixed => {
            known.fixed = later(known.fixed.take(), part.fixed);
            known.purls.extend(part.purls);
        }
        Some(known) => known.purls.extend(part.purls),
        None => finding.parts.push(part),
    }
}

fn rank(status: Status) -> u8 {
    match status {
        Status::NotApplicable => 0,
        Status::Fixable => 1,
        Status::Open => 2,
    }
}

fn later(a: Option<String>, b: Option<String>) -> Option<String> {
    let (Some(a), Some(b)) = (a.clone(), b.clone()) else { return a.or(b) };
    match (super::range::version(&a), super::range::version(&b)) {
        (Some(first), Some(second)) if first.cmp_precedence(&second).is_ge() => Some(a),
        _ => Some(b),
    }
}
