//! Container images: OCI manifests read, images built from files, archives written. No I/O but the readers and writers
//! that a caller hands in.
//!
//! An [`Image`] is one image for one kind of machine, either [pulled](Image::pulled) (its manifest and configuration as
//! its publisher wrote them) or [built](Built::image) from files. Both leave as the same kind of archive: a tar of an
//! [OCI layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md), as containerd, skopeo and podman
//! read it.

mod archive;
mod build;
mod copy;
mod elf;
mod layer;
mod media;
pub mod overlay;
mod pulled;
mod read;
mod saved;
pub mod tar;
mod written;

#[cfg(test)]
mod tests;

pub use archive::Image;
pub use build::{Built, File};
pub use elf::{ELF_HEAD, elf_is_program, elf_is_static};
pub use media::{MediaType, Role};
pub use read::{Document, Index, Manifest, config_platform, diff_ids, document, index, manifest};
pub use saved::{Saved, SavedImage};
pub use written::LAYOUT;

use std::fmt;

use crate::error::{Error, Result};
use crate::value::{Arch, Reference, Sha256};

/// The number of what this module writes: other bytes from the same input need another number, or a remembered archive
/// would be taken for what is written now.
pub const FORMAT: u32 = 1;

/// The longest index, manifest or configuration, in bytes: what
/// [registries must take](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests).
pub const DOCUMENT_MAX: u64 = 4 << 20;
/// The longest layer, in bytes: beyond any real image, far below what could overflow.
pub const LAYER_MAX: u64 = 16 << 30;
/// The most layers: what overlay mounts of container engines bear.
pub const LAYERS_MAX: usize = 127;

/// What stands in documents for other bytes
/// ([specification](https://github.com/opencontainers/image-spec/blob/main/descriptor.md)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// What the bytes are.
    pub media_type: MediaType,
    /// Their name.
    pub digest: Sha256,
    /// How many there are: within the limit for what they are.
    pub size: u64,
}

/// The machine that an image says it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// Whether containers for it run on nodes of this kind: Linux, and the processor's plain variant.
    pub fn fits(&self, arch: Arch) -> bool {
        let variant = self.variant.as_deref().filter(|variant| !variant.is_empty());
        let plain = match arch {
            Arch::Amd64 => "v1",
            Arch::Arm64 => "v8",
        };
        self.os == "linux" && self.architecture == arch.to_string() && variant.is_none_or(|variant| variant == plain)
    }

    /// Fails when it does not [fit](Platform::fits).
    pub fn check(&self, arch: Arch, reference: &Reference) -> Result<()> {
        if self.fits(arch) {
            return Ok(());
        }
        Err(Error::user(format!("the container image {reference} is for another platform"))
            .detail(format!("expected linux/{arch}, found {self}")))
    }

    /// What is said of pieces that are no image, but statements about one.
    fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", shown(&self.os), shown(&self.architecture))?;
        match self.variant.as_deref() {
            None | Some("") => Ok(()),
            Some(variant) => write!(f, "/{}", shown(variant)),
        }
    }
}

/// A stranger's text, fit for a message: escaped, and of bounded length.
fn shown(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut cut: String = text.chars().take(LONGEST).collect::<String>().escape_debug().to_string();
    if text.chars().nth(LONGEST).is_some() {
        cut.push('…');
    }
    cut
}
