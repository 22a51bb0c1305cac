//! A package, written anew with nothing in it compressed.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::{CONTROL_TOTAL_MAX, Control, Part, open_member, read_control, walk};
use crate::error::{Error, Result};

/// An archive's first bytes and the first member, whole.
const START: &[u8] = b"!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n";
/// The length of a member's header, in bytes.
const HEADER_LEN: u64 = 60;
/// The most bytes that a member's header can name.
const MEMBER_MAX: u64 = 9_999_999_999;
/// Bytes copied at a time.
const CHUNK: usize = 256 << 10;

/// Writes the same package with its two archives as they come out of their compression, and gives its own description.
/// `what` names it in messages.
///
/// # Errors
/// As of [`super::data`]; failures of `out`.
pub fn plain(reader: impl Read, what: &str, out: &mut (impl Write + Seek)) -> Result<Control> {
    let failed = |e: &io::Error| Error::io(format_args!("write {what} uncompressed"), e);
    let mut found = None;
    out.write_all(START).map_err(|e| failed(&e))?;
    walk(reader, what, &mut |part, name, member| {
        let limit = if part == Part::Control { CONTROL_TOTAL_MAX } else { MEMBER_MAX };
        let decoded = open_member(member, name, what, limit)?;
        match part {
            Part::Control => {
                let mut held = Vec::new();
                { decoded }.read_to_end(&mut held).map_err(|e| Error::io("read", &e))?;
                found = Some(read_control(held.as_slice(), what)?);
                write_member(part, &mut held.as_slice(), out, &failed)
            }
            Part::Version | Part::Data => write_member(part, &mut { decoded }, out, &failed),
        }
    })?;
    found.ok_or_else(|| Error::internal(format!("{what}: was read without its control archive")))
}

/// The length stands before the bytes and is known behind them.
fn write_member(part: Part, bytes: &mut dyn Read, out: &mut (impl Write + Seek), failed: &dyn Fn(&io::Error) -> Error) -> Result<()> {
    let start = out.stream_position().map_err(|e| failed(&e))?;
    out.seek(SeekFrom::Start(start + HEADER_LEN)).map_err(|e| failed(&e))?;
    let (mut buffer, mut len) = (vec![0; CHUNK], 0u64);
    loop {
        let n = bytes.read(&mut buffer).map_err(|e| Error::io("read", &e))?;
        if n == 0 {
            break;
        }
        out.write_all(&buffer[..n]).map_err(|e| failed(&e))?;
        len += n as u64;
    }
    let mut finish = || {
        if len % 2 == 1 {
            out.write_all(b"\n")?;
        }
        let end = out.stream_position()?;
        out.seek(SeekFrom::Start(start))?;
        out.write_all(format!("{:<16}0           0     0     100644  {len:<10}`\n", part.name()).as_bytes())?;
        out.seek(SeekFrom::Start(end))
    };
    finish().map(drop).map_err(|e| failed(&e))
}
