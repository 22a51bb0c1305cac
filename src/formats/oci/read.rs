//! Parses indexes, manifests and configurations. Their bytes match the requested digest; their contents are untrusted.
//!
//! A document that one program could read as an index and another as a manifest is refused
//! ([CVE-2021-41190](https://github.com/opencontainers/distribution-spec/security/advisories/GHSA-mc8v-mgrf-8f4m)).

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::media::is_foreign;
use super::{DOCUMENT_MAX, Descriptor, LAYER_MAX, LAYERS_MAX, MediaType, Platform, Role, shown};
use crate::common::error::{Error, Result};
use crate::common::value::{Arch, Digest, Reference, Sha256};

/// The document that a registry has for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One manifest for each of several platforms.
    Index(Index),
    /// The image of one platform, which only its configuration names.
    Manifest(Manifest),
}

/// A list of manifests ([specification](https://github.com/opencontainers/image-spec/blob/main/image-index.md)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The digest of the index itself.
    pub descriptor: Descriptor,
    entries: Vec<RawDescriptor>,
}

/// An image ([specification](https://github.com/opencontainers/image-spec/blob/main/manifest.md)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The digest of the manifest itself.
    pub descriptor: Descriptor,
    /// The configuration, which tells how to start containers.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<Vec<RawDescriptor>>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    /// Only in Docker's schema 1.
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: String,
    digest: String,
    size: u64,
    /// Only in indexes.
    platform: Option<RawPlatform>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct RawPlatform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

#[derive(Deserialize)]
struct RawConfig {
    os: String,
    architecture: String,
    variant: Option<String>,
    rootfs: RawRoot,
}

#[derive(Deserialize)]
struct RawRoot {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Vec<String>,
}

impl From<RawPlatform> for Platform {
    fn from(raw: RawPlatform) -> Self {
        Platform { os: raw.os, architecture: raw.architecture, variant: raw.variant }
    }
}

/// Parses the document that a registry has for a name, or for a digest.
///
/// # Errors
/// A document that is neither kind, malformed, too long, or both kinds at once.
pub fn document(bytes: &[u8], reference: &Reference) -> Result<Document> {
    let bad = |why: String| unusable(reference, why);
    let raw: RawDocument = parse(bytes, "index or manifest", reference)?;
    if raw.schema_version != Some(2) || raw.fs_layers.is_some() {
        return Err(bad("expected schemaVersion 2; the publisher must push older images again".into()));
    }
    let said = match &raw.media_type {
        None => None,
        Some(name) => Some(MediaType::of(name).ok_or_else(|| bad(format!("its media type `{}` is unknown", shown(name))))?),
    };
    let fits = |role| said.is_none_or(|media_type| media_type.role() == role);
    match (raw.manifests, raw.config, raw.layers) {
        (Some(entries), None, None) if fits(Role::Index) => {
            let media_type = said.unwrap_or(MediaType::OciIndex);
            let descriptor = Descriptor { media_type, digest: Sha256::of(bytes), size: bytes.len() as u64 };
            Ok(Document::Index(Index { descriptor, entries }))
        }
        (None, Some(config), Some(layers)) if fits(Role::Manifest) => {
            let media_type = said.unwrap_or(MediaType::OciManifest);
            let descriptor = Descriptor { media_type, digest: Sha256::of(bytes), size: bytes.len() as u64 };
            Ok(Document::Manifest(Manifest::check(descriptor, &config, &layers, reference)?))
        }
        (None, None, None) => Err(bad("it has neither `manifests` nor `config` and `layers`".into())),
        (None, Some(_), None) => Err(bad("it has no `layers`".into())),
        (None, None, Some(_)) => Err(bad("it has no `config`".into())),
        (Some(_), None, None) | (None, ..) => Err(bad("its media type contradicts its contents".into())),
        (Some(_), ..) => Err(bad("it is an index and a manifest at once".into())),
    }
}

/// Parses a [`document`] that must be an index.
pub(crate) fn index(bytes: &[u8], reference: &Reference) -> Result<Index> {
    match document(bytes, reference)? {
        Document::Index(index) => Ok(index),
        Document::Manifest(_) => Err(unusable(reference, "expected an index, found a manifest".into())),
    }
}

/// Parses a [`document`] that must be a manifest.
pub fn manifest(bytes: &[u8], reference: &Reference) -> Result<Manifest> {
    match document(bytes, reference)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => Err(unusable(reference, "expected a manifest, found an index (one within another is not followed)".into())),
    }
}

/// The platform that a configuration
/// ([specification](https://github.com/opencontainers/image-spec/blob/main/config.md)) declares.
pub fn config_platform(bytes: &[u8], reference: &Reference) -> Result<Platform> {
    config(bytes, reference).map(|(platform, _)| platform)
}

/// The digests of an image's uncompressed layers from its configuration, the lowest first.
///
/// # Errors
/// An invalid configuration; a digest that is not a SHA-256.
pub(crate) fn diff_ids(bytes: &[u8], reference: &Reference) -> Result<Vec<Sha256>> {
    let (_, named) = config(bytes, reference)?;
    let parse = |name: &String| match name.parse() {
        Ok(Digest::Sha256(digest)) => Ok(digest),
        _ => Err(unusable(reference, format!("its configuration lists a layer `{}`, which is not a SHA-256 digest", shown(name)))),
    };
    named.iter().map(parse).collect()
}

/// The platform, and the digests of the uncompressed layers.
pub(super) fn config(bytes: &[u8], reference: &Reference) -> Result<(Platform, Vec<String>)> {
    let raw: RawConfig = parse(bytes, "configuration", reference)?;
    if raw.rootfs.kind != "layers" {
        return Err(unusable(reference, format!("its root is made of `{}`, expected `layers`", shown(&raw.rootfs.kind))));
    }
    Ok((Platform { os: raw.os, architecture: raw.architecture, variant: raw.variant }, raw.rootfs.diff_ids))
}

impl Index {
    /// The manifest for this architecture: the first that fits, as the specification demands.
    ///
    /// # Errors
    /// No manifest fits; the one that fits is not a manifest, or has an invalid digest or size.
    pub fn platform(&self, arch: Arch, reference: &Reference) -> Result<Descriptor> {
        let fits = |entry: &&RawDescriptor| entry.platform().is_some_and(|platform| platform.fits(arch));
        let Some(entry) = self.entries.iter().find(fits) else {
            return Err(Error::user(format!("the container image {reference} has no linux/{arch} variant"))
                .detail(format!("it has {}", self.platforms()))
                .hint("name another image in recipes/sources, or build this one from its program (`from`)"));
        };
        let found = check(entry, reference, "manifest")?;
        match found.media_type.role() {
            Role::Manifest => Ok(found),
            Role::Index => Err(unusable(reference, "its index leads to another index, which is not followed".into())),
            Role::Config | Role::Layer => {
                Err(unusable(reference, format!("its index leads to a {}, expected a manifest", found.media_type)))
            }
        }
    }

    /// True if exactly one manifest is for this architecture: then every program that looks for one finds the same.
    pub fn is_unambiguous(&self, arch: Arch) -> bool {
        self.entries.iter().filter(|entry| entry.platform().is_none_or(|platform| platform.fits(arch))).count() == 1
    }

    /// All platforms, for messages.
    fn platforms(&self) -> String {
        const MOST: usize = 20;
        let known = self.entries.iter().filter_map(RawDescriptor::platform).filter(|platform| !platform.is_unknown());
        let names: BTreeSet<String> = known.map(|platform| platform.to_string()).collect();
        match names.len() {
            0 => "no named platform".into(),
            n if n > MOST => format!("{} and {} more", names.into_iter().take(MOST).collect::<Vec<_>>().join(", "), n - MOST),
            _ => names.into_iter().collect::<Vec<_>>().join(", "),
        }
    }
}

impl RawDescriptor {
    fn platform(&self) -> Option<Platform> {
        self.platform.clone().map(Platform::from)
    }
}

impl Manifest {
    fn check(descriptor: Descriptor, config: &RawDescriptor, layers: &[RawDescriptor], reference: &Reference) -> Result<Self> {
        if layers.is_empty() || layers.len() > LAYERS_MAX {
            return Err(unusable(reference, format!("it has {} layers, expected 1 to {LAYERS_MAX}", layers.len())));
        }
        let config = check(config, reference, "configuration")?;
        if config.media_type.role() != Role::Config {
            return Err(unusable(reference, format!("its configuration is a {}", config.media_type)));
        }
        let layers = layers.iter().map(|layer| check(layer, reference, "layer")).collect::<Result<Vec<_>>>()?;
        if let Some(layer) = layers.iter().find(|layer| layer.media_type.role() != Role::Layer) {
            return Err(unusable(reference, format!("one of its layers is a {}", layer.media_type)));
        }
        let mut all: Vec<_> = layers.iter().chain([&config]).collect();
        all.sort_by_key(|one| one.digest);
        if let Some(pair) = all.windows(2).find(|pair| pair[0].digest == pair[1].digest && pair[0].size != pair[1].size) {
            return Err(unusable(
                reference,
                format!("it has two sizes for sha256:{}: {} and {}", pair[0].digest, pair[0].size, pair[1].size),
            ));
        }
        Ok(Manifest { descriptor, config, layers })
    }
}

/// Validates a descriptor: a known media type, a valid digest, a possible size.
fn check(raw: &RawDescriptor, reference: &Reference, what: &str) -> Result<Descriptor> {
    let bad = |why: String| unusable(reference, format!("its {what} {why}"));
    if is_foreign(&raw.media_type) {
        return Err(bad(format!("is not for distribution: {}", shown(&raw.media_type))));
    }
    let media_type =
        MediaType::of(&raw.media_type).ok_or_else(|| bad(format!("has the unknown media type `{}`", shown(&raw.media_type))))?;
    let digest = match raw.digest.parse() {
        Ok(Digest::Sha256(digest)) => digest,
        Ok(Digest::Sha512(_)) => return Err(bad("has a SHA-512 digest; only SHA-256 is supported".into())),
        Err(_) => return Err(bad(format!("has an invalid digest `{}`", shown(&raw.digest)))),
    };
    let most = if media_type.role() == Role::Layer { LAYER_MAX } else { DOCUMENT_MAX };
    if raw.size == 0 || raw.size > most {
        return Err(bad(format!("has {} bytes, expected 1 to {most}", raw.size)));
    }
    Ok(Descriptor { media_type, digest, size: raw.size })
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str, reference: &Reference) -> Result<T> {
    if bytes.len() as u64 > DOCUMENT_MAX {
        return Err(unusable(reference, format!("its {what} has {} bytes, at most {DOCUMENT_MAX} are read", bytes.len())));
    }
    serde_json::from_slice(bytes).map_err(|e| unusable(reference, format!("its {what} cannot be read: {}", shown(&e.to_string()))))
}

/// The error for an image that cannot be used.
pub(super) fn unusable(reference: &Reference, why: String) -> Error {
    Error::user(format!("the container image {reference} cannot be used")).detail(why)
}
