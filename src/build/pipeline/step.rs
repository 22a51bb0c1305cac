//! Cached steps: results of a build that the store keeps, each under a key that covers all of its inputs.
//!
//! Fetching, bundles, roots, verification, repair and the store's summary match over [`Step`], [`StepKind`] or [`StepInput`], so
//! a new variant does not compile until each of them handles it. [`super::realise`] looks steps up, locks, runs and records them.

use super::artifacts::{Artifacts, OwnFile};
use super::disk;
use super::resolve::Resolved;
use crate::common::value::{Digest, Sha256, TreePath};
use crate::spec::lock::Entry as Locked;
use crate::spec::plan::{Extraction, IMAGE_FORMAT, PlannedKind, PulledImage};
use crate::storage::fetch::Want;
use crate::storage::store::{Action, Blob, COMPOSED, FRAMES};

/// The kinds of cached steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StepKind {
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
    pub(crate) const ALL: [StepKind; 6] =
        [StepKind::Extraction, StepKind::Base, StepKind::Loader, StepKind::Frames, StepKind::Composition, StepKind::Image];

    /// The word in the names of its entries, `actions/WORD-KEY.json`: a part of the store's format.
    pub(crate) const fn word(self) -> &'static str {
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
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The name of one result, for people.
    pub(crate) const fn noun(self) -> &'static str {
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
    pub(crate) const fn plural(self) -> &'static str {
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
pub(crate) enum BasePart {
    /// The packages that all roles of a channel share.
    Ground,
    /// All packages of the role.
    Role,
}

/// The source of compressed clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FrameSource {
    /// The base whose tree has a text of this digest.
    Base(Sha256),
    /// A content by digest and size in bytes.
    Content(Sha256, u64),
}

/// One cached step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A file from artifacts.
    Extraction(&'a Extraction),
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

/// An input of steps: bytes that the lockfile names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepInput<'a> {
    /// A package that is installed.
    Package(&'a Locked),
    /// A package that is run or read.
    Tool(&'a Locked),
    /// A publisher's artifact.
    Artifact(&'a Want),
    /// A container image from a registry, or from an archive of the user's.
    ContainerImage(&'a PulledImage),
    /// A local file of the user, by digest.
    OwnFile(Digest, &'a OwnFile),
}

impl<'a> StepInput<'a> {
    fn of_artifact(artifacts: &'a Artifacts, digest: Digest) -> Option<Self> {
        let own = || artifacts.own.get(&digest).map(|own| StepInput::OwnFile(digest, own));
        artifacts.wants.get(&digest).map(StepInput::Artifact).or_else(own)
    }
}

impl<'a> Step<'a> {
    /// The inputs that the step reads. Results of other steps and project files are no inputs.
    pub(crate) fn inputs(&self, resolved: &'a Resolved) -> Vec<StepInput<'a>> {
        let tools = || resolved.tools.iter().map(StepInput::Tool);
        let packages = |part: BasePart| {
            let is_in = move |package: &&Locked| part == BasePart::Role || resolved.plan.is_common(package.name.as_str());
            resolved.packages.iter().filter(is_in).map(StepInput::Package)
        };
        match *self {
            Step::Extraction(Extraction::Pulled(image, _)) => vec![StepInput::ContainerImage(image)],
            Step::Extraction(extraction) => {
                extraction.artifacts().into_iter().filter_map(|digest| StepInput::of_artifact(&resolved.artifacts, digest)).collect()
            }
            // A role's base reads all packages: its ground is installed again when it is lost.
            Step::Base { part, .. } => packages(part).chain(tools()).collect(),
            Step::Loader(_) => tools().collect(),
            // They read results of other steps only.
            Step::Frames(_) | Step::Composition(_) | Step::Image(_) => Vec::new(),
        }
    }
}

impl Step<'_> {
    /// The kind of the step.
    pub(crate) fn kind(&self) -> StepKind {
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
    pub(crate) fn key(&self) -> Sha256 {
        match self {
            Step::Extraction(extraction) => extraction.key(),
            Step::Frames(FrameSource::Base(tree)) => Sha256::of(format!("frames {IMAGE_FORMAT} of the base {tree}")),
            Step::Frames(FrameSource::Content(digest, size)) => Sha256::of(format!("frames {IMAGE_FORMAT} of the content {digest} {size}")),
            Step::Base { key, .. } | Step::Loader(key) | Step::Composition(key) | Step::Image(key) => *key,
        }
    }

    /// The kind's word and the key, as in the name of the action entry.
    pub(crate) fn id(&self) -> (String, Sha256) {
        (self.kind().word().to_owned(), self.key())
    }

    /// The result as a part of a role's image, for people.
    pub(crate) fn noun(&self, resolved: &Resolved) -> String {
        let file =
            |extraction: &Extraction| extractions(resolved).find(|(_, planned)| *planned == extraction).map(|(path, _)| path.to_string());
        match self {
            Step::Extraction(extraction) => file(extraction).unwrap_or_else(|| extraction.text()),
            _ => self.kind().noun().to_owned(),
        }
    }
}

/// The steps of a role whose keys follow from its plan, each before those that use its result. The keys of the others,
/// frames and compositions, depend on results ([`crate::build::Bake::derived_steps`]).
pub(crate) fn planned_steps(resolved: &Resolved) -> Vec<Step<'_>> {
    let plan = &resolved.plan;
    let mut steps: Vec<Step<'_>> = extractions(resolved).map(|(_, extraction)| Step::Extraction(extraction)).collect();
    steps.extend(plan.ground_key().map(|key| Step::Base { key, part: BasePart::Ground }));
    steps.push(Step::Base { key: plan.base_key(), part: BasePart::Role });
    steps.extend(disk::loader_key(resolved).map(Step::Loader));
    steps.push(Step::Image(plan.key()));
    steps
}

/// The files of a plan that come from artifacts.
pub(crate) fn extractions(resolved: &Resolved) -> impl Iterator<Item = (&TreePath, &Extraction)> {
    resolved.plan.files().iter().filter_map(|(path, node)| match &node.kind {
        PlannedKind::Extraction(extraction) => Some((path, extraction)),
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
