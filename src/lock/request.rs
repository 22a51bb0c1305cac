//! What the recipes ask of a channel, and whether a lock still answers it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use crate::recipe::{ChannelName, Recipe, Sources, Subject, Word};
use crate::value::{Arch, PackageName};
use crate::{Error, Result};

use super::{Lock, SetName, relock};

/// The question that a lock answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The channel asked.
    pub channel: ChannelName,
    /// The suite of its archive.
    pub suite: Word,
    /// The suite's components.
    pub components: BTreeSet<Word>,
    /// The machine.
    pub arch: Arch,
    /// The packages asked for by name.
    pub sets: BTreeMap<SetName, BTreeSet<PackageName>>,
}

impl Request {
    /// What the sources and all recipes ask together.
    pub fn of<'a>(sources: &Sources, recipes: impl IntoIterator<Item = &'a Recipe>) -> Self {
        let mut sets: BTreeMap<SetName, BTreeSet<PackageName>> = BTreeMap::new();
        for recipe in recipes {
            let set = match &recipe.subject {
                Subject::Base => SetName::Base,
                Subject::Role(role) => SetName::Role(role.clone()),
            };
            sets.entry(set).or_default().extend(recipe.packages.iter().map(|package| package.value.clone()));
        }
        sets.insert(SetName::Tool, sources.tools.iter().map(|tool| tool.value.clone()).collect());
        Request {
            channel: sources.channel.clone(),
            suite: sources.suite.value.clone(),
            components: sources.components.iter().map(|component| component.value.clone()).collect(),
            arch: sources.arch,
            sets,
        }
    }
}

pub(super) fn check(lock: &Lock, file: &str, request: &Request) -> Result<()> {
    let mut lines = Vec::new();
    different(&mut lines, "channel", &request.channel, &lock.channel);
    different(&mut lines, "suite", &request.suite, &lock.suite);
    different(&mut lines, "components", &listed(&request.components), &listed(&lock.components));
    different(&mut lines, "arch", &request.arch, &lock.arch);
    let none = BTreeSet::new();
    for set in request.sets.keys().chain(lock.request.keys()).collect::<BTreeSet<_>>() {
        let wanted = request.sets.get(set).unwrap_or(&none);
        let locked = lock.request.get(set).unwrap_or(&none);
        match (request.sets.contains_key(set), lock.request.contains_key(set)) {
            (true, false) => lines.push(format!("{set}: not locked at all")),
            (false, true) => lines.push(format!("{set}: locked, but there is no such recipe")),
            _ => {}
        }
        for (names, what) in [(wanted.difference(locked), "is missing"), (locked.difference(wanted), "is no longer asked for")] {
            lines.extend(names.map(|name| format!("{set}: `{name}` {what}")));
        }
    }
    // A line removed by hand, or lost in a merge, leaves the request whole and the answer not.
    for (set, names) in &lock.request {
        let answered = |name: &PackageName| {
            lock.entries().any(|entry| {
                entry.name == *name && (entry.sets.contains(set) || (*set != SetName::Tool && entry.sets.contains(&SetName::Base)))
            })
        };
        lines.extend(names.iter().filter(|name| !answered(name)).map(|name| format!("{set}: `{name}` is asked for, but has no entry")));
    }
    if lines.is_empty() {
        return Ok(());
    }
    let error = Error::user(format!("the lockfile `{file}` is stale: it does not answer what the recipes ask"));
    Err(lines.into_iter().fold(error, Error::detail).hint(relock(&request.channel)))
}

fn different<T: Display + PartialEq>(lines: &mut Vec<String>, what: &str, wanted: &T, locked: &T) {
    if wanted != locked {
        lines.push(format!("{what}: expected {wanted}, found {locked}"));
    }
}

fn listed(words: &BTreeSet<Word>) -> String {
    words.iter().map(Word::as_str).collect::<Vec<_>>().join(" ")
}
