//! Regrouping of an old lock's packages for another request, as far as that is possible without asking the archive.
//!
//! A lock has no dependencies. But it has the closures of earlier requests: a role that requests packages of the base adds
//! nothing to it, and a role that requests the same as another one adds the same.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, Lock, Request, SetName, suite};
use crate::Result;
use crate::common::value::PackageName;

/// The lock that answers `request` with the packages of `old`; none if only the archive can tell. Artifacts and images stay as
/// they are.
///
/// # Errors
/// None that input could cause.
pub(crate) fn regroup(old: &Lock, request: &Request) -> Result<Option<Lock>> {
    let Some(members) = members(old, request) else { return Ok(None) };
    let mut entries = Vec::new();
    for entry in old.entries() {
        let sets: BTreeSet<SetName> = members.iter().filter(|(_, names)| names.contains(&entry.name)).map(|(set, _)| set.clone()).collect();
        if !sets.is_empty() {
            entries.push(Entry { sets, ..entry.clone() });
        }
    }
    let lock = Lock { artifacts: old.artifacts.clone(), images: old.images.clone(), ..Lock::new(request, old.suites.clone(), entries)? };
    Ok(Some(lock))
}

/// The packages of each wanted set.
fn members(old: &Lock, request: &Request) -> Option<BTreeMap<SetName, BTreeSet<PackageName>>> {
    let same_archive = (&old.channel, old.arch) == (&request.channel, request.arch) && suite::are_same(&request.suites, &old.suites);
    if !same_archive || old.request.get(&SetName::Base) != request.sets.get(&SetName::Base) {
        return None;
    }
    request.sets.iter().map(|(set, names)| Some((set.clone(), of_set(old, set, names)?))).collect()
}

fn of_set(old: &Lock, set: &SetName, names: &BTreeSet<PackageName>) -> Option<BTreeSet<PackageName>> {
    let base = old.members(&SetName::Base);
    match set {
        // Tools are locked without their dependencies.
        SetName::Tool => names.iter().all(|name| old.entries().any(|entry| entry.name == *name)).then(|| names.clone()),
        SetName::Base => names.is_subset(&base).then_some(base),
        SetName::Role(_) => {
            let beyond = |names: &BTreeSet<PackageName>| names.difference(&base).cloned().collect::<BTreeSet<_>>();
            let needed = beyond(names);
            if needed.is_empty() {
                return Some(BTreeSet::new());
            }
            let alike = |(other, asked): &(&SetName, &BTreeSet<PackageName>)| matches!(other, SetName::Role(_)) && beyond(asked) == needed;
            // A line lost in a merge leaves the request complete and the entries not.
            let found = old.request.iter().filter(alike).map(|(other, _)| old.members(other));
            found.into_iter().find(|members| needed.is_subset(members))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::value::Sha256;
    use crate::spec::recipe::{Recipe, Sources, Subject};

    fn request(roles: &[(&str, &[&str])], base: &[&str]) -> Request {
        let sources = "channel = \"debian\"\nkind = \"debian-packages\"\narch = \"amd64\"\nepoch = 2026-01-01T00:00:00Z\n\
                       tools = [\"tool\"]\n[[suite]]\nname = \"bookworm\"\narchive = \"debian\"\ncomponents = [\"main\"]\nkeyring = \"/k\"\n\
                       keys = [\"4D64FEC119C2029067D6E791F8D2585B8783D481\"]\n";
        let sources = Sources::parse("s", sources, None).unwrap();
        let recipe = |subject, packages: &[&str]| {
            let text = format!("description = \"d\"\npackages = {packages:?}\n");
            Recipe::parse("r", &text, subject).unwrap()
        };
        let mut recipes = vec![recipe(Subject::Base, base)];
        recipes.extend(roles.iter().map(|(name, packages)| recipe(Subject::Role(name.parse().unwrap()), packages)));
        Request::of(&sources, &recipes).unwrap()
    }

    fn entry(name: &str, sets: &[&str]) -> Entry {
        Entry {
            name: name.parse().unwrap(),
            version: "1".parse().unwrap(),
            arch: "all".parse().unwrap(),
            source_version: None,
            archive: "debian".parse().unwrap(),
            source: format!("pool/main/x/{name}/{name}_1_all.deb").parse().unwrap(),
            size: 1,
            sha256: Sha256::of(name),
            verified: super::super::Verified::Local,
            sets: sets.iter().map(|set| set.parse().unwrap()).collect(),
        }
    }

    fn old() -> Lock {
        let entries = vec![
            entry("apt", &["base"]),
            entry("libapt", &["base"]),
            entry("runc", &["worker"]),
            entry("containerd", &["worker", "tool"]),
            entry("tool", &["tool"]),
        ];
        of(&request(&[("worker", &["containerd", "apt"])], &["apt"]), entries)
    }

    fn of(request: &Request, entries: Vec<Entry>) -> Lock {
        Lock::new(request, request.unresolved(), entries).unwrap()
    }

    fn sets(lock: &Lock, name: &str) -> String {
        let entry = lock.entries().find(|entry| entry.name.as_str() == name);
        entry.map(|entry| entry.sets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")).unwrap_or_default()
    }

    #[test]
    fn a_role_that_asks_for_nothing_new_needs_no_archive() {
        let wanted = request(&[("worker", &["containerd", "apt"]), ("twin", &["containerd", "libapt"]), ("bare", &["libapt"])], &["apt"]);
        let lock = regroup(&old(), &wanted).unwrap().unwrap();
        lock.check("l", &wanted).unwrap();
        assert_eq!([sets(&lock, "runc"), sets(&lock, "containerd"), sets(&lock, "apt")], ["twin worker", "twin worker", "base"]);
    }

    #[test]
    fn a_role_that_is_gone_takes_its_packages_along() {
        let wanted = request(&[("bare", &["apt"])], &["apt"]);
        let lock = regroup(&old(), &wanted).unwrap().unwrap();
        lock.check("l", &wanted).unwrap();
        assert_eq!([sets(&lock, "runc"), sets(&lock, "containerd"), sets(&lock, "tool")], ["", "", "tool"]);
    }

    #[test]
    fn what_only_the_archive_knows_is_left_to_it() {
        let worker: (&str, &[&str]) = ("worker", &["containerd", "apt"]);
        for wanted in [
            request(&[worker, ("new", &["etcd-server"])], &["apt"]),
            // It is locked, but its own dependencies are unknown.
            request(&[worker, ("part", &["runc"])], &["apt"]),
            request(&[("worker", &["containerd", "apt", "runc"])], &["apt"]),
            request(&[worker], &["apt", "runc"]),
            Request { suites: Vec::new(), ..request(&[worker], &["apt"]) },
        ] {
            assert!(regroup(&old(), &wanted).unwrap().is_none(), "{wanted:?}");
        }
        let torn = of(&request(&[worker], &["apt"]), vec![entry("apt", &["base"]), entry("tool", &["tool"])]);
        assert!(regroup(&torn, &request(&[worker], &["apt"])).unwrap().is_none());
    }
}
