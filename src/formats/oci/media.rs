//! Media types of documents and layers: OCI's
//! ([list](https://github.com/opencontainers/image-spec/blob/main/media-types.md)), and Docker's, from which they
//! derive.

use std::fmt;

/// A known media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MediaType {
    /// OCI's index: a list of manifests.
    OciIndex,
    /// Docker's manifest list.
    DockerIndex,
    /// OCI's manifest.
    OciManifest,
    /// Docker's manifest, schema 2.
    DockerManifest,
    /// OCI's configuration.
    OciConfig,
    /// Docker's configuration.
    DockerConfig,
    /// An uncompressed tar.
    OciLayer,
    /// A tar compressed with gzip.
    OciLayerGzip,
    /// A tar compressed with zstd.
    OciLayerZstd,
    /// An uncompressed tar, by Docker's name.
    DockerLayer,
    /// A tar compressed with gzip, by Docker's name.
    DockerLayerGzip,
}

/// The role of a media type in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A list of manifests, one for each platform.
    Index,
    /// An image.
    Manifest,
    /// The configuration of an image's containers.
    Config,
    /// Files.
    Layer,
}

const KNOWN: [(MediaType, Role, &str); 11] = [
    (MediaType::OciIndex, Role::Index, "application/vnd.oci.image.index.v1+json"),
    (MediaType::DockerIndex, Role::Index, "application/vnd.docker.distribution.manifest.list.v2+json"),
    (MediaType::OciManifest, Role::Manifest, "application/vnd.oci.image.manifest.v1+json"),
    (MediaType::DockerManifest, Role::Manifest, "application/vnd.docker.distribution.manifest.v2+json"),
    (MediaType::OciConfig, Role::Config, "application/vnd.oci.image.config.v1+json"),
    (MediaType::DockerConfig, Role::Config, "application/vnd.docker.container.image.v1+json"),
    (MediaType::OciLayer, Role::Layer, "application/vnd.oci.image.layer.v1.tar"),
    (MediaType::OciLayerGzip, Role::Layer, "application/vnd.oci.image.layer.v1.tar+gzip"),
    (MediaType::OciLayerZstd, Role::Layer, "application/vnd.oci.image.layer.v1.tar+zstd"),
    (MediaType::DockerLayer, Role::Layer, "application/vnd.docker.image.rootfs.diff.tar"),
    (MediaType::DockerLayerGzip, Role::Layer, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
];

impl MediaType {
    /// The media type of this name.
    pub(super) fn of(name: &str) -> Option<Self> {
        KNOWN.iter().find(|(_, _, known)| *known == name).map(|(media_type, ..)| *media_type)
    }

    fn row(self) -> &'static (MediaType, Role, &'static str) {
        KNOWN.iter().find(|(known, ..)| *known == self).expect("every media type has a row")
    }

    /// The role.
    pub fn role(self) -> Role {
        self.row().1
    }

    /// The name.
    pub fn as_str(self) -> &'static str {
        self.row().2
    }

    /// The value of the `Accept` header for a request whose media type is not known in advance.
    pub fn accepted() -> String {
        let documents = KNOWN.iter().filter(|(_, role, _)| matches!(role, Role::Index | Role::Manifest));
        documents.map(|(.., name)| *name).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// True if layers of this media type are not in the registry, or must not be redistributed.
pub(super) fn is_foreign(name: &str) -> bool {
    name.starts_with("application/vnd.docker.image.rootfs.foreign.")
        || name.starts_with("application/vnd.oci.image.layer.nondistributable.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_media_type_is_found_by_its_name() {
        for (media_type, role, name) in KNOWN {
            assert_eq!((MediaType::of(name), media_type.role(), media_type.as_str()), (Some(media_type), role, name));
        }
        assert_eq!(MediaType::of("application/json"), None);
    }
}
