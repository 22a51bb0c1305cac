//! Rules for the contents of an archive.

use crate::common::tree::{Layer, Meta};

/// Limits of an archive; all are inclusive. A tree takes about 400 bytes of memory per entry in addition to
/// `meta_bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole stream after decompression.
    pub total_bytes: u64,
    /// Bytes of one file, holes included.
    pub file_bytes: u64,
    /// Nodes of the tree, including folders without an entry.
    pub entries: u64,
    /// Components of a path.
    pub depth: usize,
    /// Bytes of names, link targets and attributes of all entries together, which the tree keeps in memory.
    pub meta_bytes: u64,
}

impl Default for Limits {
    /// Generous for a base system or a package, and harmless on a small machine.
    fn default() -> Self {
        Limits { total_bytes: 16 << 30, file_bytes: 8 << 30, entries: 500_000, depth: 64, meta_bytes: 256 << 20 }
    }
}

/// The treatment of entries of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Accept them unchanged.
    Allow,
    /// Refuse the archive.
    Refuse,
}

/// The treatment of a second entry of the same path. A folder may always be repeated: its last metadata apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// Refuse the archive.
    Refuse,
    /// The later entry replaces the earlier one, as when tar unpacks to disk. A folder never replaces something else,
    /// nor the reverse.
    LastWins,
}

/// The treatment of an entry whose parent folder has no entry before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parents {
    /// Create the folder, with the metadata of [`Policy::root`].
    Create,
    /// Refuse the archive.
    Refuse,
}

/// The rules for an archive, and its name in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The archive's name in messages, such as a package's pool path.
    pub what: String,
    /// Size limits.
    pub limits: Limits,
    /// The layer of all nodes.
    pub layer: Layer,
    /// The metadata of the root, unless an entry `./` sets it, and of folders without an entry.
    pub root: Meta,
    /// Character and block devices and named pipes.
    pub devices: Verdict,
    /// Files that run with more privileges than their caller: setuid, setgid or `security.capability`.
    pub privileged: Verdict,
    /// Repeated paths.
    pub duplicates: Duplicates,
    /// Missing parent folders.
    pub parents: Parents,
}

impl Policy {
    /// For an upstream tarball: only plain files, folders and links; folders may be missing, as from many packers.
    pub fn strict(what: impl Into<String>, layer: Layer) -> Self {
        Policy {
            what: what.into(),
            limits: Limits { entries: 100_000, meta_bytes: 32 << 20, ..Limits::default() },
            layer,
            root: Meta::new(0o755, 0, 0, 0),
            devices: Verdict::Refuse,
            privileged: Verdict::Refuse,
            duplicates: Duplicates::Refuse,
            parents: Parents::Create,
        }
    }

    /// For a Debian package: setuid programs are normal; devices and missing folders are not.
    pub fn package(what: impl Into<String>, layer: Layer) -> Self {
        Policy { privileged: Verdict::Allow, parents: Parents::Refuse, ..Self::strict(what, layer) }
    }

    /// For the tar of a whole system, including `/dev`.
    pub fn system(what: impl Into<String>, layer: Layer) -> Self {
        Policy { devices: Verdict::Allow, limits: Limits::default(), ..Self::package(what, layer) }
    }
}
