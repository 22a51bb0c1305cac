//! The program as a person meets it: its interface, and what it says to bad input. All of it on loopback.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test looks at the host, and prints")]

mod clusters;
#[path = "cli/derived.rs"]
mod derived;
mod disks;
#[path = "cli/local.rs"]
mod local;
#[path = "cli/odd.rs"]
mod odd;
mod packages;
mod private;
mod program;
mod site;
mod web;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kbake::common::value::Sha256;
use packages::{deb, tar};
use site::{ONE, Site, TOOL, TWO, contents, mirror, said, says};
use web::{Answer, Web};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Only what hangs takes so long, however slow the machine is.
const HANGS: Duration = Duration::from_secs(300);
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
    says(&text, &["error: hash mismatch for `one`", &expected, &found, ONE, "hint: nothing was kept", "kbake lock --upgrade package:one"]);
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
    says(&text, &["a web page came instead of a file", "portal"]);
}

#[test]
fn offline_lists_all_that_is_missing_and_opens_no_socket() {
    let site = Site::new();
    let trace = site.path("trace");
    let mut strace = site.kbake_by("strace", &["-f", "-qq", "-e", "trace=socket,connect", "-o", trace.to_str().unwrap()]);
    strace.args(["build", "etcd", "--offline"]);
    let text = said(3, &strace.output().unwrap_or_else(|e| panic!("strace is missing: run tests/setup.sh ({e})")));
    says(
        &text,
        &[
            "error: 3 artifacts are missing in the store (",
            ONE,
            TWO,
            TOOL,
            "MiB",
            "hint: run `kbake fetch etcd --channel debian` with network access",
        ],
    );
    let calls = fs::read_to_string(trace).unwrap();
    assert!(!calls.contains("AF_INET"), "{calls}");
}

#[test]
fn no_mirror_at_all() {
    let text = Site::new().fails(3, &["fetch", "etcd"]);
    says(&text, &["error: no package mirror is configured", "needed: pool/main/", "hint: name one with `--mirror URL`"]);
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
    says(&text, &["error: cannot fetch `one`", &format!("from file://{folder}/{ONE}: does not exist"), "hint: no source has it any more"]);
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
    for args in [&["fetch", "etcd"][..], &["lock", "--upgrade"]] {
        says(&said(1, &run(args)), &["error: `apt-get` is not installed", "hint: install the package `apt`", "--mirror URL"]);
    }
    let output = run(&["fetch", "etcd", "--mirror", &web.base]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    says(&text, &["the host's own mirrors are not used: `apt-get` is not installed"]);
}

#[test]
fn a_mirror_that_is_down() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[ONE, TWO, TOOL]);
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let down = format!("http://user:secret@127.0.0.1:{port}/");
    let text = site.fails(3, &["fetch", "etcd", "--mirror", &down]);
    says(&text, &["cannot be reached", &format!("from http://127.0.0.1:{port}/{ONE}"), "hint: check the network, the proxy settings"]);
    assert!(!text.contains("secret"), "{text}");
    site.succeeds(&["fetch", "etcd", "--mirror", &down, "--mirror", &web.base]);
    assert_eq!(site.blobs().len(), FETCHED);
}

#[test]
fn an_interrupted_fetch_goes_on_where_it_was() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[TWO, TOOL]);
    web.answer(ONE, Answer::Stuck(contents(ONE), 600_000));
    let child = site.kbake(&["fetch", "etcd", "--mirror", &web.base]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let partial = site.path(&format!("home/.cache/kbake/tmp/partial-{}", Sha256::of(contents(ONE))));
    let start = Instant::now();
    while fs::metadata(&partial).map_or(0, |meta| meta.len()) < 100_000 {
        assert!(start.elapsed() < HANGS, "the download does not get on");
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
fn hashing_a_large_file_ends_when_asked() {
    let site = Site::new();
    let entry = "\n[[file]]\npath = \"/opt/large\"\nsource = \"large\"\n";
    site.write("recipes/roles/etcd.toml", &(site.read("recipes/roles/etcd.toml") + entry));
    // All holes: to hash so much would take an hour.
    fs::File::create(site.path("recipes/large")).unwrap().set_len(1 << 40).unwrap();
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let child = site.kbake(&["plan", "etcd"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        while !has_open(child.id(), &site.path("recipes/large")) {
            assert!(start.elapsed() < HANGS, "it does not begin to hash");
            std::thread::sleep(Duration::from_millis(20));
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        // To the end of the file it would take an hour.
        says(&said(130, &child.wait_with_output().unwrap()), &["error: interrupted"]);
    }
}

/// True while a process has the file open.
fn has_open(process: u32, path: &Path) -> bool {
    let path = fs::canonicalize(path).unwrap();
    let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|to| to == path)
}

#[test]
fn a_host_without_a_mirror_of_debian_is_told_so_before_anything_is_fetched() {
    let site = Site::new();
    let text = site.fails(3, &["fetch", "etcd"]);
    says(
        &text,
        &["error: no package mirror is configured", "this host's apt sources name no mirror of the Debian archive", "`--mirror URL`"],
    );
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
    let mut command = site.kbake_by("unshare", &["--map-root-user", "--mount", "sh", "-c", script, "sh", small.to_str().unwrap()]);
    command.args(["fetch", "etcd", "--mirror", &web.base, "--store"]).arg(small.join("store"));
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
    let mut command = site.kbake_by("unshare", &["--map-root-user", "--mount", "sh", "-c", script, "sh", small.to_str().unwrap()]);
    command.args(["fetch", "etcd", "--mirror", &web.base, "--store"]).arg(small.join("store"));
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
    says(&builds_from(b"no package", b"x"), &["error: the package `apt`: is not an ar archive"]);
    let other = deb(&control("tpa"), &tar(&[]));
    says(&builds_from(&other, b"x"), &["error: `apt` is locked to another package", "expected apt 1 all, found tpa 1 all"]);
    says(&builds_from(&honest, &honest[..honest.len() - 600]), &["error: ", "mmdebstrap"]);
    let (bin, script) = (("./usr/bin/", Directory, ""), ("./usr/bin/mmdebstrap", Regular, ""));
    for (members, expected) in [
        (&[("./../../etc/cron.d/evil", Regular, ""), script][..], "escapes the root by `..`"),
        (&[("/etc/cron.d/evil", Regular, ""), script], "`/etc/cron.d/evil` is absolute"),
        (&[("./usr/bin", Symlink, "/tmp"), script], "goes through the symbolic link /usr/bin"),
        (
            &[bin, ("./usr/bin/x", Link, "../../../etc/shadow"), script],
            "is a hard link, whose target `../../../etc/shadow` escapes the root",
        ),
        (&[bin, ("./dev/sda", Block, ""), script], "is a device or pipe, which are not allowed here"),
        (&[bin, ("./run/pipe", Fifo, ""), script], "is a device or pipe, which are not allowed here"),
        (&[bin, script, script], "occurs twice"),
    ] {
        let folders = ["./", "./dev/", "./run/", "./usr/"].map(|name| (name, Directory, ""));
        let tool = deb(&control("mmdebstrap"), &tar(&[&folders, members].concat()));
        let text = builds_from(&honest, &tool);
        says(&text, &["error: mmdebstrap 1: member `", expected]);
    }
}

#[test]
fn a_second_kernel_is_refused_with_the_lines_that_ask_for_it() {
    let site = Site::new();
    site.write("recipes/base.toml", "description = \"base\"\npackages = [\"one\", \"linux-image-cloud-amd64\"]\n");
    site.write("recipes/roles/etcd.toml", "description = \"a role\"\npackages = [\"two\", \"linux-image-amd64\"]\n");
    let cloud = ["linux-image-cloud-amd64", "linux-image-6.1.0-9-cloud-amd64"];
    let both = [cloud[0], cloud[1], "linux-image-amd64", "linux-image-6.1.0-9-amd64"];
    let lock = |names: &[&str]| {
        let paths: Vec<String> = names.iter().map(|name| format!("pool/main/l/{name}/{name}_1_all.deb")).collect();
        let own = [ONE, TWO, TOOL].map(|path| (path, b"x".as_slice()));
        site.lock(&[&own[..], &paths.iter().map(|path| (path.as_str(), b"x".as_slice())).collect::<Vec<_>>()].concat());
    };
    lock(&both);
    for command in ["plan", "build"] {
        says(
            &site.fails(1, &[command, "etcd"]),
            &[
                "error: the role `etcd` has 2 kernels",
                "linux-image-6.1.0-9-amd64 1",
                "linux-image-6.1.0-9-cloud-amd64 1",
                "`linux-image-cloud-amd64` at recipes/base.toml:2",
                "`linux-image-amd64` at recipes/roles/etcd.toml:2",
                "kbake lock --channel debian",
            ],
        );
    }
    site.write("recipes/roles/etcd.toml", "description = \"a role\"\npackages = [\"two\"]\n");
    lock(&cloud);
    site.succeeds(&["plan", "etcd"]);
}

#[test]
fn what_a_recipe_puts_into_an_image_is_audited_before_anything_is_fetched() {
    let site = Site::new();
    let role = site.read("recipes/roles/etcd.toml");
    for (entry, what) in [
        ("path = \"/etc/nvme/hostid\"\ncontent = \"0e1f\"", "/etc/nvme/hostid, recipes/roles/etcd.toml:4: machine's identity"),
        ("path = \"/etc/x\"\nsource = \"key\"", "/etc/x, recipes/roles/etcd.toml:4: private key"),
    ] {
        // Files of both sizes: those held in memory, and those that are not.
        for filling in [0, 2 << 20] {
            site.write(
                "recipes/key",
                &format!("{}-----BEGIN RSA PRIVATE KEY-----\n{}", "\n".repeat(filling), "MIIEowIBAAKCAQEA1234\n".repeat(8)),
            );
            site.write("recipes/roles/etcd.toml", &format!("{role}[[file]]\n{entry}\n"));
            says(&site.fails(1, &["build", "etcd", "--offline"]), &["error: the recipes of `etcd` put secrets", what, "public = "]);
            site.write("recipes/roles/etcd.toml", &format!("{role}[[file]]\n{entry}\npublic = \"an example\"\n"));
            says(&site.fails(3, &["build", "etcd", "--offline"]), &["error: 3 artifacts are missing"]);
        }
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
    let mut command = program::kbake_by("sh", &["-c", "umask 077; exec \"$@\"", "sh"], elsewhere.path());
    command.args(["plan", "etcd", "--project"]).arg(site.dir.path());
    command.env("TZ", "Asia/Tokyo").env("LC_ALL", "tr_TR.UTF-8").env("KBAKE_CHANNEL", "debian");
    assert_eq!(String::from_utf8(command.output().unwrap().stdout).unwrap(), plan);
    // Where no project is, the shipped one serves.
    let planned = |folder: &Path| {
        let output = program::kbake(folder).args(["plan", "etcd"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_eq!(planned(elsewhere.path()), planned(program::project()));
}

/// Otherwise a test passes or fails by who runs it.
#[test]
fn tests_see_nothing_of_who_runs_them() {
    let home = tempfile::tempdir().unwrap();
    let output = program::kbake_by("sh", &["-c", "env", "sh"], home.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // The shell's own are not the environment's.
    let mut seen: Vec<&str> =
        text.lines().filter(|line| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|own| line.starts_with(own))).collect();
    seen.sort_unstable();
    assert_eq!(seen, [format!("HOME={}", home.path().display()).as_str(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
    let mut files: Vec<String> =
        fs::read_dir(program::project()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["images", "lockfiles", "recipes"]);
    let images: Vec<_> = fs::read_dir(program::project().join("images")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(images, ["expected.toml"]);
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
    // Images and everything private stay out of git; a file that is there is told what it lacks.
    for line in ["/images/*", "!/images/expected.toml", "secrets/", "kubeconfig", "*.iso"] {
        assert!(site.read("new/.gitignore").lines().any(|found| found == line), "{line}");
    }
    site.write(".gitignore", "/images/*\n/secrets\n");
    let output = site.kbake(&["init"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    says(&told, &["note: ./.gitignore lacks lines that keep images and keys out of git: !/images/expected.toml kubeconfig "]);
    assert_eq!(site.read(".gitignore"), "/images/*\n/secrets\n");
    assert!(site.succeeds(&["roles"]).contains("etcd\ta role\n"), "its own recipe is kept");
}

/// The commands that a message tells to type, as words.
fn commands_in(text: &str) -> Vec<Vec<String>> {
    let hints = text.lines().filter(|line| line.starts_with("hint: "));
    let quoted = hints.flat_map(|hint| hint.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    let commands = quoted.filter_map(|command| command.strip_prefix("kbake ").map(str::to_owned));
    commands.map(|command| command.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn a_hint_typed_as_it_stands_is_about_the_same_project_channel_and_store() {
    let site = Site::new();
    fs::create_dir(site.path("elsewhere")).unwrap();
    // A second channel of the same packages, which the hint must leave alone.
    let other = site.read("recipes/sources/debian.toml").replace("channel = \"debian\"", "channel = \"other\"");
    site.write("recipes/sources/other.toml", &other);
    let lock = site.read("lockfiles/debian.lock");
    site.write("lockfiles/other.lock", &lock.replace("channel = \"debian\"", "channel = \"other\""));
    // A role that asks for what the base has: stale, and locked again without network.
    site.write("recipes/roles/new.toml", "description = \"new\"\npackages = [\"one\"]\n");
    let run = |args: &[String]| {
        let mut command = program::kbake(&site.path("elsewhere"));
        command.args(args).env("HOME", site.path("home")).output().unwrap()
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let failed = said(1, &run(&words("plan new --project .. --channel other --store ../store")));
    let [command] = &commands_in(&failed)[..] else { panic!("{failed}") };
    assert_eq!(command.join(" "), "lock --channel other --project .. --store ../store");
    let output = run(command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(site.read("lockfiles/debian.lock"), lock, "the other channel's");
    assert!(site.read("lockfiles/other.lock").contains("\nnew = [\n"));
    assert!(run(&words("plan new --project .. --channel other")).status.success());
    assert!(!site.path("home/.cache/kbake").exists(), "the store is the one that was named");
}

#[test]
fn only_what_is_asked_for_is_held_against_the_lock() {
    let site = Site::new();
    let plan = site.succeeds(&["plan", "etcd"]);
    // New and locked nowhere; no recipe at all; a name that is none.
    site.write("recipes/roles/new.toml", "description = \"new\"\npackages = [\"three\"]\n");
    site.write("recipes/roles/broken.toml", "description = \n");
    site.write("recipes/roles/No Role.toml", "description = \"x\"\n");
    assert_eq!(site.succeeds(&["plan", "etcd"]), plan);
    says(&site.fails(1, &["plan", "new"]), &["lockfiles/debian.lock` is stale", "new: not locked at all", "kbake lock --channel debian"]);
    says(&site.fails(1, &["plan", "broken"]), &["recipes/roles/broken.toml:1"]);
    for gone in ["broken", "No Role", "new"] {
        fs::remove_file(site.path(&format!("recipes/roles/{gone}.toml"))).unwrap();
    }
    // A role that is gone.
    site.write("recipes/roles/other.toml", &site.read("recipes/roles/etcd.toml"));
    site.succeeds(&["lock"]);
    fs::remove_file(site.path("recipes/roles/other.toml")).unwrap();
    assert_eq!(site.succeeds(&["plan", "etcd"]), plan);
    says(&site.fails(1, &["lock", "--check"]), &["other: locked, but there is no such recipe"]);
}

#[test]
fn locking_what_is_locked_already_opens_no_socket() {
    let site = Site::new();
    let before = site.read("lockfiles/debian.lock");
    assert_eq!(site.succeeds(&["lock"]), "");
    assert_eq!(site.read("lockfiles/debian.lock"), before);
    site.write("recipes/roles/twin.toml", "description = \"a twin\"\npackages = [\"two\", \"one\"]\n");
    assert_eq!(site.succeeds(&["lock"]), "regroup two (etcd) -> (etcd, twin)\n");
    site.succeeds(&["lock", "--check"]);
    let (etcd, twin) = (site.succeeds(&["plan", "etcd"]), site.succeeds(&["plan", "twin"]));
    assert_eq!(etcd.matches("package ").count(), twin.matches("package ").count());
    fs::remove_file(site.path("recipes/roles/twin.toml")).unwrap();
    site.succeeds(&["lock"]);
    assert_eq!(site.read("lockfiles/debian.lock"), before);
    // A package that is not locked is still looked up in the archive; here nobody answers.
    site.write("recipes/roles/twin.toml", "description = \"more\"\npackages = [\"three\"]\n");
    says(&site.fails(3, &["lock"]), &["no mirror is known"]);
}

#[test]
fn a_link_out_of_the_project_brings_nothing_into_an_image() {
    let (site, outside) = (Site::new(), tempfile::tempdir().unwrap());
    let token = outside.path().join("token");
    fs::write(&token, "hush").unwrap();
    let role = site.read("recipes/roles/etcd.toml");
    let refused =
        |name: &str| says(&site.fails(1, &["plan", "etcd"]), &[&format!("{name} is outside the project's folder"), "hint: copy the file"]);
    site.write("recipes/roles/etcd.toml", &format!("{role}\n[[file]]\npath = \"/etc/a\"\nsource = \"dir/token\"\n"));
    std::os::unix::fs::symlink(outside.path(), site.path("recipes/dir")).unwrap();
    refused("recipes/dir/token");
    fs::remove_file(site.path("recipes/dir")).unwrap();
    fs::create_dir(site.path("recipes/dir")).unwrap();
    std::os::unix::fs::symlink(&token, site.path("recipes/dir/token")).unwrap();
    refused("recipes/dir/token");
    // A link that stays inside is the file.
    fs::remove_file(site.path("recipes/dir/token")).unwrap();
    fs::write(site.path("recipes/mine"), "hello").unwrap();
    std::os::unix::fs::symlink("../mine", site.path("recipes/dir/token")).unwrap();
    assert!(site.succeeds(&["plan", "etcd"]).contains(&Sha256::of("hello").to_string()));
    // Recipes and lockfiles are files of the project too.
    let lock = site.path("lockfiles/debian.lock");
    fs::rename(&lock, outside.path().join("lock")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("lock"), &lock).unwrap();
    refused("lockfiles/debian.lock");
}

#[test]
fn a_program_beside_the_recipes_keeps_its_bit_or_is_asked_about() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    let role = site.read("recipes/roles/etcd.toml");
    let with = |mode: &str| {
        site.write("recipes/roles/etcd.toml", &format!("{role}\n[[file]]\npath = \"/usr/local/bin/a\"\nsource = \"a\"\n{mode}"))
    };
    fs::write(site.path("recipes/a"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(site.path("recipes/a"), fs::Permissions::from_mode(0o755)).unwrap();
    with("");
    says(&site.fails(1, &["plan", "etcd"]), &["recipes/a is executable", "mode = \"0755\"", "mode = \"0644\"", "recipes/roles/etcd.toml:"]);
    for mode in ["0755", "0644"] {
        with(&format!("mode = \"{mode}\"\n"));
        assert!(site.succeeds(&["plan", "etcd"]).lines().any(|line| line.contains("/usr/local/bin/a") && line.contains(mode)));
    }
    with("");
    fs::set_permissions(site.path("recipes/a"), fs::Permissions::from_mode(0o644)).unwrap();
    site.succeeds(&["plan", "etcd"]);
}

#[test]
fn kernel_arguments_and_modules_are_in_the_plan() {
    let site = Site::new();
    let before = site.succeeds(&["plan", "etcd"]);
    let recipe = |name: &str, more: &str| site.write(name, &(site.read(name) + more));
    recipe("recipes/base.toml", "kernel-args = [\"quiet\", \"mitigations=auto\"]\n");
    recipe("recipes/roles/etcd.toml", "kernel-args = [\"quiet\", \"swapaccount=1\"]\nkernel-modules = [\"br_netfilter\"]\n");
    let after = site.succeeds(&["plan", "etcd"]);
    assert_ne!(before, after);
    let list = Sha256::of("# `kernel-modules` of the recipes.\nbr_netfilter\n").to_string();
    assert!(after.lines().any(|line| line.contains("/etc/modules-load.d/kernel-modules.conf") && line.contains(&list)), "{after}");
    recipe("recipes/roles/etcd.toml", "\n[[file]]\npath = \"/etc/default/grub.d/a.cfg\"\ncontent = \"x\"\n");
    says(&site.fails(1, &["plan", "etcd"]), &["/etc/default/grub.d/a.cfg changes nothing", "hint: `kernel-args"]);
}

#[test]
fn what_cannot_be_a_program_is_not_locked_as_one() {
    let site = Site::new();
    let tables = "\n[artifact.kubelet]\nabsent = \"not here\"\ninstall = \"/usr/local/bin/kubelet\"\n";
    site.write("recipes/sources/debian.toml", &(site.read("recipes/sources/debian.toml") + tables));
    let before = site.read("lockfiles/debian.lock");
    says(&site.fails(1, &["lock", "--set", "kubelet=/etc/hosts"]), &["/etc/hosts is not a program (not an ELF file)"]);
    says(&site.fails(1, &["lock", "--set", "kubelet=/dev/zero"]), &["/dev/zero is a device, pipe or socket"]);
    assert_eq!(site.read("lockfiles/debian.lock"), before);
    site.write("mine", "#!/bin/sh\nexit 0\n");
    // Nothing takes it yet, which is said.
    let out = site.kbake(&["lock", "--set", "kubelet=mine"]).output().unwrap();
    assert!(out.status.success());
    says(&said_by(&out), &["no recipe uses the artifact `kubelet`", "the file has no effect; a role or part uses it with `artifacts"]);
    says(&site.read("lockfiles/debian.lock"), &["path = \"mine\""]);
    says(&site.fails(1, &["lock", "--upgrade", "kubelet"]), &["the local file mine", "kbake lock --unset kubelet --channel debian"]);
    // Outside the project by a link that was typed: locked where it is, and found there.
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("mine"), "#!/bin/sh\nexit 1\n").unwrap();
    std::os::unix::fs::symlink(outside.path(), site.path("build")).unwrap();
    site.succeeds(&["lock", "--set", "kubelet=build/mine"]);
    says(&site.read("lockfiles/debian.lock"), &[&format!("path = \"{}\"", site.path("build/mine").display())]);
    site.succeeds(&["plan", "etcd"]);
    // A lockfile of a stranger's that leads there is refused.
    let strange = site.read("lockfiles/debian.lock").replace(&format!("{}/", site.dir.path().display()), "");
    site.write("lockfiles/debian.lock", &strange);
    site.write("recipes/roles/etcd.toml", &site.read("recipes/roles/etcd.toml").replace("packages", "artifacts = [\"kubelet\"]\npackages"));
    says(&site.fails(1, &["plan", "etcd"]), &["build/mine is outside the project's folder"]);
}

#[test]
fn the_only_channel_is_the_usual_one_and_editors_files_are_none() {
    let site = Site::new();
    let run = |args: &[&str]| site.kbake(args).env_remove("KBAKE_CHANNEL").output().unwrap();
    let plan = run(&["plan", "etcd"]);
    assert_eq!((plan.status.code(), &plan.stderr[..]), (Some(0), &b""[..]), "{}", String::from_utf8_lossy(&plan.stderr));
    fs::write(site.path("recipes/roles/._etcd.toml"), b"\x00\x05\x16\x07").unwrap();
    std::os::unix::fs::symlink("me@host.1234", site.path("recipes/sources/.#debian.toml")).unwrap();
    let again = run(&["plan", "etcd"]);
    assert_eq!(again.stdout, plan.stdout);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    for name in ["recipes/roles/._etcd.toml", "recipes/sources/.#debian.toml"] {
        assert_eq!(said.matches(&format!("note: {name} is skipped")).count(), 1, "{said}");
    }
    site.write("recipes/sources/other.toml", "channel = \"other\"\nbase = \"debian\"\n");
    says(&said_by(&run(&["plan", "etcd"])), &["unknown channel `upstream`", "known: debian, other"]);
}

fn said_by(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
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
        &["error: the cluster file cluster.toml does not exist", "hint: `kbake init` writes one", "recipes/clusters/", "--cluster FILE"],
    );
    says(&site.fails(1, &["cluster", "--cluster", "a/b.toml"]), &["error: the cluster file a/b.toml does not exist"]);
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

    // Names are held against the project.
    let names = |from: &str, to: &str| site.write("cluster.toml", &good.replace(from, to));
    names("name = \"lab\"", "name = \"lab\"\nchannel = \"debain\"");
    says(&site.fails(1, &["cluster"]), &["cluster.toml names the channel `debain`", "did you mean `channel = \"debian\"`?"]);
    names("count = 3", "image = \"ectd\"");
    says(&site.fails(1, &["cluster"]), &["node `etcd` boots the image `ectd`", "did you mean `image = \"etcd\"`?"]);
    names("count = 3", "image = \"from-elsewhere\"");
    let elsewhere = site.kbake(&["cluster"]).output().unwrap();
    assert!(elsewhere.status.success());
    says(
        &said_by(&elsewhere),
        &["warning: cluster.toml: node `etcd` boots the image `from-elsewhere`", "recipes/roles/from-elsewhere.toml"],
    );

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
    says(&site.fails(2, &["build", "etcd", "--jobs", "0"]), &["--jobs", "a whole number of at least 1"]);
    says(&site.fails(2, &["lock", "--upgrade", "Not_one"]), &["error: --upgrade: `Not_one` is not a Debian package name"]);
    let nothing = site.kbake(&[]).env_remove("KBAKE_CHANNEL").output().unwrap();
    says(&said(2, &nothing), &["Usage: kbake", "Commands:"]);
    assert!(site.succeeds(&["--version"]).starts_with("kbake 0."));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = site.kbake(&["plan", "etcd"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "a full disk behind stdout is no success");
    let mut pipe = site.kbake_by("sh", &["-c", "\"$1\" plan etcd --channel debian | head -n 1", "sh"]);
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

    says(
        &site.fails(1, &["sbom", "etcd", "--contents"]),
        &["error: 2 inputs of `etcd` are not in the store", "one  sha256:", "two  sha256:", "hint: run `kbake fetch etcd"],
    );
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
                    pki;pki init;pki show;pki renew;pki import;kubeconfig;roles;init;completions;man";
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

#[test]
fn completions_are_what_their_shell_reads() {
    let site = Site::new();
    let script = site.path("kbake.bash");
    fs::write(&script, site.succeeds(&["completions", "bash"])).unwrap();
    let line = format!(
        ". {}; COMP_WORDS=(kbake build --acc); COMP_CWORD=2; _kbake kbake --acc build; echo \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let output = Command::new("bash").args(["-c", &line]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "--accept-new-digest\n", "{}", String::from_utf8_lossy(&output.stderr));
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(site.succeeds(&["completions", shell]).contains("accept-new-digest"), "{shell}");
    }
}

#[test]
fn manual_pages_are_read_and_overwrite_nobody_s() {
    let site = Site::new();
    let page = site.succeeds(&["man", "pki", "init"]);
    assert!(page.contains(".TH kbake-pki-init 1"), "{page}");
    says(&site.fails(2, &["man", "biuld"]), &["there is no command `biuld`", "did you mean `kbake man build`?"]);
    let written = site.succeeds(&["man", "--out", "man1"]);
    assert!(written.lines().any(|line| line == "man1/kbake-net-xml.1"), "{written}");
    assert_eq!(site.succeeds(&["man", "--out", "man1"]), written, "its own pages it replaces");
    site.write("man1/kbake-build.1", "somebody's own\n");
    says(&site.fails(1, &["man", "--out", "man1"]), &["man1/kbake-build.1 is not a manual page of kbake", "--out DIR"]);
    assert_eq!(site.read("man1/kbake-build.1"), "somebody's own\n");
}
