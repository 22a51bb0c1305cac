//! Debian packages: the members of the `ar`, their order, their names, what is in them.

use super::row::{Expect, MEMORY, Row, WHAT, package, refused};
use super::seeds::build::{END, entry, file, folder, header, with};
use super::seeds::{CONTROL, ar_member as member, gzip, xz};

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    [b"!<arch>\n".as_slice(), &members.concat()].concat()
}

fn version() -> Vec<u8> {
    member("debian-binary", b"2.0\n")
}

fn control() -> Vec<u8> {
    member("control.tar.gz", &gzip(&tar(&[folder(b"./"), file(b"./control", CONTROL)])))
}

fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), END.to_vec()].concat()
}

fn data(entries: &[Vec<u8>]) -> Vec<u8> {
    member("data.tar.xz", &xz(&tar(&[&[folder(b"./")], entries].concat())))
}

fn sound() -> Vec<u8> {
    archive(&[version(), control(), data(&[file(b"./a", b"hello")])])
}

fn bad(name: &'static str, make: impl FnOnce() -> Vec<u8> + 'static, words: &[&str]) -> Row {
    Row { name, make: Box::new(make), read: Box::new(package), expect: refused(&[&[WHAT], words].concat()), memory: MEMORY }
}

/// A package whose files are these.
fn with_data(name: &'static str, entries: Vec<Vec<u8>>, words: &[&str]) -> Row {
    bad(name, move || archive(&[version(), control(), data(&entries)]), words)
}

/// A package whose `control.tar` has these.
fn with_control(name: &'static str, entries: Vec<Vec<u8>>, words: &[&str]) -> Row {
    bad(name, move || archive(&[version(), member("control.tar", &tar(&entries)), data(&[])]), words)
}

/// A sound package with other bytes in the header of its first member.
fn field(name: &'static str, at: usize, bytes: &'static [u8], words: &[&str]) -> Row {
    bad(
        name,
        move || {
            let mut all = sound();
            all[8 + at..8 + at + bytes.len()].copy_from_slice(bytes);
            all
        },
        words,
    )
}

pub fn rows() -> Vec<Row> {
    let sound_row =
        |name, make: fn() -> Vec<u8>| Row { expect: Expect::Accepted(vec!["sample 1:2.0-3", "/a 644 file 5"]), ..bad(name, make, &[]) };
    vec![
        sound_row("a sound package", sound),
        sound_row("a member to pass over", || archive(&[version(), member("_x", b"odd"), control(), data(&[file(b"./a", b"hello")])])),
        bad(
            "two of data",
            || archive(&[version(), control(), data(&[]), data(&[file(b"./evil", b"")])]),
            &["`data.tar.xz` after its data"],
        ),
        bad("two of control", || archive(&[version(), control(), control(), data(&[])]), &["`control.tar.gz` where `data.tar`"]),
        bad("data before control", || archive(&[version(), data(&[]), control()]), &["`data.tar.xz` where `control.tar`"]),
        bad("no version", || archive(&[control(), data(&[])]), &["where `debian-binary` should be"]),
        bad("no data at all", || archive(&[version(), control()]), &["has no member `data.tar`"]),
        bad("version 3.0", || archive(&[member("debian-binary", b"3.0\n"), control(), data(&[])]), &["not a package of format 2"]),
        bad("a version of 64 MiB", || archive(&[member("debian-binary", &vec![b'2'; 64 << 20])]), &["67108864 bytes, 4096 are allowed"]),
        bad(
            "a name table of GNU's ar",
            || archive(&[member("//", b"control.tar.gz/\n"), version(), control(), data(&[])]),
            &["not a member name"],
        ),
        bad("a name out of the table", || archive(&[version(), member("/0", b""), data(&[])]), &["not a member name"]),
        bad("a name of BSD's ar", || archive(&[version(), member("#1/20", b"../../control.tar.gz")]), &["not a member name"]),
        bad("a symbol table", || archive(&[member("/", b"\0\0\0\0"), version()]), &["not a member name"]),
        bad("a thin archive", || b"!<thin>\n".to_vec(), &["is not an ar archive"]),
        bad("a member's name up", || archive(&[version(), member("../control.tar", b"")]), &["not a member name"]),
        bad("a member beyond the end", || archive(&[version(), control(), data(&[])])[..400].to_vec(), &["missing"]),
        field("a member's size below zero", 48, b"-4        ", &["size `-4", "is not a number"]),
        field("a member's size of 9 GB", 48, b"9999999999", &["9999999999 bytes, 4096 are allowed"]),
        field("a member's size in letters", 48, b"4x        ", &["is not a number"]),
        field("a header without its end", 58, b"!!", &["does not end as it should"]),
        bad("something behind the last member", || [sound(), b"\n\n".to_vec()].concat(), &["ends inside a member's header"]),
        bad("bzip2 under its name", || archive(&[version(), control(), member("data.tar.bz2", b"BZh9")]), &["does not match its name"]),
        bad(
            "gzip under xz's name",
            || archive(&[version(), control(), member("data.tar.xz", &gzip(&tar(&[])))]),
            &["found gz by its first bytes"],
        ),
        bad(
            "a bomb in control",
            || archive(&[version(), member("control.tar.gz", &gzip(&tar(&[file(b"./control", &vec![b'a'; 65 << 20])])))]),
            &["/control has 68157440 bytes", "`./control`"],
        ),
        with_control(
            "a control of 2 MiB",
            vec![folder(b"./"), file(b"./control", &vec![b'a'; 2 << 20])],
            &["2097152 bytes, 1048576 are allowed"],
        ),
        with_control("no control", vec![folder(b"./"), file(b"./md5sums", b"")], &["has no file `control`"]),
        with_control(
            "a control that is a link",
            vec![folder(b"./"), entry(b"./control", b'2', b"/etc/shadow", b"")],
            &["has no file `control`"],
        ),
        with_control("a control up", vec![folder(b"./"), file(b"./../control", CONTROL)], &["escapes the root"]),
        with_control(
            "two controls",
            vec![folder(b"./"), file(b"./control", CONTROL), file(b"./control", b"Package: evil\n")],
            &["occurs twice"],
        ),
        with_control(
            "a field twice",
            vec![folder(b"./"), file(b"./control", b"Package: a\nPackage: b\n")],
            &["has a field twice in line 2"],
        ),
        with_control("a second paragraph", vec![folder(b"./"), file(b"./control", b"Package: a\n\nPackage: b\n")], &["in line 2"]),
        with_control("a control that is no text", vec![folder(b"./"), file(b"./control", b"Package: \xff\n")], &["is not UTF-8"]),
        with_data("a package's file up", vec![file(b"./../../etc/cron.d/x", b"")], &["escapes the root"]),
        with_data(
            "a package's file through a link",
            vec![entry(b"./etc", b'2', b"/etc", b""), file(b"./etc/x", b"")],
            &["symbolic link /etc"],
        ),
        with_data("a package's device", vec![with(header(b"./sda", b'4', 0), &[(329, b"0000010\0")]).to_vec()], &["`./sda` is a device"]),
        with_data("a package's folder of nobody", vec![file(b"./a/b", b"")], &["/a, which is not before it"]),
    ]
}
