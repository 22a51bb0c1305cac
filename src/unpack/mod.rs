//! Archives as trees: the readers of `ar`, `.deb` and tar, plain or compressed with gzip, xz or zstd.
//!
//! Nothing is ever unpacked to a disk: an archive becomes a [`Tree`](crate::tree::Tree), and the bytes of its files go
//! to a [`Sink`]. What an archive says is taken for hostile until proven sound: it is refused as soon as two readers
//! could understand it differently, and memory stays bounded whatever it claims. No I/O but the reader handed in.

pub mod ar;
mod build;
pub mod compress;
pub mod cpio;
pub mod deb;
mod policy;
mod sink;
pub mod tar;

pub use policy::{Duplicates, Limits, Parents, Policy, Verdict};
pub use sink::{Memory, Sink, let_go};

use std::io::{self, Read};

use crate::error::Error;
use crate::value::escape;

/// The longest name that messages show whole, in bytes.
const SHOWN_MAX: usize = 200;

/// A member's name, which may be of any length, as messages show it.
fn shown(name: &[u8]) -> String {
    match name.len() {
        0..=SHOWN_MAX => escape(name),
        len => format!("{}… ({len} bytes)", escape(&name[..SHOWN_MAX])),
    }
}

/// Fills `buffer` as far as the stream goes; fewer bytes than asked for mean the stream's end.
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

/// An archive's own reader: gives its failures a name, so that a codec above it cannot make "disk error" out to be
/// "corrupt archive".
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
