//! An image, as far as containerd's folder depends on it.

use crate::error::{Error, Result};
use crate::oci::{self, Descriptor};
use crate::tree::Tree;
use crate::value::{Reference, Sha256};

/// An image whose layers are upper folders of overlayfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The name of its archive, which has no layers.
    pub file: String,
    /// Its full name.
    pub reference: Reference,
    /// The index that its name stands for, if it is not the manifest.
    pub index: Option<(Descriptor, Vec<u8>)>,
    /// The manifest.
    pub manifest: (Descriptor, Vec<u8>),
    /// The configuration.
    pub config: Vec<u8>,
    /// The layers, the lowest first.
    pub layers: Vec<Tree>,
}

/// One layer over those below it
/// ([`ChainID`](https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub id: Sha256,
    /// The one of the layers below.
    pub parent: Option<Sha256>,
}

/// All layers of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The configuration, which refers to the last one.
    pub config: Descriptor,
    /// The lowest first.
    pub links: Vec<Link>,
}

/// A layer that is unpacked once for all images that have it.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// Its name.
    pub link: Link,
    /// Its files.
    pub tree: &'a Tree,
}

impl Image {
    /// The document that its name stands for.
    pub fn target(&self) -> Descriptor {
        self.index.as_ref().map_or(self.manifest.0, |(descriptor, _)| *descriptor)
    }

    /// All documents with their bytes.
    pub fn documents(&self) -> Vec<(Descriptor, &[u8])> {
        let config = oci::manifest(&self.manifest.1, &self.reference).map(|manifest| (manifest.config, &self.config[..]));
        let index = self.index.iter().chain([&self.manifest]).map(|(descriptor, bytes)| (*descriptor, &bytes[..]));
        index.chain(config).collect()
    }

    /// The names of its layers.
    pub fn chain(&self) -> Result<Chain> {
        let config = oci::manifest(&self.manifest.1, &self.reference)?.config;
        let diffs = oci::diff_ids(&self.config, &self.reference)?;
        if diffs.is_empty() || diffs.len() != self.layers.len() {
            let error = Error::internal(format!("{} has {} layers, its configuration {}", self.reference, self.layers.len(), diffs.len()));
            return Err(error);
        }
        let mut links: Vec<Link> = Vec::new();
        for diff in diffs {
            let parent = links.last().map(|link| link.id);
            let id = parent.map_or(diff, |parent| Sha256::of(format!("sha256:{parent} sha256:{diff}")));
            links.push(Link { id, parent });
        }
        Ok(Chain { config, links })
    }
}
