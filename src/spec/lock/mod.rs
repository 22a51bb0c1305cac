//! The lockfile: the exact bytes for the recipes' packages, as text that people review and merge.
//!
//! One fact per line, sorted, without a timestamp or a checksum of the whole, so that two branches which move two packages
//! merge without conflict. `kbake lock` is its only writer. No I/O: texts come in by name.

mod artifact;
mod change;
mod compare;
pub(crate) mod inherit;
mod kernels;
mod moved;
mod order;
mod place;
mod print;
mod read;
mod regroup;
mod request;
mod suite;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::common::value::{Arch, ArtifactName, Fingerprint, PackageArch, PackageName, PoolPath, RoleName, Sha256, Version};
use crate::spec::recipe::{ChannelName, Word};
use crate::{Error, Result};

pub(crate) use artifact::{ArtifactSource, LockedArtifact, LockedImage};
pub(crate) use change::{Change, changes};
pub(crate) use compare::differences;
pub(crate) use inherit::{Base, inherit};
pub(crate) use kernels::{asks_for_kernel, kernels};
pub(crate) use moved::moved;
pub(crate) use place::{Table, places};
pub(crate) use regroup::regroup;
pub use request::Request;
pub(crate) use request::{WantedArtifact, packages, recipes_for, used_artifacts};
pub(crate) use suite::{LockedSuite, WantedSuite};

/// The version of the format.
const FORMAT: u64 = 2;

/// The next step when the lock does not match the recipes.
fn relock(channel: &ChannelName) -> String {
    format!("run `kbake lock --channel {channel}` and review the change")
}

/// A whole lockfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The channel: the lockfile's own name.
    pub channel: ChannelName,
    /// The suites that packages were resolved in, in the order of the sources; never empty.
    pub suites: Vec<LockedSuite>,
    /// The architecture that everything was resolved for.
    pub arch: Arch,
    /// The names that the recipes requested when the lock was made.
    pub request: BTreeMap<SetName, BTreeSet<PackageName>>,
    /// The packages, by name and architecture.
    entries: BTreeMap<(PackageName, PackageArch), Entry>,
    /// The artifacts, by name and architecture.
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
    /// Its architecture.
    pub arch: PackageArch,
    /// The version of the source package that it is built from, if that is another one.
    pub source_version: Option<Version>,
    /// The archive that has it.
    pub archive: Word,
    /// Its path in every mirror of the archive.
    pub source: PoolPath,
    /// Its length in bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// The verification of the digest.
    pub verified: Verified,
    /// The sets that need it; never empty.
    pub sets: BTreeSet<SetName>,
}

/// The verification of a digest when it was locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// An archive's index, whose release file this key signed.
    OpenPgp(Fingerprint),
    /// The publisher's checksum file at this address.
    Checksum(String),
    /// The publisher's checksum file, text or tag, served by a mirror of the user's.
    Mirror(String),
    /// A list of checksums of this name that a person imported.
    Imported(String),
    /// Records in these public repositories, all of which agree; the publisher itself was not asked.
    Recorded(String),
    /// The registry's answer for the image's tag.
    Registry,
    /// The user's own file.
    Local,
    /// The bytes at the publisher's own address when it was locked: there is no checksum file.
    Download,
}

/// A set of packages that are locked together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetName {
    /// The system that all roles share.
    Base,
    /// A role's additions to the base.
    Role(RoleName),
    /// Programs and files for kbake itself; not part of an image.
    Tool,
}

impl Lock {
    /// A lock of these packages, resolved in these states of the suites.
    ///
    /// # Errors
    /// Two entries of one name and architecture.
    pub fn new(request: &Request, suites: Vec<LockedSuite>, entries: Vec<Entry>) -> Result<Self> {
        let mut sorted = BTreeMap::new();
        for entry in entries {
            let key = (entry.name.clone(), entry.arch);
            if let Some(twin) = sorted.insert(key, entry) {
                return Err(Error::internal(format!("`{}` ({}) was resolved twice", twin.name, twin.arch)));
            }
        }
        Ok(Lock {
            channel: request.channel.clone(),
            suites,
            arch: request.arch,
            request: request.sets.clone(),
            entries: sorted,
            artifacts: BTreeMap::new(),
            images: BTreeMap::new(),
        })
    }

    /// Parses the lockfile `text`, called `file` in messages.
    ///
    /// # Errors
    /// A newer format, merge-conflict markers, bad or missing values, duplicates, and entries out of order, all with their
    /// place.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        read::lock(text, file, order::Order::Sorted)
    }

    /// Like [`Lock::parse`], for `kbake lock` itself: accepts entries that a merge by hand left out of order, because the lock
    /// is about to be rewritten.
    ///
    /// # Errors
    /// See [`Lock::parse`], except for the order.
    pub fn parse_merged(text: &str, file: &str) -> Result<Self> {
        read::lock(text, file, order::Order::Any)
    }

    /// The lock's canonical text.
    pub fn to_text(&self) -> String {
        print::lock(self)
    }

    /// The codename of the first suite, which names the distribution's release.
    pub(crate) fn codename(&self) -> &str {
        self.suites.first().map_or("", |locked| locked.suite.name.as_str())
    }

    /// All packages, sorted by name and architecture.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The packages of a role's image: the base's and its own, sorted by name and architecture.
    ///
    /// # Errors
    /// A role that is not in the lock: its image would silently be the bare base.
    pub fn packages_of(&self, role: &RoleName) -> Result<Vec<&Entry>> {
        let set = SetName::Role(role.clone());
        if !self.request.contains_key(&set) {
            let error = Error::user(format!("the role `{role}` is not in the lockfile of the channel `{}`", self.channel));
            return Err(error.hint(relock(&self.channel)));
        }
        Ok(self.entries().filter(|entry| entry.sets.contains(&SetName::Base) || entry.sets.contains(&set)).collect())
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

    /// Fails unless this lock, called `file` in messages, is exactly what the recipes request. Needs no network.
    ///
    /// # Errors
    /// A stale lock, with all missing and superfluous entries, and the command that updates it.
    pub fn check(&self, file: &str, request: &Request) -> Result<()> {
        request::check(self, file, request, request::Scope::All)
    }

    /// Like [`Lock::check`], for a request about some roles only: the lock may have more for others.
    ///
    /// # Errors
    /// See [`Lock::check`].
    pub fn check_some(&self, file: &str, request: &Request) -> Result<()> {
        request::check(self, file, request, request::Scope::Asked)
    }

    /// The names of a set's packages.
    pub fn members(&self, set: &SetName) -> BTreeSet<PackageName> {
        self.entries().filter(|entry| entry.sets.contains(set)).map(|entry| entry.name.clone()).collect()
    }
}

impl Entry {
    /// The name of the source package that it is built from. The archive keeps everything that is built from one source in one
    /// folder, which has its name.
    pub fn source_name(&self) -> &str {
        self.source.folder().rsplit('/').next().unwrap_or_default()
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
                "`{}` is unknown: expected openpgp:, checksum:, mirror:, imported:, recorded:, registry, local or download",
                text.escape_debug()
            )
        };
        // The value is printed between quotes again, without escapes.
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
