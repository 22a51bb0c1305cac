//! What is in a store, for the commands that look after it.

use super::action::is_kind;
use super::{Action, Blob, Miss, Store};
use crate::error::Result;
use crate::fsx;
use crate::value::Sha256;

/// An action entry, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its kind, and its key, as its name has them.
    pub name: (String, Sha256),
    /// What it says, or why that cannot be believed.
    pub action: Result<Action, Miss>,
}

impl Store {
    /// All blobs of this very store, by their names, with the sizes that their files have. Files with other names are passed over.
    pub fn blobs(&self) -> Result<Vec<Blob>> {
        let folder = self.root().join("blobs/sha256");
        let mut blobs = Vec::new();
        for name in fsx::list(&folder)? {
            if let Some(digest) = name.to_str().and_then(|name| name.parse().ok())
                && let Some(size) = fsx::size(&folder.join(&name))?
            {
                blobs.push(Blob { digest, size });
            }
        }
        Ok(blobs)
    }

    /// All action entries of this very store, by their names. Files with other names are passed over.
    pub fn actions(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for name in fsx::list(&self.root().join("actions"))? {
            let parts = name.to_str().and_then(|name| name.strip_suffix(".json")?.rsplit_once('-'));
            let Some((kind, key)) = parts.filter(|(kind, _)| is_kind(kind)) else { continue };
            let Ok(key) = key.parse() else { continue };
            found.push(Found { name: (kind.to_owned(), key), action: self.own_action(kind, &key) });
        }
        Ok(found)
    }
}
