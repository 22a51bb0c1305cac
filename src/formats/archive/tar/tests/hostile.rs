//! Archives that must be refused, each with a part of the expected message.

use super::build::{END, entry, file, folder, header, long, padded, pax, record, with};
use super::{open_policy, read};
use crate::Class;
use crate::formats::archive::{Duplicates, Memory, Parents, Policy, Verdict};

/// The archive's contents before its end marker, the difference of the policy from one that allows everything, and a
/// part of the message.
type Case = (&'static str, Vec<u8>, fn(&mut Policy), &'static str);

fn same(_: &mut Policy) {}

fn check(cases: Vec<Case>) {
    for (name, archive, change, expected) in cases {
        let mut policy = open_policy();
        change(&mut policy);
        let whole = [&archive[..], &END].concat();
        match read(&*whole, &policy, &mut Memory::default()) {
            Ok(tree) => panic!("{name}: taken as\n{}", tree.to_text()),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(expected), "{name}: {text}");
                assert!(text.starts_with("pool/t.tar: "), "{name}: {text}");
                assert_eq!(error.class(), Class::Integrity, "{name}");
            }
        }
    }
}

#[test]
fn names() {
    check(vec![
        ("absolute", file(b"/etc/passwd", b""), same, "`/etc/passwd` has a forbidden name: `/etc/passwd` is absolute"),
        ("absolute folder", folder(b"//"), same, "is absolute"),
        ("climbing", file(b"../../etc/passwd", b""), same, "escapes the root"),
        ("climbing inside", file(b"a/../b", b""), same, "escapes the root"),
        ("climbing at the end", folder(b"./a/.."), same, "escapes the root"),
        ("no name", file(b"", b""), same, "has no name"),
        ("root as a file", file(b"./.", b"x"), same, "is the root"),
        ("root as a link", entry(b".", b'2', b"/etc", b""), same, "is the root"),
        ("file with a slash", file(b"a/", b""), same, "ends with a slash"),
        ("link with a slash", entry(b"a/", b'2', b"b", b""), same, "ends with a slash"),
        ("name of 256 bytes", [long(b'L', &[b'a'; 256]), file(b"a", b"")].concat(), same, "256 bytes, 255 are allowed"),
        ("path of 4200 bytes", [long(b'L', &b"abcdef/".repeat(600)), folder(b"a")].concat(), same, "longer than Linux allows, 4094"),
        ("NUL in a long name", [long(b'L', b"a\0b\0"), file(b"a", b"")].concat(), same, "NUL"),
        ("NUL in a pax name", [pax(&[record("path", b"a\0")]), file(b"a", b"")].concat(), same, "NUL"),
        ("absolute in pax", [pax(&[record("path", b"/a")]), file(b"a", b"")].concat(), same, "is absolute"),
        ("absolute in a long name", [long(b'L', b"/a\0"), file(b"a", b"")].concat(), same, "is absolute"),
        ("climbing prefix", with(header(b"x", b'0', 0), &[(257, b"ustar\x0000"), (345, b"..")]).to_vec(), same, "escapes the root"),
        ("sparse name", [pax(&sparse("1", "/etc/x", "9")), file(b"a", &padded(b"0\n"))].concat(), same, "is absolute"),
        ("too deep", folder(&b"a/".repeat(49)), |p| p.limits.depth = 48, "more than 48 folders"),
    ]);
}

fn sparse(major: &str, name: &str, size: &str) -> Vec<Vec<u8>> {
    let keys = [("major", major), ("minor", "0"), ("name", name), ("realsize", size)];
    keys.map(|(key, value)| record(&format!("GNU.sparse.{key}"), value.as_bytes())).to_vec()
}

#[test]
fn links() {
    let link = |name: &[u8], target: &[u8]| entry(name, b'2', target, b"");
    let hard = |name: &[u8], target: &[u8]| entry(name, b'1', target, b"");
    check(vec![
        ("through a link", [link(b"a", b"/etc"), file(b"a/passwd", b"")].concat(), same, "`a/passwd` goes through the symbolic link /a"),
        ("folder through a link", [link(b"a", b"."), folder(b"a/b/")].concat(), same, "goes through the symbolic link"),
        ("far below a link", [link(b"a", b"."), file(b"a/b/c/d", b"")].concat(), same, "goes through the symbolic link"),
        ("folder over a link", [link(b"a", b"/etc"), folder(b"a/")].concat(), same, "was something else before"),
        ("below a file", [file(b"a", b""), file(b"a/b", b"")].concat(), same, "is in /a, which is not a folder"),
        ("hard link outside", hard(b"a", b"/etc/shadow"), same, "is absolute"),
        ("hard link climbing", hard(b"a", b"../b"), same, "escapes the root"),
        ("hard link forward", [hard(b"a", b"b"), file(b"b", b"")].concat(), same, "not before it"),
        ("hard link to a folder", [folder(b"d"), hard(b"a", b"d")].concat(), same, "to /d, which is not a file"),
        ("hard link to a link", [link(b"l", b"x"), hard(b"a", b"l")].concat(), same, "which is not a file"),
        ("hard link through a link", [folder(b"d"), file(b"d/f", b""), link(b"l", b"d"), hard(b"a", b"l/f")].concat(), same, "not before"),
        ("hard link to itself", [file(b"a", b""), hard(b"a", b"./a")].concat(), same, "to itself"),
        ("hard link to itself, round", [file(b"a", b""), hard(b"b", b"a"), hard(b"a", b"b")].concat(), same, "to itself"),
        ("hard link to nothing", hard(b"a", b""), same, "to nothing"),
        ("hard link with contents", [file(b"a", b""), entry(b"b", b'1', b"a", b"data")].concat(), same, "4 bytes of contents"),
        ("link to nothing", link(b"a", b""), same, "target is empty"),
        ("link with NUL", [pax(&[record("linkpath", b"a\0b")]), link(b"a", b"")].concat(), same, "NUL"),
        ("endless link", [long(b'K', &[b'x'; 5000]), link(b"a", b"")].concat(), same, "too long"),
    ]);
}

#[test]
fn contents_that_the_policy_forbids() {
    let device = || with(header(b"sda", b'4', 0), &[(329, b"0000010\0"), (337, b"0000000\0")]).to_vec();
    let mode = |mode: &[u8]| with(header(b"su", b'0', 0), &[(100, mode)]).to_vec();
    let capable = || [pax(&[record("SCHILY.xattr.security.capability", b"\x01")]), file(b"ping", b"")].concat();
    let twice = || [file(b"a", b"1"), file(b"a", b"2")].concat();
    let many: Vec<u8> = (0..12).flat_map(|i| file(format!("f{i}").as_bytes(), b"")).collect();
    let repeated: Vec<u8> = (0..12).flat_map(|_| folder(b"d")).collect();
    let replaced: Vec<u8> = (0..1002).flat_map(|_| file(b"f", b"")).collect();
    check(vec![
        ("block device", device(), |p| p.devices = Verdict::Refuse, "`sda` is a device or pipe"),
        ("pipe", entry(b"p", b'6', b"", b""), |p| p.devices = Verdict::Refuse, "is a device or pipe"),
        ("setuid", mode(b"0004755\0"), |p| p.privileged = Verdict::Refuse, "setuid or setgid (mode 4755)"),
        ("setgid", mode(b"0002755\0"), |p| p.privileged = Verdict::Refuse, "setuid or setgid"),
        ("capabilities", capable(), |p| p.privileged = Verdict::Refuse, "file capabilities"),
        ("twice", twice(), |p| p.duplicates = Duplicates::Refuse, "`a` occurs twice"),
        (
            "twice by another spelling",
            [file(b"a", b""), file(b".//a", b"")].concat(),
            |p| p.duplicates = Duplicates::Refuse,
            "occurs twice",
        ),
        ("replaced for ever", replaced, same, "after 1000 others"),
        ("file over folder", [folder(b"a"), file(b"a", b"")].concat(), same, "would replace a folder"),
        ("folder over file", [file(b"a", b""), folder(b"a")].concat(), same, "was something else before"),
        ("no folder", file(b"a/b", b""), |p| p.parents = Parents::Refuse, "is in /a, which is not before it"),
        ("many entries", many, |p| p.limits.entries = 10, "`f9` exceeds the limit of 10 entries"),
        ("one folder for ever", repeated, |p| p.limits.entries = 10, "exceeds the limit of 10 entries"),
        ("many made folders", file(&b"a/".repeat(40)[..79], b""), |p| p.limits.entries = 10, "exceeds the limit of 10 entries"),
        ("large file", file(b"a", &[0; 600]), |p| p.limits.file_bytes = 599, "`a` has 600 bytes, 599 are allowed"),
        (
            "large hole",
            [pax(&sparse("1", "a", "600")), file(b"a", &padded(b"0\n"))].concat(),
            |p| p.limits.file_bytes = 599,
            "has 600 bytes",
        ),
        ("large stream", file(b"a", &[0; 600]), |p| p.limits.total_bytes = 1500, "more than the 1500 bytes"),
        ("many attributes", capable(), |p| p.limits.meta_bytes = 20, "exceeds the limit of 20 bytes of names"),
    ]);
}

#[test]
fn headers() {
    let field = |at, bytes: &'static [u8]| with(header(b"a", b'0', 0), &[(at, bytes)]).to_vec();
    let kind = |typeflag| entry(b"a", typeflag, b"", b"");
    let mut wrong_sum = file(b"a", b"");
    wrong_sum[0] = b'b';
    check(vec![
        ("no tar", b"<!DOCTYPE html>\n".repeat(32), same, "is not a tar archive"),
        ("wrong checksum", wrong_sum.clone(), same, "is not a tar archive"),
        ("wrong checksum later", [file(b"first", b"x"), wrong_sum].concat(), same, "no header where one should be, after member `first`"),
        ("other magic", field(257, b"USTAR  \0"), same, "unknown format"),
        ("xstar", with(header(b"a", b'0', 0), &[(257, b"ustar\x0000"), (508, b"tar\0")]).to_vec(), same, "xstar"),
        ("signed size", field(124, b"-0000000001\0"), same, "size `-0000000001\\x00` is not a number"),
        ("plus size", field(124, b"+0000000001\0"), same, "is not a number"),
        ("decimal size", field(124, b"00000000009\0"), same, "is not a number"),
        ("negative size", field(124, &[0xff; 12]), same, "size -1 is out of range"),
        ("huge size", field(124, b"\x80\0\0\x01\0\0\0\0\0\0\0\0"), same, "out of range"),
        ("8 EiB", field(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"), same, "are allowed"),
        ("odd mode", field(100, b"7777777\0"), same, "mode 2097151 is out of range"),
        ("owner -1", field(108, b"\xff\xff\xff\xff\xff\xff\xff\xff"), same, "owner -1 is out of range"),
        ("owner 2^32-1", field(108, b"\x80\0\0\0\xff\xff\xff\xff"), same, "owner 4294967295 is out of range"),
        ("device numbers", with(header(b"a", b'3', 0), &[(329, b"7777777\0")]).to_vec(), same, "device's major number"),
        ("device of v7", with(header(b"a", b'3', 0), &[(257, &[0; 8])]).to_vec(), same, "in a format that has none"),
        ("volume", kind(b'V'), same, "has the type `V`, which is not read"),
        ("incremental", kind(b'D'), same, "has the type `D`"),
        ("continued", kind(b'M'), same, "has the type `M`"),
        ("solaris", kind(b'X'), same, "has the type `X`"),
        ("unknown", kind(0xff), same, "has the type `\\xff`"),
        ("folder with contents", entry(b"d", b'5', b"", b"data"), same, "4 bytes of contents"),
        ("link with contents", entry(b"d", b'2', b"x", b"data"), same, "4 bytes of contents"),
        ("device with contents", entry(b"d", b'3', b"", &file(b"hidden", b"")), same, "512 bytes of contents"),
        ("lone zeros", [file(b"a", b""), vec![0; 512], file(b"b", b"")].concat(), same, "lone block of zeros"),
        ("second archive", [file(b"a", b""), END.to_vec(), file(b"b", b"")].concat(), same, "data after its end marker"),
        ("trailing byte", [END.to_vec(), vec![0; 100], vec![1]].concat(), same, "data after its end marker"),
    ]);
}

#[test]
fn extended_headers() {
    let one = |key: &str, value: &[u8]| [pax(&[record(key, value)]), file(b"a", b"hello")].concat();
    let global = |key: &str, value: &[u8]| [entry(b"g", b'g', b"", &record(key, value)), file(b"a", b"")].concat();
    let big = with(header(b"x", b'x', 2 << 20), &[]).to_vec();
    check(vec![
        ("pax says less", one("size", b"0"), same, "has 5 bytes by its header and 0 by its extended header"),
        ("pax says more", one("size", b"1024"), same, "5 bytes by its header and 1024"),
        ("size with a sign", one("size", b"+5"), same, "`+5` is not a number"),
        ("size too long", one("size", b"99999999999999999999999"), same, "is not a number"),
        ("size twice", [pax(&[record("size", b"5"), record("size", b"0")]), file(b"a", b"hello")].concat(), same, "`size` twice"),
        ("contents for a link", [pax(&[record("size", b"8589934592")]), entry(b"a", b'2', b"x", b"")].concat(), same, "of contents"),
        ("unknown key", one("VENDOR.magic", b"1"), same, "`VENDOR.magic` (`1`) is not understood"),
        ("access list", one("SCHILY.acl.access", b"user::rwx"), same, "not understood"),
        ("true size of star", one("SCHILY.realsize", b"9"), same, "not understood"),
        ("character set", one("hdrcharset", b"KOI8-R"), same, "not understood"),
        ("strange attribute", one("SCHILY.xattr.evil", b"1"), same, "not an attribute that Linux supports"),
        ("large attribute", one("SCHILY.xattr.user.a", &[1; 70_000]), same, "70000 bytes, 65536 are allowed"),
        ("global path", global("path", b"/etc/passwd"), same, "`path` in a global header"),
        ("global size", global("size", b"0"), same, "`size` in a global header"),
        ("two of pax", [pax(&[]), pax(&[]), file(b"a", b"")].concat(), same, "two extended headers of a kind"),
        ("two long names", [long(b'L', b"a\0"), long(b'L', b"b\0"), file(b"a", b"")].concat(), same, "two extended headers of a kind"),
        ("two kinds of names", [long(b'L', b"a\0"), pax(&[record("path", b"b")]), file(b"a", b"")].concat(), same, "two long names"),
        (
            "two kinds of targets",
            [long(b'K', b"a\0"), pax(&[record("linkpath", b"b")]), entry(b"a", b'2', b"c", b"")].concat(),
            same,
            "two long link targets",
        ),
        ("for nothing", [file(b"a", b""), pax(&[record("path", b"b")])].concat(), same, "without the entry that it belongs to"),
        ("long name for nothing", long(b'L', b"a\0"), same, "without the entry"),
        ("large extended header", big, same, "2097152 bytes, 1048576 are allowed"),
        ("record too long", [entry(b"x", b'x', b"", b"99 path=a\n"), file(b"a", b"")].concat(), same, "broken extended header"),
        ("libarchive's attribute", one("LIBARCHIVE.xattr.user.a", b"eA=="), same, "libarchive's own form"),
    ]);
}

#[test]
fn sparse_files() {
    let field = |n: u64| format!("{n:011o}\0").into_bytes();
    let old = |pairs: &[(u64, u64)], size: u64, stored: u64| {
        let map: Vec<u8> = pairs.iter().flat_map(|&(at, len)| [field(at), field(len)].concat()).collect();
        let head = with(header(b"s", b'S', stored), &[(386, &map), (483, &field(size))]);
        [&head[..], &vec![1; stored.next_multiple_of(512) as usize]].concat()
    };
    let v1 = |map: &[u8]| [pax(&sparse("1", "s", "100")), file(b"s", &[padded(map), vec![1; 10]].concat())].concat();
    let v01 = |map: &[u8], count: &[u8]| {
        let keys = [record("GNU.sparse.size", b"100"), record("GNU.sparse.numblocks", count), record("GNU.sparse.map", map)];
        [pax(&keys), file(b"s", &[1; 10])].concat()
    };
    check(vec![
        ("overlap", old(&[(0, 10), (5, 10)], 100, 20), same, "segment at 5 overlaps"),
        ("unsorted", old(&[(50, 10), (0, 10)], 100, 20), same, "segment at 0 overlaps"),
        ("beyond the end", old(&[(95, 10)], 100, 10), same, "segment at 95 overlaps another or exceeds"),
        ("more stored", old(&[(0, 10)], 100, 1034), same, "map of 10 bytes, and 1034 in the archive"),
        ("less stored", old(&[(0, 90)], 100, 10), same, "map of 90 bytes, and 10 in the archive"),
        ("overflow", v01(b"18446744073709551615,10", b"1"), same, "exceeds the file"),
        ("odd count", v01(b"0,10,5", b"1"), same, "3 numbers for 1 segments"),
        ("huge count", v01(b"0,10", b"99999999"), same, "99999999 segments, 65536 are allowed"),
        ("no number", v01(b"0,x", b"1"), same, "`x` is not a number"),
        ("huge count in data", v1(b"99999999\n"), same, "99999999 segments"),
        ("endless map", v1(b"50\n"), same, "does not end"),
        ("map without lines", v1(&[b'1'; 512]), same, "is not a number"),
        ("map of letters", v1(b"a\n"), same, "`a` is not a number"),
        ("unknown form", [pax(&sparse("2", "s", "9")), file(b"s", b"")].concat(), same, "unknown pax form"),
        (
            "form 0.0",
            [pax(&[record("GNU.sparse.size", b"9"), record("GNU.sparse.numblocks", b"0")]), file(b"s", b"")].concat(),
            same,
            "form 0.0",
        ),
        (
            "no name",
            [pax(&[record("GNU.sparse.major", b"1"), record("GNU.sparse.minor", b"0")]), file(b"s", b"")].concat(),
            same,
            "without its",
        ),
        ("sparse folder", [pax(&sparse("1", "s", "9")), folder(b"s")].concat(), same, "is sparse, but no file"),
        ("two forms", [pax(&sparse("1", "s", "9")), old(&[(0, 10)], 100, 10)].concat(), same, "two forms at once"),
        ("not GNU's", with(header(b"s", b'S', 0), &[(257, b"ustar\x0000")]).to_vec(), same, "in another format"),
    ]);
}

#[test]
fn cut_off_archives() {
    let whole = [&file(b"a", &[1; 700])[..], &pax(&[record("path", b"b")]), &file(b"x", b"y"), &END].concat();
    assert!(read(&*whole, &open_policy(), &mut Memory::default()).is_ok());
    for len in 0..whole.len() {
        let error = read(&whole[..len], &open_policy(), &mut Memory::default()).expect_err("a part is not the whole");
        assert_eq!(error.class(), Class::Integrity, "{len}: {error}");
    }
    for (len, expected) in
        [(0, "ends without its end marker"), (100, "last block has 100 of 512"), (600, "612 bytes of a file are missing")]
    {
        let error = read(&whole[..len], &open_policy(), &mut Memory::default()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
