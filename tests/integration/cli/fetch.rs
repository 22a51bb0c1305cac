//! `kbake fetch`: mirrors that lie, fail or are missing, interruptions, and full disks.

use super::*;

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

    // With a second mirror that has it, the fetch succeeds.
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
fn a_package_that_left_the_archive_comes_from_a_snapshot() {
    let (site, web, past) = (Site::new(), Web::start(), Web::start());
    mirror(&web, &[TWO, TOOL]);
    let lock = site.read("lockfiles/debian.lock");
    let dated = lock.replacen("components = [\"main\"]\n", "components = [\"main\"]\nreleased = \"2026-11-21T09:15:44Z\"\n", 1);
    assert_ne!(dated, lock);
    site.write("lockfiles/debian.lock", &dated);
    let rewrite = format!("https://snapshot.debian.org/={}", past.base);
    let args = ["fetch", "etcd", "--mirror", &web.base, "--rewrite", &rewrite];
    let text = site.fails(3, &args);
    let places = ["20261122T091544Z", "20261121T091544Z"].map(|time| format!("archive/debian/{time}/{ONE}"));
    says(&text, &["error: cannot fetch `one`", &format!("{}{ONE}", web.base), &format!("{}{}", past.base, places[0])]);
    // The state of the day itself, where the next one has it no more.
    past.answer(&places[1], Answer::File(contents(ONE)));
    site.succeeds(&args);
    let asked: Vec<String> = past.requests().into_iter().map(|request| request.path).collect();
    assert!(asked.ends_with(&places.map(|place| format!("/{place}"))) && !asked.iter().any(|path| path.ends_with(TWO)), "{asked:?}");
    // A host without apt needs no mirror then.
    let other = Site::new();
    other.write("lockfiles/debian.lock", &dated);
    for path in [ONE, TWO, TOOL] {
        past.answer(&format!("archive/debian/20261122T091544Z/{path}"), Answer::File(contents(path)));
    }
    let output = other.kbake(&["fetch", "etcd", "--rewrite", &rewrite]).env("PATH", other.path("home")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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
    says(
        &text,
        &["error: no mirror of the archive `debian` is configured", "needed: pool/main/", "hint: name one with `--mirror debian=URL`"],
    );
}

#[test]
fn mirrors_are_addresses() {
    let site = Site::new();
    for bad in ["/srv/debian", "ftp://mirror.invalid/debian", "http://", ""] {
        for command in [&["fetch", "etcd"][..], &["build", "etcd"], &["lock"]] {
            let text = site.fails(2, &[command, &["--mirror", bad]].concat());
            says(&text, &[&format!("invalid value '{bad}' for '--mirror <[ARCHIVE=]URL>'"), "an http:, https: or file: address"]);
        }
    }
}

#[test]
fn a_mirror_may_be_of_one_archive_of_the_channel() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[ONE, TWO, TOOL]);
    for command in [&["fetch", "etcd"][..], &["lock", "--upgrade"]] {
        let text = site.fails(2, &[command, &["--mirror", &format!("debain={}", web.base)]].concat());
        says(&text, &["error: --mirror debain=…: no suite of the channel is in the archive `debain`", "hint: did you mean `debian`?"]);
    }
    assert_eq!(web.requests(), []);
    site.succeeds(&["fetch", "etcd", "--mirror", &format!("debian={}", web.base)]);
    assert_eq!(site.blobs().len(), FETCHED);
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
    // Now everything is in the store.
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
fn a_host_without_a_mirror_of_debian_is_told_so_before_anything_is_fetched() {
    let site = Site::new();
    let text = site.fails(3, &["fetch", "etcd"]);
    says(
        &text,
        &["error: no mirror of the archive `debian` is configured", "this host's apt has none among its sources", "`--mirror debian=URL`"],
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
    // Enough space at the start, none when another process has filled the disk, and enough again.
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
