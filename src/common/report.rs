//! Progress of long commands. The library reports through a trait; `cli` decides how it looks.
//!
//! Lines and progress are for people. [`Report::begun`] and [`Report::ended`] report the same work as events, for
//! machines: each thing that was fetched, built, or already there. The library has no clock: the receiver measures the
//! time between the two.

use crate::common::value::Digest;

/// The subject of a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    /// Its kind.
    pub kind: ItemKind,
    /// Its name, for people: a package, a role, a path. Unique together with kind and digest among all work in
    /// progress.
    pub name: &'a str,
    /// The digest of its bytes, if known.
    pub digest: Option<Digest>,
    /// Its length in bytes, if known.
    pub bytes: Option<u64>,
}

/// The kinds of things that commands work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemKind {
    /// A locked input: a package, an artifact, a part of a container image.
    Input,
    /// The base tree of a role.
    Base,
    /// A member of an archive, or the archive of a container image.
    Extraction,
    /// A role's image in the store.
    Image,
    /// An output file outside the store.
    File,
    /// An entry of a lockfile: one package, artifact or container image.
    Pin,
    /// A blob of the store, of any kind.
    Blob,
    /// An entry of the store other than a blob.
    Entry,
    /// A bundle.
    Bundle,
}

impl ItemKind {
    /// The kind's name in events; part of the interface.
    pub fn word(self) -> &'static str {
        match self {
            ItemKind::Input => "input",
            ItemKind::Base => "base",
            ItemKind::Extraction => "made",
            ItemKind::Image => "image",
            ItemKind::File => "file",
            ItemKind::Pin => "pin",
            ItemKind::Blob => "blob",
            ItemKind::Entry => "entry",
            ItemKind::Bundle => "bundle",
        }
    }
}

/// The outcome of a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Already there.
    Cached,
    /// Fetched from its source.
    Fetched,
    /// Built.
    Built,
    /// Written to its destination: an image beside the others, a bundle on removable media.
    Written,
    /// Read from a bundle.
    Imported,
    /// Its bytes match its digest.
    Verified,
    /// Its bytes do not match its digest.
    Damaged,
    /// Was damaged, and is intact again.
    Repaired,
    /// Removed.
    Removed,
    /// Failed; the command's error says why.
    Failed,
}

impl Outcome {
    /// The outcome's name in events; part of the interface.
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

/// A progress sink. Called from several threads.
pub trait Report: Sync {
    /// A step begins, or something worth a line happened: "installing 212 packages".
    fn say(&self, line: &str);

    /// Progress of `total` units (bytes) begins; [`Report::done`] ends it. One at a time.
    fn begin(&self, what: &str, total: u64);

    /// The number of units done so far.
    fn reached(&self, units: u64);

    /// Ends the current progress.
    fn done(&self);

    /// Work on an item begins. Not called for work that takes no time.
    fn begun(&self, _item: &Item<'_>) {}

    /// Work on an item has ended. `Cached` can be reported by every step that uses the item, even after the step that
    /// fetched it: receivers must tell it once.
    fn ended(&self, _item: &Item<'_>, _outcome: Outcome) {}
}

/// A sink that ignores everything.
pub struct Silent;

impl Report for Silent {
    fn say(&self, _: &str) {}
    fn begin(&self, _: &str, _: u64) {}
    fn reached(&self, _: u64) {}
    fn done(&self) {}
}
