//! A layer as an upper folder of overlayfs, as containerd's overlay snapshotter unpacks it
//! ([layers](https://github.com/opencontainers/image-spec/blob/main/layer.md),
//! [overlayfs](https://docs.kernel.org/filesystems/overlayfs.html)).
//!
//! A whiteout becomes a character device 0:0, an opaque whiteout the attribute `trusted.overlay.opaque`. A folder
//! without an entry has the owner and mode that it has in the layers below. A layer that containerd would unpack
//! depending on its order, or through a link, is refused: its archive can still be imported.

use crate::common::tree::{Kind, Layer, Meta, Node, Tree};
use crate::common::value::TreePath;

/// The version of this conversion. Increase it whenever the same layers give other bytes.
pub(crate) const FORMAT: u32 = 1;

/// The prefix of whiteouts: names that remove a file of a lower layer.
pub(super) const WHITEOUT: &[u8] = b".wh.";
/// The opaque whiteout, by which its folder hides everything below.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// The attribute of an opaque folder in overlayfs.
const OPAQUE_ATTRIBUTE: &[u8] = b"trusted.overlay.opaque";
/// The attribute that marks folders without an entry in the layer. No archive can have it: it is in no namespace of
/// Linux's.
const UNNAMED: &[u8] = b"unnamed";

/// The time of folders and whiteouts, in seconds since 1970: containerd would set the time of the import.
const UNTOLD: i64 = 0;

/// The metadata of a folder without an entry, until [`upper`] takes those from below.
pub(crate) fn unnamed() -> Meta {
    let mut meta = Meta::new(0o755, 0, 0, UNTOLD);
    meta.xattrs.insert(UNNAMED.to_vec(), Vec::new());
    meta
}

/// The tree of a layer over `lowers`, the nearest first. Read the layer with [`unnamed`] as the metadata of its root.
///
/// # Errors
/// The reason why containerd's result cannot be predicted.
pub(crate) fn upper(layer: &Tree, lowers: &[&Tree]) -> Result<Tree, String> {
    let mut upper = Tree::new(Meta::new(0o755, 0, 0, UNTOLD));
    let mut links = Vec::new();
    for (path, node) in layer.iter().filter(|(path, _)| !path.is_root()) {
        if let Some(hidden) = path.name().strip_prefix(WHITEOUT) {
            if path.name() != OPAQUE {
                let (path, node) = removal(path, hidden, node)?;
                put(&mut upper, path, node)?;
            } else if let Some(folder) = path.parent().and_then(|folder| upper.meta_mut(&folder)) {
                folder.xattrs.insert(OPAQUE_ATTRIBUTE.to_vec(), b"y".to_vec());
            }
            continue;
        }
        let node = Node { meta: meta(path, node, lowers)?, kind: node.kind.clone(), layer: Layer::Role };
        match node.kind {
            // In path order a hard link may come before its file.
            Kind::HardLink(_) => links.push((path.clone(), node)),
            _ => put(&mut upper, path.clone(), node)?,
        }
    }
    for (path, node) in links {
        put(&mut upper, path, node)?;
    }
    Ok(upper)
}

/// The path that a whiteout hides in the layers below, with everything inside. `None` for other paths.
pub(crate) fn hidden(path: &TreePath) -> Option<TreePath> {
    let folder = path.parent()?;
    match path.name().strip_prefix(WHITEOUT)? {
        _ if path.name() == OPAQUE => Some(folder),
        hidden => TreePath::parse(&[folder.as_bytes(), b"/", hidden].concat(), true).ok(),
    }
}

fn put(tree: &mut Tree, path: TreePath, node: Node) -> Result<(), String> {
    tree.insert(path, node).map_err(|refused| refused.to_string())
}

/// The device that replaces a whiteout.
fn removal(marker: &TreePath, hidden: &[u8], node: &Node) -> Result<(TreePath, Node), String> {
    if hidden.is_empty() || hidden.starts_with(WHITEOUT) || !matches!(node.kind, Kind::File(_)) {
        return Err(format!("{marker}: unknown whiteout"));
    }
    let folder = marker.parent().unwrap_or_else(TreePath::root);
    let path = TreePath::parse(&[folder.as_bytes(), b"/", hidden].concat(), true).map_err(|why| format!("{marker}: {why}"))?;
    let meta = Meta::new(0, node.meta.uid, node.meta.gid, UNTOLD);
    Ok((path, Node { meta, kind: Kind::CharDev { major: 0, minor: 0 }, layer: Layer::Role }))
}

/// The metadata as containerd sets it: without attributes that the kernel refuses or that overlayfs would interpret,
/// and without times before 1970.
fn meta(path: &TreePath, node: &Node, lowers: &[&Tree]) -> Result<Meta, String> {
    let mut meta = node.meta.clone();
    if meta.xattrs.remove(UNNAMED).is_some() {
        return Ok(below(path, lowers)?.unwrap_or(meta));
    }
    let holds_own = matches!(node.kind, Kind::Dir | Kind::File(_) | Kind::HardLink(_));
    let is_kept =
        |name: &[u8]| name.starts_with(b"security.") || name.starts_with(b"system.posix_acl_") || (name.starts_with(b"user.") && holds_own);
    meta.xattrs.retain(|name, _| is_kept(name));
    meta.mtime = meta.mtime.max(0);
    if matches!(node.kind, Kind::Symlink(_)) {
        meta.mode = 0o777;
    }
    Ok(meta)
}

/// The metadata of the nearest lower folder at `path`. A file or a whiteout there ends the search.
fn below(path: &TreePath, lowers: &[&Tree]) -> Result<Option<Meta>, String> {
    for lower in lowers {
        let mut above = path.parent();
        while let Some(folder) = above {
            if matches!(lower.get(&folder).map(|node| &node.kind), Some(Kind::Symlink(_))) {
                return Err(format!("{path}: {folder} is a link in a lower layer"));
            }
            above = folder.parent();
        }
        match lower.get(path) {
            None => {}
            Some(Node { kind: Kind::Symlink(_), .. }) => return Err(format!("{path} is a link in a lower layer")),
            Some(node) if node.kind == Kind::Dir => {
                let mut meta = node.meta.clone();
                meta.xattrs.remove(OPAQUE_ATTRIBUTE);
                return Ok(Some(meta));
            }
            Some(_) => return Ok(None),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::tree::Content;

    fn file() -> Kind {
        Kind::File(Content::Inline(b"x".as_slice().into()))
    }

    fn layer(nodes: &[(&str, Kind, Meta)]) -> Tree {
        let mut tree = Tree::new(unnamed());
        for (path, kind, meta) in nodes {
            tree.insert(TreePath::fixed(path), Node { meta: meta.clone(), kind: kind.clone(), layer: Layer::Role }).unwrap();
        }
        tree
    }

    fn meta(mode: u16) -> Meta {
        Meta::new(mode, 7, 8, 5)
    }

    fn shown(tree: &Tree) -> Vec<String> {
        tree.to_text().lines().map(str::to_owned).collect()
    }

    #[test]
    fn whiteouts_become_overlayfs_devices_and_attributes() {
        let tree = layer(&[
            ("a", Kind::Dir, meta(0o700)),
            ("a/.wh..wh..opq", file(), meta(0)),
            ("a/b", file(), meta(0o644)),
            ("a/c", Kind::HardLink(TreePath::fixed("a/b")), meta(0o644)),
            ("a/.wh.gone", file(), meta(0o644)),
        ]);
        let found = shown(&upper(&tree, &[]).unwrap());
        assert_eq!(found[0], "dir / 0755 0 0 0 - - base");
        assert_eq!(found[1], "dir /a 0700 7 8 5 - - role trusted.overlay.opaque=y");
        assert!(found[2].starts_with("file /a/b 0644 7 8 5 1 "), "{found:?}");
        assert_eq!(found[3], "hardlink /a/c 0644 7 8 5 - /a/b role");
        assert_eq!(found[4], "char /a/gone 0000 7 8 0 - 0:0 role");
    }

    #[test]
    fn unnamed_folders_take_their_metadata_from_below() {
        let nearest = upper(&layer(&[("a", Kind::Dir, meta(0o700)), ("f", file(), meta(0o600))]), &[]).unwrap();
        let lowest = upper(&layer(&[("a", Kind::Dir, meta(0o711)), ("b", Kind::Dir, meta(0o1777))]), &[]).unwrap();
        let paths = ["a", "b", "f", "g"].map(|path| (path, Kind::Dir, unnamed()));
        let found = shown(&upper(&layer(&paths), &[&nearest, &lowest]).unwrap());
        assert_eq!(found[1], "dir /a 0700 7 8 5 - - role");
        assert_eq!(found[2], "dir /b 1777 7 8 5 - - role");
        assert_eq!(found[3], "dir /f 0755 0 0 0 - - role");
        assert_eq!(found[4], "dir /g 0755 0 0 0 - - role");
    }

    #[test]
    fn attributes_are_those_that_containerd_can_set() {
        let mut with = Meta::new(0o755, 0, 0, -5);
        for name in ["trusted.overlay.redirect", "security.capability", "user.a", "system.other", "system.posix_acl_access"] {
            with.xattrs.insert(name.as_bytes().to_vec(), b"1".to_vec());
        }
        let tree = layer(&[("a", file(), with.clone()), ("b", Kind::Symlink(b"a".to_vec()), with)]);
        let upper = upper(&tree, &[]).unwrap();
        let names = |path: &str| upper.get(&TreePath::fixed(path)).unwrap().meta.xattrs.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names("a"), [b"security.capability".as_slice(), b"system.posix_acl_access", b"user.a"]);
        assert_eq!(names("b"), [b"security.capability".as_slice(), b"system.posix_acl_access"]);
        assert_eq!(upper.get(&TreePath::fixed("b")).unwrap().meta.mode, 0o777);
        assert_eq!(upper.get(&TreePath::fixed("a")).unwrap().meta.mtime, 0);
    }

    #[test]
    fn layers_that_depend_on_an_order_or_a_link_are_refused() {
        let refused = |nodes: &[(&str, Kind, Meta)], lower: &Tree| upper(&layer(nodes), &[lower]).unwrap_err();
        let none = layer(&[]);
        let linked = layer(&[("lib", Kind::Symlink(b"usr/lib".to_vec()), meta(0o777))]);
        assert!(refused(&[(".wh.a", file(), meta(0)), ("a", file(), meta(0))], &none).contains("exists already"));
        assert!(refused(&[(".wh..wh.plnk", file(), meta(0))], &none).contains("unknown whiteout"));
        assert!(refused(&[(".wh.", file(), meta(0))], &none).contains("unknown whiteout"));
        assert!(refused(&[(".wh.a", Kind::Dir, meta(0))], &none).contains("unknown whiteout"));
        assert!(refused(&[("lib", Kind::Dir, unnamed())], &linked).contains("is a link in a lower layer"));
    }
}
