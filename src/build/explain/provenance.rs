//! Provenance of each line of a plan: a line of a file, or kbake's own code. Stored beside the plan, so that a later build
//! can report what changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::build::Resolved;
use crate::build::pipeline::origin::{Origin, Shown};
use crate::common::error::{Error, Result};
use crate::common::value::{ArtifactName, TreePath, unescape};
use crate::spec::lock::{self, Entry, LockedArtifact, Table};
use crate::spec::plan::compare::{Group, Subject, lines};
use crate::spec::plan::{Extraction, PlannedKind};

/// The version of the text. Other versions are not read; then only the plan's lines are known.
const FORMAT: u32 = 1;

/// The causes of all lines of one plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Causes {
    format: u32,
    /// The version of the kbake that made the plan.
    pub kbake: String,
    /// Versions and names that kbake's generated texts depend on, by artifact or image.
    pub facts: BTreeMap<String, String>,
    /// The causes by subject, as it is shown; changes are looked for in the first cause first.
    by: BTreeMap<String, Vec<Cause>>,
}

/// One cause of a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub(crate) enum Cause {
    /// kbake's own code, in every image or for a part of roles.
    Kbake {
        /// The part's name; none for code that is in every image.
        part: Option<String>,
    },
    /// An entry of the lockfile, at `file:line`.
    Locked {
        /// The place of the entry: `file:line`; the file alone if the line is unknown.
        at: String,
        /// The package's or artifact's name, or `image NAME`.
        what: String,
        /// The locked version; for an artifact without one, and for the user's own file, its source; for an image, its full name.
        version: String,
        /// The digest of the locked bytes with its algorithm, `sha256:…`; for an image, the digest of its index.
        digest: String,
        /// The places of the recipe lines that ask for it: `file:line`.
        asked: Vec<String>,
    },
    /// A file of the project that a line of a recipe names.
    Source {
        /// The file's path in the project.
        file: String,
        /// The place of the recipe line that names the file: `file:line`.
        at: String,
    },
    /// A line of a recipe or of the channel's sources.
    Written {
        /// The place of the line: `file:line`, or the file alone.
        at: String,
    },
}

impl Causes {
    /// The causes of a plan's lines.
    ///
    /// # Errors
    /// The plan cannot be parsed: a bug.
    pub(crate) fn of(resolved: &Resolved) -> Result<Self> {
        let work = Work { resolved, lines: lock::places(&resolved.lock.text) };
        let mut by = BTreeMap::new();
        for subject in lines(&resolved.plan.text(), "the plan")?.keys() {
            by.insert(subject.to_string(), work.causes(subject)?);
        }
        let facts = &resolved.artifacts.facts;
        let versions = facts.artifacts.iter().map(|(name, version)| (name.to_string(), version.to_string()));
        let images = facts.images.iter().map(|(name, reference)| (format!("image {name}"), reference.to_string()));
        let facts = versions.chain(images).collect();
        Ok(Causes { format: FORMAT, kbake: env!("CARGO_PKG_VERSION").to_owned(), facts, by })
    }

    /// Parses the text; none for another version or malformed text.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().filter(|causes: &Causes| causes.format == FORMAT)
    }

    /// The causes as text, canonical.
    pub(crate) fn text(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::internal(format!("causes cannot be written: {e}")))?;
        Ok(text + "\n")
    }

    /// The causes of one line.
    pub(crate) fn causes(&self, subject: &Subject) -> &[Cause] {
        self.by.get(&subject.to_string()).map_or(&[], Vec::as_slice)
    }
}

struct Work<'a> {
    resolved: &'a Resolved,
    lines: BTreeMap<(Table, String, Option<String>), usize>,
}

impl Work<'_> {
    fn causes(&self, subject: &Subject) -> Result<Vec<Cause>> {
        let origins = &self.resolved.origins;
        let written = |place| vec![Cause::Written { at: Shown(place).to_string() }];
        let kbake = || vec![Cause::Kbake { part: None }];
        Ok(match subject.group() {
            Group::Frame if ["arch", "epoch"].contains(&subject.name()) => vec![Cause::Written { at: origins.frame.clone() }],
            Group::Frame => kbake(),
            Group::Installer | Group::Tool => self.packages(&self.resolved.tools, subject.name()),
            Group::Package => self.packages(&self.resolved.packages, subject.name()),
            Group::User => origins.users.get(subject.name()).map_or_else(kbake, written),
            Group::Cleared => origins.cleared.get(subject.name()).map_or_else(kbake, written),
            Group::Unit => origins.units.get(subject.name()).map_or_else(kbake, written),
            Group::Path => {
                let bytes = unescape(subject.name()).and_then(|bytes| TreePath::parse(&bytes, true).ok());
                let path = bytes.ok_or_else(|| Error::internal(format!("`{subject}` of the plan is not a path")))?;
                self.path(&path)
            }
        })
    }

    fn packages(&self, among: &[Entry], name: &str) -> Vec<Cause> {
        among.iter().filter(|entry| entry.name.as_str() == name).map(|entry| self.package(entry)).collect()
    }

    fn package(&self, entry: &Entry) -> Cause {
        let asked = self.resolved.origins.packages.get(entry.name.as_str()).into_iter().flatten();
        Cause::Locked {
            at: self.at(Table::Package, entry.name.as_str(), Some(entry.arch.to_string())),
            what: entry.name.to_string(),
            version: entry.version.to_string(),
            digest: format!("sha256:{}", entry.sha256),
            asked: asked.map(|place| Shown(place).to_string()).collect(),
        }
    }

    fn path(&self, path: &TreePath) -> Vec<Cause> {
        let origins = &self.resolved.origins;
        let described = |kind, name: &ArtifactName| origins.described.get(&(kind, name.clone())).map(|place| Shown(place).to_string());
        let mut causes = Vec::new();
        match origins.files.get(path) {
            Some(Origin::Recipe(place)) => {
                let at = Shown(place).to_string();
                causes.extend(origins.sources.get(path).map(|file| Cause::Source { file: file.clone(), at: at.clone() }));
                causes.push(Cause::Written { at });
            }
            Some(Origin::Artifact { name, by, .. }) => {
                causes.extend(self.artifact(name, &Shown(by).to_string()));
                let at = [Some(Shown(by).to_string()), described("artifact", name)];
                causes.extend(at.into_iter().flatten().map(|at| Cause::Written { at }));
            }
            Some(Origin::Image { name, reference, from, by }) => {
                let asked = Shown(by).to_string();
                match (from, self.resolved.plan.files().get(path).map(|node| &node.kind)) {
                    (Some(from), _) => causes.extend(self.artifact(from, &asked)),
                    (None, Some(PlannedKind::Extraction(Extraction::Pulled(image, _)))) => causes.push(Cause::Locked {
                        at: self.at(Table::Image, name.as_str(), None),
                        what: format!("image {name}"),
                        version: reference.to_string(),
                        digest: format!("sha256:{}", image.index),
                        asked: vec![asked.clone()],
                    }),
                    _ => {}
                }
                causes.extend([Some(asked), described("image", name)].into_iter().flatten().map(|at| Cause::Written { at }));
            }
            Some(Origin::Part(part)) => causes.push(Cause::Kbake { part: Some(part.clone()) }),
            _ => causes.push(Cause::Kbake { part: None }),
        }
        causes
    }

    /// The entry of an artifact, or of the package that it is a file of.
    fn artifact(&self, name: &ArtifactName, asked: &str) -> Option<Cause> {
        let artifacts = &self.resolved.artifacts;
        if let Some(LockedArtifact { arch, version, source, digest, .. }) = artifacts.locked.get(name) {
            let version =
                version.as_ref().filter(|_| !artifacts.locked[name].is_own()).map_or_else(|| source.to_string(), ToString::to_string);
            let at = self.at(Table::Artifact, name.as_str(), Some(arch.to_string()));
            return Some(Cause::Locked { at, what: name.to_string(), version, digest: digest.to_string(), asked: vec![asked.to_owned()] });
        }
        artifacts.members.get(name).map(|package| self.package(package))
    }

    /// `file:line` of an entry of the lockfile.
    fn at(&self, table: Table, name: &str, arch: Option<String>) -> String {
        match self.lines.get(&(table, name.to_owned(), arch)) {
            Some(line) => format!("{}:{line}", self.resolved.lock.name),
            None => self.resolved.lock.name.clone(),
        }
    }
}
