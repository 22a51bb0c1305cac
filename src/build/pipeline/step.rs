//! Cached steps: results of a build that the store keeps, each under a key that covers all of its inputs.
//!
//! Roots, verification, repair and the store's summary match over [`Step`] or [`StepKind`], so a new variant does not
//! compile until each of them handles it. [`super::realise`] looks steps up, locks, runs and records them.

use super::disk;
use super::resolve::Resolved;
use crate::common::value::{Sha256, TreePath};
use crate::spec::plan::{IMAGE_FORMAT, Made, PlannedKind};
use crate::storage::store::{Action, Blob, COMPOSED, FRAMES};

/// The kinds of cached steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepKind {
    /// A file from artifacts: a member of an archive, or the archive of a container image.
    Extraction,
    /// The installed base: its tree, and the pack of its contents.
    Base,
    /// GRUB for a disk.
    Loader,
    /// Compressed clusters of a base or of one large content.
    Frames,
    /// An image as stretches of other blobs.
    Composition,
    /// An image and the text of its tree.
    Image,
}

impl StepKind {
    /// All kinds, each before those that use its result.
    pub const ALL: [StepKind; 6] =
        [StepKind::Extraction, StepKind::Base, StepKind::Loader, StepKind::Frames, StepKind::Composition, StepKind::Image];

    /// The word in the names of its entries, `actions/WORD-KEY.json`: a part of the store's format.
    pub const fn word(self) -> &'static str {
        match self {
            StepKind::Extraction => "made",
            StepKind::Base => "base",
            StepKind::Loader => "boot",
            StepKind::Frames => FRAMES,
            StepKind::Composition => COMPOSED,
            StepKind::Image => "image",
        }
    }

    /// The kind whose entries have this word. None for aliases, which do not come from a step.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The name of one result, for people.
    pub const fn noun(self) -> &'static str {
        match self {
            StepKind::Extraction => "a file",
            StepKind::Base => "the base",
            StepKind::Loader => "the boot loader",
            StepKind::Frames => "compressed contents",
            StepKind::Composition => "the composition of an image",
            StepKind::Image => "the image",
        }
    }

    /// The name of all results of this kind in a store, for people.
    pub const fn plural(self) -> &'static str {
        match self {
            StepKind::Extraction => "files from inputs: archive members, archives of container images",
            StepKind::Base => "bases, with their trees",
            StepKind::Loader => "boot loaders",
            StepKind::Frames => "compressed contents, for images",
            StepKind::Composition => "compositions of images",
            StepKind::Image => "images, with their trees",
        }
    }
}

/// The output of an extraction that has the file.
pub(in crate::build) const FILE: &str = "file";

/// The two bases of a role: the role's is installed on top of the shared one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BasePart {
    /// The packages that all roles of a channel share.
    Ground,
    /// All packages of the role.
    Role,
}

/// The source of compressed clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameSource {
    /// The base whose tree has a text of this digest.
    Base(Sha256),
    /// A content by digest and size in bytes.
    Content(Sha256, u64),
}

/// One cached step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A file from artifacts.
    Extraction(&'a Made),
    /// An installed base.
    Base {
        /// The digest of the packages and all other inputs.
        key: Sha256,
        /// The base that it is.
        part: BasePart,
    },
    /// The boot loader of this key ([`disk::loader_key`]).
    Loader(Sha256),
    /// Compressed clusters.
    Frames(FrameSource),
    /// The composition of the image of this digest.
    Composition(Sha256),
    /// The image of the plan of this key.
    Image(Sha256),
}

impl Step<'_> {
    /// The kind of the step.
    pub fn kind(&self) -> StepKind {
        match self {
            Step::Extraction(_) => StepKind::Extraction,
            Step::Base { .. } => StepKind::Base,
            Step::Loader(_) => StepKind::Loader,
            Step::Frames(_) => StepKind::Frames,
            Step::Composition(_) => StepKind::Composition,
            Step::Image(_) => StepKind::Image,
        }
    }

    /// The digest of all inputs.
    pub fn key(&self) -> Sha256 {
        match self {
            Step::Extraction(made) => made.key(),
            Step::Frames(FrameSource::Base(tree)) => Sha256::of(format!("frames {IMAGE_FORMAT} of the base {tree}")),
            Step::Frames(FrameSource::Content(digest, size)) => Sha256::of(format!("frames {IMAGE_FORMAT} of the content {digest} {size}")),
            Step::Base { key, .. } | Step::Loader(key) | Step::Composition(key) | Step::Image(key) => *key,
        }
    }

    /// The kind's word and the key, as in the name of the action entry.
    pub fn id(&self) -> (String, Sha256) {
        (self.kind().word().to_owned(), self.key())
    }

    /// The result as a part of a role's image, for people.
    pub fn noun(&self, resolved: &Resolved) -> String {
        let file = |made: &Made| extractions(resolved).find(|(_, planned)| *planned == made).map(|(path, _)| path.to_string());
        match self {
            Step::Extraction(made) => file(made).unwrap_or_else(|| made.text()),
            _ => self.kind().noun().to_owned(),
        }
    }
}

/// The steps of a role whose keys follow from its plan, each before those that use its result. The keys of the others,
/// frames and compositions, depend on results ([`crate::build::Bake::derived_steps`]).
pub fn planned_steps(resolved: &Resolved) -> Vec<Step<'_>> {
    let plan = &resolved.plan;
    let mut steps: Vec<Step<'_>> = extractions(resolved).map(|(_, made)| Step::Extraction(made)).collect();
    steps.extend(plan.ground_key().map(|key| Step::Base { key, part: BasePart::Ground }));
    steps.push(Step::Base { key: plan.base_key(), part: BasePart::Role });
    steps.extend(disk::loader_key(resolved).map(Step::Loader));
    steps.push(Step::Image(plan.key()));
    steps
}

/// The files of a plan that come from artifacts.
pub fn extractions(resolved: &Resolved) -> impl Iterator<Item = (&TreePath, &Made)> {
    resolved.plan.files().iter().filter_map(|(path, node)| match &node.kind {
        PlannedKind::Made(made) => Some((path, made)),
        _ => None,
    })
}

/// The file that an extraction's entry names.
pub(in crate::build) fn file_of(action: &Action) -> Option<Blob> {
    action.outputs.get(FILE).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_word_and_is_found_by_it() {
        for kind in StepKind::ALL {
            assert_eq!(StepKind::of_word(kind.word()), Some(kind));
        }
        assert_eq!(StepKind::ALL.map(StepKind::word), ["made", "base", "boot", "frames", "composed", "image"], "stores in use have these");
        assert_eq!(StepKind::of_word("sha512"), None);
    }
}
