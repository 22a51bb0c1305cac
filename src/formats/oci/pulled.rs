//! A published image: its manifest and configuration in memory, its layers by digest.

use super::archive::{Blob, Image};
use super::read::{config, unusable};
use super::{Descriptor, manifest};
use crate::common::error::{Error, Result};
use crate::common::value::{Arch, Reference, Sha256};

impl Image {
    /// Creates an image from the bytes of a manifest, whose digest the lockfile or an index states, and of the
    /// configuration that the manifest references. The layers are opened by digest when the image is written.
    ///
    /// # Errors
    /// Documents that are malformed or contradict each other; an image for another platform.
    pub fn pulled(reference: Reference, arch: Arch, manifest_bytes: &[u8], config_bytes: &[u8]) -> Result<Image> {
        let manifest = manifest(manifest_bytes, &reference)?;
        let found = Sha256::of(config_bytes);
        if found != manifest.config.digest || config_bytes.len() as u64 != manifest.config.size {
            return Err(Error::integrity(format!(
                "the configuration of the container image {reference} is not the one that its manifest names"
            ))
            .detail(format!("expected sha256:{} of {} bytes", manifest.config.digest, manifest.config.size))
            .detail(format!("found sha256:{found} of {} bytes", config_bytes.len())));
        }
        let (platform, layers) = config(config_bytes, &reference)?;
        platform.check(arch, &reference)?;
        if layers.len() != manifest.layers.len() {
            let why = format!("its manifest names {} layers, its configuration {}", manifest.layers.len(), layers.len());
            return Err(unusable(&reference, why));
        }
        // A layer may occur several times in a manifest, and is stored once.
        let stored = manifest.layers.iter().map(|layer: &Descriptor| (layer.digest, Blob::Stored(layer.size)));
        let mut blobs: std::collections::BTreeMap<_, _> = stored.collect();
        blobs.insert(manifest.config.digest, Blob::Bytes(config_bytes.to_vec()));
        blobs.insert(manifest.descriptor.digest, Blob::Bytes(manifest_bytes.to_vec()));
        Ok(Image { reference, platform, manifest: manifest.descriptor, blobs })
    }
}
