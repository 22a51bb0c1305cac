//! The boot sector with the BIOS parameter block (fatgen103, "Boot Sector and BPB").

use std::ops::Range;

use super::SECTOR;
use super::geometry::{Geometry, HEADS, MEDIA, RESERVED, ROOT_ENTRIES, TABLES, TRACK};

/// The bytes of `BS_VolID`.
pub(super) const SERIAL: Range<usize> = 39..43;

/// A jump to byte 62, and a padding byte (`BS_jmpBoot`).
const JUMP: [u8; 3] = [0xeb, 0x3c, 0x90];
/// The boot code, in case firmware boots the volume: `int 18h` (try the next boot device), then halt forever.
const CODE: [u8; 5] = [0xcd, 0x18, 0xf4, 0xeb, 0xfd];

/// The boot sector, with a serial number of zero.
pub(super) fn sector(geometry: &Geometry, label: [u8; 11]) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let half = |value: usize| (value as u16).to_le_bytes();
    put(0, &JUMP);
    // The name that the specification recommends: some drivers check for it.
    put(3, b"MSWIN4.1");
    put(11, &half(SECTOR));
    put(13, &[geometry.sectors_per_cluster as u8]);
    put(14, &half(RESERVED));
    put(16, &[TABLES as u8]);
    put(17, &half(ROOT_ENTRIES));
    // The number of sectors is in one of two fields; the other is zero.
    match u16::try_from(geometry.sectors) {
        Ok(sectors) => put(19, &sectors.to_le_bytes()),
        Err(_) => put(32, &(geometry.sectors as u32).to_le_bytes()),
    }
    put(21, &[MEDIA]);
    put(22, &half(geometry.table_sectors));
    put(24, &half(TRACK));
    put(26, &half(HEADS));
    // The BIOS's number of a hard disk, and the signature of the next three fields.
    put(36, &[0x80, 0, 0x29]);
    put(43, &label);
    put(54, geometry.width.name());
    put(62, &CODE);
    put(510, &[0x55, 0xaa]);
    bytes
}
