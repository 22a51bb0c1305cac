//! The garbage collection.
//!
//! Its plan is a pure function of the inventory and the limits: everything that live roots name is kept. The rest is sorted by
//! last use, such that nothing is older than what names it. So whatever prefix is removed, the remaining entries name nothing
//! that is gone.

use std::collections::{BTreeMap, BTreeSet};

use super::inventory::{Inventory, Liveness, Moment, Piece, Rest};
use super::{Access, COMPOSED, FRAMES, Owner, Root, Store};
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::value::{Cancel, Sha256};

/// Limits of a collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Remove only until the store has at most this many bytes.
    pub max_size: Option<u64>,
    /// Keep everything used at this time or later.
    pub used_since: Option<Moment>,
}

/// The plan of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// The removals in order: entries go before the things that they name.
    pub removals: Vec<Removal>,
    /// The number of bytes that live roots need.
    pub needed: u64,
    /// The number of bytes kept by the limits, though no live root needs them.
    pub spared: u64,
}

/// A piece to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The kind of piece.
    pub what: PieceKind,
    /// The path and size.
    pub piece: Piece,
}

/// The kinds of pieces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PieceKind {
    /// A dead root.
    Root(Owner),
    /// An action entry.
    Action(String, Sha256),
    /// A claim of a bundle about a plan.
    Claim(Sha256),
    /// A blob.
    Blob(Sha256),
    /// Any other file.
    Rest(Rest),
}

impl PieceKind {
    /// The stage of its removal. An entry goes before the things that it names.
    fn stage(&self) -> u8 {
        match self {
            PieceKind::Root(_) => 0,
            PieceKind::Action(kind, _) if kind == COMPOSED => 2,
            PieceKind::Action(..) | PieceKind::Claim(_) => 1,
            PieceKind::Blob(_) => 3,
            PieceKind::Rest(_) => 4,
        }
    }
}

/// The needs of roots, by name.
#[derive(Debug, Default)]
pub(crate) struct Needed {
    /// Action entries.
    pub actions: BTreeSet<(String, Sha256)>,
    /// Blobs named by the roots, and outputs of the actions.
    pub blobs: BTreeSet<Sha256>,
    /// The current plans, whose claims stay.
    pub plans: BTreeSet<Sha256>,
}

impl Needed {
    /// The needs of these roots.
    pub(crate) fn by<'a>(roots: impl IntoIterator<Item = &'a Root>, inventory: &Inventory) -> Needed {
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
                // A composed blob needs no file of its own.
                needed.blobs.remove(&entry.1);
            }
            needed.blobs.extend(outputs(inventory, &entry));
            needed.actions.insert(entry);
        }
        // An alias is needed as long as its blob is.
        let aliases = inventory.actions.keys().filter_map(|name| Some((name, aliased(inventory, name)?)));
        needed.actions.extend(aliases.filter(|(_, blob)| needed.blobs.contains(blob)).map(|(name, _)| name.clone()));
        needed
    }
}

/// The blobs that a root names directly.
fn named(root: &Root) -> impl Iterator<Item = Sha256> {
    let histories = [Some(root.current.history), root.previous].into_iter().flatten();
    let texts = histories.flat_map(|history| [Some(history.plan), history.causes]).flatten().map(|blob| blob.digest);
    texts.chain(root.current.inputs.iter().copied())
}

/// The output blobs of an action.
fn outputs<'a>(inventory: &'a Inventory, name: &(String, Sha256)) -> impl Iterator<Item = Sha256> + 'a {
    let action = inventory.actions.get(name).and_then(|(action, _)| action.as_ref());
    action.into_iter().flat_map(|action| action.outputs.values().map(|blob| blob.digest))
}

/// True if all outputs of an entry have files in this store, not only in a lower one.
fn is_whole(inventory: &Inventory, name: &(String, Sha256)) -> bool {
    let mut blobs = outputs(inventory, name).peekable();
    blobs.peek().is_some() && blobs.all(|blob| inventory.blobs.contains_key(&blob))
}

/// The single blob that an alias-like entry names.
fn aliased(inventory: &Inventory, name: &(String, Sha256)) -> Option<Sha256> {
    let mut blobs = outputs(inventory, name).filter(|_| Store::is_alias(&name.0) || name.0 == FRAMES);
    blobs.next().filter(|_| blobs.next().is_none())
}

/// The collection for a store with `inventory`.
pub(crate) fn plan(inventory: &Inventory, limits: &Limits) -> Collection {
    let live = inventory.roots.iter().filter(|(_, life, _)| *life != Liveness::Dead).map(|(root, ..)| root);
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

/// The total size of a store in bytes.
pub(crate) fn total(inventory: &Inventory) -> u64 {
    let Inventory { roots, odd_roots, actions, claims, blobs, rest } = inventory;
    let pieces = roots.iter().map(|(.., piece)| piece).chain(odd_roots).chain(actions.values().map(|(_, piece)| piece));
    let pieces = pieces.chain(claims.values()).chain(blobs.values()).chain(rest.iter().map(|(_, piece)| piece));
    pieces.map(|piece| piece.size).sum()
}

/// The useless pieces; and the unneeded ones that may be of use again, each with the last use of itself or of what names it.
fn unneeded(inventory: &Inventory, needed: &Needed) -> (Vec<Removal>, Vec<Removal>) {
    let (mut rubbish, mut candidates) = (Vec::new(), Vec::new());
    let ages = Ages::of(inventory, needed);
    let aged = |what, piece: &Piece, used: Moment| Removal { what, piece: Piece { used, ..piece.clone() } };
    for (root, life, piece) in &inventory.roots {
        if *life == Liveness::Dead {
            candidates.push(aged(PieceKind::Root(root.owner.clone()), piece, ages.root(root, piece)));
        }
    }
    for (name, (action, piece)) in &inventory.actions {
        let what = PieceKind::Action(name.0.clone(), name.1);
        match action {
            None => rubbish.push(aged(what, piece, piece.used)),
            Some(_) if needed.actions.contains(name) => {}
            Some(_) => candidates.push(aged(what, piece, ages.actions[name])),
        }
    }
    for (key, piece) in inventory.claims.iter().filter(|(key, _)| !needed.plans.contains(key)) {
        candidates.push(aged(PieceKind::Claim(*key), piece, ages.claims[key]));
    }
    for (digest, piece) in inventory.blobs.iter().filter(|(digest, _)| !needed.blobs.contains(digest)) {
        candidates.push(aged(PieceKind::Blob(*digest), piece, ages.blobs[digest]));
    }
    for (rest, piece) in &inventory.rest {
        let removal = aged(PieceKind::Rest(*rest), piece, piece.used);
        match rest {
            Rest::Stamp | Rest::Distrust => {}
            Rest::Partial | Rest::Quarantine => candidates.push(removal),
            Rest::StaleStamp | Rest::Lock | Rest::Work | Rest::Odd => rubbish.push(removal),
        }
    }
    (rubbish, candidates)
}

/// The last use of each piece, raised to that of the pieces that name it: a root is not older than the actions that only dead
/// roots name, an action not older than the roots that name it, a blob not older than anything that names it.
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
        for (root, _, piece) in inventory.roots.iter().filter(|(_, life, _)| *life == Liveness::Dead) {
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
        // Without its alias a blob would be fetched again.
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
    /// Removes what no live root needs, within `limits`. The store must be open exclusively; `removed` is called for each
    /// removed piece. An interruption at any point leaves a consistent store, and the next collection continues.
    ///
    /// # Errors
    /// [`crate::Class::Integrity`] if a root is unreadable: nothing is removed then, because the root may name anything.
    pub fn gc(&self, limits: &Limits, cancel: &Cancel, removed: &mut dyn FnMut(&Removal)) -> Result<Collection> {
        let collection = self.plan_gc(&self.inventory()?, limits)?;
        self.collect(&collection, cancel, removed)?;
        Ok(collection)
    }

    /// The plan of [`Store::gc`] for this store with `inventory`.
    ///
    /// # Errors
    /// Those of [`Store::gc`].
    pub fn plan_gc(&self, inventory: &Inventory, limits: &Limits) -> Result<Collection> {
        let Some(first) = inventory.odd_roots.first() else { return Ok(plan(inventory, limits)) };
        let place = self.root().join(&first.path);
        Err(Error::integrity(format!("{} is unreadable, so its needs are unknown", place.display()))
            .detail("nothing was removed")
            .hint("`kbake build` or `kbake fetch` of its role writes it again; `kbake verify` removes it if it is damaged"))
    }

    /// Runs a plan that was made since the store was opened. Work folders that cannot be removed (files of subordinate ids)
    /// are skipped, and `removed` is not called for them.
    pub fn collect(&self, collection: &Collection, cancel: &Cancel, removed: &mut dyn FnMut(&Removal)) -> Result<()> {
        if self.access != Access::Exclusive {
            return Err(Error::internal("a collection needs exclusive access to the store"));
        }
        let mut stage = 0;
        for removal in &collection.removals {
            cancel.check()?;
            if removal.what.stage() > stage {
                // After a power cut no entry may reappear whose blobs are gone.
                self.sync_entries()?;
                stage = removal.what.stage();
            }
            let path = self.root().join(&removal.piece.path);
            // Removes folders too: work folders, and folders in a file's place.
            match fsx::remove(&path) {
                Ok(()) => removed(removal),
                Err(_) if removal.what == PieceKind::Rest(Rest::Work) => {}
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
