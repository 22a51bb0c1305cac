//! Kept entries, requested ones, and the order of sources.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::common::value::{Arch, Digest, Reference, Sha256};
use crate::spec::lock::{ArtifactSource, Lock, Request, Verified, differences, moved};
use crate::spec::recipe::{Recipe, Sources, Subject};
use crate::spec::upstream::{Choices, Event, List, Own, OwnImage, Pins, Publisher, Upgrade, lock};
use crate::{Error, Result};

pub(super) const SOURCES: &str = r#"
channel = "test"
base = "debian"
[versions]
kubernetes = "1.36.2"
pause = "3.10.2"
metallb = "0.16.1"
[artifact.kubelet]
version = "kubernetes"
url = "https://host.example/v{version}/{arch}/kubelet"
checksum = "{url}.sha256"
install = "/usr/local/bin/kubelet"
[artifact.kubectl]
version = "kubernetes"
url = "https://host.example/v{version}/{arch}/kubectl"
checksum = "https://host.example/v{version}/SUMS"
install = "/usr/local/bin/kubectl"
[artifact.metallb-manifest]
version = "metallb"
url = "https://host.example/metallb-{version}.yaml"
install = "/x.yaml"
[artifact.spare]
version = "kubernetes"
url = "https://host.example/v{version}/{arch}/spare"
checksum = "{url}.sha256"
[image.pause]
version = "pause"
reference = "registry.example/pause:{version}"
[image.spare]
version = "pause"
reference = "registry.example/spare:{version}"
"#;

/// The sources with `edits` applied, and recipes that request `artifacts` and the image `pause`.
pub(super) fn request(artifacts: &str, edits: &[(&str, &str)]) -> Request {
    let debian = Sources::parse("debian.toml", include_str!("../../../../recipes/sources/debian.toml"), None).unwrap();
    let text = edits.iter().fold(SOURCES.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    let sources = Sources::parse("s.toml", &text, Some(debian)).unwrap();
    let recipe = |text: &str, subject| Recipe::parse("r.toml", text, subject).unwrap();
    let role = format!("description = \"r\"\nartifacts = [{artifacts}]\nimages = [\"pause\"]\n");
    let recipes = [recipe("description = \"b\"\n", Subject::Base), recipe(&role, Subject::Role("worker".parse().unwrap()))];
    Request::of(&sources, &recipes).unwrap()
}

/// Answers from a table, and records the requests.
#[derive(Default)]
pub(super) struct Table {
    pub texts: BTreeMap<String, String>,
    pub tags: BTreeMap<String, Sha256>,
    pub asked: RefCell<Vec<String>>,
}

impl Publisher for Table {
    fn text(&self, url: &str) -> Result<Option<String>> {
        self.asked.borrow_mut().push(url.to_owned());
        if url.contains("down.example") {
            return Err(Error::new(crate::Class::Network, "nobody answered"));
        }
        Ok(self.texts.get(url).cloned())
    }

    fn is_mirrored(&self, _: &str) -> bool {
        false
    }

    fn size(&self, url: &str) -> Option<u64> {
        url.ends_with("amd64/kubelet").then_some(7)
    }

    fn tag_digest(&self, reference: &Reference) -> Result<Sha256> {
        self.asked.borrow_mut().push(reference.to_string());
        self.tags.get(&reference.to_string()).copied().ok_or_else(|| Error::user("no such tag"))
    }

    fn own_file(&self, path: &str) -> Result<(Sha256, u64)> {
        Ok((Sha256::of(path), 5))
    }
}

pub(super) fn publisher() -> Table {
    let sum = |of: &str| Sha256::of(of).to_string();
    let sums = format!("{}  amd64/kubectl\n{}  arm64/kubectl\n", sum("kubectl amd64"), sum("kubectl arm64"));
    let texts = [
        ("https://host.example/v1.36.2/amd64/kubelet.sha256", sum("kubelet amd64")),
        ("https://host.example/v1.36.2/arm64/kubelet.sha256", sum("kubelet arm64")),
        ("https://host.example/v1.36.3/amd64/kubelet.sha256", sum("newer amd64")),
        ("https://host.example/v1.36.3/arm64/kubelet.sha256", sum("newer arm64")),
        ("https://host.example/v1.36.2/SUMS", sums),
        ("https://host.example/metallb-0.16.1.yaml", "kind: List\n".to_owned()),
    ];
    Table {
        texts: texts.into_iter().map(|(url, text)| (url.to_owned(), text)).collect(),
        tags: [("registry.example/pause:3.10.2".to_owned(), Sha256::of("index"))].into(),
        asked: RefCell::default(),
    }
}

fn locked(request: &Request, pins: Pins) -> Lock {
    let mut lock = Lock::new(request, request.unresolved(), Vec::new()).unwrap();
    (lock.artifacts, lock.images) = (pins.artifacts, pins.images);
    // The written lock parses to the same.
    assert_eq!(Lock::parse(&lock.to_text(), "t.lock").unwrap(), lock);
    lock
}

/// Locks, and returns the lock, the events, and the requests.
pub(super) fn run(request: &Request, old: Option<&Lock>, choices: &Choices, table: &Table) -> (Lock, Vec<Event>, Vec<String>) {
    let events = RefCell::new(Vec::new());
    let pins = lock(request, old, choices, table, &|event| events.borrow_mut().push(event)).unwrap();
    (locked(request, pins), events.into_inner(), table.asked.take())
}

fn first() -> (Request, Lock, Table) {
    let (request, table) = (request(r#""kubelet", "kubectl", "metallb-manifest""#, &[]), publisher());
    let (lock, _, asked) = run(&request, None, &Choices::default(), &table);
    let checksum_files = asked.iter().filter(|url| url.ends_with("SUMS")).count();
    assert_eq!(checksum_files, 1, "one checksum file is asked for once: {asked:?}");
    (request, lock, table)
}

pub(super) fn key(name: &str, arch: Arch) -> (crate::common::value::ArtifactName, Arch) {
    (name.parse().unwrap(), arch)
}

#[test]
fn everything_is_locked_by_its_publishers_word() {
    let (request, lock, _) = first();
    let kubelet = &lock.artifacts[&key("kubelet", Arch::Amd64)];
    assert_eq!(kubelet.digest, Digest::Sha256(Sha256::of("kubelet amd64")));
    assert_eq!(kubelet.verified, Verified::Checksum("https://host.example/v1.36.2/amd64/kubelet.sha256".into()));
    assert_eq!(kubelet.size, Some(7));
    assert_eq!(lock.artifacts[&key("kubectl", Arch::Amd64)].digest, Digest::Sha256(Sha256::of("kubectl amd64")));
    let manifest = &lock.artifacts[&key("metallb-manifest", Arch::Amd64)];
    assert_eq!((manifest.digest, &manifest.verified), (Digest::Sha256(Sha256::of("kind: List\n")), &Verified::Download));
    let pause = &lock.images[&"pause".parse().unwrap()];
    assert_eq!((pause.digest, &pause.verified), (Sha256::of("index"), &Verified::Registry));
    assert_eq!(lock.artifacts.len(), 3, "what nothing asks for is not locked, and for the channel's machine alone");
    assert!(!lock.images.contains_key(&"spare".parse().unwrap()));
    let lines = lock.check("t.lock", &request).map_err(|error| error.to_string()).unwrap_err();
    assert!(!lines.contains("artifact") && !lines.contains("image"), "only the packages are missing: {lines}");
}

#[test]
fn locked_entries_stay_without_a_request() {
    let (request, lock, table) = first();
    let (again, events, asked) = run(&request, Some(&lock), &Choices::default(), &table);
    assert_eq!((again.to_text(), events, asked), (lock.to_text(), vec![], vec![]));
    assert!(moved(Some(&lock), &again).is_empty());
}

#[test]
fn a_new_version_moves_only_what_has_it() {
    let (_, lock, table) = first();
    let newer = request(r#""kubelet", "metallb-manifest""#, &[("kubernetes = \"1.36.2\"", "kubernetes = \"1.36.3\"")]);
    let (new, _, asked) = run(&newer, Some(&lock), &Choices::default(), &table);
    assert_eq!(asked, ["https://host.example/v1.36.3/amd64/kubelet.sha256"]);
    let lines: Vec<String> = moved(Some(&lock), &new).iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["remove  kubectl 1.36.2 (amd64)", "move    kubelet 1.36.2 -> 1.36.3 (amd64)"]);
}

#[test]
fn what_nothing_asks_for_is_kept_while_it_is_true() {
    let (_, lock, table) = first();
    let fewer = request(r#""kubelet""#, &[]);
    let (kept, _, asked) = run(&fewer, Some(&lock), &Choices::default(), &table);
    assert_eq!((kept.artifacts.len(), asked.len()), (3, 0));
    let shown = kept.check("t.lock", &fewer).unwrap_err().to_string();
    assert!(!shown.contains("artifact"), "{shown}");
    // An entry for another architecture, as older lockfiles have it.
    let (request, mut lock, table) = first();
    let mut arm = lock.artifacts[&key("kubelet", Arch::Amd64)].clone();
    (arm.arch, arm.source) = (Arch::Arm64, ArtifactSource::Url("https://host.example/v1.36.2/arm64/kubelet".into()));
    lock.artifacts.insert(key("kubelet", Arch::Arm64), arm);
    let (again, _, asked) = run(&request, Some(&lock), &Choices::default(), &table);
    assert_eq!((again, asked.len()), (lock.clone(), 0));
    assert!(!lock.check("t.lock", &request).unwrap_err().to_string().contains("artifact"));
}

#[test]
fn an_upgrade_asks_again_and_says_when_a_release_changed() {
    let (request, mut lock, mut table) = first();
    lock.artifacts.get_mut(&key("kubelet", Arch::Amd64)).unwrap().verified = Verified::Recorded("a/b".into());
    table.texts.insert("https://host.example/v1.36.2/SUMS".into(), format!("{}  amd64/kubectl\n", Sha256::of("other")));
    table.tags.insert("registry.example/pause:3.10.2".into(), Sha256::of("moved"));
    let names = ["kubectl", "kubelet"].map(|name| name.parse().unwrap());
    let one = Choices { upgrade: Upgrade::Names { artifacts: names.into(), images: BTreeSet::new() }, ..Choices::default() };
    let (new, events, _) = run(&request, Some(&lock), &one, &table);
    let other = events.iter().filter(|event| matches!(event, Event::OtherBytes { .. })).count();
    assert_eq!(other, 1, "{events:?}");
    let lines: Vec<String> = moved(Some(&lock), &new).iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("move    kubectl 1.36.2 (amd64): sha256:"), "{lines:?}");
    assert!(lines[1].starts_with("confirm kubelet 1.36.2 (amd64): recorded:a/b -> checksum:https://"), "{lines:?}");
    let all = Choices { upgrade: Upgrade::All, ..Choices::default() };
    let (new, _, asked) = run(&request, Some(&lock), &all, &table);
    assert_eq!(new.images[&"pause".parse().unwrap()].digest, Sha256::of("moved"));
    assert_eq!(asked.len(), 4, "{asked:?}");
}

#[test]
fn a_moved_tag_is_told_and_stays() {
    let (request, lock, mut table) = first();
    table.tags.insert("registry.example/pause:3.10.2".into(), Sha256::of("moved"));
    let (new, events, _) = run(&request, Some(&lock), &Choices { tags: true, ..Choices::default() }, &table);
    assert_eq!(new, lock);
    let shown = events.last().unwrap().to_string();
    assert!(shown.starts_with("registry.example/pause:3.10.2: stays sha256:") && shown.contains("its tag now names"), "{shown}");
}

#[test]
fn a_list_precedes_the_publisher_but_not_the_lock() {
    let text = format!(
        "kubelet_checksums:\n  amd64:\n    1.36.2: sha256:{}\n  arm64:\n    1.36.2: sha256:{}\n",
        Sha256::of("listed"),
        Sha256::of("kubelet arm64")
    );
    let list = List::parse("lists/sums.yml", &text).unwrap();
    let choices = Choices { list: Some(list), ..Choices::default() };
    let (request, table) = (request(r#""kubelet", "kubectl""#, &[]), publisher());
    let (new, events, asked) = run(&request, None, &choices, &table);
    let kubelet = &new.artifacts[&key("kubelet", Arch::Amd64)];
    assert_eq!((kubelet.digest, &kubelet.verified), (Digest::Sha256(Sha256::of("listed")), &Verified::Imported("sums.yml".into())));
    assert!(!asked.iter().any(|url| url.contains("kubelet")), "{asked:?}");
    let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
    assert!(lines.contains(&"kubelet 1.36.2 (amd64): from sums.yml, line 3".to_owned()), "{lines:?}");
    assert!(lines.contains(&"kubectl 1.36.2 (amd64): not in sums.yml".to_owned()), "{lines:?}");
    let (_, old, _) = first();
    let (kept, events, _) = run(&request, Some(&old), &choices, &table);
    assert_eq!(kept.artifacts[&key("kubelet", Arch::Amd64)], old.artifacts[&key("kubelet", Arch::Amd64)]);
    let disagreements: Vec<String> = events.iter().map(ToString::to_string).collect();
    assert_eq!(disagreements.len(), 1, "the one that agrees needs no word: {disagreements:?}");
    assert!(disagreements[0].starts_with("kubelet 1.36.2 (amd64): stays sha256:") && disagreements[0].contains("sums.yml, line 3"));
}

#[test]
fn ones_own_file_takes_the_place_until_it_is_unset() {
    let (request, lock, table) = first();
    let own = Own { name: "kubelet".parse().unwrap(), path: "files/kubelet".into(), sha256: Sha256::of("mine"), size: 4 };
    let choices = Choices { own: vec![own], ..Choices::default() };
    let (set, _, asked) = run(&request, Some(&lock), &choices, &table);
    assert!(asked.is_empty());
    let lines: Vec<String> = moved(Some(&lock), &set).iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["move    kubelet 1.36.2 -> files/kubelet (amd64)"]);
    let entry = &set.artifacts[&key("kubelet", Arch::Amd64)];
    assert_eq!((&entry.source, &entry.verified), (&ArtifactSource::Path("files/kubelet".into()), &Verified::Local));
    assert!(!set.check("t.lock", &request).unwrap_err().to_string().contains("artifact"));
    // A later run, and another version, keep it.
    let newer = self::request(r#""kubelet""#, &[("kubernetes = \"1.36.2\"", "kubernetes = \"1.36.3\"")]);
    let (kept, _, _) = run(&newer, Some(&set), &Choices::default(), &table);
    assert_eq!(kept.artifacts[&key("kubelet", Arch::Amd64)], *entry);
    let unset = Choices { unset: BTreeSet::from(["kubelet".parse().unwrap()]), ..Choices::default() };
    let (back, _, _) = run(&request, Some(&set), &unset, &table);
    assert_eq!(back, lock);
}

#[test]
fn ones_own_archive_takes_an_image_s_place_until_it_is_unset() {
    let (request, lock, table) = first();
    let reference: Reference = "registry.example/pause:3.10.2".parse().unwrap();
    let own = OwnImage { name: "pause".parse().unwrap(), reference, path: "files/pause.tar".into(), manifest: Sha256::of("mine") };
    let choices = Choices { own_images: vec![own], ..Choices::default() };
    let (set, _, asked) = run(&request, Some(&lock), &choices, &table);
    assert!(asked.is_empty(), "no registry is asked");
    let entry = &set.images[&"pause".parse().unwrap()];
    assert_eq!((entry.digest, entry.path.as_deref(), &entry.verified), (Sha256::of("mine"), Some("files/pause.tar"), &Verified::Local));
    assert_eq!(moved(Some(&lock), &set).len(), 1);
    assert!(!set.check("t.lock", &request).unwrap_err().to_string().contains("image"));
    // Another version keeps it, and nodes use the new name.
    let newer = self::request(r#""kubelet""#, &[("pause = \"3.10.2\"", "pause = \"3.11\"")]);
    assert!(!set.check("t.lock", &newer).unwrap_err().to_string().contains("image"), "it is not stale either");
    let (kept, _, asked) = run(&newer, Some(&set), &Choices { tags: true, ..Choices::default() }, &table);
    let kept = &kept.images[&"pause".parse().unwrap()];
    assert_eq!((kept.digest, &*kept.reference.to_string()), (Sha256::of("mine"), "registry.example/pause:3.11"));
    assert!(!asked.iter().any(|asked| asked.contains("pause")), "{asked:?}");
    let unset = Choices { unset: BTreeSet::from(["pause".parse().unwrap()]), ..Choices::default() };
    assert_eq!(run(&request, Some(&set), &unset, &table).0, lock);
}

#[test]
fn a_path_in_the_sources_is_read_at_every_lock() {
    let (_, lock, table) = first();
    let edits = [(
        "[artifact.kubelet]\nversion = \"kubernetes\"\nurl = \"https://host.example/v{version}/{arch}/kubelet\"\nchecksum = \"{url}.sha256\"\n",
        "[artifact.kubelet]\npath = \"files/kubelet\"\nversion = \"kubernetes\"\n",
    )];
    let own = request(r#""kubelet""#, &edits);
    let (new, _, _) = run(&own, Some(&lock), &Choices::default(), &table);
    let entry = &new.artifacts[&key("kubelet", Arch::Amd64)];
    assert_eq!((entry.digest, entry.size), (Digest::Sha256(Sha256::of("recipes/files/kubelet")), Some(5)));
    assert_eq!(entry.version.as_ref().map(ToString::to_string).as_deref(), Some("1.36.2"));
    assert!(!new.artifacts.contains_key(&key("kubelet", Arch::Arm64)));
    // Another version of the same bytes is another entry, which is reported.
    let newer = request(r#""kubelet""#, &[edits[0], ("kubernetes = \"1.36.2\"", "kubernetes = \"1.36.3\"")]);
    assert!(new.check("t.lock", &newer).unwrap_err().to_string().contains("expected version 1.36.3, found 1.36.2"));
    let (moved_on, _, asked) = run(&newer, Some(&new), &Choices::default(), &table);
    assert_eq!(asked, Vec::<String>::new());
    let lines: Vec<String> = moved(Some(&new), &moved_on).iter().map(ToString::to_string).collect();
    assert_eq!(lines.last().unwrap(), "move    kubelet 1.36.2 (recipes/files/kubelet) -> 1.36.3 (recipes/files/kubelet) (amd64)");
    let told = differences(&new, &moved_on).iter().filter(|one| one.name.starts_with("kubelet")).count();
    assert_eq!(told, 1);
}

#[test]
fn what_cannot_be_locked_is_named_with_the_way_out() {
    let table = publisher();
    /// Edits of the sources, and the expected messages.
    type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);
    let cases: [Case; 4] = [
        (&[("\"{url}.sha256\"", "\"https://down.example/s\"")], &["nobody answered", "needed to lock kubelet 1.36.2 (amd64)", "--import"]),
        (&[("kubernetes = \"1.36.2\"", "kubernetes = \"1.99.0\"")], &["has nothing at https://host.example/v1.99.0/amd64/kubelet.sha256"]),
        (&[("{url}.sha256", "https://host.example/metallb-0.16.1.yaml")], &["has no usable digest", "it begins with `kind: List`"]),
        (&[("pause = \"3.10.2\"", "pause = \"9.9\"")], &["no such tag", "needed to lock the image `pause`"]),
    ];
    for (edits, expected) in cases {
        let shown = lock(&request(r#""kubelet""#, edits), None, &Choices::default(), &table, &|_| ()).unwrap_err().to_string();
        assert!(expected.iter().all(|part| shown.contains(part)), "{shown}");
    }
}

/// An answer of a mirror is not recorded as the publisher's.
#[test]
fn what_a_mirror_says_is_called_so() {
    struct Mirrored(Table);
    impl Publisher for Mirrored {
        fn text(&self, url: &str) -> Result<Option<String>> {
            self.0.text(url)
        }
        fn is_mirrored(&self, _: &str) -> bool {
            true
        }
        fn size(&self, url: &str) -> Option<u64> {
            self.0.size(url)
        }
        fn tag_digest(&self, reference: &Reference) -> Result<Sha256> {
            self.0.tag_digest(reference)
        }
        fn own_file(&self, path: &str) -> Result<(Sha256, u64)> {
            self.0.own_file(path)
        }
    }
    let pins = lock(&request(r#""kubelet""#, &[]), None, &Choices::default(), &Mirrored(publisher()), &|_| ()).unwrap();
    let kubelet = pins.artifacts[&key("kubelet", Arch::Amd64)].verified.to_string();
    assert_eq!(kubelet, "mirror:https://host.example/v1.36.2/amd64/kubelet.sha256");
    assert!(pins.images.values().all(|image| image.verified.to_string() == format!("mirror:{}", image.reference)));
    assert_eq!(kubelet.parse::<Verified>().unwrap().to_string(), kubelet);
}
