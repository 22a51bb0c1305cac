//! One item of a bill of materials, independent of the output format.

use super::installed::{Installed, Manager};
use super::purl;
use crate::common::value::{ArtifactName, Digest, Reference, Sha256, TreePath};
use crate::spec::advisories::{source_version, tracked};
use crate::spec::lock::{ArtifactSource, Entry, LockedArtifact, Verified};
use crate::spec::plan::{BuiltImage, PulledImage};

/// The kind of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Debian package.
    Package,
    /// A library, module or package inside another item.
    Inner,
    /// Released bytes, or the user's own build.
    Artifact,
    /// A container image.
    Container,
    /// A file from a recipe.
    File,
    /// The operating system that the packages form.
    System,
    /// A program that was run for the build.
    Program,
}

/// One item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its id in the document; unique there.
    pub id: String,
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
    /// Its package URL, if an accurate one exists.
    pub purl: Option<String>,
    /// The digest of its download.
    pub digest: Option<Digest>,
    /// The address of its download, without secrets.
    pub url: Option<String>,
    /// Further facts, by name; sorted.
    pub facts: Vec<(&'static str, String)>,
    /// Its paths in the image, if known; sorted.
    pub places: Vec<String>,
    /// The ids of its sources, if known; sorted.
    pub made_of: Option<Vec<String>>,
    /// The ids of the items found in it; sorted.
    pub contains: Vec<String>,
    /// The kind of advisories that name it, for items inside others.
    pub advised: Option<Advised>,
}

/// The kind of advisories that name an item inside another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advised {
    /// Those on Go modules.
    Module,
    /// Debian's, by source package and release.
    Debian {
        /// The source package.
        source: String,
        /// The release by its code name, if the image names it.
        release: Option<String>,
    },
}

impl Item {
    /// A package that is installed, or read during the build, in the system `distro`.
    pub fn package(package: &Entry, distro: &str) -> Self {
        let Entry { name, version, arch, source, sha256, verified, .. } = package;
        let built_from = package.source_name();
        // Advisories name the source that a signed one is made from.
        let (tracked, tracked_version) = tracked(built_from, &source_version(package), version);
        let upstream = purl::upstream(name.as_str(), version.as_str(), &tracked, tracked_version.as_str());
        Item {
            purl: Some(purl::deb(name.as_str(), version.as_str(), &arch.to_string(), distro, upstream.as_deref())),
            digest: Some(Digest::Sha256(*sha256)),
            facts: vec![("pool", source.to_string()), ("source-package", built_from.to_owned()), ("verified", verified.to_string())],
            ..Item::bare(Kind::Package, package_id(package), name.as_str(), Some(version.as_str()))
        }
    }

    /// An artifact.
    pub fn artifact(artifact: &LockedArtifact) -> Self {
        let url = match &artifact.source {
            ArtifactSource::Url(url) => purl::shown(url),
            // The path of the user's own file is private.
            ArtifactSource::Path(_) => None,
        };
        let version = artifact.version.as_ref().map(ToString::to_string);
        let purl = purl::release(artifact.name.as_str(), version.as_deref(), &artifact.digest, url.as_deref());
        Item {
            purl: Some(purl),
            digest: Some(artifact.digest),
            url,
            facts: vec![("verified", verified(artifact))],
            ..Item::bare(Kind::Artifact, artifact_id(&artifact.name), artifact.name.as_str(), version.as_deref())
        }
    }

    /// A container image from a registry, whose archive is at `place`.
    pub fn pulled(image: &PulledImage, place: &TreePath) -> Self {
        let mut item = Item::container(&image.reference, place);
        item.purl = Some(purl::oci(&image.reference, &image.index, &image.arch.to_string()));
        item.digest = Some(Digest::Sha256(image.index));
        item
    }

    /// A container image that kbake builds from `made_of`, whose archive is at `place`. A registry's image of its name is
    /// another one, so it has no package URL.
    pub fn built(image: &BuiltImage, place: &TreePath, made_of: Vec<String>) -> Self {
        let mut item = Item::container(&image.reference, place);
        item.facts.push(("built", "by kbake, of what it depends on alone".to_owned()));
        item.made_of = Some(made_of);
        item
    }

    fn container(reference: &Reference, place: &TreePath) -> Self {
        let name = format!("{}/{}", reference.registry(), reference.repository());
        let places = vec![place.to_string()];
        Item { places, ..Item::bare(Kind::Container, container_id(reference), &name, Some(reference.tag())) }
    }

    /// A file from a recipe.
    pub fn file(path: &TreePath, digest: Sha256) -> Self {
        Item {
            digest: Some(Digest::Sha256(digest)),
            places: vec![path.to_string()],
            ..Item::bare(Kind::File, file_id(path), &path.to_string(), None)
        }
    }

    /// A Go module in a program; the standard library is the module `stdlib`. `sum` is the checksum of its files.
    pub fn go_module(path: &str, version: Option<&str>, sum: Option<&str>) -> Self {
        let id = format!("golang:{path}{}", version.map(|version| format!("@{version}")).unwrap_or_default());
        Item {
            purl: Some(purl::golang(path, version)),
            facts: sum.map(|sum| ("go-sum", sum.to_owned())).into_iter().collect(),
            advised: Some(Advised::Module),
            ..Item::bare(Kind::Inner, id, path, version)
        }
    }

    /// An installed Python distribution.
    pub fn python(name: &str, version: &str) -> Self {
        Item { purl: Some(purl::pypi(name, version)), ..Item::bare(Kind::Inner, format!("pypi:{name}@{version}"), name, Some(version)) }
    }

    /// A package that is installed in the container image with the id `container`.
    pub fn installed(container: &str, package: &Installed) -> Self {
        let Installed { manager, name, version, arch, source, system, codename, .. } = package;
        let is_debian = *manager == Manager::Dpkg && system.is_none_or(|system| system == "debian");
        let manager = match manager {
            Manager::Dpkg => "deb",
            Manager::Apk => "apk",
        };
        Item {
            purl: Some(purl::installed(package)),
            facts: vec![("source-package", (*source).to_owned())],
            advised: is_debian.then(|| Advised::Debian { source: (*source).to_owned(), release: codename.map(str::to_owned) }),
            ..Item::bare(Kind::Inner, format!("{container}/{manager}:{name}:{arch}"), name, Some(version))
        }
    }

    /// Merges another record of the same item.
    pub fn merge(&mut self, other: Item) {
        self.facts.extend(other.facts);
        self.facts.sort();
        self.facts.dedup();
        for (list, more) in [(&mut self.places, other.places), (&mut self.contains, other.contains)] {
            list.extend(more);
            list.sort();
            list.dedup();
        }
    }

    /// The release of the packages' operating system. Scanners look for it before they look at packages.
    pub(super) fn debian(release: &str) -> Self {
        Item::bare(Kind::System, "os:debian".to_owned(), "debian", Some(release))
    }

    /// kbake itself, as a program.
    pub(super) fn program(name: &str, version: &str) -> Self {
        Item::bare(Kind::Program, format!("program:{name}"), name, Some(version))
    }

    fn bare(kind: Kind, id: String, name: &str, version: Option<&str>) -> Self {
        Item {
            id,
            kind,
            name: name.to_owned(),
            version: version.map(str::to_owned),
            purl: None,
            digest: None,
            url: None,
            facts: Vec::new(),
            places: Vec::new(),
            made_of: None,
            contains: Vec::new(),
            advised: None,
        }
    }
}

/// The id of a package.
pub(crate) fn package_id(package: &Entry) -> String {
    format!("deb:{}:{}", package.name, package.arch)
}

/// The id of an artifact.
pub(crate) fn artifact_id(name: &ArtifactName) -> String {
    format!("artifact:{name}")
}

/// The id of a container image.
pub(crate) fn container_id(reference: &Reference) -> String {
    format!("container:{reference}")
}

/// The id of a recipe's file.
pub(crate) fn file_id(path: &TreePath) -> String {
    format!("file:{path}")
}

/// The verification of the digest; addresses may contain secrets.
fn verified(artifact: &LockedArtifact) -> String {
    match &artifact.verified {
        Verified::Checksum(url) => purl::shown(url).map_or_else(|| "checksum".to_owned(), |url| format!("checksum:{url}")),
        Verified::Mirror(what) => purl::shown(what).map_or_else(|| "mirror".to_owned(), |what| format!("mirror:{what}")),
        other => other.to_string(),
    }
}
