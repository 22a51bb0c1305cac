//! Records of the Open Source Vulnerability format, as far as they name Go modules or a severity
//! ([the schema](https://ossf.github.io/osv-schema/)).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::range::{self, Event, Range};
use super::{Severity, cvss};
use crate::common::error::{Error, Result};

/// The ecosystem of Go modules; the standard library is the module `stdlib`.
const GO: &str = "Go";

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Its id: `GO-2024-2687`, `GHSA-…`, `CVE-…`.
    pub id: String,
    /// Other ids of the same vulnerability.
    pub aliases: Vec<String>,
    /// Its severity.
    pub severity: Severity,
    /// The affected Go modules.
    pub affected: Vec<Affected>,
}

/// The affected versions of a Go module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Affected {
    /// The module's path.
    pub module: String,
    /// Ranges of versions.
    ranges: Vec<Range>,
    /// Ranges of the product's own versions, where those of the module do not follow Go's rules.
    custom: Vec<Range>,
    /// Further versions.
    versions: Vec<String>,
}

impl Affected {
    /// The hit of a version; none for an unaffected one.
    pub(super) fn hit(&self, text: &str) -> Option<Hit> {
        let hit = |fixed: Option<&str>| Hit { fixed: fixed.map(str::to_owned) };
        // A version that cannot be ordered may be in any range.
        let Some(version) = range::version(text) else { return (!self.ranges.is_empty() || self.lists(text)).then(|| hit(None)) };
        let Some(range) = self.ranges.iter().find(|range| range.has(&version)) else { return self.lists(text).then(|| hit(None)) };
        if self.custom.is_empty() || range::is_of_a_commit(&version) {
            return Some(hit(range.fix(&version)));
        }
        self.custom.iter().find(|range| range.has(&version)).map(|custom| hit(custom.fix(&version)))
    }

    /// True if the record lists the version.
    fn lists(&self, text: &str) -> bool {
        self.versions.iter().any(|listed| listed.strip_prefix('v').unwrap_or(listed) == text)
    }
}

/// An affected version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    /// The first version with a fix, if there is one.
    pub fixed: Option<String>,
}

#[derive(Deserialize)]
struct RawRecord {
    id: String,
    #[serde(default)]
    aliases: Option<Vec<String>>,
    #[serde(default)]
    withdrawn: Option<Value>,
    #[serde(default)]
    severity: Option<Vec<RawSeverity>>,
    #[serde(default)]
    affected: Option<Vec<RawAffected>>,
    #[serde(default)]
    database_specific: Option<Value>,
}

#[derive(Deserialize)]
struct RawSeverity {
    #[serde(default)]
    score: String,
}

#[derive(Deserialize)]
struct RawAffected {
    #[serde(default)]
    package: Option<RawPackage>,
    #[serde(default)]
    ranges: Option<Vec<RawRange>>,
    #[serde(default)]
    versions: Option<Vec<String>>,
    #[serde(default)]
    severity: Option<Vec<RawSeverity>>,
    #[serde(default)]
    ecosystem_specific: Option<Value>,
}

#[derive(Deserialize)]
struct RawPackage {
    ecosystem: String,
    name: String,
}

#[derive(Deserialize)]
struct RawRange {
    #[serde(rename = "type")]
    kind: String,
    events: Vec<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct RawSpecific {
    #[serde(default)]
    custom_ranges: Option<Vec<RawRange>>,
}

/// A record, or all records of a list; `what` names the file in messages. Withdrawn ones are left out.
///
/// # Errors
/// [`Class::User`](crate::Class::User): not JSON, nested too deeply, or a record that lacks something, with its id.
pub(super) fn records(bytes: &[u8], what: &str, found: &mut Vec<Record>) -> Result<()> {
    let wrong = |e: serde_json::Error| Error::user(format!("{what} is not JSON of OSV records")).detail(e.to_string());
    match serde_json::from_slice(bytes).map_err(wrong)? {
        Value::Array(list) => list.into_iter().try_for_each(|value| add(value, what, found)),
        value => add(value, what, found),
    }
}

fn add(value: Value, what: &str, found: &mut Vec<Record>) -> Result<()> {
    let id = value.get("id").and_then(Value::as_str).map_or_else(|| "a record without an id".to_owned(), |id| format!("the record {id}"));
    let raw: RawRecord =
        serde_json::from_value(value).map_err(|e| Error::user(format!("{what}: {id} cannot be read")).detail(e.to_string()))?;
    if raw.withdrawn.as_ref().is_none_or(Value::is_null) {
        found.push(record(raw));
    }
    Ok(())
}

fn record(raw: RawRecord) -> Record {
    let inner = raw.affected.iter().flatten().flat_map(|affected| affected.severity.iter().flatten());
    let vectors = raw.severity.iter().flatten().chain(inner).filter_map(|severity| cvss::severity(&severity.score)).max();
    let word = raw.database_specific.as_ref().and_then(|specific| specific.get("severity")?.as_str()).map(Severity::of_word);
    // A word covers vectors of every version.
    let severity = word.filter(|word| *word != Severity::Unknown).or(vectors).unwrap_or_default();
    let affected = raw.affected.unwrap_or_default().into_iter().filter_map(affected).collect();
    Record { id: raw.id, aliases: raw.aliases.unwrap_or_default(), severity, affected }
}

/// A Go module's versions; none for another ecosystem.
fn affected(raw: RawAffected) -> Option<Affected> {
    let package = raw.package.filter(|package| package.ecosystem == GO)?;
    let specific = raw.ecosystem_specific.and_then(|specific| serde_json::from_value::<RawSpecific>(specific).ok());
    Some(Affected {
        module: package.name,
        ranges: raw.ranges.iter().flatten().filter_map(of_raw).collect(),
        custom: specific.and_then(|specific| specific.custom_ranges).iter().flatten().filter_map(of_raw).collect(),
        versions: raw.versions.unwrap_or_default(),
    })
}

/// A range of versions; none for one of commits, and for kinds that a later schema may add.
fn of_raw(raw: &RawRange) -> Option<Range> {
    if !["SEMVER", "ECOSYSTEM"].contains(&raw.kind.as_str()) {
        return None;
    }
    let mut events = Vec::new();
    for (kind, value) in raw.events.iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let version = range::version(text);
        match (kind.as_str(), version) {
            ("introduced", _) if text == "0" => events.push(Event::Introduced(None)),
            ("introduced", Some(version)) => events.push(Event::Introduced(Some(version))),
            ("fixed", Some(version)) => events.push(Event::Fixed(version, text.to_owned())),
            ("last_affected", Some(version)) => events.push(Event::LastAffected(version)),
            ("introduced" | "fixed" | "last_affected", None) => return Some(Range::All),
            _ => {}
        }
    }
    Some(Range::Events(events))
}
