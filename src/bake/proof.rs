//! What a proof of a store finds: how much was looked at, and each thing that is not as it should be.

use std::collections::BTreeSet;

use crate::report::ItemKind;
use crate::value::{Digest, Sha256};

/// What was looked at, and what is not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// Blobs that were hashed.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Action entries.
    pub entries: u64,
    /// Of these, those that were derived again.
    pub derived: u64,
    /// Entries of which only their check sum and blobs are known to be right.
    pub believed: u64,
    /// Roots.
    pub roots: u64,
    /// Claims.
    pub claims: u64,
    /// What is not as it should be.
    pub damages: Vec<Damage>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What.
    pub what: Damaged,
    /// What was found in its place.
    pub found: String,
    /// What needs it, for people; empty when nothing does that is known.
    pub needed: BTreeSet<String>,
    /// What has become of it.
    pub state: State,
}

/// The sorts of things that can be damaged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damaged {
    /// A blob whose bytes are other ones; it is in quarantine.
    Blob(Sha256),
    /// A blob that is named and not there.
    Missing(Sha256),
    /// An action entry; it is removed.
    Entry(String, Sha256),
    /// A root; it is removed.
    Root(String),
    /// What a bundle said of a plan. It stays: without it, a wrong image could pass.
    Claim(Sha256),
    /// A blob of a lower store, by its file; it is not used from there any more.
    Lower(Sha256, String),
}

/// What has become of a damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing yet.
    Open,
    /// It is as it should be again; how.
    Repaired(&'static str),
    /// It is gone, and nothing that is known needs it.
    Dropped,
    /// It could not be repaired; why.
    Failed(String),
}

impl Damaged {
    /// Its sort in events.
    pub fn kind(&self) -> ItemKind {
        match self {
            Damaged::Blob(_) | Damaged::Missing(_) | Damaged::Lower(..) => ItemKind::Blob,
            Damaged::Entry(..) | Damaged::Root(_) | Damaged::Claim(_) => ItemKind::Entry,
        }
    }

    /// The digest that it should have, if it is a blob.
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
