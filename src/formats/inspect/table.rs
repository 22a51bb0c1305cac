//! Partition tables: GPT ([UEFI 2.10, chapter 5](https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html)) and
//! MBR, with logical partitions.

use super::bytes::{hex, is_zero, le16, le32, le64};
use super::disk::{Disk, Part, ReadError};
use crate::common::error::Result;
use crate::common::value::{Guid, Sha256};

/// The largest array of GPT entries that is read, in bytes; the usual size is 16 KiB.
const ENTRIES_MAX: u64 = 1 << 20;
/// The most logical partitions of an MBR.
const LOGICAL_MAX: u32 = 256;
/// The end of an MBR's boot code, where the disk signature begins.
const BOOT_CODE: usize = 440;

/// A partition table.
pub struct Table {
    pub kind: TableKind,
    /// The table's fields about the whole disk: names and values.
    pub facts: Vec<(String, String)>,
    /// Sorted by start.
    pub partitions: Vec<Partition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    Gpt,
    Mbr,
    /// No table: the whole disk is one filesystem, or unknown.
    None,
}

impl TableKind {
    /// The table's name.
    pub fn word(self) -> &'static str {
        match self {
            TableKind::Gpt => "GPT",
            TableKind::Mbr => "MBR",
            TableKind::None => "none",
        }
    }
}

/// A partition, or a whole disk without partitions.
pub struct Partition {
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
    pub fn name(&self) -> String {
        match (self.number, self.label.as_str()) {
            (0, _) => "disk".into(),
            (number, "") => format!("partition {number}"),
            (number, label) => format!("partition {number} ({label})"),
        }
    }

    /// The partition's fields in the table: names and values.
    pub fn facts(&self) -> [(&'static str, String); 6] {
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
    pub fn part<'a>(&self, disk: &'a Disk) -> Part<'a> {
        Part { disk, start: self.start, size: self.size }
    }
}

/// Reads the table of a disk. `bare` is true for a disk that is one filesystem: its first sector may look like an MBR.
pub fn read(disk: &Disk, bare: bool) -> Result<Table, ReadError> {
    let whole = Part { disk, start: 0, size: disk.size() };
    let first = whole.read(0, disk.size().min(512) as usize)?;
    for sector in [512, 4096] {
        if whole.has(sector, 92) && whole.read(sector, 8)? == b"EFI PART" {
            return gpt(whole, &first, sector);
        }
    }
    let none =
        Partition { number: 0, kind: String::new(), guid: String::new(), label: String::new(), start: 0, size: disk.size(), flags: 0 };
    if bare || le16(&first, 510) != 0xaa55 {
        return Ok(Table { kind: TableKind::None, facts: Vec::new(), partitions: vec![none] });
    }
    mbr(whole, &first)
}

fn boot_code(first: &[u8]) -> (String, String) {
    let code = &first[..BOOT_CODE.min(first.len())];
    ("boot code".into(), if is_zero(code) { "none".into() } else { format!("sha256:{}", Sha256::of(code)) })
}

fn gpt(whole: Part<'_>, first: &[u8], sector: u64) -> Result<Table, ReadError> {
    let broken = |what: &str| ReadError::Broken(format!("its GPT {what}"));
    let header = whole.read(sector, 92)?;
    let (count, each) = (u64::from(le32(&header, 80)), u64::from(le32(&header, 84)));
    if each < 128 || count.saturating_mul(each) > ENTRIES_MAX {
        return Err(broken(&format!("has {count} entries of {each} bytes")));
    }
    let at = le64(&header, 72).checked_mul(sector).ok_or_else(|| broken("has its entries nowhere"))?;
    let entries = whole.read(at, (count * each) as usize)?;
    let mut partitions = Vec::new();
    for (index, entry) in entries.chunks_exact(each as usize).enumerate().filter(|(_, entry)| !is_zero(&entry[..16])) {
        let (start, last) = (le64(entry, 32), le64(entry, 40));
        let place = start.checked_mul(sector).zip(last.checked_sub(start).and_then(|len| len.checked_add(1)?.checked_mul(sector)));
        let (start, size) = place.ok_or_else(|| broken(&format!("has a partition {} that ends before it begins", index + 1)))?;
        if !whole.has(start, size) {
            return Err(broken(&format!("has a partition {} that is not on the disk of {} bytes", index + 1, whole.size)));
        }
        let units: Vec<u16> =
            entry[56..128].as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|&unit| unit != 0).collect();
        partitions.push(Partition {
            number: index as u32 + 1,
            kind: guid(&entry[..16]),
            guid: guid(&entry[16..32]),
            label: String::from_utf16_lossy(&units).escape_debug().to_string(),
            start,
            size,
            flags: le64(entry, 48),
        });
    }
    partitions.sort_by_key(|partition| (partition.start, partition.number));
    let facts = vec![
        boot_code(first),
        ("GUID".to_owned(), guid(&header[56..72])),
        ("sector size".to_owned(), sector.to_string()),
        ("first usable sector".to_owned(), le64(&header, 40).to_string()),
        ("last usable sector".to_owned(), le64(&header, 48).to_string()),
        ("backup".to_owned(), le64(&header, 32).to_string()),
        ("entries".to_owned(), count.to_string()),
        ("MBR".to_owned(), hex(&first[BOOT_CODE.min(first.len())..])),
    ];
    Ok(Table { kind: TableKind::Gpt, facts, partitions })
}

/// Decodes a GUID of a GPT, whose first three fields are little-endian.
fn guid(bytes: &[u8]) -> String {
    let mut ordered = [0; 16];
    for (to, from) in [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].into_iter().enumerate() {
        ordered[to] = bytes[from];
    }
    Guid::from_u128(u128::from_be_bytes(ordered)).to_string()
}

fn mbr(whole: Part<'_>, first: &[u8]) -> Result<Table, ReadError> {
    let mut partitions = Vec::new();
    for (index, entry) in first[446..510].chunks_exact(16).enumerate() {
        let Some(found) = Slot::parse(entry) else { continue };
        let partition = found.partition(whole, index as u32 + 1, 0)?;
        let (start, extended) = (partition.start, found.is_extended());
        // An extended partition holds only logical partitions and their tables.
        if extended {
            logical(whole, start / 512, &mut partitions)?;
        } else {
            partitions.push(partition);
        }
    }
    partitions.sort_by_key(|partition| (partition.start, partition.number));
    let facts = vec![boot_code(first), ("disk signature".to_owned(), format!("{:#010x}", le32(first, 440)))];
    Ok(Table { kind: TableKind::Mbr, facts, partitions })
}

/// Reads the logical partitions. Each has a table of its own, which also links to the next one.
fn logical(whole: Part<'_>, base: u64, partitions: &mut Vec<Partition>) -> Result<(), ReadError> {
    let mut at = base;
    for number in 5..5 + LOGICAL_MAX {
        let sector = whole.read(at * 512, 512)?;
        if le16(&sector, 510) != 0xaa55 {
            return Err(ReadError::Broken("a table of logical partitions has no signature".into()));
        }
        if let Some(found) = Slot::parse(&sector[446..462]) {
            partitions.push(found.partition(whole, number, at)?);
        }
        match Slot::parse(&sector[462..478]) {
            Some(next) => at = base + next.start,
            None => return Ok(()),
        }
    }
    Err(ReadError::Broken("its logical partitions do not end".into()))
}

/// One of an MBR's four entries. Numbers are in sectors of 512 bytes.
struct Slot {
    status: u8,
    kind: u8,
    start: u64,
    size: u64,
}

impl Slot {
    /// Decodes an entry; none when it is empty.
    fn parse(entry: &[u8]) -> Option<Slot> {
        let slot = Slot { status: entry[0], kind: entry[4], start: u64::from(le32(entry, 8)), size: u64::from(le32(entry, 12)) };
        (slot.kind != 0 && slot.size != 0).then_some(slot)
    }

    fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    fn partition(&self, whole: Part<'_>, number: u32, base: u64) -> Result<Partition, ReadError> {
        let (start, size) = ((base + self.start) * 512, self.size * 512);
        if !whole.has(start, size) {
            return Err(ReadError::Broken(format!("its MBR has a partition {number} that is not on the disk of {} bytes", whole.size)));
        }
        let (guid, label) = (String::new(), String::new());
        Ok(Partition { number, kind: format!("{:#04x}", self.kind), guid, label, start, size, flags: u64::from(self.status) })
    }
}
