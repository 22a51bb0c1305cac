//! The writer refuses input that ext4 cannot store, and names it.

use super::image::{Sample, fit, noise, params};
use crate::common::tree::{Content, Kind, Meta, Segment};
use crate::common::value::{Sha256, TreePath};
use crate::formats::disk::ext4::{Params, Size, layout};

fn refused(sample: &Sample, params: &Params, part: &str) {
    let text = layout(&sample.tree, &sample.tree, params).expect_err(part).to_string();
    assert!(text.contains(part), "{text}");
}

#[test]
fn parameters_out_of_range() {
    let sample = Sample::new();
    refused(&sample, &Params { label: "a label of more than".into(), ..fit() }, "`a label of more than` is not a valid ext4 label");
    refused(&sample, &Params { label: "a\0b".into(), ..fit() }, "is not a valid ext4 label");
    refused(&sample, &Params { journal_blocks: 1023, ..fit() }, "journal cannot have 1023 blocks");
    refused(&sample, &params(Size::Bytes((64 << 20) + 512)), "not a multiple of 4096");
    refused(&sample, &params(Size::Bytes(16 << 40)), "less than 16 TiB");
    refused(&sample, &params(Size::Bytes(u64::MAX / 4096 * 4096)), "less than 16 TiB");
    refused(&sample, &params(Size::Fit { slack: u64::MAX, room: u64::MAX }), "less than 16 TiB");
    for size in [0, 4096, 1 << 20, 4 << 20] {
        refused(&sample, &params(Size::Bytes(size)), "does not fit");
    }
}

#[test]
fn a_tree_that_is_too_large() {
    let mut sample = Sample::new();
    sample.file("f", &noise(1, 10 << 20));
    refused(&sample, &params(Size::Bytes(12 << 20)), "does not fit an ext4 filesystem of 12582912 bytes");
    let mut sample = Sample::new();
    sample.add("f", Kind::File(Content::Blob { digest: Sha256::of(b""), size: 15 << 40 }));
    sample.add("g", Kind::File(Content::Blob { digest: Sha256::of(b""), size: 15 << 40 }));
    refused(&sample, &params(Size::Fit { slack: 0, room: u64::MAX }), "16 TiB or more");
    refused(&sample, &fit(), "does not fit its partition of 2097152000 bytes");
    let mut sample = Sample::new();
    (0..70_000).for_each(|at| sample.add(&at.to_string(), Kind::Fifo));
    refused(&sample, &params(Size::Bytes(128 << 20)), "does not fit");
}

#[test]
fn nodes_that_ext4_cannot_store() {
    type Fill = fn(&mut Sample);
    let cases: [(Fill, &str); 17] = [
        (|s| s.add("a/b", Kind::CharDev { major: 4096, minor: 0 }), "/a/b: ext4 cannot store the device number 4096:0"),
        (|s| s.add("a/b", Kind::BlockDev { major: 0, minor: 1 << 20 }), "device number 0:1048576"),
        (|s| s.add("a/b", Kind::Symlink(vec![])), "/a/b: ext4 cannot store this symlink's target"),
        (|s| s.add("a/b", Kind::Symlink(vec![b'x'; 4096])), "found 4096 bytes"),
        (|s| s.add("a/b", Kind::Symlink(b"a\0b".to_vec())), "none of them NUL"),
        (|s| s.node(b"a/b", Meta::new(0, 0, 0, -(1 << 31) - 1), Kind::Fifo), "/a/b: ext4 cannot store the time -2147483649"),
        (|s| s.node(b"a/b", Meta::new(0, 0, 0, (1 << 34) - (1 << 31)), Kind::Fifo), "the time 15032385536"),
        (|s| s.add("lost+found", Kind::Fifo), "/lost+found must be a folder"),
        (|s| s.xattr("a", "user.big", &[1; 4096]), "the extended attributes of /a are too large"),
        (|s| s.xattr("a", "btrfs.compression", b"z"), "/a: ext4 cannot store the extended attribute `btrfs.compression`"),
        (|s| s.xattr("a", "user.", b"z"), "1 to 255 bytes after the prefix"),
        (|s| s.xattr("a", "system.data", b"z"), "`system.data`"),
        (|s| s.xattr("a", "system.posix_acl_access", b"z"), "not a POSIX access control list"),
        (|s| s.xattr("a", "system.posix_acl_access2", b"z"), "expected 1 to 255"),
        (|s| s.add("a/b", Kind::File(Content::Sparse { size: 1 << 44, segments: vec![] })), "/a/b is too large for ext4"),
        (|s| sparse(s, &[(0, 10), (9, 10)]), "/a/b overlap or leave it"),
        (|s| sparse(s, &[(u64::MAX, 10)]), "/a/b overlap or leave it"),
    ];
    for (fill, part) in cases {
        let mut sample = Sample::new();
        sample.dir("a");
        fill(&mut sample);
        refused(&sample, &fit(), part);
    }
}

fn sparse(sample: &mut Sample, parts: &[(u64, u64)]) {
    let segments = parts.iter().map(|&(offset, size)| Segment { offset, digest: Sha256::of(b""), size }).collect();
    sample.add("a/b", Kind::File(Content::Sparse { size: 100, segments }));
}

#[test]
fn too_many_hard_links() {
    let mut sample = Sample::new();
    sample.file("f", b"x");
    (0..64_999).for_each(|at| sample.add(&at.to_string(), Kind::HardLink(TreePath::fixed("f"))));
    sample.image(&fit());
    sample.add("one-more", Kind::HardLink(TreePath::fixed("f")));
    refused(&sample, &fit(), "/f has too many hard links");
}
