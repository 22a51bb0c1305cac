//! GRUB for one filesystem, independent of its place on a disk: small but slow to build, so worth caching.

use super::sector::{self, BOOT_CODE_LEN};
use super::{CoreImage, GrubFiles, SECTOR};
use crate::Result;

/// The boot sector's code and the core image, before the core's place is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loader {
    boot: Vec<u8>,
    core: CoreImage,
}

impl Loader {
    /// Builds the loader from GRUB's files; the arguments are those of [`CoreImage::new`].
    ///
    /// # Errors
    /// Those of [`CoreImage::new`].
    pub(crate) fn new(files: &GrubFiles, modules: &[&str], prefix: &str, config: &str) -> Result<Self> {
        Ok(Loader { boot: files.boot.clone(), core: CoreImage::new(files, modules, prefix, config)? })
    }

    /// The bytes to cache: the sector, then the core.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [&self.boot, self.core.as_bytes()].concat()
    }

    /// Parses the output of [`Loader::to_bytes`]; `None` for anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (boot, core) = bytes.split_at_checked(SECTOR)?;
        Some(Loader { boot: boot.to_vec(), core: CoreImage::from_bytes(core)? })
    }

    /// The core image.
    pub(crate) fn core(&self) -> &CoreImage {
        &self.core
    }

    /// The code that loads the core from sector `core_lba`: [`super::boot_sector`].
    pub(crate) fn boot_sector(&self, core_lba: u64) -> [u8; BOOT_CODE_LEN] {
        sector::code(&self.boot, core_lba)
    }
}
