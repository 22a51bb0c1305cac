//! Looks into compressed files: logs that were rotated, initial RAM disks, modules.

use std::io::{self, Read};

use super::super::disk::Trouble;
use super::super::filesystem::Stream;
use super::scan::{Hit, Scanner};
use crate::error::{Class, Error};
use crate::unpack::compress::{self, Format};
use crate::value::Cancel;

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;
/// The most that one byte may become: no honest file is packed so tightly.
const RATIO_MAX: u64 = 4096;
/// A file however small may become this many bytes.
const SMALL: u64 = 64 << 20;
/// And however large, no more than this.
const LARGE: u64 = 32 << 30;
/// An initial RAM disk may begin with a plain archive, of at most this many bytes, before the compressed one.
const EARLY_MAX: u64 = 128 << 20;

/// Whether a file that begins so may have compressed bytes to look into.
pub fn is_packed(head: &[u8]) -> bool {
    Format::sniff(head) != Format::Plain
}

/// Whether a file begins as an archive of [cpio's new format](https://docs.kernel.org/driver-api/early-userspace/buffer-format.html).
pub fn is_cpio(head: &[u8]) -> bool {
    head.starts_with(b"070701") || head.starts_with(b"070702")
}

/// Looks for secrets in what a compressed file unpacks to, from where the stream is on. Gives the number of bytes, or why
/// there may be more.
pub fn scan(mut stream: Stream<'_>, size: u64, cancel: &Cancel, found: &mut dyn FnMut(Hit)) -> Result<Result<u64, String>, Trouble> {
    scan_from(Source { stream: &mut stream }, size, cancel, found)
}

/// The same, from any reader.
pub fn scan_from(source: impl Read, size: u64, cancel: &Cancel, found: &mut dyn FnMut(Hit)) -> Result<Result<u64, String>, Trouble> {
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

/// What is wrong with the file, in words; other failures go up.
fn unreadable(error: Error) -> Result<Result<u64, String>, Trouble> {
    match error.class() {
        Class::Integrity => Ok(Err(error.message().to_owned())),
        _ => Err(Trouble::Own(error)),
    }
}

/// Brings a stream to what follows a plain cpio archive; false when nothing compressed does.
pub fn behind_cpio(stream: &mut Stream<'_>, size: u64, cancel: &Cancel) -> Result<bool, Trouble> {
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
        // Archives are filled up with zeros.
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

/// A stream for a decoder.
struct Source<'a, 'b> {
    stream: &'a mut Stream<'b>,
}

impl Read for Source<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into).map_err(|trouble| match trouble.broken() {
            Ok(why) => Error::integrity(why).into(),
            Err(error) => error.into(),
        })
    }
}
