//! Recipes and sources: what a person wants, as text without hashes, and the typed values that it means.
//!
//! A recipe ([`Recipe`]) says what a role, or the base that all roles share, contains. A sources file ([`Sources`])
//! says where a channel's artifacts come from and whose signature is believed. No I/O: texts come in by name.

mod entry;
mod name;
mod sources;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::Result;
use crate::document::{self, Located, Place, Section};
use crate::value::{PackageName, RoleName};

pub use entry::{Body, Entry, Intent};
pub use name::{Mode, OwnerName, RecipePath, UnitName};
pub use sources::{ChannelName, Keyring, Sources, Word};

const REMEDY: &str = "keep the lines that you want, remove the markers, then run `kbake lock`";

/// Whom a recipe is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Every role.
    Base,
    /// One role.
    Role(RoleName),
}

/// Files and units that belong together and that kbake's own code writes, by the name that recipes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// An etcd member that takes its settings from the seed.
    Etcd,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Etcd => "etcd",
        })
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "etcd" => Ok(Part::Etcd),
            _ => Err(format!("unknown part `{}`; known: etcd", text.escape_debug())),
        }
    }
}

/// One recipe file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The file's name, for messages.
    pub file: String,
    /// Whom it is for.
    pub subject: Subject,
    /// One sentence for people.
    pub description: String,
    /// What kbake's own code adds, in the order of the text.
    pub parts: Vec<Located<Part>>,
    /// Packages by name, in the order of the text.
    pub packages: Vec<Located<PackageName>>,
    /// Files, folders, links and removals, sorted by path.
    pub entries: Vec<Located<Entry>>,
    /// What systemd starts, or must not.
    pub units: Units,
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
    /// Reads the recipe `text`, called `file` in messages.
    ///
    /// # Errors
    /// Anything that is not TOML, unknown or missing keys, bad values, and duplicates, all with their place.
    pub fn parse(file: &str, text: &str, subject: Subject) -> Result<Self> {
        let mut root = document::open(file, text, REMEDY)?;
        root.only(&["description", "parts", "packages", "file", "dir", "symlink", "remove", "units"])?;
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
        let entries = entry::all(&mut root)?;
        let units = Units::read(&mut root)?;
        Ok(Recipe { file: file.to_owned(), subject, description, parts, packages, entries, units })
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

/// Refuses a value that is listed twice, and shows both places.
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
