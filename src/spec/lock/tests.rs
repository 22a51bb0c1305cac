use std::process::Command;

use super::*;

const SHIPPED: &str = include_str!("../../../lockfiles/debian.lock");

fn shipped() -> Lock {
    Lock::parse(SHIPPED, "lockfiles/debian.lock").unwrap()
}

/// The request in the shipped lock.
fn request() -> Request {
    let lock = shipped();
    let suites = lock.suites.iter().map(|locked| locked.suite.clone()).collect();
    let Lock { channel, arch, request, .. } = lock;
    Request {
        channel,
        suites,
        arch,
        sets: request,
        artifacts: BTreeMap::new(),
        images: BTreeMap::new(),
        spare_artifacts: BTreeMap::new(),
        spare_images: BTreeMap::new(),
    }
}

fn failure(text: &str) -> String {
    Lock::parse(text, "debian.lock").unwrap_err().to_string()
}

/// A small lock of three packages.
fn small() -> String {
    let mut text = String::from(
        "format = 2\nchannel = \"debian\"\narch = \"amd64\"\n\n[[suite]]\nname = \"bookworm\"\narchive = \"debian\"\ncomponents = [\"main\"]\nreleased = \"2026-07-11T10:16:37Z\"\n\n[request]\nbase = [\n  \"aa\",\n]\netcd = [\n]\n",
    );
    for name in ["aa", "bb", "cc"] {
        text += &format!(
            "\n[[package]]\nname = \"{name}\"\nversion = \"1\"\narch = \"all\"\narchive = \"debian\"\nsource = \"pool/main/{name}_1_all.deb\"\nsize = 1\nsha256 = \"{}\"\nverified = \"openpgp:{}\"\nsets = [\"base\"]\n",
            "0".repeat(64),
            "A".repeat(40)
        );
    }
    text
}

#[test]
fn the_shipped_lock_is_what_kbake_writes() {
    let lock = shipped();
    assert_eq!(lock.to_text(), SHIPPED);
    let etcd = lock.packages_of(&"etcd".parse().unwrap()).unwrap();
    let version = |name: &str| etcd.iter().find(|entry| entry.name.as_str() == name).unwrap().version.to_string();
    assert_eq!((version("etcd-server"), version("etcd-client")), ("3.4.23-4+b4".into(), "3.4.23-4+b4".into()));
    assert!(etcd.iter().all(|entry| entry.name.as_str() != "mmdebstrap"), "tools are no part of an image");
    assert_eq!(etcd.iter().filter(|entry| !entry.sets.contains(&SetName::Base)).count(), 2, "all others are the base's");
    assert_eq!(lock.tool("mmdebstrap").unwrap().source.folder(), "pool/main/m/mmdebstrap");
    assert!(lock.tool("etcd-server").unwrap_err().to_string().contains("the tool `etcd-server` is not in the lockfile"));
    let unknown = lock.packages_of(&"nonesuch".parse().unwrap()).unwrap_err().to_string();
    assert!(unknown.contains("`nonesuch` is not in the lockfile") && unknown.contains("run `kbake lock --channel debian`"), "{unknown}");
}

#[test]
fn text_round_trips_and_order_of_entries_does_not_matter_to_it() {
    let lock = Lock::parse(&small(), "debian.lock").unwrap();
    assert_eq!(Lock::parse(&lock.to_text(), "again").unwrap(), lock);
    let mut entries: Vec<Entry> = shipped().entries().cloned().collect();
    entries.reverse();
    assert_eq!(Lock::new(&request(), shipped().suites, entries.clone()).unwrap().to_text(), SHIPPED);
    entries.push(entries[0].clone());
    assert!(Lock::new(&request(), lock.suites.clone(), entries).is_err());
}

#[test]
fn bad_locks_are_refused_with_their_place() {
    let digest = "0".repeat(64);
    let cases = [
        ("format = 2", "format = 3", "has the lock format 3; this kbake knows up to 2\n  debian.lock:1:10"),
        ("format = 2", "format = 3\nnews = 1", "has the lock format 3"),
        ("format = 2", "format = 1", "which this kbake no longer reads"),
        ("format = 2\n", "", "has no key `format`"),
        ("format = 2", "format = \"1\"", "must be a whole number, not a string"),
        (&digest, "0", "bad `sha256`: a SHA-256 digest has 64 hexadecimal digits, not 1\n  debian.lock:25:10"),
        (&digest, &"G".repeat(64), "bad `sha256`: `G` is not a lower-case"),
        ("pool/main/bb_1_all.deb", "../bb.deb", "bad `source`: `../bb.deb` is not a pool path"),
        ("size = 1", "size = -1", "`size` is -1"),
        ("size = 1", "size = 0", "`aa` cannot have no bytes"),
        ("size = 1", "size = 1.5", "must be a whole number, not a fraction"),
        ("sets = [\"base\"]", "sets = []", "has no key `sets`"),
        ("sets = [\"base\"]", "sets = [\"worker\"]", "the set `worker` of `aa` is not in `[request]`"),
        ("sets = [\"base\"]", "sets = [\"base\", \"base\"]", "the set `base` is listed twice"),
        ("openpgp:", "md5:", "bad `verified`"),
        ("version = \"1\"", "versoin = \"1\"", "did you mean `version`?"),
        ("arch = \"all\"", "arch = \"m68k\"", "unknown architecture `m68k`; known: amd64, arm64, all"),
        ("name = \"bb\"", "name = \"--bb\"", "bad `name`"),
        ("  \"aa\",", "  \"aa\", \"aa\",", "the package `aa` is listed twice"),
        ("base = [", "Base = [", "bad set in `[request]`"),
    ];
    for (from, to, expected) in cases {
        let shown = failure(&small().replacen(from, to, 1));
        assert!(shown.contains(expected) && shown.contains("debian.lock:"), "{to}: {shown}");
    }
}

#[test]
fn two_entries_of_one_package_name_both_lines() {
    let shown = failure(&small().replace("\"bb\"", "\"aa\""));
    assert!(shown.starts_with("`aa` (all) is locked twice in `debian.lock`\n  debian.lock:30:8"), "{shown}");
    assert!(shown.contains("first here:\n  debian.lock:19:8"), "{shown}");
}

#[test]
fn entries_out_of_order_are_refused_but_for_kbake_lock() {
    let swapped = small().replace("\"aa\"\nv", "\"x\"\nv").replace("\"bb\"", "\"aa\"").replace("\"x\"", "\"bb\"");
    let shown = failure(&swapped);
    assert!(
        shown.starts_with("`aa` (all) is out of order in `debian.lock`: entries are sorted by name")
            && shown.contains("run `kbake lock --channel debian`"),
        "{shown}"
    );
    let merged = Lock::parse_merged(&swapped, "debian.lock").unwrap();
    assert_eq!(Lock::parse(&merged.to_text(), "debian.lock").unwrap(), merged);
}

#[test]
fn a_conflict_left_in_the_lock_has_its_own_message() {
    let shown = failure(&small().replacen("version = \"1\"", "<<<<<<< HEAD\nversion = \"2\"\n=======\nversion = \"3\"\n>>>>>>> b", 1));
    assert!(shown.starts_with("`debian.lock` has an unresolved merge conflict\n  debian.lock:20:1"), "{shown}");
    assert!(shown.contains("then run `kbake lock --channel debian`"), "{shown}");
}

#[test]
fn a_stale_lock_lists_everything_and_the_command() {
    let lock = shipped();
    let mut wanted = request();
    wanted.sets.get_mut(&SetName::Base).unwrap().insert("vim-tiny".parse().unwrap());
    wanted.sets.get_mut(&SetName::Base).unwrap().remove(&"nano".parse::<PackageName>().unwrap());
    wanted.sets.insert(SetName::Role("extra".parse().unwrap()), ["nfs-common".parse().unwrap()].into());
    wanted.suites[0].name = "trixie".parse().unwrap();
    let shown = lock.check("l", &wanted).unwrap_err().to_string();
    let expected = [
        "the lockfile `l` is stale: it does not match the recipes",
        "  suites: expected debian/trixie (main), found debian/bookworm (main)",
        "  base: `vim-tiny` is missing",
        "  base: `nano` is no longer asked for",
        "  extra: not locked at all",
        "  extra: `nfs-common` is missing",
        "hint: run `kbake lock --channel debian` and review the change",
    ];
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
    let mut fewer = request();
    fewer.sets.remove(&SetName::Role("etcd".parse().unwrap()));
    assert!(lock.check("l", &fewer).unwrap_err().to_string().contains("etcd: locked, but there is no such recipe"));
    // An entry lost in a merge.
    let cut = Lock::new(&request(), lock.suites.clone(), lock.entries().filter(|entry| entry.name.as_str() != "sudo").cloned().collect())
        .unwrap();
    assert!(cut.check("l", &request()).unwrap_err().to_string().contains("base: `sudo` is asked for, but has no entry"));
}

#[test]
fn changes_are_told_apart() {
    let old = Lock::parse(&small(), "debian.lock").unwrap();
    let text = small().replacen("version = \"1\"", "version = \"2\"", 1).replace("\"bb\"", "\"bd\"");
    let new = Lock::parse(&text, "debian.lock").unwrap();
    let shown = |vanished| changes(Some(&old), &new, &vanished).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(BTreeSet::new()), ["move    aa 1 -> 2", "remove  bb 1 (base)", "add     bd 1 (base)"]);
    assert_eq!(shown(["aa".parse().unwrap()].into())[0], "move    aa 1 -> 2: the archive no longer has the locked version");
    assert_eq!(changes(None, &old, &BTreeSet::new()).len(), 3);
    assert!(changes(Some(&old), &old, &BTreeSet::new()).is_empty());
    let regrouped = Lock::parse(&small().replacen("sets = [\"base\"]", "sets = [\"etcd\"]", 1), "debian.lock").unwrap();
    assert_eq!(changes(Some(&old), &regrouped, &BTreeSet::new())[0].to_string(), "regroup aa (base) -> (etcd)");
}

/// git's merge of two branches that started from one lock.
fn merge(base: &str, ours: &str, theirs: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (ours, base, theirs) = (file("ours", ours), file("base", base), file("theirs", theirs));
    let output = Command::new("git").args(["merge-file", "-p"]).args([ours, base, theirs]).output();
    let output = output.expect("git is missing: run tests/setup.sh");
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// The lock with every fact of one entry changed.
fn bumped(lock: &Lock, index: usize) -> String {
    let mut entries: Vec<Entry> = lock.entries().cloned().collect();
    let entry = &mut entries[index];
    entry.version = "9:9.9-9".parse().unwrap();
    entry.source = format!("{}/{}_9.9-9_all.deb", entry.source.folder(), entry.name).parse().unwrap();
    entry.size += 1;
    entry.sha256 = Sha256::of(entry.name.as_str());
    Lock::new(&request(), lock.suites.clone(), entries).unwrap().to_text()
}

#[test]
fn two_branches_that_move_two_packages_merge() {
    let lock = shipped();
    let count = lock.entries().count();
    // Neighbours are the hard case; distant ones and the ends are included.
    for (a, b) in [(0, 1), (1, 0), (100, 101), (count - 2, count - 1), (0, count - 1)] {
        let (clean, merged) = merge(SHIPPED, &bumped(&lock, a), &bumped(&lock, b));
        assert!(clean, "{a} and {b}: {merged}");
        let merged = Lock::parse(&merged, "merged").unwrap();
        let moved = changes(Some(&lock), &merged, &BTreeSet::new());
        assert_eq!(moved.len(), 2, "{moved:?}");
        merged.check("merged", &request()).unwrap();
    }
}

#[test]
fn one_package_moved_two_ways_conflicts_and_is_reported() {
    let theirs = bumped(&shipped(), 5).replace("9:9.9-9", "8:8.8-8");
    let (clean, merged) = merge(SHIPPED, &bumped(&shipped(), 5), &theirs);
    assert!(!clean);
    assert!(failure(&merged).contains("unresolved merge conflict"));
}

proptest::proptest! {
    /// A lock damaged by a merge, an editor or a disk gives an error with a place or a sound lock, never a panic.
    #[test]
    fn damaged_locks_never_panic(start in 0usize..1200, length in 0usize..60, patch in "[ -~\n\u{e9}\u{1F600}]{0,12}") {
        let mut text = small();
        let start = start.min(text.len());
        text.replace_range(start..(start + length).min(text.len()), &patch);
        match Lock::parse(&text, "debian.lock") {
            Ok(lock) => proptest::prop_assert_eq!(Lock::parse(&lock.to_text(), "again").unwrap(), lock),
            Err(error) => proptest::prop_assert!(error.to_string().contains("debian.lock:"), "{}", error),
        }
    }
}
