//! The sizes of a volume's parts, and the allocation table (fatgen103, "FAT Data Structure", "FAT Type Determination").
//!
//! The number of clusters alone decides whether a volume is FAT12 or FAT16, so both follow from the files' sizes.

use super::SECTOR;

/// `BPB_Media`, and the low byte of the first table entry: not removable.
pub(super) const MEDIA: u8 = 0xf8;
/// The size of a directory entry, in bytes.
pub(super) const ENTRY: usize = 32;
/// `BPB_RsvdSecCnt`: the boot sector, and by the specification nothing else.
pub(super) const RESERVED: usize = 1;
/// `BPB_NumFATs`: the second is a copy of the first.
pub(super) const TABLES: usize = 2;
/// `BPB_RootEntCnt`: the specification's recommendation, because some drivers rely on it.
pub(super) const ROOT_ENTRIES: usize = 512;
/// `BPB_SecPerTrk`. Meaningless today, but mtools refuses a volume whose size is not a multiple of it.
pub(super) const TRACK: usize = 32;
/// `BPB_NumHeads`. Meaningless too.
pub(super) const HEADS: usize = 64;
/// The number of the first cluster: table entries 0 and 1 have other uses.
pub(super) const FIRST_CLUSTER: usize = 2;

/// The sectors of the root folder.
const ROOT_SECTORS: usize = ROOT_ENTRIES * ENTRY / SECTOR;
/// Sectors per cluster to try, in this order: with 4, 64 MiB in 511 files fit.
const CLUSTERS: [usize; 3] = [1, 2, 4];
/// The 16-bit table entry that ends a chain.
const END: u16 = 0xffff;

/// The width of a table entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Fat12,
    Fat16,
}

impl Width {
    /// The fewest and most clusters. By the specification FAT12 ends below 4,085 and FAT16 below 65,525; it also asks
    /// to stay 16 away from both, since many drivers are off by a few.
    fn clusters(self) -> (usize, usize) {
        match self {
            Width::Fat12 => (1, 4084 - 16),
            Width::Fat16 => (4085 + 16, 65_524 - 16),
        }
    }

    /// `BS_FilSysType`: informative only; drivers count clusters.
    pub(super) fn name(self) -> &'static [u8; 8] {
        match self {
            Width::Fat12 => b"FAT12   ",
            Width::Fat16 => b"FAT16   ",
        }
    }

    /// The sectors of a table for `clusters` clusters.
    fn table_sectors(self, clusters: usize) -> usize {
        let entries = FIRST_CLUSTER + clusters;
        match self {
            Width::Fat12 => (entries * 3).div_ceil(2),
            Width::Fat16 => entries * 2,
        }
        .div_ceil(SECTOR)
    }

    /// Encodes table entries; FAT12 keeps only the lower 12 bits of each.
    fn pack(self, entries: &[u16]) -> Vec<u8> {
        match self {
            Width::Fat16 => entries.iter().flat_map(|entry| entry.to_le_bytes()).collect(),
            // Two entries in three bytes, the low bits first.
            Width::Fat12 => entries
                .chunks(2)
                .flat_map(|pair| {
                    let (low, high) = (pair[0] & 0xfff, pair.get(1).map_or(0, |entry| entry & 0xfff));
                    [low as u8, (low >> 8 | high << 4) as u8, (high >> 4) as u8]
                })
                .collect(),
        }
    }
}

/// The sizes of a volume's parts, in order: boot sector, tables, root folder, clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub width: Width,
    pub sectors_per_cluster: usize,
    /// The number of clusters; those after the files are free.
    pub clusters: usize,
    /// The sectors of each of the tables.
    pub table_sectors: usize,
    /// The volume's number of sectors.
    pub sectors: usize,
}

impl Geometry {
    /// The geometry with the smallest clusters that fit files of these sizes in bytes. `None` if none does.
    pub(super) fn of(sizes: &[usize]) -> Option<Self> {
        CLUSTERS.iter().find_map(|&sectors_per_cluster| {
            let clusters: usize = sizes.iter().map(|size| size.div_ceil(sectors_per_cluster * SECTOR)).sum();
            [Width::Fat12, Width::Fat16].into_iter().find_map(|width| {
                let (least, most) = width.clusters();
                let geometry = Self::fit(width, sectors_per_cluster, clusters.max(least));
                (geometry.clusters <= most).then_some(geometry)
            })
        })
    }

    /// The smallest volume of whole tracks that has at least `clusters` clusters.
    fn fit(width: Width, sectors_per_cluster: usize, clusters: usize) -> Self {
        let mut table_sectors = width.table_sectors(clusters);
        loop {
            let before = RESERVED + TABLES * table_sectors + ROOT_SECTORS;
            let sectors = (before + clusters * sectors_per_cluster).next_multiple_of(TRACK);
            // Rounding up to a track adds clusters, for which the table must have entries too.
            let clusters = (sectors - before) / sectors_per_cluster;
            let needed = width.table_sectors(clusters);
            if needed <= table_sectors {
                return Geometry { width, sectors_per_cluster, clusters, table_sectors, sectors };
            }
            table_sectors = needed;
        }
    }

    /// The size of a cluster in bytes.
    pub(super) fn cluster(&self) -> usize {
        self.sectors_per_cluster * SECTOR
    }

    /// The tables' first sectors.
    pub(super) fn tables(&self) -> [usize; TABLES] {
        [RESERVED, RESERVED + self.table_sectors]
    }

    /// The root folder's first sector.
    pub(super) fn folder(&self) -> usize {
        RESERVED + TABLES * self.table_sectors
    }

    /// The first sector of the first cluster.
    fn data(&self) -> usize {
        self.folder() + ROOT_SECTORS
    }

    /// The first sector of a cluster.
    pub(super) fn sector(&self, cluster: usize) -> usize {
        self.data() + (cluster - FIRST_CLUSTER) * self.sectors_per_cluster
    }

    /// The table for contiguous files, each with the given number of clusters.
    pub(super) fn table(&self, chains: &[usize]) -> Vec<u8> {
        // Entry 0 repeats the media byte; the upper bits of entry 1 mean a clean volume without I/O errors.
        let mut entries = vec![0xff00 | u16::from(MEDIA), END];
        for &clusters in chains {
            let first = entries.len();
            entries.extend((1..clusters).map(|next| (first + next) as u16));
            entries.extend((clusters > 0).then_some(END));
        }
        self.width.pack(&entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_clusters_stays_away_from_the_limits() {
        use Width::{Fat12, Fat16};
        for (bytes, width, sectors_per_cluster) in [
            (0, Fat12, 1),
            (100_000, Fat12, 1),
            // With one more cluster the last track would go beyond 4,068, or beyond 65,508.
            (4039 * 512, Fat12, 1),
            (4039 * 512 + 1, Fat16, 1),
            (65_503 * 512, Fat16, 1),
            (65_503 * 512 + 1, Fat16, 2),
            (64 << 20, Fat16, 4),
        ] {
            let found = Geometry::of(&[bytes]).unwrap();
            assert_eq!((found.width, found.sectors_per_cluster), (width, sectors_per_cluster), "{bytes}: {found:?}");
        }
        assert_eq!(Geometry::of(&[129 << 20]), None);
    }

    #[test]
    fn every_size_gets_a_consistent_geometry() {
        for bytes in (0..5 << 20).step_by(500).chain((5 << 20..64 << 20).step_by(29_999)) {
            let found = Geometry::of(&[bytes]).unwrap();
            let by_specification = (found.sectors - found.data()) / found.sectors_per_cluster;
            assert_eq!(found.clusters, by_specification);
            assert!(found.clusters * found.cluster() >= bytes);
            // The table may have a sector to spare, never one too few.
            let least = found.width.table_sectors(found.clusters);
            assert!((least..=least + 1).contains(&found.table_sectors), "{found:?}");
            assert!(found.sectors.is_multiple_of(TRACK));
            match found.width {
                Width::Fat12 => assert!((1..=4068).contains(&found.clusters), "{found:?}"),
                Width::Fat16 => assert!((4101..=65_508).contains(&found.clusters), "{found:?}"),
            }
        }
    }

    #[test]
    fn twelve_bit_entries_share_bytes() {
        assert_eq!(Width::Fat12.pack(&[0xfff8, 0xffff, 0x0123, 0x0456, 0x0789]), [0xf8, 0xff, 0xff, 0x23, 0x61, 0x45, 0x89, 0x07, 0]);
        assert_eq!(Width::Fat16.pack(&[0xfff8, 0x0123]), [0xf8, 0xff, 0x23, 0x01]);
    }
}
