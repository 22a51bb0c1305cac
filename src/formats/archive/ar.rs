//! The `ar` format of Debian packages: short names, no symbol table
//! ([deb(5)](https://manpages.debian.org/bookworm/dpkg-dev/deb.5.en.html), layout as in
//! [ar.h](https://sourceware.org/binutils/docs/binutils/ar.html)).

use std::io::{self, Read};

use super::{Named, read_up_to};
use crate::common::error::{Error, Result};
use crate::common::value::escape;

/// The first bytes of every archive (`ARMAG`).
const MAGIC: &[u8; 8] = b"!<arch>\n";
/// The length of a member's header (`struct ar_hdr`), in bytes.
const HEADER_LEN: usize = 60;
/// The last bytes of the header (`ARFMAG`).
const HEADER_END: &[u8; 2] = b"`\n";

/// A reader of an archive's members, in order.
pub struct Archive<R> {
    input: Named<R>,
    /// The current member's name, for messages.
    member: String,
    /// Unread bytes of the current member.
    left: u64,
    /// A padding byte follows the current member: members start at even offsets.
    odd: bool,
}

/// A member; reads as its bytes.
pub struct Member<'a, R> {
    /// The name, without the trailing slash of some writers.
    pub name: String,
    /// The length in bytes.
    pub size: u64,
    archive: &'a mut Archive<R>,
}

impl<R: Read> Archive<R> {
    /// Starts reading; `what` names the archive in messages.
    pub fn new(input: R, what: &str) -> Result<Self> {
        let mut input = Named { inner: input, what: what.to_owned() };
        let mut magic = [0; MAGIC.len()];
        let got = read_up_to(&mut input, &mut magic).map_err(|e| Error::io("read", &e))?;
        if magic != *MAGIC {
            let found = escape(&magic[..got]);
            return Err(Error::integrity(format!("{what}: is not an ar archive"))
                .detail(format!("expected `!<arch>` at its start, found `{found}`")));
        }
        Ok(Archive { input, member: String::new(), left: 0, odd: false })
    }

    /// The next member; `None` at the end of the archive. Skips the unread rest of the current member.
    pub fn next_member(&mut self) -> Result<Option<Member<'_, R>>> {
        self.finish_member()?;
        let mut header = [0; HEADER_LEN];
        let got = read_up_to(&mut self.input, &mut header).map_err(|e| Error::io("read", &e))?;
        if got == 0 {
            return Ok(None);
        }
        if got < HEADER_LEN {
            return Err(self.bad(format!("ends inside a member's header, {got} of {HEADER_LEN} bytes are there")));
        }
        let (name, size) = parse_header(&header).map_err(|reason| self.bad(reason))?;
        self.member.clone_from(&name);
        self.left = size;
        self.odd = size % 2 == 1;
        Ok(Some(Member { name, size, archive: self }))
    }

    fn finish_member(&mut self) -> Result<()> {
        let mut scratch = [0; 16 << 10];
        while self.read_member(&mut scratch).map_err(|e| Error::io("read", &e))? > 0 {}
        if self.odd {
            let mut filler = [0];
            let got = read_up_to(&mut self.input, &mut filler).map_err(|e| Error::io("read", &e))?;
            if got == 0 || filler != *b"\n" {
                return Err(self.bad(format!("the padding byte after `{}` is missing", self.member)));
            }
            self.odd = false;
        }
        Ok(())
    }

    fn read_member(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let got = self.input.read(&mut buffer[..most])?;
        if got == 0 {
            return Err(self.bad(format!("ends inside member `{}`, {} bytes are missing", self.member, self.left)).into());
        }
        self.left -= got as u64;
        Ok(got)
    }

    fn bad(&self, reason: String) -> Error {
        Error::integrity(format!("{}: {reason}", self.input.what))
    }
}

impl<R: Read> Read for Member<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.archive.read_member(buffer)
    }
}

/// The bytes of the fields of a member's header (`struct ar_hdr`).
mod header_field {
    use std::ops::Range;

    pub(super) const NAME: Range<usize> = 0..16;
    pub(super) const DATE: Range<usize> = 16..28;
    pub(super) const UID: Range<usize> = 28..34;
    pub(super) const GID: Range<usize> = 34..40;
    pub(super) const MODE: Range<usize> = 40..48;
    pub(super) const SIZE: Range<usize> = 48..58;
    pub(super) const END: Range<usize> = 58..60;
}

/// Parses name and size from a header; time, owner and mode are only checked for form.
fn parse_header(header: &[u8; HEADER_LEN]) -> Result<(String, u64), String> {
    if header[header_field::END] != *HEADER_END {
        return Err(format!("a member's header does not end as it should: `{}`", escape(header)));
    }
    let name = parse_name(&header[header_field::NAME])?;
    let (date, uid, gid) = (header_field::DATE, header_field::UID, header_field::GID);
    for (field, range, radix) in [("time", date, 10), ("owner", uid, 10), ("group", gid, 10), ("mode", header_field::MODE, 8)] {
        parse_number(&header[range], radix, true).map_err(|reason| format!("member `{name}`: {field} {reason}"))?;
    }
    let size = parse_number(&header[header_field::SIZE], 10, false).map_err(|reason| format!("member `{name}`: size {reason}"))?;
    Ok((name, size))
}

/// Parses a name of at most 16 bytes, padded with spaces. The forms for longer names (`/12`, `//`, `#1/12`) and symbol
/// tables (`/`) belong to linkers; no package has them.
fn parse_name(field: &[u8]) -> Result<String, String> {
    let trimmed = field.trim_ascii_end();
    let name = trimmed.strip_suffix(b"/").unwrap_or(trimmed);
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-+~".contains(b);
    if name.is_empty() || !name.iter().all(plain) {
        return Err(format!("`{}` is not a member name of a package", escape(field)));
    }
    Ok(name.iter().map(|&b| b as char).collect())
}

/// Parses digits, followed by spaces up to the end of the field.
fn parse_number(field: &[u8], radix: u32, empty_ok: bool) -> Result<u64, String> {
    let bad = || format!("`{}` is not a number", escape(field));
    let mut digits = field;
    while let [head @ .., b' '] = digits {
        digits = head;
    }
    if digits.is_empty() && empty_ok {
        return Ok(0);
    }
    if digits.is_empty() || !digits.iter().all(|&b| (b as char).is_digit(radix)) {
        return Err(bad());
    }
    let text = std::str::from_utf8(digits).map_err(|_| bad())?;
    u64::from_str_radix(text, radix).map_err(|_| bad())
}
