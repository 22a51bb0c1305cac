//! Recipes and sources, which people write: text without hashes, and their typed values.
//!
//! A recipe ([`Recipe`]) lists the contents of a role, or of the base that all roles share. A sources file ([`Sources`]) names
//! the origins of a channel's artifacts and its trusted signing keys. No I/O: texts come in by name.

mod artifact;
mod effect;
mod entry;
mod kernel;
mod layer;
mod name;
mod sources;
mod suite;
#[cfg(test)]
mod tests;
mod user;

use std::collections::BTreeMap;

use crate::Result;
use crate::common::document::{self, Located, Place, Section};
use crate::common::value::{ArtifactName, PackageName, RoleName, TreePath};

pub(crate) use artifact::{Artifact, Image, ImageContent, Install, MemberPath, Origin, Release, Unpack, version};
pub(crate) use effect::AUTHORITIES;
pub(crate) use entry::{Body, Entry, FileMode, Intent};
pub(crate) use kernel::{KernelArg, ModuleName};
pub(crate) use layer::{base_layers, role_layers};
pub(crate) use name::{ChannelName, Mode, OwnerName, RecipePath, UnitName, Word};
pub use sources::Sources;
pub(crate) use suite::{Archive, Keyring, Suite, archives, check_mirrors};
pub(crate) use user::User;

const REMEDY: &str = "keep the lines that you want, remove the markers, then run `kbake lock`";

/// The target of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Every role.
    Base,
    /// The roles that list this part.
    Part(RoleName),
    /// One role.
    Role(RoleName),
}

/// Parts of roles that kbake's own code renders, by the name of the recipe `recipes/parts/<name>.toml`, which lists the rest of
/// the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Add-ons that are applied to the API of a new cluster.
    Addons,
    /// The container runtime containerd.
    Containerd,
    /// API server, controller manager, scheduler and etcd as static pods.
    ControlPlane,
    /// The container runtime CRI-O.
    Crio,
    /// An etcd member under systemd, with its settings in the seed.
    Etcd,
    /// The load balancer in front of the API servers.
    Gateway,
    /// kubeadm's requirements.
    Kubeadm,
    /// Service addresses on a node.
    KubeProxy,
    /// The kubelet, which runs pods on a node.
    Kubelet,
}

impl Part {
    const ALL: [(&str, Part); 9] = [
        ("addons", Part::Addons),
        ("containerd", Part::Containerd),
        ("control-plane", Part::ControlPlane),
        ("crio", Part::Crio),
        ("etcd", Part::Etcd),
        ("gateway", Part::Gateway),
        ("kube-proxy", Part::KubeProxy),
        ("kubeadm", Part::Kubeadm),
        ("kubelet", Part::Kubelet),
    ];

    /// The part of this recipe name, if kbake's own code has one.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Part::ALL.iter().find(|(known, _)| *known == name).map(|(_, part)| *part)
    }
}

/// One recipe file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The file's name, for messages.
    pub file: String,
    /// Its target.
    pub subject: Subject,
    /// One sentence for people.
    pub description: String,
    /// Its parts, in the order of the text. A part has none itself.
    pub parts: Vec<Located<RoleName>>,
    /// Packages by name, in the order of the text.
    pub packages: Vec<Located<PackageName>>,
    /// Artifacts of the channel to install, in the order of the text.
    pub artifacts: Vec<Located<ArtifactName>>,
    /// Container images of the channel to preload, in the order of the text.
    pub images: Vec<Located<ArtifactName>>,
    /// Accounts to create unless a package did, in the order of the text.
    pub users: Vec<Located<User>>,
    /// Files, folders, links and removals, sorted by path.
    pub entries: Vec<Located<Entry>>,
    /// Paths that are removed from the base when its packages are installed, sorted.
    pub cleared: Vec<Located<TreePath>>,
    /// The states of units at boot.
    pub units: Units,
    /// Arguments for the kernel, after kbake's own and those of earlier recipes.
    pub kernel_args: Vec<Located<KernelArg>>,
    /// Modules to load at boot.
    pub kernel_modules: Vec<Located<ModuleName>>,
}

/// The unit presets of a recipe, each in the order of the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Units {
    /// Started at boot.
    pub enable: Vec<Located<UnitName>>,
    /// Not started by itself.
    pub disable: Vec<Located<UnitName>>,
    /// Never started.
    pub mask: Vec<Located<UnitName>>,
}

impl Recipe {
    /// Parses the recipe `text`, called `file` in messages.
    ///
    /// # Errors
    /// Invalid TOML, unknown or missing keys, bad values, and duplicates, all with their place.
    pub fn parse(file: &str, text: &str, subject: Subject) -> Result<Self> {
        let mut root = document::open(file, text, REMEDY)?;
        let mut known =
            vec!["description", "packages", "artifacts", "images", "user", "file", "dir", "symlink", "remove", "clear", "units"];
        known.extend(["kernel-args", "kernel-modules", "ca-certificates"]);
        if !matches!(subject, Subject::Part(_)) {
            known.push("parts");
        }
        root.only(&known)?;
        if let Subject::Role(role) = &subject
            && ["base", "tool"].contains(&role.as_str())
        {
            return Err(root
                .place()
                .error(format!("a role cannot be called `{role}`: the lockfile uses that word"))
                .hint("rename the file"));
        }
        let description = root.required::<String>("description")?.value;
        let parts = root.list("parts")?;
        refuse_twins(&parts, "part")?;
        let packages = root.list("packages")?;
        refuse_twins(&packages, "package")?;
        let artifacts = root.list("artifacts")?;
        refuse_twins(&artifacts, "artifact")?;
        let images = root.list("images")?;
        refuse_twins(&images, "container image")?;
        let users = user::all(&mut root)?;
        let entries = entry::all(&mut root)?;
        let cleared = entry::cleared(&mut root)?;
        let units = Units::read(&mut root)?;
        let kernel_args = root.list("kernel-args")?;
        refuse_twins(&kernel_args, "kernel argument")?;
        let kernel_modules = root.list("kernel-modules")?;
        refuse_twins(&kernel_modules, "kernel module")?;
        let file = file.to_owned();
        Ok(Recipe {
            file,
            subject,
            description,
            parts,
            packages,
            artifacts,
            images,
            users,
            entries,
            cleared,
            units,
            kernel_args,
            kernel_modules,
        })
    }
}

impl Units {
    fn read(root: &mut Section) -> Result<Self> {
        let Some(mut section) = root.section("units")? else { return Ok(Units::default()) };
        section.only(&["enable", "disable", "mask"])?;
        let units = Units { enable: section.list("enable")?, disable: section.list("disable")?, mask: section.list("mask")? };
        let all: Vec<_> = [&units.enable, &units.disable, &units.mask].into_iter().flatten().cloned().collect();
        refuse_twins(&all, "unit")?;
        Ok(units)
    }
}

/// Refuses a repeated value, and shows both places.
fn refuse_twins<T: Ord + std::fmt::Display>(items: &[Located<T>], what: &str) -> Result<()> {
    let mut seen: BTreeMap<&T, &Place> = BTreeMap::new();
    for item in items {
        if let Some(first) = seen.insert(&item.value, &item.place) {
            let error = item.place.error(format!("the {what} `{}` is listed twice", item.value));
            return Err(first.note(error, "first here"));
        }
    }
    Ok(())
}
