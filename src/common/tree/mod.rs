//! A filesystem as a value: the kind, owner, mode, time and contents' digest of every path.
//!
//! No I/O: contents are referenced, not held (except small rendered files). Every tree is consistent: each node's
//! parent is a directory, hard links point at files, and iteration is in path order.

mod node;
pub(crate) mod pack;
mod source;
pub(crate) mod text;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

pub use node::{Content, Kind, Layer, Meta, Node, Segment};
pub use source::ContentSource;

use crate::common::value::TreePath;

/// A filesystem, from its root down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<TreePath, Node>,
}

/// The reason why a node cannot be inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The parent does not exist.
    NoParent(TreePath),
    /// The parent is not a directory.
    ParentNotDir(TreePath),
    /// The path exists already.
    Exists(TreePath),
    /// The target of a hard link is not a regular file in this tree.
    BadLink(TreePath),
    /// The root must be a directory.
    Root,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::NoParent(path) => write!(f, "{path}: its folder is not in the tree"),
            Refused::ParentNotDir(path) => write!(f, "{path}: its parent is not a folder"),
            Refused::Exists(path) => write!(f, "{path}: exists already"),
            Refused::BadLink(path) => write!(f, "{path}: a hard link must point at a regular file"),
            Refused::Root => write!(f, "/: the root must be a folder"),
        }
    }
}

impl Tree {
    /// A tree with only a root.
    pub fn new(root: Meta) -> Self {
        let node = Node { meta: root, kind: Kind::Dir, layer: Layer::Base };
        Tree { nodes: BTreeMap::from([(TreePath::root(), node)]) }
    }

    /// Inserts a node at a free path. A hard link's target must exist, and must not be a hard link itself.
    pub fn insert(&mut self, path: TreePath, node: Node) -> Result<(), Refused> {
        let Some(parent) = path.parent() else { return Err(Refused::Root) };
        match self.nodes.get(&parent).map(|node| &node.kind) {
            None => return Err(Refused::NoParent(path)),
            Some(Kind::Dir) => {}
            Some(_) => return Err(Refused::ParentNotDir(path)),
        }
        let bad_link = match &node.kind {
            Kind::HardLink(target) => !matches!(self.nodes.get(target).map(|node| &node.kind), Some(Kind::File(_))),
            _ => false,
        };
        match self.nodes.entry(path) {
            Entry::Occupied(there) => Err(Refused::Exists(there.key().clone())),
            Entry::Vacant(free) if bad_link => Err(Refused::BadLink(free.into_key())),
            Entry::Vacant(free) => {
                free.insert(node);
                Ok(())
            }
        }
    }

    /// The node at `path`.
    pub fn get(&self, path: &TreePath) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// The metadata at `path` for changes, if the path exists.
    pub fn meta_mut(&mut self, path: &TreePath) -> Option<&mut Meta> {
        self.nodes.get_mut(path).map(|node| &mut node.meta)
    }

    /// All metadata for changes, in path order.
    pub fn metas_mut(&mut self) -> impl Iterator<Item = (&TreePath, &mut Meta)> {
        self.nodes.iter_mut().map(|(path, node)| (path, &mut node.meta))
    }

    /// Removes `path` and everything inside it (the root itself stays). Hard links elsewhere that point inside survive:
    /// the first of them becomes the file.
    pub fn remove(&mut self, path: &TreePath) {
        let doomed: Vec<TreePath> = self.below(path).map(|(path, _)| path.clone()).collect();
        for gone in doomed.into_iter().filter(|path| !path.is_root()) {
            let Some(node) = self.nodes.remove(&gone) else { continue };
            if !matches!(node.kind, Kind::File(_)) {
                continue;
            }
            let mut heirs: Vec<TreePath> = self
                .nodes
                .iter()
                .filter(|(heir, other)| matches!(&other.kind, Kind::HardLink(target) if *target == gone) && !heir.is_within(path))
                .map(|(heir, _)| heir.clone())
                .collect();
            if heirs.is_empty() {
                continue;
            }
            let first = heirs.remove(0);
            for heir in heirs {
                self.nodes.get_mut(&heir).expect("it was just listed").kind = Kind::HardLink(first.clone());
            }
            self.nodes.insert(first, node);
        }
    }

    /// All nodes in path order, the root first: each folder before its contents.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Node)> {
        self.nodes.iter()
    }

    /// `path` and everything inside it, in path order.
    pub fn below<'a>(&'a self, path: &TreePath) -> impl Iterator<Item = (&'a TreePath, &'a Node)> + use<'a> {
        let top = path.clone();
        self.nodes.range(path.clone()..).take_while(move |(path, _)| path.is_within(&top))
    }

    /// The number of nodes, including the root.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Always false: a tree has at least its root.
    pub fn is_empty(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::fixed(text)
    }

    fn node(kind: Kind) -> Node {
        Node { meta: Meta::new(0o755, 0, 0, 0), kind, layer: Layer::Base }
    }

    #[test]
    fn inconsistent_nodes_are_refused() {
        let mut tree = Tree::new(Meta::new(0o755, 0, 0, 0));
        assert_eq!(tree.insert(path("a/b"), node(Kind::Dir)), Err(Refused::NoParent(path("a/b"))));
        tree.insert(path("a"), node(Kind::Symlink(b"/etc".to_vec()))).unwrap();
        assert_eq!(tree.insert(path("a/b"), node(Kind::Dir)), Err(Refused::ParentNotDir(path("a/b"))), "never through a link");
        assert_eq!(tree.insert(path("a"), node(Kind::Dir)), Err(Refused::Exists(path("a"))));
        assert_eq!(tree.insert(path("h"), node(Kind::HardLink(path("a")))), Err(Refused::BadLink(path("h"))));
        assert_eq!(tree.insert(TreePath::root(), node(Kind::Fifo)), Err(Refused::Root));
    }

    #[test]
    fn a_removed_file_survives_in_its_hard_links() {
        let mut tree = Tree::new(Meta::new(0o755, 0, 0, 0));
        tree.insert(path("d"), node(Kind::Dir)).unwrap();
        tree.insert(path("d/f"), node(Kind::File(Content::Inline(b"x".as_slice().into())))).unwrap();
        tree.insert(path("e"), node(Kind::HardLink(path("d/f")))).unwrap();
        tree.insert(path("g"), node(Kind::HardLink(path("d/f")))).unwrap();
        tree.remove(&path("d"));
        assert!(matches!(&tree.get(&path("e")).unwrap().kind, Kind::File(_)));
        assert_eq!(tree.get(&path("g")).unwrap().kind, Kind::HardLink(path("e")));
        assert_eq!(tree.len(), 3);
    }
}
