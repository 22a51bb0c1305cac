use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::common::value::Sha256;
use crate::formats::disk::qcow2::tests::check;
use crate::formats::disk::testing::{self, noise};

const MIB: usize = 1 << 20;

/// A folder with `role.qcow2`, written by QEMU from these bytes, and `role.raw`, the bytes.
fn role(bytes: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (raw, qcow2) = (dir.path().join("role.raw"), dir.path().join("role.qcow2"));
    std::fs::write(&raw, bytes).unwrap();
    testing::run("qemu-img", &[&"convert", &"-f", &"raw", &"-O", &"qcow2", &raw, &qcow2]);
    dir
}

fn qcow2(name: &str, size: usize) -> Backing<'_> {
    Backing { name, format: "qcow2", size: size as u64 }
}

fn placed(path: PathBuf, backing: &Backing, virtual_size: u64) -> PathBuf {
    std::fs::write(&path, overlay(backing, virtual_size).unwrap()).unwrap();
    path
}

fn info(path: &Path) -> Value {
    serde_json::from_str(&testing::run("qemu-img", &[&"info", &"--output=json", &path])).unwrap()
}

/// The disk as QEMU reads it through the overlay.
fn read(path: &Path) -> Vec<u8> {
    let raw = path.with_extension("read");
    testing::run("qemu-img", &[&"convert", &"-f", &"qcow2", &"-O", &"raw", &path, &raw]);
    std::fs::read(raw).unwrap()
}

#[test]
fn qemu_sees_what_its_own_overlay_shows() {
    let dir = role(&noise(1, 3 * MIB));
    let ours = placed(dir.path().join("ours.qcow2"), &qcow2("role.qcow2", 3 * MIB), 5 << 20);
    let theirs = dir.path().join("theirs.qcow2");
    let backing = dir.path().join("role.qcow2");
    testing::run("qemu-img", &[&"create", &"-f", &"qcow2", &"-b", &"role.qcow2", &"-F", &"qcow2", &theirs, &"5M"]);
    check(&ours);
    testing::run("qemu-img", &[&"compare", &"-s", &"-f", &"qcow2", &"-F", &"qcow2", &ours, &theirs]);
    let mut disk = noise(1, 3 * MIB);
    disk.resize(5 * MIB, 0);
    assert!(read(&ours) == disk, "the role's disk, then zeros");

    let [ours, theirs] = [&ours, &theirs].map(|path| {
        let mut info = info(path);
        // The file's name and its allocation on the host differ.
        for key in ["filename", "actual-size"] {
            info.as_object_mut().unwrap().remove(key);
        }
        info
    });
    assert_eq!(ours, theirs);
    assert_eq!(ours["backing-filename"], "role.qcow2");
    assert_eq!(ours["full-backing-filename"], backing.to_str().unwrap());
    assert_eq!(ours["backing-filename-format"], "qcow2");
    assert_eq!((&ours["virtual-size"], &ours["cluster-size"]), (&(5 << 20).into(), &65_536.into()));
}

#[test]
fn a_machine_can_write_to_it() {
    let dir = role(&noise(2, 3 * MIB));
    let size = 1u64 << 40;
    let path = placed(dir.path().join("node.qcow2"), &qcow2("role.qcow2", 3 * MIB), size);
    let before = std::fs::read(dir.path().join("role.qcow2")).unwrap();
    // In the middle of the role's clusters; across their end; at the end of the disk.
    let last = format!("write -P 0x33 {} 512", size - 512);
    testing::run(
        "qemu-io",
        &[&"-f", &"qcow2", &"-c", &"write -P 0x11 70000 1000", &"-c", &"write -P 0x22 3145000 2000", &"-c", &last, &path],
    );
    check(&path);
    let reads = ["read -P 0x11 70000 1000", "read -P 0x22 3145000 2000", &last.replace("write", "read"), "read -P 0 3147000 1M"];
    for command in reads {
        let seen = testing::run("qemu-io", &[&"-f", &"qcow2", &"-r", &"-c", &command, &path]);
        assert!(!seen.contains("Pattern verification failed"), "{command}: {seen}");
    }
    let cut = dir.path().join("cut.raw");
    let start = format!("driver=raw,size={},file.driver=qcow2,file.file.filename={}", 3 * MIB, path.display());
    testing::run("qemu-img", &[&"convert", &"--image-opts", &"-O", &"raw", &start, &cut]);
    let mut expected = noise(2, 3 * MIB);
    expected[70_000..71_000].fill(0x11);
    expected[3_145_000..].fill(0x22);
    assert!(std::fs::read(cut).unwrap() == expected, "around what was written, the role's bytes");
    assert!(std::fs::read(dir.path().join("role.qcow2")).unwrap() == before, "the role's image is not written to");
}

#[test]
fn a_relative_name_starts_at_the_overlays_folder() {
    let dir = role(&noise(3, MIB));
    let disk = noise(3, MIB);
    std::fs::create_dir_all(dir.path().join("vms/a")).unwrap();
    std::fs::rename(dir.path().join("role.raw"), dir.path().join("vms/a/12:30 ä.raw")).unwrap();
    let absolute = dir.path().join("role.qcow2");
    let raw = |name| Backing { name, format: "raw", size: MIB as u64 };
    let cases = [
        ("vms/a/one.qcow2", qcow2("../../role.qcow2", MIB)),
        ("vms/two.qcow2", qcow2("../role.qcow2", MIB)),
        ("vms/a/three.qcow2", raw("./12:30 ä.raw")),
        ("vms/four.qcow2", raw("a/12:30 ä.raw")),
        ("vms/five.qcow2", qcow2(absolute.to_str().unwrap(), MIB)),
    ];
    for (place, backing) in cases {
        // The tests run in another folder, where the name does not exist.
        let path = placed(dir.path().join(place), &backing, MIB as u64);
        check(&path);
        assert!(read(&path) == disk, "{place}");
        let info = info(&path);
        assert_eq!((&info["backing-filename"], &info["backing-filename-format"]), (&backing.name.into(), &backing.format.into()));
    }
}

#[test]
fn all_sizes_check_out() {
    let dir = role(&[0; 512]);
    // One sector; one L1 entry and one sector more; one cluster of L1 table (4 TiB) and more; the largest size.
    let reach = 512 << 20;
    for (size, clusters) in
        [(512, 4), (reach, 4), (reach + 512, 4), (4 << 40, 4), ((4 << 40) + 512, 5), (16 << 40, 7), (MAX_VIRTUAL_SIZE, 3 + 512)]
    {
        let path = placed(dir.path().join("node.qcow2"), &qcow2("role.qcow2", 512), size);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), clusters << 16, "{size}");
        check(&path);
        assert_eq!(info(&path)["virtual-size"], size);
    }
}

#[test]
fn the_longest_name_is_found() {
    let dir = role(&noise(4, MIB));
    let name = format!("{}role.qcow2", "./".repeat(506));
    assert_eq!(name.len(), 1022);
    for name in [name.clone(), name.replacen("./", ".//", 1)] {
        let path = placed(dir.path().join("node.qcow2"), &qcow2(&name, MIB), MIB as u64);
        check(&path);
        assert_eq!(info(&path)["backing-filename"], name);
        assert!(read(&path) == noise(4, MIB));
    }
}

#[test]
fn names_that_qemu_would_misread_are_refused() {
    let long = "x".repeat(1024);
    for (name, why) in [
        ("", "it is empty"),
        (long.as_str(), "it has 1024 bytes, the format allows 1023"),
        ("a\0b", "it has control characters"),
        ("a\n", "it has control characters"),
        ("nbd:localhost:1", "QEMU would take `nbd:` for a protocol"),
        ("json:{\"driver\":\"qcow2\"}", "QEMU would take `json:` for a protocol"),
        ("https://a/b", "QEMU would take `https:` for a protocol"),
        ("12:30.raw", "QEMU would take `12:` for a protocol"),
        (":", "QEMU would take `:` for a protocol"),
    ] {
        let error = overlay(&qcow2(name, 512), 512).unwrap_err();
        assert_eq!(error.message(), format!("`{}` cannot name a backing file: {why}", name.escape_debug()));
        assert_eq!(error.class(), crate::Class::User);
    }
    for (size, message) in [
        (0, "a disk of 0 bytes cannot hold anything"),
        (5000, "a disk of 5000 bytes is not a multiple of 512"),
        (MAX_VIRTUAL_SIZE + 512, "a disk of 2251799813685760 bytes is larger than the 2251799813685248 that QEMU opens"),
        (512, "a disk of 512 bytes is smaller than its backing disk `a.qcow2` of 1024 bytes"),
    ] {
        assert_eq!(overlay(&qcow2("a.qcow2", 1024), size).unwrap_err().message(), message);
    }
}

#[test]
fn qemu_takes_such_a_name_for_a_protocol() {
    let dir = role(&[0; 512]);
    std::fs::copy(dir.path().join("role.raw"), dir.path().join("12:30.raw")).unwrap();
    let raw = Backing { name: "./12:30.raw", format: "raw", size: 512 };
    let path = placed(dir.path().join("node.qcow2"), &raw, 512);
    check(&path);
    // The same file, named without a protocol prefix.
    let mut bytes = std::fs::read(&path).unwrap();
    let (at, len) = (u64::from_be_bytes(bytes[8..16].try_into().unwrap()) as usize, bytes[19]);
    assert_eq!(&bytes[at..][..usize::from(len)], raw.name.as_bytes());
    (bytes[15], bytes[19]) = (bytes[15] + 2, len - 2);
    std::fs::write(&path, bytes).unwrap();
    let refusal = testing::output("qemu-io", &[&"-r", &"-f", &"qcow2", &"-c", &"read 0 512", &path]);
    assert!(String::from_utf8_lossy(&refusal.stderr).contains("Unknown protocol '12'"), "{refusal:?}");
}

#[test]
fn the_bytes_are_pinned() {
    let bytes = overlay(&qcow2("../worker.qcow2", 1 << 30), 20 << 30).unwrap();
    assert_eq!(bytes.len(), 256 << 10);
    // Existing overlays stay as they are; new ones may change only on purpose.
    assert_eq!(Sha256::of(&bytes).to_string(), "d7bc088c0ecb6c2bdd778017fc35a5d651c45959813294eac7b27e5ed381828e");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any valid size and name gives a file that QEMU finds correct, and whose backing file is the named one.
    #[test]
    fn any_overlay_checks_out(sectors in 1..(32u64 << 40) / 512, name in "([a-zA-Z0-9 äß_:]{1,40}/){0,3}[a-zA-Z0-9 äß_:-]{1,100}") {
        let dir = tempfile::tempdir().unwrap();
        match overlay(&Backing { name: &name, format: "raw", size: 512 }, sectors * 512) {
            Err(_) => prop_assert!(name.split('/').next().unwrap().contains(':')),
            Ok(bytes) => {
                let (path, backing) = (dir.path().join("node.qcow2"), dir.path().join(&name));
                std::fs::write(&path, bytes).unwrap();
                std::fs::create_dir_all(backing.parent().unwrap()).unwrap();
                std::fs::write(&backing, [0x5a; 512]).unwrap();
                check(&path);
                let info = info(&path);
                prop_assert_eq!((&info["virtual-size"], &info["backing-filename"]), (&(sectors * 512).into(), &name.into()));
                let seen = testing::run("qemu-io", &[&"-f", &"qcow2", &"-r", &"-c", &"read -P 0x5a 0 512", &path]);
                prop_assert!(!seen.contains("Pattern verification failed"), "{}", seen);
            }
        }
    }
}

#[test]
fn qemu_sees_an_empty_disk_without_a_backing_file() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (dir.path().join("ours.qcow2"), dir.path().join("theirs.qcow2"));
    std::fs::write(&ours, empty(5 << 20).unwrap()).unwrap();
    check(&ours);
    testing::run("qemu-img", &[&"create", &"-f", &"qcow2", &theirs, &"5M"]);
    testing::run("qemu-img", &[&"compare", &"-s", &"-f", &"qcow2", &"-F", &"qcow2", &ours, &theirs]);
    assert!(read(&ours) == vec![0; 5 * MIB]);
    let found = info(&ours);
    assert_eq!((&found["virtual-size"], &found["backing-filename"]), (&Value::from(5 << 20), &Value::Null));
    // Data that a machine writes to it can be read back.
    testing::run("qemu-io", &[&"-f", &"qcow2", &"-c", &"write -P 7 65536 65536", &ours]);
    check(&ours);
    assert!(read(&ours)[65536..131072] == [7; 65536]);
    assert!(empty(513).is_err() && empty(1 << 60).is_err());
}
