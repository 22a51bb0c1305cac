//! The second half of laying out: which blocks everything gets, for one geometry.

use std::ops::Range;

use super::allocator::Allocator;
use super::block::CLUSTER;
use super::extent::{self, Mapping};
use super::geometry::{Geometry, merged};
use super::survey::{Body, Item, Survey};

/// Where everything lies.
pub struct Placement {
    /// For each item of the survey.
    pub items: Vec<Place>,
    /// The journal's.
    pub journal: Place,
    /// The resize inode's double-indirect block.
    pub double_indirect: u64,
    /// All these blocks, sorted, apart from each other.
    pub used: Vec<Range<u64>>,
    /// The block behind the last one; it may be behind the disk's end, and then all this is void.
    pub end: u64,
}

/// The blocks of one inode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Its data.
    pub map: Vec<Mapping>,
    /// Nodes of its extent tree. Behind the data, because how many there are follows from where the data lies.
    pub tree: Vec<u64>,
    /// Its attributes.
    pub xattrs: Option<u64>,
}

impl Place {
    /// Blocks in all.
    pub fn blocks(&self) -> u64 {
        self.map.iter().map(Mapping::len).sum::<u64>() + self.tree.len() as u64 + u64::from(self.xattrs.is_some())
    }

    /// Maps the file's blocks from `logical` on to `ranges`.
    fn add(&mut self, mut logical: u64, ranges: impl IntoIterator<Item = Range<u64>>) {
        for disk in ranges {
            let len = disk.end - disk.start;
            match self.map.last_mut() {
                Some(last) if last.disk.end == disk.start && last.logical + last.len() == logical => last.disk.end = disk.end,
                _ => self.map.push(Mapping { logical, disk }),
            }
            logical += len;
        }
    }

    /// Takes the blocks that the extent tree needs and does not have yet.
    fn grow_tree(&mut self, allocator: &mut Allocator) {
        while self.tree.len() < extent::blocks_needed(&self.map) {
            self.tree.push(allocator.whole(1).start);
        }
    }
}

impl Placement {
    /// Places everything, in the order that [`super`] tells.
    pub fn of(survey: &Survey, geometry: &Geometry, journal_blocks: u32) -> Placement {
        let mut allocator = Allocator::new(&geometry.fixed);
        let double_indirect = allocator.whole(1).start;
        let mut journal = Place::default();
        journal.add(0, allocator.aligned(journal_blocks.into()));
        journal.grow_tree(&mut allocator);
        let mut items = vec![Place::default(); survey.items.len()];
        for large in [false, true] {
            allocator.align();
            for file in survey.base.iter().filter(|file| is_large(&file.runs) == large) {
                let place = contents(&file.runs, &mut allocator);
                // What the tree does not have leaves a hole, so that nothing behind it moves.
                if let Some(at) = file.item {
                    items[at] = place;
                }
            }
        }
        allocator.align();
        survey.items.iter().zip(&mut items).for_each(|(item, place)| metadata(item, place, &mut allocator));
        for large in [false, true] {
            allocator.align();
            for (item, place) in survey.items.iter().zip(&mut items) {
                if let Body::File { runs, in_base: false, .. } = &item.body
                    && is_large(runs) == large
                {
                    *place = Place { xattrs: place.xattrs, ..contents(runs, &mut allocator) };
                }
            }
        }
        let used = used(items.iter().chain([&journal]), double_indirect);
        Placement { items, journal, double_indirect, end: used.last().map_or(0, |range| range.end), used }
    }

    /// Blocks in all.
    pub fn used_blocks(&self) -> u64 {
        self.used.iter().map(|range| range.end - range.start).sum()
    }
}

/// Attributes, directories, long links.
fn metadata(item: &Item, place: &mut Place, allocator: &mut Allocator) {
    if item.xattrs.block.is_some() {
        place.xattrs = Some(allocator.whole(1).start);
    }
    match &item.body {
        Body::Dir { shape, .. } => {
            place.add(0, allocator.packed(shape.blocks()));
            place.grow_tree(allocator);
        }
        Body::LongLink(_) => place.add(0, [allocator.whole(1)]),
        _ => {}
    }
}

/// Whether a file starts on a boundary of its own: one that has a cluster or more.
fn is_large(runs: &[Range<u64>]) -> bool {
    runs.iter().map(|run| run.end - run.start).sum::<u64>() >= CLUSTER
}

/// A file's blocks, from right here.
fn contents(runs: &[Range<u64>], allocator: &mut Allocator) -> Place {
    let mut place = Place::default();
    for run in runs {
        let count = run.end - run.start;
        if count >= CLUSTER {
            place.add(run.start, allocator.aligned(count));
        } else {
            place.add(run.start, [allocator.whole(count)]);
        }
    }
    place.grow_tree(allocator);
    place
}

/// All blocks of `places` and the block `other`, as sorted ranges that do not touch.
fn used<'a>(places: impl Iterator<Item = &'a Place>, other: u64) -> Vec<Range<u64>> {
    let single = |block: u64| block..block + 1;
    let mut all = vec![single(other)];
    for place in places {
        all.extend(place.map.iter().map(|mapping| mapping.disk.clone()));
        all.extend(place.tree.iter().copied().chain(place.xattrs).map(single));
    }
    merged(all)
}
