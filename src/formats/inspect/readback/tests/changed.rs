//! Changes of one field of one inode. debugfs makes them, and keeps all checksums right.

use std::path::Path;

use super::super::{Depth, VerifyReport, verify_tree};
use crate::Class;
use crate::common::tree::{Kind, Meta};
use crate::common::value::{Cancel, TreePath};
use crate::formats::disk::testing;
use crate::formats::inspect::ext::tests::{CAPABILITY, Sample, sample, written};

fn verified(raw: &Path, sample: &Sample) -> VerifyReport {
    let image = raw.with_extension("qcow2");
    testing::run("qemu-img", &[&"convert", &"-f", &"raw", &"-O", &"qcow2", &raw, &image]);
    verify_tree(&image, 0, &sample.tree, Depth::All, &Cancel::new()).unwrap()
}

/// Runs debugfs's commands, one a line.
fn change(raw: &Path, commands: &str) {
    let script = raw.with_extension("debugfs");
    std::fs::write(&script, commands).unwrap();
    testing::run("debugfs", &[&"-w", &"-f", &script, &raw]);
}

#[test]
fn an_image_of_the_writer_is_its_tree() {
    let mut sample = sample();
    // Times at the edges of ext4's range, and owners of 32 bits.
    for (name, mtime) in [("etc/empty", -(1 << 31)), ("etc/short", 1 << 31), ("bin/c", (1 << 34) - (1 << 31) - 1), ("many", -1)] {
        let meta = sample.tree.meta_mut(&TreePath::fixed(name)).unwrap();
        *meta = Meta { xattrs: meta.xattrs.clone(), ..Meta::new(0o7777, u32::MAX - 1, 1 << 31, mtime) };
    }
    let dir = tempfile::tempdir().unwrap();
    let report = verified(&written(dir.path(), &sample), &sample).into_result().unwrap();
    assert_eq!(report.entries, sample.tree.len() as u64 + 1, "with lost+found");
    assert!(matches!(sample.tree.get(&TreePath::fixed("bin/b")).unwrap().kind, Kind::HardLink(_)));
}

#[test]
fn a_changed_inode_is_refused() {
    let sample = sample();
    let dir = tempfile::tempdir().unwrap();
    let raw = written(dir.path(), &sample);
    let good = std::fs::read(&raw).unwrap();
    let value = dir.path().join("value");
    // cap_net_admin in place of cap_net_raw.
    let mut other = CAPABILITY;
    other[5] = 0x10;
    std::fs::write(&value, other).unwrap();
    let set = |name: &str, path: &str| format!("ea_set -f {} {path} {name}\n", value.display());
    let cases: [(String, &[&str]); 15] = [
        (
            set("security.capability", "/bin/ping"),
            &[
                "/bin/ping: attribute security.capability: expected 0100000200200000000000000000000000000000, found 0100000200100000000000000000000000000000",
            ],
        ),
        ("ea_rm /bin/ping security.capability\n".into(), &["/bin/ping: the attribute security.capability is missing"]),
        (set("security.capability", "/bin/c"), &["/bin/c: the attribute security.capability is not in the tree"]),
        (set("user.large", "/etc/shared"), &["/etc/shared: attribute user.large: expected "]),
        ("sif /dev/null block[0] 0x105\n".into(), &["/dev/null: expected device 1:3, found 1:5"]),
        ("sif /dev/wide block[1] 0\n".into(), &["/dev/wide: expected device 259:70000, found 0:0"]),
        (
            "unlink /bin/b\nln /bin/c /bin/b\nsif /bin/a links_count 1\nsif /bin/c links_count 2\n".into(),
            &[
                "/bin/a: expected link count 2, found 1",
                "/bin/b: expected a hard link of /bin/a (inode ",
                "/bin/c: expected link count 1, found 2",
            ],
        ),
        (
            "unlink /bin/c\nln /bin/a /bin/c\nsif /bin/a links_count 3\n".into(),
            &["/bin/c: is a hard link of /bin/a, which the tree does not have"],
        ),
        ("sif /bin/c links_count 7\n".into(), &["/bin/c: expected link count 1, found 7"]),
        ("sif /var links_count 3\n".into(), &["/var: expected link count 2, found 3"]),
        ("sif /bin/c mode 0104755\n".into(), &["/bin/c: expected mode 0755, found 4755"]),
        ("sif /bin/c uid 1000\n".into(), &["/bin/c: expected owner 0:0, found 1000:0"]),
        ("sif /bin/c gid 70000\n".into(), &["/bin/c: expected owner 0:0, found 0:70000"]),
        ("sif /bin/c mtime @5\n".into(), &["/bin/c: expected time 1700000000, found 5"]),
        ("sif /dev/pipe mode 0140755\n".into(), &["/dev/pipe: expected a fifo, found a socket"]),
    ];
    for (commands, expected) in cases {
        std::fs::write(&raw, &good).unwrap();
        change(&raw, &commands);
        let error = verified(&raw, &sample).into_result().expect_err(&commands);
        assert_eq!(error.class(), Class::Integrity);
        let text = error.to_string();
        for expected in expected {
            assert!(text.contains(expected), "{commands}: {text} has no {expected:?}");
        }
    }
}
