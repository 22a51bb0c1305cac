//! Publishers' releases and registries' tags → lock entries for artifacts and container images.
//!
//! Whatever is locked for the version and address that the sources name stays as it is; the rest is asked for, and
//! only what publishers say of their files is read, never the files. No I/O: who asks is a [`Publisher`].

mod checksums;
mod list;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use checksums::find;
pub use list::{List, Listed};

use crate::lock::{ArtifactSource, Lock, LockedArtifact, LockedImage, Request, Verified, WantedArtifact};
use crate::value::{Arch, ArtifactName, Digest, Reference, Sha256};
use crate::{Error, Result};

/// Who answers for releases and registries.
pub trait Publisher {
    /// The text at an address; none when there is no such thing.
    ///
    /// # Errors
    /// Nobody answered.
    fn text(&self, url: &str) -> Result<Option<String>>;

    /// Whether a mirror of the user's answers for an address, or for a registry's image, in the publisher's place.
    fn is_mirrored(&self, what: &str) -> bool;

    /// How many bytes there are at an address, where that can be known.
    fn size(&self, url: &str) -> Option<u64>;

    /// The digest of the index that a tag names today.
    ///
    /// # Errors
    /// There is no such tag, or nobody answered.
    fn tag_digest(&self, reference: &Reference) -> Result<Sha256>;

    /// Digest and length of a file of the user's, which the sources name.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    fn own_file(&self, path: &str) -> Result<(Sha256, u64)>;
}

/// What is asked anew though it is locked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// Nothing.
    #[default]
    Nothing,
    /// These. One name may be an artifact's and an image's.
    Names {
        /// Artifacts.
        artifacts: BTreeSet<ArtifactName>,
        /// Container images.
        images: BTreeSet<ArtifactName>,
    },
    /// Everything.
    All,
}

impl Upgrade {
    fn has_artifact(&self, name: &ArtifactName) -> bool {
        match self {
            Upgrade::Nothing => false,
            Upgrade::Names { artifacts, .. } => artifacts.contains(name),
            Upgrade::All => true,
        }
    }

    fn has_image(&self, name: &ArtifactName) -> bool {
        match self {
            Upgrade::Nothing => false,
            Upgrade::Names { images, .. } => images.contains(name),
            Upgrade::All => true,
        }
    }
}

/// What a person decided for this run.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// What is asked anew.
    pub upgrade: Upgrade,
    /// Checksums that are believed before publishers are asked.
    pub list: Option<List>,
    /// Files of one's own that take the place of the channel's.
    pub own: Vec<Own>,
    /// Archives of one's own that take the place of container images.
    pub own_images: Vec<OwnImage>,
    /// Names that are the channel's again.
    pub unset: BTreeSet<ArtifactName>,
    /// Whether registries are asked for the tags of what is locked, to tell which ones moved.
    pub tags: bool,
}

/// A file of one's own, for the machine that images are baked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Whose place it takes.
    pub name: ArtifactName,
    /// Where it is: relative to the project, or absolute.
    pub path: String,
    /// Its bytes' digest.
    pub sha256: Sha256,
    /// Their number.
    pub size: u64,
}

/// A container image in an archive of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnImage {
    /// The name of the image that it replaces.
    pub name: ArtifactName,
    /// Its full name on nodes.
    pub reference: Reference,
    /// The archive's path: relative to the project, or absolute.
    pub path: String,
    /// The manifest's digest.
    pub manifest: Sha256,
}

/// What is worth a line while locking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// This address or registry is asked.
    Asking(String),
    /// The list had it.
    Taken { what: String, list: String, line: usize },
    /// The list does not have it.
    Lacking { what: String, list: String },
    /// The list says something else than what is locked, which stays.
    Disagrees { what: String, list: String, listed: Listed, locked: Digest },
    /// The tag names something else today than what is locked, which stays.
    TagMoved { reference: Reference, locked: Sha256, found: Sha256 },
    /// The publisher says something else today of the very release that was locked; it was asked for by name.
    OtherBytes { what: String, locked: Digest, found: Digest },
}

/// The locked artifacts and images of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins {
    /// By name and machine.
    pub artifacts: BTreeMap<(ArtifactName, Arch), LockedArtifact>,
    /// By name.
    pub images: BTreeMap<ArtifactName, LockedImage>,
}

/// Locks what the channel's recipes ask for, keeping what `old` has.
///
/// # Errors
/// No word of a publisher, or none that can be read; a list is no help then either.
pub fn lock(request: &Request, old: Option<&Lock>, wishes: &Wishes, publisher: &dyn Publisher, events: &dyn Fn(Event)) -> Result<Pins> {
    let mut run = Run { request, old, wishes, publisher, events, texts: BTreeMap::new() };
    Ok(Pins { artifacts: run.artifacts()?, images: run.images()? })
}

struct Run<'a> {
    request: &'a Request,
    old: Option<&'a Lock>,
    wishes: &'a Wishes,
    publisher: &'a dyn Publisher,
    events: &'a dyn Fn(Event),
    /// Checksum files by address: one may speak for several artifacts.
    texts: BTreeMap<String, String>,
}

impl Run<'_> {
    fn artifacts(&mut self) -> Result<BTreeMap<(ArtifactName, Arch), LockedArtifact>> {
        let mut found = self.kept();
        for (key, want) in &self.request.artifacts {
            if found.contains_key(key) {
                continue;
            }
            let entry = match &want.source {
                ArtifactSource::Path(path) => self.own_of_sources(key, want, path)?,
                ArtifactSource::Url(url) => self.release(key, want, url)?,
            };
            found.insert(key.clone(), entry);
        }
        Ok(found)
    }

    /// One's own files, those that were set before, and what is locked but not asked for any more and still true.
    fn kept(&self) -> BTreeMap<(ArtifactName, Arch), LockedArtifact> {
        let mut found = BTreeMap::new();
        for (key, entry) in self.old.iter().flat_map(|lock| &lock.artifacts) {
            let own = entry.is_own() && !self.wishes.unset.contains(&key.0);
            // A path of the sources is read again: locking is when it may change.
            let of_sources = self.request.artifacts.get(key).is_some_and(|want| matches!(want.source, ArtifactSource::Path(_)));
            if own && !of_sources || self.request.spare_artifacts.get(key).is_some_and(|want| want.is_met_by(entry)) {
                found.insert(key.clone(), entry.clone());
            }
        }
        for Own { name, path, sha256, size } in &self.wishes.own {
            let key = (name.clone(), self.request.arch);
            let entry = own_entry(&key, path, *sha256, *size);
            found.insert(key, entry);
        }
        found
    }

    fn own_of_sources(&self, key: &(ArtifactName, Arch), want: &WantedArtifact, path: &str) -> Result<LockedArtifact> {
        let (sha256, size) = self.publisher.own_file(path)?;
        Ok(LockedArtifact { version: want.version.clone(), ..own_entry(key, path, sha256, size) })
    }

    fn release(&mut self, key: &(ArtifactName, Arch), want: &WantedArtifact, url: &str) -> Result<LockedArtifact> {
        let what = Shown(key, want).to_string();
        let locked = self.old.and_then(|lock| lock.artifacts.get(key)).filter(|entry| want.is_met_by(entry));
        let listed = self.listed(key, want, url);
        if let Some(locked) = locked.filter(|_| !self.wishes.upgrade.has_artifact(&key.0)) {
            if let Some((list, listed)) = listed.filter(|(_, listed)| same_kind_differs(listed.digest, locked.digest)) {
                (self.events)(Event::Disagrees { what, list: list.name.clone(), listed, locked: locked.digest });
            }
            return Ok(locked.clone());
        }
        let (digest, verified, size) = match (listed, &self.wishes.list) {
            (Some((list, listed)), _) => {
                (self.events)(Event::Taken { what: what.clone(), list: list.name.clone(), line: listed.line });
                // A list has no sizes, and is for those who cannot ask the publisher.
                (listed.digest, Verified::Imported(list.name.clone()), None)
            }
            (None, list) => {
                if let Some(list) = list {
                    (self.events)(Event::Lacking { what: what.clone(), list: list.name.clone() });
                }
                self.ask(&what, want, url)?
            }
        };
        if let Some(locked) = locked.filter(|locked| same_kind_differs(digest, locked.digest)) {
            (self.events)(Event::OtherBytes { what, locked: locked.digest, found: digest });
        }
        let size = size.or_else(|| locked.filter(|locked| locked.digest == digest).and_then(|locked| locked.size));
        Ok(LockedArtifact {
            name: key.0.clone(),
            arch: key.1,
            version: want.version.clone(),
            source: want.source.clone(),
            size,
            digest,
            verified,
        })
    }

    fn listed(&self, key: &(ArtifactName, Arch), want: &WantedArtifact, url: &str) -> Option<(&List, Listed)> {
        let list = self.wishes.list.as_ref()?;
        Some((list, list.get(&key.0, key.1, want.version.as_ref()?, url)?))
    }

    /// What the publisher says.
    fn ask(&mut self, what: &str, want: &WantedArtifact, url: &str) -> Result<(Digest, Verified, Option<u64>)> {
        let Some(checksum) = &want.checksum else {
            // Small texts only: programs have checksum files.
            let text = self.text(what, url)?;
            let size = u64::try_from(text.len()).ok();
            let verified = if self.publisher.is_mirrored(url) { Verified::Mirror(url.to_owned()) } else { Verified::Download };
            return Ok((Digest::Sha256(Sha256::of(&text)), verified, size));
        };
        let text = self.text(what, checksum)?;
        let digest = find(&text, url).map_err(|why| {
            Error::integrity(format!("the checksum file of {what} does not say what its bytes are: {why}"))
                .detail(format!("from {checksum}"))
                .hint("check `checksum` and `url` in the channel's sources, or what stands between here and the publisher")
        })?;
        let verified = if self.publisher.is_mirrored(checksum) { Verified::Mirror } else { Verified::Checksum };
        Ok((digest, verified(checksum.clone()), self.publisher.size(url)))
    }

    fn text(&mut self, what: &str, url: &str) -> Result<String> {
        if let Some(text) = self.texts.get(url) {
            return Ok(text.clone());
        }
        (self.events)(Event::Asking(url.to_owned()));
        let found = self.publisher.text(url).map_err(|error| {
            error
                .detail(format!("needed to lock {what}"))
                .hint("without a way there: `kbake lock --import FILE` takes checksums from a list, `--rewrite` asks a mirror")
        })?;
        let text = found.ok_or_else(|| {
            Error::user(format!("the publisher has nothing at {url}"))
                .detail(format!("needed to lock {what}"))
                .hint("check the version, and the addresses in the channel's sources")
        })?;
        self.texts.insert(url.to_owned(), text.clone());
        Ok(text)
    }

    fn images(&self) -> Result<BTreeMap<ArtifactName, LockedImage>> {
        let locked = |name, reference: &Reference| {
            self.old.and_then(|lock| lock.images.get(name)).filter(|entry| entry.reference == *reference && !entry.is_own())
        };
        let mut found = self.own_images();
        for (name, reference) in &self.request.spare_images {
            if found.contains_key(name) {
                continue;
            }
            if let Some(entry) = locked(name, reference) {
                found.insert(name.clone(), entry.clone());
            }
        }
        for (name, reference) in &self.request.images {
            if found.contains_key(name) {
                continue;
            }
            let entry = match locked(name, reference).filter(|_| !self.wishes.upgrade.has_image(name)) {
                Some(entry) => {
                    self.tell_if_moved(entry)?;
                    entry.clone()
                }
                None => self.image(name, reference)?,
            };
            found.insert(name.clone(), entry);
        }
        Ok(found)
    }

    /// The archives that were set, now or before. Nodes know each by the name that the sources have for it today.
    fn own_images(&self) -> BTreeMap<ArtifactName, LockedImage> {
        let named = |name: &ArtifactName| self.request.images.get(name).or_else(|| self.request.spare_images.get(name)).cloned();
        let before = self.old.iter().flat_map(|lock| lock.images.values()).filter(|entry| entry.is_own());
        let before = before.filter(|entry| !self.wishes.unset.contains(&entry.name));
        let before =
            before.map(|entry| LockedImage { reference: named(&entry.name).unwrap_or_else(|| entry.reference.clone()), ..entry.clone() });
        let set = self.wishes.own_images.iter().map(|OwnImage { name, reference, path, manifest }| LockedImage {
            name: name.clone(),
            reference: reference.clone(),
            path: Some(path.clone()),
            digest: *manifest,
            verified: Verified::Local,
        });
        before.chain(set).map(|entry| (entry.name.clone(), entry)).collect()
    }

    fn image(&self, name: &ArtifactName, reference: &Reference) -> Result<LockedImage> {
        (self.events)(Event::Asking(reference.to_string()));
        let digest = self.publisher.tag_digest(reference).map_err(|error| error.detail(format!("needed to lock the image `{name}`")))?;
        let full = reference.to_string();
        let verified = if self.publisher.is_mirrored(&full) { Verified::Mirror(full) } else { Verified::Registry };
        Ok(LockedImage { name: name.clone(), reference: reference.clone(), path: None, digest, verified })
    }

    fn tell_if_moved(&self, entry: &LockedImage) -> Result<()> {
        if !self.wishes.tags {
            return Ok(());
        }
        (self.events)(Event::Asking(entry.reference.to_string()));
        let found = self.publisher.tag_digest(&entry.reference)?;
        if found != entry.digest {
            (self.events)(Event::TagMoved { reference: entry.reference.clone(), locked: entry.digest, found });
        }
        Ok(())
    }
}

fn own_entry(key: &(ArtifactName, Arch), path: &str, sha256: Sha256, size: u64) -> LockedArtifact {
    LockedArtifact {
        name: key.0.clone(),
        arch: key.1,
        version: None,
        source: ArtifactSource::Path(path.to_owned()),
        // An empty file has no size that a lock could tell from an unknown one.
        size: Some(size).filter(|size| *size > 0),
        digest: Digest::Sha256(sha256),
        verified: Verified::Local,
    }
}

/// A SHA-256 and a SHA-512 cannot contradict each other here.
fn same_kind_differs(a: Digest, b: Digest) -> bool {
    a != b && matches!(a, Digest::Sha256(_)) == matches!(b, Digest::Sha256(_))
}

/// `kubelet 1.36.2 (amd64)`.
struct Shown<'a>(&'a (ArtifactName, Arch), &'a WantedArtifact);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown((name, arch), want) = self;
        match &want.version {
            Some(version) => write!(f, "{name} {version} ({arch})"),
            None => write!(f, "{name} ({arch})"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Asking(whom) => write!(f, "asking {whom}"),
            Event::Taken { what, list, line } => write!(f, "{what}: from {list}, line {line}"),
            Event::Lacking { what, list } => write!(f, "{what}: not in {list}"),
            Event::Disagrees { what, list, listed, locked } => {
                write!(f, "{what}: stays {locked}, but {list}, line {}, says {}", listed.line, listed.digest)
            }
            Event::TagMoved { reference, locked, found } => {
                write!(f, "{reference}: stays sha256:{locked}, but its tag now names sha256:{found}")
            }
            Event::OtherBytes { what, locked, found } => {
                write!(f, "{what}: what is published there now is {found}, where {locked} was locked: make sure why before you use it")
            }
        }
    }
}
