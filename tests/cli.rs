//! The program as a person meets it: its interface, and what it says to bad input. All of it on loopback.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test looks at the host, and prints")]

mod web;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use kbake::lock::{Entry, Lock, Request, SetName};
use kbake::recipe::{Recipe, Sources, Subject};
use kbake::value::Sha256;
use web::{Answer, Web};

const KBAKE: &str = env!("CARGO_BIN_EXE_kbake");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const ONE: &str = "pool/main/o/one/one_1_all.deb";
const TWO: &str = "pool/main/t/two/two_1_all.deb";
const TOOL: &str = "pool/main/m/mmdebstrap/mmdebstrap_1_all.deb";

/// A project of three small packages, with a store and a home of its own.
struct Site {
    dir: tempfile::TempDir,
}

/// What a package's file holds.
fn contents(path: &str) -> Vec<u8> {
    path.repeat(40_000).into_bytes()
}

impl Site {
    fn new() -> Site {
        let site = Site { dir: tempfile::tempdir().unwrap() };
        for folder in ["recipes/roles", "recipes/sources", "lockfiles", "home", "images"] {
            fs::create_dir_all(site.path(folder)).unwrap();
        }
        site.write("recipes/base.toml", "description = \"base\"\npackages = [\"one\"]\n");
        site.write("recipes/roles/etcd.toml", "description = \"a role\"\npackages = [\"two\"]\n");
        let sources = fs::read_to_string(Path::new(ROOT).join("recipes/sources/debian.toml")).unwrap();
        let (head, _) = sources.split_once("tools = [").unwrap();
        site.write("recipes/sources/debian.toml", &format!("{head}tools = [\"mmdebstrap\"]\n"));
        // No mirror but the one that a test names.
        site.write("home/apt.conf", "Dir::Etc::SourceList \"/dev/null\";\nDir::Etc::SourceParts \"/dev/null\";\n");
        site.lock(&[(ONE, &contents(ONE)), (TWO, &contents(TWO)), (TOOL, &contents(TOOL))]);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes the lockfile of these packages, as `kbake lock` would.
    fn lock(&self, packages: &[(&str, &[u8])]) {
        let role: kbake::value::RoleName = "etcd".parse().unwrap();
        let sources = Sources::parse("s", &self.read("recipes/sources/debian.toml")).unwrap();
        let base = Recipe::parse("b", &self.read("recipes/base.toml"), Subject::Base).unwrap();
        let own = Recipe::parse("r", &self.read("recipes/roles/etcd.toml"), Subject::Role(role.clone())).unwrap();
        let entries = packages.iter().map(|(path, bytes)| {
            let name = path.split('/').nth(3).unwrap();
            let set = match name {
                "one" => SetName::Base,
                "two" => SetName::Role(role.clone()),
                _ => SetName::Tool,
            };
            Entry {
                name: name.parse().unwrap(),
                version: "1".parse().unwrap(),
                arch: "all".parse().unwrap(),
                source: path.parse().unwrap(),
                size: bytes.len() as u64,
                sha256: Sha256::of(bytes),
                verified: format!("openpgp:{}", "A".repeat(40)).parse().unwrap(),
                sets: [set].into(),
            }
        });
        let lock = Lock::new(&Request::of(&sources, &[base, own]), entries.collect()).unwrap();
        self.write("lockfiles/debian.lock", &lock.to_text());
    }

    fn kbake(&self, args: &[&str]) -> Command {
        let mut command = Command::new(KBAKE);
        command.args(args).current_dir(self.dir.path()).env_clear().stdin(Stdio::null());
        command.env("HOME", self.path("home")).env("APT_CONFIG", self.path("home/apt.conf")).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Runs a command that must fail with `code`; gives what it said.
    fn fails(&self, code: i32, args: &[&str]) -> String {
        said(code, &self.kbake(args).output().unwrap())
    }

    fn succeeds(&self, args: &[&str]) -> String {
        let output = self.kbake(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The names of the blobs in the store.
    fn blobs(&self) -> Vec<String> {
        let Ok(folder) = fs::read_dir(self.path("home/.cache/kbake/blobs/sha256")) else { return Vec::new() };
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn said(code: i32, output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "stdout is for data");
    stderr
}

#[track_caller]
fn says(text: &str, expected: &[&str]) {
    for part in expected {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

fn mirror(web: &Web, paths: &[&str]) {
    paths.iter().for_each(|path| web.answer(path, Answer::File(contents(path))));
}

#[test]
fn a_wrong_hash_keeps_nothing_and_names_both_digests() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[TWO, TOOL]);
    let wrong = vec![b'x'; contents(ONE).len()];
    web.answer(ONE, Answer::File(wrong.clone()));
    let text = site.fails(4, &["fetch", "etcd", "--mirror", &web.base]);
    let (expected, found) = (Sha256::of(contents(ONE)).to_string(), Sha256::of(&wrong).to_string());
    says(&text, &["error: hash mismatch for `one`", &expected, &found, ONE, "hint: nothing was kept", "kbake lock --upgrade one"]);
    assert!(!site.blobs().contains(&expected) && !site.blobs().contains(&found));

    // A second mirror that has it puts all right.
    let second = Web::start();
    mirror(&second, &[ONE]);
    site.succeeds(&["fetch", "etcd", "--mirror", &web.base, "--mirror", &second.base]);
    assert!(site.blobs().contains(&expected));
}

#[test]
fn a_package_that_no_mirror_has() {
    let (site, first, second) = (Site::new(), Web::start(), Web::start());
    mirror(&first, &[TWO, TOOL]);
    let text = site.fails(3, &["fetch", "etcd", "--mirror", &first.base, "--mirror", &second.base]);
    says(
        &text,
        &["error: cannot fetch `one`", &format!("{}{ONE}", first.base), &format!("{}{ONE}", second.base), "404", "hint: no source has it"],
    );
}

#[test]
fn a_shorter_file_and_a_portal() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[TWO, TOOL]);
    web.answer(ONE, Answer::File(contents(ONE)[..1000].to_vec()));
    let text = site.fails(3, &["fetch", "etcd", "--mirror", &web.base]);
    says(&text, &["error: cannot fetch `one`", "1000"]);
    web.answer(ONE, Answer::Html("<!doctype html><title>Welcome to the hotel</title>"));
    let text = site.fails(3, &["fetch", "etcd", "--mirror", &web.base]);
    says(&text, &["a web page came in place of a file", "portal"]);
}

#[test]
fn offline_lists_all_that_is_missing_and_opens_no_socket() {
    let site = Site::new();
    let trace = site.path("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=socket,connect", "-o"]).arg(&trace).arg(KBAKE).args(["build", "etcd", "--offline"]);
    strace.current_dir(site.dir.path()).env_clear().env("HOME", site.path("home")).env("PATH", "/usr/bin:/bin");
    let text = said(3, &strace.output().unwrap_or_else(|e| panic!("strace is missing: run tests/setup.sh ({e})")));
    says(&text, &["3 artifacts are missing in the store (", ONE, TWO, TOOL, "MiB", "hint: run `kbake fetch` where there is a network"]);
    let calls = fs::read_to_string(trace).unwrap();
    assert!(!calls.contains("AF_INET"), "{calls}");
}

#[test]
fn no_mirror_at_all() {
    says(
        &Site::new().fails(1, &["fetch", "etcd"]),
        &["error: no source is known for", "pool/main/", "hint: no mirror is known", "--mirror URL"],
    );
}

#[test]
fn an_interrupted_fetch_goes_on_where_it_was() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[TWO, TOOL]);
    web.answer(ONE, Answer::Slow(contents(ONE), 50_000));
    let child = site.kbake(&["fetch", "etcd", "--mirror", &web.base]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let partial = site.path(&format!("home/.cache/kbake/tmp/partial-{}", Sha256::of(contents(ONE))));
    let start = Instant::now();
    while fs::metadata(&partial).map_or(0, |meta| meta.len()) < 100_000 {
        assert!(start.elapsed() < Duration::from_secs(20), "the download does not get on");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let text = said(130, &child.wait_with_output().unwrap());
    says(&text, &["error: interrupted", "hint: nothing was kept half-written"]);
    assert!(!site.blobs().contains(&Sha256::of(contents(ONE)).to_string()));

    web.answer(ONE, Answer::File(contents(ONE)));
    site.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
    let last = web.requests().into_iter().rfind(|request| request.path.ends_with(ONE)).unwrap();
    let from: usize = last.range.expect("a range").trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
    assert!(from >= 100_000, "only the rest was asked for");
}

#[test]
fn two_at_once_fetch_each_package_once() {
    let (site, web) = (Site::new(), Web::start());
    for path in [ONE, TWO, TOOL] {
        web.answer(path, Answer::Slow(contents(path), 300_000));
    }
    let start = || site.kbake(&["fetch", "etcd", "--mirror", &web.base]).stderr(Stdio::piped()).spawn().unwrap();
    for child in [start(), start()] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(web.requests().len(), 3, "{:?}", web.requests());
}

#[test]
fn a_full_disk_has_its_own_exit_code() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[ONE, TWO, TOOL]);
    let small = site.path("small");
    fs::create_dir(&small).unwrap();
    // A disk of 1 MiB, in namespaces where anyone may mount one.
    let script = "mount -t tmpfs -o size=1m none \"$1\" && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(&small).arg(KBAKE);
    command.args(["fetch", "etcd", "--mirror", &web.base, "--store"]).arg(small.join("store"));
    command.current_dir(site.dir.path()).env("APT_CONFIG", site.path("home/apt.conf"));
    let text = said(5, &command.output().unwrap_or_else(|e| panic!("unshare is missing: run tests/setup.sh ({e})")));
    says(&text, &["error: not enough space for the store", "hint: "]);
}

#[test]
fn a_hostile_package_is_refused_by_name() {
    let (site, web) = (Site::new(), Web::start());
    // What the lock names, byte for byte, and yet no package.
    mirror(&web, &[ONE, TWO, TOOL]);
    let text = site.fails(4, &["build", "etcd", "--mirror", &web.base]);
    says(&text, &["error: the package `one`: is no ar archive"]);
    assert!(!site.path("images/etcd.qcow2").exists());
}

#[test]
fn unknown_names_get_the_known_ones() {
    let site = Site::new();
    says(&site.fails(1, &["build", "etdc"]), &["error: unknown role `etdc`", "known: etcd", "hint: "]);
    says(&site.fails(1, &["plan", "../etcd"]), &["error: unknown role"]);
    says(&site.fails(1, &["plan", "etcd", "--channel", "upstream"]), &["recipes/sources/upstream.toml is missing"]);
    says(&site.fails(1, &["plan", "etcd", "--project", "/nowhere"]), &["/nowhere", "kbake init"]);
}

#[test]
fn mistakes_in_recipes_have_a_place() {
    let site = Site::new();
    let role = "recipes/roles/etcd.toml";
    for (text, expected) in [
        ("description = \"a\"\npackages = [\"two\"\n", &["recipes/roles/etcd.toml:"][..]),
        ("description = \"a\"\npackges = [\"two\"]\n", &["recipes/roles/etcd.toml:2:1", "packges", "`packages`"]),
        ("description = \"a\"\npackages = [2]\n", &["recipes/roles/etcd.toml:2:13"]),
        ("description = \"a\"\nparts = [\"ectd\"]\n", &["recipes/roles/etcd.toml:2:10", "unknown part", "known: etcd"]),
        ("description = \"a\"\n[[file]]\npath = \"/etc/../x\"\ncontent = \"\"\n", &["recipes/roles/etcd.toml:3:8", ".."]),
        ("<<<<<<< ours\ndescription = \"a\"\n=======\n", &["recipes/roles/etcd.toml:1", "merge", "hint: "]),
    ] {
        site.write(role, text);
        says(&site.fails(1, &["plan", "etcd"]), expected);
    }
}

#[test]
fn mistakes_in_the_lockfile_have_a_place_and_a_remedy() {
    let site = Site::new();
    let (file, good) = ("lockfiles/debian.lock", site.read("lockfiles/debian.lock"));
    let digest = Sha256::of(contents(ONE)).to_string();
    for (text, expected) in [
        (good.replace("format = 1", "format = 2"), &["lockfiles/debian.lock", "newer"][..]),
        (good.replace(&digest, "abc"), &["lockfiles/debian.lock:", "64 hexadecimal digits"]),
        (format!("{good}<<<<<<< ours\n"), &["lockfiles/debian.lock:", "merge", "kbake lock"]),
        (good.replace("[[package]]", "[[packge]]"), &["lockfiles/debian.lock:"]),
    ] {
        assert_ne!(text, good);
        site.write(file, &text);
        says(&site.fails(1, &["plan", "etcd"]), expected);
    }
    fs::remove_file(site.path(file)).unwrap();
    says(&site.fails(1, &["build", "etcd"]), &["error: lockfiles/debian.lock is missing", "hint: run `kbake lock --channel debian`"]);
}

#[test]
fn a_stale_lock_stops_the_build_and_the_check() {
    let site = Site::new();
    site.succeeds(&["lock", "--check"]);
    site.write("recipes/roles/etcd.toml", "description = \"a role\"\npackages = [\"two\", \"htop\"]\n");
    for args in [&["lock", "--check"][..], &["build", "etcd"], &["plan", "etcd"]] {
        says(&site.fails(1, args), &["lockfiles/debian.lock", "etcd: `htop` is missing", "run `kbake lock --channel debian`"]);
    }
}

#[test]
fn the_plan_does_not_depend_on_who_asks() {
    let site = Site::new();
    let plan = site.succeeds(&["plan", "etcd"]);
    assert_eq!(site.succeeds(&["plan", "etcd", "--key"]).trim(), Sha256::of(&plan).to_string());
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh", KBAKE, "plan", "etcd", "--project"]).arg(site.dir.path());
    command.current_dir(elsewhere.path()).env("HOME", elsewhere.path()).env("TZ", "Asia/Tokyo").env("LC_ALL", "tr_TR.UTF-8");
    assert_eq!(String::from_utf8(command.output().unwrap().stdout).unwrap(), plan);
    // Where no project is, the shipped one serves.
    let shipped = |args: &[&str], folder: &Path| Command::new(KBAKE).args(args).current_dir(folder).output().unwrap().stdout;
    assert_eq!(shipped(&["plan", "etcd"], elsewhere.path()), shipped(&["plan", "etcd"], Path::new(ROOT)));
}

#[test]
fn init_writes_what_is_missing_and_nothing_else() {
    let site = Site::new();
    let before = site.read("recipes/base.toml");
    let written = site.succeeds(&["init", "new"]);
    assert!(written.lines().any(|line| line == "new/recipes/roles/etcd.toml"), "{written}");
    assert_eq!(site.read("new/lockfiles/debian.lock"), fs::read_to_string(Path::new(ROOT).join("lockfiles/debian.lock")).unwrap());
    site.succeeds(&["init"]);
    assert_eq!(site.read("recipes/base.toml"), before);
    assert_eq!(site.succeeds(&["roles"]), "etcd\ta role\n");
}

#[test]
fn a_seed_is_private_and_the_same_every_time() {
    let site = Site::new();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICw9WoIGA6sY5DGuHnLIAPO9JFFfv4wVMbWoWLz7S9ZJ someone@example\n";
    site.write("key.pub", key);
    site.write("key", "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n-----END OPENSSH PRIVATE KEY-----\n");
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$@\"", "sh", KBAKE, "seed", "etcd0", "--ssh-key", "key.pub"]).current_dir(site.dir.path());
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "images/seeds/etcd0.iso\n", "{}", String::from_utf8_lossy(&output.stderr));
    let seed = site.path("images/seeds/etcd0.iso");
    assert_eq!(fs::metadata(&seed).unwrap().permissions().mode() & 0o7777, 0o600);
    site.succeeds(&["seed", "etcd0", "--ssh-key", "key.pub", "--out", "again.iso"]);
    assert_eq!(fs::read(&seed).unwrap(), fs::read(site.path("again.iso")).unwrap());

    let text = site.fails(1, &["seed", "etcd0", "--ssh-key", "key"]);
    says(&text, &["error: key: this is a PRIVATE key", "ends in `.pub`"]);
    assert!(!text.contains("secret"));
    for (args, expected) in [
        (&["seed", "Etcd_0"][..], "Etcd_0"),
        (&["seed", "etcd0", "--address", "10.0.0.300/24", "--gateway", "10.0.0.1"], "--address"),
        (&["seed", "etcd0", "--address", "10.0.0.3/24", "--gateway", "x"], "--gateway"),
        (&["seed", "etcd0", "--address", "10.0.0.3/24"], "--gateway"),
        (&["seed", "etcd0", "--mac", "52:54"], "--mac"),
        (&["seed", "etcd0", "--etcd-listen", "everyone"], "everyone"),
    ] {
        says(&site.fails(2, args), &[expected]);
    }
}

#[test]
fn usage_and_pipes() {
    let site = Site::new();
    says(&site.fails(2, &["biuld", "etcd"]), &["build"]);
    says(&site.fails(2, &["build"]), &["ROLE"]);
    assert!(site.succeeds(&["--version"]).starts_with("kbake 0."));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = site.kbake(&["plan", "etcd"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "a full disk behind stdout is no success");
    let mut pipe = Command::new("sh");
    pipe.args(["-c", "\"$1\" plan etcd | head -n 1", "sh", KBAKE]).current_dir(site.dir.path());
    let output = pipe.output().unwrap();
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"kbake-plan 1\n"[..], &b""[..]));
}

#[test]
fn the_help_is_the_reviewed_one() {
    let site = Site::new();
    let mut all = site.succeeds(&["--help"]);
    for command in ["build", "fetch", "plan", "tree", "lock", "seed", "roles", "init"] {
        all += &format!("\n$ kbake {command} --help\n{}", site.succeeds(&[command, "--help"]));
    }
    let golden = Path::new(ROOT).join("tests/golden/cli/help.txt");
    if fs::read_to_string(&golden).unwrap_or_default() != all {
        let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join("help.txt");
        fs::write(&found, &all).unwrap();
        panic!("the command line has changed: review it, then\n  cp {} {}", found.display(), golden.display());
    }
}
