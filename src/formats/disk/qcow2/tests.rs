use std::fs::File;
use std::io::Cursor;
use std::path::Path;

use proptest::prelude::*;

use super::codec::Codec;
use super::*;
use crate::common::testing::Blobs;
use crate::common::value::Sha256;
use crate::formats::disk::cluster::{CLUSTER, Cluster};
use crate::formats::disk::testing;
use crate::formats::disk::{Data, Piece, raw};
use crate::{Class, Error};

const C: u64 = CLUSTER as u64;

fn image(pieces: &Pieces, source: &dyn ContentSource, virtual_size: u64, jobs: usize) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let summary = write(pieces, source, virtual_size, jobs, &mut out, &Cancel::new(), &|_| {}).unwrap();
    assert_eq!(summary.file_size, out.get_ref().len() as u64);
    out.into_inner()
}

/// QEMU finds no error and no leaked cluster.
pub(super) fn check(path: &Path) {
    let report: serde_json::Value = serde_json::from_str(&testing::run("qemu-img", &[&"check", &"--output=json", &path])).unwrap();
    for trouble in ["corruptions", "leaks", "check-errors"] {
        assert!(report[trouble].as_u64().unwrap_or(0) == 0, "{report}");
    }
}

/// The disk as QEMU reads it from the image.
fn read_by_qemu(path: &Path) -> Vec<u8> {
    let raw = path.with_extension("from-qemu");
    testing::run("qemu-img", &[&"convert", &"-f", &"qcow2", &"-O", &"raw", &path, &raw]);
    std::fs::read(raw).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn qemu_reads_what_was_written(disk in testing::any_disk(), beyond in prop_oneof![Just(0u64), 1..2_000u64]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.qcow2");
        let virtual_size = disk.pieces.len() + beyond * 512;
        let bytes = image(&disk.pieces, &disk.source, virtual_size, 1);
        for jobs in [2, 16] {
            prop_assert!(image(&disk.pieces, &disk.source, virtual_size, jobs) == bytes, "{} jobs give other bytes", jobs);
        }
        std::fs::write(&path, bytes).unwrap();
        check(&path);
        let mut expected = disk.bytes;
        expected.resize(virtual_size as usize, 0);
        prop_assert!(read_by_qemu(&path) == expected);
    }
}

/// A few MiB of all kinds of contents, with runs of plain clusters.
fn mixed() -> (Pieces, Blobs) {
    let mut source = Blobs::default();
    let mut pieces = Vec::new();
    let mut at = 0;
    for seed in 0..40 {
        let len = 50_000 + 7_919 * (seed as usize % 23);
        let bytes = if seed % 3 == 0 { testing::noise(seed, len) } else { testing::prose(seed, len) };
        let size = len as u64;
        pieces.push(Piece { at, data: Data::Blob { digest: source.add(bytes), size, offset: 0, len: size } });
        at += size + seed % 5 * 40_000;
    }
    (Pieces::new(20 << 30, pieces), source)
}

#[test]
fn qemu_finds_the_same_disk_in_qcow2_and_raw() {
    let (pieces, source) = mixed();
    let dir = tempfile::tempdir().unwrap();
    let (qcow2_path, raw_path) = (dir.path().join("disk.qcow2"), dir.path().join("disk.raw"));
    let mut out = File::create(&qcow2_path).unwrap();
    let summary = write(&pieces, &source, pieces.len(), 3, &mut out, &Cancel::new(), &|_| {}).unwrap();
    raw::write(&pieces, &source, &mut File::create(&raw_path).unwrap(), &Cancel::new()).unwrap();
    assert_eq!(std::fs::metadata(&raw_path).unwrap().len(), 20 << 30, "as long as the disk, but sparse");

    assert!(summary.plain > 10 && summary.compressed > 10, "{summary:?}");
    assert!(summary.file_size < 6 << 20, "20 GiB of disk with 5 MiB of data: {summary:?}");
    assert_eq!(std::fs::metadata(&qcow2_path).unwrap().len(), summary.file_size);
    check(&qcow2_path);
    testing::run("qemu-img", &[&"compare", &"-f", &"qcow2", &"-F", &"raw", &qcow2_path, &raw_path]);

    let info: serde_json::Value = serde_json::from_str(&testing::run("qemu-img", &[&"info", &"--output=json", &qcow2_path])).unwrap();
    assert_eq!(info["virtual-size"], 20u64 << 30);
    assert_eq!(info["cluster-size"], CLUSTER);
    let data = &info["format-specific"]["data"];
    assert_eq!((&data["compat"], &data["compression-type"]), (&"1.1".into(), &"zstd".into()));
    assert_eq!((&data["refcount-bits"], &data["corrupt"]), (&16.into(), &false.into()));
}

#[test]
fn gaps_before_plain_clusters_are_used() {
    // Plain and compressed clusters alternate: without the gaps each pair would take three host clusters.
    let mut source = Blobs::default();
    let mut pieces = Vec::new();
    for at in 0..64 {
        let bytes = if at % 2 == 0 { testing::noise(at, CLUSTER) } else { testing::prose(at, CLUSTER) };
        pieces.push(Piece { at: at * C, data: Data::Blob { digest: source.add(bytes), size: C, offset: 0, len: C } });
    }
    let pieces = Pieces::new(64 * C, pieces);
    let bytes = image(&pieces, &source, 64 * C, 2);
    let clusters = bytes.len() / CLUSTER;
    assert!(clusters < 32 + 32 + 5, "{clusters} host clusters for 32 plain and 32 small ones");
}

#[test]
fn a_virtual_size_that_ends_in_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    let pieces = Pieces::new(3 * C + 512, vec![Piece { at: 3 * C, data: Data::Bytes(vec![7; 512]) }]);
    std::fs::write(&path, image(&pieces, &Blobs::default(), 3 * C + 512, 1)).unwrap();
    check(&path);
    let disk = read_by_qemu(&path);
    assert_eq!(disk.len() as u64, 3 * C + 512);
    assert_eq!(disk[3 * CLUSTER..], [7; 512]);
}

#[test]
fn a_disk_of_2_tib_with_data_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    let size = 2 << 40;
    let pieces = vec![
        Piece { at: 0, data: Data::Bytes(vec![1; 10]) },
        Piece { at: 1 << 40, data: Data::Bytes(testing::noise(1, 200_000)) },
        Piece { at: size - 10, data: Data::Bytes(vec![2; 10]) },
    ];
    let pieces = Pieces::new(size, pieces);
    let bytes = image(&pieces, &Blobs::default(), size, 2);
    assert!(bytes.len() < 1 << 20, "{} bytes", bytes.len());
    std::fs::write(&path, bytes).unwrap();
    check(&path);
    let raw_path = dir.path().join("disk.raw");
    raw::write(&pieces, &Blobs::default(), &mut File::create(&raw_path).unwrap(), &Cancel::new()).unwrap();
    testing::run("qemu-img", &[&"compare", &"-f", &"qcow2", &"-F", &"raw", &path, &raw_path]);
}

#[test]
fn empty_and_full_up_to_the_edges() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    // An empty disk; exactly the reach of one L2 table; one sector more, with data on both sides.
    let edge = 8192 * C;
    let around = vec![Piece { at: edge - 512, data: Data::Bytes(vec![5; 1024]) }];
    for (size, pieces) in [(512, vec![]), (edge, vec![]), (edge + 512, around)] {
        std::fs::write(&path, image(&Pieces::new(size, pieces), &Blobs::default(), size, 2)).unwrap();
        check(&path);
        assert_eq!(read_by_qemu(&path).len() as u64, size);
    }
}

#[test]
fn sizes_that_qemu_would_not_take_are_refused() {
    let pieces = Pieces::new(4096, vec![Piece { at: 0, data: Data::Bytes(vec![1]) }]);
    for (size, message) in [
        (0, "a disk of 0 bytes cannot hold anything"),
        (2048, "a disk of 2048 bytes is too small for its contents of 4096 bytes"),
        (5000, "a disk of 5000 bytes is not a multiple of 512"),
        ((2 << 50) + 512, "a disk of 2251799813685760 bytes is larger than the 2251799813685248 that QEMU opens"),
    ] {
        let written = write(&pieces, &Blobs::default(), size, 1, &mut Cursor::new(Vec::new()), &Cancel::new(), &|_| {});
        assert_eq!(written.unwrap_err().message(), message);
    }
}

#[test]
fn an_old_qemu_names_the_missing_feature() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    let mut bytes = image(&Pieces::new(512, vec![]), &Blobs::default(), 512, 1);
    assert_eq!(bytes[112..140], *b"\x68\x03\xf8\x57\0\0\0\x30\0\x03compression type\0\0");
    // No QEMU before 5.1 is installed: a feature that the installed one lacks, under the same name, shows the same
    // message.
    bytes[78] |= 1 << 1; // incompatible feature 9
    bytes[121] = 9;
    std::fs::write(&path, bytes).unwrap();
    let refusal = testing::output("qemu-img", &[&"info", &path]);
    let refusal = String::from_utf8_lossy(&refusal.stderr);
    assert!(refusal.contains("Unsupported qcow2 feature(s): compression type"), "{refusal}");
}

#[test]
fn a_reused_codec_keeps_no_state() {
    let mut used = Codec::new().unwrap();
    for seed in 0..100 {
        let bytes = if seed % 4 == 0 { testing::noise(seed % 8, CLUSTER) } else { testing::prose(seed % 7, CLUSTER) };
        let cluster: &Cluster = bytes[..].try_into().unwrap();
        assert_eq!(used.compress(cluster).unwrap(), Codec::new().unwrap().compress(cluster).unwrap(), "seed {seed}");
    }
}

#[test]
fn the_bytes_are_pinned() {
    let (pieces, source) = mixed();
    // All images change with this digest. If that is intentional, raise the image format's number and update the
    // digest.
    assert_eq!(
        Sha256::of(image(&pieces, &source, 20 << 30, 2)).to_string(),
        "0edf8bb55f66ee2bb9f82bb06c741bde1ff073236ede6a628569cecd4bf07b1a"
    );
}

#[test]
fn progress_ends_at_the_whole() {
    let (mixed, source) = mixed();
    let zeros = Pieces::new(C, vec![Piece { at: 0, data: Data::Bytes(vec![0; 1000]) }]);
    for pieces in [mixed, zeros] {
        let seen = std::cell::RefCell::new(Vec::new());
        let note = |done| seen.borrow_mut().push(done);
        write(&pieces, &source, pieces.len(), 2, &mut Cursor::new(Vec::new()), &Cancel::new(), &note).unwrap();
        let seen = seen.into_inner();
        assert!(seen.is_sorted());
        assert_eq!(seen.last(), Some(&data_len(&pieces)));
    }
}

#[test]
fn cancellation_stops_at_once() {
    let (pieces, source) = mixed();
    let cancel = Cancel::new();
    let count = std::cell::Cell::new(0);
    let stop = |_| {
        count.set(count.get() + 1);
        cancel.flag().store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let error = write(&pieces, &source, 20 << 30, 2, &mut Cursor::new(Vec::new()), &cancel, &stop).unwrap_err();
    assert_eq!((error.class(), count.get()), (Class::Interrupted, 1));
}

/// A file on a disk that fills up.
struct Full(u64);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len() as u64).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Full {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        match to {
            SeekFrom::Start(at) => Ok(at),
            _ => Err(std::io::ErrorKind::Unsupported.into()),
        }
    }
}

#[test]
fn a_full_disk_is_an_error_wherever_it_hits() {
    let (pieces, source) = mixed();
    for room in [0, 100, 2_000_000, 3_000_000] {
        let written = write(&pieces, &source, 20 << 30, 2, &mut Full(room), &Cancel::new(), &|_| {});
        assert_eq!(written.as_ref().map_err(Error::class), Err(Class::NoSpace), "with room for {room} bytes");
    }
}
