use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::common::value::Sha256;

/// 2021-06-15 12:34:56 UTC.
const EPOCH: i64 = 1_623_760_496;

fn epoch() -> Epoch {
    Epoch::from_seconds(EPOCH).unwrap()
}

fn volume(files: &[(&str, &[u8])]) -> Vec<u8> {
    write(files, "cidata", epoch()).unwrap()
}

/// Bytes that differ by position and by file.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        })
        .collect()
}

/// Runs a reference tool in the C locale and UTC; returns its standard output, and its standard error for messages.
fn tool(tool: &str, args: &[&str]) -> (Vec<u8>, String) {
    let run = Command::new(tool).args(args).env("LC_ALL", "C").env("TZ", "UTC0").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output();
    let out = match run {
        Err(error) if error.kind() == ErrorKind::NotFound => panic!("{tool} is missing: run tests/setup.sh"),
        other => other.unwrap(),
    };
    let complaint = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{tool} {args:?}: {complaint}");
    (out.stdout, complaint)
}

fn on_disk(image: &[u8]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("volume.iso");
    std::fs::write(&path, image).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

/// xorriso unpacks the Rock Ridge names; it must find exactly the given files.
fn xorriso_agrees(files: &[(&str, &[u8])]) {
    let (dir, path) = on_disk(&volume(files));
    let out = dir.path().join("out");
    let (_, complaint) =
        tool("xorriso", &["-abort_on", "WARNING", "-osirrox", "on", "-indev", &path, "-extract", "/", out.to_str().unwrap()]);
    for word in ["WARNING", "FAILURE", "SORRY", "damaged"] {
        assert!(!complaint.contains(word), "{complaint}");
    }
    assert_eq!(read_folder(&out), files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect());
}

fn read_folder(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn every_size_is_read_back_by_all_three_names() {
    let sizes = [0, 1, 2047, 2048, 2049, 4096, 1 << 20, 0];
    let contents: Vec<(String, Vec<u8>)> = sizes.iter().zip(0..).map(|(&len, i)| (format!("file-{i}_{len}.Data"), noise(i, len))).collect();
    let files: Vec<(&str, &[u8])> = contents.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    xorriso_agrees(&files);
    let (_dir, path) = on_disk(&volume(&files));
    for ((name, bytes), i) in files.iter().zip(0..) {
        let level1 = format!("/FILE_{i}_{}.DAT;1", if i == 0 { "0" } else { &name[7..8] });
        for (flag, shown) in [("-R", format!("/{name}")), ("-J", format!("/{name}")), ("-s", level1)] {
            assert_eq!(tool("isoinfo", &["-i", &path, flag, "-x", &shown]).0, *bytes, "{flag} {shown}");
        }
    }
}

#[test]
fn a_volume_without_files_and_one_with_very_many() {
    xorriso_agrees(&[]);
    let names: Vec<String> = (0..1000).map(|i| format!("a-rather-long-name-of-a-file-whose-number-is-{i:04}-at-the-end")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    xorriso_agrees(&files);
    let (_dir, path) = on_disk(&volume(&files));
    let listed = String::from_utf8(tool("isoinfo", &["-i", &path, "-J", "-f"]).0).unwrap();
    let expected: String = names.iter().map(|name| format!("/{name}\n")).collect();
    assert_eq!(listed, expected, "Joliet lists them all, in order");
}

#[test]
fn reference_tools_see_label_owner_mode_and_time() {
    let (_dir, path) = on_disk(&volume(&[("user-data", b"#cloud-config\n"), ("meta-data", b"{}")]));
    let probe = String::from_utf8(tool("blkid", &["-p", "-o", "export", &path]).0).unwrap();
    for fact in ["LABEL=cidata", "TYPE=iso9660", "USAGE=filesystem", "BLOCK_SIZE=2048"] {
        assert!(probe.lines().any(|line| line == fact), "{fact} is not in\n{probe}");
    }
    let about = String::from_utf8(tool("isoinfo", &["-i", &path, "-d"]).0).unwrap();
    for fact in ["Volume id: cidata", "Joliet with UCS level 3 found", "Rock Ridge signatures version 1 found"] {
        assert!(about.contains(fact), "{fact} is not in\n{about}");
    }
    let found = String::from_utf8(tool("xorriso", &["-indev", &path, "-find", "/", "-exec", "lsdl", "--"]).0).unwrap();
    let lines: Vec<Vec<&str>> = found.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected = [("drwx------", "0", "'/'"), ("-rw-------", "2", "'/meta-data'"), ("-rw-------", "14", "'/user-data'")];
    assert_eq!(lines.len(), expected.len(), "{found}");
    for (line, (mode, size, name)) in lines.iter().zip(expected) {
        assert_eq!([line[0], line[2], line[3], line[4]], [mode, "0", "0", size], "{found}");
        assert_eq!(line[5..], ["Jun", "15", "2021", name], "{found}");
    }
}

#[test]
fn the_declared_size_is_the_size() {
    for len in [0, 1, 2048, 5000] {
        let image = volume(&[("a", &noise(1, len))]);
        let blocks = u32::from_le_bytes(image[16 * 2048 + 80..][..4].try_into().unwrap());
        assert_eq!(image.len(), blocks as usize * 2048);
        assert_eq!(image.len(), (25 + len.div_ceil(2048)) * 2048);
    }
}

#[test]
fn the_format_does_not_change_unnoticed() {
    let files: &[(&str, &[u8])] = &[("meta-data", b"instance-id: a\n"), ("network-config", b""), ("user-data", &noise(7, 5000))];
    // A new digest means that every seed changes: only on purpose, with an entry in the changelog.
    assert_eq!(Sha256::of(volume(files)).to_string(), "ba9ab2c588e3bc2e21e49bbed226235ae9e4217944d736c73636764976a1252e");
    assert_ne!(volume(files), write(files, "CIDATA", epoch()).unwrap());
    assert_ne!(volume(files), write(files, "cidata", Epoch::from_seconds(EPOCH + 1).unwrap()).unwrap());
}

#[test]
fn level_one_names_are_short_and_distinct() {
    let names = ["user-data", "user_dat.a", "user-data.b", "USERX", "user-datb", "a.b.conflist", "x", "user_d_0"];
    let found = Names::of(names.into_iter()).unwrap().level1;
    // The first in order keeps the plain form; `user-datb` then takes the one that `user_d_0` would have had.
    let expected = ["USER_DAT.;1", "USER_DAT.A;1", "USER_DAT.B;1", "USERX.;1", "USER_D_0.;1", "A_B.CON;1", "X.;1", "USER_D_1.;1"];
    assert_eq!(found, expected);
    let mut reversed = Names::of(names.into_iter().rev()).unwrap().level1;
    reversed.reverse();
    assert_eq!(reversed, expected, "the order in which files are given does not matter");
}

#[test]
fn invalid_names_are_refused() {
    let long = "x".repeat(65);
    for bad in ["", ".hidden", "-x", "a/b", "..", "a b", "ü", "a;1", "a*", "a\0", "a\n", long.as_str()] {
        let error = write(&[(bad, b"")], "cidata", epoch()).unwrap_err();
        assert!(error.message().contains("is not a valid file name for the volume"), "{bad:?}: {error}");
    }
    let error = write(&[("a", b""), ("A", b"")], "cidata", epoch()).unwrap_err();
    assert_eq!(error.message(), "two files of the volume are named `A`, ignoring case");
    for bad in ["", "seventeen_letters", "a b", "ü"] {
        assert!(write(&[], bad, epoch()).unwrap_err().message().contains("not a valid volume label"), "{bad}");
    }
}

#[test]
fn calendar_dates() {
    for (seconds, expected) in [
        (1, "1970010100000100"),
        (951_782_400, "2000022900000000"),
        (951_868_799, "2000022923595900"),
        (1_709_164_800, "2024022900000000"),
        (1_735_689_599, "2024123123595900"),
        (2_147_483_647, "2038011903140700"),
    ] {
        let image = write(&[], "cidata", Epoch::from_seconds(seconds).unwrap()).unwrap();
        assert_eq!(&image[16 * 2048 + 813..][..16], expected.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Reference tools read back any set of names and sizes.
    #[test]
    fn any_files_come_back(files in prop::collection::btree_map("[a-z0-9][a-z0-9._+-]{0,30}", 0usize..5000, 0..20)) {
        let contents: Vec<(String, Vec<u8>)> = files.into_iter().zip(0..).map(|((name, len), i)| (name, noise(i, len))).collect();
        let files: Vec<(&str, &[u8])> = contents.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        xorriso_agrees(&files);
    }
}
