//! Action entries: which blobs an action with a given key gave the last time.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::small::{self, Small};
use super::{Blob, COMPOSED, FILE_MODE, Store};
use crate::error::{Error, Result};
use crate::fsx::{self, Batch, Stamp};
use crate::value::Sha256;

/// In seconds.
const DAY: i64 = 24 * 60 * 60;

/// What an action gave: blobs by name. The names are up to the action's kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Action {
    /// The blobs.
    pub outputs: BTreeMap<String, Blob>,
}

/// The answer to the question whether an action was done before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// It was, and all its blobs are there, with the right sizes.
    Hit(Action),
    /// It must be done.
    Miss(Miss),
}

/// Why an action must be done (again).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// It never was.
    Absent,
    /// Its entry cannot be read.
    Unreadable(String),
    /// Its entry is not what was written.
    Unsound(String),
    /// A blob that it names is gone, or has another size.
    BlobGone { name: String, digest: Sha256 },
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Miss::Absent => f.write_str("not done before"),
            Miss::Unreadable(why) => write!(f, "its entry cannot be read: {why}"),
            Miss::Unsound(why) => write!(f, "its entry is damaged: {why}"),
            Miss::BlobGone { name, digest } => write!(f, "its `{name}` (sha256:{digest}) is gone or has another size"),
        }
    }
}

/// The entry's text. `kind` and `key` repeat its name and `check` covers all, so that neither a misplaced nor a
/// flipped entry can name another action's blobs.
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
    /// Looks up the action `kind` (a fixed word of the program) with the key `key`, here and then, unless they are distrusted
    /// in this, in the lower stores.
    /// Never fails: whatever is wrong with an entry is a reason to do the action.
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

    /// The action, if this very store has it. Its blobs may be in a lower one.
    pub(super) fn own_action(&self, kind: &str, key: &Sha256) -> Result<Action, Miss> {
        self.load(self.root(), kind, key)
    }

    /// Once a day is enough for the garbage collection, and spares the disk. That it fails is no reason to stop.
    fn mark_used(&self, entry: &Path) {
        if let Some(now) = self.now
            && let Ok(Some(stamp)) = Stamp::here(entry)
            && now - stamp.mtime() >= DAY
        {
            let _ = fsx::touch(entry);
        }
    }

    /// Remembers what an action gave. Its blobs are in the store by then.
    ///
    /// # Errors
    /// [`crate::Class::Internal`] when one is not.
    pub fn put_action(&self, kind: &str, key: &Sha256, action: &Action) -> Result<()> {
        let text = self.entry_text(kind, key, action)?;
        self.write_small(&self.action_path(kind, key), &text)
    }

    /// As [`Store::put_action`], of many at once: the disk is waited for once, and not for each.
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
        let mut text = serde_json::to_vec_pretty(&entry).map_err(|e| Error::internal(format!("an action cannot be written: {e}")))?;
        text.push(b'\n');
        Ok(text)
    }

    fn load(&self, root: &Path, kind: &str, key: &Sha256) -> Result<Action, Miss> {
        let action = entry(root, kind, key)?;
        for (name, blob) in &action.outputs {
            // What others are composed of has files: nothing goes round in a circle.
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

    /// What an entry of this very store says, whether or not its blobs are there.
    pub fn entry(&self, kind: &str, key: &Sha256) -> Result<Action, Miss> {
        entry(self.root(), kind, key)
    }

    pub(super) fn action_path(&self, kind: &str, key: &Sha256) -> PathBuf {
        path(self.root(), kind, key)
    }
}

/// Where the store at `root` has an entry.
pub(super) fn path(root: &Path, kind: &str, key: &Sha256) -> PathBuf {
    assert!(is_kind(kind), "`{kind}` is no kind of action");
    root.join("actions").join(format!("{kind}-{key}.json"))
}

/// What an entry of the store at `root` says, whatever has become of its blobs.
pub(super) fn entry(root: &Path, kind: &str, key: &Sha256) -> Result<Action, Miss> {
    let unsound = |why: &str| Miss::Unsound(why.to_owned());
    let bytes = match small::read(&path(root, kind, key)).map_err(|e| Miss::Unreadable(e.message().to_owned()))? {
        Small::Absent => return Err(Miss::Absent),
        Small::Odd(why) => return Err(Miss::Unreadable(why)),
        Small::Bytes(bytes) => bytes,
    };
    let entry: Entry = serde_json::from_slice(&bytes).map_err(|e| unsound(&e.to_string()))?;
    let mut action = Action::default();
    for (name, blob) in entry.outputs {
        let digest = blob.digest.parse().map_err(|e: String| unsound(&e))?;
        action.outputs.insert(name, Blob { digest, size: blob.size });
    }
    if entry.kind != kind || entry.key != key.to_string() || entry.check != check(kind, key, &action).to_string() {
        return Err(unsound("its check sum does not fit"));
    }
    Ok(action)
}

/// Kinds are words of the program, and become part of file names.
pub(super) fn is_kind(kind: &str) -> bool {
    !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

/// Covers everything that an entry says, unambiguously: names are length-prefixed.
fn check(kind: &str, key: &Sha256, action: &Action) -> Sha256 {
    let mut text = format!("{} {kind} {key}\n", kind.len());
    for (name, blob) in &action.outputs {
        text.push_str(&format!("{} {name} {} {}\n", name.len(), blob.digest, blob.size));
    }
    Sha256::of(text)
}
