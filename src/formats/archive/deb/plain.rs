//! Rewrites a package without compression.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::{CONTROL_TOTAL_MAX, Control, Part, open_member, read_control, walk};
use crate::common::error::{Error, Result};
use crate::formats::archive::policy::Policy;
use crate::formats::archive::sink::Sink;
use crate::formats::archive::tar;

/// The start of an archive: the magic and the complete first member.
const START: &[u8] = b"!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n";
/// The length of a member's header, in bytes.
const HEADER_LEN: u64 = 60;
/// The largest size that a member's header can store, in bytes.
const MEMBER_MAX: u64 = 9_999_999_999;
/// The number of bytes to copy at a time.
const CHUNK: usize = 256 << 10;

/// Writes the same package with its two archives uncompressed; returns its control data. Also passes the installed
/// files to `sink`, as far as the reader accepts them under `policy`: dpkg may accept more. `policy.what` names the
/// package in messages.
///
/// # Errors
/// Those of [`super::data`]; errors of `out`.
pub(crate) fn plain(reader: impl Read, policy: &Policy, sink: &mut dyn Sink, out: &mut (impl Write + Seek)) -> Result<Control> {
    let what = &*policy.what;
    let failed = |e: &io::Error| Error::io(format_args!("write {what} uncompressed"), e);
    let mut found = None;
    let mut pass = |tee: &mut Tee<'_, _>| drop(io::copy(tee, &mut io::sink()));
    let mut show = |tee: &mut Tee<'_, _>| drop(tar::read_plain(tee, policy, sink));
    out.write_all(START).map_err(|e| failed(&e))?;
    walk(reader, what, &mut |part, name, member| {
        let limit = if part == Part::Control { CONTROL_TOTAL_MAX } else { MEMBER_MAX };
        let decoded = open_member(member, name, what, limit)?;
        match part {
            Part::Control => {
                let mut held = Vec::new();
                { decoded }.read_to_end(&mut held).map_err(|e| Error::io("read", &e))?;
                found = Some(read_control(held.as_slice(), what)?);
                write_member(part, &mut held.as_slice(), out, &mut pass, &failed)
            }
            Part::Version | Part::Data => write_member(part, &mut { decoded }, out, &mut show, &failed),
        }
    })?;
    found.ok_or_else(|| Error::internal(format!("{what}: was read without its control archive")))
}

/// Writes a member; its length, known only afterwards, precedes its bytes. `reader` may read any part of the bytes; the
/// rest is copied too.
fn write_member<W: Write + Seek>(
    part: Part,
    bytes: &mut dyn Read,
    out: &mut W,
    reader: &mut dyn FnMut(&mut Tee<'_, W>),
    failed: &dyn Fn(&io::Error) -> Error,
) -> Result<()> {
    let start = out.stream_position().map_err(|e| failed(&e))?;
    out.seek(SeekFrom::Start(start + HEADER_LEN)).map_err(|e| failed(&e))?;
    let mut tee = Tee { from: bytes, to: out, len: 0, read: None, written: None };
    reader(&mut tee);
    let mut buffer = vec![0; CHUNK];
    loop {
        match tee.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let len = tee.end(failed)?;
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

/// A reader that writes all bytes to `to` as well. Fails forever after the first error.
struct Tee<'a, W> {
    from: &'a mut dyn Read,
    to: &'a mut W,
    len: u64,
    read: Option<Error>,
    written: Option<io::Error>,
}

impl<W> Tee<'_, W> {
    /// The number of bytes copied.
    fn end(self, failed: &dyn Fn(&io::Error) -> Error) -> Result<u64> {
        match (self.read, self.written) {
            (Some(error), _) => Err(error),
            (None, Some(error)) => Err(failed(&error)),
            (None, None) => Ok(self.len),
        }
    }
}

impl<W: Write> Read for Tee<'_, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read.is_some() || self.written.is_some() {
            return Err(io::Error::other("it failed before"));
        }
        let n = match self.from.read(buffer) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(e),
            Err(e) => {
                self.read = Some(Error::io("read", &e));
                return Err(io::Error::other("it failed"));
            }
        };
        if let Err(e) = self.to.write_all(&buffer[..n]) {
            self.written = Some(e);
            return Err(io::Error::other("it failed"));
        }
        self.len += n as u64;
        Ok(n)
    }
}
