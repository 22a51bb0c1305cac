//! GRUB for a role's images, made once and remembered: to unpack its package and to compress its core takes longer than
//! to lay out the disk.

use std::io::Read as _;

use super::{Bake, Resolved, machine, pantry};
use crate::disk::grub::{self, Loader};
use crate::error::{Class, Error, Result};
use crate::plan::IMAGE_FORMAT;
use crate::store::{Action, Blob, Lookup, Miss};
use crate::value::Sha256;

/// The kind of action that the store remembers.
pub(super) const BOOT: &str = "boot";
/// The name of its one output.
const LOADER: &str = "loader";

/// What decides the loader: GRUB's package, the modules, what GRUB is told, and how we make it. None without a package.
pub(super) fn key(resolved: &Resolved) -> Option<Sha256> {
    let package = machine::grub_package(&resolved.tools)?.sha256;
    let (prefix, config) = machine::grub_words(&resolved.plan);
    let modules = grub::MODULES.join(" ");
    Some(Sha256::of(format!("kbake boot\nimage-format {IMAGE_FORMAT}\npackage {package}\nmodules {modules}\nprefix {prefix}\n\n{config}")))
}

/// What an entry says that was made.
pub(super) fn loader_of(action: &Action) -> Option<Blob> {
    action.outputs.get(LOADER).copied()
}

impl Bake<'_> {
    /// GRUB for a plan's disk: looked up, or made.
    pub(super) fn loader(&self, resolved: &Resolved) -> Result<Loader> {
        if let Some(loader) = self.known_loader(resolved)? {
            return Ok(loader);
        }
        let loader = self.new_loader(resolved)?;
        let Some(key) = key(resolved) else { return Ok(loader) };
        let blob = self.store.insert(&loader.to_bytes())?;
        self.store.put_action(BOOT, &key, &Action { outputs: [(LOADER.to_owned(), blob)].into() })?;
        // What the store had under this name before may be damaged: it is found here, and not by a later build.
        self.known_loader(resolved)?.ok_or_else(|| Error::internal("the boot loader that was just stored cannot be read back"))
    }

    /// Makes a loader again that was lost or whose entry is damaged, where the store has the tools: an image that is there
    /// does without it, and nothing else would look.
    pub(super) fn mend_loader(&self, resolved: &Resolved) -> Result<()> {
        let found = key(resolved).map(|key| self.store.action(BOOT, &key));
        let lost = matches!(found, Some(Lookup::Miss(miss)) if miss != Miss::Absent);
        if lost && self.has_tools(resolved)? { self.loader(resolved).map(drop) } else { Ok(()) }
    }

    /// Whether the store has all of the channel's tools.
    pub(super) fn has_tools(&self, resolved: &Resolved) -> Result<bool> {
        for want in pantry::wants(resolved.tools.iter()) {
            if self.store.resolve(&want.digest, want.size)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn known_loader(&self, resolved: &Resolved) -> Result<Option<Loader>> {
        let Some(Lookup::Hit(action)) = key(resolved).map(|key| self.store.action(BOOT, &key)) else { return Ok(None) };
        let Some(blob) = loader_of(&action) else { return Ok(None) };
        let Some(mut reader) = self.store.reader(&blob.digest)? else { return Ok(None) };
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|e| Error::io("read the boot loader from the store", &e))?;
        Ok(Loader::from_bytes(&bytes))
    }

    /// GRUB for a plan's disk, whatever the store remembers.
    pub(super) fn new_loader(&self, resolved: &Resolved) -> Result<Loader> {
        // A base that was found in the store needed none of them.
        self.fetch_missing(Some(&resolved.suite), pantry::wants(resolved.tools.iter()))?;
        machine::loader(&resolved.plan, self.store, &resolved.tools)
    }

    /// The digest of the loader, made again. None when the store does not have the tools, or has them damaged.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn derive_loader(&self, resolved: &Resolved) -> Result<Option<Sha256>> {
        if !self.has_tools(resolved)? {
            return Ok(None);
        }
        match machine::loader(&resolved.plan, self.store, &resolved.tools) {
            Ok(loader) => Ok(Some(Sha256::of(loader.to_bytes()))),
            // Found as damage of the blob.
            Err(error) if error.class() == Class::Integrity => Ok(None),
            Err(error) => Err(error),
        }
    }
}
