//! Headers of the tar entries that kbake writes: ustar, with pax records for values that ustar cannot store
//! ([pax](https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_01)). Owner 0:0, no names.

/// The block size of a tar in bytes.
pub(crate) const BLOCK: usize = 512;
/// Offsets in a ustar header in bytes ([ustar](https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_06)).
mod field {
    use std::ops::Range;

    pub(super) const NAME: usize = 0;
    pub(super) const MODE: usize = 100;
    /// Owner, then group.
    pub(super) const UID: usize = 108;
    /// Followed by the modification time.
    pub(super) const SIZE: Range<usize> = 124..136;
    pub(super) const CHECKSUM: Range<usize> = 148..156;
    pub(super) const TYPE: usize = 156;
    /// Followed by the version.
    pub(super) const MAGIC: usize = 257;
    /// Major, then minor number of a device.
    pub(super) const DEVICE: usize = 329;
}

/// The length of a name in a ustar header. Its prefix field is not used: longer names go to pax records.
const NAME: usize = 100;
/// The first size that eleven octal digits cannot store: 8 GiB.
const SIZE_END: u64 = 1 << 33;
/// The end marker of a tar.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file of this size in bytes.
    File(u64),
    /// A folder, whose name ends with a slash.
    Folder,
}

/// The blocks before the contents of `name`. Pad a file's contents by [`padding`].
pub(crate) fn header(name: &str, kind: Kind, mode: u16, mtime: u32) -> Vec<u8> {
    let size = match kind {
        Kind::File(size) => size,
        Kind::Folder => 0,
    };
    let mut records = Vec::new();
    if name.len() > NAME || !name.is_ascii() {
        records.extend(record("path", name));
    }
    if size >= SIZE_END {
        records.extend(record("size", &size.to_string()));
    }
    let mut blocks = Vec::new();
    if !records.is_empty() {
        blocks.extend(block("pax", b'x', records.len() as u64, 0o644, mtime));
        records.resize(records.len().next_multiple_of(BLOCK), 0);
        blocks.extend(records);
    }
    let flag = if kind == Kind::Folder { b'5' } else { b'0' };
    // The pax records take precedence; the header does not repeat a value that does not fit.
    blocks.extend(block(name, flag, if size >= SIZE_END { 0 } else { size }, mode, mtime));
    blocks
}

/// The number of zero bytes after contents of this size.
pub(crate) fn padding(size: u64) -> usize {
    ((BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64) as usize
}

/// The size in the ustar field of a header from this module; `None` for another encoding.
pub(crate) fn size(block: &[u8]) -> Option<u64> {
    let (digits, end) = block.get(field::SIZE)?.split_at(11);
    let octal = digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) && end == [0];
    octal.then(|| digits.iter().fold(0, |size, digit| size << 3 | u64::from(digit - b'0')))
}

/// The record `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n").into_bytes()
}

fn block(name: &str, flag: u8, size: u64, mode: u16, mtime: u32) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(field::NAME, &name.as_bytes()[..name.len().min(NAME)]);
    put(field::MODE, format!("{mode:07o}\0").as_bytes());
    put(field::UID, b"0000000\x000000000\0");
    put(field::SIZE.start, format!("{size:011o}\0{mtime:011o}\0").as_bytes());
    // The checksum counts its own field as spaces.
    put(field::CHECKSUM.start, &[b' '; field::CHECKSUM.end - field::CHECKSUM.start]);
    put(field::TYPE, &[flag]);
    put(field::MAGIC, b"ustar\x0000");
    put(field::DEVICE, b"0000000\x000000000\0");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[field::CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        assert_eq!(record("path", "a"), b"9 path=a\n");
        for len in 1..2000 {
            let record = record("path", &"a".repeat(len));
            let said: usize = std::str::from_utf8(&record).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert_eq!(said, record.len());
        }
    }

    /// An independent reader of the same formats.
    #[test]
    fn headers_are_read_by_the_tar_crate() {
        let long = format!("{}/{}", "a".repeat(90), "b".repeat(200));
        for (name, size) in [("oci-layout", 30), (&long, 0), ("ü/é", 1), ("big", 9 << 30), (&"c".repeat(100), (8 << 30) - 1)] {
            let bytes = header(name, Kind::File(size), 0o755, 1_700_000_000);
            assert_eq!(bytes.len() % BLOCK, 0);
            let mut archive = ::tar::Archive::new(bytes.as_slice());
            let entry = archive.entries().unwrap().next().unwrap().unwrap();
            assert_eq!((&*entry.path_bytes(), entry.size()), (name.as_bytes(), size));
            let header = entry.header();
            assert_eq!((header.mode().unwrap(), header.mtime().unwrap(), header.uid().unwrap()), (0o755, 1_700_000_000, 0));
            assert!(header.entry_type().is_file());
        }
    }

    #[test]
    fn contents_are_padded() {
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
    }
}
