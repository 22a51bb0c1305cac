//! Compressed streams: valid, truncated, corrupt, with trailing data, and bombs.

use std::io::{Read, Write};

use proptest::prelude::*;

use super::{Format, open};
use crate::common::error::{Class, Error};

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    // With a checksum, as the command writes it.
    let mut writer = zstd::Encoder::new(Vec::new(), 3).unwrap();
    writer.include_checksum(true).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// Compresses bytes.
pub(crate) type Packer = fn(&[u8]) -> Vec<u8>;

const PACKERS: [(Format, Packer); 3] = [(Format::Gzip, gzip), (Format::Xz, xz), (Format::Zstd, zstd)];

fn unpack(bytes: &[u8], limit: u64) -> Result<(Format, Vec<u8>), Error> {
    let (format, mut decoded) = open(bytes, "pool/x", limit)?;
    let mut all = Vec::new();
    decoded.read_to_end(&mut all).map_err(|e| Error::io("read", &e))?;
    Ok((format, all))
}

/// Bytes that compress slightly.
fn text() -> Vec<u8> {
    (0..40_000_u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 20).to_string().into_bytes()).collect()
}

#[test]
fn streams_round_trip() {
    let text = text();
    for (format, pack) in PACKERS {
        assert_eq!(unpack(&pack(&text), u64::MAX).unwrap(), (format, text.clone()), "{format:?}");
        assert_eq!(unpack(&pack(b""), 0).unwrap(), (format, Vec::new()));
        let two = [pack(b"one"), pack(b"two")].concat();
        assert_eq!(unpack(&two, 6).unwrap().1, b"onetwo", "{format:?}: streams may follow each other");
    }
    assert_eq!(unpack(&text, u64::MAX).unwrap(), (Format::Plain, text.clone()));
    assert_eq!(unpack(b"", 0).unwrap(), (Format::Plain, Vec::new()));
}

#[test]
fn the_limit_is_exact() {
    let text = text();
    let len = text.len() as u64;
    for (format, pack) in PACKERS.into_iter().chain([(Format::Plain, <[u8]>::to_vec as Packer)]) {
        assert!(unpack(&pack(&text), len).is_ok(), "{format:?}");
        let error = unpack(&pack(&text), len - 1).unwrap_err();
        assert!(error.message().contains(&format!("more than the {} bytes", len - 1)), "{error}");
        assert_eq!(error.class(), Class::Integrity);
    }
}

#[test]
fn every_cut_is_noticed() {
    let text = &text()[..3000];
    for (format, pack) in PACKERS {
        let whole = pack(text);
        for len in 6..whole.len() {
            let error = unpack(&whole[..len], u64::MAX).expect_err("a part is not the whole");
            assert_eq!(error.class(), Class::Integrity, "{format:?}, {len}: {error}");
            assert!(error.message().starts_with("pool/x: is cut off or corrupt"), "{format:?}, {len}: {error}");
        }
    }
}

#[test]
fn trailing_data_are_noticed() {
    for (format, pack) in PACKERS {
        for tail in [&b"x"[..], b"garbage behind it", &[1; 600]] {
            let error = unpack(&[&pack(b"text")[..], tail].concat(), u64::MAX).expect_err("garbage behind a stream");
            assert_eq!(error.class(), Class::Integrity, "{format:?}: {error}");
        }
    }
}

#[test]
fn one_wrong_byte_is_noticed() {
    let text = text();
    for (format, pack) in PACKERS {
        let mut bytes = pack(&text);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        assert!(unpack(&bytes, u64::MAX).is_err(), "{format:?}");
    }
}

/// A stream of `len` zeros, without holding them in memory.
pub(crate) fn bomb(format: Format, len: u64) -> Vec<u8> {
    let mut zeros = std::io::repeat(0).take(len);
    match format {
        Format::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            std::io::copy(&mut zeros, &mut writer).unwrap();
            writer.finish().unwrap()
        }
        Format::Xz => {
            let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
            std::io::copy(&mut zeros, &mut writer).unwrap();
            writer.finish().unwrap()
        }
        _ => {
            let mut writer = zstd::Encoder::new(Vec::new(), 19).unwrap();
            std::io::copy(&mut zeros, &mut writer).unwrap();
            writer.finish().unwrap()
        }
    }
}

#[test]
fn bombs_end_early() {
    for format in [Format::Gzip, Format::Xz, Format::Zstd] {
        let part = bomb(format, 64 << 20);
        // Streams may be concatenated: 64 copies make 4 GiB.
        let whole = part.repeat(64);
        assert!(whole.len() < 8 << 20, "{format:?}: {} bytes", whole.len());
        let (_, mut decoded) = open(&*whole, "pool/x", 100 << 20).unwrap();
        let mut seen = 0_u64;
        let mut buffer = vec![0; 64 << 10];
        let error = loop {
            match decoded.read(&mut buffer) {
                Ok(0) => panic!("{format:?}: the bomb came to its end"),
                Ok(n) => seen += n as u64,
                Err(e) => break Error::io("read", &e),
            }
        };
        assert!(seen <= 100 << 20, "{format:?}");
        assert!(error.to_string().contains("bomb"), "{error}");
        assert!(decoded.read(&mut buffer).is_err(), "{format:?}: failed once, failed for ever");
    }
}

#[test]
fn greedy_decoders_are_refused() {
    // A zstd frame whose window descriptor asks for 2 GiB (exponent 21 over the minimum of 1 KiB), RFC 8878 3.1.1.1.2.
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3][..], &[0x01, 0, 0]].concat();
    let error = unpack(&frame, u64::MAX).unwrap_err();
    assert_eq!(error.class(), Class::Integrity, "{error}");
    assert!(error.to_string().contains("memory"), "{error}");
    // An xz dictionary of 1.5 GiB (size byte 37) in the block header, whose checksum is corrected.
    let mut bytes = xz(&text());
    let block = 12..12 + (usize::from(bytes[12]) + 1) * 4;
    // Flags, then filter 0x21 with one property byte: the dictionary's size.
    let filter = block.clone().skip(2).find(|&at| bytes[at..at + 2] == [0x21, 0x01]).unwrap();
    bytes[filter + 2] = 37;
    let sum = crc32fast::hash(&bytes[block.start..block.end - 4]);
    bytes[block.end - 4..block.end].copy_from_slice(&sum.to_le_bytes());
    let error = unpack(&bytes, u64::MAX).unwrap_err();
    assert_eq!(error.class(), Class::Integrity, "{error}");
    assert!(error.to_string().contains("mem"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_never_panics(pick in 0..3_usize, changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..8)) {
        let mut bytes = PACKERS[pick].1(&text()[..5000]);
        let len = bytes.len();
        // The magic stays, so that the decoder is reached.
        for (at, byte) in changes {
            bytes[6 + at % (len - 6)] = byte;
        }
        let _ = unpack(&bytes, 1 << 20);
    }

    #[test]
    fn random_streams_never_panic(pick in 0..3_usize, tail in prop::collection::vec(any::<u8>(), 0..500)) {
        let magic: [&[u8]; 3] = [b"\x1f\x8b\x08", b"\xfd7zXZ\0\0\x04", b"\x28\xb5\x2f\xfd"];
        let _ = unpack(&[magic[pick], &tail].concat(), 1 << 20);
    }
}
