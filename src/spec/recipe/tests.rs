use super::*;
use crate::common::value::TreePath;

fn etcd() -> Subject {
    Subject::Role("etcd".parse().unwrap())
}

fn recipe(text: &str) -> Result<Recipe> {
    Recipe::parse("roles/etcd.toml", text, etcd())
}

fn failure(text: &str) -> String {
    recipe(text).unwrap_err().to_string()
}

const FULL: &str = r#"
description = "d"
packages = ["etcd-server", "g++"]

[[symlink]]
path = "/etc/resolv.conf"
target = "../run/x"

[[file]]
path = "/etc/a b"
content = "x\n"
mode = "0600"
owner = "etcd"
group = "adm"

[[file]]
path = "/etc/a"
source = "files/a.conf"

[[dir]]
path = "/var/lib/etcd"
mode = "0700"

[[remove]]
path = "/etc/motd"

[units]
enable = ["etcd.service"]
mask = ["getty@tty1.service"]
"#;

#[test]
fn a_full_recipe_is_read_and_sorted() {
    let recipe = recipe(FULL).unwrap();
    let shown: Vec<_> = recipe.entries.iter().map(|entry| entry.value.path.to_string()).collect();
    assert_eq!(shown, ["/etc/a", "/etc/a\\x20b", "/etc/motd", "/etc/resolv.conf", "/var/lib/etcd"]);
    let Intent::File { body, mode, owner, group, public: None } = &recipe.entries[1].value.intent else { panic!() };
    assert_eq!((&body.value, mode.bits(), owner.as_str(), group.as_str()), (&Body::Text("x\n".into()), 0o600, "etcd", "adm"));
    let Intent::File { body, mode, owner, .. } = &recipe.entries[0].value.intent else { panic!() };
    assert_eq!((&body.value, mode.bits(), owner.as_str()), (&Body::Source("files/a.conf".parse().unwrap()), 0o644, "root"));
    assert_eq!(recipe.entries[4].value.path, TreePath::fixed("var/lib/etcd"));
    assert!(matches!(&recipe.entries[4].value.intent, Intent::Dir { mode, .. } if mode.bits() == 0o700));
    assert!(matches!(&recipe.entries[3].value.intent, Intent::Symlink { target } if target == "../run/x"));
    assert_eq!(recipe.entries[2].value.intent, Intent::Remove);
    assert_eq!(recipe.packages[1].place.to_string(), "roles/etcd.toml:3:28");
    assert_eq!((recipe.units.enable.len(), recipe.units.disable.len(), recipe.units.mask.len()), (1, 0, 1));
}

#[test]
fn every_bad_value_is_shown_with_its_place() {
    let cases = [
        ("packages = ['Etcd']", "bad `packages`: `Etcd` is not a Debian package name", ":2:13"),
        ("packages = ['ab', 'cd', 'ab']", "the package `ab` is listed twice", ":2:25"),
        ("[[clear]]\npath = 'etc/x'", "bad `path`: `etc/x` must begin with `/`", ":3:8"),
        ("[[clear]]\npath = '/etc/x'\n[[clear]]\npath = '/etc/x'", "the path `/etc/x` is listed twice", ":5:8"),
        ("[[file]]\npath = '/etc/x'\ncontent = ''\npublic = ' '", "this is the reason", ":5:10"),
        ("[[file]]\npath = 'etc/x'\ncontent = ''", "bad `path`: `etc/x` must begin with `/`", ":3:8"),
        ("[[file]]\npath = '/etc/../x'\ncontent = ''", "escapes the root by `..`", ":3:8"),
        ("[[file]]\npath = '/etc//x'\ncontent = ''", "must be a clean path", ":3:8"),
        ("[[remove]]\npath = '/'", "must be a clean path below `/`", ":3:8"),
        ("[[file]]\npath = '/x'\ncontent = ''\nmode = '0999'", "bad `mode`: `0999` is not a mode", ":5:8"),
        ("[[file]]\npath = '/x'\ncontent = ''\nmode = 0644", "is not valid TOML", ":5:8"),
        ("[[file]]\npath = '/x'\ncontent = ''\nmode = 644", "`mode` must be a string, not a whole number", ":5:8"),
        ("[[file]]\npath = '/x'\ncontent = ''\nowner = 'a:b'", "`a:b` is not a user or group name", ":5:9"),
        ("[[file]]\npath = '/x'", "`[[file]]` has no key `content`", ":2:1"),
        ("[[file]]\npath = '/x'\ncontent = ''\nsource = 'a'", "a file has `content` or `source`, not both", ":5:10"),
        ("[[file]]\npath = '/x'\nsource = '../a'", "inside the recipes' folder", ":4:10"),
        ("[[file]]\npath = '/x'\nsource = '/etc/shadow'", "inside the recipes' folder", ":4:10"),
        ("[[symlink]]\npath = '/x'\ntarget = ''", "a link's target has 1 to 4095 bytes", ":4:10"),
        ("[[dir]]\npath = '/x'\ntarget = ''", "unknown key `target` in `[[dir]]`", ":4:1"),
        ("[units]\nenable = ['etcd']", "`etcd` is not a unit name", ":3:11"),
        ("[units]\nenable = ['a.service']\nmask = ['a.service']", "the unit `a.service` is listed twice", ":4:9"),
        ("[unit]\nenable = []", "unknown key `unit` in `roles/etcd.toml`", ":2:2"),
        ("file = 3", "`file` must be tables `[[file]]`", ":2:8"),
    ];
    for (text, message, place) in cases {
        let shown = failure(&format!("description = ''\n{text}\n"));
        assert!(shown.contains(message), "{text}: {shown}");
        assert!(shown.contains(&format!("roles/etcd.toml{place}\n")), "{text}: {shown}");
    }
    assert!(failure("").starts_with("`roles/etcd.toml` has no key `description`"));
}

#[test]
fn one_path_twice_names_both_lines() {
    let shown = failure("description = ''\n[[file]]\npath = '/x'\ncontent = ''\n[[remove]]\npath = '/x'\n");
    assert!(shown.starts_with("`/x` is described twice\n  roles/etcd.toml:6:8\n"), "{shown}");
    assert!(shown.contains("first here:\n  roles/etcd.toml:3:8\n"), "{shown}");
}

#[test]
fn merge_conflicts_have_a_remedy() {
    let shown = failure("description = ''\npackages = [\n<<<<<<< HEAD\n  'ab',\n=======\n  'cd',\n>>>>>>> b\n]\n");
    assert!(shown.contains("unresolved merge conflict\n  roles/etcd.toml:3:1") && shown.contains("remove the markers"), "{shown}");
}

#[test]
fn a_role_cannot_take_the_lockfiles_words() {
    for word in ["base", "tool"] {
        let subject = Subject::Role(word.parse().unwrap());
        assert!(Recipe::parse("r", "description = ''", subject).unwrap_err().message().contains("the lockfile uses that word"));
    }
}

const HEAD: &str = r#"
channel = "debian"
kind = "debian-packages"
arch = "amd64"
epoch = 2026-07-11T10:16:37Z
tools = ["mmdebstrap"]
"#;

/// A suite, which a file may have after its first keys.
const SUITE: &str = r#"
[[suite]]
name = "bookworm"
archive = "debian"
components = ["main"]
keyring = "/k.gpg"
keys = ["4D64FEC119C2029067D6E791F8D2585B8783D481"]
"#;

fn own() -> String {
    format!("{HEAD}{SUITE}")
}

#[test]
fn sources_are_read() {
    let sources = Sources::parse("s.toml", &own(), None).unwrap();
    // `date -d 2026-07-11T10:16:37Z +%s`
    assert_eq!(sources.epoch.seconds(), 1_783_764_997);
    assert_eq!((sources.channel.as_str(), sources.suites[0].name.value.as_str(), sources.tools.len()), ("debian", "bookworm", 1));
}

#[test]
fn epochs() {
    let cases = [
        ("1970-01-01T00:00:01Z", Some(1)),
        ("2000-02-29T23:59:59Z", Some(951_868_799)),
        ("2024-03-01T00:00:00Z", Some(1_709_251_200)),
        ("2026-07-11T12:16:37+02:00", Some(1_783_764_997)),
        ("2038-01-19T03:14:07Z", Some(2_147_483_647)),
        ("2038-01-19T03:14:08Z", None),
        ("1970-01-01T00:00:00Z", None),
        ("2026-07-11T10:16:37", None),
        ("2026-07-11", None),
        ("10:16:37", None),
        ("1783764997", None),
    ];
    for (text, expected) in cases {
        let found = Sources::parse("s.toml", &own().replace("2026-07-11T10:16:37Z", text), None).map(|sources| sources.epoch.seconds());
        assert_eq!(found.as_ref().ok().copied(), expected, "{text}: {found:?}");
    }
}

#[test]
fn bad_sources_are_refused() {
    let cases = [
        ("\"debian-packages\"", "\"cloud-image\"", "bad `kind`: unknown kind `cloud-image`"),
        ("\"bookworm\"", "\"../x\"", "bad `name`"),
        ("\"bookworm\"", "\"a\\nTrusted: yes\"", "bad `name`"),
        ("\"debian\"\ncomp", "\"a/b\"\ncomp", "bad `archive`"),
        ("[[suite]]", "[suite]", "must be tables `[[suite]]`"),
        ("components", "priority = 1001\ncomponents", "it must be 1 to 1000"),
        ("components", "snapshot = \"https://s.test/\"\ncomponents", "with `{time}` once"),
        ("components", "snapshot = \"file:///{time}\"\ncomponents", "with `{time}` once"),
        ("[\"main\"]", "[]", "at least one value in `components`"),
        ("\"amd64\"", "\"arm\"", "unknown architecture `arm`"),
        ("\"/k.gpg\"", "\"../k.gpg\"", "a plain path inside the recipes' folder"),
        ("\"/k.gpg\"", "\"/k .gpg\"", "without spaces"),
        ("keys = [\"4D64FEC1", "keys = [\"", "not a key fingerprint"),
        ("tools =", "tool =", "did you mean `tools`?"),
    ];
    for (from, to, expected) in cases {
        let shown = Sources::parse("s.toml", &own().replace(from, to), None).unwrap_err().to_string();
        assert!(shown.contains(expected), "{to}: {shown}");
    }
}

#[test]
fn a_file_of_one_s_own_may_have_a_version() {
    let with = |tables: &str| Sources::parse("s.toml", &format!("{HEAD}{SUITE}{tables}"), None);
    let sources = with("[versions]\na = '1.2'\n[artifact.x]\npath = 'files/x'\nversion = 'a'\ninstall = '/x'\n").unwrap();
    let Origin::Path { path, version } = &sources.artifacts[&"x".parse().unwrap()].origin else { panic!("it is a file") };
    assert_eq!((path.value.to_string(), version.as_ref().unwrap().value.as_str()), ("files/x".to_owned(), "a"));
    for (table, message) in [
        ("path = 'x'\nversion = 'b'", "`[versions]` has no `b`"),
        ("path = '../x'", "must be a plain path inside the recipes' folder"),
        ("path = '/x'", "must be a plain path inside the recipes' folder"),
        ("path = 'x'\nchecksum = 'https://a/b'", "`checksum` goes with `url`, not with `path`"),
        ("package = 'x'\nversion = 'a'", "`version` goes with `url` and `path`, not with `package`"),
    ] {
        let shown = with(&format!("[versions]\na = '1.2'\n[artifact.x]\n{table}\n")).unwrap_err().to_string();
        assert!(shown.contains(message) && shown.contains("s.toml:"), "{table}: {shown}");
    }
}

#[test]
fn a_channel_s_roles_are_inherited_as_a_whole() {
    let base = Sources::parse("s.toml", &format!("{HEAD}roles = ['a', 'b']\n{SUITE}"), None).unwrap();
    let has = |sources: &Sources| ["a", "b", "c"].map(|role| sources.has_role(&role.parse().unwrap()));
    let on = |more: &str| Sources::parse("l.toml", &format!("channel = 'l'\nbase = 'debian'\n{more}"), Some(base.clone())).unwrap();
    assert_eq!(has(&Sources::parse("s.toml", &own(), None).unwrap()), [true; 3]);
    assert_eq!([has(&base), has(&on(""))], [[true, true, false]; 2]);
    assert_eq!(has(&on("roles = ['c']\n")), [false, false, true]);
}

#[test]
fn the_shipped_recipes_are_sound() {
    let base = Recipe::parse("base.toml", include_str!("../../../recipes/base.toml"), Subject::Base).unwrap();
    let names: Vec<_> = base.packages.iter().map(|package| &package.value).collect();
    assert!(names.is_sorted(), "a sorted list merges better");
    let role = recipe(include_str!("../../../recipes/roles/etcd.toml")).unwrap();
    assert!(role.parts[0].value.as_str() == "etcd" && role.packages.is_empty());
    let sources = Sources::parse("debian.toml", include_str!("../../../recipes/sources/debian.toml"), None).unwrap();
    assert_eq!(sources.epoch.seconds(), 1_783_764_997);
}
