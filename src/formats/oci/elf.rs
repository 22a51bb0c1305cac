//! Checks whether a program runs in an image that contains nothing else
//! ([ELF-64](https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html)).

use crate::common::value::{Arch, escape};

/// The number of first bytes of a file that [`elf_is_static`] needs. Linkers put the program headers right after the
/// file header; Linux itself reads at most one page of them.
pub const ELF_HEAD: usize = 64 << 10;

/// `Elf64_Ehdr`: its length and field offsets.
mod header {
    pub(super) const LEN: usize = 64;
    pub(super) const TYPE: usize = 16;
    pub(super) const MACHINE: usize = 18;
    pub(super) const ENTRY: usize = 24;
    pub(super) const PROGRAM_HEADERS: usize = 32;
    pub(super) const PROGRAM_HEADER_LEN: usize = 54;
    pub(super) const PROGRAM_HEADER_COUNT: usize = 56;
}

/// `Elf64_Phdr`: its length and field offsets.
mod segment {
    pub(super) const LEN: usize = 56;
    pub(super) const TYPE: usize = 0;
    pub(super) const OFFSET: usize = 8;
    pub(super) const FILE_LEN: usize = 32;
}

/// The magic number of every ELF file.
pub(super) const MAGIC: &[u8] = b"\x7fELF";
/// The identification of 64-bit, little-endian, version 1.
const IDENT: &[u8] = b"\x7fELF\x02\x01\x01";
const EXECUTABLE: u16 = 2;
/// Libraries, and position-independent programs.
const SHARED: u16 = 3;
const X86_64: u16 = 62;
const AARCH64: u16 = 183;
const LOAD: u32 = 1;
const INTERPRETER: u32 = 3;

/// Fails unless the file is a program for this architecture that needs no loader and no library. `head` is the whole
/// file or at least its first [`ELF_HEAD`] bytes. The error continues a sentence that begins with the file's name.
pub fn elf_is_static(head: &[u8], arch: Arch) -> Result<(), String> {
    match loader(head, arch)? {
        Some(path) => Err(format!("is not static: it needs the loader {path}")),
        None => Ok(()),
    }
}

/// [`elf_is_static`] for a program that may need a loader and libraries.
pub(crate) fn elf_is_program(head: &[u8], arch: Arch) -> Result<(), String> {
    loader(head, arch).map(drop)
}

/// The loader that a program for this architecture needs, if any.
fn loader(head: &[u8], arch: Arch) -> Result<Option<String>, String> {
    if !head.starts_with(MAGIC) {
        return Err("is not a program (not an ELF file)".into());
    }
    if head.len() < header::LEN || !head.starts_with(IDENT) {
        return Err(format!("is not a program for {arch} (not a 64-bit little-endian ELF file)"));
    }
    let field = |at| u16_at(head, at).unwrap_or_default();
    let machine = match arch {
        Arch::Amd64 => X86_64,
        Arch::Arm64 => AARCH64,
    };
    match field(header::MACHINE) {
        found if found == machine => {}
        X86_64 => return Err(format!("is a program for amd64, not for {arch}")),
        AARCH64 => return Err(format!("is a program for arm64, not for {arch}")),
        other => return Err(format!("is a program for another architecture (ELF machine {other}), not for {arch}")),
    }
    if ![EXECUTABLE, SHARED].contains(&field(header::TYPE)) || u64_at(head, header::ENTRY).unwrap_or_default() == 0 {
        return Err("is an object or a library, not a program".into());
    }
    segments(head)
}

fn segments(head: &[u8]) -> Result<Option<String>, String> {
    let first = u64_at(head, header::PROGRAM_HEADERS).unwrap_or_default();
    let count = u16_at(head, header::PROGRAM_HEADER_COUNT).unwrap_or_default();
    if u16_at(head, header::PROGRAM_HEADER_LEN) != Some(segment::LEN as u16) {
        return Err("is damaged: its program headers have an unknown size".into());
    }
    let (mut loads, mut loader) = (false, None);
    for number in 0..usize::from(count) {
        let at = usize::try_from(first).ok().and_then(|first| first.checked_add(number * segment::LEN));
        let entry =
            at.and_then(|at| head.get(at..)?.get(..segment::LEN)).ok_or("is damaged: its program headers are not at its beginning")?;
        match u32_at(entry, segment::TYPE) {
            Some(LOAD) => loads = true,
            Some(INTERPRETER) => loader = Some(interpreter(head, entry)),
            _ => {}
        }
    }
    if loads { Ok(loader) } else { Err("is not a program: it has no loadable segment".into()) }
}

/// The loader's path, for messages.
fn interpreter(head: &[u8], entry: &[u8]) -> String {
    let number = |at| u64_at(entry, at).and_then(|value| usize::try_from(value).ok());
    let found = number(segment::OFFSET).zip(number(segment::FILE_LEN)).and_then(|(at, len)| head.get(at..)?.get(..len.min(80)));
    let path = found.map(|bytes| bytes.split(|&byte| byte == 0).next().unwrap_or_default());
    path.map_or_else(|| "(path unreadable)".into(), escape)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
