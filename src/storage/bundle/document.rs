//! The JSON documents of a bundle: its index, and a manifest for each content
//! ([index](https://github.com/opencontainers/image-spec/blob/main/image-index.md),
//! [manifest](https://github.com/opencontainers/image-spec/blob/main/manifest.md)). The encoding is canonical: a document that
//! kbake would write differently is refused.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{BLOB_MAX, CONTENTS_MAX, Content, FORMAT, Kind, Outline, Part};
use crate::common::error::{Error, Result};
use crate::common::value::{Digest, RoleName, Sha256};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONTENT: &str = "application/vnd.kbake.role.v1";
const CONFIG: &str = "application/vnd.kbake.role.config.v1+json";

const NAME: &str = "org.opencontainers.image.ref.name";
const TITLE: &str = "org.opencontainers.image.title";
const FORMAT_KEY: &str = "vnd.kbake.bundle.format";
const SINCE: &str = "vnd.kbake.bundle.since";
const LEFT_OUT: &str = "vnd.kbake.bundle.left-out";
const SHA512: &str = "vnd.kbake.sha512";
const YES: &str = "true";

type Annotations = BTreeMap<String, String>;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Index {
    schema_version: u32,
    media_type: String,
    manifests: Vec<Descriptor>,
    annotations: Annotations,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manifest {
    schema_version: u32,
    media_type: String,
    artifact_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    annotations: Annotations,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
}

/// The part of an index that has the format number, read before everything else.
#[derive(Deserialize)]
struct Format {
    #[serde(default)]
    annotations: Annotations,
}

/// A parsed index.
pub(super) struct Listed {
    /// The manifests: content name, digest and size in bytes.
    pub manifests: Vec<(RoleName, Sha256, u64)>,
    /// The bundles that have the omitted blobs.
    pub since: BTreeSet<Sha256>,
}

/// A parsed manifest.
pub(super) struct Described {
    /// The configuration: digest and size in bytes.
    pub config: (Sha256, u64),
    /// The parts.
    pub parts: Vec<Part>,
}

/// The index of a bundle.
pub(super) fn index(outline: &Outline) -> Vec<u8> {
    let entry = |content: &Content| {
        let bytes = manifest(content);
        listed(&content.name, Sha256::of(&bytes), bytes.len() as u64)
    };
    text(&index_of(outline.contents.iter().map(entry).collect(), &outline.since))
}

fn index_of(manifests: Vec<Descriptor>, since: &BTreeSet<Sha256>) -> Index {
    let mut annotations = Annotations::from([(FORMAT_KEY.to_owned(), FORMAT.to_string())]);
    if !since.is_empty() {
        let names: Vec<String> = since.iter().map(|digest| format!("sha256:{digest}")).collect();
        annotations.insert(SINCE.to_owned(), names.join(","));
    }
    Index { schema_version: 2, media_type: INDEX.to_owned(), manifests, annotations }
}

fn listed(name: &RoleName, digest: Sha256, size: u64) -> Descriptor {
    let annotations = [(NAME.to_owned(), name.to_string())].into();
    Descriptor { artifact_type: Some(CONTENT.to_owned()), ..descriptor(MANIFEST, digest, size, annotations) }
}

/// The manifest of a content.
pub(super) fn manifest(content: &Content) -> Vec<u8> {
    let config = (Sha256::of(&content.config), content.config.len() as u64);
    text(&manifest_of(config, &content.parts))
}

fn manifest_of((digest, size): (Sha256, u64), parts: &[Part]) -> Manifest {
    Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        artifact_type: CONTENT.to_owned(),
        config: descriptor(CONFIG, digest, size, Annotations::new()),
        layers: parts.iter().map(layer).collect(),
    }
}

fn layer(part: &Part) -> Descriptor {
    let mut annotations = Annotations::from([(TITLE.to_owned(), part.title.clone())]);
    if let Some(digest) = part.sha512 {
        annotations.insert(SHA512.to_owned(), Digest::Sha512(digest).to_string());
    }
    if part.left_out {
        annotations.insert(LEFT_OUT.to_owned(), YES.to_owned());
    }
    descriptor(part.kind.media_type(), part.digest, part.size, annotations)
}

fn descriptor(media_type: &str, digest: Sha256, size: u64, annotations: Annotations) -> Descriptor {
    Descriptor { media_type: media_type.to_owned(), digest: format!("sha256:{digest}"), size, annotations, artifact_type: None }
}

/// Serializes without spaces and with the fields in the specification's order, like all OCI documents of kbake.
fn text<T: Serialize>(document: &T) -> Vec<u8> {
    serde_json::to_vec(document).expect("strings, numbers and lists of them can be written")
}

/// Reads an index.
///
/// # Errors
/// Class `User` for a newer format or another kind of OCI layout, else class `Integrity`.
pub(super) fn read_index(bytes: &[u8]) -> Result<Listed> {
    let bad = |why: String| broken("index.json", &why);
    let format: Format = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
    match format.annotations.get(FORMAT_KEY).map(|text| text.parse::<u32>()) {
        Some(Ok(FORMAT)) => {}
        Some(Ok(number)) if number > FORMAT => {
            return Err(Error::user("the bundle was made by a newer kbake")
                .detail(format!("its format is {number}, this kbake knows {FORMAT}"))
                .hint("use the kbake that wrote the bundle, or a later one"));
        }
        _ => {
            return Err(Error::user("this is an OCI image layout, but not a bundle")
                .detail(format!("its index lacks the annotation {FORMAT_KEY}"))
                .hint("`kbake bundle create` makes bundles"));
        }
    }
    let index: Index = strict(bytes, "index.json")?;
    if index.manifests.is_empty() || index.manifests.len() > CONTENTS_MAX {
        return Err(bad(format!("{} manifests, expected 1 to {CONTENTS_MAX}", index.manifests.len())));
    }
    let mut manifests = Vec::new();
    for entry in &index.manifests {
        let name = entry.annotations.get(NAME).ok_or_else(|| bad("a manifest has no name".into()))?;
        manifests.push((name.parse().map_err(bad)?, digest(&entry.digest).map_err(bad)?, entry.size));
    }
    let mut since = BTreeSet::new();
    if let Some(names) = index.annotations.get(SINCE) {
        for name in names.split(',') {
            since.insert(digest(name).map_err(bad)?);
        }
    }
    let again = index_of(manifests.iter().map(|(name, digest, size)| listed(name, *digest, *size)).collect(), &since);
    one_form(bytes, &again, "index.json")?;
    Ok(Listed { manifests, since })
}

/// Reads the manifest of the content `name`.
///
/// # Errors
/// Class `Integrity`.
pub(super) fn read_manifest(bytes: &[u8], name: &RoleName) -> Result<Described> {
    let what = format!("the manifest of `{name}`");
    let bad = |why: String| broken(&what, &why);
    let manifest: Manifest = strict(bytes, &what)?;
    let config = (digest(&manifest.config.digest).map_err(bad)?, manifest.config.size);
    let mut parts = Vec::new();
    for layer in &manifest.layers {
        let annotation = |key: &str| layer.annotations.get(key);
        let kind = Kind::of(&layer.media_type).ok_or_else(|| bad(format!("unknown media type `{}`", layer.media_type.escape_debug())))?;
        let sha512 = match annotation(SHA512).map(|text| text.parse()) {
            None => None,
            Some(Ok(Digest::Sha512(digest))) => Some(digest),
            Some(_) => return Err(bad(format!("the annotation {SHA512} is not a SHA-512 digest"))),
        };
        if layer.size > BLOB_MAX {
            return Err(bad(format!("{} has {} bytes, expected at most {BLOB_MAX}", layer.digest.escape_debug(), layer.size)));
        }
        parts.push(Part {
            kind,
            title: annotation(TITLE).cloned().unwrap_or_default(),
            digest: digest(&layer.digest).map_err(bad)?,
            size: layer.size,
            sha512,
            left_out: annotation(LEFT_OUT).is_some(),
        });
    }
    one_form(bytes, &manifest_of(config, &parts), &what)?;
    Ok(Described { config, parts })
}

fn digest(text: &str) -> Result<Sha256, String> {
    match text.parse() {
        Ok(Digest::Sha256(digest)) => Ok(digest),
        _ => Err(format!("`{}` is not a SHA-256 digest", text.escape_debug())),
    }
}

fn strict<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| broken(what, &e.to_string()))
}

/// Refuses a non-canonical document: unknown annotations, duplicate keys, other white space. Otherwise one bundle could have
/// two digests.
fn one_form<T: Serialize>(bytes: &[u8], again: &T, what: &str) -> Result<()> {
    match text(again) == bytes {
        true => Ok(()),
        false => Err(broken(what, "its encoding is not canonical")),
    }
}

fn broken(what: &str, why: &str) -> Error {
    Error::integrity(format!("the bundle is damaged: {what} is invalid")).detail(why.escape_debug().to_string())
}
