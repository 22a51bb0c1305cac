//! Volume descriptors (ECMA-119 8) and path tables (9.4).

use super::record::{self, Extent, Flavour};
use super::{SECTOR, both16, both32, ucs2};
use crate::common::value::{Epoch, civil};

/// The end of the descriptors (ECMA-119 8.3).
pub(super) const TERMINATOR: [u8; 7] = *b"\xffCD001\x01";

/// The size of the path table of a volume with only a root (ECMA-119 9.4), in bytes.
const PATH_TABLE: usize = 10;

/// A primary or supplementary volume descriptor (ECMA-119 8.4, 8.5).
pub(super) struct Volume<'a> {
    pub flavour: Flavour,
    pub label: &'a str,
    /// The volume's size in sectors.
    pub sectors: u32,
    /// Sectors of the path tables: little-endian, big-endian.
    pub path_tables: [u32; 2],
    /// The root folder.
    pub folder: Extent,
    pub epoch: Epoch,
}

impl Volume<'_> {
    /// One sector. Offsets are zero-based; the standard's byte positions (BP) count from one.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; SECTOR];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &[if self.flavour == Flavour::Primary { 1 } else { 2 }]);
        put(1, b"CD001\x01");
        put(8, &self.field("", 32));
        put(40, &self.field(self.label, 32));
        put(80, &both32(self.sectors));
        if self.flavour == Flavour::Joliet {
            // Joliet's escape sequence for UCS-2 level 3.
            put(88, b"%/E");
        }
        put(120, &both16(1));
        put(124, &both16(1));
        put(128, &both16(SECTOR as u16));
        put(132, &both32(PATH_TABLE as u32));
        put(140, &self.path_tables[0].to_le_bytes());
        put(148, &self.path_tables[1].to_be_bytes());
        put(156, &record::root(self.folder, self.epoch));
        // Volume set, publisher, preparer and application; then the names of three files that do not exist.
        for at in [190, 318, 446, 574] {
            put(at, &self.field("", 128));
        }
        for at in [702, 739, 776] {
            put(at, &self.field("", 37));
        }
        put(813, &long_date(self.epoch));
        put(830, &long_date(self.epoch));
        // Never expires, and takes effect at once: sixteen zero digits.
        put(847, b"0000000000000000\0");
        put(864, b"0000000000000000\0");
        put(881, &[1]);
        bytes
    }

    /// A text field of `size` bytes, padded with spaces of the volume's character size.
    fn field(&self, text: &str, size: usize) -> Vec<u8> {
        match self.flavour {
            Flavour::Primary => {
                let mut bytes = text.as_bytes().to_vec();
                bytes.resize(size, b' ');
                bytes
            }
            Flavour::Joliet => {
                let mut bytes = ucs2(&format!("{text:<width$}", width = size / 2));
                bytes.resize(size, 0);
                bytes
            }
        }
    }
}

/// The path table of a volume that has only a root, which is its own parent (ECMA-119 9.4).
pub(super) fn path_table(root: Extent, long: fn(u32) -> [u8; 4], short: fn(u16) -> [u8; 2]) -> [u8; PATH_TABLE] {
    let ([a, b, c, d], [e, f]) = (long(root.sector), short(1));
    [1, 0, a, b, c, d, e, f, 0, 0]
}

/// ECMA-119 8.4.26.1: sixteen digits, the last two of them hundredths of a second, and an offset from UTC of zero.
fn long_date(epoch: Epoch) -> [u8; 17] {
    let t = civil(epoch);
    let digits = format!("{:04}{:02}{:02}{:02}{:02}{:02}00", t.year, t.month, t.day, t.hour, t.minute, t.second);
    let mut bytes = [0; 17];
    bytes[..16].copy_from_slice(digits.as_bytes());
    bytes
}
