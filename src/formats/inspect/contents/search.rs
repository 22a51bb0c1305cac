//! Finds the build information in a Go program ([debug/buildinfo](https://pkg.go.dev/debug/buildinfo)).
//!
//! The linker gives it a section of its own, `.go.buildinfo`, at a multiple of 16 bytes in the writable data. Section headers may
//! lie behind all contents or be missing; program headers are at every file's start. So the writable segments are searched, as Go
//! does for files without sections, and one pass over the stream is enough.

use std::io::{self, Read};

use super::super::bytes::{le16, le32, le64};

/// The first bytes of the information.
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The alignment of its address, in bytes.
const ALIGN: usize = 16;
/// The length of its header, in bytes. Strings follow.
const HEADER: usize = 32;
const POINTER_LEN_AT: usize = 14;
const FLAGS_AT: usize = 15;
/// Flag: strings follow the header. Before Go 1.18 the header had pointers to them.
const INLINE: u8 = 2;
/// The longest information that is read, in bytes: that of Kubernetes' largest program has 20,000.
pub(super) const INFO_MAX: usize = 4 << 20;
/// The most candidates that are tried.
const TRIES: usize = 8;
/// Bytes that are searched at a time.
const CHUNK: usize = 64 << 10;

/// The head of a file that must hold its program headers, in bytes.
const HEAD: u64 = 64 << 10;
/// 64 bits, little-endian, version 1.
const IDENT: &[u8] = b"\x7fELF\x02\x01\x01";
/// `Elf64_Phdr`, in bytes.
const SEGMENT_LEN: usize = 56;
const LOAD: u32 = 1;
const EXECUTABLE: u32 = 1;
const WRITABLE: u32 = 2;

/// Undecoded build information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Info {
    /// The version of Go.
    pub go: String,
    /// The text about modules, without its marks; empty for a program that was built without modules.
    pub modules: String,
}

/// A segment that is loaded as writable data.
struct Segment {
    offset: u64,
    len: u64,
    address: u64,
}

/// The information of a program, or the reason why it cannot be read; none for other files.
pub(super) fn build_info(bytes: &mut dyn Read) -> io::Result<Option<Result<Info, String>>> {
    let mut head = Vec::new();
    (&mut *bytes).take(IDENT.len() as u64).read_to_end(&mut head)?;
    if head != IDENT {
        return Ok(None);
    }
    (&mut *bytes).take(HEAD - IDENT.len() as u64).read_to_end(&mut head)?;
    let segments = segments(&head);
    let mut all = io::Cursor::new(head).chain(bytes);
    let (mut at, mut failed) = (0, None);
    for segment in segments {
        // No linker makes overlapping segments.
        let Some(gap) = segment.offset.checked_sub(at) else { continue };
        let before = gap + (segment.address.wrapping_neg() % ALIGN as u64).min(segment.len);
        if io::copy(&mut (&mut all).take(before), &mut io::sink())? < before {
            break;
        }
        let mut window = Window { bytes: &mut all, left: segment.offset + segment.len - (at + before), held: Vec::new(), start: 0 };
        match window.search()? {
            Some(Ok(info)) => return Ok(Some(Ok(info))),
            found => failed = failed.or(found),
        }
        at = segment.offset + segment.len;
    }
    Ok(failed)
}

/// Offsets in an ELF header in bytes (elf(5), `Elf64_Ehdr`), named without `e_`.
mod header_field {
    pub(super) const PHOFF: usize = 32;
    pub(super) const PHENTSIZE: usize = 54;
    pub(super) const PHNUM: usize = 56;
}

/// Offsets in a program header in bytes (elf(5), `Elf64_Phdr`), named without `p_`.
mod segment_field {
    pub(super) const TYPE: usize = 0;
    pub(super) const FLAGS: usize = 4;
    pub(super) const OFFSET: usize = 8;
    pub(super) const VADDR: usize = 16;
    pub(super) const FILESZ: usize = 32;
}

/// The writable data of a program, in the file's order.
fn segments(head: &[u8]) -> Vec<Segment> {
    let first = usize::try_from(le64(head, header_field::PHOFF)).unwrap_or(usize::MAX);
    let count = usize::from(le16(head, header_field::PHNUM));
    if usize::from(le16(head, header_field::PHENTSIZE)) != SEGMENT_LEN {
        return Vec::new();
    }
    let table = head.get(first..).unwrap_or_default();
    let mut found: Vec<Segment> = table.chunks_exact(SEGMENT_LEN).take(count).filter_map(segment).collect();
    found.sort_by_key(|segment| segment.offset);
    found
}

fn segment(header: &[u8]) -> Option<Segment> {
    let (kind, flags) = (le32(header, segment_field::TYPE), le32(header, segment_field::FLAGS));
    let segment = Segment {
        offset: le64(header, segment_field::OFFSET),
        len: le64(header, segment_field::FILESZ),
        address: le64(header, segment_field::VADDR),
    };
    let is_data = kind == LOAD && flags & (WRITABLE | EXECUTABLE) == WRITABLE;
    (is_data && segment.offset.checked_add(segment.len).is_some()).then_some(segment)
}

/// The rest of a segment, with a buffer.
struct Window<'a> {
    bytes: &'a mut dyn Read,
    /// Bytes of the segment that are not in the buffer yet.
    left: u64,
    held: Vec<u8>,
    /// The position of the search in the buffer.
    start: usize,
}

impl Window<'_> {
    /// The next `len` bytes or more; fewer only at the end.
    fn ahead(&mut self, len: usize) -> io::Result<&[u8]> {
        if self.held.len() - self.start < len {
            self.held.drain(..self.start);
            self.start = 0;
            let wanted = self.left.min((len - self.held.len()) as u64);
            let got = (&mut *self.bytes).take(wanted).read_to_end(&mut self.held)? as u64;
            self.left = if got < wanted { 0 } else { self.left - got };
        }
        Ok(&self.held[self.start..])
    }

    fn search(&mut self) -> io::Result<Option<Result<Info, String>>> {
        let mut failed = None;
        for _ in 0..TRIES {
            if !self.next()? {
                break;
            }
            match decode(self.ahead(INFO_MAX)?) {
                Ok(info) => return Ok(Some(Ok(info))),
                Err(why) => failed = failed.or(Some(Err(why))),
            }
            self.start += ALIGN;
        }
        // Leaves the stream behind the segment.
        let left = std::mem::take(&mut self.left);
        io::copy(&mut (&mut *self.bytes).take(left), &mut io::sink())?;
        Ok(failed)
    }

    /// Moves to the next candidate; false when there is none.
    fn next(&mut self) -> io::Result<bool> {
        loop {
            let ahead = self.ahead(CHUNK)?;
            let (blocks, len) = (ahead.as_chunks::<ALIGN>().0, ahead.len());
            if let Some(found) = blocks.iter().position(|block| block.starts_with(MAGIC)) {
                self.start += found * ALIGN;
                return Ok(true);
            }
            if len < CHUNK {
                return Ok(false);
            }
            self.start += blocks.len() * ALIGN;
        }
    }
}

/// Decodes build information.
fn decode(bytes: &[u8]) -> Result<Info, String> {
    let [pointer, flags] = [POINTER_LEN_AT, FLAGS_AT].map(|at| bytes.get(at).copied().unwrap_or_default());
    if flags & INLINE == 0 {
        return Err(match pointer {
            4 | 8 => "its build information is in the form of Go before 1.18, which is not read".into(),
            _ => "its build information is in an unknown form".into(),
        });
    }
    let cut = || "its build information is damaged, or larger than 4 MiB".to_owned();
    let (go, rest) = bytes.get(HEADER..).and_then(string).ok_or_else(cut)?;
    let (framed, _) = string(rest).ok_or_else(cut)?;
    let text = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains(|c: char| c.is_control() && !"\n\t".contains(c)));
        text.map(str::to_owned).ok_or_else(|| "its build information is not text".to_owned())
    };
    if go.is_empty() {
        return Err("its build information names no version of Go".into());
    }
    Ok(Info { go: text(go)?, modules: text(unframed(framed))? })
}

/// A string and the bytes behind it. A length precedes it, seven bits per byte, the lowest first.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    let mut len: u64 = 0;
    for &byte in bytes[..=end].iter().rev() {
        len = len.checked_mul(128)? | u64::from(byte & 0x7f);
    }
    bytes[end + 1..].split_at_checked(usize::try_from(len).ok()?)
}

/// The text between its two marks of 16 bytes.
fn unframed(bytes: &[u8]) -> &[u8] {
    const MARK: usize = 16;
    let is_framed = bytes.len() > 2 * MARK && bytes[bytes.len() - MARK - 1] == b'\n';
    if is_framed { &bytes[MARK..bytes.len() - MARK] } else { &[] }
}
