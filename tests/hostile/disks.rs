//! Disk images (qcow2) as they are read back.

use std::io::Write;

use kbake::inspect::Image;

use super::row::{Expect, MEMORY, Place, Row, Seen, refused};
use super::seeds::{plain_qcow2, qcow2_header};

/// Reads the allocated clusters of the image, up to a few.
fn image(bytes: &[u8], place: &Place) -> kbake::Result<Seen> {
    let path = place.file(bytes);
    let mut image = Image::open(&path)?;
    let mut seen = vec![format!("{} bytes", image.size())];
    let mut at = 0;
    let mut buffer = vec![0; 64 << 10];
    while let Some(found) = image.next_allocated(at)? {
        let len = (image.size() - found).min(buffer.len() as u64) as usize;
        image.read_at(found, &mut buffer[..len])?;
        seen.push(format!("{found}: {}", buffer[0]));
        at = found.max(at) + (64 << 10);
        if at >= image.size() || seen.len() > 10 {
            break;
        }
    }
    Ok(seen)
}

fn row(name: &'static str, make: impl FnOnce() -> Vec<u8> + 'static, words: &[&str]) -> Row {
    Row { name, make: Box::new(make), read: Box::new(image), expect: refused(&[&["evil.qcow2"], words].concat()), memory: MEMORY }
}

/// A sound image of two clusters with other bytes at some place.
fn changed(name: &'static str, at: usize, bytes: &'static [u8], words: &[&str]) -> Row {
    row(
        name,
        move || {
            let mut image = sound();
            image[at..at + bytes.len()].copy_from_slice(bytes);
            image
        },
        words,
    )
}

fn sound() -> Vec<u8> {
    plain_qcow2(&[[1; 1 << 16], [2; 1 << 16]].concat())
}

/// One compressed cluster of 64 KiB that is `packed`.
fn compressed(packed: &[u8], zstd: bool) -> Vec<u8> {
    let mut image = qcow2_header(16, 1 << 16, 1, zstd);
    image.resize(3 << 16, 0);
    image[1 << 16..][..8].copy_from_slice(&(1 << 63 | 2_u64 << 16).to_be_bytes());
    let sectors = packed.len() as u64 / 512;
    image[2 << 16..][..8].copy_from_slice(&(1 << 62 | sectors << 54 | 3 << 16).to_be_bytes());
    image.extend_from_slice(packed);
    image
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// Every L1 entry leads to the same table: terabytes of disk out of a few megabytes.
fn shared_tables() -> Vec<u8> {
    let entries: u32 = 4 << 20;
    let mut image = qcow2_header(9, u64::from(entries) * 64 * 512, entries, false);
    image.resize(512, 0);
    let table = 512 + u64::from(entries) * 8;
    image.extend((0..entries).flat_map(|_| (1 << 63 | table).to_be_bytes()));
    image.resize(image.len() + 512, 0);
    image
}

fn two_tables() -> Vec<u8> {
    let mut image = qcow2_header(9, 2 * 64 * 512, 2, false);
    image.resize(3 * 512, 0);
    image[512..528].copy_from_slice(&(1 << 63 | 1024_u64).to_be_bytes().repeat(2));
    image
}

/// Tables of the largest size, all different.
fn many_tables() -> Vec<u8> {
    let entries = 40_u64;
    let mut image = qcow2_header(21, entries << 39, 40, false);
    image.resize((2 + 40) << 21, 0);
    for entry in 0..entries {
        let at = (1 << 21) + entry as usize * 8;
        image[at..at + 8].copy_from_slice(&(1 << 63 | (2 + entry) << 21).to_be_bytes());
    }
    image
}

pub fn rows() -> Vec<Row> {
    let good = |name, make: fn() -> Vec<u8>, seen: &[&'static str]| Row { expect: Expect::Accepted(seen.to_vec()), ..row(name, make, &[]) };
    vec![
        good("a sound image", sound, &["131072 bytes", "0: 1", "65536: 2"]),
        good("a sound compressed cluster", || compressed(&deflate(&[7; 1 << 16]), false), &["65536 bytes", "0: 7"]),
        good("tables of 80 MiB", many_tables, &["21990232555520 bytes"]),
        changed("a backing file", 8, &[0, 0, 0, 0, 0, 0, 1, 0], &["backing file at 256"]),
        changed("encryption", 32, &[0, 0, 0, 1], &["encryption 1"]),
        changed("an external data file", 72, &[0, 0, 0, 0, 0, 0, 0, 4], &["features 0x4"]),
        changed("extended entries", 72, &[0, 0, 0, 0, 0, 0, 0, 16], &["features 0x10"]),
        changed("version 4", 4, &[0, 0, 0, 4], &["not a qcow2 file of version 2 or 3"]),
        changed("clusters of 8 bits", 20, &[0, 0, 0, 8], &["clusters have 8 bits"]),
        changed("clusters of 63 bits", 20, &[0, 0, 0, 63], &["clusters have 63 bits"]),
        changed("clusters of 2^32 bits", 20, &[0xff; 4], &["bits"]),
        changed("a disk of 16 EiB", 24, &[0xff; 8], &["do not fit its disk of 18446744073709551615 bytes"]),
        changed("an L1 table of 32 GiB", 36, &[0xff; 4], &["4294967295 L1 entries do not fit"]),
        changed("an L1 table of 32 MiB that is not there", 36, &[0, 0x40, 0, 0], &["ends within the 33554432 bytes"]),
        changed("an L1 table behind the end", 40, &[0x7f, 0, 0, 0, 0, 0, 0, 0], &["ends within the 8 bytes"]),
        changed("an L2 table behind the end", 1 << 16, &[0x80, 0x7f, 0, 0, 0, 0, 0, 0], &["ends within the 65536 bytes"]),
        changed("a cluster behind the end", 2 << 16, &[0x80, 0x7f, 0, 0, 0, 0, 0, 0], &["ends within the 65536 bytes"]),
        changed("an unknown compression", 104, &[9], &["compression type is 9"]),
        row("tables that are one", shared_tables, &["4194304 of its L1 entries lead to tables"]),
        row("two tables that are one", two_tables, &["lead to the same table"]),
        // QEMU reads it so: bytes that do not fit the cluster are not unpacked.
        good("a cluster that unpacks to more", || compressed(&deflate(&vec![7; 32 << 20]), false), &["65536 bytes", "0: 7"]),
        row("a cluster that unpacks to less", || compressed(&deflate(&[7; 100]), false), &["expected 65536 bytes, found 100"]),
        row("a compressed cluster of noise", || compressed(&[0xff; 512], false), &["compressed cluster at byte 196608"]),
        row(
            "a zstd cluster that unpacks to more",
            || compressed(&zstd::bulk::compress(&vec![7; 32 << 20], 3).unwrap(), true),
            &["compressed cluster"],
        ),
        row(
            "a zstd cluster with a window of 2 GiB",
            || compressed(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0, 0], true),
            &["expected 65536 bytes, found 0"],
        ),
        row("half a header", || sound()[..30].to_vec(), &["L1 entries do not fit"]),
        row("an image cut in its tables", || sound()[..(2 << 16) - 1].to_vec(), &["ends within"]),
        row("no image", || b"KDMV\x01\0\0\0".repeat(100), &["not a qcow2 file"]),
        row("no bytes", Vec::new, &["not a qcow2 file"]),
    ]
}
