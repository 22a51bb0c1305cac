//! Locked artifacts and container images: `[[artifact]]` and `[[image]]`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Verified;
use super::read::Order;
use crate::Result;
use crate::document::{Place, Section};
use crate::value::{Arch, ArtifactName, Digest, Reference, ReleaseVersion, Sha256};

/// One locked artifact for one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedArtifact {
    /// Its name.
    pub name: ArtifactName,
    /// The machine that it is for.
    pub arch: Arch,
    /// Its version, where the sources say one.
    pub version: Option<ReleaseVersion>,
    /// Where its bytes are.
    pub source: ArtifactSource,
    /// Their number, where it is known.
    pub size: Option<u64>,
    /// What they hash to.
    pub digest: Digest,
    /// Whose word the digest rests on.
    pub verified: Verified,
}

/// Where a locked artifact's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactSource {
    /// At this address.
    Url(String),
    /// In the user's own file, relative to the project.
    Path(String),
}

impl LockedArtifact {
    /// Whether it is the user's own file.
    pub fn is_own(&self) -> bool {
        matches!(self.source, ArtifactSource::Path(_))
    }

    /// The version, or where the bytes are that have none; both for a file of the user's own.
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

/// A locked container image: all that a registry has under a name, for every machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedImage {
    /// Its name in recipes.
    pub name: ArtifactName,
    /// Its full name.
    pub reference: Reference,
    /// The archive of the user's own that has it, relative to the project; none where its registry has it.
    pub path: Option<String>,
    /// The digest of its index, or of its manifest where there is no index.
    pub digest: Sha256,
    /// Whose word the digest rests on.
    pub verified: Verified,
}

impl LockedImage {
    /// True when it is in an archive of the user's own.
    pub fn is_own(&self) -> bool {
        self.path.is_some()
    }
}

/// Text of a value that is printed between quotes again.
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

/// Reads all `[[artifact]]` of a lockfile.
pub(super) fn artifacts(root: &mut Section, file: &str, order: Order) -> Result<BTreeMap<(ArtifactName, Arch), LockedArtifact>> {
    let mut found = BTreeMap::new();
    let mut places = BTreeMap::new();
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
        unique(&mut places, &key, &place, &format!("`{name}` ({arch})"), file, order)?;
        let version = section.optional("version")?.map(|version| version.value);
        let size = section.optional_number("size", 1..=u64::MAX)?.map(|size| size.value);
        let verified = section.required("verified")?.value;
        found.insert(key, LockedArtifact { name, arch, version, source, size, digest, verified });
    }
    Ok(found)
}

/// Reads all `[[image]]` of a lockfile.
pub(super) fn images(root: &mut Section, file: &str, order: Order) -> Result<BTreeMap<ArtifactName, LockedImage>> {
    let mut found = BTreeMap::new();
    let mut places = BTreeMap::new();
    for mut section in root.sections("image")? {
        section.only(&["name", "reference", "path", "sha256", "verified"])?;
        let place = section.place().clone();
        let name = section.required::<ArtifactName>("name")?.value;
        unique(&mut places, &name, &place, &format!("the image `{name}`"), file, order)?;
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

/// Refuses what is there already and, unless a merge by hand is being mended, what is out of order.
fn unique<K: Ord + Clone>(places: &mut BTreeMap<K, Place>, key: &K, place: &Place, shown: &str, file: &str, order: Order) -> Result<()> {
    if let Some(first) = places.get(key) {
        return Err(first.note(place.error(format!("{shown} is locked twice in `{file}`")), "first here"));
    }
    if order == Order::Sorted && places.last_key_value().is_some_and(|(last, _)| key < last) {
        let error = place.error(format!("{shown} is out of order in `{file}`: entries are sorted by name"));
        let again = super::read::command(file);
        return Err(error.hint(format!("if the file was merged by hand, run `{again}`: it sorts it and keeps what is locked")));
    }
    places.insert(key.clone(), place.clone());
    Ok(())
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
