//! Packages built by hand and by dpkg-deb, valid and hostile; includes `ar` archives.

use std::io::Cursor;
use std::process::Command;

use proptest::prelude::*;

use super::{Control, control, data, members, plain};
use crate::common::error::{Class, Result};
use crate::common::tree::{Kind, Layer, Tree};
use crate::common::value::{Sha256, TreePath};
use crate::formats::archive::compress::Format;
use crate::formats::archive::compress::tests::{Packer, bomb, gzip, xz, zstd};
use crate::formats::archive::tar::tests::build::{END, entry, file, folder, header, with};
use crate::formats::archive::{Memory, Policy, Verdict, ar};

const CONTROL: &[u8] = b"Package: sample\nVersion: 1:2.0-3\nArchitecture: amd64\nMaintainer: N <n@example.org>\nDescription: x\n y\n";

fn member(name: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 1_700_000_000, 0, 0, "100644", bytes.len());
    let filler: &[u8] = if bytes.len() % 2 == 1 { b"\n" } else { b"" };
    [head.as_bytes(), bytes, filler].concat()
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    [b"!<arch>\n".as_slice(), &members.concat()].concat()
}

fn version() -> Vec<u8> {
    member("debian-binary", b"2.0\n")
}

fn control_tar() -> Vec<u8> {
    [&folder(b"./")[..], &file(b"./md5sums", b""), &file(b"./control", CONTROL), &END].concat()
}

fn data_tar() -> Vec<u8> {
    let su = with(header(b"./usr/su", b'0', 0), &[(100, b"0004755\0")]);
    [
        &folder(b"./")[..],
        &folder(b"./usr/"),
        &file(b"./usr/a", b"hello"),
        &entry(b"./usr/b", b'2', b"a", b""),
        &entry(b"./usr/c", b'1', b"./usr/a", b""),
        &su,
        &END,
    ]
    .concat()
}

pub(crate) fn sound() -> Vec<u8> {
    archive(&[version(), member("control.tar.gz", &gzip(&control_tar())), member("data.tar.xz", &xz(&data_tar()))])
}

fn policy() -> Policy {
    Policy::package("pool/main/s/sample/sample_2.0-3_amd64.deb", Layer::Base)
}

fn read(bytes: &[u8]) -> Result<Tree> {
    data(bytes, &policy(), &mut Memory::default())
}

#[test]
fn packages_of_all_compressions() {
    let expected = read(&sound()).unwrap();
    assert_eq!(expected.len(), 6);
    let packers: [(&str, Packer); 4] = [("", <[u8]>::to_vec), (".gz", gzip), (".xz", xz), (".zst", zstd)];
    for (suffix, pack) in packers {
        let deb = archive(&[
            version(),
            member("_extra", b"odd"),
            member(&format!("control.tar{suffix}"), &pack(&control_tar())),
            member(&format!("data.tar{suffix}/"), &pack(&data_tar())),
            member("_gpgorigin", b"signature"),
        ]);
        assert_eq!(read(&deb).unwrap(), expected, "{suffix}");
        let control: Control = control(&*deb, "x.deb").unwrap();
        assert_eq!((control.package(), control.version(), control.architecture()), ("sample", "1:2.0-3", "amd64"));
    }
}

#[test]
fn named_files_are_picked() {
    let path = TreePath::fixed;
    let found = members(&*sound(), &[path("usr/a"), path("usr/su"), path("usr/a")], 5, &policy()).unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(path("usr/a"), b"hello".to_vec()), (path("usr/su"), Vec::new())]);
    let error = members(&*sound(), &[path("usr/a")], 4, &policy()).unwrap_err();
    assert!(error.message().ends_with("/usr/a has 5 bytes, 4 are allowed"), "{error}");
    let wanted = ["usr/a", "usr/b", "usr/c", "usr", "usr/d"].map(path);
    let error = members(&*sound(), &wanted, 5, &policy()).unwrap_err().to_string();
    for part in ["/usr/b is a symbolic link to `a`", "/usr/c is a hard link to /usr/a", "/usr is not a file", "/usr/d is not in it"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn dpkg_debs_own_packages_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("top");
    std::fs::create_dir_all(top.join("DEBIAN")).unwrap();
    std::fs::create_dir_all(top.join("usr/bin")).unwrap();
    std::fs::write(top.join("DEBIAN/control"), CONTROL).unwrap();
    std::fs::write(top.join("usr/bin/tool"), b"#!/bin/sh\n").unwrap();
    std::os::unix::fs::symlink("tool", top.join("usr/bin/alias")).unwrap();
    for (kind, option) in [("xz", "-Zxz"), ("gzip", "-Zgzip"), ("none", "-Znone")] {
        let deb = folder.path().join(format!("{kind}.deb"));
        let output = Command::new("dpkg-deb").args(["--root-owner-group", option, "--build"]).arg(&top).arg(&deb).output();
        let output = output.unwrap_or_else(|e| panic!("dpkg-deb is missing: run tests/setup.sh ({e})"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let bytes = std::fs::read(&deb).unwrap();
        let tree = read(&bytes).unwrap_or_else(|e| panic!("{kind}: {e}"));
        let names: Vec<_> = tree.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(names, ["/", "/usr", "/usr/bin", "/usr/bin/alias", "/usr/bin/tool"], "{kind}");
        assert_eq!(control(&*bytes, "x").unwrap().version(), "1:2.0-3");
        let found = members(&*bytes, &[TreePath::fixed("usr/bin/tool")], 100, &policy()).unwrap();
        assert_eq!(found.values().next().unwrap(), b"#!/bin/sh\n");
    }
}

#[test]
fn hostile_packages_are_refused() {
    let control = || member("control.tar.gz", &gzip(&control_tar()));
    let data = || member("data.tar.xz", &xz(&data_tar()));
    let device = || [&with(header(b"./sda", b'4', 0), &[(329, b"0000010\0")])[..], &END].concat();
    let field = |at: usize, bytes: &[u8]| {
        let mut all = archive(&[version(), control(), data()]);
        all[8 + at..8 + at + bytes.len()].copy_from_slice(bytes);
        all
    };
    let cut = |from_end: usize| {
        let all = sound();
        all[..all.len() - from_end].to_vec()
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "is not an ar archive"),
        ("a web page", b"<!DOCTYPE html>".to_vec(), "found `<!DOCTYP`"),
        ("thin", b"!<thin>\n".to_vec(), "is not an ar archive"),
        ("only a magic", archive(&[]), "has no member `debian-binary`"),
        ("no control", archive(&[version()]), "has no member `control.tar`"),
        ("no data", archive(&[version(), control()]), "has no member `data.tar`"),
        ("wrong order", archive(&[version(), data(), control()]), "`data.tar.xz` where `control.tar` should be"),
        ("version last", archive(&[control(), data(), version()]), "`control.tar.gz` where `debian-binary`"),
        ("extension first", archive(&[member("_x", b""), version(), control(), data()]), "`_x` where `debian-binary`"),
        ("unknown member", archive(&[version(), member("extra", b""), control(), data()]), "`extra` where `control.tar`"),
        ("two datas", archive(&[version(), control(), data(), data()]), "`data.tar.xz` after its data"),
        ("like data", archive(&[version(), control(), member("data.tarball", &data_tar())]), "`data.tarball` where `data.tar`"),
        ("version 3", archive(&[member("debian-binary", b"3.0\n"), control(), data()]), "not a package of format 2"),
        ("version 20", archive(&[member("debian-binary", b"20.0\n"), control(), data()]), "found `20.0`"),
        ("no line feed", archive(&[member("debian-binary", b"2.0"), control(), data()]), "not a package of format 2"),
        ("no minor", archive(&[member("debian-binary", b"2.\n"), control(), data()]), "not a package of format 2"),
        ("long version", archive(&[member("debian-binary", &[b' '; 5000]), control(), data()]), "5000 bytes, 4096 are allowed"),
        ("bzip2", archive(&[version(), control(), member("data.tar.bz2", b"BZh91AY")]), "none of gzip, xz and zstd"),
        ("gz named xz", archive(&[version(), control(), member("data.tar.xz", &gzip(&data_tar()))]), "found gz by its first bytes"),
        ("plain named gz", archive(&[version(), control(), member("data.tar.gz", &data_tar())]), "does not match its name"),
        ("xz named plain", archive(&[version(), control(), member("data.tar", &xz(&data_tar()))]), "found xz by"),
        ("empty data", archive(&[version(), control(), member("data.tar", b"")]), "ends without its end marker"),
        ("device", archive(&[version(), control(), member("data.tar", &device())]), "`./sda` is a device"),
        ("absolute", archive(&[version(), control(), member("data.tar", &[file(b"/etc/x", b""), END.to_vec()].concat())]), "is absolute"),
        (
            "garbage behind xz",
            archive(&[version(), control(), member("data.tar.xz", &[xz(&data_tar()), vec![7; 9]].concat())]),
            "corrupt as a xz stream",
        ),
        ("no end of header", field(58, b"xx"), "does not end as it should"),
        ("long names", field(0, b"//              "), "not a member name of a package"),
        ("symbol table", field(0, b"/               "), "not a member name"),
        ("BSD name", field(0, b"#1/20           "), "not a member name"),
        ("space in name", field(0, b"debian binary   "), "not a member name"),
        ("escape in name", field(0, b"../debian       "), "not a member name"),
        ("size of letters", field(48, b"4x        "), "size `4x\\x20"),
        ("signed size", field(48, b"-4        "), "is not a number"),
        ("plus size", field(48, b"+4        "), "is not a number"),
        ("no size", field(48, b"          "), "is not a number"),
        ("size behind spaces", field(48, b"         4"), "is not a number"),
        ("mode of decimals", field(40, b"100698  "), "mode `100698"),
        ("time of letters", field(16, b"yesterday   "), "time `yesterday"),
        ("huge size", field(48, b"9999999999"), "`debian-binary` has 9999999999 bytes"),
        ("sound, with an extension", archive(&[version(), control(), member("_x", b"odd"), data()]), ""),
        ("cut in a member", cut(20), "ends inside member `data.tar.xz`, "),
        ("cut in a header", archive(&[version(), control(), data(), b"_x      ".to_vec()]), "ends inside a member's header, 8 of 60"),
        ("trailing line", archive(&[version(), control(), data(), b"\n".to_vec()]), "ends inside a member's header"),
    ];
    for (name, deb, expected) in cases {
        match read(&deb) {
            // deb(5) tells readers to skip it: the one valid package in the table, so that a reader that refuses
            // everything fails too.
            Ok(_) => assert_eq!(expected, "", "{name} was taken"),
            Err(error) => {
                assert!(!expected.is_empty() && error.to_string().contains(expected), "{name}: {error}");
                assert!(error.message().starts_with("pool/main/s/sample/"), "{name}: {error}");
                assert_eq!(error.class(), Class::Integrity, "{name}");
            }
        }
    }
}

#[test]
fn padding_bytes_are_checked() {
    let mut deb = archive(&[version(), member("_x", b"odd")]);
    *deb.last_mut().unwrap() = b'x';
    assert!(read(&deb).unwrap_err().message().ends_with("the padding byte after `_x` is missing"));
    deb.pop();
    assert!(read(&deb).unwrap_err().message().ends_with("the padding byte after `_x` is missing"));
}

#[test]
fn broken_control_archives_are_refused() {
    let with_control = |tar: Vec<u8>| archive(&[version(), member("control.tar", &tar), member("data.tar", &data_tar())]);
    let control_of = |bytes: &[u8]| [file(b"./control", bytes), END.to_vec()].concat();
    let cases = [
        (END.to_vec(), "has no file `control`"),
        ([entry(b"control", b'2', b"/etc/passwd", b""), END.to_vec()].concat(), "has no file `control`"),
        (control_of(b"Package: a\n"), "no valid field `Version`"),
        (control_of(&vec![b'a'; (1 << 20) + 1]), "1048577 bytes, 1048576 are allowed"),
        ([file(b"./control", CONTROL), file(b"./control", CONTROL), END.to_vec()].concat(), "twice"),
        (control_tar()[..600].to_vec(), "cut off"),
    ];
    for (tar, expected) in cases {
        let error = control(&*with_control(tar), "x.deb").unwrap_err();
        assert!(error.to_string().contains(expected) && error.message().starts_with("x.deb: "), "{expected}: {error}");
        assert_eq!(error.class(), Class::Integrity);
    }
}

#[test]
fn bombs_in_packages_end_early() {
    // One file that claims 4 GiB of zeros, from a few KiB per stream.
    let mut policy = policy();
    policy.limits.total_bytes = 50 << 20;
    policy.limits.file_bytes = 8 << 30;
    let head = with(header(b"zeros", b'0', 0), &[(124, b"\x80\0\0\0\0\0\0\x01\0\0\0\0")]);
    for (format, pack) in [(Format::Gzip, gzip as Packer), (Format::Xz, xz), (Format::Zstd, zstd)] {
        let stream = [pack(&head), bomb(format, 64 << 20).repeat(64)].concat();
        let deb = archive(&[
            version(),
            member("control.tar.gz", &gzip(&control_tar())),
            member(&format!("data.tar{}", format.suffix()), &stream),
        ]);
        struct Null(u64);
        impl crate::formats::archive::Sink for Null {
            fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn std::io::Read) -> Result<crate::common::tree::Content> {
                let mut buffer = [0; 4096];
                loop {
                    match bytes.read(&mut buffer).map_err(|e| crate::Error::io(format_args!("read {path}"), &e))? {
                        0 => return Ok(crate::common::tree::Content::Blob { digest: Sha256::of([]), size }),
                        n => self.0 += n as u64,
                    }
                }
            }
        }
        let mut sink = Null(0);
        let error = data(&*deb, &policy, &mut sink).unwrap_err();
        assert!(error.to_string().contains("more than the 52428800 bytes"), "{format:?}: {error}");
        assert!(error.to_string().contains("in member `zeros`"), "{format:?}: {error}");
        assert!(sink.0 <= 50 << 20);
    }
}

#[test]
fn every_cut_of_a_package_is_noticed() {
    let deb = sound();
    for len in 0..deb.len() {
        let error = read(&deb[..len]).expect_err("a part is not the whole");
        assert_eq!(error.class(), Class::Integrity, "{len}: {error}");
    }
}

#[test]
fn extension_members_are_skipped() {
    let bytes = archive(&[member("a", b"one"), member("b", &[1; 50_000]), member("c", b"")]);
    let mut archive = ar::Archive::new(&*bytes, "x").unwrap();
    let mut names = Vec::new();
    while let Some(member) = archive.next_member().unwrap() {
        names.push((member.name.clone(), member.size));
    }
    assert_eq!(names, [("a".into(), 3), ("b".into(), 50_000), ("c".into(), 0)]);
}

#[test]
fn a_package_keeps_setuid_modes() {
    let mut strict = policy();
    assert!(matches!(read(&sound()).unwrap().get(&TreePath::fixed("usr/su")).unwrap().kind, Kind::File(_)));
    strict.privileged = Verdict::Refuse;
    let error = data(&*sound(), &strict, &mut Memory::default()).unwrap_err();
    assert!(error.message().contains("`./usr/su` is setuid"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_never_panics(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut deb = sound();
        for (at, byte) in changes {
            let at = at.index(deb.len());
            deb[at] = byte;
        }
        let _ = read(&deb);
        let _ = control(&*deb, "x");
    }
}

#[test]
fn a_package_is_the_same_uncompressed() {
    let mut odd = data_tar();
    odd.push(0);
    let packers: [(&str, Packer); 4] = [("", <[u8]>::to_vec), (".gz", gzip), (".xz", xz), (".zst", zstd)];
    for (suffix, pack) in packers {
        let packed = |name: &str, tar: &[u8]| member(&format!("{name}{suffix}"), &pack(tar));
        let deb = archive(&[version(), packed("control.tar", &control_tar()), member("_extra", b"odd"), packed("data.tar", &odd)]);
        let mut out = Cursor::new(Vec::new());
        let mut shown = Memory::default();
        let found = plain(&*deb, &policy(), &mut shown, &mut out).unwrap();
        assert_eq!((found.package(), found.version()), ("sample", "1:2.0-3"));
        let mut whole = Memory::default();
        data(&*sound(), &policy(), &mut whole).unwrap();
        assert_eq!(shown, whole, "and its files are shown on the way");
        let expected = archive(&[version(), member("control.tar", &control_tar()), member("data.tar", &odd)]);
        let untimed = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("1700000000  ", "0           ");
        assert_eq!(untimed(out.get_ref()), untimed(&expected), "{suffix}: but for the times in it");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.deb");
        std::fs::write(&path, out.get_ref()).unwrap();
        let listed = Command::new("dpkg-deb").arg("--fsys-tarfile").arg(&path).output().expect("dpkg-deb is missing: run tests/setup.sh");
        assert!(listed.status.success() && listed.stdout == odd, "{}", String::from_utf8_lossy(&listed.stderr));
    }
    for cut in [10, 70, 300, sound().len() - 30] {
        let mut out = Cursor::new(Vec::new());
        assert_eq!(plain(&sound()[..cut], &policy(), &mut Memory::default(), &mut out).unwrap_err().class(), Class::Integrity, "{cut}");
    }
}
