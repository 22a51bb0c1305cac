//! qcow2 images with random access to their disk:
//! [specification](https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt).
//!
//! Reads any cluster size, plain and compressed clusters. Refuses backing files, encryption, external data and extended L2
//! entries. The file is not trusted: sizes and offsets are checked before they are used.

mod codec;
mod read_at;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use self::codec::Codec;
pub(crate) use self::read_at::ReadAt;
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::value::quote;

/// Offsets of the header's fields in bytes (section "Header"). All numbers are big-endian.
mod header_field {
    /// The length of the fields that are read, in bytes.
    pub(super) const LEN: u64 = 112;
    pub(super) const MAGIC: usize = 0;
    pub(super) const VERSION: usize = 4;
    pub(super) const BACKING_FILE_OFFSET: usize = 8;
    pub(super) const CLUSTER_BITS: usize = 20;
    pub(super) const SIZE: usize = 24;
    pub(super) const CRYPT_METHOD: usize = 32;
    pub(super) const L1_SIZE: usize = 36;
    pub(super) const L1_TABLE_OFFSET: usize = 40;
    pub(super) const NB_SNAPSHOTS: u64 = 60;
    /// In version 3.
    pub(super) const INCOMPATIBLE_FEATURES: usize = 72;
    /// In version 3.
    pub(super) const HEADER_LENGTH: usize = 100;
    /// In version 3, where the header is long enough.
    pub(super) const COMPRESSION_TYPE: usize = 104;
}

/// The magic number: `QFI` and 0xfb.
const MAGIC: u32 = 0x5146_49fb;
/// Incompatible feature: the compression type is not zlib.
const COMPRESSION: u64 = 1 << 3;
/// Bit 62 of an L2 entry: the cluster is compressed.
const COMPRESSED: u64 = 1 << 62;
/// Bit 63 of an L1 or L2 entry: the refcount is exactly one.
const COPIED: u64 = 1 << 63;
/// Bit 0 of an L2 entry: the cluster reads as zeros.
const ZERO: u64 = 1;
/// Bits 0–55 of a compressed cluster's entry: the most that its offset has.
const COMPRESSED_OFFSET: u64 = 0x00ff_ffff_ffff_ffff;
/// The unit of a compressed cluster's length, in bytes.
const COMPRESSED_SECTOR: u64 = 512;
/// QEMU's own limit on an L1 table, in bytes.
const MAX_L1: u64 = 32 << 20;
/// Bits 9–55 of L1 and L2 entries: an offset in the file.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// The size of the cache of unpacked clusters, in bytes: many small reads then unpack a cluster once.
const CACHE_MAX: usize = 16 << 20;
/// The size of the cache of L2 tables, in bytes: enough for 128 GiB of disk at QEMU's default cluster size.
const L2_MAX: usize = 16 << 20;

/// An open image.
pub struct Image {
    file: Box<dyn ReadAt>,
    /// The file's length in bytes.
    len: u64,
    /// The image's name in messages.
    name: String,
    size: u64,
    cluster_bits: u32,
    codec: Codec,
    l1: Vec<u64>,
    /// Cached L2 tables by their L1 index.
    l2: BTreeMap<u64, Vec<u64>>,
    /// Cached clusters, each in the slot of its index modulo the number of slots.
    cache: Vec<Option<(u64, Vec<u8>)>>,
}

impl Image {
    /// Opens the file and reads its header and L1 table.
    ///
    /// # Errors
    /// A file that cannot be read, is no qcow2 file, or needs a feature that is not read.
    pub fn open(path: &Path) -> Result<Self> {
        Self::over(fsx::open_disk(path)?, path.display().to_string())
    }

    /// Does the same as [`Image::open`] for the bytes of `file`, which messages call `name`.
    ///
    /// # Errors
    /// The same as [`Image::open`].
    pub fn over(file: impl ReadAt + 'static, name: String) -> Result<Self> {
        let len = file.size().map_err(|e| Error::io(format!("read {name}"), &e))?;
        let mut image = Image {
            file: Box::new(file),
            len,
            name,
            size: 0,
            cluster_bits: 0,
            codec: Codec::Zlib,
            l1: Vec::new(),
            l2: BTreeMap::new(),
            cache: Vec::new(),
        };
        image.read_header()?;
        Ok(image)
    }

    /// The image's name in messages.
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
    /// A range that leaves the disk; a file that cannot be read or is malformed.
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

    /// The offset on the disk of the first allocated cluster at or behind `offset`. It may begin before `offset`.
    ///
    /// # Errors
    /// A file that cannot be read or is malformed.
    pub fn next_allocated(&mut self, offset: u64) -> Result<Option<u64>> {
        let entries = 1 << (self.cluster_bits - 3);
        let clusters = self.size.div_ceil(1 << self.cluster_bits);
        let mut index = offset >> self.cluster_bits;
        while index < clusters {
            let found = match self.l2_table(index / entries)? {
                Some(table) => (index % entries..entries).find(|at| !matches!(table[*at as usize] & !COPIED, 0 | ZERO)),
                None => None,
            };
            let base = index / entries * entries;
            if let Some(at) = found {
                // An entry behind the disk's end cannot be read.
                return Ok(Some(base + at).filter(|index| *index < clusters).map(|index| index << self.cluster_bits));
            }
            index = base + entries;
        }
        Ok(None)
    }

    /// Names what the file holds beside its disk: snapshots of earlier contents.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn hidden(&mut self) -> Result<Option<String>> {
        let bytes = self.file_bytes(header_field::NB_SNAPSHOTS, 4, true)?;
        let snapshots = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Ok((snapshots > 0).then(|| format!("{snapshots} snapshots of earlier contents")))
    }

    /// The bytes of a cluster of the disk; none for a hole.
    fn cluster(&mut self, index: u64) -> Result<Option<&[u8]>> {
        let slot = (index % self.cache.len() as u64) as usize;
        if self.cache[slot].as_ref().is_none_or(|(kept, _)| *kept != index) {
            let Some(bytes) = self.load(index)? else { return Ok(None) };
            self.cache[slot] = Some((index, bytes));
        }
        Ok(self.cache[slot].as_ref().map(|(_, bytes)| &bytes[..]))
    }

    /// Reads a cluster from the file (section "Cluster mapping").
    fn load(&mut self, index: u64) -> Result<Option<Vec<u8>>> {
        let entries = 1 << (self.cluster_bits - 3);
        let Some(table) = self.l2_table(index / entries)? else { return Ok(None) };
        let entry = table[(index % entries) as usize];
        let cluster_size = 1usize << self.cluster_bits;
        if entry & COMPRESSED != 0 {
            let shift = 62 - (self.cluster_bits - 8);
            let offset = entry & ((1 << shift) - 1) & COMPRESSED_OFFSET;
            let sectors = (entry & (COMPRESSED - 1)) >> shift;
            let packed = self.file_bytes(offset, (sectors + 1) * COMPRESSED_SECTOR - offset % COMPRESSED_SECTOR, true)?;
            let unpacked = self.codec.unpack(&packed, cluster_size);
            return unpacked.map(Some).map_err(|why| self.broken(format!("the compressed cluster at byte {offset}: {why}")));
        }
        match entry & OFFSET {
            _ if entry & ZERO != 0 => Ok(None),
            0 => Ok(None),
            offset => self.file_bytes(offset, cluster_size as u64, false).map(Some),
        }
    }

    /// The L2 table at an L1 index; none where it is not allocated.
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

    /// Reads the header (section "Header").
    fn read_header(&mut self) -> Result<()> {
        let bytes = self.file_bytes(0, header_field::LEN, true)?;
        let short = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(short(at)) << 32 | u64::from(short(at + 4));
        if short(header_field::MAGIC) != MAGIC || !matches!(short(header_field::VERSION), 2 | 3) {
            return Err(self.broken("it is not a qcow2 file of version 2 or 3".into()));
        }
        let version_3 = short(header_field::VERSION) == 3;
        let incompatible = if version_3 { long(header_field::INCOMPATIBLE_FEATURES) } else { 0 };
        let (backing, encryption) = (long(header_field::BACKING_FILE_OFFSET), short(header_field::CRYPT_METHOD));
        if backing != 0 || encryption != 0 || incompatible & !COMPRESSION != 0 {
            let features = format!("features {incompatible:#x}, backing file at {backing}, encryption {encryption}");
            let error = self.broken(format!("it needs features that kbake cannot read: {features}"));
            return Err(error.hint(format!("convert it to one plain file: `qemu-img convert -O qcow2 {} WHOLE.qcow2`", quote(&self.name))));
        }
        let has_type = version_3 && short(header_field::HEADER_LENGTH) > header_field::COMPRESSION_TYPE as u32;
        let compression = if has_type { bytes[header_field::COMPRESSION_TYPE] } else { 0 };
        self.codec = match (incompatible, compression) {
            (0, 0) => Codec::Zlib,
            (COMPRESSION, 1) => Codec::Zstd,
            _ => return Err(self.broken(format!("its compression type is {compression}, with features {incompatible:#x}"))),
        };
        self.cluster_bits = short(header_field::CLUSTER_BITS);
        self.size = long(header_field::SIZE);
        if !(9..=21).contains(&self.cluster_bits) {
            return Err(self.broken(format!("its clusters have {} bits", self.cluster_bits)));
        }
        let l1_entries = u64::from(short(header_field::L1_SIZE));
        if l1_entries * 8 > MAX_L1 || l1_entries < self.size.div_ceil(1 << (2 * self.cluster_bits - 3)) {
            return Err(self.broken(format!("{l1_entries} L1 entries do not fit its disk of {} bytes", self.size)));
        }
        self.cache = vec![None; CACHE_MAX >> self.cluster_bits];
        self.l1 = self.l1_table(long(header_field::L1_TABLE_OFFSET), l1_entries)?;
        self.check_tables()
    }

    /// Reads the L1 table, which may be large, in steps.
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

    /// Refuses shared L2 tables: with them, a small file could stand for an endless disk.
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

    /// `len` bytes of the file itself. Bytes behind its end are zero with `past_end`, else an error.
    fn file_bytes(&self, offset: u64, len: u64, past_end: bool) -> Result<Vec<u8>> {
        // Checked before memory is allocated: `len` comes from the file.
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

/// Decodes a table of big-endian numbers.
fn numbers(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|chunk| chunk.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))).collect()
}
