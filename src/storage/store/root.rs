//! Garbage collection roots: the plan, actions and inputs of each project, channel and role. They also record the previous
//! plan for `kbake why`.
//!
//! One file per project, channel and role: `roots/<key>.json`. Losing a root does no harm, except that its blobs then count as
//! unneeded.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::small::{self, Small};
use super::{Blob, Store};
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::value::{RoleName, Sha256, escape, unescape};

/// The owner of a root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The project's folder, absolute; none for the recipes shipped in the binary.
    pub project: Option<PathBuf>,
    /// The channel.
    pub channel: String,
    /// The role.
    pub role: RoleName,
}

/// A garbage collection root: the last build of an owner, with its output files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The owner.
    pub owner: Owner,
    /// The last build or fetch.
    pub current: Generation,
    /// The last build with another plan.
    pub previous: Option<History>,
    /// The image's output files, absolute.
    pub outputs: BTreeSet<PathBuf>,
}

/// Everything in the store that one plan needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The plan, with the provenance of its lines.
    pub history: History,
    /// The actions, by kind and key.
    pub actions: BTreeSet<(String, Sha256)>,
    /// The fetched blobs.
    pub inputs: BTreeSet<Sha256>,
}

/// A recorded plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// The plan's text. The blob's digest is the plan's key.
    pub plan: Blob,
    /// The provenance of each plan line: files and lines that caused it.
    pub causes: Option<Blob>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    project: Option<String>,
    channel: String,
    role: String,
    current: TextGeneration,
    previous: Option<TextHistory>,
    outputs: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TextGeneration {
    history: TextHistory,
    actions: Vec<(String, String)>,
    inputs: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TextHistory {
    plan: (String, u64),
    causes: Option<(String, u64)>,
}

/// A root with a checksum, so that damage is detected.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    root: Text,
    check: String,
}

impl Owner {
    /// The key in the root's file name.
    pub(super) fn key(&self) -> Sha256 {
        let project = self.project.as_ref().map(|path| shown(path)).unwrap_or_default();
        Sha256::of(format!("{project}\n{}\n{}", self.channel, self.role))
    }
}

impl Store {
    /// The root of an owner; none if it is absent or unreadable.
    pub fn root_of(&self, owner: &Owner) -> Result<Option<Root>> {
        let bytes = small::read(&self.root_path(&owner.key()))?.bytes();
        Ok(bytes.and_then(|bytes| read(&bytes)).filter(|root| root.owner == *owner))
    }

    /// All readable roots, sorted by file name.
    pub fn roots(&self) -> Result<Vec<Root>> {
        let mut roots = Vec::new();
        for name in fsx::list(&self.root().join("roots"))? {
            roots.extend(small::read(&self.root().join("roots").join(name))?.bytes().and_then(|bytes| read(&bytes)));
        }
        Ok(roots)
    }

    /// All root files by name; none for an unreadable root.
    pub fn root_files(&self) -> Result<Vec<(String, Option<Root>)>> {
        let mut roots = Vec::new();
        for name in fsx::list(&self.root().join("roots"))? {
            let found = small::read(&self.root().join("roots").join(&name))?;
            if let (Some(shown), true) = (name.to_str(), found != Small::Absent) {
                let root = found.bytes().and_then(|bytes| read(&bytes));
                roots.push((shown.to_owned(), root.filter(|root| shown == format!("{}.json", root.owner.key()))));
            }
        }
        Ok(roots)
    }

    /// Removes a root by its file name, as [`Store::root_files`] returns it.
    pub fn remove_root(&self, name: &str) -> Result<()> {
        self.remove_small(&self.root().join("roots").join(name))
    }

    /// The file name of an owner's root.
    pub fn root_name(owner: &Owner) -> String {
        format!("{}.json", owner.key())
    }

    /// Writes an owner's root, replacing an earlier one.
    pub fn put_root(&self, root: &Root) -> Result<()> {
        let text = Text {
            project: root.owner.project.as_ref().map(|path| shown(path)),
            channel: root.owner.channel.clone(),
            role: root.owner.role.to_string(),
            current: TextGeneration {
                history: text_of(&root.current.history),
                actions: root.current.actions.iter().map(|(kind, key)| (kind.clone(), key.to_string())).collect(),
                inputs: root.current.inputs.iter().map(Sha256::to_string).collect(),
            },
            previous: root.previous.as_ref().map(text_of),
            outputs: root.outputs.iter().map(|path| shown(path)).collect(),
        };
        let check = check(&text)?;
        let mut bytes = serde_json::to_vec_pretty(&Sealed { root: text, check })
            .map_err(|e| Error::internal(format!("cannot serialize a root: {e}")))?;
        bytes.push(b'\n');
        self.write_small(&self.root_path(&root.owner.key()), &bytes)
    }

    pub(super) fn root_path(&self, key: &Sha256) -> PathBuf {
        self.root().join("roots").join(format!("{key}.json"))
    }
}

pub(super) fn read(bytes: &[u8]) -> Option<Root> {
    let sealed: Sealed = serde_json::from_slice(bytes).ok()?;
    if check(&sealed.root).ok()? != sealed.check {
        return None;
    }
    let Text { project, channel, role, current, previous, outputs } = sealed.root;
    let project = match project {
        Some(text) => Some(path(&text)?),
        None => None,
    };
    let owner = Owner { project, channel, role: role.parse().ok()? };
    let actions = current.actions.into_iter().map(|(kind, key)| Some((kind, key.parse().ok()?))).collect::<Option<_>>()?;
    let inputs = current.inputs.iter().map(|digest| digest.parse().ok()).collect::<Option<_>>()?;
    Some(Root {
        owner,
        current: Generation { history: history(&current.history)?, actions, inputs },
        previous: previous.as_ref().and_then(history),
        outputs: outputs.iter().map(|text| path(text)).collect::<Option<_>>()?,
    })
}

fn check(text: &Text) -> Result<String> {
    let bytes = serde_json::to_vec(text).map_err(|e| Error::internal(format!("cannot serialize a root: {e}")))?;
    Ok(Sha256::of(bytes).to_string())
}

fn text_of(history: &History) -> TextHistory {
    let pair = |blob: Blob| (blob.digest.to_string(), blob.size);
    TextHistory { plan: pair(history.plan), causes: history.causes.map(pair) }
}

fn history(text: &TextHistory) -> Option<History> {
    let blob = |(digest, size): &(String, u64)| Some(Blob { digest: digest.parse().ok()?, size: *size });
    let causes = match &text.causes {
        Some(pair) => Some(blob(pair)?),
        None => None,
    };
    Some(History { plan: blob(&text.plan)?, causes })
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_bytes())
}

fn path(text: &str) -> Option<PathBuf> {
    Some(PathBuf::from(OsStr::from_bytes(&unescape(text)?)))
}
