//! What takes how much room in a store, and for whom: figures for people, out of an inventory.

use std::collections::{BTreeMap, BTreeSet};

use super::gc::{self, Limits, What};
use super::survey::{Inventory, Life, Rest};
use super::{Owner, Store};
use crate::value::Sha256;

/// What things are, as far as the store can tell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Blobs that were fetched.
    Input,
    /// Blobs that an action of this kind gave.
    Made(String),
    /// Plans, and what says whose doing their lines are.
    Plan,
    /// Blobs that nothing names.
    Loose,
    /// Roots, action entries, claims: all that names something.
    Entry,
    /// Something else.
    Rest(Rest),
}

/// How many things, and how many bytes they have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Things.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// By class: all, and the part that a collection without limits removes.
    pub classes: BTreeMap<Class, [Tally; 2]>,
    /// By root, in the order of the inventory.
    pub roots: Vec<RootUsage>,
}

/// What one root names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootUsage {
    /// Whose it is.
    pub owner: Owner,
    /// Whether it is still wanted.
    pub life: Life,
    /// The bytes of the blobs that no other root names.
    pub alone: u64,
    /// The bytes of those that others name too.
    pub shared: u64,
}

impl Tally {
    /// With one more thing in it.
    pub fn add(&mut self, bytes: u64) {
        *self = self.and(Tally { count: 1, bytes });
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Tally) -> Tally {
        Tally { count: self.count + other.count, bytes: self.bytes + other.bytes }
    }
}

impl Usage {
    /// Of a store that has `inventory`.
    pub fn of(inventory: &Inventory) -> Usage {
        let classes = classes(inventory);
        let mut usage = Usage { classes: BTreeMap::new(), roots: roots(inventory) };
        let mut add = |which: usize, class: Class, bytes| usage.classes.entry(class).or_default()[which].add(bytes);
        let Inventory { roots, odd_roots, actions, claims, blobs, rest } = inventory;
        let entries = roots.iter().map(|(.., piece)| piece).chain(odd_roots).chain(actions.values().map(|(_, piece)| piece));
        entries.chain(claims.values()).for_each(|piece| add(0, Class::Entry, piece.size));
        blobs.iter().for_each(|(digest, piece)| add(0, class_of(&classes, &What::Blob(*digest)), piece.size));
        rest.iter().for_each(|(rest, piece)| add(0, Class::Rest(*rest), piece.size));
        for removal in gc::plan(inventory, &Limits::default()).removals {
            add(1, class_of(&classes, &removal.what), removal.piece.size);
        }
        usage
    }

    /// All classes together: all, and the part that a collection without limits removes.
    pub fn total(&self) -> [Tally; 2] {
        let sum = |which: usize| self.classes.values().fold(Tally::default(), |sum, both| sum.and(both[which]));
        [sum(0), sum(1)]
    }
}

/// What the blobs that something names are. One that was fetched is an input whatever else it is.
pub fn classes(inventory: &Inventory) -> BTreeMap<Sha256, Class> {
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
        let class = if Store::is_alias(&key.0) { Class::Input } else { Class::Made(key.0.clone()) };
        action.iter().flat_map(|action| action.outputs.values()).for_each(|blob| name(blob.digest, class.clone()));
    }
    classes
}

/// What a piece is, `classes` being those of the blobs that are named.
pub fn class_of(classes: &BTreeMap<Sha256, Class>, what: &What) -> Class {
    match what {
        What::Root(_) | What::Action(..) | What::Claim(_) => Class::Entry,
        What::Blob(digest) => classes.get(digest).cloned().unwrap_or(Class::Loose),
        What::Rest(rest) => Class::Rest(*rest),
    }
}

fn roots(inventory: &Inventory) -> Vec<RootUsage> {
    let needed: Vec<BTreeSet<Sha256>> = inventory.roots.iter().map(|(root, ..)| gc::Needed::by([root], inventory).blobs).collect();
    let mut names: BTreeMap<Sha256, u32> = BTreeMap::new();
    needed.iter().flatten().for_each(|blob| *names.entry(*blob).or_default() += 1);
    let usage = |((root, life, _), blobs): (&(super::Root, Life, _), &BTreeSet<Sha256>)| {
        let (mut alone, mut shared) = (0, 0);
        for blob in blobs {
            let size = inventory.blobs.get(blob).map_or(0, |piece: &super::survey::Piece| piece.size);
            *if names[blob] == 1 { &mut alone } else { &mut shared } += size;
        }
        RootUsage { owner: root.owner.clone(), life: *life, alone, shared }
    };
    inventory.roots.iter().zip(&needed).map(usage).collect()
}
