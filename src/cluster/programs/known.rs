//! The facts of one version, in texts beside this file: `flag PROGRAM NAME KIND`, `key PROGRAM PATH KIND`, `gate NAME DEFAULT`.
//!
//! In a path `[]` stands for the items of a list, and `{}` for the values of a map.

use std::collections::BTreeMap;

use super::kind::Kind;
use crate::common::value::ReleaseVersion;

/// By family: the first two numbers of a version, and its facts.
const FACTS: [(&str, (u64, u64), &str); 3] = [
    ("Kubernetes", (1, 35), include_str!("kubernetes-1.35.txt")),
    ("Kubernetes", (1, 36), include_str!("kubernetes-1.36.txt")),
    ("etcd", (3, 6), include_str!("etcd-3.6.txt")),
];

/// A version's flags, keys and feature gates.
pub(super) struct Known {
    /// For messages: `Kubernetes 1.36`.
    pub(super) title: String,
    pub(super) flags: BTreeMap<(&'static str, &'static str), Flag>,
    pub(super) keys: BTreeMap<(&'static str, &'static str), Kind>,
    pub(super) gates: BTreeMap<&'static str, Gate>,
}

pub(super) struct Flag {
    pub(super) kind: Kind,
    pub(super) is_deprecated: bool,
}

pub(super) struct Gate {
    pub(super) default: bool,
    /// True if the gate's value is fixed.
    pub(super) is_locked: bool,
}

/// The content at a path of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Leaf(Kind),
    Struct,
    List,
    Map,
    Unknown,
}

impl Known {
    /// The facts of a version; none if kbake has none.
    pub(super) fn of(family: &str, version: &ReleaseVersion) -> Option<Known> {
        let minor = (version.major(), version.minor());
        let (_, _, text) = FACTS.iter().find(|(known, of, _)| *known == family && *of == minor)?;
        let mut found = Known {
            title: format!("{family} {}.{}", minor.0, minor.1),
            flags: BTreeMap::new(),
            keys: BTreeMap::new(),
            gates: BTreeMap::new(),
        };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            found.read(line)?;
        }
        Some(found)
    }

    /// The versions with facts, for messages.
    pub(super) fn all(family: &str) -> String {
        let versions = FACTS.iter().filter(|(known, _, _)| *known == family);
        versions.map(|(_, (major, minor), _)| format!("{major}.{minor}")).collect::<Vec<_>>().join(", ")
    }

    fn read(&mut self, line: &'static str) -> Option<()> {
        let words: Vec<&'static str> = line.split(' ').collect();
        match words[..] {
            ["flag", program, name, kind, ref rest @ ..] => {
                let flag = Flag { kind: Kind::of_word(kind)?, is_deprecated: rest == ["deprecated"] };
                self.flags.insert((program, name), flag);
            }
            ["key", program, path, kind] => _ = self.keys.insert((program, path), Kind::of_word(kind)?),
            ["gate", name, default, ref rest @ ..] => {
                let gate = Gate { default: default == "true", is_locked: rest == ["locked"] };
                self.gates.insert(name, gate);
            }
            _ => return None,
        }
        Some(())
    }

    pub(super) fn flag(&self, program: &str, name: &str) -> Option<&Flag> {
        self.flags.iter().find(|((of, known), _)| *of == program && *known == name).map(|(_, flag)| flag)
    }

    /// The names of a program's flags.
    pub(super) fn flags(&self, program: &str) -> Vec<&'static str> {
        self.flags.keys().filter(|(of, _)| *of == program).map(|(_, name)| *name).collect()
    }

    pub(super) fn gate(&self, name: &str) -> Option<&Gate> {
        self.gates.get(name)
    }

    /// The names of the feature gates.
    pub(super) fn gates(&self) -> Vec<&'static str> {
        self.gates.keys().copied().collect()
    }

    pub(super) fn shape(&self, program: &str, path: &str) -> Shape {
        let rests = self.paths(program).filter_map(|(known, kind)| Some((known.strip_prefix(path)?, kind)));
        for (rest, kind) in rests {
            match rest {
                "" => return Shape::Leaf(kind),
                rest if rest.starts_with('.') => return Shape::Struct,
                rest if rest.starts_with("[]") => return Shape::List,
                rest if rest.starts_with("{}") => return Shape::Map,
                _ => {}
            }
        }
        Shape::Unknown
    }

    /// The names of all keys beside the last one of a path.
    pub(super) fn siblings(&self, program: &str, path: &str) -> Vec<&'static str> {
        let above = path.rfind('.').map_or("", |at| &path[..=at]);
        let names = self.paths(program).filter_map(|(known, _)| known.strip_prefix(above));
        let mut names: Vec<&str> = names.filter_map(|rest| rest.split(['.', '[', '{']).next()).collect();
        names.dedup();
        names
    }

    fn paths(&self, program: &str) -> impl Iterator<Item = (&'static str, Kind)> {
        self.keys.iter().filter(move |((of, _), _)| *of == program).map(|((_, path), kind)| (*path, *kind))
    }
}
