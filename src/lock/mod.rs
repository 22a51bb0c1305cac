//! The lockfile: the exact bytes that the recipes' packages resolved to, as text that people review and merge.
//!
//! One fact per line, sorted, without timestamp or checksum of the whole, so that two branches which move two
//! packages merge without conflict. `kbake lock` is its only writer. No I/O: texts come in by name.

mod artifact;
mod change;
mod compare;
mod inherit;
mod kernels;
mod moved;
mod place;
mod print;
mod read;
mod regroup;
mod request;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::recipe::{ChannelName, Word};
use crate::value::{Arch, ArtifactName, Fingerprint, PackageArch, PackageName, PoolPath, RoleName, Sha256, Version};
use crate::{Error, Result};

pub use artifact::{ArtifactSource, LockedArtifact, LockedImage};
pub use change::{Cause, Change, changes};
pub use compare::{Difference, Kind, differences};
pub use inherit::{Base, Inherited, inherit};
pub use kernels::{asks_for_kernel, kernels};
pub use moved::{Moved, moved};
pub use place::{Table, places};
pub use regroup::regroup;
pub use request::{Request, WantedArtifact, packages, recipes_for, used_artifacts};

/// The format that this kbake reads and writes.
const FORMAT: u64 = 1;

/// The next step whenever the lock and the recipes do not fit.
fn relock(channel: &ChannelName) -> String {
    format!("run `kbake lock --channel {channel}` and review the change")
}

/// A whole lockfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The channel: the lockfile's own name.
    pub channel: ChannelName,
    /// The suite that everything was resolved in.
    pub suite: Word,
    /// Its components, sorted.
    pub components: BTreeSet<Word>,
    /// The machine that everything was resolved for.
    pub arch: Arch,
    /// What the recipes asked for by name, when the lock was made.
    pub request: BTreeMap<SetName, BTreeSet<PackageName>>,
    /// The packages, by name and machine.
    entries: BTreeMap<(PackageName, PackageArch), Entry>,
    /// The artifacts, by name and machine.
    pub artifacts: BTreeMap<(ArtifactName, Arch), LockedArtifact>,
    /// The container images that are pulled, by name.
    pub images: BTreeMap<ArtifactName, LockedImage>,
}

/// One locked package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The package's name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// The machine that it is for.
    pub arch: PackageArch,
    /// Where it lies in every mirror.
    pub source: PoolPath,
    /// Its length in bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Whose word the digest rests on.
    pub verified: Verified,
    /// What needs it; never empty.
    pub sets: BTreeSet<SetName>,
}

/// How a digest was verified when it was locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// It stands in an archive's index, whose release file this key signed.
    OpenPgp(Fingerprint),
    /// It stands in the publisher's checksum file of this address.
    Checksum(String),
    /// The publisher's checksum file, text or tag says so, as a mirror of the user's had it.
    Mirror(String),
    /// It stands in a list of checksums that a person imported, called so.
    Imported(String),
    /// It is recorded in these public repositories, all of which agree; the publisher itself was not asked.
    Recorded(String),
    /// The registry said so for the image's tag.
    Registry,
    /// It was read from the user's own file.
    Local,
    /// What was at the publisher's own address when it was locked: there is no checksum file.
    Download,
}

/// What a package is locked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetName {
    /// The system that all roles share.
    Base,
    /// What a role adds to it.
    Role(RoleName),
    /// What kbake itself runs or reads; no part of an image.
    Tool,
}

impl Lock {
    /// A lock of these packages.
    ///
    /// # Errors
    /// Two entries of one name and machine.
    pub fn new(request: &Request, entries: Vec<Entry>) -> Result<Self> {
        let mut sorted = BTreeMap::new();
        for entry in entries {
            let key = (entry.name.clone(), entry.arch);
            if let Some(twin) = sorted.insert(key, entry) {
                return Err(Error::internal(format!("`{}` ({}) was resolved twice", twin.name, twin.arch)));
            }
        }
        Ok(Lock {
            channel: request.channel.clone(),
            suite: request.suite.clone(),
            components: request.components.clone(),
            arch: request.arch,
            request: request.sets.clone(),
            entries: sorted,
            artifacts: BTreeMap::new(),
            images: BTreeMap::new(),
        })
    }

    /// Reads the lockfile `text`, called `file` in messages.
    ///
    /// # Errors
    /// A newer format, merge-conflict markers, bad or missing values, duplicates, and entries out of order, all with
    /// their place.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        read::lock(text, file, read::Order::Sorted)
    }

    /// As [`Lock::parse`], for `kbake lock` itself: entries that a merge by hand left out of order are welcome, because
    /// the lock is written anew.
    ///
    /// # Errors
    /// As [`Lock::parse`], but for the order.
    pub fn parse_merged(text: &str, file: &str) -> Result<Self> {
        read::lock(text, file, read::Order::Any)
    }

    /// The one text of this lock.
    pub fn to_text(&self) -> String {
        print::lock(self)
    }

    /// All packages, sorted by name and machine.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The packages of a role's image: the base's and its own, sorted by name and machine.
    ///
    /// # Errors
    /// A role that the lock does not know: its image would silently be the bare base.
    pub fn packages_of(&self, role: &RoleName) -> Result<Vec<&Entry>> {
        let set = SetName::Role(role.clone());
        if !self.request.contains_key(&set) {
            let error = Error::user(format!("the role `{role}` is not in the lockfile of the channel `{}`", self.channel));
            return Err(error.hint(relock(&self.channel)));
        }
        Ok(self.entries().filter(|entry| entry.sets.contains(&SetName::Base) || entry.sets.contains(&set)).collect())
    }

    /// The packages of the base alone, sorted by name and machine.
    pub fn packages_of_base(&self) -> Vec<&Entry> {
        self.entries().filter(|entry| entry.sets.contains(&SetName::Base)).collect()
    }

    /// A package that kbake itself runs or reads.
    ///
    /// # Errors
    /// It is not locked as a tool.
    pub fn tool(&self, name: &str) -> Result<&Entry> {
        let found = self.entries().find(|entry| entry.name.as_str() == name && entry.sets.contains(&SetName::Tool));
        found.ok_or_else(|| {
            let error = Error::user(format!("the tool `{name}` is not in the lockfile of the channel `{}`", self.channel));
            error.hint(format!("list it under `tools` in the channel's sources file, then {}", relock(&self.channel)))
        })
    }

    /// Fails unless this lock, called `file` in messages, answers exactly what the recipes ask. Needs no network.
    ///
    /// # Errors
    /// A stale lock, with all that is missing and superfluous, and the command that mends it.
    pub fn check(&self, file: &str, request: &Request) -> Result<()> {
        request::check(self, file, request, request::Scope::All)
    }

    /// As [`Lock::check`], for a request that speaks of some roles only: the lock may have more for others.
    ///
    /// # Errors
    /// As [`Lock::check`].
    pub fn check_some(&self, file: &str, request: &Request) -> Result<()> {
        request::check(self, file, request, request::Scope::Asked)
    }

    /// The names of a set's packages.
    pub fn members(&self, set: &SetName) -> BTreeSet<PackageName> {
        self.entries().filter(|entry| entry.sets.contains(set)).map(|entry| entry.name.clone()).collect()
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetName::Base => f.write_str("base"),
            SetName::Role(role) => role.fmt(f),
            SetName::Tool => f.write_str("tool"),
        }
    }
}

impl FromStr for SetName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "base" => Ok(SetName::Base),
            "tool" => Ok(SetName::Tool),
            _ => text.parse().map(SetName::Role),
        }
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verified::OpenPgp(key) => write!(f, "openpgp:{key}"),
            Verified::Checksum(url) => write!(f, "checksum:{url}"),
            Verified::Mirror(what) => write!(f, "mirror:{what}"),
            Verified::Imported(name) => write!(f, "imported:{name}"),
            Verified::Recorded(places) => write!(f, "recorded:{places}"),
            Verified::Registry => f.write_str("registry"),
            Verified::Local => f.write_str("local"),
            Verified::Download => f.write_str("download"),
        }
    }
}

impl FromStr for Verified {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is no way to verify: openpgp:, checksum:, mirror:, imported:, recorded:, registry, local or download",
                text.escape_debug()
            )
        };
        // What is printed again must need no quotes.
        if !text.chars().all(|c| c.is_ascii_graphic() && !"\"\\".contains(c)) {
            return Err(wrong());
        }
        let said = |words: &str| Some(words.to_owned()).filter(|words| !words.is_empty()).ok_or_else(wrong);
        match text.split_once(':') {
            Some(("openpgp", key)) => key.parse().map(Verified::OpenPgp),
            Some(("checksum", url)) => said(url).map(Verified::Checksum),
            Some(("mirror", what)) => said(what).map(Verified::Mirror),
            Some(("imported", name)) => said(name).map(Verified::Imported),
            Some(("recorded", places)) => said(places).map(Verified::Recorded),
            None if text == "registry" => Ok(Verified::Registry),
            None if text == "local" => Ok(Verified::Local),
            None if text == "download" => Ok(Verified::Download),
            _ => Err(wrong()),
        }
    }
}
