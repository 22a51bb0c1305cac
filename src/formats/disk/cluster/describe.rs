//! Descriptions: a digest of each cluster's composition, computed without reading blobs.
//!
//! A description covers the ranges of blobs and the bytes that make up a cluster, with their offsets in it. So equal
//! descriptions mean equal clusters, on any disk, and a frame that was compressed under a description can be used again
//! without reading its blobs.

use super::CLUSTER;
use crate::common::value::{Hasher, Sha256};
use crate::formats::disk::{Data, Piece, Pieces};

/// A cluster's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Described {
    /// The cluster's index on the disk.
    pub index: u64,
    /// The digest of its description.
    pub key: Sha256,
    /// The cluster consists of blobs only, without bytes of the disk's own: it may occur on other disks.
    pub contents: bool,
}

/// Describes each cluster that a piece touches, in ascending order. Such a cluster can still be all zeros.
pub(crate) fn describe(pieces: &Pieces) -> Vec<Described> {
    let mut all = Vec::new();
    let mut open: Option<Describer> = None;
    for piece in pieces.iter() {
        let mut inside = 0;
        while inside < piece.data.len() {
            let at = piece.at + inside;
            let index = at / CLUSTER as u64;
            if open.as_ref().is_none_or(|open| open.index != index) {
                all.extend(open.replace(Describer::new(index)).map(Describer::finish));
            }
            let start = (at % CLUSTER as u64) as usize;
            let len = (CLUSTER - start).min(usize::try_from(piece.data.len() - inside).unwrap_or(CLUSTER));
            if let Some(open) = &mut open {
                open.take(start, len, &piece.data, inside);
            }
            inside += len as u64;
        }
    }
    all.extend(open.map(Describer::finish));
    all
}

/// The part of a disk that is needed to read the clusters `wanted` (ascending): every piece in them, and the rest of
/// each blob that touches one, because only a whole blob can be verified.
pub(crate) fn only(pieces: &Pieces, wanted: &[u64]) -> Pieces {
    let is_wanted = |piece: &Piece| {
        let (first, last) = (piece.at / CLUSTER as u64, (piece.end() - 1) / CLUSTER as u64);
        let next = wanted.partition_point(|index| *index < first);
        wanted.get(next).is_some_and(|index| *index <= last)
    };
    let mut kept = Vec::new();
    // The pieces of a blob follow one another; pieces of bytes may lie between them.
    let mut run: Vec<&Piece> = Vec::new();
    for piece in pieces.iter() {
        match piece.data {
            Data::Bytes(_) if is_wanted(piece) => kept.push(piece.clone()),
            Data::Bytes(_) => {}
            Data::Blob { size, offset, len, .. } => {
                run.push(piece);
                if offset + len == size {
                    if run.iter().any(|piece| is_wanted(piece)) {
                        kept.extend(run.iter().map(|piece| (*piece).clone()));
                    }
                    run.clear();
                }
            }
        }
    }
    Pieces::new(pieces.len(), kept)
}

/// A range of a cluster that one blob fills.
struct Stretch {
    start: usize,
    len: usize,
    blob: Sha256,
    offset: u64,
}

/// The description of a cluster in progress.
struct Describer {
    index: u64,
    hasher: Hasher,
    contents: bool,
    /// The last range of a blob, held back because it may continue: the division of a blob into pieces must not change
    /// the description.
    last: Option<Stretch>,
}

impl Describer {
    fn new(index: u64) -> Self {
        Describer { index, hasher: Hasher::new(), contents: true, last: None }
    }

    /// Adds `len` bytes of `data` from offset `inside`, which lie at `start` in the cluster.
    fn take(&mut self, start: usize, len: usize, data: &Data, inside: u64) {
        match data {
            Data::Bytes(bytes) => {
                self.put();
                self.contents = false;
                self.head(b'b', start, len);
                self.hasher.update(&bytes[inside as usize..][..len]);
            }
            Data::Blob { digest, offset, .. } => {
                let offset = offset + inside;
                match &mut self.last {
                    Some(last) if (last.blob, last.offset + last.len as u64, last.start + last.len) == (*digest, offset, start) => {
                        last.len += len;
                    }
                    _ => {
                        self.put();
                        self.last = Some(Stretch { start, len, blob: *digest, offset });
                    }
                }
            }
        }
    }

    /// Hashes the range that was held back.
    fn put(&mut self) {
        if let Some(Stretch { start, len, blob, offset }) = self.last.take() {
            self.head(b'c', start, len);
            self.hasher.update(&blob.0);
            self.hasher.update(&offset.to_le_bytes());
        }
    }

    /// Hashes kind, offset and length in front of the contents, so that the encoding is unambiguous.
    fn head(&mut self, kind: u8, start: usize, len: usize) {
        self.hasher.update(&[kind]);
        self.hasher.update(&(start as u32).to_le_bytes());
        self.hasher.update(&(len as u32).to_le_bytes());
    }

    fn finish(mut self) -> Described {
        self.put();
        Described { index: self.index, key: self.hasher.finish(), contents: self.contents }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::formats::disk::cluster::{Clusters, zeroed};
    use crate::formats::disk::testing;

    /// The clusters of a disk that are not zero, by index.
    fn read(pieces: &Pieces, source: &dyn crate::formats::disk::ContentSource) -> BTreeMap<u64, Vec<u8>> {
        let (mut clusters, mut buffer, mut all) = (Clusters::new(pieces, source), zeroed(), BTreeMap::new());
        while let Some(index) = clusters.next(&mut buffer).unwrap() {
            all.insert(index, buffer.to_vec());
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn equal_descriptions_mean_equal_clusters_and_a_part_of_the_disk_reads_the_same(disk in testing::any_disk(), pick in any::<u64>()) {
            let described = describe(&disk.pieces);
            let all = read(&disk.pieces, &disk.source);
            let indexes: Vec<u64> = described.iter().map(|described| described.index).collect();
            prop_assert!(indexes.is_sorted() && all.keys().all(|index| indexes.contains(index)));
            let zero = vec![0; CLUSTER];
            let mut known: BTreeMap<Sha256, &Vec<u8>> = BTreeMap::new();
            for Described { index, key, .. } in &described {
                let bytes = all.get(index).unwrap_or(&zero);
                prop_assert!(*known.entry(*key).or_insert(bytes) == bytes, "cluster {index}");
            }
            let wanted: Vec<u64> = indexes.iter().copied().filter(|index| pick >> (index % 64) & 1 == 1).collect();
            let part = read(&only(&disk.pieces, &wanted), &disk.source);
            for index in &wanted {
                prop_assert!(part.get(index) == all.get(index), "cluster {index} of a part");
            }
        }
    }

    #[test]
    fn neither_the_pieces_of_a_blob_nor_the_disk_matter() {
        let digest = Sha256::of("blob");
        let size = 3 * CLUSTER as u64 + 100;
        let blob = |offset, len| Data::Blob { digest, size, offset, len };
        let keys =
            |pieces: Vec<Piece>| describe(&Pieces::new(1 << 30, pieces)).into_iter().map(|one| (one.key, one.contents)).collect::<Vec<_>>();
        let whole = keys(vec![Piece { at: 0, data: blob(0, size) }]);
        let far = 700 * CLUSTER as u64;
        let cut = keys(vec![Piece { at: far, data: blob(0, 10) }, Piece { at: far + 10, data: blob(10, size - 10) }]);
        assert_eq!(whole, cut);
        assert_eq!(whole.len(), 4);
        let shifted = keys(vec![Piece { at: 512, data: blob(0, size) }]);
        assert!(shifted.iter().all(|one| !whole.contains(one)));
        let bytes = keys(vec![Piece { at: 0, data: Data::Bytes(vec![1]) }, Piece { at: 1, data: blob(0, size) }]);
        assert_eq!(bytes.iter().map(|one| one.1).collect::<Vec<_>>(), [false, true, true, true]);
    }
}
