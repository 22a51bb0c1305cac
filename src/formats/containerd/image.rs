//! A container image, its layer chain and its snapshots.

use crate::common::error::{Error, Result};
use crate::common::tree::Tree;
use crate::common::value::{Reference, Sha256};
use crate::formats::oci::{self, Descriptor};

/// An image whose layers are in overlayfs's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// The name of the image's archive, which has no layers.
    pub file: String,
    /// The image's full name.
    pub reference: Reference,
    /// The index that the name refers to, if it does not refer to the manifest.
    pub index: Option<(Descriptor, Vec<u8>)>,
    /// The manifest.
    pub manifest: (Descriptor, Vec<u8>),
    /// The configuration.
    pub config: Vec<u8>,
    /// The layers, the lowest first.
    pub layers: Vec<Tree>,
}

/// A layer in a chain
/// ([`ChainID`](https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// The chain id.
    pub id: Sha256,
    /// The chain id of the layers below.
    pub parent: Option<Sha256>,
}

/// All layers of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The configuration; its snapshot is the last link.
    pub config: Descriptor,
    /// The lowest first.
    pub links: Vec<Link>,
}

/// An unpacked layer; images that have the same layer share it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Snapshot<'a> {
    /// The layer's place in its chain.
    pub link: Link,
    /// The layer's files.
    pub tree: &'a Tree,
}

impl Image {
    /// The document that the name refers to.
    pub(crate) fn target(&self) -> Descriptor {
        self.index.as_ref().map_or(self.manifest.0, |(descriptor, _)| *descriptor)
    }

    /// All documents with their bytes.
    pub(crate) fn documents(&self) -> Vec<(Descriptor, &[u8])> {
        let config = oci::manifest(&self.manifest.1, &self.reference).map(|manifest| (manifest.config, &self.config[..]));
        let index = self.index.iter().chain([&self.manifest]).map(|(descriptor, bytes)| (*descriptor, &bytes[..]));
        index.chain(config).collect()
    }

    /// The chain of the image's layers.
    pub(crate) fn chain(&self) -> Result<Chain> {
        let config = oci::manifest(&self.manifest.1, &self.reference)?.config;
        let diffs = oci::diff_ids(&self.config, &self.reference)?;
        if diffs.is_empty() || diffs.len() != self.layers.len() {
            let error = Error::internal(format!(
                "{} has {} layers, but its configuration lists {}",
                self.reference,
                self.layers.len(),
                diffs.len()
            ));
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
