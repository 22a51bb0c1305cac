//! The JSON of Debian's security tracker: source package → vulnerability → release
//! ([its page](https://security-tracker.debian.org/tracker/)).
//!
//! The file has 60 to 80 MB. It is read as a stream, and only the wanted source packages are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::Severity;
use crate::common::error::{Error, Result};
use crate::common::value::Version;

/// The vulnerabilities of source packages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tracker {
    /// By source package, then by id, then by release.
    pub issues: BTreeMap<String, BTreeMap<String, BTreeMap<String, State>>>,
    /// The releases that the file names for any wanted package.
    pub releases: BTreeSet<String>,
}

/// The state of a vulnerability in a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// The first version with a fix.
    pub fix: Fix,
    /// Its urgency.
    pub urgency: String,
    /// The reason why there is no update yet.
    pub reason: Option<String>,
    /// The versions that the archive has, from the suite and its updates.
    pub available: Vec<Version>,
}

/// The first version with a fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fix {
    /// The release was never affected.
    NotAffected,
    /// This version.
    In(Version),
    /// There is none yet.
    Missing,
}

impl State {
    /// The urgency as a severity.
    pub(super) fn severity(&self) -> Severity {
        Severity::of_word(&self.urgency)
    }

    /// True if Debian sees no security impact.
    pub(super) fn is_unimportant(&self) -> bool {
        self.urgency == "unimportant"
    }
}

#[derive(Deserialize)]
struct RawIssue {
    releases: BTreeMap<String, RawState>,
}

#[derive(Deserialize)]
struct RawState {
    status: String,
    #[serde(default)]
    fixed_version: Option<String>,
    #[serde(default)]
    urgency: Option<String>,
    #[serde(default)]
    nodsa: Option<String>,
    #[serde(default)]
    nodsa_reason: Option<String>,
    #[serde(default)]
    repositories: Option<BTreeMap<String, String>>,
}

/// Reads the file: the wanted sources in the wanted releases. `what` names it in messages.
///
/// # Errors
/// [`Class::User`](crate::Class::User): not JSON, or an entry that lacks something, with its id; errors of `reader`.
pub(super) fn read(reader: impl Read, what: &str, sources: &BTreeSet<String>, releases: &BTreeSet<String>) -> Result<Tracker> {
    let mut json = serde_json::Deserializer::from_reader(std::io::BufReader::with_capacity(256 << 10, reader));
    let mut tracker = Tracker::default();
    let seed = Sources { sources, releases, tracker: &mut tracker };
    let read = seed.deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|e| match e.is_io() {
        true => Error::io(format_args!("read {what}"), &e.into()),
        false => Error::user(format!("{what} is not the JSON of Debian's security tracker")).detail(e.to_string()),
    })?;
    Ok(tracker)
}

/// The whole file.
struct Sources<'a> {
    sources: &'a BTreeSet<String>,
    releases: &'a BTreeSet<String>,
    tracker: &'a mut Tracker,
}

impl<'de> DeserializeSeed<'de> for Sources<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Sources<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of source packages")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(source) = map.next_key::<String>()? {
            match self.sources.contains(&source) {
                true => map.next_value_seed(Issues { source, releases: self.releases, tracker: &mut *self.tracker })?,
                false => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

/// One source package.
struct Issues<'a> {
    source: String,
    releases: &'a BTreeSet<String>,
    tracker: &'a mut Tracker,
}

impl<'de> DeserializeSeed<'de> for Issues<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Issues<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of vulnerabilities of {}", self.source)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut issues = BTreeMap::new();
        while let Some(id) = map.next_key::<String>()? {
            let named = |e: A::Error| A::Error::custom(format!("{id} of {}: {e}", self.source));
            let raw: RawIssue = map.next_value().map_err(named)?;
            let mut states = BTreeMap::new();
            for (release, raw) in raw.releases {
                if self.releases.contains(&release) {
                    let state = state(&release, raw).map_err(|why| A::Error::custom(format!("{id} of {}: {why}", self.source)))?;
                    states.insert(release.clone(), state);
                }
                self.tracker.releases.insert(release);
            }
            issues.insert(id, states);
        }
        self.tracker.issues.entry(self.source).or_default().extend(issues);
        Ok(())
    }
}

fn state(release: &str, raw: RawState) -> Result<State, String> {
    let parsed = |text: &str| text.parse::<Version>();
    let fix = match raw.fixed_version.as_deref().filter(|version| !version.is_empty()) {
        Some("0") => Fix::NotAffected,
        Some(version) => Fix::In(parsed(version)?),
        // Nothing to fix, as far as the tracker knows.
        None if raw.status == "resolved" => Fix::NotAffected,
        None => Fix::Missing,
    };
    let urgency = raw.urgency.unwrap_or_default();
    let reason = match (raw.nodsa_reason.filter(|reason| !reason.is_empty()), raw.nodsa.is_some()) {
        _ if urgency == "end-of-life" => Some(urgency.clone()),
        (Some(reason), _) => Some(reason),
        (None, true) => Some("no-dsa".to_owned()),
        (None, false) => Some(raw.status).filter(|status| status == "undetermined"),
    };
    let is_of = |name: &str| name.strip_prefix(release).is_some_and(|rest| ["", "-security", "-updates"].contains(&rest));
    let available = raw.repositories.unwrap_or_default().into_iter().filter(|(name, _)| is_of(name));
    let available = available.map(|(_, version)| parsed(&version)).collect::<Result<_, _>>()?;
    Ok(State { fix, urgency, reason, available })
}
