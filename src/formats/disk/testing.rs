//! Reference tools and generated contents for the tests of the disk writers.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Output};

use proptest::prelude::*;

use super::{Data, Piece, Pieces};
use crate::common::testing::Blobs;

/// Runs a tool in the C locale; returns its output whatever its exit status.
///
/// # Panics
/// A missing tool: the test fails rather than being skipped.
pub(crate) fn output(tool: &str, args: &[&dyn AsRef<OsStr>]) -> Output {
    // sgdisk and mke2fs are in sbin, which is not on every user's PATH.
    let mut command = Command::new(tool);
    command.args(args.iter().map(|arg| (*arg).as_ref())).env("LC_ALL", "C").env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    match command.output() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => panic!("{tool} is missing: run tests/setup.sh"),
        other => other.unwrap(),
    }
}

/// Runs a tool that must succeed, and returns its standard output.
pub(crate) fn run(tool: &str, args: &[&dyn AsRef<OsStr>]) -> String {
    let output = output(tool, args);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

/// `len` incompressible bytes, reproducible from `seed`.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    // xorshift64: random enough that zstd finds no redundancy.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// `len` bytes that compress about as well as text, reproducible from `seed`.
pub(crate) fn prose(seed: u64, len: usize) -> Vec<u8> {
    let words = ["etcd ", "node ", "image ", "cluster ", "lock ", "blob ", "digest ", "plan\n"];
    let mut bytes = Vec::with_capacity(len + 8);
    for pick in noise(seed, len) {
        if bytes.len() >= len {
            break;
        }
        bytes.extend_from_slice(words[(pick & 7) as usize].as_bytes());
        bytes.push(pick);
    }
    bytes.truncate(len);
    bytes
}

/// A disk, its blobs, and all its bytes.
#[derive(Debug)]
pub(crate) struct Disk {
    pub pieces: Pieces,
    pub source: Blobs,
    pub bytes: Vec<u8>,
}

/// The contents of a generated range of a disk.
#[derive(Debug, Clone, Copy)]
enum Filling {
    Zero,
    Noise(u64),
    Prose(u64),
}

impl Filling {
    fn bytes(self, len: usize) -> Vec<u8> {
        match self {
            Filling::Zero => vec![0; len],
            Filling::Noise(seed) => noise(seed, len),
            Filling::Prose(seed) => prose(seed, len),
        }
    }
}

/// Disks of up to about 2 MiB: holes, pieces of any alignment and length, blobs in several parts with pieces of bytes
/// between the parts, zeros, text and noise; the size is a multiple of 512.
pub(crate) fn any_disk() -> impl Strategy<Value = Disk> {
    let len = || prop_oneof![1..600usize, 60_000..70_000usize, 1..300_000usize, Just(65_536usize), Just(131_072usize)];
    let gap = || prop_oneof![Just(0usize), 0..5_000usize, 0..200_000usize];
    let filling = || prop_oneof![Just(Filling::Zero), any::<u64>().prop_map(Filling::Noise), any::<u64>().prop_map(Filling::Prose)];
    // One range: a hole, then bytes (no cuts) or a blob that is cut at these percentages, with bytes between the parts.
    let stretch = (gap(), len(), filling(), prop::option::of(prop::collection::vec((1..99usize, gap(), 0..3_000usize), 0..4)));
    (prop::collection::vec(stretch, 0..9), gap()).prop_map(|(stretches, tail)| {
        let (mut pieces, mut source, mut bytes) = (Vec::new(), Blobs::default(), Vec::new());
        let mut put = |bytes: &mut Vec<u8>, hole: usize, plain: &[u8], data: Data| {
            bytes.resize(bytes.len() + hole, 0);
            pieces.push(Piece { at: bytes.len() as u64, data });
            bytes.extend_from_slice(plain);
        };
        for (hole, len, filling, cuts) in stretches {
            let plain = filling.bytes(len);
            let Some(cuts) = cuts else {
                put(&mut bytes, hole, &plain, Data::Bytes(plain.clone()));
                continue;
            };
            let digest = source.add(plain.clone());
            bytes.resize(bytes.len() + hole, 0);
            let mut offset = 0;
            for (per_cent, hole, between) in cuts.into_iter().chain([(100, 0, 0)]) {
                let end = if per_cent == 100 { len } else { offset + (len - offset) * per_cent / 100 };
                if end == offset {
                    continue;
                }
                let part = &plain[offset..end];
                let data = Data::Blob { digest, size: len as u64, offset: offset as u64, len: part.len() as u64 };
                put(&mut bytes, 0, part, data);
                bytes.resize(bytes.len() + hole, 0);
                if between > 0 {
                    let metadata = prose(between as u64, between);
                    put(&mut bytes, 0, &metadata, Data::Bytes(metadata.clone()));
                }
                offset = end;
            }
        }
        let size = (bytes.len() + tail).next_multiple_of(512).max(512);
        bytes.resize(size, 0);
        Disk { pieces: Pieces::new(size as u64, pieces), source, bytes }
    })
}
