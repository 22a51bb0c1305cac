//! A partitioned disk: protective MBR and GUID partition table,
//! [UEFI 2.10, chapter 5](https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html).
//!
//! Sectors of 512 bytes, 128 entries, both copies of the table. GRUB's MBR code is passed in.

use super::{Data, Piece, Pieces};
use crate::common::error::{Error, Result};
use crate::common::value::Uuid;

/// The partition of GRUB's core image, for disks that boot by BIOS.
pub(crate) const BIOS_BOOT: Uuid = Uuid::from_u128(0x21686148_6449_6E6F_744E_656564454649);
/// The root filesystem of Linux on x86-64 (Discoverable Partitions Specification).
pub(crate) const LINUX_ROOT_X86_64: Uuid = Uuid::from_u128(0x4F68BCE3_E8CD_4DB1_96E7_FBCAF984B709);

/// The alignment of partitions in bytes: the one of all partitioning tools, and a multiple of qcow2 clusters.
pub(crate) const ALIGN: u64 = 1 << 20;
/// The length of the MBR's boot code in bytes, up to the disk signature (§5.2.3). GRUB's `boot.img` is 512 bytes long:
/// the caller cuts it here, because the signature and the partition record after it are ours.
pub(crate) const BOOT_CODE: usize = 440;

const SECTOR: u64 = 512;
/// The number of partition entries (§5.3.2: at least 128 entries of 128 bytes).
const ENTRIES: u64 = 128;
/// The length of a partition entry in bytes.
const ENTRY: u64 = 128;
/// The sectors of the entry array.
const ENTRY_SECTORS: u64 = ENTRIES * ENTRY / SECTOR;
/// The first sector after protective MBR, header and entries.
const FIRST_USABLE_LBA: u64 = 2 + ENTRY_SECTORS;
/// The length of a name in UTF-16 units (§5.3.3).
const NAME_UNITS: usize = 36;

/// Offsets in the MBR (§5.2.1, table 5.1).
mod mbr_field {
    pub(super) const RECORDS: usize = 446;
    pub(super) const SIGNATURE: usize = 510;
}
/// `BootIndicator` of a partition record.
const NOT_ACTIVE: u8 = 0x00;
/// `OSType` of the protective partition record.
const GPT_PROTECTIVE: u8 = 0xee;
const MBR_SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// At most 36 UTF-16 units; shown as PARTLABEL.
    pub name: String,
    /// The partition type.
    pub type_guid: Uuid,
    /// The unique GUID of the partition; shown as PARTUUID.
    pub guid: Uuid,
    /// Offset of the first byte on the disk: a multiple of [`ALIGN`].
    pub start: u64,
    /// Length in bytes: a multiple of 512.
    pub size: u64,
    /// The contents; not longer than `size`.
    pub content: Pieces,
}

/// The end of the space for partitions on a disk of `size` bytes, before the backup table, rounded down to [`ALIGN`].
pub(crate) fn usable_end(size: u64) -> u64 {
    size.saturating_sub((ENTRY_SECTORS + 1) * SECTOR) / ALIGN * ALIGN
}

/// A disk of `size` bytes with these partitions, numbered from 1 in the given order, which need not be their order on disk.
///
/// # Errors
/// Partitions that overlap or do not fit the disk, contents that do not fit their partition, a name that is too long.
pub(crate) fn disk(size: u64, disk_guid: Uuid, boot_code: Option<[u8; BOOT_CODE]>, partitions: Vec<Partition>) -> Result<Pieces> {
    check(size, &partitions)?;
    let entries = entries(&partitions)?;
    let last_lba = size / SECTOR - 1;
    let header = |my_lba, other_lba, entries_lba| Header { my_lba, other_lba, entries_lba, last_lba, disk_guid }.to_bytes(&entries);

    let mut front = protective_mbr(last_lba, boot_code);
    front.extend(header(1, last_lba, 2));
    front.extend(&entries);
    let backup_lba = last_lba - ENTRY_SECTORS;
    let mut back = entries.clone();
    back.extend(header(last_lba, 1, backup_lba));

    let mut pieces = vec![Piece { at: 0, data: Data::Bytes(front) }, Piece { at: backup_lba * SECTOR, data: Data::Bytes(back) }];
    for partition in partitions {
        pieces.extend(partition.content.shifted(partition.start));
    }
    Ok(Pieces::new(size, pieces))
}

fn check(size: u64, partitions: &[Partition]) -> Result<()> {
    let refused = |why: String| Err(Error::user(format!("cannot partition a disk of {size} bytes: {why}")));
    if !size.is_multiple_of(SECTOR) || size < 2 * ALIGN {
        return refused("its size must be a multiple of 512, and at least 2 MiB".into());
    }
    if partitions.len() as u64 > ENTRIES {
        return refused(format!("{} partitions are more than {ENTRIES}", partitions.len()));
    }
    let mut in_place: Vec<&Partition> = partitions.iter().collect();
    in_place.sort_by_key(|partition| partition.start);
    let mut free = ALIGN;
    let end = size - (ENTRY_SECTORS + 1) * SECTOR;
    for Partition { name, start, size, content, .. } in in_place {
        if !start.is_multiple_of(ALIGN) || !size.is_multiple_of(SECTOR) || *size == 0 {
            return refused(format!(
                "`{name}` must start at a multiple of 1 MiB and have whole sectors; found {size} bytes at byte {start}"
            ));
        }
        if *start < free {
            return refused(format!("`{name}` starts at byte {start}, but the disk is in use up to byte {free}"));
        }
        if *size > end.saturating_sub(*start) {
            return refused(format!("`{name}` of {size} bytes at byte {start} overlaps the backup table at byte {end}"));
        }
        if content.len() > *size {
            return refused(format!("the contents of `{name}`, {} bytes, exceed its size of {size} bytes", content.len()));
        }
        free = start + size;
    }
    Ok(())
}

/// The protective MBR, so that tools without GPT do not take the disk for empty: §5.2.3, tables 5.3 and 5.4.
fn protective_mbr(last_lba: u64, boot_code: Option<[u8; BOOT_CODE]>) -> Vec<u8> {
    let mut mbr = boot_code.unwrap_or([0; BOOT_CODE]).to_vec();
    mbr.resize(mbr_field::RECORDS, 0); // disk signature and a reserved field, both unused
    mbr.extend([NOT_ACTIVE, 0x00, 0x02, 0x00, GPT_PROTECTIVE]); // starts at CHS 0/0/2
    mbr.extend(chs(last_lba));
    mbr.extend(1u32.to_le_bytes());
    mbr.extend(u32::try_from(last_lba).unwrap_or(u32::MAX).to_le_bytes());
    mbr.resize(mbr_field::SIGNATURE, 0); // three unused records
    mbr.extend(MBR_SIGNATURE);
    debug_assert_eq!(mbr.len() as u64, SECTOR);
    mbr
}

/// The cylinder, head and sector of `lba` for the usual 255 heads and 63 sectors; all ones if `lba` is too large.
fn chs(lba: u64) -> [u8; 3] {
    let (cylinder, head, sector) = (lba / (255 * 63), lba / 63 % 255, lba % 63 + 1);
    if cylinder > 1023 {
        return [0xff; 3];
    }
    [head as u8, (sector | cylinder >> 8 << 6) as u8, cylinder as u8]
}

/// The partition entry array: §5.3.3, table 5.6.
fn entries(partitions: &[Partition]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity((ENTRIES * ENTRY) as usize);
    for partition in partitions {
        let mut name: Vec<u16> = partition.name.encode_utf16().collect();
        if name.len() > NAME_UNITS {
            return Err(Error::user(format!("the partition name `{}` is too long", partition.name))
                .detail(format!("expected at most {NAME_UNITS} UTF-16 units, found {}", name.len())));
        }
        name.resize(NAME_UNITS, 0);
        let first = partition.start / SECTOR;
        bytes.extend(partition.type_guid.to_bytes_le());
        bytes.extend(partition.guid.to_bytes_le());
        bytes.extend(first.to_le_bytes());
        bytes.extend((first + partition.size / SECTOR - 1).to_le_bytes());
        bytes.extend([0; 8]); // attributes
        bytes.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
    }
    bytes.resize((ENTRIES * ENTRY) as usize, 0);
    Ok(bytes)
}

/// One of the two headers: §5.3.2, table 5.5.
struct Header {
    my_lba: u64,
    other_lba: u64,
    entries_lba: u64,
    last_lba: u64,
    disk_guid: Uuid,
}

impl Header {
    /// The header's sector.
    fn to_bytes(&self, entries: &[u8]) -> Vec<u8> {
        const LENGTH: u32 = 92;
        const REVISION: u32 = 0x0001_0000;
        /// `HeaderCRC32`.
        const CHECKSUM: std::ops::Range<usize> = 16..20;
        let mut bytes = Vec::with_capacity(SECTOR as usize);
        bytes.extend(b"EFI PART");
        bytes.extend(REVISION.to_le_bytes());
        bytes.extend(LENGTH.to_le_bytes());
        bytes.extend([0; 8]); // its own checksum, set below, and a reserved field
        bytes.extend(self.my_lba.to_le_bytes());
        bytes.extend(self.other_lba.to_le_bytes());
        bytes.extend(FIRST_USABLE_LBA.to_le_bytes());
        bytes.extend((self.last_lba - ENTRY_SECTORS - 1).to_le_bytes());
        bytes.extend(self.disk_guid.to_bytes_le());
        bytes.extend(self.entries_lba.to_le_bytes());
        bytes.extend((ENTRIES as u32).to_le_bytes());
        bytes.extend((ENTRY as u32).to_le_bytes());
        bytes.extend(crc32fast::hash(entries).to_le_bytes());
        debug_assert_eq!(bytes.len(), LENGTH as usize);
        let checksum = crc32fast::hash(&bytes);
        bytes[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        bytes.resize(SECTOR as usize, 0);
        bytes
    }
}

#[cfg(test)]
mod tests;
