//! The bundle writer.

use std::io::{self, ErrorKind, Write};

use super::{Entry, Outline, document, layout};
use crate::common::error::{Error, Result};
use crate::common::tree::ContentSource;
use crate::common::value::{Cancel, Sha256};
use crate::formats::oci::tar;

/// Buffer size in bytes.
const BUFFER: usize = 256 << 10;

/// Writes the bundle that `outline` describes. `source` must verify the digests of its blobs; `reached` is called with the
/// number of bytes written so far.
///
/// # Errors
/// Those of the source and of `out`; cancellation. The caller must discard a partial output.
pub fn write(outline: &Outline, source: &dyn ContentSource, out: &mut dyn Write, cancel: &Cancel, reached: &dyn Fn(u64)) -> Result<()> {
    let mut tar = Tar { out, at: 0 };
    tar.file(layout::LAYOUT.0, layout::LAYOUT.1.as_bytes())?;
    tar.file(layout::INDEX, &document::index(outline))?;
    for folder in layout::FOLDERS {
        tar.put(&layout::folder(folder))?;
    }
    for bytes in outline.documents() {
        tar.file(&layout::name(&Sha256::of(&bytes)), &bytes)?;
    }
    let mut buffer = vec![0; BUFFER];
    for entry in outline.entries() {
        tar.blob(&entry, source, &mut buffer, cancel, reached)?;
    }
    tar.put(&tar::END)?;
    tar.out.flush().map_err(|e| failed(&e))
}

/// A tar that is being written.
struct Tar<'a> {
    out: &'a mut dyn Write,
    at: u64,
}

impl Tar<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|e| failed(&e))
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let size = bytes.len() as u64;
        self.put(&layout::header(name, size))?;
        self.put(bytes)?;
        self.put(&tar::END[..tar::padding(size)])
    }

    fn blob(&mut self, entry: &Entry, source: &dyn ContentSource, buffer: &mut [u8], cancel: &Cancel, reached: &dyn Fn(u64)) -> Result<()> {
        let (part, mut left) = (entry.part, entry.part.size);
        let unreadable = |e: &io::Error| Error::io(format!("read `{}` (sha256:{}) for the bundle", part.title, part.digest), e);
        self.put(&layout::header(&layout::name(&part.digest), part.size))?;
        let mut reader = source.open(&part.digest, part.size).map_err(|e| unreadable(&e))?;
        loop {
            cancel.check()?;
            // Reads once more after the last byte, because only then may a source detect that there are more.
            let most = usize::try_from(left.max(1)).unwrap_or(usize::MAX).min(buffer.len());
            match reader.read(&mut buffer[..most]) {
                Ok(0) => break,
                Ok(n) if n as u64 <= left => {
                    self.put(&buffer[..n])?;
                    left -= n as u64;
                    reached(self.at);
                }
                Ok(_) => return Err(Error::internal(format!("`{}` has more than its {} bytes", part.title, part.size))),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(unreadable(&e)),
            }
        }
        if left > 0 {
            return Err(Error::internal(format!("`{}` ends {left} bytes before its {}", part.title, part.size)));
        }
        self.put(&tar::END[..tar::padding(part.size)])
    }
}

fn failed(error: &io::Error) -> Error {
    Error::io("write the bundle", error)
}
