//! Locked artifacts and container images: `[[artifact]]` and `[[image]]`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Verified;
use super::order::{Order, Seen};
use crate::Result;
use crate::common::document::Section;
use crate::common::value::{Arch, ArtifactName, Digest, Reference, ReleaseVersion, Sha256};

/// One locked artifact for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedArtifact {
    /// Its name.
    pub name: ArtifactName,
    /// Its architecture.
    pub arch: Arch,
    /// Its version, if the sources state one.
    pub version: Option<ReleaseVersion>,
    /// The source of its bytes.
    pub source: ArtifactSource,
    /// Its size in bytes, if known.
    pub size: Option<u64>,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The verification of the digest.
    pub verified: Verified,
}

/// The source of a locked artifact's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactSource {
    /// This address.
    Url(String),
    /// A file of the user's, relative to the project.
    Path(String),
}

impl LockedArtifact {
    /// True for a file of the user's.
    pub fn is_own(&self) -> bool {
        matches!(self.source, ArtifactSource::Path(_))
    }

    /// The version, or the source of an artifact without one; both for a file of the user's.
    pub(super) fn shown(&self) -> String {
        match (&self.source, &self.version) {
            (ArtifactSource::Path(path), Some(version)) => format!("{version} ({path})"),
            (ArtifactSource::Url(_), Some(version)) => version.to_string(),
            (ArtifactSource::Path(place) | ArtifactSource::Url(place), None) => place.clone(),
        }
    }
}

impl std::fmt::Display for ArtifactSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ArtifactSource::Url(text) | ArtifactSource::Path(text) => f.write_str(text),
        }
    }
}

/// A locked container image: a registry's image of a name, for every architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedImage {
    /// Its name in recipes.
    pub name: ArtifactName,
    /// Its full name.
    pub reference: Reference,
    /// The user's own archive with the image, relative to the project; none for an image in its registry.
    pub path: Option<String>,
    /// The digest of its index, or of its manifest if there is no index.
    pub digest: Sha256,
    /// The verification of the digest.
    pub verified: Verified,
}

impl LockedImage {
    /// True for an image in an archive of the user's.
    pub fn is_own(&self) -> bool {
        self.path.is_some()
    }
}

/// A text that is printed between quotes again.
struct Plain(String);

impl std::str::FromStr for Plain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match !text.is_empty() && text.chars().all(|c| !c.is_control() && !"\"\\".contains(c)) {
            true => Ok(Plain(text.to_owned())),
            false => Err("it is empty, or has quotes, backslashes or control characters".into()),
        }
    }
}

/// Parses all `[[artifact]]` tables of a lockfile.
pub(super) fn artifacts(root: &mut Section, file: &str, order: Order) -> Result<BTreeMap<(ArtifactName, Arch), LockedArtifact>> {
    let mut found = BTreeMap::new();
    let mut seen = Seen::new(file, order);
    for mut section in root.sections("artifact")? {
        section.only(&["name", "version", "arch", "source", "path", "size", "sha256", "sha512", "verified"])?;
        let place = section.place().clone();
        let name = section.required::<ArtifactName>("name")?.value;
        let arch = section.required::<Arch>("arch")?.value;
        let source = match (section.optional::<Plain>("source")?, section.optional::<Plain>("path")?) {
            (Some(url), None) => ArtifactSource::Url(url.value.0),
            (None, Some(path)) => ArtifactSource::Path(path.value.0),
            _ => return Err(place.error(format!("`{name}` must have either `source` or `path`"))),
        };
        let digest = match (section.optional("sha256")?, section.optional("sha512")?) {
            (Some(digest), None) => Digest::Sha256(digest.value),
            (None, Some(digest)) => Digest::Sha512(digest.value),
            _ => return Err(place.error(format!("`{name}` must have either `sha256` or `sha512`"))),
        };
        let key = (name.clone(), arch);
        seen.add(key.clone(), &place, &format!("`{name}` ({arch})"))?;
        let version = section.optional("version")?.map(|version| version.value);
        let size = section.optional_number("size", 1..=u64::MAX)?.map(|size| size.value);
        let verified = section.required("verified")?.value;
        found.insert(key, LockedArtifact { name, arch, version, source, size, digest, verified });
    }
    Ok(found)
}

/// Parses all `[[image]]` tables of a lockfile.
pub(super) fn images(root: &mut Section, file: &str, order: Order) -> Result<BTreeMap<ArtifactName, LockedImage>> {
    let mut found = BTreeMap::new();
    let mut seen = Seen::new(file, order);
    for mut section in root.sections("image")? {
        section.only(&["name", "reference", "path", "sha256", "verified"])?;
        let place = section.place().clone();
        let name = section.required::<ArtifactName>("name")?.value;
        seen.add(name.clone(), &place, &format!("the image `{name}`"))?;
        let image = LockedImage {
            name: name.clone(),
            reference: section.required("reference")?.value,
            path: section.optional::<Plain>("path")?.map(|path| path.value.0),
            digest: section.required("sha256")?.value,
            verified: section.required("verified")?.value,
        };
        found.insert(name, image);
    }
    Ok(found)
}

/// The lines of an entry.
pub(super) fn artifact_text(entry: &LockedArtifact) -> String {
    let mut text = format!("\n[[artifact]]\nname = \"{}\"\n", entry.name);
    // Writing to a string cannot fail.
    if let Some(version) = &entry.version {
        let _ = writeln!(text, "version = \"{version}\"");
    }
    let _ = writeln!(text, "arch = \"{}\"", entry.arch);
    let _ = match &entry.source {
        ArtifactSource::Url(url) => writeln!(text, "source = \"{url}\""),
        ArtifactSource::Path(path) => writeln!(text, "path = \"{path}\""),
    };
    if let Some(size) = entry.size {
        let _ = writeln!(text, "size = {size}");
    }
    let _ = match &entry.digest {
        Digest::Sha256(digest) => writeln!(text, "sha256 = \"{digest}\""),
        Digest::Sha512(digest) => writeln!(text, "sha512 = \"{digest}\""),
    };
    let _ = writeln!(text, "verified = \"{}\"", entry.verified);
    text
}

/// The lines of an entry.
pub(super) fn image_text(entry: &LockedImage) -> String {
    let LockedImage { name, reference, path, digest, verified } = entry;
    let path = path.as_ref().map(|path| format!("path = \"{path}\"\n")).unwrap_or_default();
    format!("\n[[image]]\nname = \"{name}\"\nreference = \"{reference}\"\n{path}sha256 = \"{digest}\"\nverified = \"{verified}\"\n")
}
