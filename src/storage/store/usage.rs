//! Disk usage of a store by class and by root, computed from an inventory.

use std::collections::{BTreeMap, BTreeSet};

use super::gc::{self, Limits, PieceKind};
use super::inventory::{Inventory, Liveness, Rest};
use super::{Owner, Store};
use crate::common::value::Sha256;

/// The classes of things in a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Fetched blobs.
    Input,
    /// Output blobs of actions of this kind.
    Output(String),
    /// Plans, and the provenance of their lines.
    Plan,
    /// Blobs that nothing names.
    Loose,
    /// Roots, action entries, claims.
    Entry,
    /// Any other file.
    Rest(Rest),
}

/// A number of things and their total size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// The number of things.
    pub count: u64,
    /// Their total size in bytes.
    pub bytes: u64,
}

/// The disk usage of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usage {
    /// By class: the total, and the part that a collection without limits removes.
    pub classes: BTreeMap<Class, [Tally; 2]>,
    /// By root, in the order of the inventory.
    pub roots: Vec<RootUsage>,
}

/// The disk usage of one root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootUsage {
    /// The owner.
    pub owner: Owner,
    /// The reason why the root is live, if it is.
    pub life: Liveness,
    /// The size in bytes of the blobs that no other root names.
    pub alone: u64,
    /// The size in bytes of the blobs that other roots name too.
    pub shared: u64,
}

impl Tally {
    /// Adds one thing.
    pub(crate) fn add(&mut self, bytes: u64) {
        *self = self.and(Tally { count: 1, bytes });
    }

    /// The sum of both.
    #[must_use]
    pub(crate) fn and(self, other: Tally) -> Tally {
        Tally { count: self.count + other.count, bytes: self.bytes + other.bytes }
    }
}

impl Usage {
    /// The usage of a store with `inventory`.
    pub(crate) fn of(inventory: &Inventory) -> Usage {
        let classes = classes(inventory);
        let mut usage = Usage { classes: BTreeMap::new(), roots: roots(inventory) };
        let mut add = |which: usize, class: Class, bytes| usage.classes.entry(class).or_default()[which].add(bytes);
        let Inventory { roots, odd_roots, actions, claims, blobs, rest } = inventory;
        let entries = roots.iter().map(|(.., piece)| piece).chain(odd_roots).chain(actions.values().map(|(_, piece)| piece));
        entries.chain(claims.values()).for_each(|piece| add(0, Class::Entry, piece.size));
        blobs.iter().for_each(|(digest, piece)| add(0, class_of(&classes, &PieceKind::Blob(*digest)), piece.size));
        rest.iter().for_each(|(rest, piece)| add(0, Class::Rest(*rest), piece.size));
        for removal in gc::plan(inventory, &Limits::default()).removals {
            add(1, class_of(&classes, &removal.what), removal.piece.size);
        }
        usage
    }

    /// The sum of all classes: the total, and the part that a collection without limits removes.
    pub(crate) fn total(&self) -> [Tally; 2] {
        let sum = |which: usize| self.classes.values().fold(Tally::default(), |sum, both| sum.and(both[which]));
        [sum(0), sum(1)]
    }
}

/// The classes of all named blobs. A fetched blob is an input, whatever else names it.
pub(crate) fn classes(inventory: &Inventory) -> BTreeMap<Sha256, Class> {
    let mut classes = BTreeMap::new();
    let mut name = |digest: Sha256, class: Class| {
        let there = classes.entry(digest).or_insert_with(|| class.clone());
        if class < *there {
            *there = class;
        }
    };
    for (root, ..) in &inventory.roots {
        root.current.inputs.iter().for_each(|input| name(*input, Class::Input));
        for history in [Some(root.current.history), root.previous].into_iter().flatten() {
            name(history.plan.digest, Class::Plan);
            history.causes.into_iter().for_each(|causes| name(causes.digest, Class::Plan));
        }
    }
    for (key, (action, _)) in &inventory.actions {
        let class = if Store::is_alias(&key.0) { Class::Input } else { Class::Output(key.0.clone()) };
        action.iter().flat_map(|action| action.outputs.values()).for_each(|blob| name(blob.digest, class.clone()));
    }
    classes
}

/// The class of a piece, given the `classes` of all named blobs.
pub(crate) fn class_of(classes: &BTreeMap<Sha256, Class>, what: &PieceKind) -> Class {
    match what {
        PieceKind::Root(_) | PieceKind::Action(..) | PieceKind::Claim(_) => Class::Entry,
        PieceKind::Blob(digest) => classes.get(digest).cloned().unwrap_or(Class::Loose),
        PieceKind::Rest(rest) => Class::Rest(*rest),
    }
}

fn roots(inventory: &Inventory) -> Vec<RootUsage> {
    let needed: Vec<BTreeSet<Sha256>> = inventory.roots.iter().map(|(root, ..)| gc::Needed::by([root], inventory).blobs).collect();
    let mut names: BTreeMap<Sha256, u32> = BTreeMap::new();
    needed.iter().flatten().for_each(|blob| *names.entry(*blob).or_default() += 1);
    let usage = |((root, life, _), blobs): (&(super::Root, Liveness, _), &BTreeSet<Sha256>)| {
        let (mut alone, mut shared) = (0, 0);
        for blob in blobs {
            let size = inventory.blobs.get(blob).map_or(0, |piece: &super::inventory::Piece| piece.size);
            *if names[blob] == 1 { &mut alone } else { &mut shared } += size;
        }
        RootUsage { owner: root.owner.clone(), life: *life, alone, shared }
    };
    inventory.roots.iter().zip(&needed).map(usage).collect()
}
