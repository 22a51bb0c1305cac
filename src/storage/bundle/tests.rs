//! A small bundle with every feature, its damaged and malicious variants, and bundles in pieces.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;

use super::pieces::{Files, Output, piece, refuse_over};
use super::{Bytes, Content, Kind, Outline, Part, Taken, Visitor, documents, read, write};
use crate::common::testing::Blobs;
use crate::common::tree::ContentSource;
use crate::common::value::{Cancel, Sha256, Sha512};
use crate::formats::oci::tar::{self, END};
use crate::{Class, Error, Result};

/// Adds a blob; returns it as a part of a bundle.
fn part(blobs: &mut Blobs, kind: Kind, title: &str, bytes: &[u8]) -> Part {
    Part { kind, title: title.to_owned(), digest: blobs.add(bytes), size: bytes.len() as u64, sha512: None, left_out: false }
}

/// Two contents that share blobs; one part is empty, one has a SHA-512.
fn sample() -> (Vec<Content>, Blobs) {
    let mut blobs = Blobs::default();
    let mut content = |name: &str, config: &str| {
        let mut parts = vec![
            part(&mut blobs, Kind::Plan, "plan", format!("plan of {name}\n").as_bytes()),
            part(&mut blobs, Kind::File, "recipes/base.toml", b"description = \"base\"\n"),
            part(&mut blobs, Kind::Package, "pool/main/h/hello/hello_1_all.deb", &[b'h'; 513]),
            part(&mut blobs, Kind::Artifact, "empty", b""),
            part(&mut blobs, Kind::Image, &format!("{name}.qcow2"), &name.as_bytes().repeat(170)),
        ];
        parts[2].sha512 = Some(Sha512::of([b'h'; 513]));
        Content { name: name.parse().unwrap(), config: config.as_bytes().to_vec(), parts }
    };
    let contents = vec![content("etcd", "{\"role\":\"etcd\"}"), content("worker", "{\"role\":\"worker\"}")];
    (contents, blobs)
}

fn outline() -> (Outline, Blobs) {
    let (contents, blobs) = sample();
    (Outline::new(contents, BTreeSet::new()).unwrap(), blobs)
}

fn written(outline: &Outline, blobs: &Blobs) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(outline, blobs, &mut bytes, &Cancel::new(), &|_| ()).unwrap();
    bytes
}

fn good() -> Vec<u8> {
    let (outline, blobs) = outline();
    written(&outline, &blobs)
}

/// A visitor that keeps everything.
#[derive(Default)]
struct Keeper {
    outline: Option<Outline>,
    blobs: Blobs,
}

impl Visitor for Keeper {
    fn outline(&mut self, outline: &Outline) -> Result<()> {
        self.outline = Some(outline.clone());
        Ok(())
    }

    fn blob(&mut self, _: &Part, bytes: &mut Bytes<'_>) -> Result<Taken> {
        let mut all = Vec::new();
        bytes.each(&mut |piece| {
            all.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(Taken::Hashed(self.blobs.add(all)))
    }
}

fn refused(bytes: &[u8]) -> Error {
    read(&mut &*bytes, &mut Keeper::default()).expect_err("it was taken")
}

#[test]
fn the_bytes_of_a_bundle_are_these() {
    let (outline, blobs) = outline();
    let bytes = written(&outline, &blobs);
    assert_eq!(bytes.len() as u64, outline.len());
    // Other bytes from the same contents are a new format: raise `FORMAT` if this is intended.
    assert_eq!(outline.digest().to_string(), "934a6d4e6bf4c3722678334b11b1229fbcdd7dae86b7ba268203ecdc5935c3c0");
    assert_eq!(Sha256::of(&bytes).to_string(), "84ff0941c2a96ea0d1099514cf1e4abeb7e1ce185d43d2fc8529f9ec6bf3998d");
}

#[test]
fn a_written_bundle_is_read_back() {
    let (outline, blobs) = outline();
    let bytes = written(&outline, &blobs);
    let mut keeper = Keeper::default();
    assert_eq!(read(&mut &*bytes, &mut keeper).unwrap(), outline.digest());
    assert_eq!(keeper.outline.as_ref(), Some(&outline));
    assert_eq!(keeper.blobs, blobs);
    assert_eq!(documents(&mut &*bytes).unwrap(), (outline.clone(), outline.digest()));
    // A pipe returns what is available.
    struct Trickle<'a>(&'a [u8]);
    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = buffer.len().min(7);
            self.0.read(&mut buffer[..n])
        }
    }
    assert_eq!(read(&mut Trickle(&bytes), &mut Keeper::default()).unwrap(), outline.digest());
}

#[test]
fn the_order_of_the_contents_does_not_matter() {
    let (mut contents, blobs) = sample();
    contents.reverse();
    assert_eq!(written(&Outline::new(contents, BTreeSet::new()).unwrap(), &blobs), good());
}

#[test]
fn no_byte_can_be_another_and_none_can_be_missing() {
    let good = good();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x20;
        let error = refused(&bad);
        assert!(matches!(error.class(), Class::Integrity | Class::User), "byte {at}: {error}");
    }
    for at in (0..good.len()).step_by(61) {
        let error = refused(&good[..at]);
        assert!(matches!(error.class(), Class::Integrity | Class::User), "cut at {at}: {error}");
    }
    let error = refused(&[&good[..], b"\0"].concat());
    assert!(error.to_string().contains("bytes after its end"), "{error}");
}

/// The bundle with the first `old` replaced by `new`.
fn edited(old: &[u8], new: &[u8]) -> Vec<u8> {
    let good = good();
    let at = good.windows(old.len()).position(|window| window == old).expect("it is in the bundle");
    [&good[..at], new, &good[at + old.len()..]].concat()
}

#[test]
fn foreign_entries_are_named() {
    let good = good();
    let blob = b"blobs/sha256/";
    // The header after those of the folders belongs to the first document.
    let starts: Vec<usize> = (0..good.len()).step_by(512).filter(|at| good[*at..].starts_with(blob)).collect();
    let (folder, first, last) = (starts[0], starts[1], *starts.last().unwrap());
    assert_eq!(good[folder + 156], b'5');
    let with = |at: usize, header: Vec<u8>| [&good[..at], &header, &good[at..]].concat();
    let typed = |flag: u8| {
        let mut header = tar::header("x", tar::Kind::File(0), 0o644, 0);
        header[156] = flag;
        header
    };
    let file = |name: &str| tar::header(name, tar::Kind::File(0), 0o644, 0);
    for (case, bytes, expected) in [
        ("hard link", with(last, typed(b'1')), "a hard link `x`"),
        ("symbolic link", with(first, typed(b'2')), "a symbolic link `x`"),
        ("device", with(last, typed(b'3')), "a device `x`"),
        ("block device", with(last, typed(b'4')), "a device `x`"),
        ("folder", with(last, tar::header("blobs/x/", tar::Kind::Folder, 0o755, 0)), "a folder `blobs/x/`"),
        ("pipe", with(last, typed(b'6')), "a pipe `x`"),
        ("pax", with(last, typed(b'x')), "a pax header `x`"),
        ("global pax", with(folder, typed(b'g')), "a pax header `x`"),
        ("long name", with(last, typed(b'L')), "a GNU long name `x`"),
        ("sparse", with(last, typed(b'S')), "a sparse file `x`"),
        ("odd", with(last, typed(b'?')), "an unknown entry `x`"),
        ("traversal", with(last, file("../../etc/passwd")), "found `../../etc/passwd`"),
        ("absolute", with(last, file("/etc/passwd")), "found `/etc/passwd`"),
        ("not named", with(last, file("blobs/sha256/aa")), "found `blobs/sha256/aa`"),
        ("no name", with(last, file("")), "found ``"),
        ("a blob twice", with(last, good[starts[starts.len() - 2]..last].to_vec()), "found `blobs/sha256/"),
        ("all twice", [&good[..], &good].concat(), "bytes after its end"),
        ("early end", with(last, END.to_vec()), "the bundle ends there"),
        ("no blobs", [&good[..first], &END].concat(), "the bundle ends there"),
        ("no index", [&good[..1024], &good[folder..]].concat(), "expected index.json, but"),
    ] {
        let error = refused(&bytes);
        assert!(error.to_string().contains(expected), "{case}: {error}");
        assert_eq!(error.class(), Class::Integrity, "{case}");
    }
}

#[test]
fn a_non_bundle_is_refused_as_such() {
    let (outline, _) = outline();
    let other = outline.digest().to_string();
    for (bytes, expected, class) in [
        (b"".to_vec(), "this is not a bundle: too short", Class::User),
        (b"PK\x03\x04".repeat(500), "this is not a bundle: its first bytes differ", Class::User),
        (good()[512..].to_vec(), "this is not a bundle", Class::User),
        (edited(b"bundle.format\":\"1\"", b"bundle.format\":\"2\""), "made by a newer kbake", Class::User),
        (edited(b"vnd.kbake.bundle.format", b"vnd.other.bundle.format"), "an OCI image layout, but not a bundle", Class::User),
        (edited(b"\"schemaVersion\":2", b"\"schemaVersion\":3"), "not canonical", Class::Integrity),
        (edited(b"{\"role\":\"etcd\"}", b"{\"role\":\"none\"}"), "hash mismatch in the bundle", Class::Integrity),
        (edited(&[b'h'; 513], &[b'H'; 513]), "hash mismatch in the bundle for `pool/main/h/hello/hello_1_all.deb`", Class::Integrity),
    ] {
        let error = refused(&bytes);
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert_eq!(error.class(), class, "{expected}");
        assert!(!error.to_string().contains(&other));
    }
}

#[test]
fn contradictory_contents_are_refused() {
    type Change = fn(&mut Vec<Content>);
    let cases: [(&str, Change, &str); 8] = [
        ("no contents", |all| all.clear(), "0 contents"),
        ("one name twice", |all| all[1].name = all[0].name.clone(), "not sorted"),
        ("two sizes", |all| all[0].parts[1].size += 1, "contradictory entries"),
        ("there and left out", |all| all[0].parts[1].left_out = true, "no bundle that has it is named"),
        ("too large", |all| all[0].parts[0].size = u64::MAX, "expected at most"),
        ("no title", |all| all[0].parts[0].title.clear(), "no usable title"),
        ("a title of two lines", |all| all[0].parts[0].title = "a\nb".into(), "no usable title"),
        ("a long document", |all| all[0].config = vec![b' '; 5 << 20], "a document has 5242880 bytes"),
    ];
    for (case, change, expected) in cases {
        let (mut contents, _) = sample();
        change(&mut contents);
        let error = Outline::new(contents, BTreeSet::new()).expect_err(case).to_string();
        assert!(error.contains(expected), "{case}: {error}");
    }
    let (mut contents, _) = sample();
    contents[0].parts[1].left_out = true;
    let error = Outline::new(contents, [Sha256::of("old")].into()).unwrap_err().to_string();
    assert!(error.contains("contradictory entries"), "{error}");
}

#[test]
fn omitted_blobs_are_named_and_absent() {
    let (mut contents, blobs) = sample();
    let since: BTreeSet<Sha256> = ["a", "b"].map(Sha256::of).into();
    for part in contents.iter_mut().flat_map(|content| &mut content.parts) {
        part.left_out = part.kind == Kind::Package;
    }
    let outline = Outline::new(contents, since.clone()).unwrap();
    let bytes = written(&outline, &blobs);
    assert_eq!(bytes.len() as u64, outline.len());
    let mut keeper = Keeper::default();
    read(&mut &*bytes, &mut keeper).unwrap();
    assert_eq!(keeper.outline.unwrap().since(), &since);
    assert_eq!(outline.left_out().len(), 1);
    assert_eq!(keeper.blobs, blobs.without(&outline.left_out()[0].digest));
}

#[test]
fn a_source_that_lies_about_a_size_is_found_out() {
    let (outline, blobs) = outline();
    let digest = Sha256::of([b'h'; 513]);
    for lie in [&[b'h'; 514][..], &[b'h'; 512]] {
        write(&outline, &blobs.lying(&digest, lie), &mut Vec::new(), &Cancel::new(), &|_| ()).unwrap_err();
    }
}

/// Files of 8 GiB and more need a pax header; its header is read here, but nothing of that size is written.
#[test]
fn a_large_blob_has_a_pax_header() {
    let (mut contents, _) = sample();
    contents.truncate(1);
    contents[0].parts.truncate(1);
    contents[0].parts[0].size = 9 << 30;
    let outline = Outline::new(contents, BTreeSet::new()).unwrap();
    struct Nothing;
    impl ContentSource for Nothing {
        fn open(&self, _: &Sha256, _: u64) -> io::Result<Box<dyn Read + Send + '_>> {
            Ok(Box::new(io::empty()))
        }
    }
    let mut bytes = Vec::new();
    let error = write(&outline, &Nothing, &mut bytes, &Cancel::new(), &|_| ()).unwrap_err();
    assert!(error.to_string().contains("before its"), "{error}");
    let error = refused(&bytes);
    assert!(error.to_string().contains("the bundle ends there"), "the headers are fine: {error}");
    assert!(bytes.windows(15).any(|window| window == b"size=9663676416"));
}

#[test]
fn pieces_are_joined_again() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("some.bundle");
    let good = good();
    let save = |split: Option<u64>| {
        let mut output = Output::create(&to, good.len() as u64, split)?;
        output.write_all(&good).unwrap();
        output.finish()
    };
    let joined = |files: &[PathBuf]| {
        let mut files = Files::open(files)?;
        read(&mut files, &mut Keeper::default()).map_err(|error| files.explain(error))
    };
    let digest = outline().0.digest();
    let pieces = save(Some(1000)).unwrap();
    assert_eq!(pieces.len(), good.len().div_ceil(1000));
    assert_eq!(pieces[0], piece(&to, 0));
    assert_eq!(fs::read(&pieces[1]).unwrap(), good[1000..2000]);
    for files in [&pieces[..], &pieces[..1], &pieces[..2], std::slice::from_ref(&to)] {
        assert_eq!(joined(files).unwrap(), digest, "{files:?}");
    }
    // With fewer pieces than before, an old piece would remain after the last.
    let error = save(Some(2000)).unwrap_err().to_string();
    assert!(error.contains("would be read as a piece of this bundle"), "{error}");
    let error = joined(&[pieces[0].clone(), pieces[2].clone()]).unwrap_err().to_string();
    assert!(error.contains("some.bundle.001, found"), "{error}");
    let error = joined(&[to.clone(), pieces[0].clone()]).unwrap_err().to_string();
    assert!(error.contains("is not a piece of a bundle"), "{error}");
    let error = joined(&pieces[1..2]).unwrap_err().to_string();
    assert!(error.contains("expected the piece") && error.contains("some.bundle.000, found"), "{error}");
    fs::remove_file(&pieces[3]).unwrap();
    let error = joined(&pieces[..1]).unwrap_err().to_string();
    assert!(error.contains("some.bundle.003 does not exist"), "{error}");
    fs::write(&pieces[3], &good[3000..4000]).unwrap();
    let behind = piece(&to, pieces.len());
    fs::write(&behind, "x").unwrap();
    let error = joined(&pieces).unwrap_err().to_string();
    assert!(error.contains("bytes after its end"), "{error}");
    // In one file it has the plain name.
    assert_eq!(save(None).unwrap(), std::slice::from_ref(&to));
    assert_eq!(joined(std::slice::from_ref(&to)).unwrap(), digest);
    let error = save(Some(1000)).unwrap_err().to_string();
    assert!(error.contains("instead of the pieces"), "{error}");
}

#[test]
fn a_name_that_ends_with_a_date_is_not_a_piece() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("e.20261121");
    fs::write(&at, good()).unwrap();
    let joined = || read(&mut Files::open(std::slice::from_ref(&at))?, &mut Keeper::default());
    assert_eq!(joined().unwrap(), outline().0.digest());
    fs::write(dir.path().join("e.000"), "").unwrap();
    let error = joined().unwrap_err().to_string();
    assert!(error.contains("e.000, found"), "beside a first piece it is one: {error}");
}

#[test]
fn a_bundle_does_not_take_the_place_of_one_that_it_is_made_from() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["whole", "other", "parts.000", "parts.001", "dated.20261121"] {
        fs::write(at(name), "x").unwrap();
    }
    std::os::unix::fs::symlink("whole", at("link")).unwrap();
    for (to, split, from, refused) in [
        ("whole", false, "whole", true),
        ("whole", true, "whole", true),
        ("../{}/whole", false, "whole", true),
        ("whole", false, "link", true),
        ("link", false, "whole", true),
        ("other", false, "whole", false),
        ("new/other", false, "whole", false),
        ("parts.001", false, "parts", true),
        ("parts.001", false, "parts.000", true),
        ("parts", true, "parts.000", true),
        ("parts", true, "parts", true),
        ("parts", false, "parts.000", true),
        ("parts.002", false, "parts", false),
        ("dated.20261121", false, "dated.20261121", true),
        ("dated", true, "dated.20261121", false),
    ] {
        let to = at(&to.replace("{}", dir.path().file_name().unwrap().to_str().unwrap()));
        let what = format!("{to:?} {split} {from}");
        match refuse_over(&to, split, &at(from)) {
            Ok(()) => assert!(!refused, "{what}"),
            Err(error) => {
                assert!(refused && error.class() == Class::User && error.to_string().contains("--out"), "{what}: {error}");
            }
        }
    }
}

#[test]
fn a_bundle_in_too_many_pieces_is_not_begun() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("b");
    let error = Output::create(&to, (512 << 20) + 1, Some(1 << 20)).err().unwrap();
    assert_eq!(error.class(), Class::User, "{error}");
    for word in ["513 pieces, the limit is 512", "--split 2MiB"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    Output::create(&to, 512 << 20, Some(1 << 20)).unwrap();
}

#[test]
fn a_bundle_that_fits_nowhere_is_not_begun() {
    let dir = tempfile::tempdir().unwrap();
    let error = Output::create(&dir.path().join("b"), 1 << 60, None).err().unwrap();
    assert_eq!(error.class(), Class::NoSpace, "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
