//! The place of each cluster in the file, and the tables that map them.
//!
//! Frames are packed back to back without regard to host clusters, as the format allows. A host cluster has one
//! reference per frame that touches it; `qemu-img check` counts the same way.

use super::header::{Header, Kind};
use crate::formats::disk::cluster::CLUSTER;

const HOST_CLUSTER: u64 = CLUSTER as u64;
/// Entries of 8 bytes in an L2 table, which fills one cluster (section "Cluster mapping").
const L2_ENTRIES: u64 = HOST_CLUSTER / 8;
/// Counts of 2 bytes in a refcount block, which fills one cluster (section "Host cluster management").
const BLOCK_ENTRIES: u64 = HOST_CLUSTER / 2;
/// L1 and L2 entry, bit 63: the host cluster's refcount is exactly 1.
const COPIED: u64 = 1 << 63;
/// L2 entry, bit 62: compressed.
const COMPRESSED: u64 = 1 << 62;
/// Section "Compressed Clusters Descriptor", x = 62 - (cluster_bits - 8): bits below it are the offset, bits from it up
/// the number of additional sectors.
const SECTORS_SHIFT: u32 = 62 - (super::CLUSTER_BITS - 8);
const SECTOR: u64 = 512;

/// A file layout in progress.
pub(super) struct Layout {
    /// The end of the packed frames in bytes.
    next: u64,
    /// Unused space before `next`: the rest of a host cluster before an aligned plain cluster.
    gap: std::ops::Range<u64>,
    /// The refcount of each host cluster, from the start of the file.
    refcounts: Vec<u16>,
    /// The L2 tables with entries, by ascending index.
    l2: Vec<(u64, Vec<u64>)>,
}

impl Layout {
    /// A layout that has nothing but the header's cluster.
    pub(super) fn new() -> Self {
        Layout { next: HOST_CLUSTER, gap: 0..0, refcounts: vec![1], l2: Vec::new() }
    }

    /// Places guest cluster `index` as a frame of `len` bytes (1 to 65,535); returns its offset in the file.
    pub(super) fn place_frame(&mut self, index: u64, len: u64) -> u64 {
        // Without the gaps, an image with many plain clusters would be one percent larger.
        let offset = if len <= self.gap.end - self.gap.start {
            self.gap.start += len;
            self.gap.start - len
        } else {
            self.next += len;
            self.next - len
        };
        let last = offset + len - 1;
        self.count(offset, last);
        let sectors = last / SECTOR - offset / SECTOR;
        self.map(index, COMPRESSED | sectors << SECTORS_SHIFT | offset);
        offset
    }

    /// Places guest cluster `index` uncompressed; returns its offset in the file.
    pub(super) fn place_plain(&mut self, index: u64) -> u64 {
        let offset = self.next.next_multiple_of(HOST_CLUSTER);
        if offset - self.next > self.gap.end - self.gap.start {
            self.gap = self.next..offset;
        }
        self.next = offset + HOST_CLUSTER;
        self.count(offset, self.next - 1);
        self.map(index, COPIED | offset);
        offset
    }

    /// The tables and, last, the header, each with its offset, in the order of writing.
    pub(super) fn finish(mut self, virtual_size: u64, kind: Kind) -> Vec<(u64, Vec<u8>)> {
        let mut at = self.next.next_multiple_of(HOST_CLUSTER);
        let mut writes = Vec::with_capacity(self.l2.len() + 4);
        let mut put = |bytes: Vec<u8>| {
            let offset = at;
            at += (bytes.len() as u64).next_multiple_of(HOST_CLUSTER);
            writes.push((offset, bytes));
            offset
        };

        let l1_size = virtual_size.div_ceil(HOST_CLUSTER * L2_ENTRIES);
        let mut l1 = vec![0; l1_size as usize];
        for (index, table) in std::mem::take(&mut self.l2) {
            l1[index as usize] = COPIED | put(big_endian(&table));
        }
        let l1_offset = put(padded(big_endian(&l1)));

        let refcount_table_offset = at;
        let (table_clusters, blocks) = refcount_clusters(at / HOST_CLUSTER);
        self.refcounts.resize((at / HOST_CLUSTER + table_clusters + blocks) as usize, 0);
        // Everything between the data and the end is tables, each referenced once.
        let data_end = self.next.div_ceil(HOST_CLUSTER);
        self.refcounts[data_end as usize..].fill(1);

        let first_block = refcount_table_offset + table_clusters * HOST_CLUSTER;
        let table: Vec<u64> = (0..blocks).map(|block| first_block + block * HOST_CLUSTER).collect();
        writes.push((refcount_table_offset, padded(big_endian(&table))));
        let counts: Vec<u8> = self.refcounts.iter().flat_map(|count| count.to_be_bytes()).collect();
        writes.push((first_block, padded(counts)));

        let header = Header {
            kind,
            virtual_size,
            l1_size: l1_size as u32,
            l1_offset,
            refcount_table_offset,
            refcount_table_clusters: table_clusters as u32,
        };
        writes.push((0, header.to_bytes()));
        writes
    }

    /// Adds a reference to each host cluster from the one with byte `first` to the one with byte `last`.
    fn count(&mut self, first: u64, last: u64) {
        let (first, last) = ((first / HOST_CLUSTER) as usize, (last / HOST_CLUSTER) as usize);
        if self.refcounts.len() <= last {
            self.refcounts.resize(last + 1, 0);
        }
        for count in &mut self.refcounts[first..=last] {
            // Frames are at least 9 bytes long, so a host cluster cannot have 65,536 of them.
            *count += 1;
        }
    }

    /// Sets the L2 entry of guest cluster `index`, which must be larger than all before it.
    fn map(&mut self, index: u64, entry: u64) {
        let table = index / L2_ENTRIES;
        if self.l2.last().is_none_or(|(last, _)| *last != table) {
            self.l2.push((table, vec![0; L2_ENTRIES as usize]));
        }
        if let Some((_, entries)) = self.l2.last_mut() {
            entries[(index % L2_ENTRIES) as usize] = entry;
        }
    }
}

/// The number of clusters of the refcount table and of the refcount blocks after `others` clusters. The blocks count
/// the `others` and themselves: these are the smallest numbers that cover all.
fn refcount_clusters(others: u64) -> (u64, u64) {
    let (mut table, mut blocks) = (1, 1);
    loop {
        let needed_blocks = (others + table + blocks).div_ceil(BLOCK_ENTRIES);
        let needed_table = needed_blocks.div_ceil(HOST_CLUSTER / 8);
        if (needed_table, needed_blocks) == (table, blocks) {
            return (table, blocks);
        }
        (table, blocks) = (needed_table, needed_blocks);
    }
}

fn big_endian(table: &[u64]) -> Vec<u8> {
    table.iter().flat_map(|entry| entry.to_be_bytes()).collect()
}

/// Pads with zeros to whole clusters.
fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(CLUSTER), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refcount_blocks_count_themselves() {
        assert_eq!(refcount_clusters(1), (1, 1));
        assert_eq!(refcount_clusters(BLOCK_ENTRIES - 2), (1, 1), "all fit exactly");
        assert_eq!(refcount_clusters(BLOCK_ENTRIES - 1), (1, 2));
        // 8192 blocks fill one cluster of table; one more block needs a second.
        assert_eq!(refcount_clusters(8192 * BLOCK_ENTRIES - 8193), (1, 8192));
        assert_eq!(refcount_clusters(8192 * BLOCK_ENTRIES - 8192), (2, 8193));
        for others in (0..1 << 20).step_by(997) {
            let (table, blocks) = refcount_clusters(others);
            assert!(others + table + blocks <= blocks * BLOCK_ENTRIES);
        }
    }

    #[test]
    fn frames_are_packed_and_counted() {
        let mut layout = Layout::new();
        assert_eq!(layout.place_frame(0, 100), HOST_CLUSTER);
        assert_eq!(layout.place_frame(1, 65_535), HOST_CLUSTER + 100, "across two host clusters");
        assert_eq!(layout.place_plain(2), 3 * HOST_CLUSTER);
        assert_eq!(layout.place_frame(3, 70_000 - 65_536), 2 * HOST_CLUSTER + 99, "in the gap");
        assert_eq!(layout.place_frame(9000, 65_000), 4 * HOST_CLUSTER, "too long for the gap");
        assert_eq!(layout.refcounts, [1, 2, 2, 1, 1]);
        assert_eq!(layout.l2.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1]);
        let entries = &layout.l2[0].1;
        assert_eq!(entries[0], COMPRESSED | HOST_CLUSTER, "no sector but the first");
        assert_eq!(entries[1], COMPRESSED | 128 << 54 | (HOST_CLUSTER + 100));
        assert_eq!(entries[2], COPIED | (3 * HOST_CLUSTER));
    }
}
