//! Container images: reads OCI manifests, builds images from files, writes archives. No I/O but the readers and writers
//! that the caller passes in.
//!
//! An [`Image`] is an image for one platform, either [pulled](Image::pulled) (with the publisher's manifest and
//! configuration) or [built](Built::image) from files. Both are written as the same kind of archive: a tar of an [OCI
//! layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md), which containerd, skopeo and podman
//! read.

mod archive;
mod build;
mod copy;
mod elf;
mod layer;
mod media;
pub(crate) mod overlay;
mod pulled;
mod read;
mod saved;
pub(crate) mod tar;
mod written;

#[cfg(test)]
mod tests;

pub use archive::Image;
pub(crate) use build::Built;
pub use elf::ELF_HEAD;
pub(crate) use elf::elf_is_program;
pub use elf::elf_is_static;
pub(crate) use layer::File;
pub(crate) use media::MediaType;
pub use media::Role;
pub use read::{Document, config_platform, document, manifest};
pub(crate) use read::{Manifest, diff_ids, index};
pub(crate) use saved::{Saved, SavedImage};
pub(crate) use written::LAYOUT;

use std::fmt;

use crate::common::error::{Error, Result};
use crate::common::value::{Arch, Reference, Sha256};

/// The version of this module's output. Increase it whenever the same input gives other bytes, so that no cached
/// archive is taken for the new one.
pub(crate) const FORMAT: u32 = 1;

/// The largest index, manifest or configuration, in bytes: the size that [registries must
/// accept](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests).
pub const DOCUMENT_MAX: u64 = 4 << 20;
/// The largest layer, in bytes: beyond any real image, far below any overflow.
pub const LAYER_MAX: u64 = 16 << 30;
/// The most layers: the limit of container engines' overlay mounts.
pub const LAYERS_MAX: usize = 127;

/// A reference to other bytes in a document
/// ([specification](https://github.com/opencontainers/image-spec/blob/main/descriptor.md)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// The media type of the bytes.
    pub media_type: MediaType,
    /// Their digest.
    pub digest: Sha256,
    /// Their length, within the limit for the media type.
    pub size: u64,
}

/// The platform that an image declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// True if its containers run on nodes of this architecture: Linux, and the processor's baseline variant.
    pub fn fits(&self, arch: Arch) -> bool {
        let variant = self.variant.as_deref().filter(|variant| !variant.is_empty());
        let plain = match arch {
            Arch::Amd64 => "v1",
            Arch::Arm64 => "v8",
        };
        self.os == "linux" && self.architecture == arch.to_string() && variant.is_none_or(|variant| variant == plain)
    }

    /// Fails unless the platform [fits](Platform::fits).
    pub fn check(&self, arch: Arch, reference: &Reference) -> Result<()> {
        if self.fits(arch) {
            return Ok(());
        }
        Err(Error::user(format!("the container image {reference} is for another platform"))
            .detail(format!("expected linux/{arch}, found {self}")))
    }

    /// The platform of attestations, which are entries of an index but no images.
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

/// Untrusted text for a message: escaped and truncated.
fn shown(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut cut: String = text.chars().take(LONGEST).collect::<String>().escape_debug().to_string();
    if text.chars().nth(LONGEST).is_some() {
        cut.push('…');
    }
    cut
}
