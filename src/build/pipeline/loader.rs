//! GRUB for a role's images, built once and cached: unpacking its package and compressing its core takes longer than laying
//! out the disk.

use std::io::Read as _;

use super::step::Step;
use super::{disk, inputs};
use crate::build::{Bake, Resolved};
use crate::common::error::{Class, Error, Result};
use crate::common::value::Sha256;
use crate::formats::disk::grub::Loader;
use crate::storage::store::{Action, Blob};

/// The name of its only output.
const LOADER: &str = "loader";

/// The loader that an action entry names.
pub(in crate::build) fn loader_of(action: &Action) -> Option<Blob> {
    action.outputs.get(LOADER).copied()
}

impl Bake<'_> {
    /// GRUB for a plan's disk: looked up, or built.
    pub(in crate::build) fn loader(&self, resolved: &Resolved) -> Result<Loader> {
        let Some(key) = disk::loader_key(resolved) else { return self.new_loader(resolved) };
        let make = || Ok([(LOADER.to_owned(), self.store.insert(&self.new_loader(resolved)?.to_bytes())?)].into());
        self.realise(&Step::Loader(key), resolved.plan.role(), |action| self.read_loader(action), make).map(|(loader, _)| loader)
    }

    /// Rebuilds a loader whose blob or entry was lost, if the store has the tools. A cached image does not need the loader,
    /// so nothing else would notice.
    pub(in crate::build) fn restore_loader(&self, resolved: &Resolved) -> Result<()> {
        let lost = disk::loader_key(resolved).is_some_and(|key| self.is_lost(&Step::Loader(key)));
        if lost && self.has_tools(resolved)? { self.loader(resolved).map(drop) } else { Ok(()) }
    }

    /// True when the store has all of the channel's tools.
    pub(in crate::build) fn has_tools(&self, resolved: &Resolved) -> Result<bool> {
        for want in inputs::wants(&resolved.tools) {
            if self.store.resolve(&want.digest, want.size)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_loader(&self, action: &Action) -> Result<Option<Loader>> {
        let Some(blob) = loader_of(action) else { return Ok(None) };
        let Some(mut reader) = self.store.reader(&blob.digest)? else { return Ok(None) };
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|e| Error::io("read the boot loader from the store", &e))?;
        Ok(Loader::from_bytes(&bytes))
    }

    /// GRUB for a plan's disk, built without the cache.
    pub(in crate::build) fn new_loader(&self, resolved: &Resolved) -> Result<Loader> {
        // A cached base needed no tools, so they may not be fetched yet.
        self.fetch_missing(Some(&resolved.archives), inputs::wants(&resolved.tools))?;
        disk::loader(&resolved.plan, self.store, &resolved.tools)
    }

    /// The digest of a rebuilt loader. None when the store lacks the tools, or has them damaged.
    ///
    /// # Errors
    /// I/O errors.
    pub(in crate::build) fn derive_loader(&self, resolved: &Resolved) -> Result<Option<Sha256>> {
        if !self.has_tools(resolved)? {
            return Ok(None);
        }
        match disk::loader(&resolved.plan, self.store, &resolved.tools) {
            Ok(loader) => Ok(Some(Sha256::of(loader.to_bytes()))),
            // Reported as damage of the blob.
            Err(error) if error.class() == Class::Integrity => Ok(None),
            Err(error) => Err(error),
        }
    }
}
