//! What a plan is made of, as a list: everything that a bundle takes along, that a root keeps, and that can be fetched
//! again.

use super::{Bake, Resolved, artifacts, images, pantry};
use crate::error::Result;
use crate::fetch::Want;
use crate::store::Blob;

/// One thing that is fetched for a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// What it is.
    pub kind: InputKind,
    /// How it is fetched, with its name and digest.
    pub want: Want,
    /// Where it is in the store; none when it is not there.
    pub blob: Option<Blob>,
}

/// The sorts of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InputKind {
    /// A package that is installed.
    Package,
    /// A package that is run or read at bake time.
    Tool,
    /// A publisher's artifact, or a user's own.
    Artifact,
    /// A document or layer of a container image.
    ImagePart,
}

impl Bake<'_> {
    /// All inputs of a plan: packages, tools, artifacts, then images, each in the order of the plan. Of an image whose
    /// documents are not in the store, only what is known without them. Nothing is fetched.
    pub fn inputs(&self, resolved: &Resolved) -> Result<Vec<Input>> {
        let mut wants: Vec<(InputKind, Want)> = Vec::new();
        wants.extend(pantry::wants(resolved.packages.iter()).into_iter().map(|want| (InputKind::Package, want)));
        wants.extend(pantry::wants(resolved.tools.iter()).into_iter().map(|want| (InputKind::Tool, want)));
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
