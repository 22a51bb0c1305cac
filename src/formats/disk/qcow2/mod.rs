//! qcow2 files, version 3, with clusters compressed by zstd:
//! [specification](https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt).
//!
//! The order in the file: header, data, L2 tables, L1 table, refcount table, refcount blocks. So the data streams
//! through once, and only the header is written out of order, last: a truncated file is not a valid qcow2. Two runs
//! give the same bytes with any number of threads; the file contains no clock, name or path.
//!
//! [`write`] does everything. A caller that already has some clusters in stored form uses the parts: [`compress`] makes
//! the other frames, and [`Composer`] gives the place of each frame and the tables around them. Both ways give the same
//! bytes.
//!
//! [`overlay`] makes an empty file over a backing file, whose name it contains; [`empty`] makes one without a backing
//! file.

mod codec;
mod frames;
mod header;
mod layout;
mod overlay;
mod pipeline;

use std::io::{BufWriter, Seek, SeekFrom, Write};

pub(crate) use frames::{FramesWriter, index};
pub(crate) use overlay::{Backing, backing_of, empty, overlay};

use super::cluster::{CLUSTER, data_len};
use super::{ContentSource, Pieces};
use crate::common::error::{Error, Result};
use crate::common::value::Cancel;
use header::Kind;
use layout::Layout;

/// Clusters of 64 KiB: QEMU's default.
const CLUSTER_BITS: u32 = 16;
/// Reference counts of 16 bits, the width that all versions support.
const REFCOUNT_ORDER: u32 = 4;
/// The largest virtual size in bytes: QEMU opens no L1 table of more than 32 MiB, which is 2 PiB at 512 MiB per entry.
const MAX_VIRTUAL_SIZE: u64 = 2 << 50;
/// The size of the buffer in front of `out`, in bytes: many frames are small.
const WRITE_BUFFER: usize = 1 << 20;

/// The result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// The length of the qcow2 file in bytes.
    pub file_size: u64,
    /// Clusters stored compressed.
    pub compressed: u64,
    /// Clusters that do not shrink, stored uncompressed.
    pub plain: u64,
}

/// Writes the disk as a qcow2 file to `out`, which must be empty. Past the pieces it is zero up to `virtual_size`
/// bytes.
///
/// `jobs` threads compress (at least one); one more reads, and the calling thread writes. `progress` is called with the
/// number of bytes of pieces done, out of [`data_len`]. Memory: 16 MiB of clusters and 64 KiB per 512 MiB of disk that
/// holds data, whatever the disk's size.
///
/// # Errors
/// Errors of the source and of `out`; a blob that is shorter or longer than its size; cancellation; a `virtual_size`
/// that is less than the pieces', not a multiple of 512, or more than 2 PiB.
pub fn write(
    pieces: &Pieces,
    source: &dyn ContentSource,
    virtual_size: u64,
    jobs: usize,
    out: &mut (impl Write + Seek),
    cancel: &Cancel,
    progress: &dyn Fn(u64),
) -> Result<Summary> {
    let mut composer = Composer::new(pieces.len(), virtual_size)?;
    let mut sink = Sink { out: BufWriter::with_capacity(WRITE_BUFFER, out), at: 0 };
    compress(pieces, None, source, jobs, cancel, &mut |frame| {
        sink.put(composer.place(frame.index, frame.stored.len()), frame.stored)?;
        progress(frame.done);
        Ok(())
    })?;
    let (tables, summary) = composer.finish();
    for (offset, bytes) in tables {
        sink.put(offset, &bytes)?;
    }
    sink.out.flush().map_err(|e| failed(&e))?;
    // Trailing zeros were read too.
    progress(data_len(pieces));
    Ok(summary)
}

/// A cluster in stored form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// The cluster's index on the disk.
    pub index: u64,
    /// A zstd frame; or, if it is as long as a cluster, the uncompressed cluster.
    pub stored: &'a [u8],
    /// The number of bytes of pieces read up to the cluster's end.
    pub done: u64,
}

/// Passes each cluster of the disk that is not all zero to `sink` in stored form, in ascending order; only the clusters
/// in `only` (ascending) if given. Otherwise like [`write`].
///
/// # Errors
/// The first error of the source, of zstd, of `sink` or of `cancel`, in the order of the disk.
pub(crate) fn compress(
    pieces: &Pieces,
    only: Option<&[u64]>,
    source: &dyn ContentSource,
    jobs: usize,
    cancel: &Cancel,
    sink: &mut dyn FnMut(Frame<'_>) -> Result<()>,
) -> Result<()> {
    pipeline::run(pieces, only, source, jobs, cancel, &mut |job| sink(Frame { index: job.index, stored: job.stored(), done: job.done }))
}

/// Assigns the place of each frame in the file, and makes the tables around them.
pub(crate) struct Composer {
    layout: Layout,
    virtual_size: u64,
    summary: Summary,
}

impl Composer {
    /// For a disk of `virtual_size` bytes whose pieces end at byte `pieces`.
    ///
    /// # Errors
    /// A `virtual_size` that is less than `pieces`, not a multiple of 512, or more than 2 PiB.
    pub(crate) fn new(pieces: u64, virtual_size: u64) -> Result<Self> {
        check_size(pieces, virtual_size)?;
        Ok(Composer { layout: Layout::new(), virtual_size, summary: Summary::default() })
    }

    /// The offset in the file of cluster `index`, whose stored form is `len` bytes long: a whole cluster, or less for a
    /// frame. Call it in ascending order; skip clusters of zeros.
    pub(crate) fn place(&mut self, index: u64, len: usize) -> u64 {
        if len < CLUSTER {
            self.summary.compressed += 1;
            self.layout.place_frame(index, len as u64)
        } else {
            self.summary.plain += 1;
            self.layout.place_plain(index)
        }
    }

    /// The tables and, last, the header, each with its offset. Bytes that neither these nor a frame cover are zero.
    pub(crate) fn finish(mut self) -> (Vec<(u64, Vec<u8>)>, Summary) {
        let tables = self.layout.finish(self.virtual_size, Kind::Whole);
        let ends = tables.iter().map(|(offset, bytes)| offset + bytes.len() as u64);
        self.summary.file_size = ends.max().unwrap_or(0);
        (tables, self.summary)
    }
}

fn check_size(pieces: u64, virtual_size: u64) -> Result<()> {
    let refused = |why: String| Err(Error::user(format!("a disk of {virtual_size} bytes {why}")));
    match virtual_size {
        0 => refused("cannot hold anything".into()),
        size if size < pieces => refused(format!("is too small for its contents of {pieces} bytes")),
        // QEMU counts sectors, and would silently drop the rest.
        size if size % 512 != 0 => refused("is not a multiple of 512".into()),
        size if size > MAX_VIRTUAL_SIZE => refused(format!("is larger than the {MAX_VIRTUAL_SIZE} that QEMU opens")),
        _ => Ok(()),
    }
}

/// The file, and its current position.
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
