//! Whether a program runs in an image where there is nothing but it
//! ([ELF-64](https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html)).

use crate::value::{Arch, escape};

/// How much of a file's beginning [`elf_is_static`] wants to see, in bytes. Linkers put the program headers right behind
/// the file's own; Linux itself reads at most one page of them.
pub const ELF_HEAD: usize = 64 << 10;

/// `Elf64_Ehdr`: its length and the offsets of the fields used.
mod header {
    pub const LEN: usize = 64;
    pub const TYPE: usize = 16;
    pub const MACHINE: usize = 18;
    pub const ENTRY: usize = 24;
    pub const PROGRAM_HEADERS: usize = 32;
    pub const PROGRAM_HEADER_LEN: usize = 54;
    pub const PROGRAM_HEADER_COUNT: usize = 56;
}

/// `Elf64_Phdr`: offsets of its fields.
mod segment {
    pub const LEN: usize = 56;
    pub const TYPE: usize = 0;
    pub const OFFSET: usize = 8;
    pub const FILE_LEN: usize = 32;
}

/// What every ELF file begins with.
pub(super) const MAGIC: &[u8] = b"\x7fELF";
/// 64 bits, little-endian, version 1.
const IDENT: &[u8] = b"\x7fELF\x02\x01\x01";
const EXECUTABLE: u16 = 2;
/// Libraries too, and programs that may lie anywhere in memory.
const SHARED: u16 = 3;
const X86_64: u16 = 62;
const AARCH64: u16 = 183;
const LOAD: u32 = 1;
const INTERPRETER: u32 = 3;

/// Fails unless the file is a program for this machine that needs no loader and no library. `head` is the whole file or at
/// least its first [`ELF_HEAD`] bytes. The error ends a sentence that begins with the file's name.
pub fn elf_is_static(head: &[u8], arch: Arch) -> Result<(), String> {
    match loader(head, arch)? {
        Some(path) => Err(format!("is not static: it asks for {path}")),
        None => Ok(()),
    }
}

/// As [`elf_is_static`], for a program that may need a loader and libraries.
pub fn elf_is_program(head: &[u8], arch: Arch) -> Result<(), String> {
    loader(head, arch).map(drop)
}

/// The loader that a program for this machine asks for, if it does.
fn loader(head: &[u8], arch: Arch) -> Result<Option<String>, String> {
    if !head.starts_with(MAGIC) {
        return Err("is no program (no ELF file)".into());
    }
    if head.len() < header::LEN || !head.starts_with(IDENT) {
        return Err(format!("is no program for {arch} (no 64-bit little-endian ELF file)"));
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
        other => return Err(format!("is a program for another machine (ELF number {other}), not for {arch}")),
    }
    if ![EXECUTABLE, SHARED].contains(&field(header::TYPE)) || u64_at(head, header::ENTRY).unwrap_or_default() == 0 {
        return Err("is no program, but an object or a library".into());
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
            at.and_then(|at| head.get(at..)?.get(..segment::LEN)).ok_or("is damaged: its program headers are not where it begins")?;
        match u32_at(entry, segment::TYPE) {
            Some(LOAD) => loads = true,
            Some(INTERPRETER) => loader = Some(interpreter(head, entry)),
            _ => {}
        }
    }
    if loads { Ok(loader) } else { Err("is no program: it has nothing to load".into()) }
}

/// The loader's path, for people.
fn interpreter(head: &[u8], entry: &[u8]) -> String {
    let number = |at| u64_at(entry, at).and_then(|value| usize::try_from(value).ok());
    let found = number(segment::OFFSET).zip(number(segment::FILE_LEN)).and_then(|(at, len)| head.get(at..)?.get(..len.min(80)));
    let path = found.map(|bytes| bytes.split(|&byte| byte == 0).next().unwrap_or_default());
    path.map_or_else(|| "a loader".into(), escape)
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
