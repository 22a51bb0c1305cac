//! Compressed streams: bombs, decoders that need much memory, nested, trailing and truncated data.

use std::io::{Read, Write};

use super::row::{Expect, MEMORY, Row, WHAT, bad_tar, good_tar, refused, tarball};
use super::seeds::build::{END, file, header};
use super::seeds::{gzip, xz, zstd};

/// The memory of a decoder with a 64 MiB dictionary (`xz -9`), in MiB.
const XZ_MEMORY: u64 = 100;
/// The memory of a decoder with a 128 MiB window (`zstd --long`), in MiB.
const ZSTD_MEMORY: u64 = 160;

fn raw(name: &'static str, make: impl FnOnce() -> Vec<u8> + 'static, memory: u64, words: &[&str]) -> Row {
    Row { name, make: Box::new(make), read: Box::new(tarball), expect: refused(&[&[WHAT], words].concat()), memory }
}

/// A tar of one file of `len` zeros.
fn zeros(len: u64) -> impl Read {
    std::io::Cursor::new(header(b"zeros", b'0', len).to_vec()).chain(std::io::repeat(0).take(len)).chain(&[0; 1024][..])
}

fn gzip_bomb() -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::copy(&mut zeros(600 << 20), &mut packer).unwrap();
    packer.finish().unwrap()
}

fn xz_bomb() -> Vec<u8> {
    let mut packer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).unwrap();
    std::io::copy(&mut zeros(300 << 20), &mut packer).unwrap();
    packer.finish().unwrap()
}

fn zstd_bomb() -> Vec<u8> {
    let mut packer = zstd::Encoder::new(Vec::new(), 1).unwrap();
    std::io::copy(&mut zeros(600 << 20), &mut packer).unwrap();
    packer.finish().unwrap()
}

/// A zstd frame that asks for a window of 2 to the `log`, and then holds one empty block (RFC 8878, 3.1.1).
fn zstd_window(log: u8) -> Vec<u8> {
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3][..], &[0x01, 0, 0]].concat()
}

/// An xz stream whose block asks for a dictionary by this size byte; its sum is put right.
fn xz_dictionary(size: u8) -> Vec<u8> {
    let mut bytes = xz(&whole());
    let block = 12..12 + (usize::from(bytes[12]) + 1) * 4;
    // Flags, then filter 0x21 with one byte of properties.
    let filter = block.clone().skip(2).find(|&at| bytes[at..at + 2] == [0x21, 0x01]).unwrap();
    bytes[filter + 2] = size;
    let sum = crc32fast::hash(&bytes[block.start..block.end - 4]);
    bytes[block.end - 4..block.end].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// An xz block with two LZMA2 filters, each with a dictionary within the limit.
fn xz_two_filters() -> Vec<u8> {
    let mut bytes = xz(&whole());
    let block = [&[0x02, 0x01, 0x21, 0x01, 28, 0x21, 0x01, 28][..]].concat();
    let sum = crc32fast::hash(&block);
    let old = (usize::from(bytes[12]) + 1) * 4;
    bytes.splice(12..12 + old, [&block[..], &sum.to_le_bytes()].concat());
    bytes
}

fn whole() -> Vec<u8> {
    [&file(b"a", b"hello")[..], &END].concat()
}

/// A file's bytes do not compress, so that damage to the stream is damage to them.
fn noise() -> Vec<u8> {
    let bytes: Vec<u8> = (0..20_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect();
    [&file(b"noise", &bytes)[..], &END].concat()
}

fn flipped(mut bytes: Vec<u8>, from_end: usize) -> Vec<u8> {
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    bytes
}

/// gzip with an extra field, a name and a comment, all without end.
fn gzip_name() -> Vec<u8> {
    [&[0x1f, 0x8b, 8, 0x08, 0, 0, 0, 0, 0, 3][..], &vec![b'n'; 40 << 20]].concat()
}

pub fn rows() -> Vec<Row> {
    let nodes = &["/a 644 file 5"][..];
    let packed = |name, make: fn() -> Vec<u8>| Row { make: Box::new(make), ..good_tar(name, vec![], nodes) };
    let mut rows = vec![
        raw("a gzip bomb", gzip_bomb, MEMORY, &["is a decompression bomb", "as a gzip stream"]),
        raw("an xz bomb", xz_bomb, MEMORY, &["is a decompression bomb", "as a xz stream"]),
        raw("a zstd bomb", zstd_bomb, MEMORY, &["is a decompression bomb", "as a zstd stream"]),
        raw("a bomb in many members", || gzip(&vec![0; 32 << 20]).repeat(20), MEMORY, &["is a decompression bomb"]),
        raw("an xz dictionary of 4 GiB", || xz_dictionary(40), MEMORY, &["corrupt as a xz stream", "mem"]),
        raw("an xz dictionary of 96 MiB", || xz_dictionary(29), MEMORY, &["corrupt as a xz stream", "mem"]),
        raw("two xz dictionaries", xz_two_filters, MEMORY, &["corrupt as a xz stream", "LZMA2 must be the last"]),
        raw("a zstd window of 2 GiB", || zstd_window(31), MEMORY, &["corrupt as a zstd stream", "memory"]),
        raw("a zstd window of 256 MiB", || zstd_window(28), MEMORY, &["corrupt as a zstd stream", "memory"]),
        raw("a zstd window of 128 MiB", || zstd_window(27), ZSTD_MEMORY, &["ends without its end marker"]),
        raw("gzip in gzip", || gzip(&gzip(&whole())), MEMORY, &["last block has"]),
        raw("a tar in a tar's place", || gzip(&gzip(&[whole(), noise()].concat())[..512].repeat(2)), MEMORY, &["is not a tar archive"]),
        raw("gzip with a wrong sum", || flipped(gzip(&noise()), 8), MEMORY, &["corrupt as a gzip stream"]),
        raw("gzip with a wrong length", || flipped(gzip(&noise()), 1), MEMORY, &["corrupt as a gzip stream"]),
        raw("xz with a wrong footer", || flipped(xz(&noise()), 5), MEMORY, &["corrupt as a xz stream"]),
        raw("xz with a wrong byte", || flipped(xz(&noise()), 5000), MEMORY, &["corrupt as a xz stream"]),
        raw("zstd with a wrong sum", || flipped(zstd(&noise()), 1), MEMORY, &["corrupt as a zstd stream"]),
        raw("gzip with a name without end", gzip_name, MEMORY, &["corrupt as a gzip stream"]),
        raw("garbage behind gzip", || [gzip(&whole()), b"garbage".to_vec()].concat(), MEMORY, &["corrupt as a gzip stream"]),
        raw("garbage behind xz", || [xz(&whole()), b"garbage!".to_vec()].concat(), MEMORY, &["corrupt as a xz stream"]),
        raw("garbage behind zstd", || [zstd(&whole()), b"garbage".to_vec()].concat(), MEMORY, &["corrupt as a zstd stream"]),
        raw("a second archive in a second member", || [gzip(&whole()), gzip(&whole())].concat(), MEMORY, &["after its end marker"]),
        raw("xz behind gzip", || [gzip(&whole()), xz(&[0; 512])].concat(), MEMORY, &["corrupt as a gzip stream"]),
        raw("bzip2", || [b"BZh91AY&SY".to_vec(), vec![7; 600]].concat(), MEMORY, &["is not a tar archive"]),
        packed("an archive over many members", || whole().chunks(100).flat_map(gzip).collect()),
        packed("ten thousand empty members", || [gzip(b"").repeat(10_000), gzip(&whole())].concat()),
        packed("frames to skip", || [b"\x50\x2a\x4d\x18\x04\0\0\0skip".repeat(1000), zstd(&whole())].concat()),
        packed("padding behind xz", || [xz(&whole()), vec![0; 64]].concat()),
    ];
    // Damage leaves nothing: a file whose end is not what the stream's sum says is in no tree.
    for (name, pack) in [("gzip cut", gzip as fn(&[u8]) -> Vec<u8>), ("xz cut", xz), ("zstd cut", zstd)] {
        rows.push(raw(name, move || pack(&noise())[..30_000].to_vec(), MEMORY, &["is cut off or corrupt"]));
    }
    let largest = Row { memory: XZ_MEMORY, ..packed("an xz dictionary of 64 MiB", || xz_dictionary(28)) };
    rows.push(Row { expect: Expect::Accepted(vec!["/a 644 file 5"]), ..largest });
    rows.push(Row { make: Box::new(|| gzip(&noise())), ..bad_tar_to_good() });
    rows
}

/// The table's own control: what the damaged streams were before.
fn bad_tar_to_good() -> Row {
    Row { expect: Expect::Accepted(vec!["/noise 644 file 80000"]), ..bad_tar("the sound one", vec![], &[]) }
}

#[test]
fn bombs_are_small() {
    for (bomb, most) in [(gzip_bomb(), 5 << 20), (xz_bomb(), 1 << 20), (zstd_bomb(), 1 << 20)] {
        assert!(bomb.len() < most, "{}", bomb.len());
    }
    let mut sink = Vec::new();
    sink.write_all(&xz_two_filters()).unwrap();
    assert!(lzma_rust2::XzReader::new(&sink[..], true).read_to_end(&mut Vec::new()).is_err());
}
