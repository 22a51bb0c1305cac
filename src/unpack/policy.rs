//! What a caller lets an archive hold.

use crate::tree::{Layer, Meta};

/// How far an archive may go. Each limit is inclusive. A tree takes about 400 bytes of memory for each entry, beside
/// `meta_bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole stream after decompression.
    pub total_bytes: u64,
    /// Bytes of one file, holes included.
    pub file_bytes: u64,
    /// Nodes of the tree, folders that no entry names included.
    pub entries: u64,
    /// Components of a path.
    pub depth: usize,
    /// Bytes of names, link targets and attributes of all entries together: what the tree keeps in memory.
    pub meta_bytes: u64,
}

impl Default for Limits {
    /// Generous for a base system or a package, and no danger to a small machine.
    fn default() -> Self {
        Limits { total_bytes: 16 << 30, file_bytes: 8 << 30, entries: 500_000, depth: 64, meta_bytes: 256 << 20 }
    }
}

/// Whether something may be in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken as it stands.
    Allow,
    /// The archive is refused.
    Refuse,
}

/// What a second entry of the same path means. A folder may always be repeated: its last metadata stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// The archive is refused.
    Refuse,
    /// The later entry replaces the earlier one, as tar does on a disk; never a folder something else, or the reverse.
    LastWins,
}

/// What an entry means whose folder no earlier entry made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parents {
    /// The folder is made, with the metadata of [`Policy::root`].
    Create,
    /// The archive is refused.
    Refuse,
}

/// What one archive may hold, and what it is called in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The archive's name in messages: a package's pool path, for instance.
    pub what: String,
    /// How far it may go.
    pub limits: Limits,
    /// Whose nodes they become.
    pub layer: Layer,
    /// Metadata of the root, until an entry `./` says otherwise, and of folders that no entry names.
    pub root: Meta,
    /// Character and block devices and named pipes.
    pub devices: Verdict,
    /// Files that run with more rights than their caller's: setuid, setgid or `security.capability`.
    pub privileged: Verdict,
    /// Repeated paths.
    pub duplicates: Duplicates,
    /// Missing folders.
    pub parents: Parents,
}

impl Policy {
    /// For an upstream tarball: plain files, folders and links only; folders may be left out, as many packers do.
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

    /// For one Debian package: setuid programs are normal, devices and missing folders are not.
    pub fn package(what: impl Into<String>, layer: Layer) -> Self {
        Policy { privileged: Verdict::Allow, parents: Parents::Refuse, ..Self::strict(what, layer) }
    }

    /// For a whole system's tar, `/dev` included.
    pub fn system(what: impl Into<String>, layer: Layer) -> Self {
        Policy { devices: Verdict::Allow, limits: Limits::default(), ..Self::package(what, layer) }
    }
}
