//! The inputs of a plan's steps as a list: fetched for a build, kept by roots, contained in bundles, shared with a clean
//! rebuild.

use super::artifacts::{self, OwnFile};
use super::images;
use super::step::{Step, StepInput, planned_steps};
use crate::build::{Bake, Resolved};
use crate::common::error::Result;
use crate::common::value::Digest;
use crate::spec::lock::Entry as Locked;
use crate::storage::fetch::{Source, Want};
use crate::storage::store::Blob;

/// A file that is an input of a plan. A container image is several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its kind.
    pub kind: InputKind,
    /// Its source, with name and digest.
    pub source: InputSource,
    /// Its blob in the store; none when the store lacks it.
    pub blob: Option<Blob>,
}

/// The kinds of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InputKind {
    /// A package that is installed.
    Package,
    /// A package that is run or read during the build.
    Tool,
    /// A publisher's artifact, or a local file of the user.
    Artifact,
    /// A document or layer of a container image.
    ImagePart,
}

/// The sources of inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputSource {
    /// A download.
    Download(Want),
    /// A local file of the user, by digest.
    Own(Digest, OwnFile),
}

impl Input {
    /// The name, for people.
    pub fn name(&self) -> &str {
        match &self.source {
            InputSource::Download(want) => &want.name,
            InputSource::Own(_, own) => own.name.as_str(),
        }
    }

    /// The digest that the lockfile has.
    pub fn digest(&self) -> Digest {
        match &self.source {
            InputSource::Download(want) => want.digest,
            InputSource::Own(digest, _) => *digest,
        }
    }
}

impl Bake<'_> {
    /// All inputs of a plan in the order of [`all_inputs`]. For an image whose documents are not in the store, only the parts
    /// that are known without them. Fetches nothing.
    pub fn inputs(&self, resolved: &Resolved) -> Result<Vec<Input>> {
        let download = |kind, want: Want| (kind, InputSource::Download(want));
        let mut all = Vec::new();
        for input in all_inputs(resolved) {
            match input {
                StepInput::Package(locked) => all.push(download(InputKind::Package, want(locked))),
                StepInput::Tool(locked) => all.push(download(InputKind::Tool, want(locked))),
                StepInput::Artifact(want) => all.push(download(InputKind::Artifact, want.clone())),
                StepInput::ContainerImage(image) => {
                    all.extend(images::known(self, image)?.into_iter().map(|want| download(InputKind::ImagePart, want)));
                }
                StepInput::OwnFile(digest, own) => all.push((InputKind::Artifact, InputSource::Own(digest, own.clone()))),
            }
        }
        let held = |(kind, source): (InputKind, InputSource)| {
            let blob = match &source {
                InputSource::Download(want) => self.store.resolve(&want.digest, want.size)?,
                InputSource::Own(digest, _) => self.store.resolve(digest, None)?,
            };
            Ok(Input { kind, source, blob })
        };
        all.into_iter().map(held).collect()
    }
}

/// All inputs of a plan, each once: packages, tools, artifacts, container images, then the user's own files, each in the order
/// of the lockfile or of the plan.
pub(in crate::build) fn all_inputs(resolved: &Resolved) -> Vec<StepInput<'_>> {
    let mut all: Vec<StepInput> = planned_steps(resolved).iter().flat_map(|step| step.inputs(resolved)).collect();
    // A recipe may override an artifact's file, so that no step reads it. It stays an input: a change of that recipe needs no
    // network then.
    all.extend(resolved.artifacts.wants.values().map(StepInput::Artifact));
    all.extend(artifacts::pulled(&resolved.artifacts).into_iter().map(StepInput::ContainerImage));
    all.extend(resolved.artifacts.own.iter().map(|(digest, own)| StepInput::OwnFile(*digest, own)));
    in_order(resolved, all)
}

/// The inputs of some steps, in the order of [`all_inputs`].
pub(in crate::build) fn inputs_of<'a>(resolved: &'a Resolved, steps: &[Step<'a>]) -> Vec<StepInput<'a>> {
    in_order(resolved, steps.iter().flat_map(|step| step.inputs(resolved)).collect())
}

fn in_order<'a>(resolved: &'a Resolved, mut inputs: Vec<StepInput<'a>>) -> Vec<StepInput<'a>> {
    let artifacts = &resolved.artifacts;
    let pulled = artifacts::pulled(artifacts);
    inputs.sort_by_cached_key(|input| match *input {
        StepInput::Package(locked) => (0, position(&resolved.packages, locked)),
        StepInput::Tool(locked) => (1, position(&resolved.tools, locked)),
        StepInput::Artifact(want) => (2, position(artifacts.wants.values(), want)),
        StepInput::ContainerImage(image) => (3, position(pulled.iter().copied(), image)),
        StepInput::OwnFile(digest, _) => (4, position(artifacts.own.keys(), &digest)),
    });
    inputs.dedup();
    inputs
}

fn position<'a, T: PartialEq + 'a>(all: impl IntoIterator<Item = &'a T>, one: &T) -> Option<usize> {
    all.into_iter().position(|other| other == one)
}

/// The download of a locked package.
pub(in crate::build) fn want(package: &Locked) -> Want {
    Want {
        name: package.name.to_string(),
        source: Source::Pool { archive: package.archive.to_string(), path: package.source.to_string() },
        digest: package.sha256.into(),
        size: Some(package.size),
    }
}

/// The downloads of locked packages.
pub(in crate::build) fn wants<'a>(packages: impl IntoIterator<Item = &'a Locked>) -> Vec<Want> {
    packages.into_iter().map(want).collect()
}
