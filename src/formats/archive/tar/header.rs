//! A 512-byte header block: its fields and the encoding of numbers ([POSIX
//! ustar](https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_06), [GNU's
//! variants](https://www.gnu.org/software/tar/manual/html_node/Standard.html)).
//!
//! Only the layout comes from the `tar` crate. Its parsers of numbers and extended headers accept more than the formats
//! allow (`+7`; values are cut at a line feed), so we have our own.

use std::ops::Range;

use tar::Header;

use crate::common::value::escape;

/// The block size of a tar, in bytes.
pub(super) const BLOCK: usize = 512;
/// The largest size that a header's octal field can store, in bytes; a larger one needs base 256 or pax.
pub(super) const OCTAL_MAX: u64 = 0o777_7777_7777;

/// The bytes of the field `chksum`.
const CHECKSUM: Range<usize> = 148..156;
/// The bytes of the fields `magic` and `version`.
const MAGIC: Range<usize> = 257..265;
/// The start of xstar's mark, at the end of its shorter prefix.
const XSTAR_MARK: usize = 508;
/// The length of a number in an old GNU sparse map, in bytes.
const SPARSE_NUMBER: usize = 12;

/// A header block with a valid checksum.
pub(super) struct Block {
    header: Header,
    flavour: Flavour,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flavour {
    V7,
    Ustar,
    Gnu,
}

/// The sparse map in an old GNU header.
pub(super) struct GnuSparse {
    /// The first pairs of offset and length, in bytes.
    pub pairs: Vec<(u64, u64)>,
    /// A block of more pairs follows.
    pub more: bool,
    /// The file's length in bytes.
    pub size: u64,
}

/// The reason why a block is not a usable header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoHeader {
    /// The checksum does not match: not a header at all.
    Checksum,
    /// A header of a kind that is not supported.
    Other(String),
}

impl Block {
    /// Parses a header block.
    pub(super) fn parse(bytes: &[u8; BLOCK]) -> Result<Self, NoHeader> {
        let header = Header::from_byte_slice(bytes).clone();
        let stated = number(&header.as_old().cksum).map_err(|_| NoHeader::Checksum)?;
        // The checksum counts its own field as eight spaces.
        let counted = |(at, &byte): (usize, &u8)| u64::from(if CHECKSUM.contains(&at) { b' ' } else { byte });
        let sum: u64 = bytes.iter().enumerate().map(counted).sum();
        if stated != i128::from(sum) {
            return Err(NoHeader::Checksum);
        }
        let flavour = match &bytes[MAGIC] {
            b"ustar\x0000" if bytes[XSTAR_MARK..] == *b"tar\0" => {
                return Err(NoHeader::Other("is in the xstar format, which kbake does not read".into()));
            }
            b"ustar\x0000" => Flavour::Ustar,
            b"ustar  \0" => Flavour::Gnu,
            [0, 0, 0, 0, 0, 0, 0, 0] => Flavour::V7,
            other => return Err(NoHeader::Other(format!("has the unknown format `{}`", escape(other)))),
        };
        Ok(Block { header, flavour })
    }

    /// The entry's type: `0` for a file, and so on.
    pub(super) fn typeflag(&self) -> u8 {
        self.header.as_old().linkflag[0]
    }

    /// The name, after ustar's prefix.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = until_nul(&self.header.as_old().name);
        match self.header.as_ustar() {
            Some(ustar) if self.flavour == Flavour::Ustar && ustar.prefix[0] != 0 => [until_nul(&ustar.prefix), name].join(b"/".as_slice()),
            _ => name.to_vec(),
        }
    }

    /// The target of a link.
    pub(super) fn link(&self) -> Vec<u8> {
        until_nul(&self.header.as_old().linkname).to_vec()
    }

    /// The number of bytes that follow in the archive.
    pub(super) fn size(&self) -> Result<u64, String> {
        unsigned("size", &self.header.as_old().size, u64::MAX)
    }

    /// Permission bits; some writers put a file type above them, which is dropped.
    pub(super) fn mode(&self) -> Result<u16, String> {
        unsigned("mode", &self.header.as_old().mode, 0o177_777).map(|mode| (mode & 0o7777) as u16)
    }

    /// Numeric owner.
    pub(super) fn uid(&self) -> Result<u32, String> {
        id("owner", &self.header.as_old().uid)
    }

    /// Numeric group.
    pub(super) fn gid(&self) -> Result<u32, String> {
        id("group", &self.header.as_old().gid)
    }

    /// The modification time in seconds since 1970.
    pub(super) fn mtime(&self) -> Result<i64, String> {
        let value = number(&self.header.as_old().mtime).map_err(|reason| format!("time {reason}"))?;
        i64::try_from(value).map_err(|_| format!("time {value} is out of range"))
    }

    /// Major and minor number, within Linux's range (12 and 20 bits).
    pub(super) fn device(&self) -> Result<(u32, u32), String> {
        let (major, minor) = match (self.header.as_ustar(), self.header.as_gnu()) {
            (Some(ustar), _) => (ustar.dev_major, ustar.dev_minor),
            (_, Some(gnu)) => (gnu.dev_major, gnu.dev_minor),
            _ => return Err("is a device in a format that has none".into()),
        };
        let part = |what, field: [u8; 8], most| unsigned(what, &field, most).map(|value| value as u32);
        Ok((part("device's major number", major, 0xfff)?, part("device's minor number", minor, 0xf_ffff)?))
    }

    /// The map of an old GNU sparse file.
    pub(super) fn gnu_sparse(&self) -> Result<GnuSparse, String> {
        let gnu = self.header.as_gnu().ok_or("is a GNU sparse file in another format")?;
        let raw: Vec<u8> = gnu.sparse.iter().flat_map(|pair| [pair.offset, pair.numbytes].concat()).collect();
        let size = unsigned("true size", &gnu.realsize, u64::MAX)?;
        Ok(GnuSparse { pairs: sparse_pairs(&raw)?, more: gnu.isextended[0] != 0, size })
    }
}

/// The pairs of an old GNU sparse map; an empty one ends them.
pub(super) fn sparse_pairs(raw: &[u8]) -> Result<Vec<(u64, u64)>, String> {
    let pairs = raw.chunks_exact(2 * SPARSE_NUMBER).map(|pair| pair.split_at(SPARSE_NUMBER));
    let used = pairs.take_while(|(_, length)| length[0] != 0);
    used.map(|(offset, length)| Ok((unsigned("sparse map", offset, u64::MAX)?, unsigned("sparse map", length, u64::MAX)?))).collect()
}

fn until_nul(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|&b| b == 0).unwrap_or(field.len())]
}

fn id(what: &str, field: &[u8]) -> Result<u32, String> {
    // The largest value means "no change" to chown(2).
    unsigned(what, field, u64::from(u32::MAX) - 1).map(|value| value as u32)
}

fn unsigned(what: &str, field: &[u8], most: u64) -> Result<u64, String> {
    let value = number(field).map_err(|reason| format!("{what} {reason}"))?;
    u64::try_from(value).ok().filter(|&value| value <= most).ok_or_else(|| format!("{what} {value} is out of range"))
}

/// Parses a number field: spaces, octal digits, then spaces and NULs; or, with its first bit set, base 256 in two's
/// complement. An empty field is 0.
fn number(field: &[u8]) -> Result<i128, String> {
    let bad = || format!("`{}` is not a number", escape(field));
    match field[0] {
        0x80 => return field[1..].iter().try_fold(0_i128, |sum, &byte| sum.checked_mul(256)?.checked_add(byte.into())).ok_or_else(bad),
        0xff => {
            return field[1..].iter().try_fold(-1_i128, |sum, &byte| sum.checked_mul(256)?.checked_add(byte.into())).ok_or_else(bad);
        }
        0x81..=0xfe => return Err(bad()),
        _ => {}
    }
    let start = field.iter().position(|&b| b != b' ').unwrap_or(field.len());
    let rest = &field[start..];
    let digits = rest.iter().position(|b| !(b'0'..=b'7').contains(b)).unwrap_or(rest.len());
    if !rest[digits..].iter().all(|&b| b == 0 || b == b' ') {
        return Err(bad());
    }
    Ok(rest[..digits].iter().fold(0, |sum, digit| sum * 8 + i128::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_of_all_forms() {
        let cases: &[(&[u8], Option<i128>)] = &[
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"77777777", Some(0o7777_7777)),
            (b"\x80\0\0\0\0\0\x01\x02", Some(258)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"+0000644", None),
            (b"-0000644", None),
            (b"0000648\0", None),
            (b"064\x00064\0", None),
            (b"\x81\0\0\0\0\0\0\0", None),
            (b"0x1ff\0\0\0", None),
        ];
        for (field, expected) in cases {
            assert_eq!(number(field).ok(), *expected, "{field:?}");
        }
    }
}
