//! The boot sector with the BIOS parameter block (fatgen103, "Boot Sector and BPB").

use std::ops::Range;

use super::SECTOR;
use super::geometry::{Geometry, HEADS, MEDIA, RESERVED, ROOT_ENTRIES, TABLES, TRACK};

/// The bytes of `BS_VolID`.
pub(super) const SERIAL: Range<usize> = 39..43;

/// Offsets of the other fields in bytes, by the specification's names.
mod field {
    pub(super) const JMP_BOOT: usize = 0;
    pub(super) const OEM_NAME: usize = 3;
    pub(super) const BYTS_PER_SEC: usize = 11;
    pub(super) const SEC_PER_CLUS: usize = 13;
    pub(super) const RSVD_SEC_CNT: usize = 14;
    pub(super) const NUM_FATS: usize = 16;
    pub(super) const ROOT_ENT_CNT: usize = 17;
    pub(super) const TOT_SEC_16: usize = 19;
    pub(super) const MEDIA: usize = 21;
    pub(super) const FAT_SZ_16: usize = 22;
    pub(super) const SEC_PER_TRK: usize = 24;
    pub(super) const NUM_HEADS: usize = 26;
    pub(super) const TOT_SEC_32: usize = 32;
    pub(super) const DRV_NUM: usize = 36;
    pub(super) const BOOT_SIG: usize = 38;
    pub(super) const VOL_LAB: usize = 43;
    pub(super) const FIL_SYS_TYPE: usize = 54;
    /// The boot code, up to the signature.
    pub(super) const CODE: usize = 62;
    pub(super) const SIGNATURE: usize = 510;
}

/// `BS_DrvNum`: the BIOS's number of a hard disk.
const HARD_DISK: u8 = 0x80;
/// `BS_BootSig`: serial number, label and type are present.
const EXTENDED: u8 = 0x29;

/// A jump to byte 62, and a padding byte (`BS_jmpBoot`).
const JUMP: [u8; 3] = [0xeb, 0x3c, 0x90];
/// The boot code, in case firmware boots the volume: `int 18h` (try the next boot device), then halt forever.
const CODE: [u8; 5] = [0xcd, 0x18, 0xf4, 0xeb, 0xfd];

/// The boot sector, with a serial number of zero.
pub(super) fn sector(geometry: &Geometry, label: [u8; 11]) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let half = |value: usize| (value as u16).to_le_bytes();
    put(field::JMP_BOOT, &JUMP);
    // The name that the specification recommends: some drivers check for it.
    put(field::OEM_NAME, b"MSWIN4.1");
    put(field::BYTS_PER_SEC, &half(SECTOR));
    put(field::SEC_PER_CLUS, &[geometry.sectors_per_cluster as u8]);
    put(field::RSVD_SEC_CNT, &half(RESERVED));
    put(field::NUM_FATS, &[TABLES as u8]);
    put(field::ROOT_ENT_CNT, &half(ROOT_ENTRIES));
    // The number of sectors is in one of two fields; the other is zero.
    match u16::try_from(geometry.sectors) {
        Ok(sectors) => put(field::TOT_SEC_16, &sectors.to_le_bytes()),
        Err(_) => put(field::TOT_SEC_32, &(geometry.sectors as u32).to_le_bytes()),
    }
    put(field::MEDIA, &[MEDIA]);
    put(field::FAT_SZ_16, &half(geometry.table_sectors));
    put(field::SEC_PER_TRK, &half(TRACK));
    put(field::NUM_HEADS, &half(HEADS));
    put(field::DRV_NUM, &[HARD_DISK]);
    put(field::BOOT_SIG, &[EXTENDED]);
    put(field::VOL_LAB, &label);
    put(field::FIL_SYS_TYPE, geometry.width.name());
    put(field::CODE, &CODE);
    put(field::SIGNATURE, &[0x55, 0xaa]);
    bytes
}
