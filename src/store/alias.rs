//! Blobs by a digest that is not their name.
//!
//! An alias is a hint, kept beside the action entries: which blob had a SHA-512 the last time. It may be lost, old or
//! a lie. So each process that follows one hashes the blob once, by both digests in one pass, and believes only that.

use std::sync::PoisonError;

use super::{Action, Blob, Lookup, PlanLock, Store};
use crate::error::{Class, Result};
use crate::value::{Cancel, Digest, Sha256, Sha512};

/// The kind of the entries, and the name of the blob in them.
pub(super) const KIND: &str = "alias";
pub(super) const BLOB: &str = "blob";

impl Store {
    /// The blob with the bytes that have `digest`, and `size` where that is known; none when it is not there.
    ///
    /// Of a SHA-256 the bytes are looked at when they are read. For a SHA-512 the blob is hashed the first time that a
    /// process asks, so what comes back has it: a wrong alias is forgotten, and a damaged blob goes to quarantine.
    pub fn resolve(&self, digest: &Digest, size: Option<u64>) -> Result<Option<Blob>> {
        let name = match digest {
            Digest::Sha256(name) => *name,
            Digest::Sha512(digest) => match self.name_of(digest)? {
                Some(name) => name,
                None => return Ok(None),
            },
        };
        if !self.holds(&name, size)? {
            return Ok(None);
        }
        Ok(self.size(&name)?.map(|size| Blob { digest: name, size }))
    }

    /// The name of a blob that was seen to have the SHA-512, now or earlier in this process.
    fn name_of(&self, digest: &Sha512) -> Result<Option<Sha256>> {
        // Of the bytes it is true for good, whatever happens to the file: that is found out by the name.
        if let Some(name) = self.proved.lock().unwrap_or_else(PoisonError::into_inner).get(digest) {
            return Ok(Some(*name));
        }
        let Some(hint) = self.alias(digest) else { return Ok(None) };
        let Some(file) = self.blob(&hint.digest)? else { return Ok(None) };
        match file.sha512() {
            Ok(found) if found == *digest => {
                self.prove(digest, hint.digest);
                Ok(Some(hint.digest))
            }
            Ok(_) => {
                // A right one that another process has just written may go with it; then that is fetched again.
                let _ = self.remove_small(&self.action_path(KIND, &key(digest)));
                Ok(None)
            }
            Err(error) if error.class() == Class::Integrity => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the alias says. Nothing about it is known to be true.
    pub(super) fn alias(&self, digest: &Sha512) -> Option<Blob> {
        let Lookup::Hit(action) = self.action(KIND, &key(digest)) else { return None };
        action.outputs.get(BLOB).copied()
    }

    /// Kept by a process from before its blobs have their names until their aliases are written.
    pub(super) fn alias_turn(&self, cancel: &Cancel) -> Result<PlanLock> {
        self.plan_lock(&Sha256::of("aliases"), cancel, &|| {})
    }

    /// Remembers that `blob`, which is in the store, has `digest`: the caller has hashed its bytes.
    pub(super) fn put_alias(&self, digest: &Sha512, blob: Blob) -> Result<()> {
        self.write_alias(digest, blob)?;
        self.prove(digest, blob.digest);
        Ok(())
    }

    /// Notes that `blob`, which is in the store, is said to have `digest`, unless another one is known to have it. Whoever
    /// follows the alias finds out.
    pub fn hint_alias(&self, digest: &Sha512, blob: Blob) -> Result<()> {
        match self.name_of(digest)? {
            Some(_) => Ok(()),
            None => self.write_alias(digest, blob),
        }
    }

    fn write_alias(&self, digest: &Sha512, blob: Blob) -> Result<()> {
        self.put_action(KIND, &key(digest), &Action { outputs: [(BLOB.to_owned(), blob)].into() })
    }

    fn prove(&self, digest: &Sha512, name: Sha256) {
        self.proved.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, name);
    }
}

pub(super) fn key(digest: &Sha512) -> Sha256 {
    Sha256::of(Digest::Sha512(*digest).to_string())
}
