//! Action entries: the output blobs of an action with a given key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::small::{self, Small};
use super::{Blob, FILE_MODE, Store};
use crate::common::error::{Error, Result};
use crate::common::fsx::{self, Batch, Stamp};
use crate::common::value::Sha256;

/// The kind of entries of composed blobs.
pub(crate) const COMPOSED: &str = "composed";
/// The kind of entries that name a part of composed blobs by its inputs. Such an entry is needed as long as its blob is.
pub(crate) const FRAMES: &str = "frames";
/// One day in seconds.
const DAY: i64 = 24 * 60 * 60;

/// The result of an action: output blobs by name. The action's kind defines the names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Action {
    /// The output blobs.
    pub outputs: BTreeMap<String, Blob>,
}

/// The result of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The action is cached, and all its blobs are present with the right sizes.
    Hit(Action),
    /// The action must be run.
    Miss(Miss),
}

/// The reason why an action must be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// There is no entry.
    Absent,
    /// The entry cannot be read.
    Unreadable(String),
    /// The entry is damaged.
    Unsound(String),
    /// A blob of the entry is gone, or has another size.
    BlobGone {
        /// The output's name in the entry.
        name: String,
        /// The blob's digest.
        digest: Sha256,
    },
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Miss::Absent => f.write_str("not in the store"),
            Miss::Unreadable(why) => write!(f, "its entry cannot be read: {why}"),
            Miss::Unsound(why) => write!(f, "its entry is damaged: {why}"),
            Miss::BlobGone { name, digest } => write!(f, "its `{name}` (sha256:{digest}) is gone or has another size"),
        }
    }
}

/// The entry's JSON. `kind` and `key` repeat the file name and `check` covers everything, so that neither a misplaced nor a
/// corrupted entry can name another action's blobs.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: String,
    key: String,
    outputs: BTreeMap<String, EntryBlob>,
    check: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryBlob {
    digest: String,
    size: u64,
}

impl Store {
    /// Looks up the action `kind` (a fixed word of the program) with the key `key` in this store, then in the lower stores
    /// unless they are distrusted for this action. Never fails: an unusable entry is a miss.
    pub fn action(&self, kind: &str, key: &Sha256) -> Lookup {
        let mut why = match self.own_action(kind, key) {
            Ok(action) => {
                self.mark_used(&self.action_path(kind, key));
                return Lookup::Hit(action);
            }
            Err(miss) => miss,
        };
        for lower in self.trusted(kind, key) {
            match self.load(lower.root(), kind, key) {
                Ok(action) => return Lookup::Hit(action),
                Err(miss) if why == Miss::Absent => why = miss,
                Err(_) => {}
            }
        }
        Lookup::Miss(why)
    }

    /// The action, if this store itself has the entry. Its blobs may be in a lower store.
    pub(super) fn own_action(&self, kind: &str, key: &Sha256) -> Result<Action, Miss> {
        self.load(self.root(), kind, key)
    }

    /// Marks an entry as used, at most once a day to spare the disk. Best effort.
    fn mark_used(&self, entry: &Path) {
        if let Some(now) = self.now
            && let Ok(Some(stamp)) = Stamp::here(entry)
            && now - stamp.mtime() >= DAY
        {
            let _ = fsx::touch(entry);
        }
    }

    /// Writes the entry of an action whose blobs are in the store.
    ///
    /// # Errors
    /// [`crate::Class::Internal`] if a blob is absent.
    pub fn put_action(&self, kind: &str, key: &Sha256, action: &Action) -> Result<()> {
        let text = self.entry_text(kind, key, action)?;
        self.write_small(&self.action_path(kind, key), &text)
    }

    /// [`Store::put_action`] for many entries with one sync.
    pub fn put_actions(&self, all: &[(&str, Sha256, Action)]) -> Result<()> {
        let mut batch = Batch::default();
        for (kind, key, action) in all {
            let path = self.action_path(kind, key);
            self.make_room(&path)?;
            batch.add(&path, FILE_MODE, &self.entry_text(kind, key, action)?)?;
        }
        batch.commit()
    }

    fn entry_text(&self, kind: &str, key: &Sha256, action: &Action) -> Result<Vec<u8>> {
        for (name, blob) in &action.outputs {
            if self.size(&blob.digest)? != Some(blob.size) {
                return Err(Error::internal(format!(
                    "action {kind}-{key} names `{name}` (sha256:{}), which is not in the store",
                    blob.digest
                )));
            }
        }
        let outputs = action
            .outputs
            .iter()
            .map(|(name, blob)| (name.clone(), EntryBlob { digest: blob.digest.to_string(), size: blob.size }))
            .collect();
        let entry = Entry { kind: kind.to_owned(), key: key.to_string(), outputs, check: check(kind, key, action).to_string() };
        let mut text = serde_json::to_vec_pretty(&entry).map_err(|e| Error::internal(format!("cannot serialize an action: {e}")))?;
        text.push(b'\n');
        Ok(text)
    }

    fn load(&self, root: &Path, kind: &str, key: &Sha256) -> Result<Action, Miss> {
        let action = entry(root, kind, key)?;
        for (name, blob) in &action.outputs {
            // The parts of a composed blob have files of their own, so the lookup cannot recurse endlessly.
            let held =
                if kind == COMPOSED { self.holds_plain(&blob.digest, Some(blob.size)) } else { self.holds(&blob.digest, Some(blob.size)) };
            match held {
                Ok(true) => {}
                Ok(false) => return Err(Miss::BlobGone { name: name.clone(), digest: blob.digest }),
                Err(e) => return Err(Miss::Unreadable(e.message().to_owned())),
            }
        }
        Ok(action)
    }

    /// An entry of this store itself, whether or not its blobs are present.
    pub fn entry(&self, kind: &str, key: &Sha256) -> Result<Action, Miss> {
        entry(self.root(), kind, key)
    }

    pub(super) fn action_path(&self, kind: &str, key: &Sha256) -> PathBuf {
        path(self.root(), kind, key)
    }
}

/// The path of an entry in the store at `root`.
pub(super) fn path(root: &Path, kind: &str, key: &Sha256) -> PathBuf {
    assert!(is_kind(kind), "`{kind}` is not a kind of action");
    root.join("actions").join(format!("{kind}-{key}.json"))
}

/// An entry of the store at `root`, whether or not its blobs are present.
pub(super) fn entry(root: &Path, kind: &str, key: &Sha256) -> Result<Action, Miss> {
    let unsound = |why: &str| Miss::Unsound(why.to_owned());
    let bytes = match small::read(&path(root, kind, key)).map_err(|e| Miss::Unreadable(e.message().to_owned()))? {
        Small::Absent => return Err(Miss::Absent),
        Small::Unusable(why) => return Err(Miss::Unreadable(why)),
        Small::Bytes(bytes) => bytes,
    };
    let entry: Entry = serde_json::from_slice(&bytes).map_err(|e| unsound(&e.to_string()))?;
    let mut action = Action::default();
    for (name, blob) in entry.outputs {
        let digest = blob.digest.parse().map_err(|e: String| unsound(&e))?;
        action.outputs.insert(name, Blob { digest, size: blob.size });
    }
    if entry.kind != kind || entry.key != key.to_string() || entry.check != check(kind, key, &action).to_string() {
        return Err(unsound("its checksum does not match"));
    }
    Ok(action)
}

/// True for a valid kind: kinds are part of file names.
pub(super) fn is_kind(kind: &str) -> bool {
    !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

/// The checksum over everything in an entry, unambiguous because names are length-prefixed.
fn check(kind: &str, key: &Sha256, action: &Action) -> Sha256 {
    let mut text = format!("{} {kind} {key}\n", kind.len());
    for (name, blob) in &action.outputs {
        text.push_str(&format!("{} {name} {} {}\n", name.len(), blob.digest, blob.size));
    }
    Sha256::of(text)
}
