//! The build around mmdebstrap, with a stand-in for it: a Perl script that packs a small root.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use crate::build::base::{Deb, Ground, How, Mode, Spec, build};
use crate::common::testing::Blobs;
use crate::common::tree::{Content, Kind, Node, Tree};
use crate::common::value::{Arch, Cancel, Epoch, Sha256, TreePath};
use crate::formats::archive::Memory;
use crate::{Class, Result};

/// Prints its input as lines of a file, and leaves a host key and a log, as packages do.
const STAND_IN: &str = r#"
use strict; use warnings; use File::Path qw(make_path);
my $root = "$ENV{TMPDIR}/root"; my $scratch = $ENV{KBAKE_SCRATCH};
make_path("$root/etc/ssh", "$root/var/log", "$root/usr/bin");
sub put { my ($name, $text) = @_; open my $f, '>', "$root/$name" or die "$name: $!"; print $f $text; close $f; }
sub list { my ($name) = @_; open my $f, '<', "$scratch/$name" or die "$name: $!"; local $/; my $t = <$f>; $t =~ s/\n/,/g; return $t; }
if (-e "$scratch/ground") { system('tar', '-C', $root, '-x', '-f', '-') == 0 or die "tar failed\n" }
until (-e "$scratch/ready") { select undef, undef, undef, 0.01 }
my $seen = -e "$root/etc/seen" ? 'etc/seen.2' : 'etc/seen';
put($seen, join("\n", 'essential ' . list('essential'), 'rest ' . list('rest.000'), 'ready ' . list('ready'), "epoch $ENV{SOURCE_DATE_EPOCH}",
    (map { "argument $_" } @ARGV), (map { "deb $_" } sort map { s,.*/,,r } glob("'$scratch/debs/*'")), ''));
put('etc/ssh/ssh_host_rsa_key', "-----BEGIN RSA PRIVATE KEY-----\ncanary\n");
put('var/log/dpkg.log', "canary " . time . "\n");
print STDERR "kbake: a step\nSetting up one:amd64 (1) ...\n";
die "told to fail\n" if -e "$scratch/debs/fails.deb";
sleep 1000 if -e "$scratch/debs/hangs.deb";
exec 'tar', '--sort=name', '--numeric-owner', '--format=pax', '-C', $root, '-c', '.';
"#;

/// A package as `dpkg-deb` makes it, uncompressed inside.
fn package(control: &str, script: Option<&str>) -> Vec<u8> {
    fn member(out: &mut Vec<u8>, name: &str, bytes: &[u8]) {
        writeln!(out, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100_644, bytes.len()).unwrap();
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(2), b'\n');
    }
    fn archive(entries: &[(&str, Option<&str>)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(text.map_or(0, str::len) as u64);
            header.set_entry_type(if text.is_some() { tar::EntryType::Regular } else { tar::EntryType::Directory });
            tar.append_data(&mut header, name, text.unwrap_or_default().as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }
    let mut data = vec![("./", None)];
    if script.is_some() {
        data.extend([("./usr/", None), ("./usr/bin/", None)]);
        // Entries that are not installed stand before the script.
        data.extend([("./usr/share/", None), ("./usr/share/man/", None), ("./usr/share/man/a.1", Some("manual"))]);
        data.push(("./usr/bin/mmdebstrap", script));
    }
    let mut out = b"!<arch>\n".to_vec();
    member(&mut out, "debian-binary", b"2.0\n");
    member(&mut out, "control.tar", &archive(&[("./", None), ("./control", Some(control))]));
    member(&mut out, "data.tar", &archive(&data));
    out
}

fn deb(folder: &Path, name: &str, fields: &str, script: Option<&str>) -> Deb {
    let bytes = package(&format!("Package: {name}\nVersion: 1-1\nArchitecture: all\n{fields}"), script);
    let path = folder.join(format!("blob of {name}"));
    std::fs::write(&path, &bytes).unwrap();
    Deb { name: name.into(), version: "1-1".into(), arch: "all".into(), path, digest: Sha256::of(&bytes), size: bytes.len() as u64 }
}

/// A base of three packages and the named ones.
fn spec(folder: &Path, more: &[&str]) -> Spec<'static> {
    let mut debs = vec![deb(folder, "base-files", "Essential: yes\n", None), deb(folder, "apt", "", None), deb(folder, "one", "", None)];
    debs.extend(more.iter().map(|name| deb(folder, name, "", None)));
    let mmdebstrap = deb(folder, "mmdebstrap", "", Some(STAND_IN));
    Spec { ground: None, debs, mmdebstrap, cleared: Vec::new(), epoch: Epoch::from_seconds(1_700_000_000).unwrap(), arch: Arch::Amd64 }
}

fn build_in(folder: &Path, spec: &Spec<'_>, cancel: &Cancel, event: &(dyn Fn(&str) + Sync)) -> (Result<Tree>, Memory) {
    let scratch = folder.join("scratch folder = odd");
    let _ = std::fs::create_dir(&scratch);
    let mut memory = Memory::default();
    let made = build(spec, &How { mode: Mode::of_caller(), jobs: 2, event, cancel }, &scratch, &mut memory);
    let made = made.map(|installed| installed.tree);
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "the scratch folder is left empty");
    (made, memory)
}

#[test]
fn packages_become_a_tree_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = spec(folder.path(), &[]);
    spec.debs.reverse();
    let lines = Mutex::new(Vec::new());
    let (tree, memory) = build_in(folder.path(), &spec, &Cancel::new(), &|line| lines.lock().unwrap().push(line.to_owned()));
    let tree = tree.unwrap();
    assert_eq!(lines.into_inner().unwrap(), ["checking the packages", "a step", "configured 1 of 3 packages"]);
    assert!(tree.get(&TreePath::fixed("etc/ssh/ssh_host_rsa_key")).is_none());
    assert!(tree.iter().all(|(_, node)| node.meta.mtime <= 1_700_000_000));
    assert_eq!(memory.blobs.len(), 1, "neither key nor log was kept");
    let Kind::File(content) = &tree.get(&TreePath::fixed("etc/seen")).unwrap().kind else { panic!() };
    let seen = memory.blobs.values().next().unwrap();
    assert_eq!(content.size(), seen.len() as u64);
    let seen = std::str::from_utf8(seen).unwrap();
    for expected in [
        "essential base-files,\n",
        "rest apt,one,\n",
        "ready yes\n",
        "epoch 1700000000\n",
        "argument --mode=root\n",
        "argument --architectures=amd64\n",
        "deb one.deb\n",
    ] {
        assert!(seen.contains(expected), "{seen}");
    }
    let again = build_in(folder.path(), &spec, &Cancel::new(), &|_| {});
    assert_eq!((again.0.unwrap(), again.1), (tree, memory), "a second later it is the same");
}

#[test]
fn more_packages_go_on_top_of_a_base() {
    let folder = tempfile::tempdir().unwrap();
    let (tree, memory) = build_in(folder.path(), &spec(folder.path(), &[]), &Cancel::new(), &|_| {});
    let ground = tree.unwrap();
    let more = |memory: &Memory| {
        let debs = vec![deb(folder.path(), "two", "Pre-Depends: one\n", None)];
        let spec =
            Spec { ground: Some(Ground { tree: &ground, source: &Blobs::from(memory.blobs.clone()) }), debs, ..spec(folder.path(), &[]) };
        build_in(folder.path(), &spec, &Cancel::new(), &|_| {})
    };
    let (tree, found) = more(&memory);
    let tree = tree.unwrap();
    let nodes = |tree: &Tree| tree.iter().map(|(path, node)| (path.clone(), node.clone())).collect::<Vec<_>>();
    let (second, rest): (Vec<_>, Vec<_>) = nodes(&tree).into_iter().partition(|(path, _)| *path == TreePath::fixed("etc/seen.2"));
    let untimed = |nodes: Vec<(TreePath, _)>| nodes.into_iter().map(|(path, node): (TreePath, Node)| (path, node.kind)).collect::<Vec<_>>();
    assert_eq!(untimed(rest), untimed(nodes(&ground)), "what was there is as it was");
    let Kind::File(Content::Blob { digest, .. }) = &second[0].1.kind else { panic!() };
    let seen = std::str::from_utf8(&found.blobs[digest]).unwrap();
    assert!(
        seen.contains("essential \nrest two,\nready yes\n") && seen.contains("deb two.deb\n") && !seen.contains("deb one.deb"),
        "{seen}"
    );

    let error = more(&Memory::default()).0.unwrap_err();
    assert!(error.to_string().contains("/etc/seen of the base"), "the cause, not tar's complaint: {error}");
}

#[test]
fn the_contents_of_packages_are_known_and_what_is_cleared_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = spec(folder.path(), &[]);
    spec.debs.push(deb(folder.path(), "ships", "", Some("shipped")));
    spec.cleared.push(TreePath::fixed("etc/seen"));
    let scratch = tempfile::tempdir().unwrap();
    let mut memory = Memory::default();
    let how = How { mode: Mode::of_caller(), jobs: 2, event: &|_| {}, cancel: &Cancel::new() };
    let installed = build(&spec, &how, scratch.path(), &mut memory).unwrap();
    assert_eq!(installed.shipped, [Sha256::of("shipped")].into());
    assert!(installed.tree.get(&TreePath::fixed("etc/seen")).is_none() && memory.blobs.is_empty(), "not even a blob has it");
    let facts = crate::build::base::host_facts(scratch.path()).unwrap();
    assert!(facts.iter().any(|fact| fact.what == "today's date"));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn bad_packages_are_named_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let good = spec(folder.path(), &[]);
    let with = |change: &dyn Fn(&mut Spec<'static>)| {
        let mut spec = good.clone();
        change(&mut spec);
        build_in(folder.path(), &spec, &Cancel::new(), &|_| {}).0.unwrap_err()
    };
    type Change<'a> = &'a dyn Fn(&mut Spec<'static>);
    let cases: [(Change<'_>, Class, &str); 9] = [
        (&|spec| spec.debs[2].digest = Sha256::of("x"), Class::Integrity, "hash mismatch for `one`"),
        (&|spec| spec.debs[2].size -= 1, Class::Integrity, "hash mismatch for `one`"),
        (&|spec| spec.mmdebstrap.digest = Sha256::of("x"), Class::Integrity, "hash mismatch for `mmdebstrap`"),
        (&|spec| spec.mmdebstrap = spec.debs[2].clone(), Class::Integrity, "/usr/bin/mmdebstrap is not in it"),
        (&|spec| spec.debs[2].version = "2-1".into(), Class::Integrity, "expected one 2-1 all, found one 1-1 all"),
        (&|spec| spec.debs[2].name = "../one".into(), Class::User, "`../one` is not a package name"),
        (&|spec| drop(spec.debs.remove(0)), Class::User, "none of them is essential"),
        (&|spec| spec.debs[2].path.push("none"), Class::User, "cannot open"),
        (&|spec| spec.epoch = Epoch::from_seconds(i64::from(i32::MAX)).unwrap(), Class::User, "clock is behind the epoch"),
    ];
    for (change, class, expected) in cases {
        let error = with(change);
        assert_eq!(error.class(), class, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let twice = with(&|spec| spec.debs.push(spec.debs[0].clone()));
    assert!(twice.to_string().contains("base-files"), "{twice}");
}

#[test]
fn a_failing_or_stopped_installation_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("scratch folder = odd/base/tmp");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("left by a killed build"), "").unwrap();
    let (failed, _) = build_in(folder.path(), &spec(folder.path(), &["fails"]), &Cancel::new(), &|_| {});
    assert!(failed.unwrap_err().to_string().contains("told to fail"));
    let cancel = Cancel::new();
    let flag = cancel.flag();
    let stop =
        |line: &str| flag.store(line == "a step" || flag.load(std::sync::atomic::Ordering::Relaxed), std::sync::atomic::Ordering::Relaxed);
    let (stopped, _) = build_in(folder.path(), &spec(folder.path(), &["hangs"]), &cancel, &stop);
    assert_eq!(stopped.unwrap_err().class(), Class::Interrupted);
}
