//! The program as a person meets it: its interface, and what it says to bad input. All of it on loopback.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test looks at the host, and prints")]

mod clusters;
mod disks;
#[path = "cli/odd.rs"]
mod odd;
mod packages;
mod site;
mod web;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kbake::value::Sha256;
use packages::{deb, tar};
use site::{ONE, Site, TOOL, TWO, contents, mirror, said, says};
use web::{Answer, Web};

const KBAKE: &str = env!("CARGO_BIN_EXE_kbake");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What a fetched role has in the store: three packages, its plan, and the causes of the plan's lines.
const FETCHED: usize = 5;

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
fn what_a_large_file_was_is_remembered_where_there_is_a_store() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[ONE, TWO, TOOL]);
    let entry = "\n[[file]]\npath = \"/opt/large\"\nsource = \"large\"\n";
    site.write("recipes/roles/etcd.toml", &(site.read("recipes/roles/etcd.toml") + entry));
    let large = site.path("recipes/large");
    fs::write(&large, vec![b'a'; (1 << 20) + 1]).unwrap();
    let before = site.succeeds(&["plan", "etcd"]);
    assert!(!site.path("home/.cache").exists(), "who only reads makes no store");
    // Until then another change of the file might leave no trace.
    std::thread::sleep(Duration::from_secs(6));
    let remembered = || fs::read_dir(site.path("home/.cache/kbake/stamps")).unwrap().count();
    site.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
    assert_eq!(remembered(), 1);
    // As long, and as old by its date: the store is not deceived, and the plan of the two commands is one.
    let modified = fs::metadata(&large).unwrap().modified().unwrap();
    fs::write(&large, vec![b'b'; (1 << 20) + 1]).unwrap();
    fs::File::options().write(true).open(&large).unwrap().set_modified(modified).unwrap();
    let after = site.succeeds(&["plan", "etcd"]);
    assert_ne!(before, after);
    site.succeeds(&["fetch", "etcd", "--offline"]);
    let key = Sha256::of(&after).to_string();
    assert!(site.blobs().contains(&key), "the store has the plan of what is there now");
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
    strace.args(["-f", "-qq", "-e", "trace=socket,connect", "-o"]).arg(&trace).arg(KBAKE).args([
        "build",
        "etcd",
        "--offline",
        "--channel",
        "debian",
    ]);
    strace.current_dir(site.dir.path()).env_clear().env("HOME", site.path("home")).env("PATH", "/usr/bin:/bin");
    let text = said(3, &strace.output().unwrap_or_else(|e| panic!("strace is missing: run tests/setup.sh ({e})")));
    says(
        &text,
        &["error: 3 artifacts are missing in the store (", ONE, TWO, TOOL, "MiB", "hint: run `kbake fetch` where there is a network"],
    );
    let calls = fs::read_to_string(trace).unwrap();
    assert!(!calls.contains("AF_INET"), "{calls}");
}

#[test]
fn no_mirror_at_all() {
    let text = Site::new().fails(3, &["fetch", "etcd"]);
    says(&text, &["error: no mirror is known to fetch packages from", "needed: pool/main/", "hint: give one with `--mirror URL`"]);
}

#[test]
fn mirrors_are_addresses() {
    let site = Site::new();
    for bad in ["/srv/debian", "ftp://mirror.invalid/debian", "http://", ""] {
        for command in [&["fetch", "etcd"][..], &["build", "etcd"], &["lock"]] {
            let text = site.fails(2, &[command, &["--mirror", bad]].concat());
            says(&text, &[&format!("invalid value '{bad}' for '--mirror <URL>'"), "an http:, https: or file: address"]);
        }
    }
}

#[test]
fn a_folder_is_a_mirror_from_the_command_line_or_the_host_s_apt() {
    let (site, other) = (Site::new(), Site::new());
    let folder = site.dir.path().display();
    for path in [ONE, TWO, TOOL] {
        fs::create_dir_all(site.path(path).parent().unwrap()).unwrap();
        fs::write(site.path(path), contents(path)).unwrap();
    }
    site.succeeds(&["fetch", "etcd", "--mirror", &format!("file:{folder}")]);
    assert_eq!(site.blobs().len(), FETCHED);

    other.write("home/sources.list", &format!("deb [trusted=yes] file:{folder} bookworm main\n"));
    let list = other.path("home/sources.list");
    other.write("home/apt.conf", &format!("Dir::Etc::SourceList \"{}\";\nDir::Etc::SourceParts \"/dev/null\";\n", list.display()));
    fs::remove_file(site.path(ONE)).unwrap();
    let text = other.fails(3, &["fetch", "etcd"]);
    says(&text, &["error: cannot fetch `one`", &format!("from file://{folder}/{ONE}: is not there"), "hint: no source has it any more"]);
    assert_eq!(other.blobs().len(), 2, "one that is missing does not keep the others out");
    fs::write(site.path(ONE), contents(ONE)).unwrap();
    other.succeeds(&["fetch", "etcd"]);
    // Now there is nothing left to ask anyone for.
    assert_eq!(other.succeeds(&["fetch", "etcd", "--offline"]), "");
}

#[test]
fn a_host_without_apt() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[ONE, TWO, TOOL]);
    let run = |args: &[&str]| site.kbake(args).env("PATH", site.path("home")).output().unwrap();
    for args in [&["fetch", "etcd"][..], &["lock"]] {
        says(&said(1, &run(args)), &["error: `apt-get` is missing", "hint: install the package `apt`", "--mirror URL"]);
    }
    let output = run(&["fetch", "etcd", "--mirror", &web.base]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    says(&text, &["the host's own mirrors are not asked: `apt-get` is missing"]);
}

#[test]
fn a_mirror_that_is_down() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[ONE, TWO, TOOL]);
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let down = format!("http://user:secret@127.0.0.1:{port}/");
    let text = site.fails(3, &["fetch", "etcd", "--mirror", &down]);
    says(&text, &["cannot be reached", &format!("from http://127.0.0.1:{port}/{ONE}"), "hint: check the network, the proxy's settings"]);
    assert!(!text.contains("secret"), "{text}");
    site.succeeds(&["fetch", "etcd", "--mirror", &down, "--mirror", &web.base]);
    assert_eq!(site.blobs().len(), FETCHED);
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
    command.current_dir(site.dir.path()).env("APT_CONFIG", site.path("home/apt.conf")).env("KBAKE_CHANNEL", "debian");
    let text = said(5, &command.output().unwrap_or_else(|e| panic!("unshare is missing: run tests/setup.sh ({e})")));
    says(&text, &["error: not enough space for the store", "hint: "]);
}

#[test]
fn a_disk_that_fills_up_on_the_way_keeps_nothing_half_written() {
    let (site, web) = (Site::new(), Web::start());
    for path in [ONE, TWO, TOOL] {
        web.answer(path, Answer::Slow(contents(path), 100_000));
    }
    let small = site.path("small");
    fs::create_dir(&small).unwrap();
    // Room for all at the start, for none when someone else has filled the disk, and for all again.
    let script = r#"
        disk=$1; shift
        mount -t tmpfs -o size=8m none "$disk"
        "$@" & kbake=$!
        until ls "$disk"/store/tmp/partial-*; do sleep 0.05; done >/dev/null 2>&1
        cat /dev/zero >"$disk/other" 2>/dev/null
        wait $kbake; code=$?
        ls "$disk/store/blobs/sha256"
        rm "$disk/other"
        "$@" >&2 || code=99
        exit $code"#;
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(&small).arg(KBAKE);
    command.args(["fetch", "etcd", "--mirror", &web.base, "--store"]).arg(small.join("store"));
    command.current_dir(site.dir.path()).env("APT_CONFIG", site.path("home/apt.conf")).env("KBAKE_CHANNEL", "debian");
    let text = said(5, &command.output().unwrap_or_else(|e| panic!("unshare is missing: run tests/setup.sh ({e})")));
    says(
        &text,
        &[
            "No space left on device",
            "hint: nothing was kept half-written; free some space",
            "etcd: 3 packages and 0 artifacts are in the store",
        ],
    );
}

/// Builds with these two packages, which the lock names by their true digests; the build must fail.
fn builds_from(apt: &[u8], tool: &[u8]) -> String {
    const APT: &str = "pool/main/a/apt/apt_1_all.deb";
    let (site, web) = (Site::new(), Web::start());
    site.write("recipes/base.toml", "description = \"base\"\npackages = [\"apt\"]\n");
    site.write("recipes/roles/etcd.toml", "description = \"a role\"\n");
    site.lock(&[(APT, apt), (TOOL, tool)]);
    web.answer(APT, Answer::File(apt.to_vec()));
    web.answer(TOOL, Answer::File(tool.to_vec()));
    let text = site.fails(4, &["build", "etcd", "--mirror", &web.base]);
    assert!(!site.path("images/etcd.qcow2").exists());
    text
}

#[test]
fn hostile_packages_are_refused_by_name() {
    use ::tar::EntryType::{Block, Directory, Fifo, Link, Regular, Symlink};
    let control = |name: &str| format!("Package: {name}\nVersion: 1\nArchitecture: all\nEssential: yes\n");
    let honest = deb(&control("apt"), &tar(&[]));
    // What the lock names, byte for byte, and yet no package, or another one.
    says(&builds_from(b"no package", b"x"), &["error: the package `apt`: is no ar archive"]);
    let other = deb(&control("tpa"), &tar(&[]));
    says(&builds_from(&other, b"x"), &["error: the package locked as `apt` is another one", "expected apt 1 all, found tpa 1 all"]);
    says(&builds_from(&honest, &honest[..honest.len() - 600]), &["error: ", "mmdebstrap"]);
    let (bin, script) = (("./usr/bin/", Directory, ""), ("./usr/bin/mmdebstrap", Regular, ""));
    for (members, expected) in [
        (&[("./../../etc/cron.d/evil", Regular, ""), script][..], "climbs out with `..`"),
        (&[("/etc/cron.d/evil", Regular, ""), script], "`/etc/cron.d/evil` is absolute"),
        (&[("./usr/bin", Symlink, "/tmp"), script], "goes through the symbolic link /usr/bin"),
        (&[bin, ("./usr/bin/x", Link, "../../../etc/shadow"), script], "is a hard link, whose target `../../../etc/shadow` climbs out"),
        (&[bin, ("./dev/sda", Block, ""), script], "is a device or pipe, and none belong here"),
        (&[bin, ("./run/pipe", Fifo, ""), script], "is a device or pipe, and none belong here"),
        (&[bin, script, script], "is there twice"),
    ] {
        let folders = ["./", "./dev/", "./run/", "./usr/"].map(|name| (name, Directory, ""));
        let tool = deb(&control("mmdebstrap"), &tar(&[&folders, members].concat()));
        let text = builds_from(&honest, &tool);
        says(&text, &["error: mmdebstrap 1: member `", expected]);
    }
}

#[test]
fn unknown_names_get_the_known_ones() {
    let site = Site::new();
    says(&site.fails(1, &["build", "etdc"]), &["error: unknown role `etdc`", "known: etcd", "hint: "]);
    says(&site.fails(1, &["plan", "../etcd"]), &["error: unknown role"]);
    says(&site.fails(1, &["plan", "etcd", "--channel", "upstream"]), &["error: unknown channel `upstream`", "known: debian", "hint: "]);
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
        (
            "description = \"a\"\nparts = [\"ectd\"]\n",
            &["recipes/roles/etcd.toml:2:10", "there is no part `ectd`", "recipes/parts/ectd.toml"],
        ),
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
        (format!("{good}<<<<<<< ours\n"), &["lockfiles/debian.lock:", "merge", "--theirs -- lockfiles/debian.lock", "kbake lock"]),
        (good.replace("[[package]]", "[[packge]]"), &["lockfiles/debian.lock:"]),
    ] {
        assert_ne!(text, good);
        site.write(file, &text);
        says(&site.fails(1, &["plan", "etcd"]), expected);
    }
    fs::remove_file(site.path(file)).unwrap();
    for args in [&["build", "etcd"][..], &["lock", "--check"]] {
        says(&site.fails(1, args), &["error: lockfiles/debian.lock is missing", "hint: run `kbake lock --channel debian`"]);
    }
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
    command.env("KBAKE_CHANNEL", "debian");
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
    // A cluster file to start from, of what the shipped recipes can build; one's own is kept.
    assert!(written.lines().any(|line| line == "new/cluster.toml"), "{written}");
    assert_eq!(site.read("new/cluster.toml"), site.read("new/recipes/clusters/lab.toml"));
    site.write("cluster.toml", "# mine\n");
    site.succeeds(&["init"]);
    assert_eq!(site.read("cluster.toml"), "# mine\n");
    assert_eq!(site.read("recipes/base.toml"), before);
    assert!(site.succeeds(&["roles"]).contains("etcd\ta role\n"), "its own recipe is kept");
}

#[test]
fn a_cluster_is_shown_warned_about_or_refused() {
    let site = Site::new();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICw9WoIGA6sY5DGuHnLIAPO9JFFfv4wVMbWoWLz7S9ZJ someone@example";
    let good =
        format!("name = \"lab\"\nssh-keys = [\"{key}\"]\n[network]\ncidr = \"192.168.7.0/24\"\n[[node]]\nrole = \"etcd\"\ncount = 3\n");
    let missing = site.fails(1, &["cluster"]);
    says(
        &missing,
        &["error: there is no cluster file cluster.toml", "hint: `kbake init` writes one", "recipes/clusters/", "--cluster FILE"],
    );
    says(&site.fails(1, &["cluster", "--cluster", "a/b.toml"]), &["error: there is no cluster file a/b.toml"]);
    says(&site.fails(1, &["cluster", "--cluster", "recipes"]), &["error: ", "recipes"]);

    site.write("cluster.toml", &good);
    let output = site.kbake(&["cluster"]).output().unwrap();
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]), "nothing to warn about");
    let table = String::from_utf8(output.stdout).unwrap();
    says(&table, &["cluster  lab, domain lab.internal", "NAME   ROLE  ADDRESS", "etcd2  etcd  192.168.7.12"]);
    // By option, by environment, and the option wins.
    site.write("other.toml", &good.replace("count = 3", "count = 2"));
    let warned = site.kbake(&["cluster", "--quiet"]).env("KBAKE_CLUSTER", "other.toml").output().unwrap();
    assert_eq!(warned.status.code(), Some(0), "a warning is no failure");
    says(&String::from_utf8_lossy(&warned.stderr), &["warning: other.toml: 2 etcd members survive the loss of 0"]);
    assert!(!String::from_utf8_lossy(&warned.stdout).contains("warning"), "stdout is for data");
    let option = site.kbake(&["cluster", "--cluster", "cluster.toml"]).env("KBAKE_CLUSTER", "other.toml").output().unwrap();
    assert_eq!(String::from_utf8(option.stdout).unwrap(), table);

    site.write("cluster.toml", &good.replace("count = 3", "address = \"192.168.7.1\""));
    let refused = site.fails(1, &["cluster"]);
    says(
        &refused,
        &[
            "error: node `etcd` and the host (by default) have the same address 192.168.7.1",
            "cluster.toml:4:8",
            "cluster.toml:7:11",
            "hint: ",
        ],
    );
    fs::write(site.path("cluster.toml"), b"name = \"\xff\"").unwrap();
    says(&site.fails(1, &["cluster"]), &["cluster.toml", "UTF-8"]);
}

#[test]
fn usage_and_pipes() {
    let site = Site::new();
    says(&site.fails(2, &["biuld", "etcd"]), &["build"]);
    says(&site.fails(2, &["build"]), &["ROLE"]);
    says(&site.fails(2, &["build", "etcd", "--jobs", "0"]), &["--jobs", "a whole number from 1 on"]);
    says(&site.fails(2, &["lock", "--upgrade", "Not_one"]), &["error: --upgrade: `Not_one` is no Debian package name"]);
    let nothing = site.kbake(&[]).env_remove("KBAKE_CHANNEL").output().unwrap();
    says(&said(2, &nothing), &["Usage: kbake", "Commands:"]);
    assert!(site.succeeds(&["--version"]).starts_with("kbake 0."));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = site.kbake(&["plan", "etcd"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "a full disk behind stdout is no success");
    let mut pipe = Command::new("sh");
    pipe.args(["-c", "\"$1\" plan etcd --channel debian | head -n 1", "sh", KBAKE]).current_dir(site.dir.path());
    let output = pipe.output().unwrap();
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"kbake-plan 1\n"[..], &b""[..]));
}

#[test]
fn a_bill_of_materials_needs_nothing_but_the_lockfile() {
    let site = Site::new();
    // No PATH, so nothing is run; no home, so there is no store; another time zone and language.
    let run = |args: &[&str]| {
        let mut command = site.kbake(&[&["sbom", "etcd"], args].concat());
        command.env_clear().env("KBAKE_CHANNEL", "debian").env("TZ", "Pacific/Chatham").env("LC_ALL", "tr_TR.UTF-8");
        let output = command.output().unwrap();
        assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&[]);
    assert_eq!(text, run(&["--format", "cyclonedx"]));
    assert_eq!(text, site.succeeds(&["sbom", "etcd"]), "one text on every host");
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    let items = found["components"].as_array().unwrap();
    let of = |name: &str| items.iter().find(|item| item["name"] == name).unwrap();
    for (name, path) in [("one", ONE), ("two", TWO)] {
        assert_eq!(of(name)["purl"], format!("pkg:deb/debian/{name}@1?arch=all&distro=bookworm"));
        assert_eq!(of(name)["hashes"][0]["content"], Sha256::of(contents(path)).to_string());
    }
    assert_eq!(items.len(), 2, "what only makes the image is not in it");
    assert_eq!(found["metadata"]["tools"]["components"][0]["name"], "mmdebstrap");
    let key = site.succeeds(&["plan", "etcd", "--key"]);
    assert_eq!(found["metadata"]["component"]["version"], key.trim());
    let found: serde_json::Value = serde_json::from_str(&run(&["--format", "spdx"])).unwrap();
    assert_eq!((&found["spdxVersion"], found["packages"].as_array().unwrap().len()), (&"SPDX-2.3".into(), 5));

    says(&site.fails(1, &["sbom", "nothing"]), &["error: unknown role `nothing`", "known: etcd"]);
    says(&site.fails(2, &["sbom", "etcd", "--format", "xml"]), &["invalid value 'xml'", "cyclonedx", "spdx"]);
    fs::remove_file(site.path("lockfiles/debian.lock")).unwrap();
    says(&site.fails(1, &["sbom", "etcd"]), &["lockfiles/debian.lock is missing", "hint: run `kbake lock"]);
}

#[test]
fn the_help_is_the_reviewed_one() {
    let site = Site::new();
    let mut all = site.succeeds(&["--help"]);
    let commands = "build;fetch;plan;tree;sbom;why;diff;audit;bundle;bundle create;bundle verify;bundle import;bundle show;\
                    verify;gc;store;lock;cluster;net-xml;domain-xml;qemu;dnsmasq;hosts;inventory;exports;disk;seed;\
                    pki;pki init;pki show;pki renew;pki import;kubeconfig;roles;init";
    for command in commands.split(';') {
        all += &format!("\n$ kbake {command} --help\n{}", site.succeeds(&command.split(' ').chain(["--help"]).collect::<Vec<_>>()));
    }
    let golden = Path::new(ROOT).join("tests/golden/cli/help.txt");
    if fs::read_to_string(&golden).unwrap_or_default() != all {
        let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join("help.txt");
        fs::write(&found, &all).unwrap();
        panic!("the command line has changed: review it, then\n  cp {} {}", found.display(), golden.display());
    }
}
