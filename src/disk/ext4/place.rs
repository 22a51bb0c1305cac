//! The second half of laying out: which blocks everything gets, for one geometry.

use std::ops::Range;

use crate::tree::Layer;

use super::allocator::Allocator;
use super::block::CLUSTER;
use super::extent::{self, Mapping};
use super::geometry::Geometry;
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
        let all = || 0..survey.items.len();
        for layer in [Layer::Base, Layer::Role] {
            allocator.align();
            all().for_each(|at| metadata(&survey.items[at], &mut items[at], layer, &mut allocator));
            for large in [false, true] {
                allocator.align();
                all().for_each(|at| file(&survey.items[at], &mut items[at], layer, large, &mut allocator));
            }
        }
        Placement { items, journal, double_indirect, end: allocator.end(), used: allocator.into_used() }
    }

    /// Blocks in all.
    pub fn used_blocks(&self) -> u64 {
        self.used.iter().map(|range| range.end - range.start).sum()
    }
}

/// Attributes, directories, long links. Of a base directory, the role's turn takes the blocks for the role's entries.
fn metadata(item: &Item, place: &mut Place, layer: Layer, allocator: &mut Allocator) {
    if item.layer == layer && item.xattrs.block.is_some() {
        place.xattrs = Some(allocator.whole(1).start);
    }
    match &item.body {
        Body::Dir { shape, base_blocks, .. } => {
            let blocks = match (item.layer, layer) {
                (Layer::Base, Layer::Base) => 0..*base_blocks,
                (Layer::Base, Layer::Role) => *base_blocks..shape.blocks(),
                (Layer::Role, Layer::Base) => return,
                (Layer::Role, Layer::Role) => 0..shape.blocks(),
            };
            if !blocks.is_empty() {
                place.add(blocks.start, allocator.packed(blocks.end - blocks.start));
                place.grow_tree(allocator);
            }
        }
        Body::LongLink(_) if item.layer == layer => place.add(0, [allocator.whole(1)]),
        _ => {}
    }
}

/// The contents of small files, or of those of a cluster or more.
fn file(item: &Item, place: &mut Place, layer: Layer, large: bool, allocator: &mut Allocator) {
    let Body::File { runs, .. } = &item.body else { return };
    let blocks: u64 = runs.iter().map(|run| run.end - run.start).sum();
    if item.layer != layer || (blocks >= CLUSTER) != large {
        return;
    }
    for run in runs {
        let count = run.end - run.start;
        if count >= CLUSTER {
            place.add(run.start, allocator.aligned(count));
        } else {
            place.add(run.start, [allocator.whole(count)]);
        }
    }
    place.grow_tree(allocator);
}
