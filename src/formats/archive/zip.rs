//! Zip archives ([APPNOTE](https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT)) of plain files, stored or deflated, read from
//! memory by their central directory.
//!
//! A reader that trusts local headers could see other files: they only give the place of the bytes. Zip64, encryption and other
//! methods are refused.

use std::io::Read;

use super::{Limits, shown};
use crate::common::error::{Error, Result};

const END: &[u8] = b"PK\x05\x06";
const END_LEN: usize = 22;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_LEN: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_LEN: usize = 30;
/// The value of fields whose true value is in a zip64 record.
const ELSEWHERE: u32 = u32::MAX;
/// Flag: the contents are encrypted.
const ENCRYPTED: u16 = 1;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// True for the first bytes of a zip archive.
pub(crate) fn is_zip(start: &[u8]) -> bool {
    start.starts_with(LOCAL) || start.starts_with(END)
}

/// A file in the central directory.
struct Entry<'a> {
    name: &'a [u8],
    flags: u16,
    method: u16,
    crc: u32,
    packed: usize,
    size: u64,
    /// The place of the local header.
    at: usize,
}

/// Passes each file to `take`, with its name, in the order of the directory. `what` names the archive in messages.
///
/// # Errors
/// [`Class::Integrity`](crate::Class::Integrity): the archive is corrupt, hostile or beyond the limits; errors of `take`.
pub(crate) fn read(bytes: &[u8], what: &str, limits: &Limits, take: &mut dyn FnMut(&str, Vec<u8>) -> Result<()>) -> Result<()> {
    let mut archive = Archive { bytes, what, packed: 0, left: limits.total_bytes };
    for entry in archive.entries(limits)? {
        let name = archive.name(&entry)?;
        if !name.ends_with('/') {
            let contents = archive.contents(&entry, name, limits)?;
            take(name, contents)?;
        }
    }
    Ok(())
}

struct Archive<'a> {
    bytes: &'a [u8],
    what: &'a str,
    /// Compressed bytes of all files so far. More than the archive has: its files overlap.
    packed: usize,
    /// Bytes that the files may still have.
    left: u64,
}

impl<'a> Archive<'a> {
    fn bad(&self, why: &str) -> Error {
        Error::integrity(format!("{}: is not a zip archive that can be read", self.what)).detail(why)
    }

    /// The central directory.
    fn entries(&self, limits: &Limits) -> Result<Vec<Entry<'a>>> {
        let end = self.end()?;
        let (count, mut at) = (le16(end, 10), le32(end, 16));
        if count == u16::MAX || at == ELSEWHERE {
            return Err(self.bad("it is a zip64 archive: unpack it, and give its files as a tar archive"));
        }
        if u64::from(count) > limits.entries {
            return Err(self.bad(&format!("it has more than the {} files that are allowed", limits.entries)));
        }
        let mut entries = Vec::new();
        for _ in 0..count {
            let header = self.slice(at as usize, ENTRY_LEN).filter(|header| header.starts_with(ENTRY));
            let header = header.ok_or_else(|| self.bad("its directory is cut off or corrupt"))?;
            let [name, extra, comment] = [28, 30, 32].map(|field| u32::from(le16(header, field)));
            entries.push(Entry {
                name: self.slice(at as usize + ENTRY_LEN, name as usize).ok_or_else(|| self.bad("its directory is cut off"))?,
                flags: le16(header, 8),
                method: le16(header, 10),
                crc: le32(header, 16),
                packed: le32(header, 20) as usize,
                size: le32(header, 24).into(),
                at: le32(header, 42) as usize,
            });
            at = at.saturating_add(ENTRY_LEN as u32 + name + extra + comment);
        }
        Ok(entries)
    }

    /// The end record: the last one whose comment reaches the end of the archive.
    fn end(&self) -> Result<&'a [u8]> {
        let from = self.bytes.len().saturating_sub(END_LEN + usize::from(u16::MAX));
        let is_end = |at: &usize| {
            let record = &self.bytes[*at..];
            record.starts_with(END) && usize::from(le16(record, 20)) == record.len() - END_LEN
        };
        let last = self.bytes.len().checked_sub(END_LEN).and_then(|last| (from..=last).rev().find(is_end));
        last.map(|at| &self.bytes[at..]).ok_or_else(|| self.bad("its end record is missing: it may be cut off"))
    }

    /// A plain relative name.
    fn name(&self, entry: &Entry<'a>) -> Result<&'a str> {
        let name = std::str::from_utf8(entry.name).ok().filter(|name| {
            let inner = name.strip_suffix('/').unwrap_or(name);
            !name.contains(['\\', '\0', ':']) && inner.split('/').all(|part| !["", ".", ".."].contains(&part))
        });
        name.ok_or_else(|| self.bad(&format!("`{}` is not a relative path", shown(entry.name))))
    }

    fn contents(&mut self, entry: &Entry<'a>, name: &str, limits: &Limits) -> Result<Vec<u8>> {
        let bad = |why: &str| self.bad(&format!("{}: {why}", shown(name.as_bytes())));
        if entry.flags & ENCRYPTED != 0 {
            return Err(bad("it is encrypted"));
        }
        if entry.size > limits.file_bytes.min(self.left) {
            return Err(bad(&format!("it has {} bytes, which is more than allowed; it may be a decompression bomb", entry.size)));
        }
        let packed = self.packed_bytes(entry).ok_or_else(|| bad("its bytes are not in the archive"))?;
        let total = self.packed.saturating_add(packed.len());
        if total > self.bytes.len() {
            return Err(bad("it overlaps other files, as in a decompression bomb"));
        }
        let mut contents = Vec::new();
        // One byte more than the directory says tells a longer stream from an exact one.
        let read = match entry.method {
            STORED => packed.take(entry.size + 1).read_to_end(&mut contents),
            DEFLATED => flate2::bufread::DeflateDecoder::new(packed).take(entry.size + 1).read_to_end(&mut contents),
            other => return Err(bad(&format!("it is compressed by the method {other}, which is not read"))),
        };
        read.map_err(|e| bad(&format!("it is corrupt: {e}")))?;
        if contents.len() as u64 != entry.size || crc32fast::hash(&contents) != entry.crc {
            return Err(bad("its bytes are not those that the directory describes"));
        }
        self.packed = total;
        self.left -= entry.size;
        Ok(contents)
    }

    /// The compressed bytes of a file, behind its local header.
    fn packed_bytes(&self, entry: &Entry<'a>) -> Option<&'a [u8]> {
        let header = self.slice(entry.at, LOCAL_LEN).filter(|header| header.starts_with(LOCAL))?;
        let before = LOCAL_LEN + usize::from(le16(header, 26)) + usize::from(le16(header, 28));
        self.slice(entry.at.checked_add(before)?, entry.packed)
    }

    fn slice(&self, at: usize, len: usize) -> Option<&'a [u8]> {
        self.bytes.get(at..at.checked_add(len)?)
    }
}

fn le16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |field| u16::from_le_bytes([field[0], field[1]]))
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from(le16(bytes, at)) | u32::from(le16(bytes, at + 2)) << 16
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::common::error::Class;

    /// A zip archive of these files, deflated.
    pub(crate) fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for (name, contents) in files {
            let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(contents).unwrap();
            let packed = packer.finish().unwrap();
            let at = bytes.len() as u32;
            // From the version to the lengths of name and extra field: the same in both headers.
            let mut common = [20u16, 0, DEFLATED, 0, 0].map(u16::to_le_bytes).concat();
            common.extend([crc32fast::hash(contents), packed.len() as u32, contents.len() as u32].map(u32::to_le_bytes).concat());
            common.extend([name.len() as u16, 0].map(u16::to_le_bytes).concat());
            bytes.extend([LOCAL, &common, name.as_bytes(), &packed].concat());
            let rest = [&[0; 10][..], &at.to_le_bytes(), name.as_bytes()].concat();
            directory.extend([ENTRY, &20u16.to_le_bytes(), &common, &rest].concat());
        }
        let (at, count) = (bytes.len() as u32, files.len() as u16);
        bytes.extend(&directory);
        bytes.extend([END, &[0; 4], &[count, count].map(u16::to_le_bytes).concat()].concat());
        bytes.extend([&(directory.len() as u32).to_le_bytes()[..], &at.to_le_bytes(), &[0; 2]].concat());
        bytes
    }

    fn files(bytes: &[u8], limits: &Limits) -> Result<Vec<(String, Vec<u8>)>> {
        let mut found = Vec::new();
        read(bytes, "a.zip", limits, &mut |name, contents| {
            found.push((name.to_owned(), contents));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn files_are_read_in_the_order_of_the_directory() {
        let long = b"x".repeat(70_000);
        let bytes = zipped(&[("b.json", b"{}"), ("folder/", b""), ("folder/a.json", &long), ("empty", b"")]);
        assert!(is_zip(&bytes) && is_zip(&zipped(&[])));
        let found = files(&bytes, &Limits::default()).unwrap();
        assert_eq!(found, [("b.json", &b"{}"[..]), ("folder/a.json", &long), ("empty", b"")].map(|(n, c)| (n.to_owned(), c.to_vec())));
        assert_eq!(files(&zipped(&[]), &Limits::default()).unwrap(), []);
    }

    #[test]
    fn python_reads_the_same_archive() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), zipped(&[("a", b"one"), ("b/c", b"two")])).unwrap();
        let code = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print([(n, z.read(n)) for n in z.namelist()])";
        let output = std::process::Command::new("/usr/bin/python3").args(["-c", code]).arg(file.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "[('a', b'one'), ('b/c', b'two')]\n");
    }

    #[test]
    fn hostile_archives_are_refused() {
        let refuses = |bytes: &[u8], limits: &Limits, words: &str| {
            let error = files(bytes, limits).unwrap_err();
            assert_eq!(error.class(), Class::Integrity, "{error}");
            assert!(error.to_string().contains("a.zip") && error.to_string().contains(words), "{words} is not in {error}");
        };
        let all = Limits::default();
        for name in ["/etc/passwd", "../a", "a/../../b", "a//b", "C:a", "a\\b", "./a", ""] {
            refuses(&zipped(&[(name, b"")]), &all, "is not a relative path");
        }
        let zeros = vec![0; 1 << 20];
        let few = |file_bytes, total_bytes, entries| Limits { file_bytes, total_bytes, entries, ..Limits::default() };
        refuses(&zipped(&[("a", &zeros)]), &few(1000, 1 << 30, 9), "bomb");
        refuses(&zipped(&[("a", &zeros), ("b", &zeros)]), &few(1 << 20, (1 << 20) + 9, 9), "bomb");
        refuses(&zipped(&[("a", b""), ("b", b"")]), &few(9, 9, 1), "more than the 1 files");
        let good = zipped(&[("a", b"contents of a file"), ("b", b"other")]);
        // A size that is too small, in the directory's first entry.
        let directory = good.windows(4).position(|bytes| bytes == ENTRY).unwrap();
        let changed = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[directory + at] = value;
            bytes
        };
        refuses(&changed(24, 3), &all, "not those that the directory describes");
        refuses(&changed(16, 3), &all, "not those that the directory describes");
        refuses(&changed(10, 99), &all, "method 99");
        refuses(&changed(8, 1), &all, "encrypted");
        refuses(&changed(43, 200), &all, "not in the archive");
        refuses(&changed(22, 200), &all, "not in the archive");
        for cut in 0..good.len() {
            assert!(files(&good[..cut], &all).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn files_that_share_their_bytes_are_a_bomb() {
        let many: Vec<(&str, &[u8])> = vec![("a", b"contents of some length, not to be compressed: 0123456789 qwertyuiop"); 40];
        let mut bomb = zipped(&many);
        // All entries point to the first file, and the others are cut out.
        let entries: Vec<usize> = (0..bomb.len()).filter(|at| bomb[*at..].starts_with(ENTRY)).collect();
        for at in &entries {
            bomb[at + 42..at + 46].copy_from_slice(&0u32.to_le_bytes());
        }
        let second = bomb.windows(4).enumerate().filter(|(_, four)| *four == LOCAL).nth(1).unwrap().0;
        let cut = entries[0] - second;
        bomb.drain(second..entries[0]);
        let end = bomb.len() - END_LEN;
        let at = le32(&bomb, end + 16) - cut as u32;
        bomb[end + 16..end + 20].copy_from_slice(&at.to_le_bytes());
        let error = files(&bomb, &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("overlaps"), "{error}");
    }
}
