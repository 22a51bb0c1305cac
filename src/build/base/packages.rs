//! The order of installation, from the packages' control data. Pure.
//!
//! [Debian policy, chapters 5 and 7](https://www.debian.org/doc/debian-policy/ch-relationships.html).

use std::collections::{BTreeMap, BTreeSet};

use crate::common::error::{Error, Result};
use crate::formats::archive::deb::Control;

/// The packages before all others: they create `/etc/passwd`, `/var/lib` and the like for the rest.
const FIRST: &[&str] = &["base-passwd", "base-files"];
/// The control fields that decide a package's place in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    /// Its name.
    pub name: String,
    /// `Essential: yes`.
    pub essential: bool,
    /// `Pre-Depends`: one list of alternatives each, names only.
    pub pre_depends: Vec<Vec<String>>,
    /// `Depends`, likewise.
    pub depends: Vec<Vec<String>>,
    /// `Provides`, names only.
    pub provides: Vec<String>,
}

impl Package {
    /// Reads the fields from the package's control data.
    pub(super) fn of(control: &Control) -> Self {
        let list = |name: &str| alternatives(control.field(name).unwrap_or_default());
        Package {
            name: control.package().to_owned(),
            essential: control.field("Essential") == Some("yes"),
            pre_depends: list("Pre-Depends"),
            depends: list("Depends"),
            provides: list("Provides").into_iter().flatten().collect(),
        }
    }
}

impl Package {
    /// All its dependencies.
    fn needs(&self) -> impl Iterator<Item = &Vec<String>> {
        self.pre_depends.iter().chain(&self.depends)
    }
}

/// True for a name that Debian allows, which also needs no quoting in any shell.
pub(super) fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    first && name.len() >= 2 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
}

/// `a (>= 1) | b:any, c` as `[[a, b], [c]]`.
fn alternatives(field: &str) -> Vec<Vec<String>> {
    let name = |one: &str| one.trim().split([' ', '\n', '(', '[', ':']).next().unwrap_or_default().to_owned();
    let group = |group: &str| group.split('|').map(name).filter(|name| !name.is_empty()).collect::<Vec<_>>();
    field.split(',').map(group).filter(|group| !group.is_empty()).collect()
}

/// The steps of an installation, as package names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Steps {
    /// Essential packages and all their dependencies, in the order in which `dpkg` takes them.
    pub essential: Vec<String>,
    /// All others, in steps: a package's `Pre-Depends` are installed in earlier steps. Within a step dpkg unpacks all packages
    /// and then orders their configuration.
    pub rest: Vec<Vec<String>>,
}

/// Splits the packages into steps.
///
/// # Errors
/// There is no essential package, or a dependency of one is missing.
pub(super) fn steps(all: &BTreeMap<String, Package>) -> Result<Steps> {
    let incomplete = |what: String| {
        Error::user(format!("the locked packages do not form a base system: {what}")).hint("run `kbake lock` to resolve them again")
    };
    let mut open: Vec<&str> = all.values().filter(|one| one.essential).map(|one| one.name.as_str()).collect();
    if open.is_empty() {
        return Err(incomplete("none of them is essential".into()));
    }
    let mut first: BTreeSet<&str> = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !first.insert(name) {
            continue;
        }
        for group in all[name].needs() {
            let Some(found) = satisfier(all, group) else {
                return Err(incomplete(format!("`{name}` needs {}", group.join(" or "))));
            };
            open.push(found);
        }
    }
    let ahead = FIRST.iter().copied().filter(|name| first.contains(name));
    let others = first.iter().copied().filter(|name| !FIRST.contains(name));
    let essential = ahead.chain(others).map(str::to_owned).collect();
    let others = all.keys().map(String::as_str).filter(|name| !first.contains(name)).collect();
    let rest = in_steps(all, others).into_iter().map(|step| step.into_iter().map(str::to_owned).collect()).collect();
    Ok(Steps { essential, rest })
}

/// The steps of an installation on top of a system that has all other dependencies of these packages.
pub(super) fn further(all: &BTreeMap<String, Package>) -> Steps {
    let rest = in_steps(all, all.keys().map(String::as_str).collect());
    Steps { essential: Vec::new(), rest: rest.into_iter().map(|step| step.into_iter().map(str::to_owned).collect()).collect() }
}

/// Splits `open` so that each package's `Pre-Depends` are in earlier steps. Packages outside of `open` are installed already.
fn in_steps<'a>(all: &'a BTreeMap<String, Package>, mut open: BTreeSet<&'a str>) -> Vec<BTreeSet<&'a str>> {
    let mut steps = Vec::new();
    while !open.is_empty() {
        let ahead = needed_before(all, &open);
        // A package that must be unpacked before itself: dpkg will say so.
        let last = if ahead.len() == open.len() { BTreeSet::new() } else { ahead };
        steps.push(open.difference(&last).copied().collect());
        open = last;
    }
    steps.reverse();
    steps
}

/// The packages of `open` that must be configured before others of `open` can be unpacked.
fn needed_before<'a>(all: &'a BTreeMap<String, Package>, open: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let found = |group: &Vec<String>| satisfier(all, group).filter(|name| open.contains(name));
    let mut next: Vec<&str> = open.iter().flat_map(|name| &all[*name].pre_depends).filter_map(found).collect();
    let mut before = BTreeSet::new();
    while let Some(name) = next.pop() {
        if before.insert(name) {
            next.extend(all[name].needs().filter_map(found));
        }
    }
    before
}

/// The first alternative that exists by its own name, else the first package that provides one.
fn satisfier<'a>(all: &'a BTreeMap<String, Package>, group: &[String]) -> Option<&'a str> {
    let real = group.iter().find_map(|name| all.get(name));
    let virtual_ = || group.iter().find_map(|name| all.values().find(|one| one.provides.contains(name)));
    real.or_else(virtual_).map(|one| one.name.as_str())
}
