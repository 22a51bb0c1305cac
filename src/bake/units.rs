//! Unit presets on a tree: what `systemctl enable`, `disable` and `mask` would do on the running machine.
//!
//! Only the `[Install]` section's `WantedBy=`, `RequiredBy=` and `Alias=` are followed
//! ([systemd.unit(5)](https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html#%5BInstall%5D%20Section%20Options)).

use std::collections::BTreeMap;

use super::overlay::text_of;
use crate::error::{Error, Result};
use crate::plan::Preset;
use crate::tree::{ContentSource, Kind, Layer, Meta, Node, Tree};
use crate::value::{Epoch, TreePath};

/// Where the administrator's units and all links are.
pub(super) const ETC: &str = "etc/systemd/system";
/// Where units are looked for, the first found wins. Debian 12's `/lib` is a link to `/usr/lib`.
const FOLDERS: [&str; 2] = [ETC, "usr/lib/systemd/system"];

/// Applies `presets` to `tree`.
pub fn apply(mut tree: Tree, presets: &BTreeMap<String, Preset>, source: &dyn ContentSource, epoch: Epoch) -> Result<Tree> {
    for (unit, preset) in presets {
        remove_links(&mut tree, unit);
        match preset {
            Preset::Disable => {}
            Preset::Mask => link(&mut tree, &format!("{ETC}/{unit}"), "/dev/null", epoch)?,
            Preset::Enable => enable(&mut tree, unit, source, epoch)?,
        }
    }
    Ok(tree)
}

fn enable(tree: &mut Tree, unit: &str, source: &dyn ContentSource, epoch: Epoch) -> Result<()> {
    let places = FOLDERS.map(|folder| TreePath::parse(format!("{folder}/{unit}").as_bytes(), false));
    let file = places.into_iter().flatten().find(|path| matches!(tree.get(path).map(|node| &node.kind), Some(Kind::File(_))));
    let Some(file) = file else {
        return Err(Error::user(format!("the recipe enables `{unit}`, which no package or file of the image brings"))
            .hint("add the package to `packages`, or the unit as a [[file]]"));
    };
    let wanted = installs(&text_of(tree, source, &file)?);
    if wanted.is_empty() {
        return Err(Error::user(format!("the recipe enables `{unit}`, whose {file} has no [Install] section to say when it starts")));
    }
    for name in wanted {
        link(tree, &format!("{ETC}/{}", name.replace('\0', unit)), &file.to_string(), epoch)?;
    }
    Ok(())
}

/// The links that `[Install]` asks for, relative to the units' folder; a NUL stands for the unit's own name.
fn installs(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[Install]";
        }
        let Some((key, value)) = line.split_once('=').filter(|_| inside) else { continue };
        for word in value.split_whitespace() {
            match key.trim() {
                "WantedBy" => links.push(format!("{word}.wants/\0")),
                "RequiredBy" => links.push(format!("{word}.requires/\0")),
                "Alias" => links.push(word.to_owned()),
                _ => {}
            }
        }
    }
    links
}

/// Removes every link to the unit that enabling or masking makes. A unit file in the same folder stays.
fn remove_links(tree: &mut Tree, unit: &str) {
    let etc = TreePath::fixed(ETC);
    let ends_in_unit = |target: &[u8]| target.rsplit(|&b| b == b'/').next() == Some(unit.as_bytes());
    let doomed: Vec<TreePath> = tree
        .below(&etc)
        .filter(|(path, node)| match &node.kind {
            Kind::Symlink(target) => path.name() == unit.as_bytes() || ends_in_unit(target),
            _ => false,
        })
        .map(|(path, _)| path.clone())
        .collect();
    doomed.iter().for_each(|path| tree.remove(path));
}

fn link(tree: &mut Tree, path: &str, target: &str, epoch: Epoch) -> Result<()> {
    let path = TreePath::parse(path.as_bytes(), false).map_err(Error::user)?;
    super::overlay::make_parents(tree, &path, epoch)?;
    tree.remove(&path);
    let node = Node { meta: Meta::new(0o777, 0, 0, i64::from(epoch.seconds())), kind: Kind::Symlink(target.into()), layer: Layer::Role };
    tree.insert(path, node).map_err(|refused| Error::user(format!("a unit's link cannot be made: {refused}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Content;

    struct NoBlobs;
    impl ContentSource for NoBlobs {
        fn open(&self, _: &crate::value::Sha256, _: u64) -> std::io::Result<Box<dyn std::io::Read + Send + '_>> {
            Err(std::io::Error::other("all contents are inline"))
        }
    }

    fn tree() -> Tree {
        let epoch = Epoch::from_seconds(1).unwrap();
        let mut tree = Tree::new(Meta::new(0o755, 0, 0, 1));
        for (path, text) in [
            ("usr/lib/systemd/system/a.service", "[Service]\nAlias=no\n[Install]\nWantedBy=multi-user.target x.target\nAlias=b.service\n"),
            ("usr/lib/systemd/system/bare.service", "[Service]\n"),
        ] {
            let path = TreePath::fixed(path);
            super::super::overlay::make_parents(&mut tree, &path, epoch).unwrap();
            let kind = Kind::File(Content::Inline(text.as_bytes().into()));
            tree.insert(path, Node { meta: Meta::new(0o644, 0, 0, 1), kind, layer: Layer::Base }).unwrap();
        }
        tree
    }

    fn links(presets: &[(&str, Preset)]) -> Result<Vec<String>> {
        let presets = presets.iter().map(|(unit, preset)| ((*unit).to_owned(), *preset)).collect();
        let tree = apply(tree(), &presets, &NoBlobs, Epoch::from_seconds(1).unwrap())?;
        Ok(tree.iter().filter(|(_, node)| matches!(node.kind, Kind::Symlink(_))).map(|(path, _)| path.to_string()).collect())
    }

    #[test]
    fn enabling_follows_the_install_section() {
        let expected = ["b.service", "multi-user.target.wants/a.service", "x.target.wants/a.service"];
        assert_eq!(links(&[("a.service", Preset::Enable)]).unwrap(), expected.map(|name| format!("/{ETC}/{name}")));
        assert_eq!(links(&[("a.service", Preset::Mask)]).unwrap(), [format!("/{ETC}/a.service")]);
    }

    #[test]
    fn disabling_removes_every_link() {
        let epoch = Epoch::from_seconds(1).unwrap();
        let enabled = apply(tree(), &BTreeMap::from([("a.service".into(), Preset::Enable)]), &NoBlobs, epoch).unwrap();
        let disabled = apply(enabled, &BTreeMap::from([("a.service".into(), Preset::Disable)]), &NoBlobs, epoch).unwrap();
        assert!(disabled.iter().all(|(_, node)| !matches!(node.kind, Kind::Symlink(_))));
    }

    #[test]
    fn a_unit_that_cannot_start_is_refused() {
        assert!(links(&[("none.service", Preset::Enable)]).unwrap_err().message().contains("which no package"));
        assert!(links(&[("bare.service", Preset::Enable)]).unwrap_err().message().contains("no [Install] section"));
    }
}
