//! Images as archives: a tar of an OCI layout with one image
//! ([specification](https://github.com/opencontainers/image-spec/blob/main/image-layout.md)).
//!
//! containerd (`ctr images import`, 1.6 and 2) and podman read an image's name from the annotation
//! `io.containerd.image.name`; skopeo compares the other one, which by the specification is only the tag, with the part
//! after `oci-archive:FILE:`.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use super::copy::{Copier, Hashing, put};
use super::layer::Layer;
use super::tar::{self, Kind};
use super::written::{IndexFile, LAYOUT, Named, bytes};
use super::{Descriptor, Platform};
use crate::common::error::{Error, Result};
use crate::common::tree::ContentSource;
use crate::common::value::{Cancel, Reference, Sha256};

const FULL_NAME: &str = "io.containerd.image.name";
const TAG: &str = "org.opencontainers.image.ref.name";

/// An image for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub(super) reference: Reference,
    pub(super) platform: Platform,
    pub(super) manifest: Descriptor,
    /// All blobs of the layout: the manifest and everything that it references.
    pub(super) blobs: BTreeMap<Sha256, Blob>,
}

/// The bytes of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Blob {
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// A blob of the source, by its size in bytes.
    Stored(u64),
    /// A layer to generate from files of the source, and its size in bytes.
    Layer(Layer, u64),
}

impl Blob {
    fn size(&self) -> u64 {
        match self {
            Blob::Bytes(bytes) => bytes.len() as u64,
            Blob::Stored(size) | Blob::Layer(_, size) => *size,
        }
    }
}

impl Image {
    /// The image's name.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The manifest. Container engines identify the image by its digest.
    pub fn manifest(&self) -> Descriptor {
        self.manifest
    }

    /// The layers, the lowest first.
    ///
    /// # Errors
    /// None for an existing image: its manifest was parsed before.
    pub fn layers(&self) -> Result<Vec<Descriptor>> {
        Ok(super::manifest(self.bytes(&self.manifest.digest)?, &self.reference)?.layers)
    }

    /// Manifest and configuration.
    ///
    /// # Errors
    /// Those of [`Image::layers`].
    pub fn documents(&self) -> Result<(&[u8], &[u8])> {
        let manifest = self.bytes(&self.manifest.digest)?;
        let config = super::manifest(manifest, &self.reference)?.config;
        Ok((manifest, self.bytes(&config.digest)?))
    }

    fn bytes(&self, digest: &Sha256) -> Result<&[u8]> {
        match self.blobs.get(digest) {
            Some(Blob::Bytes(bytes)) => Ok(bytes),
            _ => Err(Error::internal(format!("sha256:{digest} of {} is not a document", self.reference))),
        }
    }

    /// Writes a layer as it is in the archive.
    ///
    /// # Errors
    /// Those of [`Image::write`]; a layer that the image does not have.
    pub fn write_layer(&self, layer: &Descriptor, source: &dyn ContentSource, out: &mut dyn Write, cancel: &Cancel) -> Result<()> {
        let unknown = || Error::internal(format!("sha256:{} is not a layer of {}", layer.digest, self.reference));
        let blob = self.blobs.get(&layer.digest).ok_or_else(unknown)?;
        self.write_blob(layer.digest, blob, &Copier { source, cancel }, out)
    }

    /// The archive without layers, for a store that has them unpacked. With `index`, an index that lists the manifest,
    /// the name refers to the index, as after a pull.
    pub fn without_layers(&self, index: Option<&[u8]>) -> Result<Vec<u8>> {
        let is_document = |blob: &Blob| matches!(blob, Blob::Bytes(_));
        let mut blobs: BTreeMap<_, _> =
            self.blobs.iter().filter(|(_, blob)| is_document(blob)).map(|(digest, blob)| (*digest, blob.clone())).collect();
        let mut top = self.manifest;
        if let Some(bytes) = index {
            top = super::index(bytes, &self.reference)?.descriptor;
            blobs.insert(top.digest, Blob::Bytes(bytes.to_vec()));
        }
        let mut out = Vec::new();
        Image { blobs, manifest: top, ..self.clone() }.write(&Nothing, &mut out, &Cancel::new())?;
        Ok(out)
    }

    /// Writes the archive. It has one image with one name, and is reproducible.
    ///
    /// # Errors
    /// A blob that does not match its digest and size, whatever the source guarantees; errors of the source and of
    /// `out`; cancellation. After an error, discard the output.
    pub fn write(&self, source: &dyn ContentSource, out: &mut dyn Write, cancel: &Cancel) -> Result<()> {
        let copier = Copier { source, cancel };
        for folder in ["blobs/", "blobs/sha256/"] {
            put(out, &tar::header(folder, Kind::Folder, 0o755, 0))?;
        }
        for (digest, blob) in &self.blobs {
            put(out, &tar::header(&format!("blobs/sha256/{digest}"), Kind::File(blob.size()), 0o644, 0))?;
            self.write_blob(*digest, blob, &copier, out)?;
            put(out, &tar::END[..tar::padding(blob.size())])?;
        }
        for (name, contents) in [("index.json", self.index()?.as_slice()), ("oci-layout", LAYOUT.as_bytes())] {
            put(out, &tar::header(name, Kind::File(contents.len() as u64), 0o644, 0))?;
            put(out, contents)?;
            put(out, &tar::END[..tar::padding(contents.len() as u64)])?;
        }
        put(out, &tar::END)
    }

    fn write_blob(&self, digest: Sha256, blob: &Blob, copier: &Copier, out: &mut dyn Write) -> Result<()> {
        let (found, size) = match blob {
            Blob::Stored(size) => {
                copier.copy(digest, *size, &format!("a layer of the container image {}", self.reference), 0, out)?;
                return Ok(());
            }
            Blob::Bytes(bytes) => {
                put(out, bytes)?;
                (Sha256::of(bytes), bytes.len() as u64)
            }
            Blob::Layer(layer, _) => {
                let mut out = Hashing::new(out);
                layer.write(copier, &mut out, &mut |_, _, _| Ok(()))?;
                out.finish()
            }
        };
        if (found, size) != (digest, blob.size()) {
            // All files were verified: the layer's writer is inconsistent.
            return Err(Error::internal(format!("a blob of the container image {} has changed", self.reference))
                .detail(format!("expected sha256:{digest} of {} bytes, found sha256:{found} of {size}", blob.size())));
        }
        Ok(())
    }

    fn index(&self) -> Result<Vec<u8>> {
        let annotations = [(FULL_NAME, self.reference.to_string()), (TAG, self.reference.tag().to_owned())];
        bytes(&IndexFile::new(vec![Named::new(&self.manifest).annotated(annotations, &self.platform)]))
    }
}

/// A source for archives that have only documents.
struct Nothing;

impl ContentSource for Nothing {
    fn open(&self, digest: &Sha256, _: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        Err(Error::internal(format!("sha256:{digest} is not a document")).into())
    }
}
