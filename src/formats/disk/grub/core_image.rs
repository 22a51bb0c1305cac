//! The core image: GRUB's kernel and modules in one compressed stream, after the code that loads and unpacks it.

use std::io::Write;

use lzma_rust2::{EncodeMode, LzmaOptions, LzmaWriter, MfType};

use super::files::damaged;
use super::{GrubFiles, LINK_ADDRESS, SECTOR, elf};
use crate::{Error, Result};

/// Fields of `lzma_decompress.img` (`GRUB_DECOMPRESSOR_I386_PC_*` in `include/grub/offsets.h`).
mod decompressor {
    pub(super) const COMPRESSED_LEN: usize = 0x08;
    pub(super) const UNCOMPRESSED_LEN: usize = 0x0c;
    pub(super) const REED_SOLOMON_REDUNDANCY: usize = 0x10;
    /// The fields and the code around them; anything shorter is truncated.
    pub(super) const MIN_LEN: usize = 0x20;
    /// The code is loaded to 0x8200 and must end below the address of GRUB's kernel.
    pub(super) const MAX_LEN: usize = super::LINK_ADDRESS as usize - 0x8200;
}

/// The last entry of `diskboot.img`'s block list (`struct grub_pc_bios_boot_blocklist`): the list grows downwards, and
/// an entry of length 0 ends it. A contiguous core has one entry.
mod block_list {
    pub(super) const ENTRY: usize = super::SECTOR - 12;
    pub(super) const START: usize = ENTRY;
    pub(super) const LEN: usize = ENTRY + 8;
    pub(super) const SEGMENT: usize = ENTRY + 10;
    pub(super) const TERMINATOR: usize = ENTRY - 12;
    /// The memory address of the sector after `diskboot.img`: 0x8200, as a real-mode segment.
    pub(super) const FIRST_SEGMENT: u16 = 0x820;
}

/// Types of objects in the module area (`include/grub/kernel.h`).
#[derive(Clone, Copy)]
enum Object {
    Elf = 0,
    Config = 2,
    Prefix = 3,
}

/// `grub_module_info32` (`include/grub/kernel.h`): magic "gmim", offset of the first object, length of all.
const MODULE_MAGIC: u32 = 0x676d_696d;
const MODULE_INFO_LEN: u32 = 12;

/// The end of the memory that the core may occupy, which starts at 0x9000.
const LOAD_END: usize = 0x78000;

/// The parameters that GRUB's decompressor is compiled for; the stream has no header to carry them.
const LZMA_LITERAL_CONTEXT_BITS: u32 = 3;
const LZMA_LITERAL_POSITION_BITS: u32 = 0;
const LZMA_POSITION_BITS: u32 = 2;
/// The largest distance of a match. The decompressor reads back its own output, so it sets no limit; this covers
/// everything.
const LZMA_DICTIONARY: u32 = 1 << 20;

/// A core image before it has a place on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreImage(Vec<u8>);

impl CoreImage {
    /// Builds the core from `modules` (and their dependencies by `moddep.lst`), `prefix`, the device and folder in
    /// which GRUB looks for its menu, and `config`, the commands that it runs first.
    ///
    /// # Errors
    /// Missing modules, damaged files, a core too large for the memory below 480 KiB.
    pub fn new(files: &GrubFiles, modules: &[&str], prefix: &str, config: &str) -> Result<Self> {
        let mut payload = elf::flatten(&files.kernel)?;
        payload.extend(module_area(&files.closure(modules)?, config, prefix)?);
        let packed = compress(&payload)?;
        let mut core = files.diskboot.clone();
        core.extend(patched_decompressor(&files.decompressor, packed.len(), payload.len())?);
        core.extend(packed);
        let (found, room) = (core.len() - SECTOR, LOAD_END - LINK_ADDRESS as usize);
        if found > room {
            return Err(Error::user("GRUB's core image is too large for a BIOS to load")
                .detail(format!("expected at most {room} bytes, found {found}"))
                .hint("leave modules out of its list"));
        }
        core.resize(core.len().next_multiple_of(SECTOR), 0);
        Ok(CoreImage(core))
    }

    /// The bytes, without a place.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Parses the output of [`CoreImage::as_bytes`]; `None` for anything else.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let fits = bytes.len() > SECTOR && bytes.len() - SECTOR <= (LOAD_END - LINK_ADDRESS as usize).next_multiple_of(SECTOR);
        (fits && bytes.len().is_multiple_of(SECTOR)).then(|| CoreImage(bytes.to_vec()))
    }

    /// The number of sectors of 512 bytes; at most 889.
    pub fn sectors(&self) -> u64 {
        (self.0.len() / SECTOR) as u64
    }

    /// The bytes to write from sector `lba` on (in units of 512 bytes, from the disk's start). The core must be
    /// contiguous.
    pub fn placed_at(&self, lba: u64) -> Vec<u8> {
        let mut core = self.0.clone();
        let rest = (self.sectors() - 1) as u16;
        core[block_list::TERMINATOR..block_list::ENTRY].fill(0);
        put(&mut core, block_list::START, &(lba + 1).to_le_bytes());
        put(&mut core, block_list::LEN, &rest.to_le_bytes());
        put(&mut core, block_list::SEGMENT, &block_list::FIRST_SEGMENT.to_le_bytes());
        core
    }
}

/// The data after the kernel in memory: modules, early commands and prefix, each with a header.
fn module_area(modules: &[&[u8]], config: &str, prefix: &str) -> Result<Vec<u8>> {
    for (what, text) in [("early configuration", config), ("prefix", prefix)] {
        if text.contains('\0') {
            return Err(Error::internal(format!("GRUB's {what} has a zero byte, which would end it")));
        }
    }
    let text = |text: &str| [text.as_bytes(), b"\0"].concat();
    let (config, prefix) = (text(config), text(prefix));
    let objects = modules
        .iter()
        .map(|module| (Object::Elf, *module))
        .chain([(Object::Config, config.as_slice()), (Object::Prefix, prefix.as_slice())]);
    let mut area = vec![0; MODULE_INFO_LEN as usize];
    for (kind, bytes) in objects {
        let padded = bytes.len().next_multiple_of(4);
        let len = u32::try_from(padded + 8).map_err(|_| damaged("a module of GRUB is larger than 4 GiB"))?;
        area.extend((kind as u32).to_le_bytes());
        area.extend(len.to_le_bytes());
        area.extend(bytes);
        area.resize(area.len() + padded - bytes.len(), 0);
    }
    let len = u32::try_from(area.len()).map_err(|_| damaged("GRUB's modules are larger than 4 GiB"))?;
    for (at, value) in [(0, MODULE_MAGIC), (4, MODULE_INFO_LEN), (8, len)] {
        put(&mut area, at, &value.to_le_bytes());
    }
    Ok(area)
}

/// The code that unpacks the `compressed_len` bytes after it to `len` bytes.
fn patched_decompressor(image: &[u8], compressed_len: usize, len: usize) -> Result<Vec<u8>> {
    if !(decompressor::MIN_LEN..=decompressor::MAX_LEN).contains(&image.len()) {
        return Err(damaged("GRUB's file `lzma_decompress.img` is damaged").detail(format!(
            "expected {} to {} bytes, found {}",
            decompressor::MIN_LEN,
            decompressor::MAX_LEN,
            image.len()
        )));
    }
    let word = |value: usize| u32::try_from(value).map_err(|_| damaged("GRUB's modules are larger than 4 GiB"));
    let mut image = image.to_vec();
    put(&mut image, decompressor::COMPRESSED_LEN, &word(compressed_len)?.to_le_bytes());
    put(&mut image, decompressor::UNCOMPRESSED_LEN, &word(len)?.to_le_bytes());
    put(&mut image, decompressor::REED_SOLOMON_REDUNDANCY, &0u32.to_le_bytes());
    Ok(image)
}

/// One raw LZMA stream: no header and no end marker, because the decompressor knows the length.
fn compress(payload: &[u8]) -> Result<Vec<u8>> {
    let options = LzmaOptions::new(
        LZMA_DICTIONARY,
        LZMA_LITERAL_CONTEXT_BITS,
        LZMA_LITERAL_POSITION_BITS,
        LZMA_POSITION_BITS,
        EncodeMode::Normal,
        LzmaOptions::NICE_LEN_MAX,
        MfType::Bt4,
        0,
    );
    let failed = |error| Error::internal(format!("cannot compress GRUB's core image: {error}"));
    let mut writer = LzmaWriter::new_no_header(Vec::new(), &options, false).map_err(failed)?;
    writer.write_all(payload).map_err(failed)?;
    writer.finish().map_err(failed)
}

/// Writes a field whose offset was checked when the file was loaded.
fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}
