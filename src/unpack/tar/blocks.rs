//! The stream below the entries: whole blocks, the bytes of one member, the archive's end.

use std::io::{self, BufRead, BufReader, Read};

use super::header::BLOCK;
use crate::error::{Error, Result};
use crate::unpack::read_up_to;

/// Bytes read ahead. Large files are read past it.
const BUFFER: usize = 128 << 10;

/// A tar's blocks in order.
pub struct Blocks<R> {
    input: BufReader<R>,
    what: String,
}

impl<R: Read> Blocks<R> {
    /// Starts reading; `what` names the archive in messages.
    pub fn new(input: R, what: &str) -> Self {
        Blocks { input: BufReader::with_capacity(BUFFER, input), what: what.to_owned() }
    }

    /// The next block; none at the stream's end.
    pub fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        match read_up_to(&mut self.input, &mut block).map_err(|e| self.failed(&e))? {
            BLOCK => Ok(Some(block)),
            0 => Ok(None),
            got => Err(Error::integrity(format!("{}: is cut off, its last block has {got} of {BLOCK} bytes", self.what))),
        }
    }

    /// The `size` bytes of a member. Whoever reads them to their end calls [`Blocks::skip_padding`] next.
    pub fn body(&mut self, size: u64) -> Body<'_, R> {
        Body { blocks: self, left: size }
    }

    /// All bytes of a small member and its padding.
    pub fn held(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.body(size).read_to_end(&mut bytes).map_err(|e| self.failed(&e))?;
        self.skip_padding(size)?;
        Ok(bytes)
    }

    /// Passes over what fills the last block of a member of `size` bytes.
    pub fn skip_padding(&mut self, size: u64) -> Result<()> {
        let used = (size % BLOCK as u64) as usize;
        if used == 0 {
            return Ok(());
        }
        let mut padding = [0; BLOCK];
        let got = read_up_to(&mut self.input, &mut padding[used..]).map_err(|e| self.failed(&e))?;
        if got < BLOCK - used {
            return Err(Error::integrity(format!("{}: is cut off behind the contents of a file", self.what)));
        }
        Ok(())
    }

    /// Reads to the stream's end, which only zeros may fill: a second archive behind the first would be seen by some
    /// readers and not by others. Going to the end also has the compressed stream's checksum checked.
    pub fn finish(&mut self) -> Result<()> {
        loop {
            let bytes = match self.input.fill_buf() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.failed(&e)),
                Ok(bytes) => bytes,
            };
            if bytes.iter().any(|&b| b != 0) {
                return Err(Error::integrity(format!("{}: has something behind its end marker", self.what)));
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

/// The bytes of one member; fails when the archive ends before it.
pub struct Body<'a, R> {
    blocks: &'a mut Blocks<R>,
    left: u64,
}

impl<R> Body<'_, R> {
    /// Bytes not read yet.
    pub fn left(&self) -> u64 {
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
