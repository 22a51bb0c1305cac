//! Who put each path into an image: a package, an artifact, a container image, kbake's own code, or a line of a recipe.
//!
//! Recorded beside the plan while it is resolved, and never part of it: the same bytes may come of other recipes.

use std::collections::BTreeMap;
use std::fmt;

use super::owners::Owners;
use super::resolve::MODULES;
use super::{Bake, Resolved, Stocked, artifacts, authorities, units};
use crate::containerd;
use crate::disk::grub;
use crate::document::{Located, Place};
use crate::error::Result;
use crate::plan::PlannedKind;
use crate::recipe::{Body, Intent, Recipe, Sources};
use crate::tree::{Content, Kind, Layer, Tree};
use crate::value::{ArtifactName, Reference, TreePath};

/// Who put something at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A Debian package.
    Package { name: String, version: Option<String> },
    /// A folder that several packages have.
    Several,
    /// No package has it: a maintainer script or a tool made it while the packages were installed.
    Installation,
    /// The same, and then these recipes' `[[user]]` added their lines.
    Accounts(Vec<Place>),
    /// kbake's own code, in every image.
    Kbake,
    /// kbake's own code, for the part of this name.
    Part(String),
    /// An artifact that a recipe names.
    Artifact { name: ArtifactName, version: Option<String>, by: Place },
    /// The archive of a container image that a recipe names; where it was built, of an artifact.
    Image { name: ArtifactName, reference: Reference, from: Option<ArtifactName>, by: Place },
    /// An entry of a recipe, or a unit that it enables or masks.
    Recipe(Place),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Package { name, version: Some(version) } => write!(f, "package {name} {version}"),
            Origin::Package { name, version: None } => write!(f, "package {name}"),
            Origin::Several => f.write_str("several packages"),
            Origin::Installation => f.write_str("made at installation"),
            Origin::Accounts(places) => {
                f.write_str("made at installation")?;
                places.iter().try_for_each(|place| write!(f, ", {}", Shown(place)))
            }
            Origin::Kbake => f.write_str("kbake"),
            Origin::Part(name) => write!(f, "kbake's part {name}"),
            Origin::Artifact { name, version: Some(version), by } => write!(f, "artifact {name} {version}, {}", Shown(by)),
            Origin::Artifact { name, version: None, by } => write!(f, "artifact {name}, {}", Shown(by)),
            Origin::Image { reference, from: Some(from), by, .. } => write!(f, "image {reference} built of {from}, {}", Shown(by)),
            Origin::Image { reference, from: None, by, .. } => write!(f, "image {reference}, {}", Shown(by)),
            Origin::Recipe(place) => Shown(place).fmt(f),
        }
    }
}

/// `file:line`: columns say nothing about a whole entry.
pub(super) struct Shown<'a>(pub(super) &'a Place);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.file(), self.0.line())
    }
}

/// What is known before anything is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// Of the plan's files.
    pub files: BTreeMap<TreePath, Origin>,
    /// Of the plan's unit presets, by the unit's name.
    pub units: BTreeMap<String, Place>,
    /// Of the plan's accounts, by name.
    pub users: BTreeMap<String, Place>,
    /// Places of removals from the base, by the path as the plan writes it.
    pub cleared: BTreeMap<String, Place>,
    /// The project's files that become files of the plan.
    pub sources: BTreeMap<TreePath, String>,
    /// Who asks for packages and tools by name.
    pub packages: BTreeMap<String, Vec<Place>>,
    /// Where the channel's sources describe an `artifact` or `image` of this name.
    pub described: BTreeMap<(&'static str, ArtifactName), Place>,
    /// The sources file that says for which machine and point in time all is.
    pub frame: String,
}

impl Origins {
    /// All of `paths` that have no origin yet are `origin`'s.
    pub fn rest<'a>(&mut self, paths: impl Iterator<Item = &'a TreePath>, origin: &Origin) {
        for path in paths {
            self.files.entry(path.clone()).or_insert_with(|| origin.clone());
        }
    }

    /// What a recipe itself says overrules all before it.
    pub fn recipe(&mut self, recipe: &Recipe) {
        let menu = recipe.kernel_args.last().map(|last| (grub::MENU_PATH, &last.place));
        let modules = recipe.kernel_modules.last().map(|last| (MODULES, &last.place));
        for (path, place) in menu.into_iter().chain(modules) {
            let path = TreePath::parse(path.as_bytes(), true);
            self.files.extend(path.ok().map(|path| (path, Origin::Recipe(place.clone()))));
        }
        for entry in &recipe.entries {
            let path = &entry.value.path;
            self.files.insert(path.clone(), Origin::Recipe(entry.place.clone()));
            match &entry.value.intent {
                Intent::File { body: Located { value: Body::Source(source), .. }, .. } => {
                    self.sources.insert(path.clone(), format!("recipes/{source}"));
                }
                _ => _ = self.sources.remove(path),
            }
        }
        for package in &recipe.packages {
            self.packages.entry(package.value.to_string()).or_default().push(package.place.clone());
        }
        let units = [&recipe.units.enable, &recipe.units.disable, &recipe.units.mask].into_iter().flatten();
        self.units.extend(units.map(|unit| (unit.value.to_string(), unit.place.clone())));
        self.cleared.extend(recipe.cleared.iter().map(|path| (path.value.to_string(), path.place.clone())));
        self.users.extend(recipe.users.iter().map(|user| (user.value.name.to_string(), user.place.clone())));
    }

    /// What a channel's sources say beside the recipes.
    pub fn channel(&mut self, sources: &Sources) {
        self.frame = sources.suite.place.file().to_owned();
        for tool in &sources.tools {
            self.packages.entry(tool.value.to_string()).or_default().push(tool.place.clone());
        }
        let images = sources.images.iter().map(|(name, image)| (("image", name.clone()), image.place.clone()));
        let artifacts = sources.artifacts.iter().map(|(name, artifact)| (("artifact", name.clone()), artifact.place.clone()));
        self.described = images.chain(artifacts).collect();
    }

    /// Who made a link in the folder of units: a preset, if it is of a unit that one is about. Those of others were
    /// removed before. A link is called after its unit, or is another name that leads to it.
    fn of_link(&self, path: &TreePath, kind: &Kind) -> Option<Origin> {
        let Kind::Symlink(target) = kind else { return None };
        if !path.is_within(&TreePath::fixed(units::ETC)) {
            return None;
        }
        let last = target.rsplit(|&b| b == b'/').next().unwrap_or_default();
        let unit = |name: &[u8]| self.units.get(std::str::from_utf8(name).ok()?);
        unit(path.name()).or_else(|| unit(last)).map(|place| Origin::Recipe(place.clone()))
    }
}

impl Bake<'_> {
    /// Who put each path of `finished` there, which is `resolved`'s tree.
    ///
    /// # Errors
    /// Lists of packages' files that cannot be read.
    pub fn origins(&self, resolved: &Resolved, finished: &Stocked) -> Result<BTreeMap<TreePath, Origin>> {
        let base = self.base(resolved)?;
        let owners = Owners::of(&base.tree, &base.source)?;
        Ok(assemble(resolved, &base.tree, &owners, &finished.tree))
    }
}

/// Container images that lie unpacked in containerd's folder.
struct Stored<'a> {
    /// Their archives' names, by their snapshots.
    files: BTreeMap<&'a str, &'a str>,
}

impl<'a> Stored<'a> {
    fn in_tree(finished: &'a Tree) -> Self {
        let files = match finished.get(&TreePath::fixed(containerd::LIST)).map(|node| &node.kind) {
            Some(Kind::File(Content::Inline(list))) => std::str::from_utf8(list).map(containerd::snapshots_of).unwrap_or_default(),
            _ => BTreeMap::new(),
        };
        Stored { files }
    }

    fn has(&self, path: &TreePath) -> bool {
        !self.files.is_empty() && path.is_within(&TreePath::fixed(containerd::ROOT))
    }

    /// The image whose layer it is; what describes all of them is the part's.
    fn of(&self, path: &TreePath, resolved: &Resolved) -> Origin {
        let file = containerd::snapshot_at(path).and_then(|number| self.files.get(number));
        let image = file.and_then(|file| {
            let at = |path: &TreePath| path.is_within(&TreePath::fixed(artifacts::IMAGES)) && path.name() == file.as_bytes();
            resolved.origins.files.iter().find(|(path, _)| at(path)).map(|(_, origin)| origin.clone())
        });
        image.unwrap_or_else(|| Origin::Part("containerd".to_owned()))
    }
}

fn assemble(resolved: &Resolved, base: &Tree, owners: &Owners, finished: &Tree) -> BTreeMap<TreePath, Origin> {
    let version = |name: &str| {
        let locked = resolved.packages.iter().find(|package| package.name.as_str() == name);
        locked.map(|package| package.version.to_string())
    };
    let planned = |path: &TreePath| resolved.plan.files().get(path).filter(|node| node.kind != PlannedKind::Absent);
    let paths: Vec<_> = finished.iter().collect();
    let mut found: BTreeMap<TreePath, Origin> = BTreeMap::new();
    let images = Stored::in_tree(finished);
    // From the end, so that a folder which was made on the way to a file comes after the file.
    let mut behind = Origin::Installation;
    for (path, node) in paths.into_iter().rev() {
        let known = || planned(path).and_then(|_| resolved.origins.files.get(path).cloned());
        // Only lines of accounts are written into files of the base. What was another name of a file that was removed
        // is a file now too.
        let is_file = |kind: &Kind| matches!(kind, Kind::File(_));
        let changed = || base.get(path).is_some_and(|before| is_file(&before.kind) && before.kind != node.kind);
        let origin = match node.layer {
            Layer::Role if planned(path).is_none() && authorities::is_made(path, &node.kind) => Origin::Kbake,
            Layer::Role if planned(path).is_none() && images.has(path) => images.of(path, resolved),
            Layer::Role => resolved.origins.of_link(path, &node.kind).or_else(known).unwrap_or_else(|| behind.clone()),
            Layer::Base => known().unwrap_or_else(|| match changed() {
                true => Origin::Accounts(resolved.origins.users.values().cloned().collect()),
                false => owners.of_path(path, &version),
            }),
        };
        behind = origin.clone();
        found.insert(path.clone(), origin);
    }
    found
}

#[cfg(test)]
pub(super) mod tests;
