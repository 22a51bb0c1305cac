use std::io::{self, Read};

use proptest::prelude::*;

use super::*;
use crate::Class;
use crate::common::testing::Blobs;
use crate::common::value::Sha256;
use crate::formats::disk::testing;

/// The whole disk: all clusters of a pass, with zeros between.
fn flatten(pieces: &Pieces, source: &dyn ContentSource) -> Vec<u8> {
    let mut disk = vec![0; pieces.len() as usize];
    let mut clusters = Clusters::new(pieces, source);
    // A dirty buffer: bytes that a pass does not overwrite would show.
    let mut buffer: Box<Cluster> = vec![0xee; CLUSTER].into_boxed_slice().try_into().unwrap();
    let mut last = None;
    while let Some(index) = clusters.next(&mut buffer).unwrap() {
        assert!(last < Some(index), "ascending");
        assert!(!is_zero(&buffer));
        last = Some(index);
        let start = index as usize * CLUSTER;
        let len = CLUSTER.min(disk.len() - start);
        disk[start..start + len].copy_from_slice(&buffer[..len]);
        assert!(buffer[len..].iter().all(|&byte| byte == 0), "behind the disk's end");
    }
    assert_eq!(clusters.done(), data_len(pieces));
    disk
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_clusters_of_any_disk_are_its_bytes(disk in testing::any_disk()) {
        prop_assert!(flatten(&disk.pieces, &disk.source) == disk.bytes);
    }
}

#[test]
fn zeros_are_left_out_wherever_they_come_from() {
    let mut source = Blobs::default();
    let size = 3 * CLUSTER as u64;
    let digest = source.add(vec![0; size as usize]);
    let pieces = vec![
        Piece { at: 0, data: Data::Bytes(vec![0; 2 * CLUSTER]) },
        Piece { at: 2 * CLUSTER as u64, data: Data::Blob { digest, size, offset: 0, len: size } },
        Piece { at: 9 * CLUSTER as u64 - 1, data: Data::Bytes(vec![0, 7]) },
    ];
    let pieces = Pieces::new(20 * CLUSTER as u64, pieces);
    let mut clusters = Clusters::new(&pieces, &source);
    let mut buffer = zeroed();
    assert_eq!(clusters.next(&mut buffer).unwrap(), Some(9));
    assert_eq!(buffer[0], 7);
    assert_eq!(clusters.next(&mut buffer).unwrap(), None);
    assert_eq!(clusters.next(&mut buffer).unwrap(), None, "the end stays the end");
}

/// A source that returns wrong data.
enum Liar {
    Short,
    Long,
    Fails,
    Missing,
}

impl ContentSource for Liar {
    fn open(&self, _: &Sha256, size: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(match self {
            Liar::Short => Box::new(io::repeat(1).take(size - 1)),
            Liar::Long => Box::new(io::repeat(1).take(size + 1)),
            Liar::Fails => Box::new(io::repeat(1).take(size / 2).chain(Broken)),
            Liar::Missing => return Err(crate::Error::user("blob is not in the store").into()),
        })
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(crate::Error::integrity("hash mismatch").into())
    }
}

#[test]
fn a_wrong_source_is_an_error() {
    let size = 200_000;
    let digest = Sha256::of(b"x");
    let piece = |at, offset, len| Piece { at, data: Data::Blob { digest, size, offset, len } };
    let pieces = Pieces::new(1 << 20, vec![piece(5, 0, 70_000), piece(90_000, 70_000, 130_000)]);
    let cases = [
        (Liar::Short, Class::Integrity, format!("blob {digest} is too short\n  expected 200000 bytes, found 199999")),
        (Liar::Long, Class::Integrity, format!("blob {digest} is too long\n  expected 200000 bytes, found more")),
        (Liar::Fails, Class::Integrity, "hash mismatch".into()),
        (Liar::Missing, Class::User, "blob is not in the store".into()),
    ];
    for (source, class, message) in cases {
        let mut buffer = zeroed();
        let mut clusters = Clusters::new(&pieces, &source);
        let error = loop {
            match clusters.next(&mut buffer) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("no error where one was due: {message}"),
                Err(error) => break error,
            }
        };
        assert_eq!((error.class(), error.to_string()), (class, message.clone()));

        // Both writers pass the error on.
        let cancel = crate::common::value::Cancel::new();
        let written = crate::formats::disk::qcow2::write(&pieces, &source, 1 << 20, 2, &mut io::Cursor::new(Vec::new()), &cancel, &|_| {});
        assert_eq!(written.unwrap_err().to_string(), message);
        let written = crate::formats::disk::raw::write(&pieces, &source, &mut io::Cursor::new(Vec::new()), &cancel);
        assert_eq!(written.unwrap_err().to_string(), message);
    }
}
