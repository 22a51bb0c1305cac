//! The garbage collection: what nobody needs any more goes.
//!
//! What is kept is a pure function of the inventory and the limits: everything that live roots name. The rest is
//! sorted by when it was used last, such that nothing is older than what names it: so whatever part goes, what stays
//! names nothing that went.

use std::collections::{BTreeMap, BTreeSet};

use super::survey::{Inventory, Life, Moment, Piece, Rest};
use super::{Access, COMPOSED, FRAMES, Owner, Root, Store};
use crate::error::{Error, Result};
use crate::fsx;
use crate::value::{Cancel, Sha256};

/// How much a collection may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Remove only as much as it takes for the store to have no more than so many bytes.
    pub max_size: Option<u64>,
    /// Keep what was used at this time or later.
    pub used_since: Option<Moment>,
}

/// What a collection is going to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// What goes, in this order: first what names, then what is named.
    pub removals: Vec<Removal>,
    /// How many bytes live roots need.
    pub needed: u64,
    /// How many bytes stay though no live root needs them.
    pub spared: u64,
}

/// A piece that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// What it is.
    pub what: What,
    /// Where it is, and how large.
    pub piece: Piece,
}

/// What a piece is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A root of a project that is gone.
    Root(Owner),
    /// An action entry.
    Action(String, Sha256),
    /// A claim of a bundle about a plan.
    Claim(Sha256),
    /// A blob.
    Blob(Sha256),
    /// Something else.
    Rest(Rest),
}

impl What {
    /// In which step it goes. What an entry names outlives the entry.
    fn stage(&self) -> u8 {
        match self {
            What::Root(_) => 0,
            What::Action(kind, _) if kind == COMPOSED => 2,
            What::Action(..) | What::Claim(_) => 1,
            What::Blob(_) => 3,
            What::Rest(_) => 4,
        }
    }
}

/// What live roots need, by name.
#[derive(Debug, Default)]
pub struct Needed {
    /// Action entries.
    pub actions: BTreeSet<(String, Sha256)>,
    /// Blobs: those that the roots name, and those that the actions gave.
    pub blobs: BTreeSet<Sha256>,
    /// The plans that are still wanted, whose claims stay.
    pub plans: BTreeSet<Sha256>,
}

impl Needed {
    /// By these roots.
    pub fn by<'a>(roots: impl IntoIterator<Item = &'a Root>, inventory: &Inventory) -> Needed {
        let mut needed = Needed::default();
        for root in roots {
            needed.plans.insert(root.current.history.plan.digest);
            needed.actions.extend(root.current.actions.iter().cloned());
            needed.blobs.extend(named(root));
        }
        for name in &needed.actions {
            needed.blobs.extend(outputs(inventory, name));
        }
        let composed: Vec<_> = needed.blobs.iter().map(|blob| (COMPOSED.to_owned(), *blob)).collect();
        for entry in composed.into_iter().filter(|entry| inventory.actions.contains_key(entry)) {
            if is_whole(inventory, &entry) {
                // It needs no file of its own.
                needed.blobs.remove(&entry.1);
            }
            needed.blobs.extend(outputs(inventory, &entry));
            needed.actions.insert(entry);
        }
        // By which other name a blob is known is needed as long as the blob is.
        let aliases = inventory.actions.keys().filter_map(|name| Some((name, aliased(inventory, name)?)));
        needed.actions.extend(aliases.filter(|(_, blob)| needed.blobs.contains(blob)).map(|(name, _)| name.clone()));
        needed
    }
}

/// The blobs that a root names itself.
fn named(root: &Root) -> impl Iterator<Item = Sha256> {
    let histories = [Some(root.current.history), root.previous].into_iter().flatten();
    let texts = histories.flat_map(|history| [Some(history.plan), history.causes]).flatten().map(|blob| blob.digest);
    texts.chain(root.current.inputs.iter().copied())
}

/// The blobs that an action gave.
fn outputs<'a>(inventory: &'a Inventory, name: &(String, Sha256)) -> impl Iterator<Item = Sha256> + 'a {
    let action = inventory.actions.get(name).and_then(|(action, _)| action.as_ref());
    action.into_iter().flat_map(|action| action.outputs.values().map(|blob| blob.digest))
}

/// Whether all that an entry names has a file here, and not in a lower store.
fn is_whole(inventory: &Inventory, name: &(String, Sha256)) -> bool {
    let mut blobs = outputs(inventory, name).peekable();
    blobs.peek().is_some() && blobs.all(|blob| inventory.blobs.contains_key(&blob))
}

/// The blob that an entry gives another name to.
fn aliased(inventory: &Inventory, name: &(String, Sha256)) -> Option<Sha256> {
    let mut blobs = outputs(inventory, name).filter(|_| Store::is_alias(&name.0) || name.0 == FRAMES);
    blobs.next().filter(|_| blobs.next().is_none())
}

/// What goes, of a store that has `inventory`.
pub fn plan(inventory: &Inventory, limits: &Limits) -> Collection {
    let live = inventory.roots.iter().filter(|(_, life, _)| *life != Life::Dead).map(|(root, ..)| root);
    let needed = Needed::by(live, inventory);
    let (rubbish, mut candidates) = unneeded(inventory, &needed);
    let total = total(inventory);
    let mut left = total - rubbish.iter().map(|removal| removal.piece.size).sum::<u64>();
    let sum = |removals: &[Removal]| removals.iter().map(|removal| removal.piece.size).sum::<u64>();
    let needed = left - sum(&candidates);

    candidates.sort_by(|a, b| (a.piece.used, a.what.stage(), &a.piece).cmp(&(b.piece.used, b.what.stage(), &b.piece)));
    candidates.retain(|removal| {
        let spared = limits.used_since.is_some_and(|since| removal.piece.used >= since) || limits.max_size.is_some_and(|max| left <= max);
        if !spared {
            left -= removal.piece.size;
        }
        !spared
    });
    let mut removals = rubbish;
    removals.append(&mut candidates);
    removals.sort_by(|a, b| (a.what.stage(), &a.piece.path).cmp(&(b.what.stage(), &b.piece.path)));
    Collection { removals, needed, spared: left - needed }
}

/// How many bytes the whole store has.
pub fn total(inventory: &Inventory) -> u64 {
    let Inventory { roots, odd_roots, actions, claims, blobs, rest } = inventory;
    let pieces = roots.iter().map(|(.., piece)| piece).chain(odd_roots).chain(actions.values().map(|(_, piece)| piece));
    let pieces = pieces.chain(claims.values()).chain(blobs.values()).chain(rest.iter().map(|(_, piece)| piece));
    pieces.map(|piece| piece.size).sum()
}

/// What is of no use to anyone; and what may be again, each with the time when it, or what names it, was used last.
fn unneeded(inventory: &Inventory, needed: &Needed) -> (Vec<Removal>, Vec<Removal>) {
    let (mut rubbish, mut candidates) = (Vec::new(), Vec::new());
    let ages = Ages::of(inventory, needed);
    let aged = |what, piece: &Piece, used: Moment| Removal { what, piece: Piece { used, ..piece.clone() } };
    for (root, life, piece) in &inventory.roots {
        if *life == Life::Dead {
            candidates.push(aged(What::Root(root.owner.clone()), piece, ages.root(root, piece)));
        }
    }
    for (name, (action, piece)) in &inventory.actions {
        let what = What::Action(name.0.clone(), name.1);
        match action {
            None => rubbish.push(aged(what, piece, piece.used)),
            Some(_) if needed.actions.contains(name) => {}
            Some(_) => candidates.push(aged(what, piece, ages.actions[name])),
        }
    }
    for (key, piece) in inventory.claims.iter().filter(|(key, _)| !needed.plans.contains(key)) {
        candidates.push(aged(What::Claim(*key), piece, ages.claims[key]));
    }
    for (digest, piece) in inventory.blobs.iter().filter(|(digest, _)| !needed.blobs.contains(digest)) {
        candidates.push(aged(What::Blob(*digest), piece, ages.blobs[digest]));
    }
    for (rest, piece) in &inventory.rest {
        let removal = aged(What::Rest(*rest), piece, piece.used);
        match rest {
            Rest::Stamp | Rest::Distrust => {}
            Rest::Partial | Rest::Quarantine => candidates.push(removal),
            Rest::StaleStamp | Rest::Lock | Rest::Work | Rest::Odd => rubbish.push(removal),
        }
    }
    (rubbish, candidates)
}

/// When things were used last, in so far as what they are named by says so: a root is not older than the actions that
/// only dead roots have, an action not older than the roots that name it, a blob not older than anything that names it.
struct Ages<'a> {
    needed: &'a Needed,
    inventory: &'a Inventory,
    actions: BTreeMap<&'a (String, Sha256), Moment>,
    blobs: BTreeMap<Sha256, Moment>,
    claims: BTreeMap<Sha256, Moment>,
}

impl<'a> Ages<'a> {
    fn of(inventory: &'a Inventory, needed: &'a Needed) -> Self {
        let actions = inventory.actions.iter().map(|(name, (_, piece))| (name, piece.used)).collect();
        let blobs = inventory.blobs.iter().map(|(digest, piece)| (*digest, piece.used)).collect();
        let claims = inventory.claims.iter().map(|(key, piece)| (*key, piece.used)).collect();
        let mut ages = Ages { needed, inventory, actions, blobs, claims };
        for (root, _, piece) in inventory.roots.iter().filter(|(_, life, _)| *life == Life::Dead) {
            let used = ages.root(root, piece);
            named(root).for_each(|blob| raise(&mut ages.blobs, &blob, used));
            root.current.actions.iter().for_each(|name| raise(&mut ages.actions, &name, used));
            raise(&mut ages.claims, &root.current.history.plan.digest, used);
        }
        for name in inventory.actions.keys() {
            let used = ages.actions[name];
            let composed = outputs(inventory, name).map(|blob| (COMPOSED.to_owned(), blob));
            let entries = composed.filter_map(|entry| inventory.actions.get_key_value(&entry));
            entries.for_each(|(entry, _)| raise(&mut ages.actions, &entry, used));
        }
        for name in inventory.actions.keys() {
            let used = ages.actions[name];
            outputs(inventory, name).for_each(|blob| raise(&mut ages.blobs, &blob, used));
        }
        // Without its other name a blob would be fetched again.
        for name in inventory.actions.keys() {
            if let Some(used) = aliased(inventory, name).and_then(|blob| ages.blobs.get(&blob).copied()) {
                raise(&mut ages.actions, &name, used);
            }
        }
        ages
    }

    fn root(&self, root: &Root, piece: &Piece) -> Moment {
        let own = root.current.actions.iter().filter(|name| !self.needed.actions.contains(*name));
        let sound = own.filter_map(|name| self.inventory.actions.get(name)).filter(|(action, _)| action.is_some());
        let used = sound.map(|(_, piece)| piece.used);
        used.fold(piece.used, Moment::max)
    }
}

fn raise<K: Ord>(ages: &mut BTreeMap<K, Moment>, name: &K, used: Moment) {
    if let Some(age) = ages.get_mut(name) {
        *age = used.max(*age);
    }
}

impl Store {
    /// Removes what no live root needs, as far as `limits` say. The store is open for this process alone; `removed` is
    /// called for each piece that is gone. Stopped at any point, what is left is sound, and the next collection goes on.
    ///
    /// # Errors
    /// [`crate::Class::Integrity`] when a root cannot be understood: nothing is removed then, for it may name anything.
    pub fn gc(&self, limits: &Limits, cancel: &Cancel, removed: &mut dyn FnMut(&Removal)) -> Result<Collection> {
        let collection = self.plan_gc(&self.survey()?, limits)?;
        self.collect(&collection, cancel, removed)?;
        Ok(collection)
    }

    /// What [`Store::gc`] would remove from this store, which has `inventory`.
    ///
    /// # Errors
    /// As there.
    pub fn plan_gc(&self, inventory: &Inventory, limits: &Limits) -> Result<Collection> {
        let Some(first) = inventory.odd_roots.first() else { return Ok(plan(inventory, limits)) };
        let place = self.root().join(&first.path);
        Err(Error::integrity(format!("{} cannot be understood, so what it needs is not known", place.display()))
            .detail("nothing was removed")
            .hint("`kbake build` or `kbake fetch` of the role that it is about writes it anew; `kbake verify` removes what is damaged"))
    }

    /// Does what was planned since the store was opened. Of work folders some may resist, those of subordinate ids: they
    /// are passed over, and not told.
    pub fn collect(&self, collection: &Collection, cancel: &Cancel, removed: &mut dyn FnMut(&Removal)) -> Result<()> {
        if self.access != Access::Exclusive {
            return Err(Error::internal("a collection needs the store for itself"));
        }
        let mut stage = 0;
        for removal in &collection.removals {
            cancel.check()?;
            if removal.what.stage() > stage {
                // A power cut must not bring back an entry whose blobs are gone.
                self.sync_entries()?;
                stage = removal.what.stage();
            }
            let path = self.root().join(&removal.piece.path);
            // Whatever it is: a folder may be where work is, and in a file's place.
            match fsx::remove(&path) {
                Ok(()) => removed(removal),
                Err(_) if removal.what == What::Rest(Rest::Work) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync_entries(&self) -> Result<()> {
        ["roots", "actions", "claims"]
            .into_iter()
            .map(|folder| self.root().join(folder))
            .try_for_each(|folder| if fsx::exists(&folder)? { fsx::sync_dir(&folder) } else { Ok(()) })
    }
}
