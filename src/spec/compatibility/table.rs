//! `recipes/compatibility.toml`: text → typed values.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::Result;
use crate::common::document::{self, Located, Section};
use crate::common::value::{ArtifactName, ReleaseVersion};

const REMEDY: &str = "keep the lines that you want, and remove the markers";

/// The table of compatible versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The file's name, for messages.
    pub file: String,
    /// The allowed version skew of programs relative to kube-apiserver.
    pub skew: BTreeMap<ArtifactName, Skew>,
    /// The requirements of each version of Kubernetes.
    pub kubernetes: BTreeMap<Minor, Needs>,
    /// Releases that must not be used.
    pub broken: Vec<Broken>,
}

/// The allowed number of minor versions between a program and kube-apiserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// The maximum number of older ones.
    pub behind: u64,
    /// The maximum number of newer ones.
    pub ahead: u64,
}

/// The requirements of a minor version of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// The first good version of each release line.
    pub first_good: BTreeMap<ArtifactName, Vec<ReleaseVersion>>,
    /// Programs whose minor version must equal Kubernetes'.
    pub same_minor: Vec<ArtifactName>,
    /// The tags of images that kubeadm asks for.
    pub kubeadm: BTreeMap<ArtifactName, String>,
}

/// A range of releases that must not be used, inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The program.
    pub name: ArtifactName,
    /// The first release.
    pub from: ReleaseVersion,
    /// The last release.
    pub to: ReleaseVersion,
    /// The first good one after them.
    pub good: ReleaseVersion,
    /// The reason, as one sentence.
    pub why: String,
}

/// The first two numbers of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minor(pub u64, pub u64);

impl Minor {
    /// The minor version of `version`.
    pub fn of(version: &ReleaseVersion) -> Self {
        Minor(version.major(), version.minor())
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for Minor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = text.parse::<ReleaseVersion>().ok().map(|version| Minor::of(&version));
        found.filter(|minor| minor.to_string() == text).ok_or_else(|| format!("`{}` is not a minor version like 1.36", text.escape_debug()))
    }
}

impl Table {
    /// Parses the table `text`, called `file` in messages.
    ///
    /// # Errors
    /// Invalid TOML, unknown or missing keys, bad values and duplicates, with their places.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut root = document::open(file, text, REMEDY)?;
        root.only(&["skew", "kubernetes", "broken"])?;
        let mut skew = BTreeMap::new();
        if let Some(mut section) = root.section("skew")? {
            for (name, key) in names(&section)? {
                if let Some(mut one) = section.section(&key)? {
                    one.only(&["behind", "ahead"])?;
                    skew.insert(name, Skew { behind: one.number("behind")?.value, ahead: one.number("ahead")?.value });
                }
            }
        }
        let mut kubernetes = BTreeMap::new();
        for mut section in root.sections("kubernetes")? {
            let minor: Located<Minor> = section.required("minor")?;
            let needs = Needs::read(&mut section)?;
            if kubernetes.insert(minor.value, needs).is_some() {
                return Err(minor.place.error(format!("Kubernetes {} is described twice", minor.value)));
            }
        }
        let broken = root.sections("broken")?.iter_mut().map(Broken::read).collect::<Result<_>>()?;
        Ok(Table { file: file.to_owned(), skew, kubernetes, broken })
    }
}

impl Needs {
    fn read(section: &mut Section) -> Result<Self> {
        section.only(&["minor", "same-minor", "kubeadm", "needs"])?;
        let same_minor = section.list("same-minor")?.into_iter().map(|name| name.value).collect();
        let mut kubeadm = BTreeMap::new();
        if let Some(mut tags) = section.section("kubeadm")? {
            for (name, key) in names(&tags)? {
                kubeadm.insert(name, tags.required::<String>(&key)?.value);
            }
        }
        let mut first_good = BTreeMap::new();
        if let Some(mut needs) = section.section("needs")? {
            for (name, key) in names(&needs)? {
                let mut versions: Vec<ReleaseVersion> = needs.list(&key)?.into_iter().map(|version| version.value).collect();
                if versions.is_empty() {
                    return Err(needs.missing(&key));
                }
                versions.sort();
                first_good.insert(name, versions);
            }
        }
        Ok(Needs { first_good, same_minor, kubeadm })
    }
}

impl Broken {
    fn read(section: &mut Section) -> Result<Self> {
        section.only(&["name", "from", "to", "good", "why"])?;
        let broken = Broken {
            name: section.required("name")?.value,
            from: section.required("from")?.value,
            to: section.required("to")?.value,
            good: section.required("good")?.value,
            why: section.required("why")?.value,
        };
        match broken.from <= broken.to && broken.to < broken.good {
            true => Ok(broken),
            false => Err(section.place().error("`from`, `to` and `good` must be in this order")),
        }
    }
}

/// A table's keys, as names and as written.
fn names(section: &Section) -> Result<Vec<(ArtifactName, String)>> {
    let mut found = Vec::new();
    for key in section.key_names() {
        let place = section.key_place(&key).unwrap_or_else(|| section.place().clone());
        found.push((key.parse().map_err(|why| place.error(why))?, key));
    }
    Ok(found)
}
