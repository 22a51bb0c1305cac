//! Paths of a base that no package ships, by name or by contents.

use std::collections::BTreeSet;
use std::fmt;

use super::super::overlay::bytes_of;
use super::{FILE_MAX, NewBase, inside};
use crate::build::base;
use crate::build::pipeline::origin::Origin;
use crate::build::pipeline::owners::Owners;
use crate::common::error::Result;
use crate::common::tree::{Content, Kind, Node};
use crate::common::value::{Sha256, TreePath};
use crate::formats::archive::cpio::Member;

/// The file in which debconf keeps the answers to packages' questions.
const ANSWERS: &str = "var/cache/debconf/config.dat";

/// A path that installation created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CreatedPath {
    /// The path in the tree.
    pub path: TreePath,
    /// The member's path, when it is inside an initramfs.
    pub inside: Option<TreePath>,
    /// True when it is known to be reproducible.
    pub known: bool,
    /// Contents that the tree does not have: those of initramfs members.
    held: Option<Vec<u8>>,
    /// True when the tree has contents for it.
    is_file: bool,
}

impl fmt::Display for CreatedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        self.inside.as_ref().map_or(Ok(()), |inside| write!(f, ", in it {inside}"))
    }
}

impl CreatedPath {
    /// Its contents, if it is a file that is not shipped.
    pub(super) fn bytes(&self, new_base: &NewBase<'_>) -> Result<Option<Vec<u8>>> {
        match &self.held {
            Some(bytes) => Ok(Some(bytes.clone())),
            None if self.is_file => bytes_of(&new_base.installed.tree, new_base.source, &self.path, FILE_MAX).map(Some),
            None => Ok(None),
        }
    }
}

/// The paths that neither a package nor the ground has, in order.
pub(super) fn of(new_base: &NewBase<'_>) -> Result<Vec<CreatedPath>> {
    let tree = &new_base.installed.tree;
    let owners = Owners::of(tree, new_base.source)?;
    let contents = Contents::of(new_base);
    let mut created = Vec::new();
    for (path, node) in tree.iter() {
        let stood = new_base.ground.and_then(|ground| ground.get(path)).is_some_and(|before| before.kind == node.kind);
        let is_owned = owners.of_path(path, &|_| None) != Origin::Installation;
        let is_shipped = contents.has(&node.kind);
        if stood || path.is_root() || is_owned && is_shipped {
            continue;
        }
        if inside::is_initramfs(path) && matches!(node.kind, Kind::File(_)) {
            created.extend(members_of(new_base, path, &contents)?);
            continue;
        }
        let known = is_known(new_base, path, node)?;
        created.push(CreatedPath {
            path: path.clone(),
            inside: None,
            known,
            held: None,
            is_file: !is_shipped && matches!(node.kind, Kind::File(_)),
        });
    }
    Ok(created)
}

fn is_known(new_base: &NewBase<'_>, path: &TreePath, node: &Node) -> Result<bool> {
    if path.as_bytes() == ANSWERS.as_bytes() {
        return Ok(base::answers_are_known(&bytes_of(&new_base.installed.tree, new_base.source, path, FILE_MAX)?));
    }
    Ok(base::is_known(path, &node.kind))
}

/// Contents and names that packages, the ground or the tree have.
struct Contents<'a> {
    shipped: &'a BTreeSet<Sha256>,
    ground: BTreeSet<Sha256>,
    all: BTreeSet<Sha256>,
    names: BTreeSet<&'a [u8]>,
}

impl<'a> Contents<'a> {
    fn of(new_base: &'a NewBase<'_>) -> Self {
        let tree = &new_base.installed.tree;
        let digests = |tree: &crate::common::tree::Tree| tree.iter().filter_map(|(_, node)| digest_of(&node.kind)).collect::<BTreeSet<_>>();
        Contents {
            shipped: &new_base.installed.shipped,
            ground: new_base.ground.map(digests).unwrap_or_default(),
            all: digests(tree),
            names: tree.iter().map(|(path, _)| path.name()).collect(),
        }
    }

    /// True when a package or the ground has these contents. Inline contents are the normaliser's own.
    fn has(&self, kind: &Kind) -> bool {
        match kind {
            Kind::File(Content::Blob { size: 0, .. } | Content::Inline(_)) => true,
            Kind::File(Content::Blob { digest, .. }) => self.shipped.contains(digest) || self.ground.contains(digest),
            Kind::File(Content::Sparse { .. }) => false,
            _ => true,
        }
    }

    /// True when the root has the name and the contents of an initramfs member.
    fn has_inside(&self, path: &TreePath, member: &Member<'_>) -> bool {
        let is_content = || {
            let digest = Sha256::of(member.bytes);
            self.shipped.contains(&digest) || self.all.contains(&digest)
        };
        self.names.contains(path.name()) && (!member.is_file() || member.bytes.is_empty() || is_content())
    }
}

fn digest_of(kind: &Kind) -> Option<Sha256> {
    match kind {
        Kind::File(Content::Blob { digest, .. }) => Some(*digest),
        _ => None,
    }
}

/// The members of an initramfs that the root does not have.
fn members_of(new_base: &NewBase<'_>, path: &TreePath, contents: &Contents<'_>) -> Result<Vec<CreatedPath>> {
    let mut created = Vec::new();
    inside::members(&new_base.installed.tree, new_base.source, path, &mut |inside, member| {
        if !inside.is_root() && !contents.has_inside(&inside, &member) {
            let held = member.is_file().then(|| member.bytes.to_vec());
            let known = base::is_known_inside(&inside);
            created.push(CreatedPath { path: path.clone(), inside: Some(inside), known, held, is_file: false });
        }
        Ok(())
    })?;
    Ok(created)
}
