//! What a long command says while it works. The library speaks through this trait; `cli` decides how it looks.
//!
//! Lines and progress are for people. [`Report::begun`] and [`Report::ended`] are the same work as events, for machines:
//! what was fetched, made, or there already. The library has no clock: who listens measures the time between the two.

use crate::value::Digest;

/// What a piece of work is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    /// What sort of thing.
    pub kind: ItemKind,
    /// Which one, for people: a package, a role, a path. With its kind and digest it is unique among what is worked on at
    /// a time.
    pub name: &'a str,
    /// The digest of its bytes, where it is known.
    pub digest: Option<Digest>,
    /// How many bytes it has, where that is known.
    pub bytes: Option<u64>,
}

/// The sorts of things that commands work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemKind {
    /// A package, an artifact, a part of a container image: something that is locked.
    Input,
    /// The base tree of a role.
    Base,
    /// A member of an archive, or the archive of a container image.
    Made,
    /// A role's image, in the store.
    Image,
    /// A file among the outputs, outside the store.
    File,
    /// What a lockfile says of one package, artifact or container image.
    Pin,
    /// A blob of the store, whatever it is.
    Blob,
    /// An entry of the store that is no blob.
    Entry,
    /// A bundle.
    Bundle,
}

impl ItemKind {
    /// The word in events; part of the interface.
    pub fn word(self) -> &'static str {
        match self {
            ItemKind::Input => "input",
            ItemKind::Base => "base",
            ItemKind::Made => "made",
            ItemKind::Image => "image",
            ItemKind::File => "file",
            ItemKind::Pin => "pin",
            ItemKind::Blob => "blob",
            ItemKind::Entry => "entry",
            ItemKind::Bundle => "bundle",
        }
    }
}

/// How a piece of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It was there already.
    Cached,
    /// It came from its source.
    Fetched,
    /// It was made.
    Built,
    /// It was put where it was wanted: an image beside the others, a bundle on a stick.
    Written,
    /// It came out of a bundle.
    Imported,
    /// Its bytes are what its name says.
    Verified,
    /// They are not.
    Damaged,
    /// It was damaged, and is sound again.
    Repaired,
    /// It is gone.
    Removed,
    /// It could not be done; the command's error says why.
    Failed,
}

impl Outcome {
    /// The word in events; part of the interface.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Cached => "cached",
            Outcome::Fetched => "fetched",
            Outcome::Built => "built",
            Outcome::Written => "written",
            Outcome::Imported => "imported",
            Outcome::Verified => "verified",
            Outcome::Damaged => "damaged",
            Outcome::Repaired => "repaired",
            Outcome::Removed => "removed",
            Outcome::Failed => "failed",
        }
    }
}

/// Listens to a command at work. Called from several threads.
pub trait Report: Sync {
    /// A step begins, or something worth a line happened: "installing 212 packages".
    fn say(&self, line: &str);

    /// Work on `total` units (bytes) begins; ends with [`Report::done`]. One at a time.
    fn begin(&self, what: &str, total: u64);

    /// This much of it is done by now.
    fn reached(&self, units: u64);

    /// The work that began last has ended.
    fn done(&self);

    /// Work on an item begins. What takes no time has no beginning.
    fn begun(&self, _item: &Item<'_>) {}

    /// Work on an item has ended. That something was there already may be said of the same thing by every step that
    /// needs it, also by steps behind the one that brought it: who listens tells it once.
    fn ended(&self, _item: &Item<'_>, _outcome: Outcome) {}
}

/// Says nothing.
pub struct Silent;

impl Report for Silent {
    fn say(&self, _: &str) {}
    fn begin(&self, _: &str, _: u64) {}
    fn reached(&self, _: u64) {}
    fn done(&self) {}
}
