//! Changed artifacts and container images between two locks, for review.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Lock, LockedArtifact, LockedImage};
use crate::common::value::{Arch, ArtifactName};

/// One changed artifact or image. Shown as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Moved {
    /// An artifact that was added, removed or replaced.
    Artifact {
        /// The artifact in the old lock; none when it is added.
        from: Option<LockedArtifact>,
        /// The artifact in the new lock; none when it is removed.
        to: Option<LockedArtifact>,
    },
    /// A container image that was added, removed or replaced.
    Image {
        /// The image in the old lock; none when it is added.
        from: Option<LockedImage>,
        /// The image in the new lock; none when it is removed.
        to: Option<LockedImage>,
    },
}

/// All changes, artifacts before images, each sorted by name.
pub(crate) fn moved(old: Option<&Lock>, new: &Lock) -> Vec<Moved> {
    let (no_artifacts, no_images) = (BTreeMap::new(), BTreeMap::new());
    let (old_artifacts, old_images) = old.map_or((&no_artifacts, &no_images), |lock| (&lock.artifacts, &lock.images));
    let mut found = Vec::new();
    for key in old_artifacts.keys().chain(new.artifacts.keys()).collect::<BTreeSet<&(ArtifactName, Arch)>>() {
        let (from, to) = (old_artifacts.get(key), new.artifacts.get(key));
        if from != to {
            found.push(Moved::Artifact { from: from.cloned(), to: to.cloned() });
        }
    }
    for name in old_images.keys().chain(new.images.keys()).collect::<BTreeSet<&ArtifactName>>() {
        let (from, to) = (old_images.get(name), new.images.get(name));
        if from != to {
            found.push(Moved::Image { from: from.cloned(), to: to.cloned() });
        }
    }
    found
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moved::Artifact { from: None, to: Some(to) } => write!(f, "add     {} {} ({})", to.name, to.shown(), to.arch),
            Moved::Artifact { from: Some(from), to: None } => write!(f, "remove  {} {} ({})", from.name, from.shown(), from.arch),
            Moved::Artifact { from: Some(from), to: Some(to) } => artifact(f, from, to),
            Moved::Image { from: None, to: Some(to) } => write!(f, "add     {} {}", to.name, to.reference),
            Moved::Image { from: Some(from), to: None } => write!(f, "remove  {} {}", from.name, from.reference),
            Moved::Image { from: Some(from), to: Some(to) } => image(f, from, to),
            Moved::Artifact { from: None, to: None } | Moved::Image { from: None, to: None } => Ok(()),
        }
    }
}

fn artifact(f: &mut fmt::Formatter<'_>, from: &LockedArtifact, to: &LockedArtifact) -> fmt::Result {
    let (was, is) = (from.shown(), to.shown());
    if was != is {
        write!(f, "move    {} {was} -> {is} ({})", to.name, to.arch)
    } else if from.digest != to.digest {
        write!(f, "move    {} {is} ({}): {} -> {}", to.name, to.arch, from.digest, to.digest)
    } else if from.source != to.source {
        write!(f, "move    {} {is} ({}): {} -> {}", to.name, to.arch, from.source, to.source)
    } else {
        write!(f, "confirm {} {is} ({}): {} -> {}", to.name, to.arch, from.verified, to.verified)
    }
}

fn image(f: &mut fmt::Formatter<'_>, from: &LockedImage, to: &LockedImage) -> fmt::Result {
    if from.reference != to.reference {
        write!(f, "move    {} {} -> {}", to.name, from.reference, to.reference)
    } else if from.digest != to.digest || from.path != to.path {
        write!(f, "move    {} {}: sha256:{} -> sha256:{}", to.name, to.reference, from.digest, to.digest)
    } else {
        write!(f, "confirm {} {}: {} -> {}", to.name, to.reference, from.verified, to.verified)
    }
}
