//! The things that need a blob or an entry, named for people.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::value::Sha256;

/// A blob or an entry that something needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    Blob(Sha256),
    Action(String, Sha256),
}

/// The name of a thing among those of its owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    /// A project's name for it: `package etcd`, `/usr/bin/etcd`.
    Exact(String),
    /// The kind alone, which is all that a root knows: `an input`.
    Kind(&'static str),
}

/// Needs by blob or entry, then by owner. A root and its project may both name a thing; it is still one thing.
#[derive(Debug, Default)]
pub(super) struct Needs(BTreeMap<Need, BTreeMap<String, BTreeSet<Label>>>);

impl Needs {
    /// Records that a thing of `owner` needs a blob or an entry.
    pub(super) fn add(&mut self, need: Need, label: Label, owner: &str) {
        self.0.entry(need).or_default().entry(owner.to_owned()).or_default().insert(label);
    }

    /// The things that need a blob or an entry, each with its owner. The kind alone is named only without an exact name.
    pub(super) fn of(&self, need: &Need) -> BTreeSet<String> {
        self.0
            .get(need)
            .into_iter()
            .flatten()
            .flat_map(|(owner, labels)| words(labels).map(move |word| format!("{word} of {owner}")))
            .collect()
    }
}

fn words(labels: &BTreeSet<Label>) -> impl Iterator<Item = &str> {
    let is_named = labels.iter().any(|label| matches!(label, Label::Exact(_)));
    labels.iter().filter_map(move |label| match label {
        Label::Exact(name) => Some(name.as_str()),
        Label::Kind(_) if is_named => None,
        Label::Kind(kind) => Some(kind),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_that_a_root_and_its_project_need_is_named_once() {
        let exact = |name: &str| Label::Exact(name.to_owned());
        let (file, input) = (Need::Action("made".into(), Sha256::of("file")), Need::Blob(Sha256::of("input")));
        let mut needs = Needs::default();
        needs.add(file.clone(), Label::Kind("a file"), "worker");
        assert_eq!(needs.of(&file), ["a file of worker".to_owned()].into(), "a root whose project is gone");
        needs.add(file.clone(), exact("/usr/bin/prog"), "worker");
        assert_eq!(needs.of(&file), ["/usr/bin/prog of worker".to_owned()].into());
        needs.add(file.clone(), Label::Kind("a file"), "master");
        assert_eq!(needs.of(&file), ["/usr/bin/prog of worker".to_owned(), "a file of master".to_owned()].into(), "another owner's");
        needs.add(input.clone(), exact("package two"), "worker");
        needs.add(input.clone(), exact("tool two"), "worker");
        needs.add(input.clone(), Label::Kind("an input"), "worker");
        assert_eq!(needs.of(&input), ["package two of worker".to_owned(), "tool two of worker".to_owned()].into(), "two things");
        assert_eq!(needs.of(&Need::Blob(Sha256::of("other"))), BTreeSet::new());
    }
}
