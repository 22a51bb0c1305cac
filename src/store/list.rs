//! What is in a store, for the commands that look after it.

use std::path::Path;

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
        blobs(self.root())
    }

    /// All action entries of this very store, by their names. Files with other names are passed over.
    pub fn actions(&self) -> Result<Vec<Found>> {
        let look = |(kind, key): (String, Sha256)| {
            let action = self.own_action(&kind, &key);
            Found { name: (kind, key), action }
        };
        Ok(self.action_names()?.into_iter().map(look).collect())
    }

    /// The kinds and keys of all action entries of this very store, without a look into them.
    pub fn action_names(&self) -> Result<Vec<(String, Sha256)>> {
        let parse = |name: std::ffi::OsString| {
            let (kind, key) = name.to_str()?.strip_suffix(".json")?.rsplit_once('-')?;
            Some((kind.to_owned(), key.parse().ok()?)).filter(|_| is_kind(kind))
        };
        Ok(fsx::list(&self.root().join("actions"))?.into_iter().filter_map(parse).collect())
    }
}

/// The blobs of the store at `root`.
pub(super) fn blobs(root: &Path) -> Result<Vec<Blob>> {
    let folder = root.join("blobs/sha256");
    let mut blobs = Vec::new();
    for name in fsx::list(&folder)? {
        if let Some(digest) = name.to_str().and_then(|name| name.parse().ok())
            && let Some(facts) = fsx::facts(&folder.join(&name))?
        {
            // Something else in a blob's place is there to be looked at, and has none of a blob's bytes.
            blobs.push(Blob { digest, size: if facts.kind == fsx::Kind::File { facts.size } else { 0 } });
        }
    }
    Ok(blobs)
}
