//! FAT12, FAT16 and FAT32, with long names:
//! [specification](https://academy.cba.mit.edu/classes/networking_communications/SD/FAT.pdf).

use super::bytes::{le16, le32, text};
use super::disk::{Part, ReadError};
use super::filesystem::{Attribute, Content, Extent, Filesystem, Kind, Node, Stream, add_extent};
use crate::common::value::escape;

/// Offsets in the boot sector, in bytes (fatgen103, "Boot Sector and BPB").
mod boot_sector {
    use std::ops::Range;

    /// The length of the sector, in bytes.
    pub(super) const LEN: usize = 512;
    pub(super) const OEM_NAME: Range<usize> = 3..11;
    pub(super) const BYTES_PER_SECTOR: usize = 11;
    pub(super) const SECTORS_PER_CLUSTER: usize = 13;
    pub(super) const RESERVED_SECTORS: usize = 14;
    pub(super) const TABLES: usize = 16;
    pub(super) const ROOT_ENTRIES: usize = 17;
    pub(super) const SECTORS_16: usize = 19;
    pub(super) const TABLE_SECTORS_16: usize = 22;
    pub(super) const SECTORS_32: usize = 32;
    pub(super) const TABLE_SECTORS_32: usize = 36;
    pub(super) const SIGNATURE: usize = 510;
    /// FAT12 and FAT16 only.
    pub(super) const VOLUME_ID: usize = 39;
    /// FAT12 and FAT16 only.
    pub(super) const VOLUME_LABEL: usize = 43;
    /// FAT12 and FAT16 only: `FAT` and two other letters.
    pub(super) const TYPE: Range<usize> = 54..57;
    /// FAT32 only.
    pub(super) const ROOT_CLUSTER_FAT32: usize = 44;
    /// FAT32 only.
    pub(super) const VOLUME_ID_FAT32: usize = 67;
    /// FAT32 only.
    pub(super) const VOLUME_LABEL_FAT32: usize = 71;
    /// FAT32 only: `FAT32`.
    pub(super) const TYPE_FAT32: Range<usize> = 82..87;
}

/// Offsets in a folder's entry, in bytes (fatgen103, "FAT Directory Structure", "FAT Long Directory Entries").
mod entry_field {
    use std::ops::Range;

    /// The length of an entry, in bytes.
    pub(super) const LEN: usize = 32;
    pub(super) const NAME: Range<usize> = 0..11;
    pub(super) const BASE: Range<usize> = 0..8;
    pub(super) const EXTENSION: Range<usize> = 8..11;
    pub(super) const ATTRIBUTES: usize = 11;
    /// Flags of Windows NT.
    pub(super) const CASE: usize = 12;
    pub(super) const CREATION_TENTHS: usize = 13;
    pub(super) const CREATION_TIME: usize = 14;
    pub(super) const CREATION_DATE: usize = 16;
    pub(super) const ACCESS_DATE: usize = 18;
    pub(super) const CLUSTER_HIGH: usize = 20;
    pub(super) const WRITE_TIME: usize = 22;
    pub(super) const WRITE_DATE: usize = 24;
    pub(super) const CLUSTER_LOW: usize = 26;
    pub(super) const SIZE: usize = 28;
    /// The characters of a part of a long name.
    pub(super) const LONG_NAME: [Range<usize>; 3] = [1..11, 14..26, 28..32];
}

/// The boot sector's signature.
const SIGNATURE: u16 = 0xaa55;
/// The first byte of a deleted entry.
const DELETED: u8 = 0xe5;
/// The flag in the number of a long name's part that marks the end of the name.
const LONG_END: u8 = 0x40;
/// Flag of Windows NT: the base of a short name is in lower case.
const LOWER_BASE: u8 = 0x08;
/// Flag of Windows NT: the extension of a short name is in lower case.
const LOWER_EXTENSION: u8 = 0x10;

/// The largest folder that is read, in bytes: Linux's own limit.
const FOLDER_MAX: u64 = 65_536 * entry_field::LEN as u64;
/// The attributes of an entry that holds a part of a long name.
const LONG: u8 = 0x0f;
const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;

/// An open filesystem.
pub(super) struct Fat<'a> {
    part: Part<'a>,
    boot: Vec<u8>,
    bits: u32,
    /// In bytes.
    cluster: u64,
    clusters: u64,
    /// The offset of the first allocation table, in bytes.
    table: u64,
    /// The root folder of FAT12 and FAT16: offset and length in bytes.
    top: (u64, u64),
    /// The offset of cluster 2, in bytes.
    data: u64,
}

impl<'a> Fat<'a> {
    /// True when the part begins with a FAT boot sector.
    pub(super) fn is_in(part: Part<'_>) -> Result<bool, ReadError> {
        if !part.has(0, boot_sector::LEN as u64) {
            return Ok(false);
        }
        let boot = part.read(0, boot_sector::LEN)?;
        let named = boot[boot_sector::TYPE] == *b"FAT" || boot[boot_sector::TYPE_FAT32] == *b"FAT32";
        let sector = le16(&boot, boot_sector::BYTES_PER_SECTOR);
        Ok(le16(&boot, boot_sector::SIGNATURE) == SIGNATURE && named && matches!(sector, 512 | 1024 | 2048 | 4096))
    }

    /// Reads the boot sector.
    pub(super) fn open(part: Part<'a>) -> Result<Self, ReadError> {
        let boot = part.read(0, boot_sector::LEN)?;
        let broken = || ReadError::Broken("the numbers in its boot sector contradict each other".into());
        let (sector, per_cluster) =
            (u64::from(le16(&boot, boot_sector::BYTES_PER_SECTOR)), u64::from(boot[boot_sector::SECTORS_PER_CLUSTER]));
        let either = |short: usize, long: usize| match le16(&boot, short) {
            0 => u64::from(le32(&boot, long)),
            found => u64::from(found),
        };
        let sectors = either(boot_sector::SECTORS_16, boot_sector::SECTORS_32);
        let table_sectors = either(boot_sector::TABLE_SECTORS_16, boot_sector::TABLE_SECTORS_32);
        let (reserved, tables) = (u64::from(le16(&boot, boot_sector::RESERVED_SECTORS)), u64::from(boot[boot_sector::TABLES]));
        let top_len = u64::from(le16(&boot, boot_sector::ROOT_ENTRIES)) * entry_field::LEN as u64;
        let top = (reserved + tables * table_sectors) * sector;
        let data = top + top_len.next_multiple_of(sector);
        if !per_cluster.is_power_of_two() || tables == 0 || !part.has(0, sectors * sector) || data >= sectors * sector {
            return Err(broken());
        }
        let clusters = (sectors * sector - data) / (sector * per_cluster);
        let bits = match clusters {
            0..4085 => 12,
            4085..65525 => 16,
            _ => 32,
        };
        if (clusters + 2) * u64::from(bits) > table_sectors * sector * 8 {
            return Err(broken());
        }
        Ok(Fat { part, boot, bits, cluster: sector * per_cluster, clusters, table: reserved * sector, top: (top, top_len), data })
    }

    /// The cluster that follows `cluster` in its chain; none at the end.
    fn next(&self, cluster: u64) -> Result<Option<u64>, ReadError> {
        let number = match self.bits {
            12 => {
                let pair = le16(&self.part.read(self.table + cluster * 3 / 2, 2)?, 0);
                u64::from(if cluster.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 })
            }
            16 => u64::from(le16(&self.part.read(self.table + cluster * 2, 2)?, 0)),
            _ => u64::from(le32(&self.part.read(self.table + cluster * 4, 4)?, 0) & 0x0fff_ffff),
        };
        Ok(Some(number).filter(|number| *number < (1 << self.bits.min(28)) - 8))
    }

    /// The chain of clusters from `first` on.
    fn chain(&self, first: u64) -> Result<Vec<Extent>, ReadError> {
        let mut extents = Vec::new();
        let (mut cluster, mut count) = (Some(first).filter(|first| *first != 0), 0);
        while let Some(at) = cluster {
            if at < 2 || at >= self.clusters + 2 || count > self.clusters {
                return Err(ReadError::Broken(format!(
                    "a chain of clusters leads to {at} or does not end, and there are {}",
                    self.clusters
                )));
            }
            add_extent(&mut extents, Extent { from: count * self.cluster, at: self.data + (at - 2) * self.cluster, len: self.cluster });
            count += 1;
            cluster = self.next(at)?;
        }
        Ok(extents)
    }

    fn first_cluster(&self, raw: &[u8]) -> u64 {
        let high = if self.bits == 32 { le16(raw, entry_field::CLUSTER_HIGH) } else { 0 };
        u64::from(high) << 16 | u64::from(le16(raw, entry_field::CLUSTER_LOW))
    }

    /// Decodes a node from its entry; `id` is their offset.
    fn node(&self, raw: &[u8], id: u64) -> Node {
        let kind = if raw[entry_field::ATTRIBUTES] & FOLDER != 0 { Kind::Folder } else { Kind::File };
        // A folder's first cluster identifies it, so that a folder with two names is noticed.
        let id = if kind == Kind::Folder { self.first_cluster(raw) } else { id };
        Node { id, kind, size: u64::from(le32(raw, entry_field::SIZE)), linked: false, raw: raw.to_vec() }
    }
}

impl Filesystem for Fat<'_> {
    fn word(&self) -> &'static str {
        "vfat"
    }

    fn part(&self) -> Part<'_> {
        self.part
    }

    fn root(&self) -> Result<Node, ReadError> {
        let mut raw = vec![0; entry_field::LEN];
        raw[entry_field::ATTRIBUTES] = FOLDER;
        if self.bits == 32 {
            let first = le32(&self.boot, boot_sector::ROOT_CLUSTER_FAT32);
            raw[entry_field::CLUSTER_LOW..][..2].copy_from_slice(&(first as u16).to_le_bytes());
            raw[entry_field::CLUSTER_HIGH..][..2].copy_from_slice(&((first >> 16) as u16).to_le_bytes());
        }
        Ok(self.node(&raw, 0))
    }

    fn list(&self, folder: &Node) -> Result<Vec<(Vec<u8>, Node)>, ReadError> {
        let content = self.content(folder)?;
        let Content::Extents(extents) = &content else { return Ok(Vec::new()) };
        let size = extents.iter().map(|extent| extent.len).sum::<u64>();
        if size > FOLDER_MAX {
            return Err(ReadError::Broken("a folder is too large".into()));
        }
        let mut stream = Stream::new(self.part, &content, size);
        let mut bytes = vec![0; size as usize];
        stream.read_exact(&mut bytes)?;
        let mut found = Vec::new();
        let mut long = Vec::new();
        for (index, entry) in bytes.chunks_exact(entry_field::LEN).enumerate() {
            match (entry[0], entry[entry_field::ATTRIBUTES]) {
                (0, _) => break,
                (DELETED, _) => long.clear(),
                (_, LONG) => add_long(&mut long, entry),
                (_, attributes) if attributes & LABEL != 0 => long.clear(),
                (b'.', _) => long.clear(),
                _ => {
                    let name = if long.is_empty() { short_name(entry) } else { String::from_utf16_lossy(&long) };
                    long.clear();
                    if name.is_empty() || name.contains(['/', '\0']) {
                        return Err(ReadError::Broken("a folder has an invalid name".into()));
                    }
                    let (extent, inside) = place_of(extents, (index * entry_field::LEN) as u64);
                    found.push((name.into_bytes(), self.node(entry, extent + inside)));
                }
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        match found.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            true => Err(ReadError::Broken("a folder has a name twice".into())),
            false => Ok(found),
        }
    }

    fn content(&self, node: &Node) -> Result<Content, ReadError> {
        let first = self.first_cluster(&node.raw);
        if first == 0 && node.kind == Kind::Folder {
            return Ok(Content::Extents(vec![Extent { from: 0, at: self.top.0, len: self.top.1 }]));
        }
        let extents = self.chain(first)?;
        let held: u64 = extents.iter().map(|extent| extent.len).sum();
        if node.kind == Kind::File && held < node.size {
            return Err(ReadError::Broken(format!("a file of {} bytes has only {held} on the disk", node.size)));
        }
        Ok(Content::Extents(extents))
    }

    fn fields(&self, node: &Node) -> Result<Vec<(String, String)>, ReadError> {
        let raw = &node.raw;
        let time = |date: u16, time: u16| {
            let (year, month, day) = (1980 + (date >> 9), date >> 5 & 15, date & 31);
            format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02}", time >> 11, time >> 5 & 63, (time & 31) * 2)
        };
        let created = time(le16(raw, entry_field::CREATION_DATE), le16(raw, entry_field::CREATION_TIME));
        let fields = [
            ("attributes", format!("{:#04x}", raw[entry_field::ATTRIBUTES])),
            ("modification time", time(le16(raw, entry_field::WRITE_DATE), le16(raw, entry_field::WRITE_TIME))),
            ("creation time", format!("{created}+{}", raw[entry_field::CREATION_TENTHS])),
            ("access time", time(le16(raw, entry_field::ACCESS_DATE), 0)),
            ("short name", escape(&raw[entry_field::NAME])),
            ("first cluster", self.first_cluster(raw).to_string()),
        ];
        Ok(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }

    fn attributes(&self, _: &Node) -> Result<Vec<Attribute>, ReadError> {
        Ok(Vec::new())
    }

    fn facts(&self) -> Vec<(String, String)> {
        let boot = &self.boot;
        let (label, serial) = match self.bits {
            32 => (boot_sector::VOLUME_LABEL_FAT32, boot_sector::VOLUME_ID_FAT32),
            _ => (boot_sector::VOLUME_LABEL, boot_sector::VOLUME_ID),
        };
        let facts = [
            ("kind", format!("FAT{}", self.bits)),
            ("made by", text(&boot[boot_sector::OEM_NAME])),
            ("sector size", le16(boot, boot_sector::BYTES_PER_SECTOR).to_string()),
            ("cluster size", self.cluster.to_string()),
            ("clusters", self.clusters.to_string()),
            ("tables", boot[boot_sector::TABLES].to_string()),
            ("serial number", format!("{:#010x}", le32(boot, serial))),
            ("label", text(&boot[label..][..entry_field::NAME.len()])),
        ];
        facts.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn place(&self, offset: u64) -> Result<&'static str, ReadError> {
        if offset < boot_sector::LEN as u64 {
            return Ok("the boot sector");
        }
        if offset < self.table {
            return Ok("reserved sectors");
        }
        if offset < self.top.0 {
            return Ok("the allocation table");
        }
        let cluster = offset.saturating_sub(self.data) / self.cluster;
        if offset < self.data || cluster >= self.clusters {
            return Ok("space behind the clusters");
        }
        Ok(if self.next(cluster + 2)? == Some(0) { "free space" } else { "unreferenced clusters" })
    }

    fn warning(&self) -> Option<String> {
        None
    }
}

/// The place of a folder's byte in the part: the offset of its extent, and the offset in that extent.
fn place_of(extents: &[Extent], offset: u64) -> (u64, u64) {
    let found = extents.iter().find(|extent| (extent.from..extent.from + extent.len).contains(&offset));
    found.map_or((0, offset), |extent| (extent.at, offset - extent.from))
}

/// Puts the thirteen UTF-16 units of one part before those of the parts already read.
fn add_long(long: &mut Vec<u16>, entry: &[u8]) {
    if entry[0] & LONG_END != 0 {
        long.clear();
    }
    let units = entry_field::LONG_NAME.into_iter().flat_map(|range| entry[range].as_chunks::<2>().0);
    let units: Vec<u16> = units.map(|unit| u16::from_le_bytes(*unit)).take_while(|&unit| unit != 0 && unit != 0xffff).collect();
    long.splice(0..0, units);
}

/// Decodes a short name: eight and three letters, padded with spaces. Flags of Windows NT mark lower case.
fn short_name(entry: &[u8]) -> String {
    let part = |bytes: &[u8], lower: bool| {
        let text: String = bytes.iter().map(|&byte| if byte < 0x80 { byte as char } else { '?' }).collect();
        let text = text.trim_end().to_owned();
        if lower { text.to_lowercase() } else { text }
    };
    let case = entry[entry_field::CASE];
    let base = part(&entry[entry_field::BASE], case & LOWER_BASE != 0);
    let extension = part(&entry[entry_field::EXTENSION], case & LOWER_EXTENSION != 0);
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}
