//! Builds a tree from entries by a policy. A refusal's reason is the rest of a sentence about the entry, whose name the
//! caller adds.

use std::collections::BTreeMap;

use super::policy::{Duplicates, Parents, Policy, Verdict};
use crate::common::tree::{Content, Kind, Meta, Node, Tree};
use crate::common::value::TreePath;

/// The most entries that may replace earlier ones: each replacement searches the whole tree for hard links.
const REPLACED_MAX: u32 = 1000;
/// The memory cost of a segment of a sparse file, for the limit, in bytes.
const SEGMENT_COST: u64 = 64;

/// A tree under construction.
pub(super) struct Builder<'a> {
    policy: &'a Policy,
    tree: Tree,
    entries: u64,
    meta_bytes: u64,
    replaced: u32,
}

impl<'a> Builder<'a> {
    /// A tree with only a root.
    pub(super) fn new(policy: &'a Policy) -> Self {
        Builder { policy, tree: Tree::new(policy.root.clone()), entries: 1, meta_bytes: 0, replaced: 0 }
    }

    /// The finished tree.
    pub(super) fn finish(self) -> Tree {
        self.tree
    }

    /// Prepares `path` for anything but a folder: creates its parents, and removes a node that may be replaced.
    pub(super) fn make_room(&mut self, path: &TreePath) -> Result<(), String> {
        if path.is_root() {
            return Err("is the root, which must be a folder".into());
        }
        self.count(path)?;
        self.make_parents(path)?;
        match self.tree.get(path).map(|node| &node.kind) {
            None => Ok(()),
            Some(Kind::Dir) => Err("would replace a folder".into()),
            Some(_) if self.policy.duplicates == Duplicates::Refuse => Err("occurs twice".into()),
            Some(_) if self.replaced == REPLACED_MAX => Err(format!("occurs twice, after {REPLACED_MAX} others that did")),
            Some(_) => {
                self.replaced += 1;
                self.tree.remove(path);
                Ok(())
            }
        }
    }

    /// Adds a folder, or replaces the metadata of an existing one.
    pub(super) fn folder(&mut self, path: TreePath, meta: Meta) -> Result<(), String> {
        self.charge_attributes(&meta)?;
        match self.tree.get(&path).map(|node| &node.kind) {
            Some(Kind::Dir) => {
                // Counted anyway: an archive could repeat one name endlessly.
                self.count(&path)?;
                *self.tree.meta_mut(&path).expect("it was just found") = meta;
                Ok(())
            }
            Some(_) => Err("is a folder, but was something else before".into()),
            None => {
                self.count(&path)?;
                self.make_parents(&path)?;
                self.insert(path, meta, Kind::Dir)
            }
        }
    }

    /// Adds anything but a folder, after [`Builder::make_room`].
    pub(super) fn put(&mut self, path: TreePath, meta: Meta, kind: Kind) -> Result<(), String> {
        self.charge_attributes(&meta)?;
        match &kind {
            Kind::Symlink(target) => self.charge(target.len() as u64)?,
            Kind::HardLink(target) => self.charge(target.as_bytes().len() as u64)?,
            Kind::File(Content::Inline(bytes)) => self.charge(bytes.len() as u64)?,
            Kind::File(Content::Sparse { segments, .. }) => self.charge(segments.len() as u64 * SEGMENT_COST)?,
            Kind::CharDev { .. } | Kind::BlockDev { .. } | Kind::Fifo | Kind::Socket if self.policy.devices == Verdict::Refuse => {
                return Err("is a device or pipe, which are not allowed here".into());
            }
            _ => {}
        }
        self.insert(path, meta, kind)
    }

    /// Refuses a file that would run with more privileges than its caller, if the policy forbids it.
    pub(super) fn check_rights(&self, meta: &Meta) -> Result<(), String> {
        if self.policy.privileged == Verdict::Allow {
            return Ok(());
        }
        if meta.mode & 0o6000 != 0 {
            return Err(format!("is setuid or setgid (mode {:04o}), which is not allowed here", meta.mode));
        }
        if meta.xattrs.contains_key(b"security.capability".as_slice()) {
            return Err("has file capabilities, which are not allowed here".into());
        }
        Ok(())
    }

    /// Resolves a hard link at `path` with the target `name`: the file that comes first in the archive, and its
    /// metadata, because they share an inode.
    pub(super) fn link_target(&self, path: &TreePath, name: &[u8]) -> Result<(TreePath, Meta), String> {
        if name.is_empty() {
            return Err("is a hard link to nothing".into());
        }
        let named = TreePath::parse(name, false).map_err(|reason| format!("is a hard link, whose target {reason}"))?;
        let target = match self.tree.get(&named).map(|node| &node.kind) {
            Some(Kind::HardLink(first)) => first.clone(),
            Some(Kind::File(_)) => named,
            Some(_) => return Err(format!("is a hard link to {named}, which is not a file")),
            None => return Err(format!("is a hard link to {named}, which is not before it in the archive")),
        };
        if target == *path {
            return Err("is a hard link to itself".into());
        }
        let meta = self.tree.get(&target).ok_or("is a hard link to nothing")?.meta.clone();
        Ok((target, meta))
    }

    fn insert(&mut self, path: TreePath, meta: Meta, kind: Kind) -> Result<(), String> {
        self.tree.insert(path, Node { meta, kind, layer: self.policy.layer }).map_err(|refused| format!("cannot be placed: {refused}"))
    }

    fn make_parents(&mut self, path: &TreePath) -> Result<(), String> {
        let mut missing = Vec::new();
        let mut above = path.parent();
        while let Some(folder) = above {
            match self.tree.get(&folder).map(|node| &node.kind) {
                Some(Kind::Dir) => break,
                Some(Kind::Symlink(_)) => return Err(format!("goes through the symbolic link {folder}")),
                Some(_) => return Err(format!("is in {folder}, which is not a folder")),
                None if self.policy.parents == Parents::Refuse => {
                    return Err(format!("is in {folder}, which is not before it in the archive"));
                }
                None => above = folder.parent(),
            }
            missing.push(folder);
        }
        for folder in missing.into_iter().rev() {
            self.count(&folder)?;
            self.insert(folder, self.policy.root.clone(), Kind::Dir)?;
        }
        Ok(())
    }

    fn count(&mut self, path: &TreePath) -> Result<(), String> {
        let limits = &self.policy.limits;
        if path.components().count() > limits.depth {
            return Err(format!("is more than {} folders deep", limits.depth));
        }
        if self.entries == limits.entries {
            return Err(format!("exceeds the limit of {} entries", limits.entries));
        }
        self.entries += 1;
        self.charge(path.as_bytes().len() as u64)
    }

    fn charge_attributes(&mut self, meta: &Meta) -> Result<(), String> {
        let cost = |xattrs: &BTreeMap<Vec<u8>, Vec<u8>>| xattrs.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum();
        self.charge(cost(&meta.xattrs))
    }

    fn charge(&mut self, bytes: u64) -> Result<(), String> {
        self.meta_bytes = self.meta_bytes.saturating_add(bytes);
        if self.meta_bytes > self.policy.limits.meta_bytes {
            return Err(format!("exceeds the limit of {} bytes of names and attributes", self.policy.limits.meta_bytes));
        }
        Ok(())
    }
}
