//! The packages' own words: which of them must be installed first. Pure.
//!
//! [Debian policy, chapters 5 and 7](https://www.debian.org/doc/debian-policy/ch-relationships.html).

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::unpack::deb::Control;

/// What comes before all others: it makes `/etc/passwd`, `/var/lib` and the like for the rest.
const FIRST: &[&str] = &["base-passwd", "base-files"];
/// What must be in the first step, besides the essential packages, so that the second can be run at all.
const INSTALLER: &str = "apt";

/// What decides a package's place in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// `Essential: yes`.
    pub essential: bool,
    /// `Pre-Depends` and `Depends`: one list of alternatives each, names only.
    pub depends: Vec<Vec<String>>,
    /// `Provides`, names only.
    pub provides: Vec<String>,
}

impl Package {
    /// From the package's own description.
    pub fn of(control: &Control) -> Self {
        let list = |name: &str| alternatives(control.field(name).unwrap_or_default());
        let mut depends = list("Pre-Depends");
        depends.extend(list("Depends"));
        Package {
            name: control.package().to_owned(),
            essential: control.field("Essential") == Some("yes"),
            depends,
            provides: list("Provides").into_iter().flatten().collect(),
        }
    }
}

/// Whether `name` is one that Debian allows: it also needs no quoting in any shell.
pub fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    first && name.len() >= 2 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
}

/// `a (>= 1) | b:any, c` as `[[a, b], [c]]`.
fn alternatives(field: &str) -> Vec<Vec<String>> {
    let name = |one: &str| one.trim().split([' ', '\n', '(', '[', ':']).next().unwrap_or_default().to_owned();
    let group = |group: &str| group.split('|').map(name).filter(|name| !name.is_empty()).collect::<Vec<_>>();
    field.split(',').map(group).filter(|group| !group.is_empty()).collect()
}

/// The two steps of an installation, as package names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    /// Essential packages, `apt`, and all that these need, in the order in which `dpkg` takes them.
    pub essential: Vec<String>,
    /// All others, sorted; the root's own `apt` orders them.
    pub rest: Vec<String>,
}

/// Splits the packages.
///
/// # Errors
/// Without `apt` or any essential package, or when one of the first step needs what is not there.
pub fn steps(all: &BTreeMap<String, Package>) -> Result<Steps> {
    let incomplete =
        |what: String| Error::user(format!("the locked packages are no base system: {what}")).hint("run `kbake lock` to resolve them anew");
    let mut open: Vec<&str> = all.values().filter(|one| one.essential).map(|one| one.name.as_str()).collect();
    if open.is_empty() {
        return Err(incomplete("none of them is essential".into()));
    }
    if !all.contains_key(INSTALLER) {
        return Err(incomplete(format!("`{INSTALLER}` is missing")));
    }
    open.push(INSTALLER);
    let mut first: BTreeSet<&str> = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !first.insert(name) {
            continue;
        }
        for group in &all[name].depends {
            let Some(found) = satisfier(all, group) else {
                return Err(incomplete(format!("`{name}` needs {}", group.join(" or "))));
            };
            open.push(found);
        }
    }
    let ahead = FIRST.iter().copied().filter(|name| first.contains(name));
    let others = first.iter().copied().filter(|name| !FIRST.contains(name));
    let essential = ahead.chain(others).map(str::to_owned).collect();
    let rest = all.keys().filter(|name| !first.contains(name.as_str())).cloned().collect();
    Ok(Steps { essential, rest })
}

/// The first alternative that is there by its own name, else the first package that provides one.
fn satisfier<'a>(all: &'a BTreeMap<String, Package>, group: &[String]) -> Option<&'a str> {
    let real = group.iter().find_map(|name| all.get(name));
    let virtual_ = || group.iter().find_map(|name| all.values().find(|one| one.provides.contains(name)));
    real.or_else(virtual_).map(|one| one.name.as_str())
}
