//! Readers of archives as trees: `ar`, `.deb` and tar, uncompressed or compressed with gzip, xz or zstd; and of zip, file by file.
//!
//! Nothing is ever unpacked to disk: an archive becomes a [`Tree`](crate::common::tree::Tree), and the bytes of its
//! files go to a [`Sink`]. Archives are untrusted: everything that two readers could interpret differently is refused,
//! and memory stays bounded whatever an archive claims. No I/O but the reader passed in.

pub mod ar;
mod build;
pub(crate) mod compress;
pub(crate) mod cpio;
pub(crate) mod deb;
mod policy;
mod sink;
pub(crate) mod tar;
pub(crate) mod zip;

pub use policy::{Duplicates, Limits, Parents, Policy, Verdict};
pub use sink::{Memory, Sink, discard};

use std::io::{self, Read};

use crate::common::error::Error;
use crate::common::value::escape;

/// The longest name that messages show in full, in bytes.
const SHOWN_MAX: usize = 200;

/// A member's name for messages; the name may have any length.
fn shown(name: &[u8]) -> String {
    match name.len() {
        0..=SHOWN_MAX => escape(name),
        len => format!("{}… ({len} bytes)", escape(&name[..SHOWN_MAX])),
    }
}

/// Fills `buffer`; returns fewer bytes only at the end of the stream.
fn read_up_to(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// A reader that wraps I/O errors in its name, so that a decoder above it cannot report a disk error as a corrupt
/// archive.
struct Named<R> {
    inner: R,
    what: String,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::Interrupted => e,
            _ => Error::io(format_args!("read {}", self.what), &e).into(),
        })
    }
}
