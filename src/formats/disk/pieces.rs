//! A disk's contents as a value that fits into memory, however large the disk is.

use crate::common::value::Sha256;

/// A disk or partition of `len` bytes that reads as zero outside its pieces.
///
/// Pieces are sorted by offset and disjoint. The parts of one blob are in ascending blob offset, start at blob offset
/// 0, end at the blob's end, and have no piece of another blob between them (pieces of bytes may be): so a writer that
/// goes through the pieces once reads every blob once, from start to end, and can verify its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pieces {
    len: u64,
    pieces: Vec<Piece>,
}

/// A non-empty range of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Offset on the disk, in bytes.
    pub at: u64,
    /// The contents.
    pub data: Data,
}

/// The bytes of a piece. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A range of a blob.
    Blob {
        /// The digest of the whole blob.
        digest: Sha256,
        /// The length of the whole blob in bytes.
        size: u64,
        /// The offset of the piece in the blob, in bytes.
        offset: u64,
        /// The length of the piece in bytes.
        len: u64,
    },
}

impl Data {
    /// The length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Data::Bytes(bytes) => bytes.len() as u64,
            Data::Blob { len, .. } => *len,
        }
    }

    /// True if there are no bytes; never true for a piece of a disk.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Piece {
    /// One past the last byte, as an offset on the disk.
    pub fn end(&self) -> u64 {
        self.at + self.data.len()
    }
}

impl Pieces {
    /// Sorts `pieces` into a disk of `len` bytes.
    ///
    /// # Panics
    /// Pieces that overlap, are empty, exceed the disk, or break up a blob: a bug in a writer, and no such disk must be
    /// written.
    pub fn new(len: u64, mut pieces: Vec<Piece>) -> Self {
        pieces.sort_by_key(|piece| piece.at);
        let mut end = 0;
        let mut open: Option<(Sha256, u64, u64)> = None;
        for piece in &pieces {
            assert!(piece.at >= end, "pieces overlap at byte {}", piece.at);
            assert!(!piece.data.is_empty(), "an empty piece at byte {}", piece.at);
            end = piece.end();
            if let Data::Blob { digest, size, offset, len } = piece.data {
                assert_eq!(open.unwrap_or((digest, size, 0)), (digest, size, offset), "a blob's run is broken at byte {}", piece.at);
                let next = offset + len;
                assert!(next <= size, "a piece reaches behind its blob at byte {}", piece.at);
                open = (next < size).then_some((digest, size, next));
            }
        }
        assert!(end <= len, "a piece ends at byte {end}, the disk at {len}");
        assert!(open.is_none(), "a blob's run is not finished");
        Pieces { len, pieces }
    }

    /// The length of the disk in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if the disk has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Piece> {
        self.pieces.iter()
    }

    /// The pieces moved by `by` bytes, for use on a larger disk.
    pub fn shifted(self, by: u64) -> impl Iterator<Item = Piece> {
        self.pieces.into_iter().map(move |piece| Piece { at: piece.at + by, data: piece.data })
    }
}
