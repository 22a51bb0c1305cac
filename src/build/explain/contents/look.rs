//! Inspects one item: a package, an artifact, a container image, a file.

use std::collections::BTreeMap;
use std::io::Read;

use super::{Job, Thing};
use crate::build::Bake;
use crate::build::pipeline::contents::VerifiedFile;
use crate::build::pipeline::extract::DEB_MAGIC;
use crate::build::pipeline::{images, unpacked};
use crate::common::error::{Class, Error, Result};
use crate::common::tree::{Content, Kind, Layer, Tree};
use crate::common::value::{Digest, Sha256, TreePath};
use crate::formats::archive::{self, Duplicates, Limits, Parents, Policy, Sink, Verdict};
use crate::formats::inspect::contents::{self, Content as Found};
use crate::formats::oci::overlay;
use crate::spec::plan::PulledImage;
use crate::storage::store::Blob;

/// The contents of one item.
#[derive(Default)]
pub(super) struct Inside {
    /// Contents by path in the item; an item that is one file has the root path.
    pub found: BTreeMap<TreePath, Found>,
    /// The reason why a part of it could not be read.
    pub unread: Option<String>,
}

pub(super) fn look(bake: &Bake, job: &Job) -> Result<Inside> {
    let itself = |bytes: &mut dyn Read| {
        let found = contents::content(&TreePath::root(), bytes).map_err(|e| Error::io(format_args!("read {}", job.id), &e))?;
        Ok(Inside { found: found.into_iter().map(|found| (TreePath::root(), found)).collect(), unread: None })
    };
    match job.thing {
        Thing::Package(entry) => archive(bake, &blob(bake, &entry.sha256.into())?, entry.source.to_string().as_str(), None),
        Thing::Artifact(digest) => itself(&mut reader(bake, &blob(bake, &digest)?.digest)?),
        Thing::Archive(digest) => archive(bake, &blob(bake, &digest)?, &job.id, Some(&|path| job.places.member(path).is_some())),
        Thing::Image(image) => layers(bake, image),
        Thing::Text(mut bytes) => itself(&mut bytes),
        Thing::File(file) => itself(&mut VerifiedFile::open(file)?),
    }
}

fn blob(bake: &Bake, digest: &Digest) -> Result<Blob> {
    bake.store.resolve(digest, None)?.ok_or_else(|| Error::internal(format!("{digest} is gone from the store")))
}

fn reader(bake: &Bake, digest: &Sha256) -> Result<impl Read + use<>> {
    bake.store.reader(digest)?.ok_or_else(|| Error::internal(format!("sha256:{digest} is gone from the store")))
}

/// Files of an archive that are `wanted`: a package's, or a tar's.
fn archive(bake: &Bake, blob: &Blob, what: &str, wanted: Option<&dyn Fn(&TreePath) -> bool>) -> Result<Inside> {
    let policy = Policy {
        devices: Verdict::Allow,
        duplicates: Duplicates::LastWins,
        parents: Parents::Create,
        limits: Limits::default(),
        ..Policy::package(what, Layer::Base)
    };
    let mut start = [0; DEB_MAGIC.len()];
    let stored = bake.store.blob(&blob.digest)?.ok_or_else(|| Error::internal(format!("{what} is gone from the store")))?;
    let got = stored.read_at(&mut start, 0).map_err(|e| Error::io(format_args!("read {what}"), &e))?;
    let mut eye = Eye { wanted, found: BTreeMap::new() };
    let read = match start[..got] == *DEB_MAGIC {
        true => archive::deb::data(reader(bake, &blob.digest)?, &policy, &mut eye),
        false => archive::tar::read(reader(bake, &blob.digest)?, &policy, &mut eye),
    };
    let mut inside = Inside { found: eye.found, unread: None };
    match read {
        Ok(tree) => links(&tree, &mut inside.found, wanted),
        Err(error) => inside.unread = Some(odd(bake, blob.digest, error)?),
    }
    Ok(inside)
}

/// The reason why undamaged bytes cannot be read: the program that installs or imports them may still know how.
fn odd(bake: &Bake, digest: Sha256, error: Error) -> Result<String> {
    let error = match error.class() {
        Class::Integrity => bake.store.explain(error, [digest]),
        _ => return Err(error),
    };
    // The store has put a damaged blob aside by now.
    if bake.store.contains(&digest)? { Ok(error.message().to_owned()) } else { Err(error) }
}

/// Adds wanted hard links to files that were read; the files themselves need not be wanted.
fn links(tree: &Tree, found: &mut BTreeMap<TreePath, Found>, wanted: Option<&dyn Fn(&TreePath) -> bool>) {
    let Some(wanted) = wanted else { return };
    for (path, node) in tree.iter() {
        if let Kind::HardLink(target) = &node.kind
            && wanted(path)
            && let Some(content) = found.get(target).cloned()
        {
            found.insert(path.clone(), content);
        }
    }
}

/// All layers of a container image, merged.
fn layers(bake: &Bake, image: &PulledImage) -> Result<Inside> {
    let mut inside = Inside::default();
    for layer in images::layers(bake, image)? {
        bake.cancel.check()?;
        let mut eye = Eye { wanted: None, found: BTreeMap::new() };
        match archive::tar::read(reader(bake, &layer.digest)?, &unpacked::layer_policy(&image.reference), &mut eye) {
            Ok(tree) => lay(&mut inside.found, &tree, eye.found),
            Err(error) => inside.unread = Some(odd(bake, layer.digest, error)?),
        }
    }
    Ok(inside)
}

/// Merges a layer's contents over those of the layers below.
fn lay(below: &mut BTreeMap<TreePath, Found>, layer: &Tree, found: BTreeMap<TreePath, Found>) {
    for (path, node) in layer.iter().filter(|(path, _)| !path.is_root()) {
        match overlay::hidden(path) {
            Some(hidden) => remove(below, &hidden),
            None if !matches!(node.kind, Kind::Dir) => remove(below, path),
            None => {}
        }
    }
    below.extend(found);
}

fn remove(found: &mut BTreeMap<TreePath, Found>, path: &TreePath) {
    let gone: Vec<TreePath> = found.range(path.clone()..).map(|(path, _)| path.clone()).take_while(|other| other.is_within(path)).collect();
    gone.iter().for_each(|path| drop(found.remove(path)));
}

/// Inspects each file as it is read.
struct Eye<'a> {
    wanted: Option<&'a dyn Fn(&TreePath) -> bool>,
    found: BTreeMap<TreePath, Found>,
}

impl Sink for Eye<'_> {
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content> {
        let found = contents::content(path, bytes).map_err(|e| Error::io(format_args!("read {path}"), &e))?;
        // A later entry of the same path replaces the file.
        self.found.remove(path);
        if let Some(found) = found.filter(|_| self.wanted.is_none_or(|wanted| wanted(path))) {
            self.found.insert(path.clone(), found);
        }
        // The archive reader requires contents of the size that the archive names.
        Ok(Content::Blob { digest: Sha256::of(""), size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::tree::{Meta, Node};
    use crate::formats::inspect::contents::Distribution;

    fn layer(paths: &[&str]) -> (Tree, BTreeMap<TreePath, Found>) {
        let mut tree = Tree::new(Meta::new(0o755, 0, 0, 0));
        let mut found = BTreeMap::new();
        for path in paths {
            let file = TreePath::fixed(path);
            let mut folder = file.parent();
            let mut missing = Vec::new();
            while let Some(path) = folder.filter(|path| tree.get(path).is_none()) {
                folder = path.parent();
                missing.push(path);
            }
            let node = |kind| Node { meta: Meta::new(0o755, 0, 0, 0), kind, layer: Layer::Role };
            missing.into_iter().rev().for_each(|path| tree.insert(path, node(Kind::Dir)).unwrap());
            tree.insert(file.clone(), node(Kind::File(Content::Inline((*b"").into())))).unwrap();
            if !path.contains(".wh.") {
                found.insert(file, Found::Python(Distribution { name: "a".into(), version: "1".into() }));
            }
        }
        (tree, found)
    }

    #[test]
    fn an_upper_layer_hides_what_it_removes_and_replaces() {
        for (upper, expected) in [
            (&[][..], &["a/b/x", "a/b/y", "a/bc", "d"][..]),
            (&["a/b/.wh.x"], &["a/b/y", "a/bc", "d"]),
            (&["a/.wh.b"], &["a/bc", "d"]),
            (&["a/.wh..wh..opq", "a/b/z"], &["a/b/z", "d"]),
            (&[".wh.d", "a/b"], &["a/b", "a/bc"]),
        ] {
            let mut all = BTreeMap::new();
            for paths in [&["a/b/x", "a/b/y", "a/bc", "d"][..], upper] {
                let (tree, found) = layer(paths);
                lay(&mut all, &tree, found);
            }
            let left: Vec<String> = all.keys().map(|path| path.to_string().trim_start_matches('/').to_owned()).collect();
            assert_eq!(left, expected, "{upper:?}");
        }
    }
}
