//! Searches compressed files: rotated logs, initial RAM disks, modules.

use std::io::{self, Read};

use super::super::disk::ReadError;
use super::super::filesystem::Stream;
use super::scan::{Hit, Scanner};
use crate::common::error::{Class, Error};
use crate::common::value::Cancel;
use crate::formats::archive::compress::{self, Format};

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;
/// The highest compression ratio of a sound file.
const RATIO_MAX: u64 = 4096;
/// The limit of unpacked bytes is never lower than this.
const SMALL: u64 = 64 << 20;
/// The limit of unpacked bytes is never higher than this.
const LARGE: u64 = 32 << 30;
/// The longest plain archive before the compressed one in an initial RAM disk, in bytes.
const EARLY_MAX: u64 = 128 << 20;

/// True for the first bytes of a compressed file.
pub(super) fn is_packed(head: &[u8]) -> bool {
    Format::sniff(head) != Format::Plain
}

/// True for the first bytes of an archive in [cpio's new format](https://docs.kernel.org/driver-api/early-userspace/buffer-format.html).
pub(super) fn is_cpio(head: &[u8]) -> bool {
    head.starts_with(b"070701") || head.starts_with(b"070702")
}

/// Searches the unpacked contents of a compressed file from the stream's position on. Returns the number of bytes, or the reason why
/// the file could not be unpacked to its end.
pub(super) fn scan(
    mut stream: Stream<'_>,
    size: u64,
    cancel: &Cancel,
    found: &mut dyn FnMut(Hit),
) -> Result<Result<u64, String>, ReadError> {
    scan_from(Source { stream: &mut stream }, size, cancel, found)
}

/// Does the same as [`scan`], for any reader.
pub(super) fn scan_from(
    source: impl Read,
    size: u64,
    cancel: &Cancel,
    found: &mut dyn FnMut(Hit),
) -> Result<Result<u64, String>, ReadError> {
    let limit = (size.saturating_mul(RATIO_MAX)).clamp(SMALL, LARGE);
    let mut scanner = Scanner::new(0);
    let mut buffer = vec![0; CHUNK];
    let mut decoded = match compress::open(source, "a compressed file", limit) {
        Ok((_, decoded)) => decoded,
        Err(error) => return unreadable(error),
    };
    loop {
        cancel.check()?;
        match decoded.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => scanner.push(&buffer[..count], found),
            Err(error) => {
                scanner.finish(found);
                return unreadable(Error::io("unpack a file", &error));
            }
        }
    }
    scanner.finish(found);
    Ok(Ok(scanner.end()))
}

/// The fault of a damaged file; other errors pass through.
fn unreadable(error: Error) -> Result<Result<u64, String>, ReadError> {
    match error.class() {
        Class::Integrity => Ok(Err(error.message().to_owned())),
        _ => Err(ReadError::Failed(error)),
    }
}

/// Moves a stream behind a plain cpio archive; false when no compressed data follows.
pub(super) fn behind_cpio(stream: &mut Stream<'_>, size: u64, cancel: &Cancel) -> Result<bool, ReadError> {
    const TRAILER: &[u8] = b"TRAILER!!!";
    let mut window: Vec<u8> = Vec::new();
    let mut base = 0;
    let mut ended = false;
    while base < EARLY_MAX.min(size) {
        cancel.check()?;
        let old = window.len();
        window.resize(old + CHUNK, 0);
        let count = stream.read(&mut window[old..])?;
        window.truncate(old + count);
        if !ended && let Some(at) = window.windows(TRAILER.len()).position(|part| part == TRAILER) {
            ended = true;
            window.drain(..at + TRAILER.len());
            base += (at + TRAILER.len()) as u64;
        }
        // Archives are padded with zeros.
        if ended && let Some(at) = window.iter().position(|&byte| byte != 0) {
            let rest = &window[at..];
            if is_cpio(rest) {
                ended = false;
            } else {
                let here = base + at as u64;
                let packed = is_packed(rest);
                stream.back_to(here);
                return Ok(packed);
            }
        }
        if count == 0 {
            return Ok(false);
        }
        let keep = if ended { 0 } else { TRAILER.len() - 1 };
        let cut = window.len().saturating_sub(keep);
        window.drain(..cut);
        base += cut as u64;
    }
    Ok(false)
}

/// A stream as a reader for a decoder.
struct Source<'a, 'b> {
    stream: &'a mut Stream<'b>,
}

impl Read for Source<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into).map_err(|error| match error.broken() {
            Ok(why) => Error::integrity(why).into(),
            Err(error) => error.into(),
        })
    }
}
