//! FAT12, FAT16 and FAT32, with long names:
//! [specification](https://academy.cba.mit.edu/classes/networking_communications/SD/FAT.pdf).

use super::bytes::{le16, le32, text};
use super::disk::{Part, ReadError};
use super::filesystem::{Attribute, Content, Extent, Filesystem, Kind, Node, Stream, add_extent};
use crate::common::value::escape;

/// The largest folder that is read, in bytes: Linux's own limit.
const FOLDER_MAX: u64 = 65_536 * 32;
/// The attributes of an entry that holds a part of a long name.
const LONG: u8 = 0x0f;
const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;

/// An open filesystem.
pub struct Fat<'a> {
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
    pub fn is_in(part: Part<'_>) -> Result<bool, ReadError> {
        if !part.has(0, 512) {
            return Ok(false);
        }
        let boot = part.read(0, 512)?;
        let named = boot[54..57] == *b"FAT" || boot[82..87] == *b"FAT32";
        Ok(le16(&boot, 510) == 0xaa55 && named && matches!(le16(&boot, 11), 512 | 1024 | 2048 | 4096))
    }

    /// Reads the boot sector.
    pub fn open(part: Part<'a>) -> Result<Self, ReadError> {
        let boot = part.read(0, 512)?;
        let broken = || ReadError::Broken("the numbers in its boot sector contradict each other".into());
        let (sector, per_cluster) = (u64::from(le16(&boot, 11)), u64::from(boot[13]));
        let either = |short: usize, long: usize| match le16(&boot, short) {
            0 => u64::from(le32(&boot, long)),
            found => u64::from(found),
        };
        let (sectors, table_sectors) = (either(19, 32), either(22, 36));
        let (reserved, tables) = (u64::from(le16(&boot, 14)), u64::from(boot[16]));
        let top_len = u64::from(le16(&boot, 17)) * 32;
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
        let high = if self.bits == 32 { le16(raw, 20) } else { 0 };
        u64::from(high) << 16 | u64::from(le16(raw, 26))
    }

    /// Decodes a node from the 32 bytes of its entry; `id` is their offset.
    fn node(&self, raw: &[u8], id: u64) -> Node {
        let kind = if raw[11] & FOLDER != 0 { Kind::Folder } else { Kind::File };
        // A folder's first cluster identifies it, so that a folder with two names is noticed.
        let id = if kind == Kind::Folder { self.first_cluster(raw) } else { id };
        Node { id, kind, size: u64::from(le32(raw, 28)), linked: false, raw: raw.to_vec() }
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
        let mut raw = vec![0; 32];
        raw[11] = FOLDER;
        if self.bits == 32 {
            let first = le32(&self.boot, 44);
            raw[26..28].copy_from_slice(&(first as u16).to_le_bytes());
            raw[20..22].copy_from_slice(&((first >> 16) as u16).to_le_bytes());
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
        for (index, entry) in bytes.chunks_exact(32).enumerate() {
            match (entry[0], entry[11]) {
                (0, _) => break,
                (0xe5, _) => long.clear(),
                (_, LONG) => add_long(&mut long, entry),
                (_, attributes) if attributes & LABEL != 0 => long.clear(),
                (b'.', _) => long.clear(),
                _ => {
                    let name = if long.is_empty() { short_name(entry) } else { String::from_utf16_lossy(&long) };
                    long.clear();
                    if name.is_empty() || name.contains(['/', '\0']) {
                        return Err(ReadError::Broken("a folder has an invalid name".into()));
                    }
                    let (extent, inside) = place_of(extents, index as u64 * 32);
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
        let fields = [
            ("attributes", format!("{:#04x}", raw[11])),
            ("modification time", time(le16(raw, 24), le16(raw, 22))),
            ("creation time", format!("{}+{}", time(le16(raw, 16), le16(raw, 14)), raw[13])),
            ("access time", time(le16(raw, 18), 0)),
            ("short name", escape(&raw[..11])),
            ("first cluster", self.first_cluster(raw).to_string()),
        ];
        Ok(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }

    fn attributes(&self, _: &Node) -> Result<Vec<Attribute>, ReadError> {
        Ok(Vec::new())
    }

    fn facts(&self) -> Vec<(String, String)> {
        let boot = &self.boot;
        let (label, serial) = if self.bits == 32 { (71, 67) } else { (43, 39) };
        let facts = [
            ("kind", format!("FAT{}", self.bits)),
            ("made by", text(&boot[3..11])),
            ("sector size", le16(boot, 11).to_string()),
            ("cluster size", self.cluster.to_string()),
            ("clusters", self.clusters.to_string()),
            ("tables", boot[16].to_string()),
            ("serial number", format!("{:#010x}", le32(boot, serial))),
            ("label", text(&boot[label..label + 11])),
        ];
        facts.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn place(&self, offset: u64) -> Result<&'static str, ReadError> {
        if offset < 512 {
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

    fn doubt(&self) -> Option<String> {
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
    if entry[0] & 0x40 != 0 {
        long.clear();
    }
    let units = [1..11, 14..26, 28..32].into_iter().flat_map(|range| entry[range].as_chunks::<2>().0);
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
    let (base, extension) = (part(&entry[..8], entry[12] & 8 != 0), part(&entry[8..11], entry[12] & 16 != 0));
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}
