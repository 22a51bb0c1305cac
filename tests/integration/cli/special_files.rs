//! Pipes, folders, sockets, devices and links in place of files, and the system's limits on a command.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::*;

/// Runs a command that must end; returns its exit code and stderr.
fn ends(site: &Site, args: &[&str]) -> (i32, String) {
    ends_with(site, args, &[])
}

/// [`ends`] with environment variables.
fn ends_with(site: &Site, args: &[&str], vars: &[(&str, &str)]) -> (i32, String) {
    let mut child = site.kbake(args).envs(vars.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > HANGS {
            child.kill().unwrap();
            panic!("{args:?} waits");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

type Put = fn(&Path);

const ODD: [(&str, Put); 4] = [
    ("a pipe", pipe),
    ("a folder", |path| fs::create_dir(path).unwrap()),
    ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
    ("a device", |path| symlink("/dev/zero", path).unwrap()),
];

#[test]
fn what_is_no_regular_file_is_refused_in_each_place_where_one_belongs() {
    for (kind, put) in ODD {
        let (site, _web) = site::fetched();
        let odd = site.path("odd");
        put(&odd);
        site.write("home/config.toml", "[[login]]\nhost = \"h.test\"\nuser = \"u\"\npassword-file = \"odd\"\n");
        let mut commands: Vec<Vec<&str>> = vec![vec!["audit", "odd"], vec!["fetch", "etcd", "--offline"]];
        if kind != "a pipe" {
            // kbake waits for a pipe that the user typed, as all programs do.
            commands.extend([vec!["hosts", "--cluster", "odd"], vec!["bundle", "verify", "odd"]]);
        }
        for args in &commands {
            let (code, text) = ends_with(&site, args, &[("KBAKE_CONFIG", "home/config.toml")]);
            assert_eq!(code, 1, "{kind}: {args:?}: {text}");
            assert!(text.contains("odd"), "{kind}: {args:?}: {text}");
        }
        // Files that kbake finds by name.
        for name in ["cluster.toml", "recipes/base.toml", "recipes/roles/etcd.toml", "recipes/sources/debian.toml", "lockfiles/debian.lock"]
        {
            let (path, kept) = (site.path(name), site.path("kept"));
            let had = fs::rename(&path, &kept).is_ok();
            fs::rename(&odd, &path).unwrap();
            let args: &[&str] = if name == "cluster.toml" { &["cluster"] } else { &["plan", "etcd"] };
            let (code, text) = ends(&site, args);
            assert_eq!(code, 1, "{kind} as {name}: {text}");
            assert!(text.contains(path.file_name().unwrap().to_str().unwrap()), "{kind} as {name}: {text}");
            fs::rename(&path, &odd).unwrap();
            if had {
                fs::rename(&kept, &path).unwrap();
            }
        }
        // The store's own.
        let store = site.path("home/.cache/kbake");
        for name in ["format", "lock"] {
            let (path, kept) = (store.join(name), site.path("kept"));
            fs::rename(&path, &kept).unwrap();
            fs::rename(&odd, &path).unwrap();
            let (code, text) = ends(&site, &["store"]);
            assert_eq!(code, 1, "{kind} as {name}: {text}");
            says(&text, &["regular file", name, "hint: "]);
            fs::rename(&path, &odd).unwrap();
            fs::rename(&kept, &path).unwrap();
        }
    }
}

#[test]
fn a_link_in_a_blobs_place_is_found_mended_and_stays_mended() {
    let (site, web) = site::fetched();
    let digest = Sha256::of(contents(ONE)).to_string();
    let blob = site.path("home/.cache/kbake/blobs/sha256").join(&digest);
    let same = site.path("same");
    for target in [same.to_str().unwrap(), "/nowhere", "/dev/zero", "."] {
        fs::write(&same, contents(ONE)).unwrap();
        let put = || {
            fs::remove_file(&blob).unwrap();
            symlink(target, &blob).unwrap();
        };
        let is_file = || fs::symlink_metadata(&blob).unwrap().is_file();
        put();
        site.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
        assert!(is_file(), "{target}: a fetch brings the blob");
        let before = web.requests().len();
        site.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
        assert_eq!(web.requests().len(), before, "{target}: once");
        put();
        let text = said_all(4, &site.kbake(&["verify"]).output().unwrap());
        says(&text, &[&digest, "it is a symbolic link, not a regular file"]);
        assert!(fs::symlink_metadata(&blob).is_err());
        symlink(target, &blob).unwrap();
        let repaired = site.succeeds(&["verify", "--repair", "--mirror", &web.base]);
        says(&repaired, &["repaired", &digest]);
        assert!(is_file(), "{target}: as it is said");
        assert_eq!(site.succeeds(&["verify"]), "", "{target}");
        assert_eq!(fs::read(&same).unwrap(), contents(ONE), "what a link leads to is not ours");
    }
}

fn said_all(code: i32, output: &std::process::Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

#[test]
fn what_was_typed_may_be_a_pipe() {
    let site = Site::new();
    let cluster = fs::read_to_string(Path::new(ROOT).join("recipes/clusters/lab.toml")).unwrap();
    site.write("lab.toml", &cluster);
    let expected = site.succeeds(&["hosts", "--cluster", "lab.toml"]);
    assert!(!expected.is_empty());
    let mut child = site.kbake(&["hosts", "--cluster", "/dev/stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(cluster.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap(), expected);
}

#[test]
fn a_limit_on_files_is_told_and_not_the_end_without_a_word() {
    let site = Site::new();
    for signal in ["", "trap '' XFSZ; "] {
        let script = format!("{signal}ulimit -f 1; exec \"$@\"");
        let output = site.kbake_by("sh", &["-c", &script, "sh"]).args(["init", "new"]).output().unwrap();
        let text = said_all(5, &output);
        says(&text, &["error: ", "File too large", "ulimit -f"]);
        let _ = fs::remove_dir_all(site.path("new"));
    }
}

#[test]
fn no_command_leaves_its_memory_in_a_file() {
    let site = Site::new();
    // A command that waits.
    let mut child = site.kbake(&["bundle", "verify", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let limits = format!("/proc/{}/limits", child.id());
    let is_limited = || {
        fs::read_to_string(&limits).unwrap().lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.starts_with(&["Max", "core", "file", "size"]) && words[4..6].iter().all(|limit| matches!(*limit, "0" | "1"))
        })
    };
    let started = Instant::now();
    while !is_limited() {
        assert!(started.elapsed() < HANGS, "{}", fs::read_to_string(&limits).unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_pipe_that_stays_silent_does_not_keep_a_command_from_its_limits() {
    // Endless text through a pipe is refused at the limit.
    let site = Site::new();
    let mut endless = fs::File::open("/dev/zero").unwrap().take(70 << 20);
    let mut child = site
        .kbake(&["hosts", "--cluster", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = std::io::copy(&mut endless, &mut child.stdin.take().unwrap());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    says(&String::from_utf8_lossy(&output.stderr), &["/dev/stdin is too long: more than 64 MiB"]);
}
