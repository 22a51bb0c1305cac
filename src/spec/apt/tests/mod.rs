//! The real apt and gpgv with archives on disk: locked, kept and refused packages.

mod archive;
mod suites;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::*;
use crate::common::fsx;
use crate::common::value::Sha256;
use archive::{Archive, write};

const PACKAGES: [archive::Package<'static>; 5] = [
    ("app", "1.0", "libapp (= 1.0), virtual | other", ""),
    ("libapp", "1.0", "", ""),
    ("other", "1", "", "Provides: virtual\n"),
    ("role-pkg", "2", "libapp", ""),
    ("tool", "3", "absent", ""),
];

fn shown(lock: &Lock) -> Vec<String> {
    let sets = |entry: &Entry| entry.sets.iter().map(ToString::to_string).collect::<Vec<_>>().join("+");
    lock.entries().map(|entry| format!("{} {} {}", entry.name, entry.version, sets(entry))).collect()
}

fn version(lock: &Lock, name: &str) -> String {
    lock.entries().find(|entry| entry.name.as_str() == name).unwrap().version.to_string()
}

fn names(words: &[&str]) -> Upgrade {
    Upgrade::Names(words.iter().map(|word| word.parse().unwrap()).collect())
}

#[test]
fn a_signed_archive_is_locked_the_same_each_time() {
    let archive = Archive::new();
    archive.publish(&PACKAGES);
    let (lock, changes) = archive.lock("app", "role-pkg", None, Upgrade::Nothing).unwrap();
    // The tool is locked alone: its dependencies do not even exist.
    assert_eq!(shown(&lock), ["app 1.0 base", "core 1 base", "libapp 1.0 base", "other 1 base", "role-pkg 2 etcd", "tool 3 tool"]);
    assert_eq!(changes.len(), 6);
    let app = lock.entries().next().unwrap();
    assert_eq!((app.source.as_str(), app.size, app.sha256), ("pool/main/app/app_1.0_amd64.deb", 7, Sha256::of("app 1.0 ")));
    assert_eq!(app.verified.to_string(), format!("openpgp:{}", archive.fingerprint()));
    let text = lock.to_text();
    assert!(!text.contains("file:") && !text.contains("/tmp"), "the mirror leaves no trace: {text}");
    let (again, changes) = archive.lock("app", "role-pkg", Some(&lock), Upgrade::All).unwrap();
    assert_eq!((again.to_text(), changes), (text, vec![]));
    assert_eq!(Lock::parse(&again.to_text(), "l").unwrap(), lock);
}

#[test]
fn a_locked_version_stays_until_it_may_move_or_is_gone() {
    let archive = Archive::new();
    archive.publish(&[("app", "1", "", ""), ("app-doc", "1", "", ""), ("other", "1", "", ""), ("tool", "1", "", "")]);
    let (old, _) = archive.lock("app app-doc other", "", None, Upgrade::Nothing).unwrap();

    let both = [
        ("app", "1", "", ""),
        ("app", "2", "", ""),
        ("app-doc", "1", "", ""),
        ("app-doc", "2", "", ""),
        ("other", "1", "", ""),
        ("other", "2", "", ""),
        ("tool", "1", "", ""),
        ("tool", "2", "", ""),
    ];
    archive.publish(&both);
    let (kept, changes) = archive.lock("app app-doc other", "", Some(&old), Upgrade::Nothing).unwrap();
    assert_eq!((kept.to_text(), changes), (old.to_text(), vec![]), "a newer version alone moves nothing");
    let (fresh, _) = archive.lock("app app-doc other", "", None, Upgrade::Nothing).unwrap();
    assert_eq!(version(&fresh, "app"), "2", "the newer version is really there");

    let (_, changes) = archive.lock("app app-doc other", "", Some(&old), names(&["app"])).unwrap();
    assert_eq!(changes, ["move    app 1 -> 2", "move    app-doc 1 -> 2"], "siblings of one source move together, the rest stays");
    let (_, changes) = archive.lock("app app-doc other", "", Some(&old), Upgrade::All).unwrap();
    assert_eq!(changes.len(), 4, "tools move too: {changes:?}");

    archive.publish(&both[1..]);
    let (moved, changes) = archive.lock("app app-doc other", "", Some(&old), Upgrade::Nothing).unwrap();
    let gone = "the archive no longer has the locked version";
    assert_eq!(changes, [format!("move    app 1 -> 2: {gone}"), format!("move    app-doc 1 -> 2: {gone}")]);
    assert_eq!((version(&moved, "other"), version(&moved, "tool")), ("1".into(), "1".into()));

    let (_, changes) = archive.lock("other", "", Some(&old), Upgrade::Nothing).unwrap();
    assert_eq!(changes, ["remove  app 1 (base)", "remove  app-doc 1 (base)"]);
    let error = archive.lock("app", "", Some(&old), names(&["othr"])).unwrap_err().to_string();
    assert_eq!(error, "cannot upgrade `othr`: it is not in the lockfile\nhint: did you mean `other`?");
}

#[test]
fn other_bytes_of_a_locked_version_are_refused() {
    let archive = Archive::new();
    archive.publish(&[("app", "1", "", ""), ("tool", "1", "", "")]);
    let (old, _) = archive.lock("app", "", None, Upgrade::Nothing).unwrap();
    archive.publish(&[("app", "1", "", "Section: x\n"), ("tool", "1", "", "")]);
    let error = archive.lock("app", "", Some(&old), Upgrade::Nothing).unwrap_err();
    assert_eq!(error.class(), Class::Integrity);
    let text = error.to_string();
    assert!(text.contains("other bytes for `app` 1 than the lockfile") && text.contains("kbake lock --upgrade package:app"), "{text}");
    let (_, changes) = archive.lock("app", "", Some(&old), names(&["app"])).unwrap();
    assert_eq!(changes, ["move    app 1 -> 1"]);
}

#[test]
fn a_role_takes_what_the_base_has_already() {
    let archive = Archive::new();
    // By itself the role would take the first alternative, which conflicts with the base.
    let packages = [("app", "1", "mid", ""), ("mid", "1", "have", ""), ("have", "1", "", ""), ("alt", "1", "", "Conflicts: have\n")];
    archive.publish(&[&packages[..], &[("role-pkg", "1", "alt | have", ""), ("tool", "1", "", "")]].concat());
    let (lock, _) = archive.lock("app", "role-pkg", None, Upgrade::Nothing).unwrap();
    assert_eq!(shown(&lock), ["app 1 base", "core 1 base", "have 1 base", "mid 1 base", "role-pkg 1 etcd", "tool 1 tool"]);
    let (lock, _) = archive.lock("", "role-pkg", None, Upgrade::Nothing).unwrap();
    assert_eq!(shown(&lock), ["alt 1 etcd", "core 1 base", "role-pkg 1 etcd", "tool 1 tool"], "the alternative is a real one");
}

#[test]
fn names_that_the_suite_does_not_have_are_shown_in_their_recipe() {
    let archive = Archive::new();
    archive.publish(&PACKAGES);
    let text = archive.failure("other ap").to_string();
    assert!(text.starts_with("the suite `test` has no package `ap`\n  base.toml:2:22\n"), "{text}");
    assert!(text.ends_with("hint: did you mean `app`?"), "{text}");
    let text = archive.failure("virtual").to_string();
    assert!(text.starts_with("`virtual` is a virtual package in the suite `test`, and cannot be locked\n  base.toml:2:13"), "{text}");
    assert!(text.ends_with("hint: name one that provides it: other"), "{text}");
    let text = archive.failure("tool").to_string();
    assert!(text.contains("no way to install the packages of `base` together") && text.contains("Depends: absent"), "{text}");
}

#[test]
fn what_is_not_signed_right_is_refused() {
    let archive = Archive::new();
    let release = archive.path("mirror/dists/test/InRelease");
    let index = archive.path("mirror/dists/test/main/binary-amd64/Packages");
    let read = |path: &std::path::Path| fsx::read_to_string(path).unwrap();
    let refused = |words: &[&str]| {
        let error = archive.failure("app");
        assert_eq!(error.class(), Class::Integrity, "{error}");
        let text = error.to_string();
        assert!(text.starts_with("no mirror offers the suite `test` with a good signature\n"), "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
    };

    archive.publish(&PACKAGES);
    write(&index, &read(&index).replace("Size: 7", "Size: 8"));
    refused(&["Packages"]);

    archive.publish(&PACKAGES);
    write(&release, &read(&release).replace("Origin: Test", "Origin: Tset"));
    refused(&["BADSIG"]);

    archive.publish(&PACKAGES);
    write(&release, &read(&archive.path("Release")));
    refused(&["InRelease"]);

    // Without InRelease, apt would take Release and Release.gpg; unsigned, it must take neither.
    std::fs::rename(&release, archive.path("mirror/dists/test/Release")).unwrap();
    write(&archive.path("mirror/dists/test/Release"), &read(&archive.path("Release")));
    refused(&["is not signed"]);

    // A valid signature on another suite's release file.
    archive.publish_as("other", &PACKAGES);
    refused(&["another suite", "expected test, found other"]);
}

#[test]
fn a_stranger_s_key_is_refused() {
    let (archive, stranger) = (Archive::new(), Archive::new());
    archive.publish(&PACKAGES);
    let lock = |sources: &Sources| archive.lock_from(&[archive.mirror().into()], sources, "app", "", None, Upgrade::Nothing).unwrap_err();
    let other_ring = archive.sources_with(stranger.path("keyring.gpg").to_str().unwrap(), archive.fingerprint());
    let error = lock(&other_ring);
    assert!(error.class() == Class::Integrity && error.to_string().contains("NO_PUBKEY"), "{error}");
    // In the keyring, but not among the keys that the sources accept.
    let other_key = archive.sources_with(archive.path("keyring.gpg").to_str().unwrap(), stranger.fingerprint());
    let error = lock(&other_key);
    assert!(error.class() == Class::Integrity && error.to_string().contains(&format!("signed by: {}", archive.fingerprint())), "{error}");
    let error = lock(&archive.sources_with("/nonexistent/ring.gpg", archive.fingerprint())).to_string();
    assert!(error.contains("`/nonexistent/ring.gpg` does not exist\n  sources/test.toml:10:11"), "{error}");
}

#[test]
fn a_mirror_that_fails_gives_way_to_the_next() {
    let (archive, broken) = (Archive::new(), Archive::new());
    archive.publish(&PACKAGES);
    broken.publish(&PACKAGES);
    let gone = format!("file:{}", archive.path("nowhere").display());
    let mirrors = [gone.clone(), broken.mirror(), archive.mirror()].map(Mirror::from);
    let (lock, _) = archive.lock_from(&mirrors, &archive.sources(), "app", "", None, Upgrade::Nothing).unwrap();
    assert_eq!(version(&lock, "app"), "1.0");
    let error = archive.lock_from(&[gone.into()], &archive.sources(), "app", "", None, Upgrade::Nothing).unwrap_err();
    assert!(error.class() == Class::Network && error.to_string().contains("/nowhere/: apt could not fetch its indexes"), "{error}");
    let error = archive.lock_from(&[], &archive.sources(), "app", "", None, Upgrade::Nothing).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no mirror is known that could carry the suite `test`\n  this host's apt has no mirror of the archive `debian` among its sources\n\
         hint: name one with `--mirror debian=URL`"
    );
    let error = archive.lock_from(&["ftp://u:pw@a.invalid/".into()], &archive.sources(), "app", "", None, Upgrade::Nothing).unwrap_err();
    assert!(error.to_string().starts_with("`ftp://a.invalid/` is not a mirror address that kbake supports"), "{error}");
}

/// The archive of Debian 12's main suites.
fn debian() -> crate::spec::recipe::Archive {
    let suites = ["bookworm", "bookworm-backports"].map(|name| name.parse().unwrap()).into();
    crate::spec::recipe::Archive { name: "debian".parse().unwrap(), suites, origin: Some("Debian".to_owned()), others: Vec::new() }
}

#[test]
fn the_hosts_mirrors_are_found_before_any_update_in_both_formats() {
    let archive = Archive::new();
    let list = "# deb http://no.invalid/ bookworm main\ndeb [arch=amd64 signed-by=/k.gpg] http://one.invalid/debian bookworm main contrib\n\
                deb http://one.invalid/debian/ bookworm-proposed main\ndeb-src http://src.invalid/debian bookworm main\n\
                deb http://sec.invalid/debian-security bookworm-security main\ndeb http://flat.invalid/ ./\ndeb http://old.invalid/debian trixie main\n";
    write(&archive.path("host/sources.list"), list);
    let mirrors = archive.path("host/mirrors.list");
    write(&mirrors, "http://three.invalid/debian\tpriority:1\nhttp://one.invalid/debian\n");
    let deb822 = format!(
        "Types: deb deb-src\nURIs: https://two.invalid/debian mirror+file:{}\nSuites: bookworm bookworm-backports\nComponents: main\n\nTypes: deb\nEnabled: no\nURIs: http://off.invalid/\nSuites: bookworm\nComponents: main\n",
        mirrors.display()
    );
    write(&archive.path("host/sources.list.d/a.sources"), &deb822);
    let found = host_mirrors(&archive.host(), &debian(), &Cancel::new()).unwrap();
    let expected =
        ["http://one.invalid/debian/", "https://two.invalid/debian/", "http://three.invalid/debian/", "http://old.invalid/debian/"];
    assert_eq!(found, expected);
    // After an update the origins are known: one of them is another distribution's.
    let lists = archive.path("host/state/lists");
    write(&lists.join("two.invalid_debian_dists_bookworm_InRelease"), "Hash: SHA256\n\nOrigin: Stranger\n");
    write(&lists.join("one.invalid_debian_dists_bookworm_Release"), "Origin: Debian\n");
    assert_eq!(host_mirrors(&archive.host(), &debian(), &Cancel::new()).unwrap(), [expected[0], expected[2], expected[3]]);
    write(&archive.path("host/sources.list"), "deb http://x.invalid\n");
    let error = host_mirrors(&archive.host(), &debian(), &Cancel::new()).unwrap_err().to_string();
    assert!(error.contains("cannot read its own sources") && error.contains("Malformed"), "{error}");
}

/// The archive's host, with only some of this machine's tools, linked from `folder`.
fn host_with(archive: &Archive, folder: &std::path::Path, tools: &[&str]) -> Host {
    for tool in tools {
        symlink(format!("/usr/bin/{tool}"), folder.join(tool)).unwrap();
    }
    Host::from_vars([("PATH".into(), folder.into()), ("APT_CONFIG".into(), archive.path("host/apt.conf").into())])
}

#[test]
fn missing_tools_are_named_with_their_package() {
    let archive = Archive::new();
    archive.publish(&PACKAGES);
    let all = ["apt-get", "apt-cache", "apt-config", "gpgv"];
    for (missing, package) in [("apt-get", "apt"), ("apt-cache", "apt"), ("apt-config", "apt"), ("gpgv", "gpgv")] {
        let folder = tempfile::tempdir().unwrap();
        let tools: Vec<&str> = all.into_iter().filter(|tool| *tool != missing).collect();
        let host = host_with(&archive, folder.path(), &tools);
        let cancel = Cancel::new();
        let mirrors = [archive.mirror().into()];
        let options = Options {
            host: &host,
            mirrors: &mirrors,
            upgrade: Upgrade::Nothing,
            at: None,
            login: &|_| Ok(None),
            project: &|_| Ok(None),
            scratch: archive.path("scratch"),
            cancel: &cancel,
        };
        let error = lock(Wanted { recipes: &[], sources: &archive.sources() }, None, &options, &|_| ()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("`{missing}` is not installed")) && error.contains(&format!("install the package `{package}`")),
            "{error}"
        );
    }
}

#[test]
fn a_request_to_stop_ends_a_tool_that_hangs() {
    let archive = Archive::new();
    let script = archive.path("bin/apt-get");
    write(&script, "#!/bin/sh\nexec /usr/bin/sleep 600\n");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let cancel = Cancel::new();
    let flag = cancel.flag();
    let stopper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        flag.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let error = host_mirrors(&host_with(&archive, &archive.path("bin"), &[]), &debian(), &cancel).unwrap_err();
    stopper.join().unwrap();
    assert_eq!(error.class(), Class::Interrupted);
}

#[test]
fn little_of_the_environment_reaches_the_tools() {
    let vars = [("PATH", "/p"), ("LD_PRELOAD", "/evil.so"), ("http_proxy", "http://p.invalid"), ("LANG", "de_DE"), ("APT_CONFIG", "/a")];
    let host = Host::from_vars(vars.map(|(name, value)| (name.into(), value.into())));
    let set = |command: std::process::Command| -> Vec<String> {
        command.get_envs().map(|(name, value)| format!("{}={}", name.display(), value.unwrap().display())).collect()
    };
    assert_eq!(set(host.command("x")), ["APT_CONFIG=/a", "HOME=/nonexistent", "LC_ALL=C", "PATH=/p", "http_proxy=http://p.invalid"]);
    assert_eq!(set(host.private_command("x", "/b".as_ref()))[0], "APT_CONFIG=/b");
}

/// A proxy that answers 404, and the requests that it got.
fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let told = Arc::clone(&asked);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
                head.push(byte[0]);
            }
            told.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
            // The client may have disconnected.
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (format!("http://{address}"), asked)
}

/// `me` and `hidden`, in an HTTP header.
const BASIC: &str = "Authorization: Basic bWU6aGlkZGVu";
const FAR: &str = "http://far.invalid/debian/";

#[test]
fn the_private_apt_goes_the_way_that_was_found() {
    let netrc = "machine http://far.invalid login me password hidden\n";
    for (of_configuration, variable, own_login) in [(true, None, true), (true, None, false), (false, Some("HTTP_PROXY"), false)] {
        let archive = Archive::new();
        let (address, asked) = proxy();
        let file = archive.path("host/apt.conf");
        if of_configuration {
            write(&file, &format!("{}Acquire::http::Proxy \"{address}\";\n", fsx::read_to_string(&file).unwrap()));
        }
        if !own_login {
            write(&archive.path("host/auth.conf.d/far.conf"), netrc);
        }
        let path = std::env::var_os("PATH").unwrap();
        let mut vars = vec![("PATH".into(), path), ("APT_CONFIG".into(), file.into())];
        vars.extend(variable.map(|name| (name.into(), address.clone().into())));
        let (host, cancel, mirrors) = (Host::from_vars(vars), Cancel::new(), [FAR.into()]);
        let login = |mirror: &str| Ok((own_login && mirror == FAR).then(|| SecretString::from(netrc)));
        let scratch = archive.path("scratch");
        let project = |_: &RecipePath| Ok(None);
        let (upgrade, at) = (Upgrade::Nothing, None);
        let options = Options { host: &host, mirrors: &mirrors, upgrade, at, login: &login, project: &project, scratch, cancel: &cancel };
        let error = lock(Wanted { recipes: &[], sources: &archive.sources() }, None, &options, &|_| ()).unwrap_err();
        assert_eq!(error.class(), Class::Network, "{error}");
        let asked = asked.lock().unwrap();
        let first = asked.first().unwrap_or_else(|| panic!("the proxy was not asked: {error}"));
        assert!(first.starts_with("GET http://far.invalid/debian/dists/test/InRelease ") && first.contains(BASIC), "{first}");
        // Fetching uses the same settings.
        let access = MirrorAccess::of_host(&host, &[FAR.to_owned()], &cancel).unwrap();
        assert_eq!(access.proxies.through("http", "far.invalid", Some(80)), Some(&*address));
        assert_eq!(access.auth_files.iter().filter(|file| file.ends_with("auth.conf.d/far.conf")).count(), usize::from(!own_login));
    }
}

#[test]
fn apt_s_command_that_finds_proxies_is_asked_for_each_mirror() {
    let archive = Archive::new();
    let script = archive.path("bin/find");
    write(&script, "#!/bin/sh\ncase $1 in *far*) echo http://found.invalid:3142 ;; *none*) exit 1 ;; *) echo DIRECT ;; esac\n");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let file = archive.path("host/apt.conf");
    let more = format!(
        "Acquire::http::Proxy \"http://usual.invalid\";\nAcquire::http::Proxy-Auto-Detect \"{}\";\nAcquire::https::CAInfo \"/ca.pem\";\n\
         Acquire::https::SSLCert \"/me.pem\";\nAcquire::https::Verify-Peer \"false\";\n",
        script.display()
    );
    write(&file, &(fsx::read_to_string(&file).unwrap() + &more));
    let mirrors = [FAR, "http://near.invalid/", "http://none.invalid/", "file:/srv/"].map(str::to_owned);
    let access = MirrorAccess::of_host(&archive.host(), &mirrors, &Cancel::new()).unwrap();
    let through = |host| access.proxies.through("http", host, None);
    assert_eq!(through("far.invalid"), Some("http://found.invalid:3142"));
    assert_eq!(through("near.invalid"), None);
    assert_eq!(through("none.invalid"), Some("http://usual.invalid"));
    assert_eq!(access.authorities, Some("/ca.pem".into()));
    assert_eq!(access.certificate, Some(("/me.pem".into(), "/me.pem".into())));
    assert_eq!(access.refused, ["Acquire::https::Verify-Peer \"false\""]);
}
