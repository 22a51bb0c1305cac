//! The inventory of a store: the input of the garbage collection and of `kbake store`.
//!
//! It also looks outside the store, to find out whether a root's project and outputs still exist.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::action::{self, is_kind};
use super::small::{self, Small};
use super::{Action, PARTIAL, Root, Store};
use crate::common::error::Result;
use crate::common::fsx::{self, Stamp};
use crate::common::value::Sha256;

/// Seconds since 1970.
pub(crate) type Moment = i64;

/// A file of the store, or a folder in it with all that it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// The path relative to the store's folder.
    pub path: PathBuf,
    /// The size in bytes.
    pub size: u64,
    /// The time when it was last written or marked as used.
    pub used: Moment,
}

/// The content of a store. Each list is sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The readable roots.
    pub roots: Vec<(Root, Liveness, Piece)>,
    /// Unreadable roots: damaged, or written by a newer kbake. Their needs are unknown.
    pub odd_roots: Vec<Piece>,
    /// Action entries by kind and key, with their outputs if the entry is intact.
    pub actions: BTreeMap<(String, Sha256), (Option<Action>, Piece)>,
    /// Claims of bundles, by the plan's key.
    pub claims: BTreeMap<Sha256, Piece>,
    /// Blobs.
    pub blobs: BTreeMap<Sha256, Piece>,
    /// All other files.
    pub rest: Vec<(Rest, Piece)>,
}

/// The reason why a root is live, or that it is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Liveness {
    /// One of its output files exists.
    Output,
    /// Its project exists, with a lockfile of its channel.
    Project,
    /// It has no project and was never built: it was fetched or imported for a later build.
    Awaited,
    /// None of these.
    Dead,
}

/// Files other than roots, actions, claims and blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rest {
    /// A resumable download.
    Partial,
    /// A damaged blob.
    Quarantine,
    /// The stamp of an unchanged file outside the store.
    Stamp,
    /// The stamp of a file that has changed or gone, or an obsolete mark.
    StaleStamp,
    /// A plan's lock.
    Lock,
    /// A mark for a damaged blob or a false entry of a lower store.
    Distrust,
    /// A temporary file or folder of a running or dead process.
    Work,
    /// A link, a folder, a pipe in a blob's place.
    Odd,
}

impl Store {
    /// Takes the inventory.
    pub fn inventory(&self) -> Result<Inventory> {
        let mut inventory = Inventory::default();
        self.list_roots(&mut inventory)?;
        self.list_actions(&mut inventory)?;
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
        self.list_rest(&mut inventory)?;
        Ok(inventory)
    }

    fn list_roots(&self, inventory: &mut Inventory) -> Result<()> {
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

    fn list_actions(&self, inventory: &mut Inventory) -> Result<()> {
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

    fn list_rest(&self, inventory: &mut Inventory) -> Result<()> {
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
                Some(super::LOWER_BLOB) if self.is_stale_mark(&self.root().join(&piece.path)) => Rest::StaleStamp,
                Some(super::LOWER_BLOB | super::LOWER_ACTION) => Rest::Distrust,
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

    /// The entries of a folder of the store, of any kind. Entries that disappear meanwhile are skipped.
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

/// The file name of a piece, if it is UTF-8.
fn name(piece: &Piece) -> Option<&str> {
    piece.path.file_name()?.to_str()
}

/// The name of an entry without its extension.
fn stem(piece: &Piece) -> Option<&str> {
    name(piece)?.strip_suffix(".json")
}

/// A temporary file of an interrupted write. Files that kbake did not create are ignored.
fn unfinished(piece: Piece) -> Option<(Rest, Piece)> {
    let ours = name(&piece).is_some_and(|name| name.starts_with('.') && name.contains(".kbake-"));
    ours.then_some((Rest::Work, piece))
}

/// The state of a root. A path that cannot be checked counts as existing: a temporarily unreachable disk must not cost a build.
fn life(root: &Root) -> Liveness {
    let there = |path: &Path| fsx::exists(path).unwrap_or(true);
    if root.outputs.iter().any(|output| there(output)) {
        return Liveness::Output;
    }
    match &root.owner.project {
        Some(folder) if there(&folder.join("lockfiles").join(format!("{}.lock", root.owner.channel))) => Liveness::Project,
        None if root.outputs.is_empty() => Liveness::Awaited,
        _ => Liveness::Dead,
    }
}
