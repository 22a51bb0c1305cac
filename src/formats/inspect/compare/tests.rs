use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::{Difference, compare};
use crate::common::value::Cancel;
use crate::formats::disk::testing::{noise, run};

/// All differences, one line each.
fn differences(left: &Path, right: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut tell = |d: Difference| {
        found.push(format!("{} {} {}: {} | {}", d.partition, d.path.as_deref().unwrap_or(""), d.field, d.left, d.right));
        ControlFlow::Continue(())
    };
    compare(left, right, &Cancel::new(), &mut tell).unwrap();
    found
}

/// A folder with files of many kinds.
fn sample(folder: &Path) {
    for name in ["etc", "usr/bin", "empty"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::write(folder.join("etc/hostname"), "node\n").unwrap();
    fs::write(folder.join("etc/big"), noise(1, 3_000_001)).unwrap();
    fs::write(folder.join("usr/bin/tool"), noise(2, 70_000)).unwrap();
    std::os::unix::fs::symlink("etc/hostname", folder.join("short")).unwrap();
    std::os::unix::fs::symlink("x".repeat(200), folder.join("long")).unwrap();
}

/// An ext filesystem of a folder, with reproducible bytes.
fn ext(dir: &Path, name: &str, options: &[&str], from: &Path) -> PathBuf {
    let path = dir.join(name);
    let _ = fs::remove_file(&path);
    let (image, from) = (path.to_str().unwrap(), from.to_str().unwrap());
    let fixed = ["-q", "-F", "-U", "11111111-2222-3333-4444-555555555555", "-E", "hash_seed=11111111-2222-3333-4444-555555555555"];
    let args: Vec<&str> = fixed.into_iter().chain(options.iter().copied()).chain(["-d", from, image, "16M"]).collect();
    let mut command = vec!["E2FSPROGS_FAKE_TIME=1700000000", "mke2fs"];
    command.extend(args);
    run("env", &command.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>).collect::<Vec<_>>());
    path
}

/// Runs commands of debugfs on a filesystem.
fn debugfs(image: &Path, commands: &str) {
    let script = image.with_extension("debugfs");
    fs::write(&script, commands).unwrap();
    run("env", &[&"E2FSPROGS_FAKE_TIME=1700000000", &"debugfs", &"-w", &"-f", &script, &image]);
}

/// A change, and the first line that reports it.
#[test]
fn each_change_of_a_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("tree");
    sample(&folder);
    let cases: &[(&str, &str)] = &[
        ("sif /etc/hostname mode 0100600", "disk /etc/hostname mode: 0644 | 0600"),
        ("sif /etc/hostname uid 70000", "disk /etc/hostname owner: 0:0 | 70000:0"),
        ("sif /etc/hostname mtime 5", "modification time: "),
        ("sif /etc/big size 3000000", "disk /etc/big size: 3000001 | 3000000"),
        ("rm /usr/bin/tool", "disk /usr/bin/tool kind: file of 70000 bytes | -"),
        ("symlink /new target", "disk /new kind: - | symbolic link"),
        ("mkdir /etc/new", "disk /etc links: 2 | 3"),
        ("ea_set /etc/hostname user.note secret", "disk /etc/hostname attribute user.note: - | 736563726574"),
        ("mknod null c 1 3", "disk /null kind: - | character device"),
    ];
    for options in [
        &["-t", "ext4"][..],
        &["-t", "ext2", "-b", "1024"],
        &["-t", "ext3", "-b", "2048"],
        &["-t", "ext4", "-O", "inline_data", "-I", "512"],
    ] {
        let good = ext(dir.path(), "good.img", options, &folder);
        assert_eq!(differences(&good, &good), Vec::<String>::new());
        for (change, expected) in cases {
            let changed = dir.path().join("changed.img");
            fs::copy(&good, &changed).unwrap();
            debugfs(&changed, &format!("{change}\n"));
            let found = differences(&good, &changed);
            assert!(found.iter().any(|line| line.contains(expected)), "{options:?} {change}: {found:#?}");
        }
    }
}

#[test]
fn the_first_byte_of_a_file_that_differs_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    sample(&one);
    sample(&two);
    let mut bytes = noise(1, 3_000_001);
    bytes[2_500_000] ^= 1;
    fs::write(two.join("etc/big"), &bytes).unwrap();
    for (options, name) in [(&["-t", "ext4"][..], "ext4"), (&["-t", "ext2"], "ext2"), (&["-t", "ext4", "-b", "1024"], "small")] {
        let (left, right) = (ext(dir.path(), "left.img", options, &one), ext(dir.path(), "right.img", options, &two));
        let found = differences(&left, &right);
        let line = found.iter().find(|line| line.contains("/etc/big content")).unwrap_or_else(|| panic!("{name}: {found:#?}"));
        assert!(line.contains("byte 2500000 is "), "{line}");
        assert!(line.contains(&format!("sha256:{}", crate::common::value::Sha256::of(&bytes))), "{line}");
        assert!(!found.iter().any(|line| line.contains("files' blocks")), "{found:#?}");
    }
}

/// A disk with an ESP and a root, and the root's offset in MiB.
fn disk(dir: &Path, name: &str, from: &Path) -> PathBuf {
    use std::os::unix::fs::FileExt as _;
    let (disk, esp) = (dir.join(name), dir.join("esp"));
    let root = ext(dir, "root", &["-t", "ext4"], from);
    let _ = fs::remove_file(&esp);
    fs::File::create(&esp).unwrap().set_len(8 << 20).unwrap();
    run("mkfs.vfat", &[&"-i", &"12345678", &"--invariant", &esp]);
    run("env", &[&"SOURCE_DATE_EPOCH=1700000000", &"mmd", &"-i", &esp, &"::/EFI"]);
    run("env", &[&"SOURCE_DATE_EPOCH=1700000000", &"mcopy", &"-i", &esp, &from.join("etc/hostname"), &"::/EFI/Long Name.txt"]);
    let file = fs::File::create(&disk).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(&fs::read(&esp).unwrap(), 1 << 20).unwrap();
    file.write_all_at(&fs::read(&root).unwrap(), 16 << 20).unwrap();
    let guid = |n: u32| format!("{n}:00000000-0000-0000-0000-00000000000{n}");
    let args = [
        "-U",
        "00000000-0000-0000-0000-0000000000aa",
        "-n",
        "1:2048:+8M",
        "-t",
        "1:ef00",
        "-n",
        "2:32768:+16M",
        "-t",
        "2:8304",
        "-c",
        "2:root",
    ];
    let args =
        args.map(String::from).into_iter().chain(["-u".into(), guid(1), "-u".into(), guid(2)]).chain([disk.to_str().unwrap().to_owned()]);
    run("sgdisk", &args.collect::<Vec<_>>().iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>).collect::<Vec<_>>());
    disk
}

#[test]
fn what_is_outside_of_files_is_told_by_its_place() {
    use std::os::unix::fs::FileExt as _;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("tree");
    sample(&folder);
    let left = disk(dir.path(), "left.raw", &folder);
    let right = dir.path().join("right.raw");
    // One changed byte, and its report.
    let cases: &[(u64, &str)] = &[
        (100, "disk  boot code: none | sha256:"),
        (440, "disk  MBR: "),
        (700_000, "disk  1 bytes in space that is in no partition: byte 700000 of the disk is 0x00 | byte 700000 of the disk is 0x41"),
        ((1 << 20) + 3, "partition 1  made by: "),
        ((8 << 20) + 77, "partition 1  1 bytes in free space: "),
        ((16 << 20) + 1024 + 120, "partition 2 (root)  label: "),
        ((16 << 20) + 1024 + 264, "partition 2 (root)  make time: 1700000000 | "),
        ((31 << 20) + 5, "partition 2 (root)  1 bytes in free space: "),
        ((64 << 20) - 600, "disk  1 bytes in the partition table's backup: "),
    ];
    for (at, expected) in cases {
        fs::copy(&left, &right).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&right).unwrap();
        file.write_all_at(b"A", *at).unwrap();
        let found = differences(&left, &right);
        assert!(found.iter().any(|line| line.starts_with(expected)), "{at}: {found:#?}");
    }
    // The same disk in another file; then the same disk in another form.
    let (one, other) = (dir.path().join("one.qcow2"), dir.path().join("other.qcow2"));
    run("qemu-img", &[&"convert", &"-O", &"qcow2", &left, &one]);
    run("qemu-img", &[&"convert", &"-O", &"qcow2", &"-c", &left, &other]);
    assert_eq!(differences(&left, &one), Vec::<String>::new());
    let found = differences(&one, &other);
    assert!(found.len() == 1 && found[0].starts_with("image file  content: sha256:"), "{found:#?}");
    // A larger disk; a disk with a partition less.
    run("sgdisk", &[&"-d", &"2", &left]);
    let found = differences(&left, &other);
    assert!(found.iter().any(|line| line == "partition 2 (root)  partition: - | partition of 16777216 bytes"), "{found:#?}");
    fs::OpenOptions::new().write(true).open(&left).unwrap().set_len(65 << 20).unwrap();
    assert!(differences(&left, &other).iter().any(|line| line == "disk  size: 68157440 | 67108864"));
}

#[test]
fn files_on_fat_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("tree");
    sample(&folder);
    let left = disk(dir.path(), "left.raw", &folder);
    fs::write(folder.join("etc/hostname"), "nodE\n").unwrap();
    let right = disk(dir.path(), "right.raw", &folder);
    let found = differences(&left, &right);
    let place = found
        .iter()
        .position(|line| line.starts_with("partition 1 /EFI/Long\\x20Name.txt content: "))
        .unwrap_or_else(|| panic!("{found:#?}"));
    assert!(found[place].contains("byte 3 is 0x65 | ") && found[place].ends_with("byte 3 is 0x45"), "{found:#?}");
    let root = found
        .iter()
        .position(|line| line.starts_with("partition 2 (root) /etc/hostname content: "))
        .unwrap_or_else(|| panic!("{found:#?}"));
    assert!(place < root, "in the order of the disk: {found:#?}");
}

#[test]
fn a_comparison_ends_when_its_reporter_stops() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    sample(&one);
    fs::create_dir(&two).unwrap();
    let (left, right) = (ext(dir.path(), "left", &[], &one), ext(dir.path(), "right", &[], &two));
    let mut count = 0;
    let mut tell = |_| {
        count += 1;
        ControlFlow::Break(())
    };
    compare(&left, &right, &Cancel::new(), &mut tell).unwrap();
    assert_eq!(count, 1);
}

#[test]
fn other_numbers_of_inodes_are_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    sample(&one);
    sample(&two);
    fs::write(two.join("a"), "first").unwrap();
    let (left, right) = (ext(dir.path(), "left", &[], &one), ext(dir.path(), "right", &[], &two));
    let found = differences(&left, &right);
    assert_eq!(found.iter().filter(|line| line.contains("inode, the first of ")).count(), 1, "{found:#?}");
    assert!(!found.iter().any(|line| line.contains(" inode: ")), "{found:#?}");
}
