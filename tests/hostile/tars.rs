//! Tars: names, links, permissions, contradictory headers, sparse files.

use super::row::{MEMORY, Place, Row, WHAT, bad_tar, good_tar, refused, system, tarball};
use super::seeds::build::{END, entry, file, folder, header, long, pax, record, sum, with};

fn link(name: &[u8], target: &[u8]) -> Vec<u8> {
    entry(name, b'2', target, b"")
}

fn hard(name: &[u8], target: &[u8]) -> Vec<u8> {
    entry(name, b'1', target, b"")
}

fn mode(name: &[u8], kind: u8, mode: &[u8]) -> Vec<u8> {
    with(header(name, kind, 0), &[(100, mode)]).to_vec()
}

fn said(key: &str, value: &[u8]) -> Vec<u8> {
    pax(&[record(key, value)])
}

fn sparse(pairs: &[(&str, &str)]) -> Vec<u8> {
    pax(&pairs.iter().map(|(key, value)| record(&format!("GNU.sparse.{key}"), value.as_bytes())).collect::<Vec<_>>())
}

fn field(at: usize, bytes: &[u8]) -> Vec<u8> {
    with(header(b"a", b'0', 0), &[(at, bytes)]).to_vec()
}

pub fn rows() -> Vec<Row> {
    [names(), links(), rights(), pax_tricks(), numbers(), sparse_files(), ends(), bombs()].into_iter().flatten().collect()
}

fn names() -> Vec<Row> {
    vec![
        bad_tar("up and away", vec![file(b"../../etc/passwd", b"x")], &["`../../etc/passwd`", "escapes the root"]),
        bad_tar("up in the middle", vec![folder(b"a/"), file(b"a/../../b", b"x")], &["`a/../../b`", "escapes the root"]),
        bad_tar("up at the end", vec![folder(b"a/..")], &["`a/..`", "escapes the root"]),
        bad_tar("up behind a dot", vec![file(b"./.././x", b"x")], &["`./.././x`", "escapes the root"]),
        bad_tar("absolute", vec![file(b"/etc/passwd", b"x")], &["`/etc/passwd`", "is absolute"]),
        bad_tar("two slashes", vec![file(b"//etc/passwd", b"x")], &["`//etc/passwd`", "is absolute"]),
        bad_tar("the root as a link", vec![link(b"./", b"/etc")], &["`./`", "slash"]),
        bad_tar("the root as a file", vec![file(b".", b"x")], &["`.`", "is the root"]),
        bad_tar("a name of nothing", vec![file(b"", b"x")], &["has no name"]),
        bad_tar("GNU's long name up", vec![long(b'L', b"../x\0"), file(b"a", b"")], &["`../x`", "escapes the root"]),
        bad_tar(
            "a prefix up",
            vec![with(header(b"x", b'0', 0), &[(257, b"ustar\x0000"), (345, b"..")]).to_vec()],
            &["`../x`", "escapes the root"],
        ),
        bad_tar("pax path up", vec![said("path", b"a/../../x"), file(b"a", b"")], &["`a/../../x`", "escapes the root"]),
        bad_tar("NUL in a pax path", vec![said("path", b"a\0../../x"), file(b"a", b"")], &["`a\\x00../../x`", "NUL"]),
        bad_tar("NUL alone in a pax path", vec![said("path", b"a\0b"), file(b"a", b"")], &["`a\\x00b`", "NUL"]),
        bad_tar("a name of 256 bytes", vec![long(b'L', &[b'n'; 256]), file(b"a", b"")], &["256 bytes, 255 are allowed"]),
        bad_tar(
            "a path deeper than Linux takes",
            vec![long(b'L', &b"abcdefg/".repeat(600)), folder(b"a")],
            &["4799", "longer than Linux allows, 4094"],
        ),
        bad_tar("a thousand folders deep", vec![long(b'L', &b"a/".repeat(1000)), folder(b"a")], &["more than 64 folders deep"]),
        bad_tar("a name of a mebibyte", vec![long(b'L', &vec![b'n'; 1 << 20]), file(b"a", b"")], &["(1048576 bytes)", "255 are allowed"]),
        bad_tar("the terminal's colours in a name", vec![file(b"\x1b[31m\x07/../x", b"")], &["`\\x1b[31m\\x07/../x`", "escapes the root"]),
    ]
}

fn links() -> Vec<Row> {
    vec![
        bad_tar("through an earlier link", vec![link(b"a", b"/etc"), file(b"a/passwd", b"x")], &["`a/passwd`", "symbolic link /a"]),
        bad_tar("through a link to here", vec![link(b"a", b"."), file(b"a/b", b"x")], &["`a/b`", "symbolic link /a"]),
        bad_tar("through links of links", vec![link(b"a", b"b"), link(b"b", b"/"), folder(b"b/c/")], &["`b/c/`", "symbolic link /b"]),
        bad_tar(
            "a folder over a link",
            vec![link(b"a", b"/etc"), folder(b"a/"), file(b"a/x", b"")],
            &["`a/`", "was something else before"],
        ),
        bad_tar("a file over a link", vec![link(b"a", b"/etc/passwd"), file(b"a", b"x")], &["`a`", "occurs twice"]),
        bad_tar("a link over a folder", vec![folder(b"a/"), link(b"a", b"/etc"), file(b"a/x", b"")], &["`a`", "replace a folder"]),
        bad_tar("below a file", vec![file(b"a", b""), file(b"a/b", b"")], &["`a/b`", "not a folder"]),
        bad_tar("a hard link to the host", vec![hard(b"a", b"/etc/shadow")], &["`a`", "is absolute"]),
        bad_tar("a hard link up", vec![hard(b"a", b"../../etc/shadow")], &["`a`", "escapes the root"]),
        bad_tar("a hard link to a link", vec![link(b"l", b"/etc/shadow"), hard(b"a", b"l")], &["`a`", "/l, which is not a file"]),
        bad_tar(
            "a hard link through a link",
            vec![link(b"l", b"/etc"), hard(b"a", b"l/shadow")],
            &["`a`", "/l/shadow, which is not before it"],
        ),
        bad_tar("a hard link forward", vec![hard(b"a", b"b"), file(b"b", b"")], &["`a`", "not before it"]),
        bad_tar("a hard link to itself", vec![file(b"a", b""), hard(b"a", b"./a")], &["`a`", "to itself"]),
        bad_tar("pax linkpath up", vec![said("linkpath", b"../x"), hard(b"a", b"b")], &["`a`", "escapes the root"]),
        bad_tar("pax linkpath with NUL", vec![said("linkpath", b"x\0/etc"), link(b"a", b"b")], &["`a`", "NUL"]),
        bad_tar(
            "a hard link with contents",
            vec![file(b"a", b""), entry(b"b", b'1', b"a", &file(b"hidden", b""))],
            &["`b`", "512 bytes of contents"],
        ),
        bad_tar("a link longer than Linux takes", vec![long(b'K', &[b'x'; 5000]), link(b"a", b"")], &["`a`", "too long"]),
    ]
}

fn rights() -> Vec<Row> {
    let device = |kind| with(header(b"dev", kind, 0), &[(329, b"0000010\0"), (337, b"0000000\0")]).to_vec();
    let packed = |name, entries: Vec<Vec<u8>>, words: &[&str]| Row { read: Box::new(system), ..bad_tar(name, entries, words) };
    vec![
        bad_tar("a block device", vec![device(b'4')], &["`dev`", "is a device"]),
        bad_tar("a character device", vec![device(b'3')], &["`dev`", "is a device"]),
        bad_tar("a pipe", vec![entry(b"p", b'6', b"", b"")], &["`p`", "is a device or pipe"]),
        bad_tar("setuid", vec![mode(b"su", b'0', b"0004755\0")], &["`su`", "setuid or setgid (mode 4755)"]),
        bad_tar("setgid", vec![mode(b"sg", b'0', b"0002755\0")], &["`sg`", "setuid or setgid"]),
        bad_tar("all bits", vec![mode(b"all", b'0', b"0007777\0")], &["`all`", "mode 7777"]),
        bad_tar("bits in a contiguous file", vec![mode(b"c", b'7', b"0004755\0")], &["`c`", "setuid"]),
        bad_tar(
            "bits in a file of v7",
            vec![with(header(b"v", 0, 0), &[(257, &[0; 8]), (100, b"0006755\0")]).to_vec()],
            &["`v`", "setuid"],
        ),
        bad_tar(
            "bits in a sparse file",
            vec![sparse(&[("major", "1"), ("minor", "0"), ("name", "s"), ("realsize", "9")]), {
                with(header(b"s", b'0', 512), &[(100, b"0004755\0")]).to_vec()
            }],
            &["`s`", "setuid"],
        ),
        bad_tar(
            "capabilities",
            vec![said("SCHILY.xattr.security.capability", b"\x01\0\0\x02"), file(b"ping", b"")],
            &["`ping`", "capabilities"],
        ),
        bad_tar(
            "capabilities of libarchive's form",
            vec![said("LIBARCHIVE.xattr.security.capability", b"AQAAAg"), file(b"ping", b"")],
            &["own form only"],
        ),
        bad_tar(
            "capabilities under an escaped name",
            vec![said("SCHILY.xattr.security%2Ecapability", b"\x01"), file(b"p", b"")],
            &["not an attribute"],
        ),
        bad_tar(
            "an attribute of nobody's",
            vec![said("SCHILY.xattr.evil", b"1"), file(b"a", b"")],
            &["not an attribute that Linux supports"],
        ),
        bad_tar("an access list", vec![said("SCHILY.acl.access", b"user:root:rwx"), file(b"a", b"")], &["not understood"]),
        bad_tar(
            "a device's numbers out of range",
            vec![with(header(b"d", b'3', 0), &[(329, b"7777777\0")]).to_vec()],
            &["`d`", "major number"],
        ),
        packed("twice in a system", vec![file(b"a", b"1"), file(b".//a", b"2")], &["`.//a`", "occurs twice"]),
        packed("without its folder in a system", vec![file(b"etc/x", b"")], &["`etc/x`", "/etc, which is not before it"]),
    ]
}

fn pax_tricks() -> Vec<Row> {
    // A header that a reader sees or not, by whose size it believes.
    let hidden = file(b"../hidden", b"");
    let sized = |value: &[u8]| vec![said("size", value), file(b"a", &hidden), file(b"z", b"")];
    vec![
        bad_tar("pax size 0 over a hidden entry", sized(b"0"), &["`a`", "512 bytes by its header and 0"]),
        bad_tar("pax size of more", sized(b"1024"), &["`a`", "and 1024 by its extended header"]),
        bad_tar("pax size below zero", sized(b"-512"), &["`-512` is not a number"]),
        bad_tar("pax size of 10^23", sized(b"99999999999999999999999"), &["is not a number"]),
        bad_tar("pax size of 16 EiB", sized(b"18446744073709551615"), &["`a`", "18446744073709551615 bytes"]),
        bad_tar("pax size in hexadecimal", sized(b"0x200"), &["`0x200` is not a number"]),
        bad_tar("pax size with NUL", sized(b"512\0"), &["`512\\x00` is not a number"]),
        bad_tar("pax size that is no text", sized(b"\xff\xfe"), &["`\\xff\\xfe` is not a number"]),
        bad_tar("pax size of a link", vec![said("size", b"8589934592"), link(b"a", b"b")], &["`a`", "of contents"]),
        bad_tar("pax path twice", vec![pax(&[record("path", b"a"), record("path", b"../b")]), file(b"c", b"")], &["`path` twice"]),
        bad_tar("pax header twice", vec![said("path", b"a"), said("path", b"b"), file(b"c", b"")], &["two extended headers of a kind"]),
        bad_tar("pax and GNU at once", vec![said("path", b"a"), long(b'L', b"b\0"), file(b"c", b"")], &["two long names"]),
        bad_tar("a global path", vec![entry(b"g", b'g', b"", &record("path", b"../x")), file(b"a", b"")], &["`path` in a global header"]),
        bad_tar("a global size", vec![entry(b"g", b'g', b"", &record("size", b"0")), file(b"a", &hidden)], &["`size` in a global header"]),
        bad_tar(
            "a global linkpath",
            vec![entry(b"g", b'g', b"", &record("linkpath", b"/etc")), link(b"a", b"b")],
            &["`linkpath` in a global"],
        ),
        bad_tar("a pax header of 2 GiB", vec![with(header(b"x", b'x', 2 << 30), &[]).to_vec()], &["2147483648 bytes, 1048576 are allowed"]),
        bad_tar(
            "a pax record longer than its header",
            vec![entry(b"x", b'x', b"", b"999 path=a\n"), file(b"a", b"")],
            &["broken extended header"],
        ),
        bad_tar("a pax record of length 0", vec![entry(b"x", b'x', b"", b"0 path=a\n"), file(b"a", b"")], &["broken extended header"]),
        bad_tar(
            "a pax record in another's",
            vec![entry(b"x", b'x', b"", b"9 path=a\n path=b\n"), file(b"a", b"")],
            &["broken extended header"],
        ),
        bad_tar(
            "a pax key of a mebibyte",
            vec![entry(b"x", b'x', b"", &record(&"k".repeat((1 << 20) - 20), b"v")), file(b"a", b"")],
            &["not understood"],
        ),
        bad_tar("another character set", vec![said("hdrcharset", b"KOI8-R"), file(b"a", b"")], &["not understood"]),
        bad_tar("star's true size", vec![said("SCHILY.realsize", b"9"), file(b"a", b"")], &["not understood"]),
        bad_tar("an owner below zero", vec![said("uid", b"-1"), file(b"a", b"")], &["`-1` is not a number"]),
        bad_tar("an owner beyond 32 bits", vec![said("uid", b"4294967296"), file(b"a", b"")], &["out of range"]),
        bad_tar("a time without end", vec![said("mtime", &[b'9'; 400]), file(b"a", b"")], &["is not a time"]),
        bad_tar("a pax header for nothing", vec![file(b"a", b""), said("path", b"b")], &["without the entry"]),
        bad_tar("GNU's long name for nothing", vec![long(b'L', b"a\0")], &["without the entry"]),
        bad_tar(
            "GNU's long name of 1 GiB",
            vec![with(header(b"././@LongLink", b'L', 1 << 30), &[]).to_vec()],
            &["1073741824 bytes, 1048576 are allowed"],
        ),
        bad_tar("two of GNU's long names", vec![long(b'L', b"a\0"), long(b'L', b"../b\0"), file(b"c", b"")], &["two extended headers"]),
        bad_tar("NUL within GNU's long name", vec![long(b'L', b"a\0/b\0"), file(b"c", b"")], &["`a\\x00/b`", "NUL"]),
    ]
}

fn numbers() -> Vec<Row> {
    let mut wrong = file(b"a", b"");
    wrong[0] = b'b';
    // Early tars summed signed bytes: the same header is then another one.
    let mut signed = header("é".as_bytes(), b'0', 0);
    signed[148..156].fill(b' ');
    let of: i32 = signed.iter().map(|&byte| i32::from(byte as i8)).sum();
    signed[148..156].copy_from_slice(format!("{of:06o}\0 ").as_bytes());
    vec![
        bad_tar("a wrong sum", vec![wrong.clone()], &["is not a tar archive"]),
        bad_tar("a wrong sum later", vec![file(b"first", b"x"), wrong], &["after member `first`"]),
        bad_tar("a signed sum", vec![signed.to_vec()], &["is not a tar archive"]),
        bad_tar("base 256 below zero", vec![field(124, &[0xff; 12])], &["`a`", "size -1 is out of range"]),
        bad_tar("base 256 beyond 64 bits", vec![field(124, b"\x80\0\0\x01\0\0\0\0\0\0\0\0")], &["`a`", "out of range"]),
        bad_tar("base 256 of 8 EiB", vec![field(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")], &["`a`", "are allowed"]),
        bad_tar("base 256 in a mixed form", vec![field(124, b"\x9f\0\0\0\0\0\0\0\0\0\0\0")], &["`a`", "is not a number"]),
        bad_tar("octal with a sign", vec![field(124, b"-0000000001\0")], &["`a`", "is not a number"]),
        bad_tar("octal of decimals", vec![field(124, b"00000000009\0")], &["`a`", "is not a number"]),
        bad_tar("octal behind NUL", vec![field(124, b"0000\x000000777")], &["`a`", "is not a number"]),
        bad_tar("octal with a space inside", vec![field(124, b"0000 000777\0")], &["`a`", "is not a number"]),
        bad_tar("a mode beyond 16 bits", vec![field(100, b"7777777\0")], &["`a`", "mode 2097151 is out of range"]),
        bad_tar("owner -1", vec![field(108, &[0xff; 8])], &["`a`", "owner -1 is out of range"]),
        bad_tar("contents of a folder", vec![entry(b"d", b'5', b"", &file(b"../hidden", b""))], &["`d`", "512 bytes of contents"]),
        bad_tar("contents of a device", vec![entry(b"d", b'3', b"", &file(b"../hidden", b""))], &["`d`", "512 bytes of contents"]),
        bad_tar("a volume's name", vec![entry(b"v", b'V', b"", b"")], &["`v`", "type `V`"]),
        bad_tar("the rest of another volume", vec![entry(b"v", b'M', b"", b"")], &["`v`", "type `M`"]),
        bad_tar("a type of nobody's", vec![entry(b"v", 0xff, b"", b"")], &["`v`", "type `\\xff`"]),
        bad_tar("another format", vec![field(257, b"USTAR  \0")], &["unknown format"]),
    ]
}

fn sparse_files() -> Vec<Row> {
    let number = |n: u64| format!("{n:011o}\0").into_bytes();
    let old = |pairs: &[(u64, u64)], size: &[u8], stored: u64| {
        let map: Vec<u8> = pairs.iter().flat_map(|&(at, len)| [number(at), number(len)].concat()).collect();
        with(header(b"s", b'S', stored), &[(386, &map), (483, size)]).to_vec()
    };
    let endless = {
        let head = with(header(b"s", b'S', 0), &[(482, b"\x01"), (483, &number(0))]);
        let mut block = [0; 512];
        block[504] = 1;
        [&head[..], &block.repeat(20_000)].concat()
    };
    let form10 = |map: &[u8], size: &str| {
        let mut data = map.to_vec();
        data.resize(data.len().next_multiple_of(512), 0);
        vec![sparse(&[("major", "1"), ("minor", "0"), ("name", "s"), ("realsize", size)]), file(b"x", &data)]
    };
    let form01 =
        |map: &str, count: &str, size: &str| vec![sparse(&[("size", size), ("numblocks", count), ("map", map)]), file(b"s", &[1; 10])];
    vec![
        bad_tar("a hole of 8 EiB, old", vec![old(&[], b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 0)], &["`s`", "are allowed"]),
        bad_tar("a hole of 8 EiB, 1.0", form10(b"0\n", "9223372036854775807"), &["`s`", "9223372036854775807 bytes"]),
        bad_tar("a hole of 16 EiB, 0.1", form01("0,10", "1", "18446744073709551615"), &["`s`", "18446744073709551615 bytes"]),
        bad_tar(
            "stretches over each other",
            vec![old(&[(0, 10), (5, 10)], &number(100), 20), vec![1; 512]],
            &["`s`", "segment at 5 overlaps"],
        ),
        bad_tar("a stretch beyond its file", vec![old(&[(95, 10)], &number(100), 10), vec![1; 512]], &["`s`", "exceeds the file"]),
        bad_tar("a stretch beyond 64 bits", form01("18446744073709551615,10", "1", "100"), &["`s`", "exceeds the file"]),
        bad_tar("a map of 10^9 stretches", form10(b"1000000000\n", "100"), &["`s`", "1000000000 segments, 65536 are allowed"]),
        bad_tar("a map of 10^9 stretches, 0.1", form01("0,10", "1000000000", "100"), &["`s`", "1000000000 segments"]),
        bad_tar("a map without end", form10(b"60000\n", "100"), &["`s`", "does not end"]),
        bad_tar("a map that goes on with nothing", vec![endless], &["`s`", "goes on with nothing"]),
        bad_tar("a map of another length", form01("0,5,5", "1", "100"), &["`s`", "3 numbers for 1"]),
        bad_tar("form 0.0", vec![sparse(&[("size", "9"), ("numblocks", "0")]), file(b"s", b"")], &["form 0.0"]),
        bad_tar("form 3.7", vec![sparse(&[("major", "3"), ("minor", "7"), ("name", "s")]), file(b"s", b"")], &["unknown pax form"]),
        bad_tar(
            "a sparse name up",
            vec![sparse(&[("major", "1"), ("minor", "0"), ("name", "../s"), ("realsize", "9")]), file(b"x", b"0\n")],
            &["escapes the root"],
        ),
        bad_tar(
            "a sparse folder",
            vec![sparse(&[("major", "1"), ("minor", "0"), ("name", "s"), ("realsize", "9")]), folder(b"d")],
            &["is sparse, but no file"],
        ),
        bad_tar(
            "sparse in two forms",
            vec![sparse(&[("size", "100"), ("numblocks", "0"), ("map", "")]), old(&[], &number(100), 0)],
            &["two forms"],
        ),
    ]
}

fn ends() -> Vec<Row> {
    let raw = |name, bytes: Vec<u8>, words: &[&str]| Row {
        make: Box::new(move || bytes),
        read: Box::new(tarball),
        expect: refused(&[&[WHAT], words].concat()),
        ..bad_tar(name, vec![], &[])
    };
    vec![
        bad_tar("a second archive behind the first", vec![file(b"a", b""), END.to_vec(), file(b"../b", b"")], &["after its end marker"]),
        bad_tar("one block of zeros inside", vec![file(b"a", b""), vec![0; 512], file(b"b", b"")], &["lone block of zeros"]),
        raw("one byte behind the end", [file(b"a", b""), END.to_vec(), vec![0; 700], vec![1]].concat(), &["after its end marker"]),
        raw("no end", file(b"a", b"x"), &["ends without its end marker", "member `a`"]),
        raw("half an end", [file(b"a", b"x"), vec![0; 512]].concat(), &["ends without its end marker"]),
        raw("a web page", b"<!DOCTYPE html>\n".repeat(100), &["is not a tar archive"]),
        raw("nothing", Vec::new(), &["ends without its end marker"]),
        Row {
            read: Box::new(cut_everywhere),
            expect: super::row::Expect::Accepted(vec!["every cut is refused"]),
            ..bad_tar(
                "cut at every header, and around it",
                vec![
                    folder(b"d/"),
                    file(b"d/f", &[1; 700]),
                    pax(&[record("path", b"p")]),
                    file(b"x", b"y"),
                    long(b'L', b"long\0"),
                    file(b"l", b""),
                    link(b"s", b"t"),
                ],
                &[],
            )
        },
    ]
}

/// Each part of the archive is refused by its own name.
fn cut_everywhere(bytes: &[u8], place: &Place) -> kbake::Result<Vec<String>> {
    tarball(bytes, place)?;
    for block in (0..bytes.len()).step_by(512) {
        for at in [block.saturating_sub(1), block, block + 1, block + 511] {
            match tarball(&bytes[..at], place) {
                Err(error) if error.class() == kbake::Class::Integrity && error.message().starts_with(WHAT) => {}
                other => return Ok(vec![format!("cut at {at}: {other:?}")]),
            }
        }
    }
    Ok(vec!["every cut is refused".to_owned()])
}

/// Few compressed bytes for many entries.
fn bombs() -> Vec<Row> {
    let packed = |name, entry: fn(u32) -> Vec<u8>, count: u32, memory, words: &[&str]| Row {
        make: Box::new(move || {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            (0..count).for_each(|n| std::io::Write::write_all(&mut packer, &entry(n)).unwrap());
            packer.finish().unwrap()
        }),
        memory,
        ..bad_tar(name, vec![], words)
    };
    vec![
        packed(
            "a hundred thousand files",
            |n| file(format!("f{n}").as_bytes(), b""),
            100_001,
            MEMORY,
            &["exceeds the limit of 100000 entries"],
        ),
        packed("one folder for ever", |_| folder(b"d/"), 100_001, MEMORY, &["exceeds the limit of 100000 entries"]),
        packed(
            "names of 40 MB",
            |n| [long(b'L', format!("{n:05}{}", "/long".repeat(40)).as_bytes()), file(b"f", b"")].concat(),
            5000,
            2 * MEMORY,
            &["exceeds the limit of"],
        ),
        packed(
            "attributes of 40 MB",
            |n| [said("SCHILY.xattr.user.a", &[1; 60_000]), file(format!("f{n}").as_bytes(), b"")].concat(),
            700,
            MEMORY,
            &["exceeds the limit of 33554432 bytes"],
        ),
        packed(
            "a hundred thousand comments",
            |_| entry(b"g", b'g', b"", &record("comment", &[b'c'; 400])),
            100_000,
            MEMORY,
            &["ends without"],
        ),
    ]
}

/// Harmless archives that look hostile, with the tree that is kept.
pub fn accepted() -> Vec<Row> {
    let packed = |row: Row| Row { read: Box::new(system), ..row };
    vec![
        good_tar(
            "dots and slashes",
            vec![folder(b".//./"), folder(b"./a//."), file(b"./a/.//b", b"x")],
            &["/a 755 dir", "/a/b 644 file 1"],
        ),
        good_tar("a link to the host is only a link", vec![link(b"a", b"../../etc/shadow")], &["/a 644 symlink to ../../etc/shadow"]),
        good_tar("letters of either case", vec![file(b"A", b"1"), file(b"a", b"22")], &["/A 644 file 1", "/a 644 file 2"]),
        good_tar(
            "composed and decomposed",
            vec![file("\u{e9}".as_bytes(), b"1"), file("e\u{301}".as_bytes(), b"22")],
            &["/e\\xcc\\x81 644 file 2", "/\\xc3\\xa9 644 file 1"],
        ),
        good_tar("a name that is no text", vec![file(b"\xff\xfe\n", b"1")], &["/\\xff\\xfe\\x0a 644 file 1"]),
        good_tar("a name of backslashes", vec![file(b"..\\..\\x", b"1")], &["/..\\x5c..\\x5cx 644 file 1"]),
        good_tar("three dots", vec![file(b"...", b"1")], &["/... 644 file 1"]),
        good_tar("GNU's long name without NUL", vec![long(b'L', b"long"), file(b"x", b"1")], &["/long 644 file 1"]),
        good_tar("an empty pax path", vec![said("path", b""), file(b"x", b"1")], &["/x 644 file 1"]),
        good_tar("the sticky bit", vec![mode(b"tmp", b'5', b"0001777\0")], &["/tmp 1777 dir"]),
        good_tar(
            "a hole of 8 GiB",
            vec![sparse(&[("size", "8589934592"), ("numblocks", "0"), ("map", "")]), file(b"s", b"")],
            &["/s 644 sparse 8589934592/0"],
        ),
        good_tar("type bits in the mode", vec![mode(b"f", b'0', b"0100644\0")], &["/f 644 file 0"]),
        good_tar("spaces before a number", vec![field(124, b"          0\0")], &["/a 644 file 0"]),
        good_tar("no folder before its file", vec![file(b"a/b", b"")], &["/a 755 dir", "/a/b 644 file 0"]),
        good_tar(
            "a hard link to a hard link",
            vec![file(b"a", b"x"), hard(b"b", b"a"), hard(b"c", b"./b")],
            &["/a 644 file 1", "/b 644 hardlink to /a", "/c 644 hardlink to /a"],
        ),
        packed(good_tar("setuid in a system", vec![mode(b"su", b'0', b"0004755\0")], &["/su 4755 file 0"])),
        packed(good_tar("a device in a system", vec![sum(header(b"null", b'3', 0)).to_vec()], &["/null 644 device"])),
    ]
}
