//! Volume descriptors (ECMA-119 8) and path tables (9.4).

use super::record::{self, Extent, Flavour};
use super::{SECTOR, both16, both32, ucs2};
use crate::common::value::{Epoch, civil};

/// Offsets in a volume descriptor in bytes, zero-based, with the clause of ECMA-119 that defines each. The standard's byte
/// positions (BP) count from one.
mod field {
    /// 8.4.1
    pub(super) const TYPE: usize = 0;
    /// 8.4.2, followed by the version (8.4.3)
    pub(super) const STANDARD_IDENTIFIER: usize = 1;
    /// 8.4.5
    pub(super) const SYSTEM_IDENTIFIER: usize = 8;
    /// 8.4.6
    pub(super) const VOLUME_IDENTIFIER: usize = 40;
    /// 8.4.8
    pub(super) const VOLUME_SPACE_SIZE: usize = 80;
    /// 8.5.6
    pub(super) const ESCAPE_SEQUENCES: usize = 88;
    /// 8.4.10
    pub(super) const VOLUME_SET_SIZE: usize = 120;
    /// 8.4.11
    pub(super) const VOLUME_SEQUENCE_NUMBER: usize = 124;
    /// 8.4.12
    pub(super) const LOGICAL_BLOCK_SIZE: usize = 128;
    /// 8.4.13
    pub(super) const PATH_TABLE_SIZE: usize = 132;
    /// 8.4.14
    pub(super) const TYPE_L_PATH_TABLE: usize = 140;
    /// 8.4.16
    pub(super) const TYPE_M_PATH_TABLE: usize = 148;
    /// 8.4.18
    pub(super) const ROOT_RECORD: usize = 156;
    /// Volume set, publisher, data preparer, application: 8.4.19 to 8.4.22
    pub(super) const IDENTIFIERS: [usize; 4] = [190, 318, 446, 574];
    /// Names of the files with copyright, abstract and bibliography: 8.4.23 to 8.4.25
    pub(super) const FILE_IDENTIFIERS: [usize; 3] = [702, 739, 776];
    /// 8.4.26
    pub(super) const CREATION: usize = 813;
    /// 8.4.27
    pub(super) const MODIFICATION: usize = 830;
    /// 8.4.28
    pub(super) const EXPIRATION: usize = 847;
    /// 8.4.29
    pub(super) const EFFECTIVE: usize = 864;
    /// 8.4.30
    pub(super) const FILE_STRUCTURE_VERSION: usize = 881;
}

/// The end of the descriptors (ECMA-119 8.3).
pub(super) const TERMINATOR: [u8; 7] = *b"\xffCD001\x01";

/// A date that is not specified: sixteen zero digits, and an offset of zero (ECMA-119 8.4.26.1).
const NO_DATE: [u8; 17] = *b"0000000000000000\0";

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
    /// One sector.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; SECTOR];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(field::TYPE, &[if self.flavour == Flavour::Primary { 1 } else { 2 }]);
        put(field::STANDARD_IDENTIFIER, b"CD001\x01");
        put(field::SYSTEM_IDENTIFIER, &self.field("", 32));
        put(field::VOLUME_IDENTIFIER, &self.field(self.label, 32));
        put(field::VOLUME_SPACE_SIZE, &both32(self.sectors));
        if self.flavour == Flavour::Joliet {
            // Joliet's escape sequence for UCS-2 level 3.
            put(field::ESCAPE_SEQUENCES, b"%/E");
        }
        put(field::VOLUME_SET_SIZE, &both16(1));
        put(field::VOLUME_SEQUENCE_NUMBER, &both16(1));
        put(field::LOGICAL_BLOCK_SIZE, &both16(SECTOR as u16));
        put(field::PATH_TABLE_SIZE, &both32(PATH_TABLE as u32));
        put(field::TYPE_L_PATH_TABLE, &self.path_tables[0].to_le_bytes());
        put(field::TYPE_M_PATH_TABLE, &self.path_tables[1].to_be_bytes());
        put(field::ROOT_RECORD, &record::root(self.folder, self.epoch));
        for at in field::IDENTIFIERS {
            put(at, &self.field("", 128));
        }
        // The files do not exist.
        for at in field::FILE_IDENTIFIERS {
            put(at, &self.field("", 37));
        }
        put(field::CREATION, &long_date(self.epoch));
        put(field::MODIFICATION, &long_date(self.epoch));
        // Never expires, and takes effect at once.
        put(field::EXPIRATION, &NO_DATE);
        put(field::EFFECTIVE, &NO_DATE);
        put(field::FILE_STRUCTURE_VERSION, &[1]);
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
