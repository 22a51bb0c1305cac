//! Aliases: blobs by SHA-512.
//!
//! An alias is a hint, stored like an action entry: the blob that last had a SHA-512. It may be missing, outdated or false. So
//! each process that follows an alias hashes the blob once, computing both digests in one pass, and trusts only that.

use std::sync::PoisonError;

use super::{Action, Blob, Lookup, PlanLock, Store};
use crate::common::error::{Class, Result};
use crate::common::value::{Cancel, Digest, Sha256, Sha512};

/// The kind of alias entries.
pub(super) const KIND: &str = "alias";
/// The name of the blob in an alias entry.
pub(super) const BLOB: &str = "blob";

impl Store {
    /// The blob with `digest` and, where given, `size`; none if it is absent.
    ///
    /// For a SHA-256 the bytes are verified when they are read. For a SHA-512 the blob is hashed at the first call in a
    /// process, so the result is verified: a wrong alias is removed, and a damaged blob goes to quarantine.
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

    /// The SHA-256 of the blob with the SHA-512, verified now or earlier in this process.
    fn name_of(&self, digest: &Sha512) -> Result<Option<Sha256>> {
        // The pair of digests stays true even if the file changes later: readers verify the SHA-256.
        if let Some(name) = self.proved.lock().unwrap_or_else(PoisonError::into_inner).get(digest) {
            return Ok(Some(*name));
        }
        let Some(hint) = self.alias(digest) else { return Ok(None) };
        let Some(file) = self.blob(&hint.digest)? else { return Ok(None) };
        match file.sha512() {
            Ok(found) if found == *digest => {
                self.check_alias(digest, hint.digest);
                Ok(Some(hint.digest))
            }
            Ok(_) => {
                // This may remove a correct alias that another process has just written; its blob is then fetched again.
                let _ = self.remove_small(&self.action_path(KIND, &key(digest)));
                Ok(None)
            }
            Err(error) if error.class() == Class::Integrity => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The blob that the alias names, unverified.
    pub(super) fn alias(&self, digest: &Sha512) -> Option<Blob> {
        let Lookup::Hit(action) = self.action(KIND, &key(digest)) else { return None };
        action.outputs.get(BLOB).copied()
    }

    /// The lock that a process holds from before its blobs are renamed until their aliases are written.
    pub(super) fn alias_lock(&self, cancel: &Cancel) -> Result<PlanLock> {
        self.plan_lock(&Sha256::of("aliases"), cancel, &|| {})
    }

    /// Records that `blob`, which is in the store, has `digest`: the caller has hashed its bytes.
    pub(super) fn put_alias(&self, digest: &Sha512, blob: Blob) -> Result<()> {
        self.write_alias(digest, blob)?;
        self.check_alias(digest, blob.digest);
        Ok(())
    }

    /// Records the unverified claim that `blob`, which is in the store, has `digest`, unless another blob is known to have it.
    /// The alias is verified when it is followed.
    pub fn hint_alias(&self, digest: &Sha512, blob: Blob) -> Result<()> {
        match self.name_of(digest)? {
            Some(_) => Ok(()),
            None => self.write_alias(digest, blob),
        }
    }

    fn write_alias(&self, digest: &Sha512, blob: Blob) -> Result<()> {
        self.put_action(KIND, &key(digest), &Action { outputs: [(BLOB.to_owned(), blob)].into() })
    }

    fn check_alias(&self, digest: &Sha512, name: Sha256) {
        self.proved.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, name);
    }
}

pub(super) fn key(digest: &Sha512) -> Sha256 {
    Sha256::of(Digest::Sha512(*digest).to_string())
}
