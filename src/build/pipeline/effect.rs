//! Checks that each statement of a recipe has an effect on the tree that it applies to. A statement without effect is a
//! mistake that would otherwise show on a machine, months later.

use std::collections::BTreeSet;

use super::overlay::text_of;
use crate::common::document::{Located, nearest};
use crate::common::error::{Error, Result};
use crate::common::tree::{ContentSource, Kind, Tree};
use crate::common::value::TreePath;
use crate::spec::recipe::ModuleName;

/// Statements of recipes that can be checked only against the installed base.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Paths to remove that no other recipe and no kbake code writes.
    pub removals: Vec<Located<TreePath>>,
    /// Kernel modules to load.
    pub modules: Vec<Located<ModuleName>>,
}

impl Effects {
    /// Fails when the base lacks a path to remove or a module to load.
    ///
    /// # Errors
    /// The line of the recipe, with the nearest existing name.
    pub fn check(&self, base: &Tree, source: &dyn ContentSource) -> Result<()> {
        self.removals.iter().try_for_each(|path| removal(base, path))?;
        if self.modules.is_empty() {
            return Ok(());
        }
        let known = modules(base, source)?;
        self.modules.iter().try_for_each(|module| loadable(&known, module))
    }
}

fn removal(base: &Tree, path: &Located<TreePath>) -> Result<()> {
    if base.get(&path.value).is_some() {
        return Ok(());
    }
    let error = path.place.error(format!("the recipe removes {}, which does not exist", path.value));
    Err(match real_path(base, &path.value).or_else(|| sibling(base, &path.value)) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint("`kbake tree ROLE` prints all paths"),
    })
}

/// The path with the links on its way resolved, if they lead to an existing path.
fn real_path(base: &Tree, path: &TreePath) -> Option<TreePath> {
    let mut at = TreePath::root();
    for part in path.components() {
        at = child(&at, part)?;
        if let Some(Kind::Symlink(target)) = base.get(&at).map(|node| &node.kind)
            && at != *path
        {
            let folder = if target.starts_with(b"/") { TreePath::root() } else { at.parent()? };
            at = target.split(|&b| b == b'/').filter(|part| !part.is_empty()).try_fold(folder, |at, part| child(&at, part))?;
        }
    }
    (at != *path && base.get(&at).is_some()).then_some(at)
}

/// The existing path whose name is nearest to the path's first missing name, in the same folder.
fn sibling(base: &Tree, path: &TreePath) -> Option<TreePath> {
    let mut missing = path.clone();
    while let Some(parent) = missing.parent().filter(|parent| base.get(parent).is_none()) {
        missing = parent;
    }
    let folder = missing.parent()?;
    let names: Vec<&str> = base
        .below(&folder)
        .filter(|(other, _)| other.parent().as_ref() == Some(&folder))
        .filter_map(|(other, _)| std::str::from_utf8(other.name()).ok())
        .collect();
    let meant = nearest(std::str::from_utf8(missing.name()).ok()?, names.iter().copied())?;
    child(&folder, meant.as_bytes())
}

fn child(folder: &TreePath, name: &[u8]) -> Option<TreePath> {
    let path = if folder.is_root() { name.to_vec() } else { [folder.as_bytes(), b"/", name].concat() };
    TreePath::parse(&path, false).ok()
}

/// The names of all modules that the image's kernels can load, and of those that are built in.
fn modules(base: &Tree, source: &dyn ContentSource) -> Result<BTreeSet<String>> {
    let stem = |path: &[u8]| {
        let name = path.rsplit(|&b| b == b'/').next().and_then(|name| std::str::from_utf8(name).ok())?;
        name.split_once(".ko").map(|(stem, _)| stem.to_owned())
    };
    let mut known = BTreeSet::new();
    for (path, node) in base.below(&TreePath::fixed("usr/lib/modules")) {
        known.extend(stem(path.as_bytes()));
        if path.name() == b"modules.builtin" && matches!(node.kind, Kind::File(_)) {
            known.extend(text_of(base, source, path)?.lines().filter_map(|line| stem(line.as_bytes())));
        }
    }
    Ok(known)
}

fn loadable(known: &BTreeSet<String>, module: &Located<ModuleName>) -> Result<()> {
    if known.iter().any(|name| module.value.is_called(name)) {
        return Ok(());
    }
    let error: Error = module.place.error(format!("the image's kernel has no module `{}`", module.value));
    Err(match nearest(module.value.as_str(), known.iter().map(String::as_str)) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint("Debian's kernel for virtual machines has fewer modules: `linux-image-amd64` in `packages` has all of them"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::document::open;
    use crate::common::testing::Blobs;
    use crate::common::tree::{Content, Layer, Meta, Node};

    fn base() -> Tree {
        let mut tree = Tree::new(Meta::new(0o755, 0, 0, 1));
        let mut add = |path: &str, kind| {
            tree.insert(TreePath::fixed(path), Node { meta: Meta::new(0o644, 0, 0, 1), kind, layer: Layer::Base }).unwrap();
        };
        let file = |text: &str| Kind::File(Content::Inline(text.as_bytes().into()));
        for folder in ["etc", "etc/cron.daily", "usr", "usr/lib", "usr/lib/modules", "usr/lib/modules/6.1"] {
            add(folder, Kind::Dir);
        }
        add("etc/motd", file("hello"));
        add("etc/cron.daily/dpkg", file("x"));
        add("lib", Kind::Symlink(b"usr/lib".to_vec()));
        add("usr/lib/os-release", file("x"));
        add("usr/lib/modules/6.1/br_netfilter.ko", file("x"));
        add("usr/lib/modules/6.1/nbd.ko.xz", file("x"));
        add("usr/lib/modules/6.1/modules.builtin", file("kernel/fs/ext4/ext4.ko\n"));
        tree
    }

    fn located<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Located<T> {
        open("r.toml", &format!("x = \"{text}\"\n"), "").unwrap().required("x").unwrap()
    }

    fn removing(path: &str) -> Result<(), String> {
        let path = Located { value: TreePath::fixed(path), place: located::<String>("x").place };
        Effects { removals: vec![path], modules: Vec::new() }.check(&base(), &Blobs::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_removal_of_nothing_names_what_is_nearest() {
        for there in ["etc/motd", "etc/cron.daily", "lib"] {
            removing(there).unwrap();
        }
        for (path, words) in [
            ("etc/modt", "did you mean `/etc/motd`?"),
            ("lib/os-release", "did you mean `/usr/lib/os-release`?"),
            ("etc/cron.dayly/dpkg", "did you mean `/etc/cron.daily`?"),
            ("etc/nothing/like/it", "`kbake tree ROLE`"),
        ] {
            let said = removing(path).unwrap_err();
            assert!(
                said.contains(&format!("removes /{path}, which does not exist")) && said.contains(words) && said.contains("r.toml:1"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_module_is_one_that_the_kernel_has() {
        let loading = |name: &str| {
            let effects = Effects { removals: Vec::new(), modules: vec![located(name)] };
            effects.check(&base(), &Blobs::default()).map_err(|error| error.to_string())
        };
        for good in ["br_netfilter", "br-netfilter", "nbd", "ext4"] {
            loading(good).unwrap();
        }
        assert!(loading("br_netfliter").unwrap_err().contains("did you mean `br_netfilter`?"));
        assert!(loading("zfs_and_more").unwrap_err().contains("no module `zfs_and_more`"));
    }
}
