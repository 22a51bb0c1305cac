//! Kubernetes' programs by version: their flags, keys and feature gates, each with its type. A cluster's own settings are
//! checked against them. The facts are the output of `tests/kubernetes/oracles`, which extracts them from the programs' own
//! sources.

mod kind;
mod known;
#[cfg(test)]
mod tests;

use crate::cluster::model::{Cluster, Component};
use crate::common::document::{Located, Place, Table, Value, nearest};
use crate::common::error::{Error, Result};
use crate::common::value::ReleaseVersion;

use known::{Known, Shape};

/// The versions of a cluster's programs, as far as its channel states them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Versions {
    /// Kubernetes'.
    pub kubernetes: Option<ReleaseVersion>,
    /// etcd's.
    pub etcd: Option<ReleaseVersion>,
}

/// Files that a static pod can read, by path prefix.
const MOUNTED: [&str; 6] = [
    "/etc/kubernetes/pki/",
    "/etc/ssl/certs",
    "/var/log/kubernetes",
    "/var/lib/etcd",
    "/etc/kubernetes/audit-policy.yaml",
    "/etc/kubernetes/encryption.yaml",
];

/// Checks a cluster's own settings against the facts of its versions. Returns warnings.
///
/// # Errors
/// The first unknown key, flag or feature gate, or value of a wrong type, with its place and the nearest name.
pub(crate) fn check(cluster: &Cluster, versions: &Versions) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for (component, table, given) in cluster.given_settings() {
        let (family, version) = match component {
            Component::Etcd => ("etcd", &versions.etcd),
            _ => ("Kubernetes", &versions.kubernetes),
        };
        let Some(known) = version.as_ref().and_then(|version| Known::of(family, version)) else {
            let version =
                version.as_ref().map_or_else(|| format!("the channel's version of {family}"), |version| format!("{family} {version}"));
            let warning = format!("{table} is not checked: the settings of {version} are not known; known: {}", Known::all(family));
            warnings.push(warning);
            continue;
        };
        Check { component, table: &table, known: &known, warnings: &mut warnings }.all(given)?;
    }
    Ok(warnings)
}

/// The check of one table.
struct Check<'a> {
    component: Component,
    /// Its name in messages.
    table: &'a str,
    known: &'a Known,
    warnings: &'a mut Vec<String>,
}

impl Check<'_> {
    fn all(&mut self, given: &Table) -> Result<()> {
        if !self.component.has_flags() {
            return self.below("", given);
        }
        given.iter().try_for_each(|(name, item)| self.flag(name, item))
    }

    fn flag(&mut self, name: &str, item: &Located<Value>) -> Result<()> {
        let program = self.component.program();
        let Some(flag) = self.known.flag(program, name) else {
            return Err(self.unknown(name, &item.place, "flag", self.known.flags(program)));
        };
        if flag.is_deprecated {
            self.warnings.push(format!("{}: `{name}` in {} is deprecated in {}", item.place, self.table, self.known.title));
        }
        kind::of_flag(flag.kind, &item.value).map_err(|wrong| self.wrong(name, &item.place, &wrong))?;
        if name == "feature-gates" && self.component != Component::Etcd {
            self.gates(item)?;
        }
        let path = item.value.to_string();
        if matches!(item.value, Value::Text(_)) && path.starts_with('/') && !MOUNTED.iter().any(|mounted| path.starts_with(mounted)) {
            let visible = MOUNTED[..3].join(", ");
            self.warnings.push(format!("{}: {program} runs in a pod that does not see {path}; it sees files in {visible}", item.place));
        }
        Ok(())
    }

    /// Checks the keys of a table at `path`.
    fn below(&mut self, path: &str, given: &Table) -> Result<()> {
        given.iter().try_for_each(|(name, item)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.key(&path, item)?;
            if path == "featureGates" { self.gates(item) } else { Ok(()) }
        })
    }

    fn key(&mut self, path: &str, item: &Located<Value>) -> Result<()> {
        let program = self.component.program();
        let shown = path.replace("[]", "").replace("{}", "");
        match (self.known.shape(program, path), &item.value) {
            (Shape::Unknown, _) => Err(self.unknown(&shown, &item.place, "key", self.known.siblings(program, path))),
            (Shape::Leaf(kind), value) => kind::of_key(kind, value).map_err(|wrong| self.wrong(&shown, &item.place, &wrong)),
            (Shape::Struct, Value::Table(table)) => self.below(path, table),
            (Shape::Map, Value::Table(table)) => table.values().try_for_each(|item| self.key(&format!("{path}{{}}"), item)),
            (Shape::List, Value::List(items)) => items.iter().try_for_each(|item| self.key(&format!("{path}[]"), item)),
            (Shape::List, value) => Err(self.wrong(&shown, &item.place, &format!("an array, not {}", value.kind()))),
            (Shape::Struct | Shape::Map, value) => Err(self.wrong(&shown, &item.place, &format!("a table, not {}", value.kind()))),
        }
    }

    /// Checks feature gates in a table; those in a text are left to the program.
    fn gates(&mut self, item: &Located<Value>) -> Result<()> {
        let Value::Table(table) = &item.value else { return Ok(()) };
        for (name, item) in table {
            let Value::Flag(value) = item.value else {
                return Err(self.wrong(name, &item.place, &format!("true or false, not {}", item.value.kind())));
            };
            let Some(gate) = self.known.gate(name.strip_prefix("kube:").unwrap_or(name)) else {
                return Err(self.unknown(name, &item.place, "feature gate", self.known.gates()));
            };
            if gate.is_locked && gate.default != value {
                let said = format!("the feature gate `{name}` is locked to {} in {}", gate.default, self.known.title);
                return Err(item.place.error(said).hint("leave it out"));
            }
        }
        Ok(())
    }

    fn unknown<'k>(&self, name: &str, place: &Place, what: &str, known: impl IntoIterator<Item = &'k str>) -> Error {
        let (program, title) = (self.component.program(), &self.known.title);
        let error = place.error(format!("{program} of {title} has no {what} `{}`", name.escape_debug()));
        let last = name.rsplit('.').next().unwrap_or(name);
        match nearest(last, known) {
            Some(meant) => error.hint(format!("did you mean `{meant}`?")),
            None => error,
        }
    }

    fn wrong(&self, name: &str, place: &Place, expected: &str) -> Error {
        place.error(format!("`{name}` in {} must be {expected}", self.table)).detail(format!("as {} has it", self.known.title))
    }
}
