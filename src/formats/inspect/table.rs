//! Partition tables: GPT ([UEFI 2.10, chapter 5](https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html)) and
//! MBR, with logical partitions.

use super::bytes::{hex, is_zero, le16, le32, le64};
use super::disk::{Disk, Part, ReadError};
use crate::common::error::Result;
use crate::common::value::{Sha256, Uuid};

/// The largest array of GPT entries that is read, in bytes; the usual size is 16 KiB.
const ENTRIES_MAX: u64 = 1 << 20;
/// The most logical partitions of an MBR.
const LOGICAL_MAX: u32 = 256;
/// Offsets in an MBR, in bytes (UEFI 2.10, §5.2.1, tables 5.1 and 5.2).
mod mbr_field {
    use std::ops::Range;

    /// The length of the sector, in bytes, which is also the unit of its numbers.
    pub(super) const SECTOR: u64 = 512;
    /// The disk signature, and the end of the boot code.
    pub(super) const DISK_SIGNATURE: usize = 440;
    pub(super) const RECORDS: Range<usize> = 446..510;
    pub(super) const SIGNATURE: usize = 510;
    /// The length of a partition record, in bytes.
    pub(super) const RECORD: usize = 16;
    /// In a record.
    pub(super) const BOOT_INDICATOR: usize = 0;
    /// In a record.
    pub(super) const OS_TYPE: usize = 4;
    /// In a record.
    pub(super) const STARTING_LBA: usize = 8;
    /// In a record.
    pub(super) const SIZE_IN_LBA: usize = 12;
}

/// Offsets in a GPT header, in bytes (UEFI 2.10, §5.3.2, table 5.5).
mod header_field {
    use std::ops::Range;

    /// The length of a header, in bytes.
    pub(super) const LEN: usize = 92;
    pub(super) const ALTERNATE_LBA: usize = 32;
    pub(super) const FIRST_USABLE_LBA: usize = 40;
    pub(super) const LAST_USABLE_LBA: usize = 48;
    pub(super) const DISK_GUID: Range<usize> = 56..72;
    pub(super) const PARTITION_ENTRY_LBA: usize = 72;
    pub(super) const NUMBER_OF_ENTRIES: usize = 80;
    pub(super) const SIZE_OF_ENTRY: usize = 84;
}

/// Offsets in a GPT partition entry, in bytes (UEFI 2.10, §5.3.3, table 5.6).
mod entry_field {
    use std::ops::Range;

    /// The least length of an entry, in bytes.
    pub(super) const LEN: u64 = 128;
    pub(super) const TYPE_GUID: Range<usize> = 0..16;
    pub(super) const UNIQUE_GUID: Range<usize> = 16..32;
    pub(super) const STARTING_LBA: usize = 32;
    pub(super) const ENDING_LBA: usize = 40;
    pub(super) const ATTRIBUTES: usize = 48;
    pub(super) const NAME: Range<usize> = 56..128;
}

/// The signature of an MBR, and of each table of a logical partition.
const MBR_SIGNATURE: u16 = 0xaa55;
/// The signature of a GPT header.
const GPT_SIGNATURE: &[u8; 8] = b"EFI PART";

/// A partition table.
pub(super) struct Table {
    pub kind: TableKind,
    /// The table's fields about the whole disk: names and values.
    pub facts: Vec<(String, String)>,
    /// Sorted by start.
    pub partitions: Vec<Partition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TableKind {
    Gpt,
    Mbr,
    /// No table: the whole disk is one filesystem, or unknown.
    None,
}

impl TableKind {
    /// The table's name.
    pub(super) fn word(self) -> &'static str {
        match self {
            TableKind::Gpt => "GPT",
            TableKind::Mbr => "MBR",
            TableKind::None => "none",
        }
    }
}

/// A partition, or a whole disk without partitions.
pub(super) struct Partition {
    /// The number, from 1 as in `/dev/sda1`; 0 for a whole disk.
    pub number: u32,
    /// The type: a GUID in a GPT, a number in an MBR.
    pub kind: String,
    /// The partition's GUID, in a GPT.
    pub guid: String,
    /// The partition's name, in a GPT.
    pub label: String,
    /// In bytes.
    pub start: u64,
    /// In bytes.
    pub size: u64,
    /// GPT attributes, or the MBR's status byte.
    pub flags: u64,
}

impl Partition {
    /// The name for people: `partition 2 (root)`.
    pub(super) fn name(&self) -> String {
        match (self.number, self.label.as_str()) {
            (0, _) => "disk".into(),
            (number, "") => format!("partition {number}"),
            (number, label) => format!("partition {number} ({label})"),
        }
    }

    /// The partition's fields in the table: names and values.
    pub(super) fn facts(&self) -> [(&'static str, String); 6] {
        [
            ("start", self.start.to_string()),
            ("size", self.size.to_string()),
            ("type", self.kind.clone()),
            ("GUID", self.guid.clone()),
            ("name", self.label.clone()),
            ("flags", format!("{:#x}", self.flags)),
        ]
    }

    /// The partition as a part of its disk.
    pub(super) fn part<'a>(&self, disk: &'a Disk) -> Part<'a> {
        Part { disk, start: self.start, size: self.size }
    }
}

/// Reads the table of a disk. `bare` is true for a disk that is one filesystem: its first sector may look like an MBR.
pub(super) fn read(disk: &Disk, bare: bool) -> Result<Table, ReadError> {
    let whole = Part { disk, start: 0, size: disk.size() };
    let first = whole.read(0, disk.size().min(mbr_field::SECTOR) as usize)?;
    for sector in [512, 4096] {
        if whole.has(sector, header_field::LEN as u64) && whole.read(sector, GPT_SIGNATURE.len())? == GPT_SIGNATURE {
            return gpt(whole, &first, sector);
        }
    }
    let none =
        Partition { number: 0, kind: String::new(), guid: String::new(), label: String::new(), start: 0, size: disk.size(), flags: 0 };
    if bare || le16(&first, mbr_field::SIGNATURE) != MBR_SIGNATURE {
        return Ok(Table { kind: TableKind::None, facts: Vec::new(), partitions: vec![none] });
    }
    mbr(whole, &first)
}

fn boot_code(first: &[u8]) -> (String, String) {
    let code = &first[..mbr_field::DISK_SIGNATURE.min(first.len())];
    ("boot code".into(), if is_zero(code) { "none".into() } else { format!("sha256:{}", Sha256::of(code)) })
}

fn gpt(whole: Part<'_>, first: &[u8], sector: u64) -> Result<Table, ReadError> {
    let broken = |what: &str| ReadError::Broken(format!("its GPT {what}"));
    let header = whole.read(sector, header_field::LEN)?;
    let (count, each) = (u64::from(le32(&header, header_field::NUMBER_OF_ENTRIES)), u64::from(le32(&header, header_field::SIZE_OF_ENTRY)));
    if each < entry_field::LEN || count.saturating_mul(each) > ENTRIES_MAX {
        return Err(broken(&format!("has {count} entries of {each} bytes")));
    }
    let at = le64(&header, header_field::PARTITION_ENTRY_LBA).checked_mul(sector).ok_or_else(|| broken("has its entries nowhere"))?;
    let entries = whole.read(at, (count * each) as usize)?;
    let mut partitions = Vec::new();
    for (index, entry) in entries.chunks_exact(each as usize).enumerate().filter(|(_, entry)| !is_zero(&entry[entry_field::TYPE_GUID])) {
        let (start, last) = (le64(entry, entry_field::STARTING_LBA), le64(entry, entry_field::ENDING_LBA));
        let place = start.checked_mul(sector).zip(last.checked_sub(start).and_then(|len| len.checked_add(1)?.checked_mul(sector)));
        let (start, size) = place.ok_or_else(|| broken(&format!("has a partition {} that ends before it begins", index + 1)))?;
        if !whole.has(start, size) {
            return Err(broken(&format!("has a partition {} that is not on the disk of {} bytes", index + 1, whole.size)));
        }
        let units: Vec<u16> =
            entry[entry_field::NAME].as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|&unit| unit != 0).collect();
        partitions.push(Partition {
            number: index as u32 + 1,
            kind: guid(&entry[entry_field::TYPE_GUID]),
            guid: guid(&entry[entry_field::UNIQUE_GUID]),
            label: String::from_utf16_lossy(&units).escape_debug().to_string(),
            start,
            size,
            flags: le64(entry, entry_field::ATTRIBUTES),
        });
    }
    partitions.sort_by_key(|partition| (partition.start, partition.number));
    let facts = vec![
        boot_code(first),
        ("GUID".to_owned(), guid(&header[header_field::DISK_GUID])),
        ("sector size".to_owned(), sector.to_string()),
        ("first usable sector".to_owned(), le64(&header, header_field::FIRST_USABLE_LBA).to_string()),
        ("last usable sector".to_owned(), le64(&header, header_field::LAST_USABLE_LBA).to_string()),
        ("backup".to_owned(), le64(&header, header_field::ALTERNATE_LBA).to_string()),
        ("entries".to_owned(), count.to_string()),
        ("MBR".to_owned(), hex(&first[mbr_field::DISK_SIGNATURE.min(first.len())..])),
    ];
    Ok(Table { kind: TableKind::Gpt, facts, partitions })
}

/// Decodes a GUID of a GPT, whose first three fields are little-endian ([UEFI 2.10, appendix
/// A](https://uefi.org/specs/UEFI/2.10/Apx_A_GUID_and_Time_Formats.html)).
fn guid(bytes: &[u8]) -> String {
    Uuid::from_slice_le(bytes).expect("16 bytes").to_string()
}

fn mbr(whole: Part<'_>, first: &[u8]) -> Result<Table, ReadError> {
    let mut partitions = Vec::new();
    for (index, entry) in first[mbr_field::RECORDS].chunks_exact(mbr_field::RECORD).enumerate() {
        let Some(found) = Slot::parse(entry) else { continue };
        let partition = found.partition(whole, index as u32 + 1, 0)?;
        let (start, extended) = (partition.start, found.is_extended());
        // An extended partition holds only logical partitions and their tables.
        if extended {
            logical(whole, start / mbr_field::SECTOR, &mut partitions)?;
        } else {
            partitions.push(partition);
        }
    }
    partitions.sort_by_key(|partition| (partition.start, partition.number));
    let facts = vec![boot_code(first), ("disk signature".to_owned(), format!("{:#010x}", le32(first, mbr_field::DISK_SIGNATURE)))];
    Ok(Table { kind: TableKind::Mbr, facts, partitions })
}

/// Reads the logical partitions. Each has a table of its own, which also links to the next one.
fn logical(whole: Part<'_>, base: u64, partitions: &mut Vec<Partition>) -> Result<(), ReadError> {
    let mut at = base;
    for number in 5..5 + LOGICAL_MAX {
        let sector = whole.read(at * mbr_field::SECTOR, mbr_field::SECTOR as usize)?;
        if le16(&sector, mbr_field::SIGNATURE) != MBR_SIGNATURE {
            return Err(ReadError::Broken("a table of logical partitions has no signature".into()));
        }
        let (first, second) = sector[mbr_field::RECORDS].split_at(mbr_field::RECORD);
        if let Some(found) = Slot::parse(first) {
            partitions.push(found.partition(whole, number, at)?);
        }
        match Slot::parse(second) {
            Some(next) => at = base + next.start,
            None => return Ok(()),
        }
    }
    Err(ReadError::Broken("its logical partitions do not end".into()))
}

/// One of an MBR's four partition records. Numbers are in sectors of 512 bytes.
struct Slot {
    status: u8,
    kind: u8,
    start: u64,
    size: u64,
}

impl Slot {
    /// Decodes a record; none when it is empty.
    fn parse(record: &[u8]) -> Option<Slot> {
        let slot = Slot {
            status: record[mbr_field::BOOT_INDICATOR],
            kind: record[mbr_field::OS_TYPE],
            start: u64::from(le32(record, mbr_field::STARTING_LBA)),
            size: u64::from(le32(record, mbr_field::SIZE_IN_LBA)),
        };
        (slot.kind != 0 && slot.size != 0).then_some(slot)
    }

    fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    fn partition(&self, whole: Part<'_>, number: u32, base: u64) -> Result<Partition, ReadError> {
        let (start, size) = ((base + self.start) * mbr_field::SECTOR, self.size * mbr_field::SECTOR);
        if !whole.has(start, size) {
            return Err(ReadError::Broken(format!("its MBR has a partition {number} that is not on the disk of {} bytes", whole.size)));
        }
        let (guid, label) = (String::new(), String::new());
        Ok(Partition { number, kind: format!("{:#04x}", self.kind), guid, label, start, size, flags: u64::from(self.status) })
    }
}
