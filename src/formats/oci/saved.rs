//! Images that other tools saved as an archive: a tar of an OCI layout, or of `docker save`'s older format. The
//! archive's files are known by their digests here; the caller has verified them.
//!
//! An OCI layout has manifests. The older format has none: one is generated from the configuration and the layers that
//! it lists, with reproducible bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::read::{config, unusable};
use super::written::{ManifestFile, Named, bytes};
use super::{DOCUMENT_MAX, Descriptor, Document, LAYER_MAX, LAYERS_MAX, Manifest, MediaType, config_platform, document, manifest, shown};
use crate::common::error::{Error, Result};
use crate::common::value::{Arch, Reference, Sha256};

/// The contents of an archive.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    /// Files by path, with `/` between folders: digest and size; a link has those of its target.
    pub files: BTreeMap<String, (Sha256, u64)>,
    /// The bytes of small files, by digest.
    pub documents: BTreeMap<Sha256, Vec<u8>>,
}

/// An image of an archive, with all its parts present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SavedImage {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The configuration and the layers.
    pub parts: Vec<Descriptor>,
    /// The image's names in the archive.
    pub names: BTreeSet<String>,
}

#[derive(Deserialize)]
struct RawLayout {
    manifests: Vec<RawEntry>,
}

#[derive(Deserialize)]
struct RawEntry {
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawSaved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Annotations that name an image: containerd's and the specification's.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
/// The annotation of attestations, which are not images.
const STATEMENT: &str = "vnd.docker.reference.type";
/// The most images of an archive.
const MOST: usize = 1000;

impl Saved {
    /// True if this is an archive of container images.
    pub(crate) fn is_saved(&self) -> bool {
        let has = |name| self.files.contains_key(name);
        has("index.json") && has("oci-layout") || has("manifest.json")
    }

    /// The image for `arch` that is named `wanted`; without `wanted`, the one with the name of `reference`, or the only
    /// one.
    ///
    /// # Errors
    /// No image fits, or several do; an image that is malformed, incomplete, or does not match its digests.
    pub(crate) fn choose(&self, wanted: Option<&str>, arch: Arch, reference: &Reference) -> Result<SavedImage> {
        let all = self.images(arch, reference)?;
        let named = |name: &str| all.iter().filter(|image| image.names.iter().any(|one| is_name(one, name))).collect::<Vec<_>>();
        let own = named(&reference.to_string());
        let fitting = match wanted {
            Some(name) => named(name),
            None if !own.is_empty() => own,
            None => all.iter().collect(),
        };
        match fitting[..] {
            [one] => Ok(one.clone()),
            [] => {
                Err(unusable(reference, format!("the archive has no image {} for linux/{arch}", wanted.unwrap_or("at all")))
                    .detail(has(&all)))
            }
            _ => Err(unusable(reference, "the archive has several images, and none is named".to_owned())
                .detail(has(&all))
                .hint("name one of them after the file: `NAME=FILE#IMAGE`")),
        }
    }

    /// The image with this manifest.
    pub(crate) fn by_manifest(&self, digest: &Sha256, arch: Arch, reference: &Reference) -> Result<Option<SavedImage>> {
        if let Some(bytes) = self.documents.get(digest)
            && self.files.get(&blob_path(digest)).is_some_and(|(found, _)| found == digest)
            && matches!(document(bytes, reference), Ok(Document::Manifest(_)))
        {
            return self.of_manifest(bytes, BTreeSet::new(), reference).map(Some);
        }
        Ok(self.images(arch, reference)?.into_iter().find(|image| Sha256::of(&image.manifest) == *digest))
    }

    /// All images for `arch`, without duplicates.
    fn images(&self, arch: Arch, reference: &Reference) -> Result<Vec<SavedImage>> {
        let found = if self.files.contains_key("oci-layout") && self.files.contains_key("index.json") {
            self.of_layout(arch, reference)?
        } else if self.files.contains_key("manifest.json") {
            self.of_docker(arch, reference)?
        } else {
            return Err(unusable(reference, "the archive has neither `oci-layout` and `index.json` nor `manifest.json`".to_owned())
                .hint("write one with `docker save`, `podman save` or `skopeo copy docker://IMAGE oci-archive:FILE`"));
        };
        let mut images: Vec<SavedImage> = Vec::new();
        for image in found {
            match images.iter_mut().find(|known| known.manifest == image.manifest) {
                Some(known) => known.names.extend(image.names),
                None => images.push(image),
            }
        }
        Ok(images)
    }

    fn of_layout(&self, arch: Arch, reference: &Reference) -> Result<Vec<SavedImage>> {
        let layout: RawLayout = self.json("index.json", reference)?;
        too_many(layout.manifests.len(), reference)?;
        let mut found = Vec::new();
        for entry in layout.manifests.iter().filter(|entry| !entry.annotations.contains_key(STATEMENT)) {
            let names = NAMES.iter().filter_map(|key| entry.annotations.get(*key).cloned()).collect();
            let digest = entry.digest.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
            let digest =
                digest.ok_or_else(|| unusable(reference, format!("it names `{}`, which is not a SHA-256 digest", shown(&entry.digest))))?;
            let top = self.blob_document(&digest, reference)?;
            let bytes = match document(top, reference)? {
                Document::Manifest(_) => top,
                Document::Index(index) => match index.platform(arch, reference) {
                    Ok(chosen) => self.blob_document(&chosen.digest, reference)?,
                    // Another image of the archive may be for this architecture.
                    Err(_) if layout.manifests.len() > 1 => continue,
                    Err(error) => return Err(error),
                },
            };
            let parts = manifest(bytes, reference)?;
            if config_platform(self.blob_document(&parts.config.digest, reference)?, reference)?.fits(arch) {
                found.push(self.of_manifest(bytes, names, reference)?);
            }
        }
        Ok(found)
    }

    fn of_docker(&self, arch: Arch, reference: &Reference) -> Result<Vec<SavedImage>> {
        let list: Vec<RawSaved> = self.json("manifest.json", reference)?;
        too_many(list.len(), reference)?;
        let mut found = Vec::new();
        for RawSaved { config: place, repo_tags, layers } in list {
            let configuration = self.at(&place, reference)?;
            let bytes = self.small(configuration, &place, reference)?;
            if config_platform(bytes, reference)?.fits(arch) {
                let layers = layers.iter().map(|place| self.at(place, reference)).collect::<Result<Vec<_>>>()?;
                let manifest = written(configuration, bytes, &layers, reference)?;
                found.push(self.of_manifest(&manifest, repo_tags.into_iter().flatten().collect(), reference)?);
            }
        }
        Ok(found)
    }

    /// The image, after checking that it is complete.
    fn of_manifest(&self, bytes: &[u8], names: BTreeSet<String>, reference: &Reference) -> Result<SavedImage> {
        let Manifest { config, layers, .. } = manifest(bytes, reference)?;
        let there: BTreeSet<(Sha256, u64)> = self.files.values().copied().collect();
        let parts: Vec<Descriptor> = [config].into_iter().chain(layers).collect();
        for part in &parts {
            if let Some((found, _)) = self.files.get(&blob_path(&part.digest)).filter(|(found, _)| *found != part.digest) {
                return Err(Error::integrity(format!("the archive of {reference} has a blob that does not match its name"))
                    .detail(format!("expected sha256:{}  found sha256:{found}", part.digest)));
            }
            if !there.contains(&(part.digest, part.size)) {
                return Err(unusable(reference, format!("the archive lacks sha256:{} of {} bytes", part.digest, part.size))
                    .hint("save the image again, with all layers of the architecture that images are built for"));
            }
        }
        Ok(SavedImage { manifest: bytes.to_vec(), parts, names })
    }

    fn at(&self, place: &str, reference: &Reference) -> Result<(Sha256, u64)> {
        let found = self.files.get(place).copied();
        found.ok_or_else(|| unusable(reference, format!("the archive lacks `{}`, which it lists", shown(place))))
    }

    fn small(&self, (digest, size): (Sha256, u64), place: &str, reference: &Reference) -> Result<&[u8]> {
        let bytes = self.documents.get(&digest).filter(|_| size <= DOCUMENT_MAX).map(Vec::as_slice);
        bytes.ok_or_else(|| unusable(reference, format!("`{}` in the archive is not a document: it has {size} bytes", shown(place))))
    }

    /// A document of a layout, which must match its name.
    fn blob_document(&self, digest: &Sha256, reference: &Reference) -> Result<&[u8]> {
        let place = blob_path(digest);
        let (found, size) = self.at(&place, reference)?;
        if found != *digest {
            return Err(Error::integrity(format!("the archive of {reference} has a blob that does not match its name"))
                .detail(format!("expected sha256:{digest}  found sha256:{found}")));
        }
        self.small((found, size), &place, reference)
    }

    fn json<T: DeserializeOwned>(&self, place: &str, reference: &Reference) -> Result<T> {
        let bytes = self.small(self.at(place, reference)?, place, reference)?;
        serde_json::from_slice(bytes).map_err(|e| unusable(reference, format!("`{place}` cannot be read: {}", shown(&e.to_string()))))
    }
}

fn blob_path(digest: &Sha256) -> String {
    format!("blobs/sha256/{digest}")
}

fn too_many(count: usize, reference: &Reference) -> Result<()> {
    if count <= MOST { Ok(()) } else { Err(unusable(reference, format!("the archive lists {count} images, at most {MOST} are read"))) }
}

/// True if a name in an archive matches. The specification's annotation has only the tag.
fn is_name(found: &str, wanted: &str) -> bool {
    found == wanted || wanted.rsplit_once(':').is_some_and(|(_, tag)| found == tag)
}

/// All names, for a message.
fn has(images: &[SavedImage]) -> String {
    let names: BTreeSet<String> = images.iter().flat_map(|image| &image.names).map(|name| shown(name)).collect();
    let more = if names.len() > 20 { format!(" and {} more", names.len() - 20) } else { String::new() };
    match (images.len(), names.is_empty()) {
        (0, _) => "it has none for this architecture".to_owned(),
        (n, true) => format!("it has {n} without a name"),
        _ => format!("it has {}{more}", names.into_iter().take(20).collect::<Vec<_>>().join(", ")),
    }
}

/// A manifest for an image of `docker save`. The configuration states the digests of its layers.
fn written(configuration: (Sha256, u64), config_bytes: &[u8], layers: &[(Sha256, u64)], reference: &Reference) -> Result<Vec<u8>> {
    let (_, promised) = config(config_bytes, reference)?;
    if promised.len() != layers.len() || layers.is_empty() || layers.len() > LAYERS_MAX {
        let why = format!("the archive lists {} layers, the image's configuration {}", layers.len(), promised.len());
        return Err(unusable(reference, why));
    }
    for ((found, size), promised) in layers.iter().zip(&promised) {
        if *promised != format!("sha256:{found}") {
            return Err(Error::integrity(format!("a layer in the archive of {reference} does not match the image's configuration"))
                .detail(format!("expected {}  found sha256:{found}", shown(promised))));
        }
        if *size == 0 || *size > LAYER_MAX {
            return Err(unusable(reference, format!("a layer has {size} bytes, expected 1 to {LAYER_MAX}")));
        }
    }
    let named = |media_type, (digest, size): (Sha256, u64)| Named::new(&Descriptor { media_type, digest, size });
    let layers = layers.iter().map(|layer| named(MediaType::OciLayer, *layer)).collect();
    bytes(&ManifestFile::new(named(MediaType::OciConfig, configuration), layers))
}
