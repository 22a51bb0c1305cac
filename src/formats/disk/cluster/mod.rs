//! A disk as a sequence of 64 KiB clusters, without those that hold only zeros.
//!
//! One pass in ascending order with one buffer, however large the disk is. Each blob is read once.

mod describe;

pub(crate) use describe::{Described, describe, only};

use super::blob::Blobs;
use super::{ContentSource, Data, Piece, Pieces};
use crate::common::error::Result;

/// The length of a cluster in bytes.
pub(crate) const CLUSTER: usize = 64 << 10;

/// The bytes of a cluster.
pub(crate) type Cluster = [u8; CLUSTER];

/// A cluster of zeros.
static ZERO: Cluster = [0; CLUSTER];

/// True if `cluster` holds only zeros.
pub(crate) fn is_zero(cluster: &Cluster) -> bool {
    // memcmp stops at the first difference, which real data has early.
    *cluster == ZERO
}

/// A cluster of zeros on the heap: on a thread's stack it would be too large.
pub(crate) fn zeroed() -> Box<Cluster> {
    vec![0; CLUSTER].into_boxed_slice().try_into().expect("the length is a cluster's")
}

/// The total length of all pieces in bytes, which [`Clusters::done`] reaches at the end.
pub(crate) fn data_len(pieces: &Pieces) -> u64 {
    pieces.iter().map(|piece| piece.data.len()).sum()
}

/// One pass over a disk.
pub(crate) struct Clusters<'a> {
    rest: std::slice::Iter<'a, Piece>,
    /// The current piece, and the number of its bytes already read.
    piece: Option<(&'a Piece, u64)>,
    blobs: Blobs<'a>,
    done: u64,
}

impl<'a> Clusters<'a> {
    /// Starts at the beginning of the disk.
    pub(crate) fn new(pieces: &'a Pieces, source: &'a dyn ContentSource) -> Self {
        let mut rest = pieces.iter();
        let piece = rest.next().map(|piece| (piece, 0));
        Clusters { rest, piece, blobs: Blobs::new(source), done: 0 }
    }

    /// Reads the next cluster that is not all zero into `buffer`, and returns its index (its offset divided by the
    /// cluster size). `None` at the end. The part of the last cluster past the disk's end is zero.
    ///
    /// # Errors
    /// Errors of the source; a blob that is shorter or longer than its size. Do not call it again after an error.
    pub(crate) fn next(&mut self, buffer: &mut Cluster) -> Result<Option<u64>> {
        while let Some((piece, inside)) = self.piece {
            let index = (piece.at + inside) / CLUSTER as u64;
            self.fill(index * CLUSTER as u64, buffer)?;
            if !is_zero(buffer) {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The number of bytes of pieces read so far.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// Fills `buffer` with the cluster that begins at byte `start`.
    fn fill(&mut self, start: u64, buffer: &mut Cluster) -> Result<()> {
        let end = start + CLUSTER as u64;
        let mut filled = 0;
        while let Some((piece, inside)) = self.piece {
            let from = piece.at + inside;
            if from >= end {
                break;
            }
            let to = piece.end().min(end);
            let (a, b) = ((from - start) as usize, (to - start) as usize);
            buffer[filled..a].fill(0);
            match piece.data {
                Data::Bytes(ref bytes) => buffer[a..b].copy_from_slice(&bytes[inside as usize..][..b - a]),
                Data::Blob { digest, size, offset, .. } => self.blobs.read(digest, size, offset + inside, &mut buffer[a..b])?,
            }
            filled = b;
            self.done += to - from;
            self.piece = if to == piece.end() { self.rest.next().map(|next| (next, 0)) } else { Some((piece, inside + (to - from))) };
        }
        buffer[filled..].fill(0);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
