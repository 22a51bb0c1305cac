//! Publishers' releases and registries' tags → lock entries for artifacts and container images.
//!
//! Locked entries of the version and address in the sources stay as they are; the others are asked for. Only the publishers'
//! statements about their files are read, never the files. No I/O: a [`Publisher`] answers.

mod checksums;
mod list;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use checksums::find;
pub use list::List;
pub(crate) use list::Listed;

use crate::common::value::{Arch, ArtifactName, Digest, Reference, Sha256};
use crate::spec::lock::{ArtifactSource, Lock, LockedArtifact, LockedImage, Request, Verified, WantedArtifact};
use crate::{Error, Result};

/// The source of answers for releases and registries.
pub(crate) trait Publisher {
    /// The text at an address; none if it does not exist.
    ///
    /// # Errors
    /// Nobody answered.
    fn text(&self, url: &str) -> Result<Option<String>>;

    /// True if a mirror of the user's answers for an address, or for a registry's image, instead of the publisher.
    fn is_mirrored(&self, what: &str) -> bool;

    /// The number of bytes at an address, if it can be known.
    fn size(&self, url: &str) -> Option<u64>;

    /// The current digest of a tag's index.
    ///
    /// # Errors
    /// The tag does not exist, or nobody answered.
    fn tag_digest(&self, reference: &Reference) -> Result<Sha256>;

    /// Digest and size of a file of the user's that the sources name.
    ///
    /// # Errors
    /// It does not exist, or cannot be read.
    fn own_file(&self, path: &str) -> Result<(Sha256, u64)>;
}

/// The locked entries to ask about again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// Nothing.
    #[default]
    Nothing,
    /// These names. One name may be an artifact's and an image's.
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

/// A person's choices for this run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choices {
    /// The entries to ask about again.
    pub upgrade: Upgrade,
    /// Checksums that are used before publishers are asked.
    pub list: Option<List>,
    /// Files of the user's that replace artifacts of the channel.
    pub own: Vec<Own>,
    /// Archives of the user's that replace container images.
    pub own_images: Vec<OwnImage>,
    /// Names whose replacement ends.
    pub unset: BTreeSet<ArtifactName>,
    /// True if registries are asked for the tags of locked images, to detect moved ones.
    pub tags: bool,
}

/// A file of the user's, for the architecture of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    /// The name of the artifact that it replaces.
    pub name: ArtifactName,
    /// Its path: relative to the project, or absolute.
    pub path: String,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
}

/// A container image in an archive of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnImage {
    /// The name of the image that it replaces.
    pub name: ArtifactName,
    /// Its full name on nodes.
    pub reference: Reference,
    /// The archive's path: relative to the project, or absolute.
    pub path: String,
    /// The manifest's digest.
    pub manifest: Sha256,
}

/// Progress of locking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// This address or registry is asked.
    Asking(String),
    /// The list has the digest.
    Taken {
        /// The artifact, with version and architecture: `kubelet 1.36.2 (amd64)`.
        what: String,
        /// The list's file name.
        list: String,
        /// The line in the list, from 1.
        line: usize,
    },
    /// The list lacks the digest.
    Lacking {
        /// The artifact, with version and architecture.
        what: String,
        /// The list's file name.
        list: String,
    },
    /// The list contradicts the locked digest, which stays.
    Disagrees {
        /// The artifact, with version and architecture.
        what: String,
        /// The list's file name.
        list: String,
        /// The digest in the list, and its line.
        listed: Listed,
        /// The locked digest.
        locked: Digest,
    },
    /// The tag now names another digest than the locked one, which stays.
    TagMoved {
        /// The image's full name, with the tag.
        reference: Reference,
        /// The locked digest of the image's index, or of its manifest if there is no index.
        locked: Sha256,
        /// The digest that the tag names now.
        found: Sha256,
    },
    /// The publisher now states another digest for the locked release, which was asked for by name.
    OtherBytes {
        /// The artifact, with version and architecture.
        what: String,
        /// The digest in the old lock.
        locked: Digest,
        /// The digest that the publisher or the list states now.
        found: Digest,
    },
}

/// The locked artifacts and images of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pins {
    /// By name and architecture.
    pub artifacts: BTreeMap<(ArtifactName, Arch), LockedArtifact>,
    /// By name.
    pub images: BTreeMap<ArtifactName, LockedImage>,
}

/// Locks the artifacts and images that the channel's recipes request, keeping the entries of `old`.
///
/// # Errors
/// The publisher's statement is missing or unreadable, and no list has the digest.
pub(crate) fn lock(
    request: &Request,
    old: Option<&Lock>,
    choices: &Choices,
    publisher: &dyn Publisher,
    events: &dyn Fn(Event),
) -> Result<Pins> {
    let mut run = Run { request, old, choices, publisher, events, texts: BTreeMap::new() };
    Ok(Pins { artifacts: run.artifacts()?, images: run.images()? })
}

struct Run<'a> {
    request: &'a Request,
    old: Option<&'a Lock>,
    choices: &'a Choices,
    publisher: &'a dyn Publisher,
    events: &'a dyn Fn(Event),
    /// Checksum files by address: one may cover several artifacts.
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

    /// The user's own files, those that were set earlier, and locked entries that are no longer requested and still true.
    fn kept(&self) -> BTreeMap<(ArtifactName, Arch), LockedArtifact> {
        let mut found = BTreeMap::new();
        for (key, entry) in self.old.iter().flat_map(|lock| &lock.artifacts) {
            let own = entry.is_own() && !self.choices.unset.contains(&key.0);
            // A path in the sources is hashed again: it may change whenever the channel is locked.
            let of_sources = self.request.artifacts.get(key).is_some_and(|want| matches!(want.source, ArtifactSource::Path(_)));
            if own && !of_sources || self.request.spare_artifacts.get(key).is_some_and(|want| want.is_met_by(entry)) {
                found.insert(key.clone(), entry.clone());
            }
        }
        for Own { name, path, sha256, size } in &self.choices.own {
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
        if let Some(locked) = locked.filter(|_| !self.choices.upgrade.has_artifact(&key.0)) {
            if let Some((list, listed)) = listed.filter(|(_, listed)| same_kind_differs(listed.digest, locked.digest)) {
                (self.events)(Event::Disagrees { what, list: list.name.clone(), listed, locked: locked.digest });
            }
            return Ok(locked.clone());
        }
        let (digest, verified, size) = match (listed, &self.choices.list) {
            (Some((list, listed)), _) => {
                (self.events)(Event::Taken { what: what.clone(), list: list.name.clone(), line: listed.line });
                // A list has no sizes, and is for users who cannot ask the publisher.
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
        let list = self.choices.list.as_ref()?;
        Some((list, list.get(&key.0, key.1, want.version.as_ref()?, url)?))
    }

    /// The publisher's statement.
    fn ask(&mut self, what: &str, want: &WantedArtifact, url: &str) -> Result<(Digest, Verified, Option<u64>)> {
        let Some(checksum) = &want.checksum else {
            // Only for small texts: programs have checksum files.
            let text = self.text(what, url)?;
            let size = u64::try_from(text.len()).ok();
            let verified = if self.publisher.is_mirrored(url) { Verified::Mirror(url.to_owned()) } else { Verified::Download };
            return Ok((Digest::Sha256(Sha256::of(&text)), verified, size));
        };
        let text = self.text(what, checksum)?;
        let digest = find(&text, url).map_err(|why| {
            Error::integrity(format!("the checksum file of {what} has no usable digest: {why}"))
                .detail(format!("from {checksum}"))
                .hint("check `checksum` and `url` in the channel's sources, or the proxies between here and the publisher")
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
                .hint("without access: `kbake lock --import FILE` reads checksums from a list, `--rewrite` asks a mirror")
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
            let entry = match locked(name, reference).filter(|_| !self.choices.upgrade.has_image(name)) {
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

    /// The archives that were set, now or earlier. Their names on nodes follow the sources.
    fn own_images(&self) -> BTreeMap<ArtifactName, LockedImage> {
        let named = |name: &ArtifactName| self.request.images.get(name).or_else(|| self.request.spare_images.get(name)).cloned();
        let before = self.old.iter().flat_map(|lock| lock.images.values()).filter(|entry| entry.is_own());
        let before = before.filter(|entry| !self.choices.unset.contains(&entry.name));
        let before =
            before.map(|entry| LockedImage { reference: named(&entry.name).unwrap_or_else(|| entry.reference.clone()), ..entry.clone() });
        let set = self.choices.own_images.iter().map(|OwnImage { name, reference, path, manifest }| LockedImage {
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
        if !self.choices.tags {
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
        // In a lock an empty file's size would look like an unknown one.
        size: Some(size).filter(|size| *size > 0),
        digest: Digest::Sha256(sha256),
        verified: Verified::Local,
    }
}

/// True for two digests of the same kind that differ; a SHA-256 and a SHA-512 cannot contradict each other.
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
