//! The programs in `examples/`, run as a person runs them: reference tools check the image that mkfs writes, and inspect lists its files.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Output;

use crate::support::baked::{judge, ok, path, text};
use crate::support::program;

/// The contents of a file of many blocks, no two of them alike.
fn large() -> Vec<u8> {
    (0..3_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// A folder with each kind of entry that mkfs supports.
fn fill(folder: &Path) {
    fs::create_dir_all(folder.join("etc/deep")).unwrap();
    fs::write(folder.join("etc/name"), "node\n").unwrap();
    fs::set_permissions(folder.join("etc/name"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(folder.join("etc/deep/empty"), "").unwrap();
    fs::set_permissions(folder.join("etc/deep/empty"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.join("large"), large()).unwrap();
    fs::set_permissions(folder.join("large"), fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("etc/name", folder.join("link")).unwrap();
}

fn run(example: &str, args: &[&str], folder: &Path) -> Output {
    program::example(example, folder).args(args).output().unwrap()
}

#[test]
fn a_folder_becomes_a_sound_image_whose_files_are_listed() {
    let work = tempfile::tempdir().unwrap();
    let (image, raw, copy) = (work.path().join("disk.qcow2"), work.path().join("disk.raw"), work.path().join("large.copy"));
    fill(&work.path().join("folder"));
    ok(run("mkfs", &["folder", "disk.qcow2"], work.path()));
    judge("qemu-img", &["check", path(&image)]);
    judge("qemu-img", &["convert", "-O", "raw", path(&image), path(&raw)]);
    judge("e2fsck", &["-f", "-n", path(&raw)]);
    judge("debugfs", &["-R", &format!("dump /large {}", path(&copy)), path(&raw)]);
    assert!(fs::read(copy).unwrap() == large(), "debugfs reads other bytes");

    let listed = text(&ok(run("inspect", &["disk.qcow2"], work.path())).stdout);
    let size = fs::metadata(&raw).unwrap().len();
    assert_eq!(listed.lines().next(), Some(&*format!("disk: ext4, {size} bytes from byte 0")), "{listed}");
    let files: Vec<&str> = listed.lines().filter(|line| !line.starts_with("  folder ")).skip(1).collect();
    let expected = [
        "  file 0755 0:0 0 /etc/deep/empty",
        "  file 0640 0:0 5 /etc/name",
        "  file 4755 0:0 3000000 /large",
        "  symbolic link 0777 0:0 8 /link -> etc/name",
    ];
    assert_eq!(files, expected, "{listed}");
    assert_eq!(text(&ok(run("inspect", &["disk.raw"], work.path())).stdout), listed, "a raw image is listed in the same way");
}

#[test]
fn mkfs_writes_the_same_bytes_again_and_over_no_file() {
    let work = tempfile::tempdir().unwrap();
    fill(&work.path().join("folder"));
    for image in ["one.qcow2", "two.qcow2"] {
        ok(run("mkfs", &["folder", image], work.path()));
    }
    let bytes = fs::read(work.path().join("one.qcow2")).unwrap();
    assert!(bytes == fs::read(work.path().join("two.qcow2")).unwrap(), "two runs give different images");
    let refused = run("mkfs", &["folder", "one.qcow2"], work.path());
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("error: one.qcow2 exists already"), "{}", text(&refused.stderr));
    assert!(bytes == fs::read(work.path().join("one.qcow2")).unwrap());
    for example in ["mkfs", "inspect"] {
        assert_eq!(run(example, &[], work.path()).status.code(), Some(2), "{example} without arguments");
    }
    assert_eq!(run("inspect", &["nothing.qcow2"], work.path()).status.code(), Some(1));
}
