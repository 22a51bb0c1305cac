//! Edge cases that ext4 writers get wrong.

use super::image::{SMALL, Sample, fit, fsck, noise, params, tool};
use super::{debugfs, view};
use crate::common::tree::{Content, Kind, Layer, Meta};
use crate::common::value::TreePath;
use crate::formats::disk::ext4::Size;

/// Checks that e2fsck, debugfs and ext4-view all agree with the tree.
fn check_with_tools(sample: &Sample) {
    let image = sample.image(&fit());
    debugfs::compare(sample, image.path());
    view::compare(sample, image.path());
}

#[test]
fn an_empty_tree() {
    let mut sample = Sample::new();
    *sample.tree.meta_mut(&TreePath::root()).unwrap() = Meta::new(0o1751, 7, 70_000, 5);
    sample.xattr("", "user.root", b"yes");
    check_with_tools(&sample);
}

#[test]
fn empty_everything() {
    let mut sample = Sample::new();
    sample.dir("dir");
    sample.add("inline", Kind::File(Content::Inline([].into())));
    sample.add("sparse", Kind::File(Content::Sparse { size: 0, segments: vec![] }));
    sample.file("blob", b"");
    let none = sample.segment(0, b"");
    sample.add("void", Kind::File(Content::Sparse { size: 70_000, segments: vec![none] }));
    sample.xattr("blob", "user.empty", b"");
    check_with_tools(&sample);
}

#[test]
fn one_of_each_kind() {
    let mut sample = Sample::new();
    sample.dir("lost+found");
    sample.dir("dev");
    for (name, major, minor) in [("null", 1, 3), ("old", 255, 255), ("new", 256, 0), ("minor", 8, 256), ("max", 4095, 0xF_FFFF)] {
        sample.add(&format!("dev/{name}"), Kind::CharDev { major, minor });
        sample.add(&format!("dev/{name}-b"), Kind::BlockDev { major, minor });
    }
    sample.add("dev/fifo", Kind::Fifo);
    sample.add("dev/socket", Kind::Socket);
    sample.file("lost+found/found", b"kept");
    sample.file("f", b"some bytes");
    for name in ["a-link", "dev/link", "zz"] {
        // A hard link may come before its file in path order.
        sample.add(name, Kind::HardLink(TreePath::fixed("f")));
    }
    for (name, mode, uid, gid, mtime) in [
        ("suid", 0o4755, 0, 0, 0),
        ("owners", 0o2640, u32::MAX - 1, 70_000, -1),
        ("early", 0o1000, 65_535, 65_536, -(1 << 31)),
        ("2038", 0o644, 1, 2, 1 << 31),
        ("2106", 0o644, 1, 2, 1 << 32),
        ("late", 0, 1, 2, (1 << 34) - (1 << 31) - 1),
    ] {
        sample.node(name.as_bytes(), Meta::new(mode, uid, gid, mtime), Kind::File(Content::Inline(b"x".as_slice().into())));
    }
    // ext4-view 1.0 rejects times before 1970 and from 2038 to 2106 as corruption.
    debugfs::compare(&sample, sample.image(&fit()).path());
}

#[test]
fn links_around_the_limits() {
    let mut sample = Sample::new();
    for length in [1, 58, 59, 60, 61, 4094, 4095] {
        sample.add(&format!("l{length}"), Kind::Symlink(b"x/".repeat(2048)[..length].to_vec()));
    }
    sample.add("umlaut", Kind::Symlink("/größe".as_bytes().to_vec()));
    check_with_tools(&sample);
}

#[test]
fn sizes_around_the_limits() {
    let mut sample = Sample::new();
    let sizes = [1, 4095, 4096, 4097, 61_440, 61_441, 65_535, 65_536, 65_537, 131_072, 1 << 20];
    for (seed, size) in sizes.into_iter().enumerate() {
        sample.file(&format!("blob{size}"), &noise(seed as u64, size));
        sample.add(&format!("same{size}"), Kind::File(Content::Inline(noise(seed as u64, size).into())));
        // The same blob twice: each file has its own run.
        sample.file(&format!("twin{size}"), &noise(seed as u64, size));
    }
    check_with_tools(&sample);
}

#[test]
fn names_of_all_kinds() {
    let mut sample = Sample::new();
    let odd: [&[u8]; 8] = ["größe-日本語".as_bytes(), b"\xff\xfe\x80", b"a b", b"quote\"d", b"back\\slash", b"-dash", b"...", b"*?[]"];
    for name in odd {
        sample.node(name, Meta::new(0o644, 0, 0, 0), Kind::File(Content::Inline(name.into())));
    }
    sample.node(&[b'n'; 255], Meta::new(0o755, 0, 0, 0), Kind::Dir);
    sample.node(&[&[b'n'; 255][..], b"/", &[0xC3; 255]].concat(), Meta::new(0o755, 0, 0, 0), Kind::Fifo);
    let mut path = "deep".to_owned();
    sample.dir(&path);
    while path.len() < 3900 {
        path = format!("{path}/{:x>100}", path.len());
        sample.dir(&path);
    }
    sample.file(&format!("{path}/bottom"), b"here");
    check_with_tools(&sample);
}

#[test]
fn a_thousand_folders_deep() {
    let mut sample = Sample::new();
    (1..1000).for_each(|depth| sample.dir(&vec!["d"; depth].join("/")));
    sample.image(&fit());
}

#[test]
fn attributes_in_inode_and_block() {
    let mut sample = Sample::new();
    // CAP_NET_BIND_SERVICE, effective and permitted, as setcap writes it.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    sample.file("ping", b"#!");
    sample.xattr("ping", "security.capability", &capability);
    sample.file("many", &noise(1, 5000));
    sample.xattr("many", "security.capability", &capability);
    for at in 0..40 {
        sample.xattr("many", &format!("user.number{at}"), &noise(at, at as usize));
    }
    sample.dir("large");
    sample.xattr("large", "trusted.overlay.opaque", b"y");
    sample.xattr("large", "user.large", &noise(3, 4096 - 32 - 4 - 16 - 8));
    sample.add("link", Kind::Symlink(vec![b't'; 100]));
    sample.xattr("link", "security.selinux", b"system_u:object_r:etc_t:s0\0");
    sample.add("dev", Kind::CharDev { major: 1, minor: 3 });
    sample.xattr("dev", "security.long", &[7; 500]);
    // user::rwx user:1000:r-x group::r-x mask::r-x other::---
    // The kernel reports unused ids as !0, debugfs as 0; they are not stored.
    let entries: [(u16, u16, u32); 5] = [(1, 7, 0), (2, 5, 1000), (4, 5, 0), (16, 5, 0), (32, 0, 0)];
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        acl.extend([&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat());
    }
    sample.dir("acl");
    sample.xattr("acl", "system.posix_acl_default", &acl);
    sample.xattr("acl", "system.posix_acl_access", &acl);
    sample.xattr("acl", "user.more", b"than the inode has room for");
    check_with_tools(&sample);
}

#[test]
fn attribute_names_that_are_not_ascii() {
    let mut sample = Sample::new();
    sample.file("f", b"");
    sample.xattr("f", "user.größe", &[1; 8]);
    sample.xattr("f", "user.größer", &[1; 800]);
    // debugfs takes no such names; e2fsck checks their hashes.
    sample.image(&fit());
}

#[test]
fn a_sparse_file_of_more_than_4_gib() {
    let mut sample = Sample::new();
    let parts = [(0, 10), (5000, 90_000), (1 << 20, 4096), ((1 << 20) + 4096, 5000), ((1 << 20) + 10_000, 1), (5 << 30, 70_001)];
    let segments: Vec<_> = parts.iter().map(|&(offset, len)| sample.segment(offset, &noise(offset, len))).collect();
    let size = (5 << 30) + 200_000;
    sample.add("sparse", Kind::File(Content::Sparse { size, segments }));
    let image = sample.image(&fit());
    assert!(image.as_file().metadata().unwrap().len() < 16 << 20, "holes stay holes");
    let ext4 = view::load(image.path());
    let mut file = ext4.open("/sparse").unwrap();
    let mut read = |at: u64, len: usize| {
        let mut bytes = vec![0; len];
        file.seek_to(at).unwrap();
        let mut done = 0;
        while done < len {
            done += file.read_bytes(&mut bytes[done..]).unwrap();
        }
        bytes
    };
    assert_eq!(ext4.metadata("/sparse").unwrap().len(), size);
    for (offset, len) in parts {
        assert!(read(offset, len) == noise(offset, len), "at {offset}");
    }
    for (hole, len) in [(10, 4990), (95_000, 100_000), ((1 << 20) + 9096, 904), ((5 << 30) + 70_001, 129_999), (3 << 30, 1 << 20)] {
        assert!(read(hole, len).iter().all(|&byte| byte == 0), "a hole at {hole}");
    }
}

#[test]
fn many_extents_need_a_tree() {
    for count in [4, 5, 340, 341, 1400, 4000] {
        let mut sample = Sample::new();
        let segments = (0..count).map(|at| sample.segment(at * 12_288 + at % 5000, &noise(at, 3))).collect();
        sample.add("f", Kind::File(Content::Sparse { size: count * 12_288, segments }));
        check_with_tools(&sample);
    }
}

#[test]
fn a_file_over_several_groups() {
    let mut sample = Sample::new();
    let size = 400 << 20;
    let digest = sample.blobs.add(noise(6, size as usize));
    sample.add("big", Kind::File(Content::Blob { digest, size }));
    let pieces = sample.pieces(&fit());
    let parts: Vec<(u64, u64, u64)> = pieces
        .iter()
        .filter_map(|piece| match piece.data {
            crate::formats::disk::Data::Blob { offset, len, .. } => Some((piece.at, offset, len)),
            crate::formats::disk::Data::Bytes(_) => None,
        })
        .collect();
    assert_eq!(parts.len(), 3, "groups 1 and 3 start with a copy of the superblock, group 2 does not: {parts:?}");
    assert!(parts.iter().all(|(at, offset, _)| at % 65_536 == 0 && offset % 65_536 == 0), "{parts:?}");
    view::compare(&sample, sample.image(&fit()).path());
}

#[test]
fn a_folder_of_50_000_files() {
    let mut sample = Sample::new();
    sample.dir("d");
    for at in 0..50_000 {
        sample.add(&format!("d/a file with a name of some length, and the number {at}"), Kind::File(Content::Inline([].into())));
    }
    let image = sample.image(&fit());
    let ext4 = view::load(image.path());
    assert_eq!(ext4.read_dir("/d").unwrap().count(), 50_002);
    // Looks names up through the index.
    for at in (0..50_000).step_by(61) {
        assert!(ext4.exists(format!("/d/a file with a name of some length, and the number {at}").as_str()).unwrap());
    }
    assert!(!ext4.exists("/d/a file with a name of some length, and the number 50000").unwrap());
    let dump = &debugfs::commands(image.path(), &["htree_dump /d".to_owned()])[0];
    let dump = String::from_utf8_lossy(dump);
    assert!(dump.contains("Indirect levels: 1"), "{}", &dump[..400]);
    assert_eq!(dump.matches("a file with a name").count(), 50_000);
}

#[test]
fn a_folder_of_200_000_files() {
    let mut sample = Sample::new();
    sample.dir("d");
    for at in 0..200_000 {
        sample.add(&format!("d/{at:0>80}"), Kind::File(Content::Inline([].into())));
    }
    sample.image(&fit());
}

#[test]
fn a_folder_of_70_000_folders() {
    let mut sample = Sample::new();
    sample.dir("d");
    for at in 0..70_000 {
        sample.dir(&format!("d/{at}"));
    }
    let image = sample.image(&fit());
    let stat = &debugfs::commands(image.path(), &["stat /d".to_owned()])[0];
    assert!(String::from_utf8_lossy(stat).contains("Links: 1 "), "too many to count");
}

#[test]
fn folders_around_the_link_count_limit() {
    for (folders, links) in [(64_998, "Links: 65000 "), (64_999, "Links: 1 ")] {
        let mut sample = Sample::new();
        sample.dir("d");
        (0..folders).for_each(|at| sample.dir(&format!("d/{at}")));
        let image = sample.image(&fit());
        let stat = &debugfs::commands(image.path(), &["stat /d".to_owned()])[0];
        assert!(String::from_utf8_lossy(stat).contains(links), "{folders}");
    }
}

#[test]
fn folders_around_one_block() {
    for entries in 250..258 {
        let mut sample = Sample::new();
        sample.dir("d");
        (0..entries).for_each(|at| sample.add(&format!("d/name{at:04}"), Kind::Fifo));
        sample.layer = Layer::Role;
        (0..entries).for_each(|at| sample.add(&format!("d/role{at:04}"), Kind::Fifo));
        check_with_tools(&sample);
    }
}

#[test]
fn lost_and_found_may_be_full() {
    let mut sample = Sample::new();
    sample.dir("lost+found");
    sample.layer = Layer::Role;
    (0..300).for_each(|at| sample.file(&format!("lost+found/#{at}"), b"x"));
    check_with_tools(&sample);
}

#[test]
fn all_sizes_are_valid() {
    let mut sample = Sample::new();
    sample.file("f", &noise(1, 100_000));
    let mib = 1 << 20;
    // Sizes around groups of 128 MiB, with and without a copy of the superblock at the start of the last one.
    for size in [6 * mib, 7 * mib + 4096, 127 * mib, 128 * mib, 128 * mib + 4096, 129 * mib, 130 * mib, 256 * mib, 256 * mib + 200 * 1024] {
        sample.image(&params(Size::Bytes(size)));
    }
    for size in [2048 * mib, 2048 * mib + 300 * 4096, 2048 * mib + 8 * mib, 20 * 1024 * mib, 1024 * 1024 * mib] {
        sample.image(&params(Size::Bytes(size)));
    }
    let number = |image: &std::path::Path, label| super::format::header(image, label).parse::<u64>().unwrap() * 4096;
    for (slack, room) in [(0, 64), (1, 64), (mib, 64), (122 * mib, 2047), (123 * mib, 2047), (250 * mib, 2047), (3000 * mib, 4095)] {
        let image = sample.image(&params(Size::Fit { slack, room: room * mib }));
        let free = number(image.path(), "Free blocks:");
        assert!((slack..slack + 4 * mib).contains(&free), "slack {slack}, free {free}");
    }
    // Whole flex groups where the partition has room.
    for (slack, room, expected) in [(0, 2048, 2048), (0, u64::MAX / mib, 2048), (1500, 3000, 2048), (2010, 4096, 4096), (2010, 4095, 2052)]
    {
        let image = sample.image(&params(Size::Fit { slack: slack * mib, room: room * mib }));
        assert_eq!(number(image.path(), "Block count:"), expected * mib, "slack {slack}, room {room}");
        assert!(number(image.path(), "Free blocks:") >= slack * mib);
    }
}

#[test]
fn it_grows_to_20_gib() {
    let mut sample = Sample::new();
    sample.dir("d");
    (0..1000).for_each(|at| sample.file(&format!("d/{at}"), &noise(at, 5000)));
    sample.file("big", &noise(1, 40 << 20));
    for (slack, room) in [(0, SMALL), (800 << 20, SMALL), (0, 19 << 30)] {
        let image = sample.image(&params(Size::Fit { slack, room }));
        image.as_file().set_len(20 << 30).unwrap();
        let (code, said) = tool("resize2fs", &[image.path().to_str().unwrap(), "20G"]);
        assert_eq!(code, 0, "{}", String::from_utf8_lossy(&said));
        fsck(image.path());
        assert_eq!(super::format::header(image.path(), "Block count:"), "5242880");
        view::compare(&sample, image.path());
    }
}
