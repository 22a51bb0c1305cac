//! The packages that own each path, from dpkg's lists in the base
//! ([dpkg-query(1)](https://manpages.debian.org/bookworm/dpkg/dpkg-query.1.en.html) `--search` reads the same).

use std::collections::BTreeMap;

use super::origin::Origin;
use super::overlay::bytes_of;
use crate::common::error::Result;
use crate::common::tree::{ContentSource, Kind, Tree};
use crate::common::value::TreePath;

/// The folder with a list of paths for each package, `NAME.list` or `NAME:ARCH.list`.
const INFO: &str = "var/lib/dpkg/info";
/// The list of diversions: files of packages that are installed at another path because another package or the administrator
/// took theirs.
const DIVERSIONS: &str = "var/lib/dpkg/diversions";
/// The largest list that is read, in bytes: a kernel's is a few hundred kilobytes.
const LIST_MAX: u64 = 64 << 20;
/// The maximum number of links followed on the way to one folder, as in Linux.
const LINKS_MAX: usize = 40;

/// The packages that own a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// One package.
    One(usize),
    /// Several packages.
    Several,
}

/// The owners of all paths of a base tree.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    packages: Vec<String>,
    paths: BTreeMap<TreePath, Owner>,
}

impl Owners {
    /// Reads the lists of a base tree.
    ///
    /// # Errors
    /// A list cannot be read.
    pub(crate) fn of(tree: &Tree, source: &dyn ContentSource) -> Result<Self> {
        let diversions = match tree.get(&TreePath::fixed(DIVERSIONS)) {
            Some(_) => diversions(&bytes_of(tree, source, &TreePath::fixed(DIVERSIONS), LIST_MAX)?),
            None => BTreeMap::new(),
        };
        let mut walk = Walk { tree, folders: BTreeMap::new() };
        let mut owners = Owners::default();
        for (list, _) in tree.below(&TreePath::fixed(INFO)) {
            let Some(package) = package_of(list) else { continue };
            let index = owners.packages.len();
            for line in bytes_of(tree, source, list, LIST_MAX)?.split(|&b| b == b'\n') {
                let Some(path) = listed(line) else { continue };
                let path = match diversions.get(&path) {
                    Some((by, to)) if *by != package => to.clone(),
                    _ => path,
                };
                owners.add(walk.real(&path), index);
            }
            owners.packages.push(package);
        }
        Ok(owners)
    }

    fn add(&mut self, path: TreePath, package: usize) {
        let owner = self.paths.entry(path).or_insert(Owner::One(package));
        if *owner != Owner::One(package) {
            *owner = Owner::Several;
        }
    }

    /// The origin of `path`; `version` returns a package's version.
    pub(crate) fn of_path(&self, path: &TreePath, version: &dyn Fn(&str) -> Option<String>) -> Origin {
        match self.paths.get(path) {
            None => Origin::Installation,
            Some(Owner::Several) => Origin::Several,
            Some(Owner::One(index)) => {
                let name = self.packages[*index].clone();
                Origin::Package { version: version(&name), name }
            }
        }
    }
}

/// `…/libc6:amd64.list` → `libc6`.
fn package_of(list: &TreePath) -> Option<String> {
    let stem = list.name().strip_suffix(b".list")?;
    let name = stem.split(|&b| b == b':').next()?;
    String::from_utf8(name.to_vec()).ok().filter(|name| !name.is_empty())
}

/// Parses a line of a list; the root is written as `/.`.
fn listed(line: &[u8]) -> Option<TreePath> {
    if line.is_empty() { None } else { TreePath::parse(line, true).ok() }
}

/// Three lines each: the path, the path that other packages' files are diverted to, and the package that owns the diversion
/// (`:` for the administrator).
fn diversions(text: &[u8]) -> BTreeMap<TreePath, (String, TreePath)> {
    let lines: Vec<&[u8]> = text.split(|&b| b == b'\n').collect();
    let one = |lines: &[&[u8]]| {
        let [from, to, by] = lines else { return None };
        Some((listed(from)?, (String::from_utf8(by.to_vec()).ok()?, listed(to)?)))
    };
    lines.chunks(3).filter_map(one).collect()
}

/// Resolves links among a tree's folders: a package's `/lib/x` is `/usr/lib/x` where `/lib` is a link.
struct Walk<'a> {
    tree: &'a Tree,
    /// Folders as listed, and their real paths.
    folders: BTreeMap<TreePath, TreePath>,
}

impl Walk<'_> {
    /// The real path of `path`. A link in the last component is not followed.
    fn real(&mut self, path: &TreePath) -> TreePath {
        let Some(parent) = path.parent() else { return TreePath::root() };
        if !self.folders.contains_key(&parent) {
            let real = follow(self.tree, &parent).unwrap_or_else(|| parent.clone());
            self.folders.insert(parent.clone(), real);
        }
        child(&self.folders[&parent], path.name()).unwrap_or_else(|| path.clone())
    }
}

fn child(folder: &TreePath, name: &[u8]) -> Option<TreePath> {
    TreePath::parse(&[folder.as_bytes(), b"/", name].concat(), folder.is_root()).ok()
}

/// The folder that `path` leads to; none for a cycle of links.
fn follow(tree: &Tree, path: &TreePath) -> Option<TreePath> {
    let mut at = TreePath::root();
    // The components still to walk, next one last.
    let mut left: Vec<Vec<u8>> = path.as_bytes().split(|&b| b == b'/').rev().map(<[u8]>::to_vec).collect();
    let mut links = 0;
    while let Some(part) = left.pop() {
        match &*part {
            b"" | b"." => continue,
            b".." => {
                at = at.parent().unwrap_or_else(TreePath::root);
                continue;
            }
            _ => {}
        }
        let next = child(&at, &part)?;
        if let Some(Kind::Symlink(target)) = tree.get(&next).map(|node| &node.kind) {
            links += 1;
            if links > LINKS_MAX {
                return None;
            }
            if target.starts_with(b"/") {
                at = TreePath::root();
            }
            left.extend(target.split(|&b| b == b'/').rev().map(<[u8]>::to_vec));
        } else {
            at = next;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::testing::Blobs;
    use crate::common::tree::{Content, Layer, Meta, Node};

    fn tree(nodes: &[(&str, Kind)]) -> Tree {
        let mut tree = Tree::new(Meta::new(0o755, 0, 0, 0));
        for (path, kind) in nodes {
            let path = TreePath::fixed(path);
            crate::build::pipeline::overlay::make_parents(&mut tree, &path, crate::common::value::Epoch::from_seconds(1).unwrap()).unwrap();
            tree.insert(path, Node { meta: Meta::new(0o644, 0, 0, 0), kind: kind.clone(), layer: Layer::Base }).unwrap();
        }
        tree
    }

    fn file(text: &str) -> Kind {
        Kind::File(Content::Inline(text.as_bytes().into()))
    }

    fn link(target: &str) -> Kind {
        Kind::Symlink(target.as_bytes().to_vec())
    }

    #[test]
    fn lists_are_read_as_dpkg_means_them() {
        let tree = tree(&[
            ("lib", link("usr/lib")),
            ("usr/lib/a.so", file("")),
            ("usr/lib/b.so", file("")),
            ("usr/lib/own/x", file("")),
            ("usr/share/man/sh.1", file("")),
            ("usr/share/man/sh.distrib.1", file("")),
            ("usr/share/man/local.1", file("")),
            ("var/lib/dpkg/diversions", file("/usr/share/man/sh.1\n/usr/share/man/sh.distrib.1\ndash\n/lib/b.so\n/lib/c.so\n:\n")),
            ("var/lib/dpkg/info/dash.list", file("/.\n/usr\n/usr/share/man/sh.1\n")),
            ("var/lib/dpkg/info/dash.md5sums", file("/usr/share/man/local.1")),
            ("var/lib/dpkg/info/liba:amd64.list", file("/.\n/usr\n/lib\n/lib/a.so\n/lib/b.so\n/lib/own\n/lib/own/x\n/usr/lib/a.so\n\n")),
            ("var/lib/dpkg/info/posh.list", file("/.\n/lib\n/usr/share/man/sh.1\n")),
        ]);
        let owners = Owners::of(&tree, &Blobs::default()).unwrap();
        let version = |name: &str| (name == "liba").then(|| "1.2".to_owned());
        let shown = |path: &str| owners.of_path(&TreePath::parse(path.as_bytes(), false).unwrap(), &version).to_string();
        for (path, expected) in [
            ("", "several packages"),
            ("usr", "several packages"),
            ("lib", "several packages"),
            ("usr/lib/a.so", "package liba 1.2"),
            ("usr/lib/own", "package liba 1.2"),
            ("usr/lib/own/x", "package liba 1.2"),
            ("usr/share/man/sh.1", "package dash"),
            ("usr/share/man/sh.distrib.1", "package posh"),
            ("usr/lib/b.so", "made at installation"),
            ("usr/share/man/local.1", "made at installation"),
            ("var/lib/dpkg/info/posh.list", "made at installation"),
        ] {
            assert_eq!(shown(path), expected, "{path}");
        }
    }

    #[test]
    fn links_are_followed_to_folders_only() {
        let tree = tree(&[
            ("usr/lib/x", file("")),
            ("lib", link("/usr/lib")),
            ("a/up", link("../lib/.")),
            ("round", link("about")),
            ("about", link("round")),
            ("out", link("../../../usr")),
        ]);
        let real = |path: &str| Walk { tree: &tree, folders: BTreeMap::new() }.real(&TreePath::fixed(path)).to_string();
        assert_eq!(real("lib/x"), "/usr/lib/x");
        assert_eq!(real("lib"), "/lib", "the link itself is someone's");
        assert_eq!(real("a/up/x"), "/usr/lib/x");
        assert_eq!(real("out/lib/x"), "/usr/lib/x", "above the root is the root");
        assert_eq!(real("round/x"), "/round/x", "a circle leads nowhere");
        assert_eq!(real("gone/x"), "/gone/x");
    }

    #[test]
    fn a_base_without_dpkg_has_no_owners() {
        let owners = Owners::of(&tree(&[("etc/x", file(""))]), &Blobs::default()).unwrap();
        assert_eq!(owners.of_path(&TreePath::fixed("etc/x"), &|_| None), Origin::Installation);
    }
}
