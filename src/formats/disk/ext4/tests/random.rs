//! Random trees against e2fsck and ext4-view. `PROPTEST_CASES` sets their number.

use proptest::collection::vec;
use proptest::prelude::*;

use super::image::{SMALL, Sample, noise, params};
use super::view;
use crate::common::tree::{Content, Kind, Layer, Meta, Refused};
use crate::common::value::TreePath;
use crate::formats::disk::ext4::{Params, Size};

/// The parameters of a random node.
#[derive(Debug, Clone)]
struct Seed {
    folder: usize,
    name: Vec<u8>,
    kind: u8,
    size: usize,
    number: u32,
    mode: u16,
    mtime: i64,
    attributes: Vec<(String, usize)>,
    role: bool,
}

fn seed() -> impl Strategy<Value = Seed> {
    let byte = any::<u8>().prop_map(|byte| if byte == 0 || byte == b'/' { b'_' } else { byte });
    let name = prop_oneof![3 => vec(byte.clone(), 1..12), 1 => vec(byte, 200..=255)];
    let size = prop_oneof![0..10usize, 4090..4100usize, 65_000..66_000usize, 0..300_000usize];
    let attributes = vec(("(user|security|trusted)[.][a-z]{1,20}", prop_oneof![0..30usize, 0..700usize]), 0..4);
    // Only times that ext4-view 1.0 accepts.
    let mtime = prop_oneof![0..1i64 << 31, 1i64 << 32..(1 << 32) + (1 << 31)];
    (any::<usize>(), name, 0..16u8, size, any::<u32>(), 0..0o10000u16, mtime, attributes, any::<bool>()).prop_map(
        |(folder, name, kind, size, number, mode, mtime, attributes, role)| Seed {
            folder,
            name,
            kind,
            size,
            number,
            mode,
            mtime,
            attributes,
            role,
        },
    )
}

/// A tree from the seeds; nodes that the tree refuses are left out.
fn grow(seeds: &[Seed]) -> Sample {
    let mut sample = Sample::new();
    let (mut folders, mut files) = (vec![TreePath::root()], Vec::<TreePath>::new());
    for seed in seeds {
        let folder = &folders[seed.folder % folders.len()];
        let Ok(path) = TreePath::parse(&[folder.as_bytes(), b"/", &seed.name].concat()[usize::from(folder.is_root())..], false) else {
            continue;
        };
        let kind = match seed.kind {
            0..=3 => Kind::Dir,
            4 => Kind::Symlink(b"x/".repeat(2048)[..1 + seed.size % 4095].to_vec()),
            5 => Kind::Symlink(vec![b'x'; 55 + seed.size % 10]),
            6 => Kind::CharDev { major: seed.number % 4096, minor: seed.number >> 12 },
            7 => Kind::Fifo,
            8 | 9 if !files.is_empty() => Kind::HardLink(files[seed.folder % files.len()].clone()),
            10 => Kind::File(Content::Inline(noise(seed.number.into(), seed.size).into())),
            11 => Kind::File(holes(&mut sample, seed)),
            _ => Kind::File(sample.blob(&noise(seed.number.into(), seed.size))),
        };
        let (dir, file) = (kind == Kind::Dir, matches!(kind, Kind::File(_)));
        let mut meta = Meta::new(seed.mode, seed.number, seed.number.rotate_left(7), seed.mtime);
        meta.xattrs = seed.attributes.iter().map(|(name, len)| (name.clone().into_bytes(), noise(7, *len))).collect();
        sample.layer = if seed.role { Layer::Role } else { Layer::Base };
        let node = crate::common::tree::Node { meta, kind, layer: sample.layer };
        match sample.tree.insert(path.clone(), node) {
            Ok(()) if dir => folders.push(path),
            Ok(()) if file => files.push(path),
            Ok(()) | Err(Refused::Exists(_) | Refused::Root) => {}
            Err(refused) => panic!("{refused}"),
        }
    }
    sample
}

/// A sparse file whose segments are not aligned to blocks.
fn holes(sample: &mut Sample, seed: &Seed) -> Content {
    let mut step = u64::from(seed.number);
    let mut end = 0;
    let segments = (0..seed.size % 12)
        .map(|_| {
            step = step.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            let offset = end + (step >> 33) % 20_000;
            let segment = sample.segment(offset, &noise(step, (step >> 40) as usize % 90_000));
            end = offset + segment.size;
            segment
        })
        .collect();
    Content::Sparse { size: end + seed.size as u64 % 10_000, segments }
}

fn any_params() -> impl Strategy<Value = Params> {
    let size = prop_oneof![
        (0..40u64 << 20).prop_map(|slack| Size::Fit { slack, room: SMALL }),
        (20_000..700_000u64).prop_map(|blocks| Size::Bytes(blocks * 4096)),
    ];
    (size, any::<[u8; 16]>(), any::<[u8; 16]>(), 1024..5000u32).prop_map(|(size, uuid, hash_seed, journal_blocks)| Params {
        uuid,
        hash_seed,
        journal_blocks,
        ..params(size)
    })
}

proptest! {
    // No file of past failures: a failing case belongs in `nasty`. proptest itself reads `PROPTEST_CASES`.
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: cases(), max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_is_sound(seeds in vec(seed(), 0..120), lacking in 0..4usize, params in any_params()) {
        let mut sample = grow(&seeds);
        // Laid out over its own part of the base, or over a tree that has some of its files and others.
        if lacking > 0 {
            let others: Vec<Seed> = seeds.iter().enumerate().filter(|(at, _)| at % 4 != lacking).map(|(_, seed)| seed.clone()).collect();
            sample.under = Some(grow(&others).tree);
        }
        let image = sample.image(&params);
        view::compare(&sample, image.path());
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48)
}
