//! Flattens the ELF executable `kernel.img`. [ELF](https://refspecs.linuxfoundation.org/elf/elf.pdf), book I.

use super::LINK_ADDRESS;
use super::files::damaged;
use crate::Result;

/// `Elf32_Ehdr` (ELF, figure 1-3): its length and field offsets.
mod header {
    pub(super) const LEN: usize = 52;
    pub(super) const TYPE: usize = 16;
    pub(super) const MACHINE: usize = 18;
    pub(super) const ENTRY: usize = 24;
    pub(super) const PROGRAM_HEADERS: usize = 28;
    pub(super) const PROGRAM_HEADER_LEN: usize = 42;
    pub(super) const PROGRAM_HEADER_COUNT: usize = 44;
}

/// `Elf32_Phdr` (ELF, figure 2-1): its length and field offsets.
mod segment {
    pub(super) const LEN: usize = 32;
    pub(super) const TYPE: usize = 0;
    pub(super) const OFFSET: usize = 4;
    pub(super) const ADDRESS: usize = 8;
    pub(super) const FILE_LEN: usize = 16;
    pub(super) const MEMORY_LEN: usize = 20;
}

const EXECUTABLE: u16 = 2;
const I386: u16 = 3;
const LOAD: u32 = 1;

/// The end of the memory for GRUB's kernel and its zeroed data: the disk buffer and the BIOS's own memory follow.
const MEMORY_END: u32 = 0x68000;

/// The memory image of `kernel`, from the link address to the end of its data. GRUB expects its modules right after the
/// data and clears its zeroed data itself after relocation: zeros for it here would hide the modules.
pub(super) fn flatten(kernel: &[u8]) -> Result<Vec<u8>> {
    let bad = |what: String| damaged("GRUB's file `kernel.img` is damaged").detail(what);
    let cut = || bad(format!("it ends after {} bytes, before the end of its segments", kernel.len()));
    if kernel.len() < header::LEN || !kernel.starts_with(b"\x7fELF\x01\x01\x01") {
        return Err(bad("it is not a 32-bit little-endian ELF file".into()));
    }
    if u16_at(kernel, header::TYPE) != Some(EXECUTABLE) || u16_at(kernel, header::MACHINE) != Some(I386) {
        return Err(bad("it is not an i386 executable".into()));
    }
    if u32_at(kernel, header::ENTRY) != Some(LINK_ADDRESS) {
        return Err(bad(format!("it does not start at {LINK_ADDRESS:#x}")));
    }
    if u16_at(kernel, header::PROGRAM_HEADER_LEN) != Some(segment::LEN as u16) {
        return Err(bad("its program headers have an unknown size".into()));
    }
    let first = u32_at(kernel, header::PROGRAM_HEADERS).ok_or_else(cut)? as usize;
    let count = usize::from(u16_at(kernel, header::PROGRAM_HEADER_COUNT).ok_or_else(cut)?);
    let mut image = Vec::new();
    for number in 0..count {
        let entry = first.checked_add(number * segment::LEN).and_then(|at| kernel.get(at..)?.get(..segment::LEN)).ok_or_else(cut)?;
        let field = |at| u32_at(entry, at).ok_or_else(cut);
        if field(segment::TYPE)? != LOAD {
            continue;
        }
        let (address, offset) = (field(segment::ADDRESS)?, field(segment::OFFSET)?);
        let (file_len, memory_len) = (field(segment::FILE_LEN)?, field(segment::MEMORY_LEN)?);
        let end = address.checked_add(memory_len).filter(|&end| address >= LINK_ADDRESS && end <= MEMORY_END && file_len <= memory_len);
        if end.is_none() {
            return Err(bad(format!("a segment of {memory_len:#x} bytes at {address:#x} is outside {LINK_ADDRESS:#x}..{MEMORY_END:#x}")));
        }
        let bytes = kernel.get(offset as usize..).and_then(|rest| rest.get(..file_len as usize)).ok_or_else(cut)?;
        let at = (address - LINK_ADDRESS) as usize;
        image.resize(image.len().max(at + bytes.len()), 0);
        image[at..at + bytes.len()].copy_from_slice(bytes);
    }
    if image.is_empty() {
        return Err(bad("it has no loadable segment".into()));
    }
    Ok(image)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
