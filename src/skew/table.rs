//! `recipes/compatibility.toml`: text → typed values.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::Result;
use crate::document::{self, Located, Section};
use crate::value::{ArtifactName, ReleaseVersion};

const REMEDY: &str = "keep the lines that you want, and remove the markers";

/// Which versions go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The file's name, for messages.
    pub file: String,
    /// How far programs may be from kube-apiserver.
    pub skew: BTreeMap<ArtifactName, Skew>,
    /// What each Kubernetes needs.
    pub kubernetes: BTreeMap<Minor, Needs>,
    /// Releases that must not be used.
    pub broken: Vec<Broken>,
}

/// How many minor versions a program may be from kube-apiserver's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// At most so many older.
    pub behind: u64,
    /// At most so many newer.
    pub ahead: u64,
}

/// What a minor version of Kubernetes needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// The first good versions, of one line of releases each.
    pub first_good: BTreeMap<ArtifactName, Vec<ReleaseVersion>>,
    /// Whose minor version is Kubernetes' own.
    pub same_minor: Vec<ArtifactName>,
    /// The tags of images that kubeadm asks for.
    pub kubeadm: BTreeMap<ArtifactName, String>,
}

/// Releases that must not be used, the ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Of what.
    pub name: ArtifactName,
    /// The first.
    pub from: ReleaseVersion,
    /// The last.
    pub to: ReleaseVersion,
    /// The first good one after them.
    pub good: ReleaseVersion,
    /// One sentence.
    pub why: String,
}

/// The first two numbers of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minor(pub u64, pub u64);

impl Minor {
    /// Those of a version.
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
        found.filter(|minor| minor.to_string() == text).ok_or_else(|| format!("`{}` is no minor version like 1.36", text.escape_debug()))
    }
}

impl Table {
    /// Reads the table `text`, called `file` in messages.
    ///
    /// # Errors
    /// What is no TOML, unknown or missing keys, bad values and duplicates, with their places.
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

/// A table's keys, as names and as they stand.
fn names(section: &Section) -> Result<Vec<(ArtifactName, String)>> {
    let mut found = Vec::new();
    for key in section.key_names() {
        let place = section.key_place(&key).unwrap_or_else(|| section.place().clone());
        found.push((key.parse().map_err(|why| place.error(why))?, key));
    }
    Ok(found)
}
