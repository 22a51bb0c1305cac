//! The inputs of a plan as a list: bundles contain them, roots keep them, and they can be fetched again.

use super::{artifacts, fetch, images};
use crate::build::{Bake, Resolved};
use crate::common::error::Result;
use crate::storage::fetch::Want;
use crate::storage::store::Blob;

/// A file that is fetched for a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its kind.
    pub kind: InputKind,
    /// Its download, with name and digest.
    pub want: Want,
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

impl Bake<'_> {
    /// All inputs of a plan: packages, tools, artifacts, then images, each in the order of the plan. For an image whose
    /// documents are not in the store, only the parts that are known without them. Fetches nothing.
    pub fn inputs(&self, resolved: &Resolved) -> Result<Vec<Input>> {
        let mut wants: Vec<(InputKind, Want)> = Vec::new();
        wants.extend(fetch::wants(resolved.packages.iter()).into_iter().map(|want| (InputKind::Package, want)));
        wants.extend(fetch::wants(resolved.tools.iter()).into_iter().map(|want| (InputKind::Tool, want)));
        wants.extend(resolved.artifacts.wants.values().map(|want| (InputKind::Artifact, want.clone())));
        for image in artifacts::pulled(&resolved.artifacts) {
            wants.extend(images::known(self, image)?.into_iter().map(|want| (InputKind::ImagePart, want)));
        }
        let held = |(kind, want): (InputKind, Want)| {
            let blob = self.store.resolve(&want.digest, want.size)?;
            Ok(Input { kind, want, blob })
        };
        wants.into_iter().map(held).collect()
    }
}
