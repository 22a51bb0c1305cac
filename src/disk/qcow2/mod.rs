//! A disk as a qcow2 file, version 3, each cluster compressed with zstd:
//! [specification](https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt).
//!
//! The file's order: header, data, L2 tables, L1 table, refcount table, refcount blocks. So the data streams through
//! once, and only the header is written out of turn, last: a file that was cut short is no qcow2. Two runs give the same
//! bytes on any number of threads; no clock, name or path is in them.
//!
//! [`overlay`] makes the other kind of file: an empty one over a backing file, whose name is in it.

mod codec;
mod header;
mod layout;
mod overlay;
mod pipeline;

use std::io::{BufWriter, Seek, SeekFrom, Write};

pub use codec::{Codec, Compressed, LEVEL};
pub use overlay::{Backing, Format, overlay};

use super::cluster::data_len;
use super::{ContentSource, Pieces};
use crate::error::{Error, Result};
use crate::value::Cancel;
use header::Kind;
use layout::Layout;

/// Clusters of 64 KiB: QEMU's default.
const CLUSTER_BITS: u32 = 16;
/// Reference counts of 16 bits, the width that all versions know.
const REFCOUNT_ORDER: u32 = 4;
/// QEMU opens no L1 table of more than 32 MiB; with 512 MiB per entry that is 2 PiB.
const MAX_VIRTUAL_SIZE: u64 = 2 << 50;
/// The buffer before `out`, in bytes: frames are small, system calls are not.
const WRITE_BUFFER: usize = 1 << 20;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// The length of the qcow2 file in bytes.
    pub file_size: u64,
    /// Clusters stored compressed.
    pub compressed: u64,
    /// Clusters that do not shrink, stored as they are.
    pub plain: u64,
}

/// Writes the disk as a qcow2 file to `out`, which is empty. Beyond the pieces it is zero up to `virtual_size` bytes.
///
/// `jobs` threads compress (at least one); one more reads, and the calling thread writes. `progress` is told how many
/// bytes of pieces are done, of [`data_len`]. Memory: 16 MiB of clusters and 64 KiB per 512 MiB of disk
/// that holds data, whatever the disk's size.
///
/// # Errors
/// Those of the source and of `out`; a blob that is shorter or longer than its size; a stop that was asked for; a
/// `virtual_size` that is less than the pieces', no multiple of 512, or beyond 2 PiB.
pub fn write(
    pieces: &Pieces,
    source: &dyn ContentSource,
    virtual_size: u64,
    jobs: usize,
    out: &mut (impl Write + Seek),
    cancel: &Cancel,
    progress: &dyn Fn(u64),
) -> Result<Summary> {
    check_size(pieces.len(), virtual_size)?;
    let mut layout = Layout::new();
    let mut sink = Sink { out: BufWriter::with_capacity(WRITE_BUFFER, out), at: 0 };
    let mut summary = Summary::default();
    pipeline::run(pieces, source, jobs, cancel, &mut |cluster| {
        let offset = if cluster.is_frame() {
            summary.compressed += 1;
            layout.place_frame(cluster.index, cluster.stored().len() as u64)
        } else {
            summary.plain += 1;
            layout.place_plain(cluster.index)
        };
        sink.put(offset, cluster.stored())?;
        progress(cluster.done);
        Ok(())
    })?;
    for (offset, bytes) in layout.finish(virtual_size, Kind::Whole) {
        summary.file_size = summary.file_size.max(offset + bytes.len() as u64);
        sink.put(offset, &bytes)?;
    }
    sink.out.flush().map_err(|e| failed(&e))?;
    // Zeros at the end were read too.
    progress(data_len(pieces));
    Ok(summary)
}

fn check_size(pieces: u64, virtual_size: u64) -> Result<()> {
    let refused = |why: String| Err(Error::user(format!("a disk of {virtual_size} bytes {why}")));
    match virtual_size {
        0 => refused("cannot hold anything".into()),
        size if size < pieces => refused(format!("is too small for its contents of {pieces} bytes")),
        // QEMU counts sectors, and would silently drop the rest.
        size if size % 512 != 0 => refused("is no multiple of 512".into()),
        size if size > MAX_VIRTUAL_SIZE => refused(format!("is larger than the {MAX_VIRTUAL_SIZE} that QEMU opens")),
        _ => Ok(()),
    }
}

/// The file, and where in it the next write would go.
struct Sink<W: Write + Seek> {
    out: BufWriter<W>,
    at: u64,
}

impl<W: Write + Seek> Sink<W> {
    fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if offset != self.at {
            self.out.seek(SeekFrom::Start(offset)).map_err(|e| failed(&e))?;
        }
        self.out.write_all(bytes).map_err(|e| failed(&e))?;
        self.at = offset + bytes.len() as u64;
        Ok(())
    }
}

fn failed(e: &std::io::Error) -> Error {
    Error::io("write the qcow2 file", e)
}

#[cfg(test)]
mod tests;
