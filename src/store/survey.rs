//! Everything that is in a store, as a value: what the collection decides by, and what people are shown.
//!
//! The one part that looks outside the store: whether a root's project and outputs are still there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::action::{self, is_kind};
use super::small::{self, Small};
use super::{Action, PARTIAL, Root, Store};
use crate::error::Result;
use crate::fsx::{self, Stamp};
use crate::value::Sha256;

/// Seconds since 1970.
pub type Moment = i64;

/// A file of the store, or a folder in it with all that it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// Where it is, below the store's folder.
    pub path: PathBuf,
    /// How many bytes it has.
    pub size: u64,
    /// When it was last written, or marked as used.
    pub used: Moment,
}

/// All of a store. Each list is in the order of the names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The roots that can be understood.
    pub roots: Vec<(Root, Life, Piece)>,
    /// The others: damaged, or a newer kbake's. What they need is not known.
    pub odd_roots: Vec<Piece>,
    /// Action entries by kind and key, with what they say, if that is sound.
    pub actions: BTreeMap<(String, Sha256), (Option<Action>, Piece)>,
    /// What bundles claimed that a plan gives, by the plan's key.
    pub claims: BTreeMap<Sha256, Piece>,
    /// Blobs.
    pub blobs: BTreeMap<Sha256, Piece>,
    /// All else.
    pub rest: Vec<(Rest, Piece)>,
}

/// Whether anybody still wants what a root names, as far as can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// One of its outputs is there.
    Output,
    /// Its project is there, with a lockfile of its channel.
    Project,
    /// It has no project and was never built: it was fetched or imported for a build that is still to come.
    Awaited,
    /// Nobody.
    Dead,
}

/// What is neither root nor action nor blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rest {
    /// A download to go on with.
    Partial,
    /// A blob that was found damaged.
    Quarantine,
    /// What is known of a file outside that is still as it was.
    Stamp,
    /// What was known of a file outside that is gone, or another by now.
    StaleStamp,
    /// A plan's lock.
    Lock,
    /// A damaged blob of a lower store, or an entry that lies, that is not to be used again.
    Distrust,
    /// A file or folder of work that is going on, or was when its process died.
    Work,
    /// A link, a folder, a pipe in a blob's place.
    Odd,
}

impl Store {
    /// Looks at everything.
    pub fn survey(&self) -> Result<Inventory> {
        let mut inventory = Inventory::default();
        self.survey_roots(&mut inventory)?;
        self.survey_actions(&mut inventory)?;
        for piece in self.pieces("claims")? {
            match stem(&piece).and_then(|stem| stem.parse().ok()) {
                Some(key) => drop(inventory.claims.insert(key, piece)),
                None => inventory.rest.extend(unfinished(piece)),
            }
        }
        for piece in self.pieces("blobs/sha256")? {
            match name(&piece).and_then(|name| name.parse().ok()) {
                Some(_) if Stamp::here(&self.root().join(&piece.path))?.is_none() => inventory.rest.push((Rest::Odd, piece)),
                Some(digest) => _ = inventory.blobs.insert(digest, piece),
                None => {}
            }
        }
        self.survey_rest(&mut inventory)?;
        Ok(inventory)
    }

    fn survey_roots(&self, inventory: &mut Inventory) -> Result<()> {
        for piece in self.pieces("roots")? {
            if stem(&piece).and_then(|stem| stem.parse::<Sha256>().ok()).is_none() {
                inventory.rest.extend(unfinished(piece));
                continue;
            }
            let found = small::read(&self.root().join(&piece.path))?;
            if found == Small::Absent {
                continue;
            }
            match found.bytes().and_then(|bytes| super::root::read(&bytes)) {
                Some(root) => inventory.roots.push((root.clone(), life(&root), piece)),
                None => inventory.odd_roots.push(piece),
            }
        }
        Ok(())
    }

    fn survey_actions(&self, inventory: &mut Inventory) -> Result<()> {
        for piece in self.pieces("actions")? {
            let parts = stem(&piece).and_then(|stem| stem.rsplit_once('-')).filter(|(kind, _)| is_kind(kind));
            let Some((kind, key)) = parts.and_then(|(kind, key)| Some((kind.to_owned(), key.parse::<Sha256>().ok()?))) else {
                inventory.rest.extend(unfinished(piece));
                continue;
            };
            let action = action::entry(self.root(), &kind, &key).ok();
            inventory.actions.insert((kind, key), (action, piece));
        }
        Ok(())
    }

    fn survey_rest(&self, inventory: &mut Inventory) -> Result<()> {
        for piece in self.pieces("stamps")? {
            let rest = match stem(&piece).and_then(|stem| stem.parse::<Sha256>().ok()) {
                Some(_) if self.is_stale(&self.root().join(&piece.path)) => Rest::StaleStamp,
                Some(_) => Rest::Stamp,
                None => {
                    inventory.rest.extend(unfinished(piece));
                    continue;
                }
            };
            inventory.rest.push((rest, piece));
        }
        let locks = self.pieces("locks")?.into_iter().filter(|piece| name(piece).is_some_and(|name| name.parse::<Sha256>().is_ok()));
        inventory.rest.extend(locks.map(|piece| (Rest::Lock, piece)));
        for piece in self.pieces("quarantine")? {
            let rest = match piece.path.extension().and_then(OsStr::to_str) {
                Some(super::DISTRUST) if self.is_stale_mark(&self.root().join(&piece.path)) => Rest::StaleStamp,
                Some(super::DISTRUST | super::DOUBT) => Rest::Distrust,
                _ => Rest::Quarantine,
            };
            inventory.rest.push((rest, piece));
        }
        for piece in self.pieces("tmp")? {
            let rest = if name(&piece).is_some_and(|name| name.starts_with(PARTIAL)) { Rest::Partial } else { Rest::Work };
            inventory.rest.push((rest, piece));
        }
        Ok(())
    }

    /// The entries of a folder of the store, of any kind. Those that disappear meanwhile are skipped.
    fn pieces(&self, folder: &str) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        let whole = self.root().join(folder);
        if !fsx::exists(&whole)? {
            return Ok(pieces);
        }
        for name in fsx::list(&whole)? {
            let (path, at) = (Path::new(folder).join(&name), whole.join(&name));
            if let Some(stamp) = Stamp::here(&at)? {
                pieces.push(Piece { path, size: stamp.size, used: stamp.mtime() });
            } else if fsx::exists(&at)? {
                let (size, used) = fsx::extent(&at);
                pieces.push(Piece { path, size, used });
            }
        }
        Ok(pieces)
    }
}

/// The name of a piece, if it is one of ours.
fn name(piece: &Piece) -> Option<&str> {
    piece.path.file_name()?.to_str()
}

/// The name of an entry without its ending.
fn stem(piece: &Piece) -> Option<&str> {
    name(piece)?.strip_suffix(".json")
}

/// An entry that was being written; anything else is a stranger's and none of our business.
fn unfinished(piece: Piece) -> Option<(Rest, Piece)> {
    let ours = name(&piece).is_some_and(|name| name.starts_with('.') && name.contains(".kbake-"));
    ours.then_some((Rest::Work, piece))
}

/// What cannot be looked at counts as being there: a disk that is out of reach for a moment must not cost a build.
fn life(root: &Root) -> Life {
    let there = |path: &Path| fsx::exists(path).unwrap_or(true);
    if root.outputs.iter().any(|output| there(output)) {
        return Life::Output;
    }
    match &root.owner.project {
        Some(folder) if there(&folder.join("lockfiles").join(format!("{}.lock", root.owner.channel))) => Life::Project,
        None if root.outputs.is_empty() => Life::Awaited,
        _ => Life::Dead,
    }
}
