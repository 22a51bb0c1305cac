//! The JSON documents of written images, as structs with the fields in the order of the specification's examples.
//! Without spaces, as from other builders.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Descriptor, MediaType, Platform};
use crate::common::error::{Error, Result};

/// The contents of `oci-layout`, which marks a folder as an OCI layout of this version.
pub(crate) const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Named {
    media_type: &'static str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Machine>,
}

impl Named {
    pub(super) fn new(descriptor: &Descriptor) -> Self {
        let Descriptor { media_type, digest, size } = *descriptor;
        let (annotations, platform) = (BTreeMap::new(), None);
        Named { media_type: media_type.as_str(), digest: format!("sha256:{digest}"), size, annotations, platform }
    }

    #[must_use]
    pub(super) fn annotated(mut self, annotations: impl IntoIterator<Item = (&'static str, String)>, platform: &Platform) -> Self {
        self.annotations = annotations.into_iter().collect();
        self.platform = Some(platform.into());
        self
    }
}

#[derive(Serialize)]
pub(super) struct Machine {
    architecture: String,
    os: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

impl From<&Platform> for Machine {
    fn from(platform: &Platform) -> Self {
        let Platform { os, architecture, variant } = platform.clone();
        Machine { architecture, os, variant: variant.filter(|variant| !variant.is_empty()) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IndexFile {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<Named>,
}

impl IndexFile {
    pub(super) fn new(manifests: Vec<Named>) -> Self {
        IndexFile { schema_version: 2, media_type: MediaType::OciIndex.as_str(), manifests }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ManifestFile {
    schema_version: u32,
    media_type: &'static str,
    config: Named,
    layers: Vec<Named>,
}

impl ManifestFile {
    pub(super) fn new(config: Named, layers: Vec<Named>) -> Self {
        ManifestFile { schema_version: 2, media_type: MediaType::OciManifest.as_str(), config, layers }
    }
}

#[derive(Serialize)]
pub(super) struct ConfigFile {
    pub created: String,
    #[serde(flatten)]
    pub platform: Machine,
    pub config: Start,
    pub rootfs: Root,
    pub history: Vec<Step>,
}

/// The command and environment of a container.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Start {
    pub env: Vec<String>,
    pub entrypoint: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Root {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub diff_ids: Vec<String>,
}

/// A history entry. There must be one per layer: other programs match them by index.
#[derive(Serialize)]
pub(super) struct Step {
    pub created: String,
    pub created_by: String,
}

/// Serialises a document.
pub(super) fn bytes<T: Serialize>(document: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(document).map_err(|e| Error::internal(format!("a document of a container image cannot be written: {e}")))
}
