//! Differences between two installations of the same packages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::inside;
use crate::common::error::Result;
use crate::common::tree::{Content, ContentSource, Kind, Node, Tree};
use crate::common::value::{Sha256, TreePath};

/// A path that differs between the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// The path.
    pub path: TreePath,
    /// The member's path, when the difference is inside an initramfs.
    pub inside: Option<TreePath>,
    /// Description of the difference, for people.
    pub what: &'static str,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        if let Some(inside) = &self.inside {
            write!(f, ", in it {inside}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// A tree and its contents.
type Side<'a> = (&'a Tree, &'a dyn ContentSource);

/// All differences, ordered by path. For an initramfs, the differences of its members.
///
/// # Errors
/// Failures of reading an initramfs.
pub(super) fn between(one: Side<'_>, other: Side<'_>) -> Result<Vec<Difference>> {
    let paths: BTreeSet<&TreePath> = one.0.iter().chain(other.0.iter()).map(|(path, _)| path).collect();
    let mut differences = Vec::new();
    for path in paths {
        let Some(what) = differs(one.0.get(path), other.0.get(path)) else { continue };
        let found = if what == CONTENTS && inside::is_initramfs(path) { initramfs_differences(path, one, other)? } else { Vec::new() };
        if found.is_empty() {
            differences.push(Difference { path: path.clone(), inside: None, what });
        }
        differences.extend(found);
    }
    Ok(differences)
}

const ABSENT: &str = "in one of two installations only";
const CONTENTS: &str = "its contents";

fn differs(one: Option<&Node>, other: Option<&Node>) -> Option<&'static str> {
    let (Some(one), Some(other)) = (one, other) else { return Some(ABSENT) };
    let contents = |node: &Node| match &node.kind {
        Kind::File(Content::Inline(bytes)) => Some(Sha256::of(bytes)),
        Kind::File(Content::Blob { digest, .. }) => Some(*digest),
        _ => None,
    };
    match (&one.kind, &other.kind) {
        (Kind::File(_), Kind::File(_)) if contents(one) != contents(other) => Some(CONTENTS),
        (Kind::File(_), Kind::File(_)) => (one.meta != other.meta).then_some("its owner, mode or time"),
        (Kind::Symlink(one), Kind::Symlink(other)) if one != other => Some("its target"),
        (a, b) if a != b => Some("its type"),
        _ => (one.meta != other.meta).then_some("its owner, mode or time"),
    }
}

/// The members of two initial RAM disks that differ.
fn initramfs_differences(path: &TreePath, one: Side<'_>, other: Side<'_>) -> Result<Vec<Difference>> {
    let list = |(tree, source): Side<'_>| {
        let mut list = BTreeMap::new();
        inside::members(tree, source, path, &mut |inside, member| {
            list.insert(inside, (member.mode, Sha256::of(member.bytes)));
            Ok(())
        })?;
        Ok::<_, crate::common::error::Error>(list)
    };
    let (one, other) = (list(one)?, list(other)?);
    let paths: BTreeSet<&TreePath> = one.keys().chain(other.keys()).collect();
    let differs = |inside: &&TreePath| one.get(*inside) != other.get(*inside);
    let what = |inside: &TreePath| if one.contains_key(inside) && other.contains_key(inside) { CONTENTS } else { ABSENT };
    Ok(paths
        .into_iter()
        .filter(differs)
        .map(|inside| Difference { path: path.clone(), inside: Some(inside.clone()), what: what(inside) })
        .collect())
}
