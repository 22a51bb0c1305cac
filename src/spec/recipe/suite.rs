//! `[[suite]]` of a sources file: a suite of an archive, its trusted signing keys, and where its earlier states are kept.

use std::str::FromStr;

use crate::common::document::{Located, Place, Section, nearest};
use crate::common::error::Class;
use crate::common::value::{Fingerprint, Mirror, Timestamp, shown_as_text};
use crate::{Error, Result};

use super::name::{RecipePath, Word};
use super::refuse_twins;

/// A suite that packages are resolved in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// Its table, for messages.
    pub place: Place,
    /// Its codename: `trixie-security`.
    pub name: Located<Word>,
    /// The archive that has it, by the name of its folder on mirrors: `debian-security`. Suites of one archive share a pool.
    pub archive: Word,
    /// The origin in its archive's release files: `Debian`. An archive of the host with another origin is not asked.
    pub origin: Option<String>,
    /// Its components, in the order of the text; never empty.
    pub components: Vec<Located<Word>>,
    /// The file with the archive's keys.
    pub keyring: Located<Keyring>,
    /// Primary fingerprints of the trusted keys; never empty. The lock records the first one that signed.
    pub keys: Vec<Located<Fingerprint>>,
    /// apt's priority of its packages (apt_preferences(5)); apt's own default without it.
    pub priority: Option<u16>,
    /// The address of earlier states of its archive; none if nobody keeps them.
    pub snapshot: Option<Located<Snapshot>>,
}

/// All `[[suite]]` tables; none if there is none.
pub(super) fn suites(root: &mut Section) -> Result<Option<Vec<Suite>>> {
    let found: Vec<Suite> = root.sections("suite")?.into_iter().map(suite).collect::<Result<_>>()?;
    refuse_twins(&found.iter().map(|suite| suite.name.clone()).collect::<Vec<_>>(), "suite")?;
    Ok(Some(found).filter(|found| !found.is_empty()))
}

fn suite(mut section: Section) -> Result<Suite> {
    section.only(&["name", "archive", "origin", "components", "keyring", "keys", "priority", "snapshot"])?;
    let suite = Suite {
        place: section.place().clone(),
        name: section.required("name")?,
        archive: section.required("archive")?.value,
        origin: section.optional::<Origin>("origin")?.map(|origin| origin.value.0),
        components: section.list("components")?,
        keyring: section.required("keyring")?,
        keys: section.list("keys")?,
        priority: section.optional_number("priority", 1..=MOST_PRIORITY)?.and_then(|priority| u16::try_from(priority.value).ok()),
        snapshot: section.optional("snapshot")?,
    };
    refuse_twins(&suite.components, "component")?;
    refuse_twins(&suite.keys, "key")?;
    for (key, is_empty) in [("components", suite.components.is_empty()), ("keys", suite.keys.is_empty())] {
        if is_empty {
            return Err(suite.place.error(format!("the suite `{}` needs at least one value in `{key}`", suite.name.value)));
        }
    }
    Ok(suite)
}

/// An archive and its suites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Its name: that of its folder on mirrors.
    pub name: Word,
    /// The codenames of its suites.
    pub suites: Vec<Word>,
    /// The origin in its release files.
    pub origin: Option<String>,
    /// The other archives of the channel, which mirrors often have beside it.
    pub others: Vec<Word>,
}

/// The archives of suites, each once, in the order of the suites.
pub(crate) fn archives(suites: &[Suite]) -> Vec<Archive> {
    let mut names: Vec<&Word> = Vec::new();
    for suite in suites {
        if !names.contains(&&suite.archive) {
            names.push(&suite.archive);
        }
    }
    let archive = |name: &&Word| {
        let own = || suites.iter().filter(|suite| suite.archive == **name);
        Archive {
            name: Word::clone(name),
            suites: own().map(|suite| suite.name.value.clone()).collect(),
            origin: own().find_map(|suite| suite.origin.clone()),
            others: names.iter().filter(|other| *other != name).map(|other| Word::clone(other)).collect(),
        }
    };
    names.iter().map(archive).collect()
}

/// Refuses a mirror of an archive that no suite is in: a misspelt name would silently have no effect.
///
/// # Errors
/// [`Class::Usage`], with the nearest name.
pub(crate) fn check_mirrors(mirrors: &[Mirror], archives: &[Archive]) -> Result<()> {
    let names = || archives.iter().map(|archive| archive.name.as_str());
    let given = mirrors.iter().filter_map(|mirror| mirror.archive.as_deref());
    let Some(unknown) = given.into_iter().find(|archive| !names().any(|name| name == *archive)) else { return Ok(()) };
    let error = Error::new(Class::Usage, format!("--mirror {unknown}=…: no suite of the channel is in the archive `{unknown}`"));
    Err(match nearest(unknown, names()) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint(format!("known: {}", names().collect::<Vec<_>>().join(", "))),
    })
}

/// The highest priority of a suite: kbake's own pins of locked versions are above it.
const MOST_PRIORITY: u64 = 1000;

/// A word of a release file.
struct Origin(String);

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match !text.trim().is_empty() && !text.contains(char::is_control) {
            true => Ok(Origin(text.to_owned())),
            false => Err(format!("`{}` is not the origin of an archive", text.escape_debug())),
        }
    }
}

/// The file with an archive's public keys, armoured (`.asc`) or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keyring {
    /// An absolute path on the host.
    Host(String),
    /// A path below `recipes/`.
    Project(RecipePath),
}

impl FromStr for Keyring {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Characters that apt's own files cannot hold.
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || "\"';\\,[]".contains(c)) {
            return Err(format!("`{}` must be a path without spaces or quotes", text.escape_debug()));
        }
        match text.starts_with('/') {
            true => Ok(Keyring::Host(text.to_owned())),
            false => text.parse().map(Keyring::Project),
        }
    }
}

impl std::fmt::Display for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Keyring::Host(path) => f.write_str(path),
            Keyring::Project(path) => write!(f, "recipes/{path}"),
        }
    }
}

/// The address of an archive's earlier states, with `{time}` in place of the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(String);

impl Snapshot {
    /// The address of the archive as it was at `time`, with a final slash.
    pub fn at(&self, time: Timestamp) -> String {
        format!("{}/", self.0.replace(TIME, &time.compact()).trim_end_matches('/'))
    }
}

const TIME: &str = "{time}";

impl FromStr for Snapshot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_web = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
        let plain = text.chars().all(|c| c.is_ascii_graphic() && !"\"\\[]".contains(c));
        match is_web && plain && text.matches(TIME).count() == 1 {
            true => Ok(Snapshot(text.to_owned())),
            false => Err(format!("`{}` must be an http: or https: address with `{TIME}` once", text.escape_debug())),
        }
    }
}

shown_as_text!(Snapshot);
