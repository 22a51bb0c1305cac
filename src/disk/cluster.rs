//! A disk cut into clusters of 64 KiB, those that hold only zeros left out.
//!
//! One pass in ascending order with one buffer's memory, however large the disk is. Each blob is read once.

mod describe;

pub use describe::{Described, describe, only};

use super::blob::Blobs;
use super::{ContentSource, Data, Piece, Pieces};
use crate::error::Result;

/// The length of a cluster in bytes.
pub const CLUSTER: usize = 64 << 10;

/// The bytes of a cluster.
pub type Cluster = [u8; CLUSTER];

/// Nothing to store.
static ZERO: Cluster = [0; CLUSTER];

/// Whether `cluster` holds only zeros.
pub fn is_zero(cluster: &Cluster) -> bool {
    // A comparison of memory stops at the first difference, which in real data comes soon.
    *cluster == ZERO
}

/// A cluster of zeros, on the heap (as a value it would be large for a thread's stack).
pub fn zeroed() -> Box<Cluster> {
    vec![0; CLUSTER].into_boxed_slice().try_into().expect("the length is a cluster's")
}

/// How many bytes all pieces have together: what [`Clusters::done`] comes to.
pub fn data_len(pieces: &Pieces) -> u64 {
    pieces.iter().map(|piece| piece.data.len()).sum()
}

/// One pass over a disk.
pub struct Clusters<'a> {
    rest: std::slice::Iter<'a, Piece>,
    /// The piece at work, and how many of its bytes are done.
    piece: Option<(&'a Piece, u64)>,
    blobs: Blobs<'a>,
    done: u64,
}

impl<'a> Clusters<'a> {
    /// At the start of the disk.
    pub fn new(pieces: &'a Pieces, source: &'a dyn ContentSource) -> Self {
        let mut rest = pieces.iter();
        let piece = rest.next().map(|piece| (piece, 0));
        Clusters { rest, piece, blobs: Blobs::new(source), done: 0 }
    }

    /// Puts the next cluster that is not all zero into `buffer`, and returns its index (its offset on the disk is that
    /// many clusters). None at the end. What lies behind the disk's end in its last cluster is zero.
    ///
    /// # Errors
    /// Those of the source; a blob that is shorter or longer than its size. After an error the pass is over.
    pub fn next(&mut self, buffer: &mut Cluster) -> Result<Option<u64>> {
        while let Some((piece, inside)) = self.piece {
            let index = (piece.at + inside) / CLUSTER as u64;
            self.fill(index * CLUSTER as u64, buffer)?;
            if !is_zero(buffer) {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// How many bytes of pieces have been read so far.
    pub fn done(&self) -> u64 {
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
