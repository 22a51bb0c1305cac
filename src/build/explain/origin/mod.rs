//! The origin of each path of an image: a package, an artifact, a container image, kbake's own code, or a line of a recipe.

use std::collections::BTreeMap;

use crate::build::pipeline::origin::Origin;
use crate::build::pipeline::owners::Owners;
use crate::build::pipeline::{artifacts, authorities};
use crate::build::{Bake, Filesystem, Resolved};
use crate::common::error::Result;
use crate::common::tree::{Content, Kind, Layer, Tree};
use crate::common::value::TreePath;
use crate::formats::containerd;
use crate::spec::plan::PlannedKind;

impl Bake<'_> {
    /// The origins of all paths of `finished`, the tree of `resolved`.
    ///
    /// # Errors
    /// A package's file list cannot be read.
    pub fn origins(&self, resolved: &Resolved, finished: &Filesystem) -> Result<BTreeMap<TreePath, Origin>> {
        let base = self.base(resolved)?;
        let owners = Owners::of(&base.tree, &base.contents)?;
        Ok(assemble(resolved, &base.tree, &owners, &finished.tree))
    }
}

/// Container images unpacked in containerd's folder.
struct Stored<'a> {
    /// Their archives' names, by snapshot.
    files: BTreeMap<&'a str, &'a str>,
}

impl<'a> Stored<'a> {
    fn in_tree(finished: &'a Tree) -> Self {
        let files = match finished.get(&TreePath::fixed(containerd::LIST)).map(|node| &node.kind) {
            Some(Kind::File(Content::Inline(list))) => std::str::from_utf8(list).map(containerd::snapshots_of).unwrap_or_default(),
            _ => BTreeMap::new(),
        };
        Stored { files }
    }

    fn has(&self, path: &TreePath) -> bool {
        !self.files.is_empty() && path.is_within(&TreePath::fixed(containerd::ROOT))
    }

    /// A layer's path comes from its image; a file that describes all images comes from the part.
    fn of(&self, path: &TreePath, resolved: &Resolved) -> Origin {
        let file = containerd::snapshot_at(path).and_then(|number| self.files.get(number));
        let image = file.and_then(|file| {
            let at = |path: &TreePath| path.is_within(&TreePath::fixed(artifacts::IMAGES)) && path.name() == file.as_bytes();
            resolved.origins.files.iter().find(|(path, _)| at(path)).map(|(_, origin)| origin.clone())
        });
        image.unwrap_or_else(|| Origin::Part("containerd".to_owned()))
    }
}

fn assemble(resolved: &Resolved, base: &Tree, owners: &Owners, finished: &Tree) -> BTreeMap<TreePath, Origin> {
    let version = |name: &str| {
        let locked = resolved.packages.iter().find(|package| package.name.as_str() == name);
        locked.map(|package| package.version.to_string())
    };
    let planned = |path: &TreePath| resolved.plan.files().get(path).filter(|node| node.kind != PlannedKind::Absent);
    let paths: Vec<_> = finished.iter().collect();
    let mut found: BTreeMap<TreePath, Origin> = BTreeMap::new();
    let images = Stored::in_tree(finished);
    // Backwards, so that a parent folder created for a file is handled after the file.
    let mut behind = Origin::Installation;
    for (path, node) in paths.into_iter().rev() {
        let known = || planned(path).and_then(|_| resolved.origins.files.get(path).cloned());
        // Accounts are the only change to files of the base. A hard link whose other name was removed is a regular file now
        // too.
        let is_file = |kind: &Kind| matches!(kind, Kind::File(_));
        let changed = || base.get(path).is_some_and(|before| is_file(&before.kind) && before.kind != node.kind);
        let origin = match node.layer {
            Layer::Role if planned(path).is_none() && authorities::is_made(path, &node.kind) => Origin::Kbake,
            Layer::Role if planned(path).is_none() && images.has(path) => images.of(path, resolved),
            Layer::Role => resolved.origins.of_link(path, &node.kind).or_else(known).unwrap_or_else(|| behind.clone()),
            Layer::Base => known().unwrap_or_else(|| match changed() {
                true => Origin::Accounts(resolved.origins.users.values().cloned().collect()),
                false => owners.of_path(path, &version),
            }),
        };
        behind = origin.clone();
        found.insert(path.clone(), origin);
    }
    found
}

#[cfg(test)]
pub(in crate::build) mod tests;
