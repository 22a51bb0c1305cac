//! Lists of the store's blobs and entries.

use std::path::Path;

use super::action::is_kind;
use super::{Action, Blob, Miss, Store};
use crate::common::error::Result;
use crate::common::fsx;
use crate::common::value::Sha256;

/// An action entry found in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Kind and key, from the file name.
    pub name: (String, Sha256),
    /// The action, or the reason why the entry is unusable.
    pub action: Result<Action, Miss>,
}

impl Store {
    /// All blobs of this store itself, sorted by digest, with the sizes of their files. Files with other names are ignored.
    pub fn blobs(&self) -> Result<Vec<Blob>> {
        blobs(self.root())
    }

    /// All action entries of this store itself, sorted by name. Files with other names are ignored.
    pub fn actions(&self) -> Result<Vec<Found>> {
        let look = |(kind, key): (String, Sha256)| {
            let action = self.own_action(&kind, &key);
            Found { name: (kind, key), action }
        };
        Ok(self.action_names()?.into_iter().map(look).collect())
    }

    /// The kinds and keys of all action entries of this store itself, without reading them.
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
            // Anything but a file is listed with size 0, so that verification examines it.
            blobs.push(Blob { digest, size: if facts.kind == fsx::Kind::File { facts.size } else { 0 } });
        }
    }
    Ok(blobs)
}
