//! Results of verifying a store: counts of what was checked, and each damage.

use std::collections::BTreeSet;

use crate::common::report::ItemKind;
use crate::common::value::{Digest, Sha256};

/// Counts of what was checked, and the damages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Blobs that were hashed.
    pub blobs: u64,
    /// The bytes of these blobs.
    pub bytes: u64,
    /// Action entries.
    pub entries: u64,
    /// Action entries whose outputs were recomputed.
    pub derived: u64,
    /// Action entries that were only checked for their checksum and their blobs.
    pub trusted: u64,
    /// Roots.
    pub roots: u64,
    /// Claims.
    pub claims: u64,
    /// Everything that is damaged.
    pub damages: Vec<Damage>,
}

/// A damaged thing in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The damaged thing.
    pub what: Damaged,
    /// The state that was found.
    pub found: String,
    /// The things that need it, for people; empty when none is known.
    pub needed: BTreeSet<String>,
    /// The outcome of a repair.
    pub state: State,
}

/// The kinds of things that can be damaged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damaged {
    /// A blob with wrong bytes; it is in quarantine.
    Blob(Sha256),
    /// A blob that something names and the store lacks.
    Missing(Sha256),
    /// An action entry; it is removed.
    Entry(String, Sha256),
    /// A root; it is removed.
    Root(String),
    /// A bundle's claim about a plan. It stays: without it, a wrong image could pass.
    Claim(Sha256),
    /// A damaged blob of a lower store, with its file; it is no longer used from there.
    Lower(Sha256, String),
}

/// The outcome of a repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not repaired yet.
    Open,
    /// Repaired, and how.
    Repaired(&'static str),
    /// Removed; nothing known needs it.
    Dropped,
    /// The repair failed, and why.
    Failed(String),
}

impl Damaged {
    /// The item kind in events.
    pub fn kind(&self) -> ItemKind {
        match self {
            Damaged::Blob(_) | Damaged::Missing(_) | Damaged::Lower(..) => ItemKind::Blob,
            Damaged::Entry(..) | Damaged::Root(_) | Damaged::Claim(_) => ItemKind::Entry,
        }
    }

    /// The expected digest, for a blob.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Damaged::Blob(digest) | Damaged::Missing(digest) | Damaged::Lower(digest, _) => Some(Digest::Sha256(*digest)),
            Damaged::Entry(..) | Damaged::Root(_) | Damaged::Claim(_) => None,
        }
    }
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Damaged::Blob(digest) | Damaged::Missing(digest) => write!(f, "blob sha256:{digest}"),
            Damaged::Entry(kind, key) => write!(f, "entry actions/{kind}-{key}.json"),
            Damaged::Root(name) => write!(f, "root roots/{name}"),
            Damaged::Claim(plan) => write!(f, "claim claims/{plan}.json"),
            Damaged::Lower(_, file) => write!(f, "blob {file}"),
        }
    }
}
