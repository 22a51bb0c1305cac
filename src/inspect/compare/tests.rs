use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::{Difference, compare};
use crate::disk::judge::{noise, run};
use crate::value::Cancel;

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

/// An ext filesystem of a folder, always the same bytes.
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

/// One change, and the first line that tells it.
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
        assert!(line.contains(&format!("sha256:{}", crate::value::Sha256::of(&bytes))), "{line}");
        assert!(!found.iter().any(|line| line.contains("files' blocks")), "{found:#?}");
    }
}
