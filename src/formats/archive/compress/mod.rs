//! Decompression with a bounded output; formats are detected by their first bytes.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use super::{Named, read_up_to};
use crate::common::error::{Class, Error, Result};

/// The length of the longest magic number, in bytes.
const SNIFF_LEN: usize = 6;
/// The size of the input buffer, in bytes.
const BUFFER: usize = 64 << 10;
/// The memory limit of the xz decoder, in KiB: `xz -9` needs a 64 MiB dictionary.
const XZ_MEMORY_KIB: u32 = 96 << 10;
/// The largest window of a zstd frame, as a power of two: 128 MiB, the default limit of `zstd` itself.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The output that any stream may have, in bytes, whatever its compression ratio.
const FREE: u64 = 256 << 20;
/// The largest compression ratio beyond that: real archives stay below 50, bombs of zeros start at 200.
const RATIO_MAX: u64 = 100;

/// The compression format of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Uncompressed, as far as the first bytes tell.
    Plain,
    /// gzip ([RFC 1952](https://www.rfc-editor.org/rfc/rfc1952)).
    Gzip,
    /// xz ([the .xz file format](https://tukaani.org/xz/xz-file-format.txt)).
    Xz,
    /// Zstandard ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878)).
    Zstd,
}

impl Format {
    /// Detects the format by a stream's first bytes.
    pub fn sniff(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Format::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
            // A frame, or a skippable frame before it (RFC 8878, 3.1.1 and 3.1.2).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Format::Zstd,
            _ => Format::Plain,
        }
    }

    /// The suffix of file names: `.gz`; empty for a plain file.
    pub fn suffix(self) -> &'static str {
        match self {
            Format::Plain => "",
            Format::Gzip => ".gz",
            Format::Xz => ".xz",
            Format::Zstd => ".zst",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Format::Plain => "plain",
            Format::Gzip => "gzip",
            Format::Xz => "xz",
            Format::Zstd => "zstd",
        }
    }
}

/// Opens a stream, whose format is detected by its first bytes. `what` names it in messages.
///
/// The reader fails when the output exceeds `limit` bytes or a plausible compression ratio, when the stream is corrupt
/// or truncated, and when data follow it. After an error it keeps failing. Every error wraps an [`Error`].
pub fn open<'a>(input: impl Read + 'a, what: &str, limit: u64) -> Result<(Format, Decoded<'a>)> {
    let mut input = Named { inner: input, what: what.to_owned() };
    let mut start = [0; SNIFF_LEN];
    let got = read_up_to(&mut input, &mut start).map_err(|e| Error::io("read", &e))?;
    let format = Format::sniff(&start[..got]);
    let packed = Rc::new(Cell::new(0));
    let whole = Counted { inner: io::Cursor::new(start).take(got as u64).chain(input), count: Rc::clone(&packed) };
    let inner: Box<dyn Read + 'a> = match format {
        Format::Plain => Box::new(whole),
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(BUFFER, whole))),
        Format::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(BufReader::with_capacity(BUFFER, whole), true, XZ_MEMORY_KIB)),
        Format::Zstd => {
            let failed = |e| Error::internal(format!("{what}: cannot start a zstd decoder: {e}"));
            let mut decoder = zstd::Decoder::new(whole).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(failed)?;
            Box::new(decoder)
        }
    };
    Ok((format, Decoded { inner, packed, format, what: what.to_owned(), limit, left: limit, failed: None }))
}

/// A reader that counts its bytes.
struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.count.set(self.count.get() + got as u64);
        Ok(got)
    }
}

/// The decompressed bytes of a stream.
pub struct Decoded<'a> {
    inner: Box<dyn Read + 'a>,
    /// The number of compressed bytes read so far.
    packed: Rc<Cell<u64>>,
    format: Format,
    what: String,
    limit: u64,
    left: u64,
    /// The first error. Decoders must not be called again after an error: some would panic.
    failed: Option<Error>,
}

impl Decoded<'_> {
    fn read_inner(&mut self, buffer: &mut [u8]) -> Result<usize> {
        // Asks for one byte more than allowed, to tell "exactly the limit" from "beyond it".
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).saturating_add(1).min(buffer.len());
        let got = loop {
            match self.inner.read(&mut buffer[..most]) {
                Ok(n) => break n as u64,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.named(&e)),
            }
        };
        if got > self.left {
            return Err(Error::integrity(format!("{}: holds more than the {} bytes that are allowed", self.what, self.limit))
                .detail(format!("read as a {} stream; it may be a decompression bomb", self.format.name())));
        }
        self.left -= got;
        let (packed, unpacked) = (self.packed.get(), self.limit - self.left);
        if unpacked > FREE && unpacked / RATIO_MAX > packed {
            return Err(Error::integrity(format!("{}: is a decompression bomb", self.what))
                .detail(format!("its first {packed} bytes hold more than {unpacked}, as a {} stream", self.format.name())));
        }
        Ok(got as usize)
    }

    fn named(&self, error: &io::Error) -> Error {
        if error.get_ref().is_some_and(|e| e.is::<Error>()) {
            return Error::io("read", error);
        }
        let (what, format) = (&self.what, self.format.name());
        Error::new(Class::Integrity, format!("{what}: is cut off or corrupt as a {format} stream")).detail(error.to_string())
    }
}

impl Read for Decoded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        // The xz decoder takes an empty read for the end of a block.
        if buffer.is_empty() {
            return Ok(0);
        }
        self.read_inner(buffer).map_err(|error| {
            self.failed = Some(error.clone());
            error.into()
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
