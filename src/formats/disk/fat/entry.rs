//! Entries of the root folder (fatgen103, "FAT Directory Structure", "FAT Long Directory Entries").

use super::geometry::ENTRY;
use super::name::{Name, PIECE};
use crate::common::value::{Epoch, civil};

/// Offsets in an entry in bytes, by the specification's names.
mod field {
    pub(super) const NAME: usize = 0;
    pub(super) const ATTR: usize = 11;
    pub(super) const CRT_TIME: usize = 14;
    pub(super) const LST_ACC_DATE: usize = 18;
    pub(super) const WRT_TIME: usize = 22;
    pub(super) const FST_CLUS_LO: usize = 26;
    pub(super) const FILE_SIZE: usize = 28;
}

/// Offsets in a part of a long name, in bytes.
mod long_field {
    use std::ops::Range;

    pub(super) const ORD: usize = 0;
    pub(super) const ATTR: usize = 11;
    pub(super) const CHKSUM: usize = 13;
    /// `LDIR_Name1` to `LDIR_Name3`.
    pub(super) const NAMES: [Range<usize>; 3] = [1..11, 14..26, 28..32];
}

/// `DIR_Attr`: a volume's label.
const LABEL: u8 = 0x08;
/// `DIR_Attr`: a plain file, not yet backed up.
const ARCHIVE: u8 = 0x20;
/// `DIR_Attr`: part of a long name. Read-only, hidden, system and label at once, so that old drivers skip it.
const LONG: u8 = 0x0f;
/// The flag in the number of a long name's part that marks the end of the name.
const LAST: u8 = 0x40;

/// A date and a time of day in an entry's encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    date: u16,
    time: u16,
}

impl Stamp {
    /// Encodes `epoch` in UTC, rounded down to two seconds and not before 1980.
    pub(super) fn of(epoch: Epoch) -> Self {
        let t = civil(epoch);
        match t.year.checked_sub(1980) {
            None => Stamp { date: 1 << 5 | 1, time: 0 },
            Some(years) => {
                Stamp { date: (years << 9 | t.month << 5 | t.day) as u16, time: (t.hour << 11 | t.minute << 5 | (t.second / 2)) as u16 }
            }
        }
    }
}

/// The entry that holds the volume's label.
pub(super) fn label(label: [u8; 11], stamp: Stamp) -> [u8; ENTRY] {
    let mut bytes = short(label, LABEL, 0, 0, stamp);
    // A label has a time of last write only.
    bytes[field::CRT_TIME..field::LST_ACC_DATE + 2].fill(0);
    bytes
}

/// The entries of a file: the parts of its long name, last part first, then the short name.
pub(super) fn file(name: &Name, cluster: u16, size: u32, stamp: Stamp) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.entries() * ENTRY);
    if let Some(long) = &name.long {
        let check = checksum(&name.short);
        let pieces: Vec<&[u8]> = long.as_bytes().chunks(PIECE).collect();
        for (index, piece) in pieces.iter().enumerate().rev() {
            let last = if index + 1 == pieces.len() { LAST } else { 0 };
            // At most 20 parts: 255 characters.
            bytes.extend(part(piece, (index + 1) as u8 | last, check));
        }
    }
    bytes.extend(short(name.short, ARCHIVE, cluster, size, stamp));
    bytes
}

fn short(name: [u8; 11], attributes: u8, cluster: u16, size: u32, stamp: Stamp) -> [u8; ENTRY] {
    let ([t0, t1], [d0, d1]) = (stamp.time.to_le_bytes(), stamp.date.to_le_bytes());
    let mut bytes = [0; ENTRY];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(field::NAME, &name);
    put(field::ATTR, &[attributes]);
    // Each time is followed by its date.
    put(field::CRT_TIME, &[t0, t1, d0, d1]);
    put(field::LST_ACC_DATE, &[d0, d1]);
    put(field::WRT_TIME, &[t0, t1, d0, d1]);
    put(field::FST_CLUS_LO, &cluster.to_le_bytes());
    put(field::FILE_SIZE, &size.to_le_bytes());
    bytes
}

/// Up to 13 characters of a long name, two bytes each, in the three fields that old drivers ignore.
fn part(piece: &[u8], number: u8, check: u8) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    (bytes[long_field::ORD], bytes[long_field::ATTR], bytes[long_field::CHKSUM]) = (number, LONG, check);
    let places = long_field::NAMES.into_iter().flat_map(|range| range.step_by(2));
    // A zero ends the name if there is room; all-ones fill the rest.
    let characters = piece.iter().map(|&byte| u16::from(byte)).chain([0]).chain(std::iter::repeat(u16::MAX));
    for (at, character) in places.zip(characters) {
        bytes[at..at + 2].copy_from_slice(&character.to_le_bytes());
    }
    bytes
}

/// The checksum of the short name: a long name is void after an old driver has changed the short one.
fn checksum(short: &[u8; 11]) -> u8 {
    short.iter().fold(0u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        let stamp = |year: u16, month: u16, day: u16, hour: u16, minute: u16, pairs: u16| Stamp {
            date: (year - 1980) << 9 | month << 5 | day,
            time: hour << 11 | minute << 5 | pairs,
        };
        for (seconds, expected) in [
            (1, stamp(1980, 1, 1, 0, 0, 0)),
            (315_532_799, stamp(1980, 1, 1, 0, 0, 0)),
            (315_532_801, stamp(1980, 1, 1, 0, 0, 0)),
            (315_532_802, stamp(1980, 1, 1, 0, 0, 1)),
            (1_709_251_199, stamp(2024, 2, 29, 23, 59, 29)),
            (2_147_483_647, stamp(2038, 1, 19, 3, 14, 3)),
        ] {
            assert_eq!(Stamp::of(Epoch::from_seconds(seconds).unwrap()), expected, "{seconds}");
        }
    }

    #[test]
    fn the_parts_of_a_long_name() {
        let stamp = Stamp { date: 0, time: 0 };
        for (long, parts, ends) in [("a", 1, 2), ("twelve_lower", 1, 13), ("thirteen_char", 1, 14), ("fourteen_chars", 2, 2)] {
            let name = Name { long: Some(long.to_owned()), short: *b"SHORT~1    " };
            let bytes = file(&name, 0, 0, stamp);
            assert_eq!(bytes.len(), (parts + 1) * ENTRY, "{long}");
            let last = &bytes[..ENTRY];
            assert_eq!((last[0], last[11], last[12], last[26]), (LAST | parts as u8, LONG, 0, 0), "{long}");
            let characters: Vec<u8> = (1..11).chain(14..26).chain(28..32).map(|at: usize| last[at]).collect();
            // The character after the name is zero, if it is in this part; the rest is all-ones.
            for (at, pair) in characters.chunks(2).enumerate().skip(ends - 1) {
                assert_eq!(*pair, if at == ends - 1 { [0, 0] } else { [0xff, 0xff] }, "{long} at {at}");
            }
        }
    }
}
