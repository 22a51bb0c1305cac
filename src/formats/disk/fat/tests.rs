use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::formats::disk::testing::{self, noise};

/// 2021-06-15 12:34:56 UTC.
const EPOCH: i64 = 1_623_760_496;

fn epoch() -> Epoch {
    Epoch::from_seconds(EPOCH).unwrap()
}

fn volume(files: &[(&str, &[u8])]) -> Vec<u8> {
    write(files, "cidata", epoch()).unwrap()
}

fn on_disk(image: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("volume.img");
    std::fs::write(&path, image).unwrap();
    (dir, path)
}

fn borrowed(contents: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    contents.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect()
}

/// The error message for invalid input.
fn refusal(files: &[(&str, &[u8])], label: &str) -> String {
    let error = write(files, label, epoch()).unwrap_err();
    assert_eq!(error.class(), crate::Class::User);
    error.message().to_owned()
}

/// Checks that fsck.fat finds no error and the expected number of clusters in use, and that mtools reads back exactly
/// the given files.
fn fsck_and_mtools_agree(files: &[(&str, &[u8])]) -> Vec<u8> {
    let image = volume(files);
    let (dir, path) = on_disk(&image);
    let geometry = Geometry::of(&files.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>()).unwrap();
    let used: usize = files.iter().map(|(_, bytes)| bytes.len().div_ceil(geometry.cluster())).sum();
    let checked = testing::output("fsck.fat", &[&"-n", &path]);
    let found = String::from_utf8_lossy(&checked.stdout);
    // The label counts as a file. Any complaint would be an additional line.
    let summary = format!("{}: {} files, {used}/{} clusters", path.display(), files.len() + 1, geometry.clusters);
    assert_eq!(found.lines().skip(1).collect::<Vec<_>>(), [summary.as_str()], "{found}");
    assert!(checked.status.success() && checked.stderr.is_empty(), "{}", String::from_utf8_lossy(&checked.stderr));

    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    if !files.is_empty() {
        testing::run("mcopy", &[&"-i", &path, &"::*", &out]);
    }
    let entries = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap());
    let back: BTreeMap<String, Vec<u8>> =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect();
    assert!(back == files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect(), "{:?}", back.keys());
    image
}

#[test]
fn every_size_is_read_back() {
    let sizes = [0, 1, 511, 512, 513, 1024, 0, 100_000, 1 << 20];
    let contents: Vec<(String, Vec<u8>)> =
        sizes.iter().zip(0..).map(|(&len, i)| (format!("file number {i} of {len}.Data"), noise(i, len))).collect();
    fsck_and_mtools_agree(&borrowed(&contents));
    fsck_and_mtools_agree(&[]);
}

#[test]
fn each_kind_of_volume_is_read_back() {
    // On both sides of each limit of `Geometry::of`: FAT12, FAT16, then larger clusters up to the largest.
    for (bytes, version, cluster) in [
        (4039 * 512, "FAT12", 1),
        (4039 * 512 + 1, "FAT16", 1),
        (65_503 * 512, "FAT16", 1),
        (65_503 * 512 + 1, "FAT16", 2),
        (CONTENT_MAX, "FAT16", 4),
    ] {
        let image = fsck_and_mtools_agree(&[("user-data", &noise(bytes as u64, bytes))]);
        assert_eq!(image[13], cluster, "{bytes}");
        let (_dir, path) = on_disk(&image);
        let probe = testing::run("blkid", &[&"-p", &"-o", &"export", &path]);
        assert!(probe.lines().any(|line| line == format!("VERSION={version}")), "{bytes}: {probe}");
    }
    let most = vec![0; CONTENT_MAX];
    assert_eq!(refusal(&[("a", &most), ("b", &[0])], "cidata"), "the files of the volume exceed 64 MiB in total");
}

#[test]
fn reference_tools_see_label_serial_names_and_time() {
    let image = volume(&[("user-data", b"#cloud-config\n"), ("meta-data", b"{}"), ("network-config", b"version: 2\n")]);
    let (_dir, path) = on_disk(&image);
    let probe = testing::run("blkid", &[&"-p", &"-o", &"export", &path]);
    let serial = u32::from_le_bytes(image[boot::SERIAL].try_into().unwrap());
    let uuid = format!("UUID={:04X}-{:04X}", serial >> 16, serial & 0xffff);
    for fact in ["LABEL=CIDATA", "LABEL_FATBOOT=CIDATA", "TYPE=vfat", "VERSION=FAT12", "USAGE=filesystem", "BLOCK_SIZE=512", &uuid] {
        assert!(probe.lines().any(|line| line == fact), "{fact} is not in\n{probe}");
    }
    assert!(!probe.contains("PTTYPE"), "a partition table is seen in it: {probe}");
    let about = testing::run("fsck.fat", &[&"-n", &"-v", &path]);
    for fact in ["2 FATs, 12 bit entries", "512 root directory entries", "29 data clusters (14848 bytes)", "64 sectors total"] {
        assert!(about.contains(fact), "{fact} is not in\n{about}");
    }
    let listed = testing::run("mdir", &[&"-a", &"-i", &path, &"::"]);
    let lines: Vec<String> = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for fact in [
        "Volume in drive : is CIDATA",
        "USER-D~1 14 2021-06-15 12:34 user-data",
        "META-D~1 2 2021-06-15 12:34 meta-data",
        "NETWOR~1 11 2021-06-15 12:34 network-config",
        "3 files 27 bytes",
    ] {
        assert!(lines.iter().any(|line| line == fact), "{fact} is not in\n{listed}");
    }
}

#[test]
fn a_label_in_either_case_is_the_same_volume() {
    let files: &[(&str, &[u8])] = &[("user-data", b"x")];
    assert_eq!(write(files, "cidata", epoch()).unwrap(), write(files, "CIDATA", epoch()).unwrap());
    for bad in ["", "twelve_chars", "a b", "ü", "a.b", "a\n"] {
        assert!(refusal(files, bad).contains("is not a valid volume label: expected 1 to 11 of"), "{bad}");
    }
    let (_dir, path) = on_disk(&write(files, "Eleven_-014", epoch()).unwrap());
    assert!(testing::run("blkid", &[&"-p", &"-o", &"export", &path]).contains("\nLABEL=ELEVEN_-014\n"));
    testing::run("fsck.fat", &[&"-n", &path]);
}

#[test]
fn the_serial_number_depends_on_every_byte() {
    let files: &[(&str, &[u8])] = &[("user-data", b"x"), ("meta-data", b"")];
    let others = [
        write(files, "cidata", epoch()),
        write(files, "other", epoch()),
        write(files, "cidata", Epoch::from_seconds(EPOCH + 2).unwrap()),
        write(&[("user-data", b"y"), ("meta-data", b"")], "cidata", epoch()),
        write(&[("user-data", b"x"), ("meta-dat", b"")], "cidata", epoch()),
        write(&[("user-data", b"x\0"), ("meta-data", b"")], "cidata", epoch()),
    ];
    let serials: BTreeSet<Vec<u8>> = others.iter().map(|image| image.as_ref().unwrap()[boot::SERIAL].to_vec()).collect();
    assert_eq!(serials.len(), others.len());
}

#[test]
fn the_format_does_not_change_unnoticed() {
    let files: &[(&str, &[u8])] = &[("meta-data", b"instance-id: a\n"), ("network-config", b""), ("user-data", &noise(7, 5000))];
    // A new digest means that every seed changes: only on purpose, with an entry in the changelog.
    assert_eq!(Sha256::of(volume(files)).to_string(), "00a4d23586f0db1c31ee250c9b5e0620a70e708656b87542aa21bb59ab32fa4d");
    let large = [("user-data", &noise(8, 3 << 20)[..])];
    assert_eq!(Sha256::of(volume(&large)).to_string(), "b4dd53250abaea68844239a656d707931a7722f59fffd13b2754065dbd9d77b5");
}

#[test]
fn short_names_are_short_and_distinct() {
    let found = |given: &[&str]| -> Vec<(String, bool)> {
        let names = name::names(given.iter().copied()).unwrap();
        names.into_iter().map(|name| (String::from_utf8(name.short.to_vec()).unwrap(), name.long.is_some())).collect()
    };
    // (name, short form, needs a long form too)
    let expected = [
        ("user-data", "USER-D~2   ", true),
        ("user-d~1", "USER-D~1   ", true),
        ("user-datb", "USER-D~3   ", true),
        ("README.TXT", "README  TXT", false),
        ("Readme.md", "README  MD ", true),
        ("SEVEN77", "SEVEN77    ", false),
        ("a.b.conflist", "AB~1    CON", true),
        (".hidden", "HIDDEN~1   ", true),
        ("...x y.z", "XY~1    Z  ", true),
        ("a+b=[c].1", "A_B__C~11  ", true),
        ("!#$%&'()", "!#$%&'()   ", false),
    ];
    let given: Vec<&str> = expected.iter().map(|(name, ..)| *name).collect();
    for ((name, short, long), found) in expected.iter().zip(found(&given)) {
        assert_eq!(found, ((*short).to_owned(), *long), "{name}");
    }
    let reversed: Vec<&str> = given.iter().rev().copied().collect();
    assert!(found(&reversed).into_iter().rev().eq(found(&given)), "the order in which files are given does not matter");
    let contents: Vec<(String, Vec<u8>)> = given.iter().zip(0..).map(|(name, i)| ((*name).to_owned(), noise(i, 600))).collect();
    fsck_and_mtools_agree(&borrowed(&contents));
}

#[test]
fn tails_of_short_names_grow() {
    let contents: Vec<(String, Vec<u8>)> = (0..200).map(|i| (format!("manifest{i:03}.y"), noise(i, 10))).collect();
    let names = name::names(contents.iter().map(|(name, _)| name.as_str())).unwrap();
    for (at, short) in [(0, b"MANIFE~1Y  "), (9, b"MANIF~10Y  "), (99, b"MANI~100Y  ")] {
        assert_eq!(names[at].short, *short);
    }
    fsck_and_mtools_agree(&borrowed(&contents));
}

#[test]
fn the_root_folder_is_limited() {
    // One entry for the label, one for each valid short name: 511 fit.
    let contents: Vec<(String, Vec<u8>)> = (0..512).map(|i| (format!("F{i}"), vec![b'x'; i % 3])).collect();
    fsck_and_mtools_agree(&borrowed(&contents[..511]));
    assert_eq!(
        refusal(&borrowed(&contents), "cidata"),
        "the 512 files of the volume need 513 entries of its folder, which has 512: one for the label, one per file, and one more \
         per 13 characters of a name"
    );
    // The longest names take 21 entries each.
    let contents: Vec<(String, Vec<u8>)> = (0..25).map(|i| (format!("{i:0>255}"), Vec::new())).collect();
    fsck_and_mtools_agree(&borrowed(&contents[..24]));
    assert!(refusal(&borrowed(&contents), "cidata").contains("need 526 entries"));
}

#[test]
fn invalid_names_are_refused() {
    let long = "x".repeat(256);
    let forbidden: Vec<String> = "\"*/:<>?\\|\0\n\x7f\u{e9}".chars().map(|c| format!("a{c}b")).collect();
    let rest = ["", ".", "..", " ", "a ", " a", "a.", "ü", &long];
    for bad in forbidden.iter().map(String::as_str).chain(rest) {
        let message = refusal(&[(bad, b"")], "cidata");
        assert!(
            message.starts_with(&format!(
                "`{}` is not a valid file name for the volume: expected 1 to 255 ASCII characters",
                bad.escape_debug()
            )),
            "{message}"
        );
    }
    assert_eq!(
        refusal(&[("user-data", b""), ("User-Data", b"")], "cidata"),
        "two files of the volume are named `User-Data`, ignoring case"
    );
    assert_eq!(refusal(&[("a", b""), ("a", b"")], "cidata"), "two files of the volume are named `a`, ignoring case");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Reference tools read back any set of names and sizes.
    #[test]
    fn any_files_come_back(
        files in prop::collection::btree_map(
            "[A-Za-z0-9_+~.-][A-Za-z0-9 ._+~!#$%&'()@^{},;=-]{0,40}[A-Za-z0-9_+~-]",
            prop_oneof![Just(0usize), Just(512usize), 0..3000usize, 500_000..2_500_000usize],
            0..12,
        )
    ) {
        let mut seen = BTreeSet::new();
        let files = files.into_iter().filter(|(name, _)| seen.insert(name.to_ascii_lowercase()));
        let contents: Vec<(String, Vec<u8>)> = files.zip(0..).map(|((name, len), i)| (name, noise(i, len))).collect();
        fsck_and_mtools_agree(&borrowed(&contents));
    }

    /// No name or label panics, and an accepted volume has the size in its boot sector.
    #[test]
    fn any_text_is_taken_or_refused(names in prop::collection::vec("\\PC{0,20}|[ -~]{0,20}", 0..4), label in "\\PC{0,12}|[a-z]{1,11}") {
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
        if let Ok(image) = write(&files, &label, epoch()) {
            assert_eq!(usize::from(u16::from_le_bytes([image[19], image[20]])) * SECTOR, image.len());
        }
    }
}
