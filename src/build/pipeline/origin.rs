//! Origins of paths as far as recipes and sources determine them. They are recorded beside the plan while it is resolved,
//! and are never part of it: other recipes may give the same bytes.

use std::collections::BTreeMap;
use std::fmt;

use super::units;
use crate::common::document::{Located, Place};
use crate::common::tree::Kind;
use crate::common::value::{ArtifactName, Reference, TreePath};
use crate::formats::disk::grub;
use crate::spec::recipe::{Body, Intent, Recipe, Sources};

/// The file that lists the recipes' kernel modules.
pub(in crate::build) const MODULES: &str = "etc/modules-load.d/kernel-modules.conf";

/// The origin of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A Debian package.
    Package {
        /// The package's name.
        name: String,
        /// The package's locked version; none if it is not in the lock.
        version: Option<String>,
    },
    /// A folder that several packages share.
    Several,
    /// No package ships it: a maintainer script or a tool created it during installation.
    Installation,
    /// Created by the installation; these recipes' `[[user]]` entries added lines.
    Accounts(Vec<Place>),
    /// kbake's own code, in every image.
    Kbake,
    /// kbake's own code, for the part of this name.
    Part(String),
    /// An artifact that a recipe names.
    Artifact {
        /// The artifact's name in the recipe.
        name: ArtifactName,
        /// The artifact's locked version, or its package's; none for a file without one.
        version: Option<String>,
        /// The place in the recipe that names the artifact.
        by: Place,
    },
    /// The archive of a container image that a recipe names.
    Image {
        /// The image's name in the recipe.
        name: ArtifactName,
        /// The image's full name.
        reference: Reference,
        /// The artifact that the image was built from; none for a pulled image.
        from: Option<ArtifactName>,
        /// The place in the recipe that names the image.
        by: Place,
    },
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

/// `file:line`; an entry has no column.
pub(in crate::build) struct Shown<'a>(pub(in crate::build) &'a Place);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.file(), self.0.line())
    }
}

/// Origins that are known before anything is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// Origins of the plan's files.
    pub files: BTreeMap<TreePath, Origin>,
    /// Origins of the plan's unit presets, by the unit's name.
    pub units: BTreeMap<String, Place>,
    /// Origins of the plan's accounts, by name.
    pub users: BTreeMap<String, Place>,
    /// Places of removals from the base, by the path as the plan writes it.
    pub cleared: BTreeMap<String, Place>,
    /// The project's files that become files of the plan.
    pub sources: BTreeMap<TreePath, String>,
    /// The recipe lines that ask for packages and tools by name.
    pub packages: BTreeMap<String, Vec<Place>>,
    /// The place of an `artifact` or `image` in the channel's sources, by name.
    pub described: BTreeMap<(&'static str, ArtifactName), Place>,
    /// The sources file, which sets architecture and snapshot time.
    pub frame: String,
}

impl Origins {
    /// Gives `origin` to all of `paths` that have none yet.
    pub fn rest<'a>(&mut self, paths: impl Iterator<Item = &'a TreePath>, origin: &Origin) {
        for path in paths {
            self.files.entry(path.clone()).or_insert_with(|| origin.clone());
        }
    }

    /// Records a recipe's own entry; it overrides earlier origins.
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

    /// Records the origins that a channel's sources add.
    pub fn channel(&mut self, sources: &Sources) {
        self.frame = sources.suites.first().map(|suite| suite.place.file().to_owned()).unwrap_or_default();
        for tool in &sources.tools {
            self.packages.entry(tool.value.to_string()).or_default().push(tool.place.clone());
        }
        let images = sources.images.iter().map(|(name, image)| (("image", name.clone()), image.place.clone()));
        let artifacts = sources.artifacts.iter().map(|(name, artifact)| (("artifact", name.clone()), artifact.place.clone()));
        self.described = images.chain(artifacts).collect();
    }

    /// The preset behind a link in the unit folder: that of the link's own name, or of the unit that the link leads to. Links
    /// of other units were removed before.
    pub(in crate::build) fn of_link(&self, path: &TreePath, kind: &Kind) -> Option<Origin> {
        let Kind::Symlink(target) = kind else { return None };
        if !path.is_within(&TreePath::fixed(units::ETC)) {
            return None;
        }
        let last = target.rsplit(|&b| b == b'/').next().unwrap_or_default();
        let unit = |name: &[u8]| self.units.get(std::str::from_utf8(name).ok()?);
        unit(path.name()).or_else(|| unit(last)).map(|place| Origin::Recipe(place.clone()))
    }
}
