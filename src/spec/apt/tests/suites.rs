//! Several suites of two archives over three days: updates, security updates, withdrawn packages, new keys, replayed and expired
//! states, and an archive of snapshots.

use super::archive::{Archive, HEAD, Package, Suite};
use super::*;
use crate::common::testing::shared::server::{Answer, Server};

const DAYS: [&str; 3] = ["Sat, 01 Jan 2022 00:00:00 UTC", "Sun, 02 Jan 2022 00:00:00 UTC", "Mon, 03 Jan 2022 00:00:00 UTC"];
const MAIN: [Package<'static>; 4] =
    [("core", "1", "", "Essential: yes\n"), ("app", "1", "lib", ""), ("lib", "1", "", ""), ("tool", "1", "", "")];
const FIRST: Package<'static> = ("app", "1+s1", "lib", "Source: app-source (1:0.9)\n");
const SECOND: Package<'static> = ("app", "1+s2", "lib", "");

struct World {
    archive: Archive,
}

impl World {
    /// The three days: a security update appears on the second, and another one replaces it on the third.
    fn new() -> World {
        let world = World { archive: Archive::new() };
        for (day, security) in [&[][..], &[FIRST], &[SECOND]].into_iter().enumerate() {
            world.publish(day, "debian", "test", &MAIN);
            world.publish(day, "debian", "test-updates", &[]);
            world.publish(day, "security", "test-security", security);
        }
        world
    }

    fn publish(&self, day: usize, archive: &str, suite: &str, packages: &[Package<'_>]) {
        self.archive.publish_suite(&Suite::of(&format!("day{day}/{archive}"), suite, DAYS[day]), packages);
    }

    fn mirrors(&self, day: usize) -> Vec<Mirror> {
        let base = |name: &str| format!("file:{}", self.archive.path(&format!("day{day}/{name}")).display());
        ["debian", "security"].map(|name| Mirror::of(name, base(name))).into()
    }

    /// The three suites, with `more` keys in the table of the last one.
    fn sources(&self, more: &str) -> Sources {
        let keyring = self.archive.path("keyring.gpg");
        let table = |(name, archive, more): (&str, &str, &str)| {
            let key = if more.contains("keys") { String::new() } else { format!("keys = ['{}']\n", self.archive.fingerprint()) };
            format!(
                "[[suite]]\nname = '{name}'\narchive = '{archive}'\ncomponents = ['main']\nkeyring = '{}'\n{key}{more}",
                keyring.display()
            )
        };
        let suites = [("test", "debian", ""), ("test-updates", "debian", ""), ("test-security", "security", more)].map(table);
        Sources::parse("sources/test.toml", &format!("{HEAD}{}", suites.concat()), None).unwrap()
    }

    fn lock(&self, day: usize, old: Option<&Lock>, upgrade: Upgrade) -> Result<(Lock, Vec<String>)> {
        self.archive.lock_from(&self.mirrors(day), &self.sources(""), "app", "", old, upgrade)
    }

    /// Locks the state of a time by an archive of snapshots, which has the state before each time.
    fn lock_at(&self, server: &Server, at: &str, old: Option<&Lock>) -> Result<(Lock, Vec<String>)> {
        let snapshot = |archive: &str| format!("snapshot = '{}/{archive}/{{time}}/'\n", server.base());
        let mut text = HEAD.to_owned();
        for suite in &self.sources("").suites {
            text += &format!(
                "[[suite]]\nname = '{}'\narchive = '{}'\ncomponents = ['main']\nkeyring = '{}'\nkeys = ['{}']\n{}",
                suite.name.value,
                suite.archive,
                self.archive.path("keyring.gpg").display(),
                self.archive.fingerprint(),
                snapshot(suite.archive.as_str())
            );
        }
        let sources = Sources::parse("sources/test.toml", &text, None).unwrap();
        self.archive.lock_at(&[], &sources, ["app", ""], old, Upgrade::Nothing, Some(at.parse().unwrap()))
    }

    fn snapshots(&self) -> Server {
        let root = self.archive.path("");
        Server::start(move |request| {
            let mut parts = request.path.trim_start_matches('/').splitn(3, '/');
            let (archive, time, rest) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap_or_default());
            let day = match time {
                "20220101T120000Z" => 0,
                "20220102T000000Z" | "20220102T120000Z" => 1,
                _ => return Answer::new(404, b"nothing was kept then"),
            };
            match fsx::read_if_present(&root.join(format!("day{day}/{archive}/{rest}"))).unwrap() {
                Some(bytes) => Answer::ok(&bytes),
                None => Answer::new(404, b"no such file"),
            }
        })
    }
}

fn places(lock: &Lock) -> Vec<String> {
    lock.entries().map(|entry| format!("{} {} {}", entry.name, entry.version, entry.archive)).collect()
}

fn dates(lock: &Lock) -> Vec<String> {
    let date = |locked: &LockedSuite| format!("{} {}", locked.suite.name, locked.released.unwrap());
    lock.suites.iter().map(date).collect()
}

#[test]
fn a_security_update_is_taken_when_it_is_asked_for_and_replaced_when_it_is_withdrawn() {
    let world = World::new();
    let (first, _) = world.lock(0, None, Upgrade::Nothing).unwrap();
    assert_eq!(places(&first), ["app 1 debian", "core 1 debian", "lib 1 debian", "tool 1 debian"]);
    assert_eq!(dates(&first), ["test 2022-01-01T00:00:00Z", "test-updates 2022-01-01T00:00:00Z", "test-security 2022-01-01T00:00:00Z"]);
    assert_eq!(Lock::parse(&first.to_text(), "l").unwrap(), first);

    let (kept, changes) = world.lock(1, Some(&first), Upgrade::Nothing).unwrap();
    assert_eq!((places(&kept), changes), (places(&first), vec![]), "the main suite still has it");
    let (second, changes) = world.lock(1, Some(&first), Upgrade::All).unwrap();
    assert_eq!(changes, ["move    app 1 -> 1+s1"]);
    assert_eq!(places(&second)[0], "app 1+s1 security");
    let app = second.entries().next().unwrap();
    assert_eq!(app.source_version.as_ref().unwrap().to_string(), "1:0.9");
    assert_eq!(Lock::parse(&second.to_text(), "l").unwrap(), second);
    let (fresh, _) = world.lock(1, None, Upgrade::Nothing).unwrap();
    assert_eq!(fresh, second, "a new lock has the updates");

    let (third, changes) = world.lock(2, Some(&second), Upgrade::Nothing).unwrap();
    assert_eq!(changes, ["move    app 1+s1 -> 1+s2: the archive no longer has the locked version"]);
    assert_eq!(dates(&third)[2], "test-security 2022-01-03T00:00:00Z");
}

#[test]
fn a_version_in_several_suites_is_of_the_first_one() {
    let world = World::new();
    // A point release has taken over the update.
    world.publish(2, "debian", "test", &[&MAIN[..], &[SECOND]].concat());
    let (lock, _) = world.lock(2, None, Upgrade::Nothing).unwrap();
    assert_eq!(places(&lock)[0], "app 1+s2 debian");
    let (before, _) = world.lock(1, None, Upgrade::Nothing).unwrap();
    let (moved, _) = world.lock(2, Some(&before), Upgrade::All).unwrap();
    assert_eq!(places(&moved)[0], "app 1+s2 debian");
}

#[test]
fn an_older_state_is_refused_unless_it_is_asked_for() {
    let world = World::new();
    let (lock, _) = world.lock(1, None, Upgrade::Nothing).unwrap();
    let error = world.lock(0, Some(&lock), Upgrade::All).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.class(), Class::Network, "{text}");
    assert!(
        text.starts_with("no mirror answered for the suite `test`\n") && text.contains("its state is older than the lockfile's"),
        "{text}"
    );
    assert!(text.contains("locked 2022-01-02T00:00:00Z, found 2022-01-01T00:00:00Z") && text.contains("`--at TIME`"), "{text}");
    // One suite alone is enough.
    let mixed = [world.mirrors(1)[0].clone(), world.mirrors(0)[1].clone()];
    let error = world.archive.lock_from(&mixed, &world.sources(""), "app", "", Some(&lock), Upgrade::All).unwrap_err().to_string();
    assert!(error.starts_with("no mirror answered for the suite `test-security`\n"), "{error}");
    // The next mirror may have the newer state.
    let both = [mixed.to_vec(), world.mirrors(1)].concat();
    let (same, changes) = world.archive.lock_from(&both, &world.sources(""), "app", "", Some(&lock), Upgrade::All).unwrap();
    assert_eq!((same, changes), (lock, vec![]));
}

#[test]
fn an_archive_of_snapshots_gives_the_state_of_a_time() {
    let world = World::new();
    let server = world.snapshots();
    let (first, _) = world.lock_at(&server, "2022-01-01T12:00:00Z", None).unwrap();
    assert_eq!(places(&first), places(&world.lock(0, None, Upgrade::Nothing).unwrap().0));
    let (third, _) = world.lock(2, None, Upgrade::Nothing).unwrap();
    let (back, changes) = world.lock_at(&server, "2022-01-02", Some(&third)).unwrap();
    assert_eq!(changes, ["move    app 1+s2 -> 1+s1: the archive no longer has the locked version"]);
    assert_eq!(dates(&back)[2], "test-security 2022-01-02T00:00:00Z");
    assert_eq!(back, world.lock(1, None, Upgrade::Nothing).unwrap().0, "the same lock as on that day");
    let error = world.lock_at(&server, "2021-12-31", None).unwrap_err();
    assert!(error.class() == Class::Network && error.to_string().contains("no mirror answered for the suite `test`"), "{error}");
    // A suite without snapshots, and no mirror that has them.
    let (at, sources) = (Some("2022-01-01".parse().unwrap()), world.sources(""));
    let error = world.archive.lock_at(&[], &sources, ["app", ""], None, Upgrade::Nothing, at).unwrap_err().to_string();
    assert_eq!(
        error,
        "no archive of snapshots is known for the suite `test`\n\
         hint: add `snapshot` to the suite in `sources/test.toml`, or name one with `--mirror debian=URL`"
    );
    // A frozen mirror of the user's.
    let (frozen, _) = world.archive.lock_at(&world.mirrors(0), &sources, ["app", ""], Some(&third), Upgrade::Nothing, at).unwrap();
    assert_eq!(places(&frozen), places(&first));
}

#[test]
fn an_expired_state_is_refused_unless_a_past_one_is_asked_for() {
    let world = World::new();
    let expired = Suite { more: "Valid-Until: Tue, 04 Jan 2022 00:00:00 UTC\n", ..Suite::of("day2/security", "test-security", DAYS[2]) };
    world.archive.publish_suite(&expired, &[SECOND]);
    let error = world.lock(2, None, Upgrade::Nothing).unwrap_err();
    let text = error.to_string();
    assert!(error.class() == Class::Network && text.contains("the suite `test-security`") && text.contains("is expired"), "{text}");
    assert!(text.contains("hint: the mirror is out of date, or this host's clock is wrong"), "{text}");
    let at = Some("2022-01-03".parse().unwrap());
    let (lock, _) = world.archive.lock_at(&world.mirrors(2), &world.sources(""), ["app", ""], None, Upgrade::Nothing, at).unwrap();
    assert_eq!(places(&lock)[0], "app 1+s2 security");
}

#[test]
fn a_new_key_counts_when_the_sources_file_accepts_it() {
    let world = World::new();
    let old = world.archive.fingerprint().to_owned();
    let new = world.archive.new_key("next@test.invalid");
    let publish = |keys: &[&str]| {
        world.archive.publish_suite(&Suite { keys, ..Suite::of("day2/security", "test-security", DAYS[2]) }, &[SECOND]);
    };
    let lock = |accepted: &[&str]| {
        let keys: Vec<String> = accepted.iter().map(|key| format!("'{key}'")).collect();
        let sources = world.sources(&format!("keys = [{}]\n", keys.join(", ")));
        world.archive.lock_from(&world.mirrors(2), &sources, "app", "", None, Upgrade::Nothing)
    };
    let signer = |lock: &Lock| lock.entries().next().unwrap().verified.to_string();
    // While both sign, either is enough.
    publish(&[&old, &new]);
    assert_eq!(signer(&lock(&[&old]).unwrap().0), format!("openpgp:{old}"));
    assert_eq!(signer(&lock(&[&new, &old]).unwrap().0), format!("openpgp:{new}"));
    // Then only the new one does.
    publish(&[&new]);
    let error = lock(&[&old]).unwrap_err();
    let text = error.to_string();
    assert!(error.class() == Class::Integrity && text.contains(&format!("signed by: {new}")), "{text}");
    assert!(text.contains("add it to `keys` of the suite `test-security` in `sources/test.toml`"), "{text}");
    assert_eq!(signer(&lock(&[&old, &new]).unwrap().0), format!("openpgp:{new}"));
}

#[test]
fn a_suite_of_low_priority_is_used_for_what_the_others_lack() {
    let world = World::new();
    world.publish(2, "security", "test-security", &[SECOND, ("extra", "1", "", "")]);
    let lock = |more: &str| {
        let names = ["app extra", ""];
        world.archive.lock_at(&world.mirrors(2), &world.sources(more), names, None, Upgrade::Nothing, None).unwrap().0
    };
    assert_eq!(places(&lock(""))[0], "app 1+s2 security");
    let found = places(&lock("priority = 100\n"));
    assert_eq!((found[0].as_str(), found[2].as_str()), ("app 1 debian", "extra 1 security"));
}

#[test]
fn an_armoured_keyring_of_the_project_is_enough() {
    let world = World::new();
    let text = format!(
        "{HEAD}[[suite]]\nname = 'test'\narchive = 'debian'\ncomponents = ['main']\nkeyring = 'keys/test.asc'\nkeys = ['{}']\n",
        world.archive.fingerprint()
    );
    let sources = Sources::parse("sources/test.toml", &text, None).unwrap();
    let lock = || world.archive.lock_from(&world.mirrors(0)[..1], &sources, "app", "", None, Upgrade::Nothing);
    let error = lock().unwrap_err().to_string();
    assert!(error.starts_with("the keyring `recipes/keys/test.asc` does not exist\n  sources/test.toml:10:11"), "{error}");
    super::archive::write(&world.archive.path("recipes/keys/test.asc"), "no key");
    let error = lock().unwrap_err().to_string();
    assert!(error.starts_with("the keyring `recipes/keys/test.asc` is not a file of OpenPGP keys"), "{error}");
    world.archive.export_armoured("recipes/keys/test.asc");
    assert_eq!(places(&lock().unwrap().0)[0], "app 1 debian");
}

#[test]
fn a_suite_without_a_component_is_refused() {
    let world = World::new();
    let keyring = world.archive.path("keyring.gpg").display().to_string();
    let text = format!(
        "{HEAD}[[suite]]\nname = 'test'\narchive = 'debian'\ncomponents = ['main', 'contrib']\nkeyring = '{keyring}'\nkeys = ['{}']\n",
        world.archive.fingerprint()
    );
    let sources = Sources::parse("sources/test.toml", &text, None).unwrap();
    let error = world.archive.lock_from(&world.mirrors(0)[..1], &sources, "app", "", None, Upgrade::Nothing).unwrap_err();
    assert!(error.class() == Class::Network && error.to_string().contains("its suite `test` has no component `contrib`"), "{error}");
}
