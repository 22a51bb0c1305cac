//! A derived channel asks only about its own changes.

use std::collections::BTreeSet;

use super::lock::{SOURCES, Table, key, publisher, run};
use crate::common::value::{Arch, Sha256};
use crate::spec::lock::inherit::Inherited;
use crate::spec::lock::{ArtifactSource, Base, Lock, Request, Verified, inherit};
use crate::spec::recipe::{Recipe, Sources, Subject};
use crate::spec::upstream::{Choices, Own};

const LAB: &str = "channel = \"lab\"\nbase = \"test\"\n";
/// A role that requests everything in the base's lock.
const ALL: &[(&str, &str)] = &[("worker", "artifacts = [\"kubelet\", \"kubectl\", \"metallb-manifest\"]\nimages = [\"pause\"]\n")];
/// One role of two; the other one needs entries that are not mirrored.
const ONE: &[(&str, &str)] = &[("worker", "artifacts = [\"kubelet\"]\n")];

fn base_sources(text: &str) -> Sources {
    let debian = Sources::parse("debian.toml", include_str!("../../../../recipes/sources/debian.toml"), None).unwrap();
    Sources::parse("test.toml", text, Some(debian)).unwrap()
}

fn request(sources: &Sources, roles: &[(&str, &str)]) -> Request {
    let recipe = |text: &str, subject| Recipe::parse("r.toml", text, subject).unwrap();
    let mut recipes = vec![recipe("description = \"b\"\n", Subject::Base)];
    // A part that no role names requests nothing.
    recipes.push(recipe("description = \"p\"\nartifacts = [\"spare\"]\nimages = [\"spare\"]\n", Subject::Part("crio".parse().unwrap())));
    recipes.extend(roles.iter().map(|(name, text)| recipe(&format!("description = \"r\"\n{text}"), Subject::Role(name.parse().unwrap()))));
    Request::of(sources, &recipes).unwrap()
}

/// The base with its lock, and the publisher that answered for it.
fn base(text: &str) -> (Base, Table) {
    let (sources, table) = (base_sources(text), publisher());
    let (lock, _, asked) = run(&request(&sources, ALL), None, &Choices::default(), &table);
    assert_eq!(asked.len(), 4, "{asked:?}");
    (Base { sources, lock }, table)
}

/// The derived channel's request, with `more` in its sources.
fn derived(base: &Base, more: &str, roles: &[(&str, &str)]) -> Request {
    request(&Sources::parse("lab.toml", &format!("{LAB}{more}"), Some(base.sources.clone())).unwrap(), roles)
}

/// Locks the derived channel; returns the lock, its starting point, and the requests.
fn locked(request: &Request, own: Option<&Lock>, base: &Base, choices: &Choices, table: &Table) -> (Lock, Inherited, Vec<String>) {
    let found = inherit(own, std::slice::from_ref(base), request, &choices.unset).unwrap();
    let (lock, _, asked) = run(request, found.lock.as_ref(), choices, table);
    (lock, found, asked)
}

fn first(base: &Base, more: &str, roles: &[(&str, &str)], table: &Table) -> (Lock, Inherited, Vec<String>) {
    locked(&derived(base, more, roles), None, base, &Choices::default(), table)
}

#[test]
fn a_derived_channel_without_changes_makes_no_request() {
    let (base, table) = base(SOURCES);
    let (lock, found, asked) = first(&base, "", ALL, &table);
    assert_eq!(asked, Vec::<String>::new());
    assert_eq!(lock.to_text(), base.lock.to_text().replace("channel = \"test\"", "channel = \"lab\""));
    assert_eq!((found.taken[&"test".parse().unwrap()], found.stale.len()), (4, 0));
    assert_eq!(found.packages, Some("test".parse().unwrap()));
    // Its own lock answers from then on, whatever happens to the base's.
    let mut moved = base.clone();
    moved.lock.artifacts.get_mut(&key("kubelet", Arch::Amd64)).unwrap().digest = Sha256::of("upgraded").into();
    let (again, found, asked) = locked(&derived(&base, "", ALL), Some(&lock), &moved, &Choices::default(), &table);
    assert_eq!((again, asked.len(), found.taken.len()), (lock, 0, 0));
}

#[test]
fn only_what_is_changed_is_asked_for() {
    let (base, mut table) = base(SOURCES);
    table.tags.insert("registry.example/pause:3.11".into(), Sha256::of("newer index"));
    let other = "[versions]\nmine = \"1.36.3\"\n[artifact.kubelet]\nversion = \"mine\"\n\
                 url = \"https://host.example/v{version}/{arch}/kubelet\"\nchecksum = \"{url}.sha256\"\ninstall = \"/usr/local/bin/kubelet\"\n";
    for (more, asks) in [
        (other, "https://host.example/v1.36.3/amd64/kubelet.sha256"),
        ("[versions]\npause = \"3.11\"\n", "registry.example/pause:3.11"),
        // The same version, verified by another text.
        (
            "[artifact.kubectl]\nversion = \"kubernetes\"\nurl = \"https://host.example/v{version}/{arch}/kubectl\"\n\
             checksum = \"https://host.example/v1.36.2/amd64/kubelet.sha256\"\n",
            "https://host.example/v1.36.2/amd64/kubelet.sha256",
        ),
    ] {
        let (lock, found, asked) = first(&base, more, ALL, &table);
        assert_eq!((asked, found.taken[&"test".parse().unwrap()]), (vec![asks.to_owned()], 3), "{more}");
        assert_eq!(lock.artifacts.len() + lock.images.len(), 4);
        let others = |lock: &Lock| lock.artifacts[&key("metallb-manifest", Arch::Amd64)].clone();
        assert_eq!(others(&lock), others(&base.lock));
    }
    // Changed in its own lock, too: the base has it by now.
    let newer = SOURCES.replace("pause = \"3.10.2\"", "pause = \"3.11\"");
    let (old, _, _) = first(&base, "", ALL, &table);
    let sources = base_sources(&newer);
    let (lock, _, _) = run(&request(&sources, ALL), Some(&base.lock), &Choices::default(), &table);
    let ahead = Base { sources, lock };
    let (lock, _, asked) = locked(&derived(&ahead, "", ALL), Some(&old), &ahead, &Choices::default(), &table);
    assert_eq!((asked, lock.images == ahead.lock.images), (vec![], true));
}

#[test]
fn a_publisher_with_what_the_roles_need_for_the_channel_s_machine_is_enough() {
    let mut table = publisher();
    table.texts.retain(|url, _| url.ends_with("v1.36.2/amd64/kubelet.sha256"));
    table.tags.clear();
    let sources = base_sources(SOURCES);
    let (lock, _, asked) = run(&request(&sources, ONE), None, &Choices::default(), &table);
    assert_eq!(asked, ["https://host.example/v1.36.2/amd64/kubelet.sha256"]);
    assert_eq!((lock.artifacts.len(), lock.images.len()), (1, 0));
    // A base with a very incomplete lock.
    let base = Base { sources, lock };
    let (lock, _, asked) = first(&base, "", ONE, &table);
    assert_eq!((lock.artifacts, asked.len()), (base.lock.artifacts.clone(), 0));
}

#[test]
fn what_a_base_s_lock_has_otherwise_than_its_sources_say_is_not_taken_over() {
    let (old, table) = base(SOURCES);
    let stale =
        Base { sources: base_sources(&SOURCES.replace("kubernetes = \"1.36.2\"", "kubernetes = \"1.36.3\"")), lock: old.lock.clone() };
    let (lock, found, asked) = first(&stale, "", ONE, &table);
    assert_eq!(found.stale, [("test".parse().unwrap(), vec!["artifact `kubelet`".to_owned()])].into());
    assert_eq!(asked, ["https://host.example/v1.36.3/amd64/kubelet.sha256"]);
    assert_eq!(lock.artifacts[&key("kubelet", Arch::Amd64)].digest, Sha256::of("newer amd64").into());
    // Another archive.
    let mut moved = old.clone();
    moved.lock.suites[0].suite.name = "forky".parse().unwrap();
    let (lock, found, asked) = first(&moved, "", ONE, &table);
    assert_eq!(found.stale[&"test".parse().unwrap()], ["packages"]);
    assert_eq!((lock.suites[0].suite.name.as_str(), asked.len(), found.packages), ("bookworm", 0, None));
    assert!(found.lock.unwrap().request.is_empty(), "nothing counts as resolved");
}

#[test]
fn a_file_that_was_set_in_the_base_is_taken_over_until_it_is_given_back() {
    let (base, table) = base(SOURCES);
    let own = Own { name: "kubelet".parse().unwrap(), path: "files/kubelet".into(), sha256: Sha256::of("mine"), size: 4 };
    let choices = Choices { own: vec![own], ..Choices::default() };
    let (set, _, _) = run(&request(&base.sources, ALL), Some(&base.lock), &choices, &table);
    let base = Base { lock: set, ..base };
    let (lock, found, asked) = first(&base, "", ALL, &table);
    let entry = &lock.artifacts[&key("kubelet", Arch::Amd64)];
    assert_eq!((&entry.source, &entry.verified), (&ArtifactSource::Path("files/kubelet".into()), &Verified::Local));
    assert_eq!((asked.len(), found.stale.len()), (0, 0));
    let unset = Choices { unset: BTreeSet::from(["kubelet".parse().unwrap()]), ..Choices::default() };
    let (back, _, asked) = locked(&derived(&base, "", ALL), Some(&lock), &base, &unset, &table);
    assert_eq!(asked, ["https://host.example/v1.36.2/amd64/kubelet.sha256"]);
    // The publisher's entry stays.
    let (again, _, asked) = locked(&derived(&base, "", ALL), Some(&back), &base, &Choices::default(), &table);
    assert_eq!((again, asked.len()), (back, 0));
    // Another version than the file's.
    let (_, _, asked) = first(&base, "[versions]\nkubernetes = \"1.36.3\"\n", ONE, &table);
    assert_eq!(asked, ["https://host.example/v1.36.3/amd64/kubelet.sha256"]);
}

#[test]
fn a_channel_on_nothing_begins_with_nothing() {
    let sources = base_sources(SOURCES);
    assert_eq!(inherit(None, &[], &request(&sources, ALL), &BTreeSet::new()).unwrap(), Inherited::default());
}
