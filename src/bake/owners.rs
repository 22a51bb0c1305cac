//! Which package has which path, by dpkg's own lists in the base
//! ([dpkg-query(1)](https://manpages.debian.org/bookworm/dpkg/dpkg-query.1.en.html) `--search` reads the same).

use std::collections::BTreeMap;

use super::origin::Origin;
use super::overlay::bytes_of;
use crate::error::Result;
use crate::tree::{ContentSource, Kind, Tree};
use crate::value::TreePath;

/// One list of paths for each package, `NAME.list` or `NAME:ARCH.list`.
const INFO: &str = "var/lib/dpkg/info";
/// Files of packages that lie elsewhere, because another package or the administrator wants their place.
const DIVERSIONS: &str = "var/lib/dpkg/diversions";
/// The largest list that is read, in bytes: a kernel's is a few hundred kilobytes.
const LIST_MAX: u64 = 64 << 20;
/// How many links are followed on the way to one folder, as Linux does.
const LINKS_MAX: usize = 40;

/// The packages that have a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// This one.
    One(usize),
    /// More than one.
    Several,
}

/// Who has each path of a base tree.
#[derive(Debug, Default)]
pub struct Owners {
    packages: Vec<String>,
    paths: BTreeMap<TreePath, Owner>,
}

impl Owners {
    /// Reads the lists of a base tree.
    ///
    /// # Errors
    /// A list that cannot be read.
    pub fn of(tree: &Tree, source: &dyn ContentSource) -> Result<Self> {
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

    /// Who has `path`; `version` knows the packages' versions.
    pub fn of_path(&self, path: &TreePath, version: &dyn Fn(&str) -> Option<String>) -> Origin {
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

/// A line of a list; the root stands as `/.`.
fn listed(line: &[u8]) -> Option<TreePath> {
    if line.is_empty() { None } else { TreePath::parse(line, true).ok() }
}

/// Three lines each: the place, where other packages' files go instead, and the package that wanted it (`:` for the
/// administrator).
fn diversions(text: &[u8]) -> BTreeMap<TreePath, (String, TreePath)> {
    let lines: Vec<&[u8]> = text.split(|&b| b == b'\n').collect();
    let one = |lines: &[&[u8]]| {
        let [from, to, by] = lines else { return None };
        Some((listed(from)?, (String::from_utf8(by.to_vec()).ok()?, listed(to)?)))
    };
    lines.chunks(3).filter_map(one).collect()
}

/// Follows the links among a tree's folders: a package's `/lib/x` is `/usr/lib/x` where `/lib` is a link.
struct Walk<'a> {
    tree: &'a Tree,
    /// Folders as they are listed, and where they are.
    folders: BTreeMap<TreePath, TreePath>,
}

impl Walk<'_> {
    /// Where `path` is. A link at its very end is what is meant, and not followed.
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

/// The folder that `path` leads to; none where links go in a circle.
fn follow(tree: &Tree, path: &TreePath) -> Option<TreePath> {
    let mut at = TreePath::root();
    // What is still to be walked, the next part last.
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
