//! Looking at what the store holds, one thing at a time, for `kbake verify`.

use super::{Blob, Store, alias, small};
use crate::error::{Class, Error, Result};
use crate::fsx::{self, Links, Stamp};
use crate::value::{Sha256, Sha512};

/// What came of reading a blob's file to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// Why it is not what its name says, if it is not. It is in quarantine then.
    pub damage: Option<String>,
    /// Those of the asked aliases that say another SHA-512 than it has.
    pub wrong_aliases: Vec<Sha256>,
}

impl Store {
    /// Hashes a blob's file. A damaged or unreadable one goes to quarantine. `aliases` are the keys of the alias entries that
    /// name it: whether they are right is found out in the same pass.
    ///
    /// # Errors
    /// Those of the disk, but for reading the file itself.
    pub fn examine(&self, digest: &Sha256, aliases: &[Sha256]) -> Result<Examined> {
        let path = self.own_path(digest);
        let odd = match fsx::odd_at(&path, Links::Refused) {
            Some(odd) => Some(format!("it is {odd}, no regular file")),
            None => small::is_odd(&path).then(|| "it may not be read".to_owned()),
        };
        let Some(file) = self.own_blob(digest)? else {
            let damage = match odd {
                Some(odd) => format!("{odd}; moved to {}", self.root().join("quarantine").join(digest.to_string()).display()),
                None => "it went while the others were read".to_owned(),
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
            // A sector that cannot be read: a blob all the same that nobody can use.
            Err(error) => {
                file.dispose();
                Ok(Examined { damage: Some(error.message().to_owned()), ..Examined::default() })
            }
        }
    }

    /// What a file in quarantine is.
    fn found_at(&self, digest: &Sha256) -> Result<String> {
        let path = self.root().join("quarantine").join(digest.to_string());
        Ok(match fsx::digest_until(&path, &self.cancel) {
            Ok(Some((found, size, _))) => format!("{size} bytes with sha256:{found}; moved to {}", path.display()),
            _ => "other bytes".into(),
        })
    }

    /// Which blob has a SHA-512 by what was last seen; its bytes may be gone.
    pub fn alias_of(&self, digest: &Sha512) -> Option<Sha256> {
        let action = self.entry(alias::KIND, &alias::key(digest)).ok()?;
        action.outputs.get(alias::BLOB).map(|blob| blob.digest)
    }

    /// Whether an action's kind is that of the aliases.
    pub fn is_alias(kind: &str) -> bool {
        kind == alias::KIND
    }

    /// Forgets an action. One that is forgotten already is fine.
    pub fn remove_action(&self, kind: &str, key: &Sha256) -> Result<()> {
        self.remove_small(&self.action_path(kind, key))
    }

    /// Takes the bytes of a file outside the store, if they are `blob`. Gives whether they were.
    ///
    /// # Errors
    /// Those of the disk.
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
            .map_err(|e| Error::io(format!("take {} into the store", from.display()), &e))
            .and_then(|_| writer.commit());
        match taken {
            // Somebody has written to it since it was hashed.
            Err(error) if error.class() == Class::Integrity => Ok(false),
            taken => taken.map(|_| true),
        }
    }
}
