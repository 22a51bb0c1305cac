//! The block layer of a tar: whole blocks, the bytes of a member, the end of the archive.

use std::io::{self, BufRead, BufReader, Read};

use super::header::BLOCK;
use crate::common::error::{Error, Result};
use crate::formats::archive::read_up_to;

/// The read-ahead buffer, in bytes. Reads of large files bypass it.
const BUFFER: usize = 128 << 10;

/// A tar's blocks in order.
pub(super) struct Blocks<R> {
    input: BufReader<R>,
    what: String,
}

impl<R: Read> Blocks<R> {
    /// Starts reading; `what` names the archive in messages.
    pub(super) fn new(input: R, what: &str) -> Self {
        Blocks { input: BufReader::with_capacity(BUFFER, input), what: what.to_owned() }
    }

    /// The next block; `None` at the end of the stream.
    pub(super) fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        match read_up_to(&mut self.input, &mut block).map_err(|e| self.failed(&e))? {
            BLOCK => Ok(Some(block)),
            0 => Ok(None),
            got => Err(Error::integrity(format!("{}: is cut off, its last block has {got} of {BLOCK} bytes", self.what))),
        }
    }

    /// The `size` bytes of a member. After reading them to their end, call [`Blocks::skip_padding`].
    pub(super) fn body(&mut self, size: u64) -> Body<'_, R> {
        Body { blocks: self, left: size }
    }

    /// The bytes of a small member; skips its padding.
    pub(super) fn held(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.body(size).read_to_end(&mut bytes).map_err(|e| self.failed(&e))?;
        self.skip_padding(size)?;
        Ok(bytes)
    }

    /// Skips the padding of the last block of a member of `size` bytes.
    pub(super) fn skip_padding(&mut self, size: u64) -> Result<()> {
        let used = (size % BLOCK as u64) as usize;
        if used == 0 {
            return Ok(());
        }
        let mut padding = [0; BLOCK];
        let got = read_up_to(&mut self.input, &mut padding[used..]).map_err(|e| self.failed(&e))?;
        if got < BLOCK - used {
            return Err(Error::integrity(format!("{}: is cut off after the contents of a file", self.what)));
        }
        Ok(())
    }

    /// Reads to the end of the stream, which may only have zeros: a second archive after the first would be seen by some
    /// readers and not by others. Reading to the end also verifies the compressed stream's checksum.
    pub(super) fn finish(&mut self) -> Result<()> {
        loop {
            let bytes = match self.input.fill_buf() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.failed(&e)),
                Ok(bytes) => bytes,
            };
            if bytes.iter().any(|&b| b != 0) {
                return Err(Error::integrity(format!("{}: has data after its end marker", self.what)));
            }
            let len = bytes.len();
            if len == 0 {
                return Ok(());
            }
            self.input.consume(len);
        }
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::io(format_args!("read {}", self.what), error)
    }
}

/// The bytes of a member; fails when the archive ends before them.
pub(super) struct Body<'a, R> {
    blocks: &'a mut Blocks<R>,
    left: u64,
}

impl<R> Body<'_, R> {
    /// The number of unread bytes.
    pub(super) fn left(&self) -> u64 {
        self.left
    }
}

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let got = self.blocks.input.read(&mut buffer[..most])?;
        if got == 0 {
            let message = format!("{}: is cut off, {} bytes of a file are missing", self.blocks.what, self.left);
            return Err(Error::integrity(message).into());
        }
        self.left -= got as u64;
        Ok(got)
    }
}
