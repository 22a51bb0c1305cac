//! Unit presets on a tree, with the effect of `systemctl enable`, `disable` and `mask` on a running machine.
//!
//! Only the `[Install]` section's `WantedBy=`, `RequiredBy=` and `Alias=` are followed
//! ([systemd.unit(5)](https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html#%5BInstall%5D%20Section%20Options)).

use std::collections::BTreeMap;

use super::overlay::text_of;
use crate::common::document::nearest;
use crate::common::error::{Error, Result};
use crate::common::tree::{ContentSource, Kind, Layer, Meta, Node, Tree};
use crate::common::value::{Epoch, TreePath};
use crate::spec::plan::Preset;

/// The folder of the administrator's units and of all links.
pub(in crate::build) const ETC: &str = "etc/systemd/system";
/// The search path for units; the first match wins. Debian 12's `/lib` is a link to `/usr/lib`.
const FOLDERS: [&str; 2] = [ETC, "usr/lib/systemd/system"];

/// Applies `presets` to `tree`.
pub(crate) fn apply(mut tree: Tree, presets: &BTreeMap<String, Preset>, source: &dyn ContentSource, epoch: Epoch) -> Result<Tree> {
    let mut decided: BTreeMap<String, (&str, Preset)> = BTreeMap::new();
    for (named, preset) in presets {
        let found = find(&tree, named, source)?;
        // An alias stands for its unit: links have the unit's name.
        let unit = found.as_ref().map_or(named.as_str(), |found| found.name.as_str()).to_owned();
        if let Some((other, before)) = decided.insert(unit.clone(), (named, *preset))
            && before != *preset
        {
            return Err(Error::user(format!("recipes contradict each other: `{other}` and `{named}` are both `{unit}`"))
                .hint(format!("name it `{unit}` in all recipes, so that the last one applies")));
        }
        let removed = remove_links(&mut tree, &unit);
        match preset {
            Preset::Disable => disable(&tree, named, found, removed, source)?,
            Preset::Mask if found.is_none() && !comes_at_boot(named) => return Err(unknown(&tree, "masks", named)),
            Preset::Mask => link(&mut tree, &format!("{ETC}/{unit}"), "/dev/null", epoch)?,
            Preset::Enable => {
                let file = found.ok_or_else(|| unknown(&tree, "enables", named))?.file;
                enable(&mut tree, &unit, &file, source, epoch)?;
            }
        }
    }
    Ok(tree)
}

/// A unit of the tree.
struct Unit {
    /// The unit's own name, even when it was requested by an alias.
    name: String,
    /// The unit's file; for an instance, the template's.
    file: TreePath,
}

/// Resolves a name to a unit: a unit file, an instance of a template, or an alias.
fn find(tree: &Tree, name: &str, source: &dyn ContentSource) -> Result<Option<Unit>> {
    let mut name = name.to_owned();
    // A cycle of links is no unit.
    for _ in 0..8 {
        if let Some(file) = file_of(tree, &name).or_else(|| file_of(tree, &template(&name)?)) {
            return Ok(Some(Unit { name, file }));
        }
        match alias(tree, &name, source)? {
            Some(real) if real != name => name = real,
            _ => return Ok(None),
        }
    }
    Ok(None)
}

fn in_folder(folder: &str, unit: &str) -> Option<TreePath> {
    TreePath::parse(format!("{folder}/{unit}").as_bytes(), false).ok()
}

fn file_of(tree: &Tree, unit: &str) -> Option<TreePath> {
    let places = FOLDERS.iter().filter_map(|folder| in_folder(folder, unit));
    places.into_iter().find(|path| matches!(tree.get(path).map(|node| &node.kind), Some(Kind::File(_) | Kind::HardLink(_))))
}

/// `getty@tty1.service` → `getty@.service`.
fn template(unit: &str) -> Option<String> {
    let (stem, kind) = unit.rsplit_once('.')?;
    let (name, instance) = stem.split_once('@')?;
    (!instance.is_empty()).then(|| format!("{name}@.{kind}"))
}

/// The unit that a link of this name leads to, or that would get this alias once enabled.
fn alias(tree: &Tree, name: &str, source: &dyn ContentSource) -> Result<Option<String>> {
    for path in FOLDERS.iter().filter_map(|folder| in_folder(folder, name)) {
        if let Some(Kind::Symlink(target)) = tree.get(&path).map(|node| &node.kind) {
            let last = target.rsplit(|&b| b == b'/').next().unwrap_or_default();
            if let Some(real) = std::str::from_utf8(last).ok().filter(|real| *real != name && *real != "null") {
                return Ok(Some(real.to_owned()));
            }
        }
    }
    let kind = name.rsplit('.').next().unwrap_or_default();
    for (path, unit) in unit_files(tree).filter(|(_, unit)| unit.rsplit('.').next() == Some(kind)) {
        if installs(&text_of(tree, source, path)?).iter().any(|link| link == name) {
            return Ok(Some(unit.to_owned()));
        }
    }
    Ok(None)
}

/// All unit files with their names.
fn unit_files(tree: &Tree) -> impl Iterator<Item = (&TreePath, &str)> {
    let folders = FOLDERS.map(TreePath::fixed);
    let files = folders.into_iter().flat_map(|folder| {
        tree.below(&folder).filter(move |(path, node)| path.parent().as_ref() == Some(&folder) && matches!(node.kind, Kind::File(_)))
    });
    files.filter_map(|(path, _)| Some((path, std::str::from_utf8(path.name()).ok()?)))
}

/// Unit types that generators create at boot, from fstab and devices: masking them needs no file.
fn comes_at_boot(unit: &str) -> bool {
    let kind = unit.rsplit('.').next().unwrap_or_default();
    ["mount", "automount", "swap", "device", "scope", "slice"].contains(&kind)
}

fn unknown(tree: &Tree, does: &str, unit: &str) -> Error {
    let error = Error::user(format!("the recipe {does} `{unit}`, which no package or file of the image provides"));
    match nearest(unit, unit_files(tree).map(|(_, name)| name)) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint("add the package to `packages`, or the unit as a [[file]]"),
    }
}

/// Fails when there was nothing to disable: no such unit, or a unit that starts without a link.
fn disable(tree: &Tree, named: &str, found: Option<Unit>, removed: usize, source: &dyn ContentSource) -> Result<()> {
    let Some(unit) = found else { return Err(unknown(tree, "disables", named)) };
    if removed == 0 && !text_of(tree, source, &unit.file)?.lines().any(|line| line.trim() == "[Install]") {
        return Err(Error::user(format!(
            "the recipe disables `{named}`, whose {} has no [Install] section, so this has no effect",
            unit.file
        ))
        .hint(format!("other units start it: disable those, or `mask = [\"{}\"]` so that nothing can", unit.name)));
    }
    Ok(())
}

fn enable(tree: &mut Tree, unit: &str, file: &TreePath, source: &dyn ContentSource, epoch: Epoch) -> Result<()> {
    let wanted = installs(&text_of(tree, source, file)?);
    if wanted.is_empty() {
        return Err(Error::user(format!("the recipe enables `{unit}`, whose {file} has no [Install] section to say when it starts")));
    }
    for name in wanted {
        link(tree, &format!("{ETC}/{}", name.replace('\0', unit)), &file.to_string(), epoch)?;
    }
    Ok(())
}

/// The links that `[Install]` asks for, relative to the unit folder; a NUL stands for the unit's own name.
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

/// Removes every link to the unit that enabling or masking creates. A unit file in the same folder stays. Returns the number
/// of links removed.
fn remove_links(tree: &mut Tree, unit: &str) -> usize {
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
    doomed.len()
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
    use crate::common::testing::Blobs;
    use crate::common::tree::Content;

    fn tree() -> Tree {
        let epoch = Epoch::from_seconds(1).unwrap();
        let mut tree = Tree::new(Meta::new(0o755, 0, 0, 1));
        for (path, text) in [
            ("usr/lib/systemd/system/a.service", "[Service]\nAlias=no\n[Install]\nWantedBy=multi-user.target x.target\nAlias=b.service\n"),
            ("usr/lib/systemd/system/bare.service", "[Service]\n"),
            ("usr/lib/systemd/system/ssh.service", "[Service]\n[Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n"),
            ("usr/lib/systemd/system/getty@.service", "[Service]\n[Install]\nWantedBy=getty.target\n"),
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
        let tree = apply(tree(), &presets, &Blobs::default(), Epoch::from_seconds(1).unwrap())?;
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
        let enabled = apply(tree(), &BTreeMap::from([("a.service".into(), Preset::Enable)]), &Blobs::default(), epoch).unwrap();
        let disabled = apply(enabled, &BTreeMap::from([("a.service".into(), Preset::Disable)]), &Blobs::default(), epoch).unwrap();
        assert!(disabled.iter().all(|(_, node)| !matches!(node.kind, Kind::Symlink(_))));
    }

    #[test]
    fn an_alias_means_the_unit() {
        let wants = format!("/{ETC}/multi-user.target.wants/ssh.service");
        let enabled = links(&[("sshd.service", Preset::Enable)]).unwrap();
        assert_eq!(enabled, [wants, format!("/{ETC}/sshd.service")]);
        assert_eq!(
            links(&[("sshd.service", Preset::Mask)]).unwrap(),
            [format!("/{ETC}/ssh.service")],
            "the alias alone would mask nothing"
        );
        // Packages leave the unit enabled, with the alias as a link.
        let epoch = Epoch::from_seconds(1).unwrap();
        let enabled = || apply(tree(), &BTreeMap::from([("ssh.service".into(), Preset::Enable)]), &Blobs::default(), epoch).unwrap();
        let disabled = apply(enabled(), &BTreeMap::from([("sshd.service".into(), Preset::Disable)]), &Blobs::default(), epoch).unwrap();
        assert!(disabled.iter().all(|(_, node)| !matches!(node.kind, Kind::Symlink(_))));
        let masked = apply(enabled(), &BTreeMap::from([("sshd.service".into(), Preset::Mask)]), &Blobs::default(), epoch).unwrap();
        let left: Vec<_> =
            masked.iter().filter(|(_, node)| matches!(node.kind, Kind::Symlink(_))).map(|(path, _)| path.to_string()).collect();
        assert_eq!(left, [format!("/{ETC}/ssh.service")]);
    }

    #[test]
    fn two_names_of_one_unit_cannot_disagree() {
        let said = links(&[("ssh.service", Preset::Mask), ("sshd.service", Preset::Enable)]).unwrap_err().to_string();
        assert!(said.contains("`ssh.service` and `sshd.service` are both `ssh.service`"), "{said}");
        links(&[("ssh.service", Preset::Mask), ("sshd.service", Preset::Mask)]).unwrap();
    }

    #[test]
    fn an_instance_is_its_template_s() {
        let expected = [format!("/{ETC}/getty.target.wants/getty@tty1.service")];
        assert_eq!(links(&[("getty@tty1.service", Preset::Enable)]).unwrap(), expected);
        assert_eq!(links(&[("getty@tty1.service", Preset::Mask)]).unwrap(), [format!("/{ETC}/getty@tty1.service")]);
        links(&[("getty@tty1.service", Preset::Disable)]).unwrap();
    }

    #[test]
    fn what_would_change_nothing_is_refused() {
        for (unit, preset, words) in [
            ("a.servise", Preset::Enable, "did you mean `a.service`?"),
            ("nonexist.service", Preset::Disable, "disables `nonexist.service`, which no package"),
            ("nonexist.service", Preset::Mask, "masks `nonexist.service`, which no package"),
            ("none@a.service", Preset::Mask, "which no package"),
            ("bare.service", Preset::Disable, "mask = [\"bare.service\"]"),
        ] {
            let said = links(&[(unit, preset)]).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
        // Generators create the unit at boot.
        assert_eq!(links(&[("tmp.mount", Preset::Mask)]).unwrap(), [format!("/{ETC}/tmp.mount")]);
    }

    #[test]
    fn a_unit_that_cannot_start_is_refused() {
        assert!(links(&[("none.service", Preset::Enable)]).unwrap_err().message().contains("which no package"));
        assert!(links(&[("bare.service", Preset::Enable)]).unwrap_err().message().contains("no [Install] section"));
    }
}
