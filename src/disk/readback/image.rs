//! A qcow2 file as a disk to read from at any place:
//! [specification](https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt).
//!
//! Any cluster size, plain and compressed clusters. No backing file, encryption, external data, or extended L2 entries:
//! these are refused. The file is not trusted: sizes and offsets are checked before they are used.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use super::source::ReadAt;
use super::stored::Stored;
use crate::error::{Error, Result};
use crate::fsx;

/// QEMU's own limit on an L1 table, in bytes.
const MAX_L1: u64 = 32 << 20;
/// L1 and L2 entries, bits 9–55: an offset in the file.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Unpacked clusters that are kept, so that many small reads unpack each only once: as many as fit, in bytes.
const CACHE_MAX: usize = 16 << 20;
/// L2 tables that are kept, in bytes: enough for 128 GiB of disk at QEMU's usual cluster size.
const L2_MAX: usize = 16 << 20;

/// An open image.
pub struct Image {
    file: Box<dyn ReadAt>,
    /// The file's length in bytes.
    len: u64,
    /// What messages call it.
    name: String,
    size: u64,
    cluster_bits: u32,
    codec: Stored,
    l1: Vec<u64>,
    /// L2 tables that have been needed, by their L1 index.
    l2: BTreeMap<u64, Vec<u64>>,
    /// Unpacked clusters, each in the slot of its index modulo the number of slots.
    cache: Vec<Option<(u64, Vec<u8>)>>,
}

impl Image {
    /// Opens the file and reads its header and L1 table.
    pub fn open(path: &Path) -> Result<Self> {
        Self::over(fsx::open_disk(path)?, path.display().to_string())
    }

    /// As [`Image::open`], for a file whose bytes `file` has. Messages call it `name`.
    pub fn over(file: impl ReadAt + 'static, name: String) -> Result<Self> {
        let len = file.size().map_err(|e| Error::io(format!("read {name}"), &e))?;
        let mut image = Image {
            file: Box::new(file),
            len,
            name,
            size: 0,
            cluster_bits: 0,
            codec: Stored::Zlib,
            l1: Vec::new(),
            l2: BTreeMap::new(),
            cache: Vec::new(),
        };
        image.read_header()?;
        Ok(image)
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills `into` with the disk's bytes from `offset`.
    ///
    /// # Errors
    /// When the range leaves the disk, or the file cannot be read or makes no sense.
    pub fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<()> {
        let len = into.len() as u64;
        if offset.checked_add(len).is_none_or(|end| end > self.size) {
            return Err(self.broken(format!("{len} bytes at byte {offset} are not on its disk of {} bytes", self.size)));
        }
        let cluster_size = 1 << self.cluster_bits;
        let mut at = offset;
        let mut rest = into;
        while !rest.is_empty() {
            let inside = at % cluster_size;
            let step = (cluster_size - inside).min(rest.len() as u64) as usize;
            let (now, later) = std::mem::take(&mut rest).split_at_mut(step);
            match self.cluster(at >> self.cluster_bits)? {
                Some(bytes) => now.copy_from_slice(&bytes[inside as usize..][..step]),
                None => now.fill(0),
            }
            rest = later;
            at += step as u64;
        }
        Ok(())
    }

    /// The offset on the disk of the first cluster at or behind `offset` that the file holds something for.
    pub fn next_allocated(&mut self, offset: u64) -> Result<Option<u64>> {
        let entries = 1 << (self.cluster_bits - 3);
        let clusters = self.size.div_ceil(1 << self.cluster_bits);
        let mut index = offset >> self.cluster_bits;
        while index < clusters {
            let found = match self.l2_table(index / entries)? {
                Some(table) => (index % entries..entries).find(|at| !matches!(table[*at as usize] & !(1 << 63), 0 | 1)),
                None => None,
            };
            let base = index / entries * entries;
            if let Some(at) = found {
                // An entry behind the disk's end is nothing that can be read.
                return Ok(Some(base + at).filter(|index| *index < clusters).map(|index| index << self.cluster_bits));
            }
            index = base + entries;
        }
        Ok(None)
    }

    /// Why the file may hold more than its disk shows: snapshots of what the disk once was.
    pub fn hidden(&mut self) -> Result<Option<String>> {
        let bytes = self.file_bytes(60, 4, true)?;
        let snapshots = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Ok((snapshots > 0).then(|| format!("{snapshots} snapshots of the disk as it once was")))
    }

    /// The bytes of a cluster of the disk; none when it is a hole.
    fn cluster(&mut self, index: u64) -> Result<Option<&[u8]>> {
        let slot = (index % self.cache.len() as u64) as usize;
        if self.cache[slot].as_ref().is_none_or(|(kept, _)| *kept != index) {
            let Some(bytes) = self.load(index)? else { return Ok(None) };
            self.cache[slot] = Some((index, bytes));
        }
        Ok(self.cache[slot].as_ref().map(|(_, bytes)| &bytes[..]))
    }

    /// Reads a cluster from the file: section "Cluster mapping".
    fn load(&mut self, index: u64) -> Result<Option<Vec<u8>>> {
        let entries = 1 << (self.cluster_bits - 3);
        let Some(table) = self.l2_table(index / entries)? else { return Ok(None) };
        let entry = table[(index % entries) as usize];
        let cluster_size = 1usize << self.cluster_bits;
        if entry & 1 << 62 != 0 {
            let shift = 62 - (self.cluster_bits - 8);
            let offset = entry & ((1 << shift) - 1) & 0x00ff_ffff_ffff_ffff;
            let sectors = (entry & ((1 << 62) - 1)) >> shift;
            let packed = self.file_bytes(offset, (sectors + 1) * 512 - offset % 512, true)?;
            let unpacked = self.codec.unpack(&packed, cluster_size);
            return unpacked.map(Some).map_err(|why| self.broken(format!("the compressed cluster at byte {offset}: {why}")));
        }
        match entry & OFFSET {
            _ if entry & 1 != 0 => Ok(None),
            0 => Ok(None),
            offset => self.file_bytes(offset, cluster_size as u64, false).map(Some),
        }
    }

    /// The L2 table at an L1 index; none when nothing under it is allocated.
    fn l2_table(&mut self, l1_index: u64) -> Result<Option<&[u64]>> {
        let offset = self.l1.get(l1_index as usize).map_or(0, |entry| entry & OFFSET);
        if offset == 0 {
            return Ok(None);
        }
        if !self.l2.contains_key(&l1_index) {
            let bytes = self.file_bytes(offset, 1 << self.cluster_bits, false)?;
            if (self.l2.len() + 1) << self.cluster_bits > L2_MAX {
                self.l2.clear();
            }
            self.l2.insert(l1_index, numbers(&bytes));
        }
        Ok(self.l2.get(&l1_index).map(|table| &table[..]))
    }

    /// Section "Header".
    fn read_header(&mut self) -> Result<()> {
        let bytes = self.file_bytes(0, 112, true)?;
        let short = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(short(at)) << 32 | u64::from(short(at + 4));
        if short(0) != 0x5146_49fb || !matches!(short(4), 2 | 3) {
            return Err(self.broken("it is no qcow2 file of version 2 or 3".into()));
        }
        let version_3 = short(4) == 3;
        let incompatible = if version_3 { long(72) } else { 0 };
        if long(8) != 0 || short(32) != 0 || incompatible & !(1 << 3) != 0 {
            let features = format!("features {incompatible:#x}, backing file at {}, encryption {}", long(8), short(32));
            let error = self.broken(format!("it needs what kbake does not read: {features}"));
            return Err(error.hint("make it one plain file: qemu-img convert -O qcow2 IMAGE WHOLE.qcow2"));
        }
        let compression = if version_3 && short(100) > 104 { bytes[104] } else { 0 };
        self.codec = match (incompatible, compression) {
            (0, 0) => Stored::Zlib,
            (8, 1) => Stored::Zstd,
            _ => return Err(self.broken(format!("its compression type is {compression}, with features {incompatible:#x}"))),
        };
        self.cluster_bits = short(20);
        self.size = long(24);
        if !(9..=21).contains(&self.cluster_bits) {
            return Err(self.broken(format!("its clusters have {} bits", self.cluster_bits)));
        }
        let l1_entries = u64::from(short(36));
        if l1_entries * 8 > MAX_L1 || l1_entries < self.size.div_ceil(1 << (2 * self.cluster_bits - 3)) {
            return Err(self.broken(format!("{l1_entries} L1 entries do not fit its disk of {} bytes", self.size)));
        }
        self.cache = vec![None; CACHE_MAX >> self.cluster_bits];
        self.l1 = self.l1_table(long(40), l1_entries)?;
        self.check_tables()
    }

    /// Reads the L1 table, which may be large, bit by bit.
    fn l1_table(&self, offset: u64, entries: u64) -> Result<Vec<u64>> {
        const STEP: u64 = 1 << 16;
        let len = entries * 8;
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(self.broken(format!("it ends within the {len} bytes at byte {offset}")));
        }
        let mut table = Vec::with_capacity(entries as usize);
        for at in (0..len).step_by(STEP as usize) {
            table.extend(numbers(&self.file_bytes(offset + at, STEP.min(len - at), false)?));
        }
        Ok(table)
    }

    /// Fails when two parts of the disk share an L2 table: a small file could then stand for a disk without end.
    fn check_tables(&self) -> Result<()> {
        let offsets = || self.l1.iter().map(|entry| entry & OFFSET).filter(|offset| *offset != 0);
        let count = offsets().count() as u64;
        if count > self.len >> self.cluster_bits {
            return Err(self.broken(format!("{count} of its L1 entries lead to tables, for which it is too small")));
        }
        let mut tables: Vec<u64> = offsets().collect();
        tables.sort_unstable();
        match tables.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(self.broken(format!("two of its L1 entries lead to the same table, at byte {}", pair[0]))),
            None => Ok(()),
        }
    }

    /// `len` bytes of the file itself. What is behind its end is zero with `past_end`, and else an error.
    fn file_bytes(&self, offset: u64, len: u64, past_end: bool) -> Result<Vec<u8>> {
        // Before room is made for what only the file says that there is.
        if !past_end && offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(self.broken(format!("it ends within the {len} bytes at byte {offset}")));
        }
        let mut bytes = vec![0; len as usize];
        let there = self.len.saturating_sub(offset).min(len) as usize;
        match self.file.read_exact_at(&mut bytes[..there], offset) {
            Ok(()) => Ok(bytes),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Err(self.broken(format!("it ends within the {len} bytes at byte {offset}"))),
            Err(e) => Err(Error::io(format!("read {}", self.name), &e)),
        }
    }

    fn broken(&self, why: String) -> Error {
        Error::integrity(format!("cannot read the image {}", self.name)).detail(why)
    }
}

/// A table of big-endian numbers.
fn numbers(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|chunk| chunk.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))).collect()
}
