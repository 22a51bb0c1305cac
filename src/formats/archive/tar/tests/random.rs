//! Random trees, random damage, random bytes.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::build::{END, entry, file, folder, long, pax, record};
use super::{open_policy, read};
use crate::common::tree::{Content, Kind, Layer, Meta, Node, Tree};
use crate::common::value::{Sha256, TreePath};
use crate::formats::archive::Memory;

/// By path: kind, contents, mode, owner, time.
type Wanted = BTreeMap<Vec<String>, (u8, Vec<u8>, u16, u32, u32)>;

/// A tree through the `tar` crate's writer: the archive, and the expected tree.
fn written(nodes: &Wanted) -> (Vec<u8>, Tree) {
    let mut builder = tar::Builder::new(Vec::new());
    let mut tree = Tree::new(open_policy().root);
    let mut files: Vec<TreePath> = Vec::new();
    for (parts, (pick, bytes, mode, owner, mtime)) in nodes {
        let path = TreePath::parse(parts.join("/").as_bytes(), false).unwrap();
        let target = "t".repeat(1 + bytes.len() % 200);
        let kind = match pick % 8 {
            0 | 1 => Kind::Dir,
            2..=4 => Kind::File(Content::Blob { digest: Sha256::of(bytes), size: bytes.len() as u64 }),
            5 => Kind::Symlink(target.into_bytes()),
            6 if !files.is_empty() => Kind::HardLink(files[bytes.len() % files.len()].clone()),
            _ => Kind::CharDev { major: u32::from(*pick), minor: *owner % 0xf_ffff },
        };
        let meta = match &kind {
            Kind::HardLink(target) => tree.get(target).unwrap().meta.clone(),
            _ => Meta::new(mode & 0o7777, *owner, owner / 2, i64::from(*mtime)),
        };
        if tree.insert(path.clone(), Node { meta: meta.clone(), kind: kind.clone(), layer: Layer::Base }).is_err() {
            continue;
        }
        if matches!(kind, Kind::File(_)) {
            files.push(path.clone());
        }
        append(&mut builder, &path, &meta, &kind, bytes);
    }
    (builder.into_inner().unwrap(), tree)
}

fn append(builder: &mut tar::Builder<Vec<u8>>, path: &TreePath, meta: &Meta, kind: &Kind, bytes: &[u8]) {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let name = OsStr::from_bytes(path.as_bytes());
    let mut header = tar::Header::new_gnu();
    header.set_mode(meta.mode.into());
    header.set_uid(meta.uid.into());
    header.set_gid(meta.gid.into());
    header.set_mtime(meta.mtime as u64);
    header.set_size(0);
    let typed = |header: &mut tar::Header, kind| header.set_entry_type(kind);
    match kind {
        Kind::Dir => typed(&mut header, tar::EntryType::Directory),
        Kind::CharDev { major, minor } => {
            typed(&mut header, tar::EntryType::Char);
            header.set_device_major(*major).unwrap();
            header.set_device_minor(*minor).unwrap();
        }
        Kind::Symlink(target) => {
            typed(&mut header, tar::EntryType::Symlink);
            return builder.append_link(&mut header, name, OsStr::from_bytes(target)).unwrap();
        }
        Kind::HardLink(target) => {
            typed(&mut header, tar::EntryType::Link);
            return builder.append_link(&mut header, name, OsStr::from_bytes(target.as_bytes())).unwrap();
        }
        _ => {
            header.set_size(bytes.len() as u64);
            return builder.append_data(&mut header, name, bytes).unwrap();
        }
    }
    builder.append_data(&mut header, name, std::io::empty()).unwrap();
}

fn sample() -> Vec<u8> {
    let deep = [&[b'n'; 200][..], b"\0"].concat();
    [
        &folder(b"./")[..],
        &folder(b"./d/"),
        &file(b"./d/f", &[3; 900]),
        &entry(b"./h", b'1', b"./d/f", b""),
        &long(b'L', &deep),
        &entry(b"n", b'2', b"target", b""),
        &pax(&[record("SCHILY.xattr.user.a", b"1"), record("mtime", b"9.5"), record("path", b"p")]),
        &file(b"x", b"hello"),
        &END,
    ]
    .concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tar_crates_archives_come_back(
        nodes in btree_map(
            vec("[a-c]{1,2}|[xü]{60,120}", 1..4),
            (any::<u8>(), vec(any::<u8>(), 0..1300), any::<u16>(), 0..u32::MAX, 0..i32::MAX as u32),
            0..40,
        )
    ) {
        let (archive, expected) = written(&nodes);
        let tree = read(&*archive, &open_policy(), &mut Memory::default()).unwrap();
        prop_assert_eq!(tree, expected);
    }

    #[test]
    fn random_bytes_are_refused(bytes in vec(any::<u8>(), 0..3000)) {
        prop_assert!(read(&*bytes, &open_policy(), &mut Memory::default()).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Damage under a corrected checksum, as an attacker would do: no panic, and an accepted archive is a consistent
    /// tree of the stored bytes.
    #[test]
    fn damage_never_panics(changes in vec((0..6000_usize, any::<u8>()), 1..6), summed: bool) {
        let mut archive = sample();
        let len = archive.len();
        for (at, byte) in changes {
            archive[at % len] = byte;
        }
        if summed {
            for block in archive.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
                let fixed = super::sum(<[u8; 512]>::try_from(&*block).unwrap());
                block.copy_from_slice(&fixed);
            }
        }
        let mut sink = Memory::default();
        if let Ok(tree) = read(&*archive, &open_policy(), &mut sink) {
            let again = Tree::parse_text(&tree.to_text(), "t").unwrap();
            prop_assert_eq!(again, tree);
        }
    }
}
