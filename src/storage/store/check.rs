//! Verification and repair of single entries, for `kbake verify`.

use super::{Blob, Store, alias, small};
use crate::common::error::{Class, Error, Result};
use crate::common::fsx::{self, Links, Stamp};
use crate::common::value::{Sha256, Sha512};

/// The result of hashing a blob's file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// The damage, if there is any. The file is then in quarantine.
    pub damage: Option<String>,
    /// The given aliases whose SHA-512 is not that of the file.
    pub wrong_aliases: Vec<Sha256>,
}

impl Store {
    /// Hashes a blob's file. A damaged or unreadable file goes to quarantine. `aliases` are the keys of the alias entries that
    /// name the blob; the same pass checks them.
    ///
    /// # Errors
    /// I/O errors, except those of reading the file itself.
    pub fn examine(&self, digest: &Sha256, aliases: &[Sha256]) -> Result<Examined> {
        let path = self.own_path(digest);
        let odd = match fsx::special_at(&path, Links::Refused) {
            Some(odd) => Some(format!("it is {odd}, not a regular file")),
            None => small::is_unusable(&path).then(|| "permission to read it is denied".to_owned()),
        };
        let Some(file) = self.own_blob(digest)? else {
            let damage = match odd {
                Some(odd) => format!("{odd}; moved to {}", self.root().join("quarantine").join(digest.to_string()).display()),
                None => "it disappeared during the verification".to_owned(),
            };
            return Ok(Examined { damage: Some(damage), ..Examined::default() });
        };
        let looked = match aliases {
            [] => file.verify().map(|()| None),
            _ => file.sha512().map(Some),
        };
        match looked {
            Ok(longer) => {
                let key = longer.as_ref().map(alias::key);
                let wrong_aliases = aliases.iter().filter(|alias| Some(**alias) != key).copied().collect();
                Ok(Examined { damage: None, wrong_aliases })
            }
            Err(error) if error.class() == Class::Integrity => Ok(Examined { damage: Some(self.found_at(digest)?), ..Examined::default() }),
            Err(error) if error.class() == Class::Interrupted => Err(error),
            // An unreadable sector makes the blob unusable too.
            Err(error) => {
                file.dispose();
                Ok(Examined { damage: Some(error.message().to_owned()), ..Examined::default() })
            }
        }
    }

    /// The description of a file in quarantine.
    fn found_at(&self, digest: &Sha256) -> Result<String> {
        let path = self.root().join("quarantine").join(digest.to_string());
        Ok(match fsx::digest_until(&path, &self.cancel) {
            Ok(Some((found, size, _))) => format!("{size} bytes with sha256:{found}; moved to {}", path.display()),
            _ => "other bytes".into(),
        })
    }

    /// The blob that an alias names for a SHA-512, unverified and possibly absent.
    pub fn alias_of(&self, digest: &Sha512) -> Option<Sha256> {
        let action = self.entry(alias::KIND, &alias::key(digest)).ok()?;
        action.outputs.get(alias::BLOB).map(|blob| blob.digest)
    }

    /// True if an action's kind is that of aliases.
    pub fn is_alias(kind: &str) -> bool {
        kind == alias::KIND
    }

    /// Removes an action's entry, if it exists.
    pub fn remove_action(&self, kind: &str, key: &Sha256) -> Result<()> {
        self.remove_small(&self.action_path(kind, key))
    }

    /// Copies a file outside the store back into it if its bytes are `blob`. Returns whether they were.
    ///
    /// # Errors
    /// I/O errors.
    pub fn take_back(&self, blob: &Blob, from: &std::path::Path) -> Result<bool> {
        if Stamp::of(from)?.is_none_or(|stamp| stamp.size != blob.size) {
            return Ok(false);
        }
        let right = fsx::digest_until(from, &self.cancel)?.map(|(digest, size, _)| Blob { digest, size });
        if right.as_ref() != Some(blob) {
            return Ok(false);
        }
        let mut writer = self.writer(Some(blob.digest), Some(blob.size))?;
        let mut file = fsx::open_read(from)?;
        let taken = std::io::copy(&mut file, &mut writer)
            .map_err(|e| Error::io(format!("copy {} into the store", from.display()), &e))
            .and_then(|_| writer.commit());
        match taken {
            // The file was changed after it was hashed.
            Err(error) if error.class() == Class::Integrity => Ok(false),
            taken => taken.map(|_| true),
        }
    }
}
