//! A role's additions to its base, before the base's user names have numbers.

use std::sync::Arc;

use super::Extraction;
use crate::common::value::{Sha256, TreePath, escape};

/// One entry that a role adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedNode {
    /// Permission bits.
    pub mode: u16,
    /// By name: the packages' maintainer scripts assign the numbers, which are in the base tree's `/etc/passwd`.
    pub owner: Owner,
    /// Its kind and content.
    pub kind: PlannedKind,
}

/// A user and a group, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The name in `/etc/passwd`.
    pub user: String,
    /// The name in `/etc/group`.
    pub group: String,
}

impl Owner {
    /// `root:root`.
    pub fn root() -> Self {
        Owner { user: "root".into(), group: "root".into() }
    }
}

/// The kinds of entries that a role can add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedKind {
    /// A folder. If the base has it already, owner and mode are changed.
    Dir,
    /// A file. Replaces one of the base.
    File(Arc<[u8]>),
    /// A file that is too large for memory: the resolver knows the path of its bytes.
    Named {
        /// The digest of the file's bytes.
        digest: Sha256,
        /// The file's length in bytes.
        size: u64,
    },
    /// A file from artifacts: its bytes are made during the build.
    Extraction(Extraction),
    /// A symbolic link. Replaces a file or link of the base.
    Symlink(Vec<u8>),
    /// Nothing: the base's entry is removed.
    Absent,
}

/// The state of a unit at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Started, according to its `[Install]` section.
    Enable,
    /// Not started by itself.
    Disable,
    /// Never started.
    Mask,
}

impl Preset {
    /// The word in the plan.
    pub(super) fn word(self) -> &'static str {
        match self {
            Preset::Enable => "enable",
            Preset::Disable => "disable",
            Preset::Mask => "mask",
        }
    }
}

impl PlannedNode {
    /// A symbolic link of root's; its mode does not matter.
    pub fn symlink(target: Vec<u8>) -> Self {
        PlannedNode { mode: 0o777, owner: Owner::root(), kind: PlannedKind::Symlink(target) }
    }

    /// A removal.
    pub fn absent() -> Self {
        PlannedNode { mode: 0, owner: Owner::root(), kind: PlannedKind::Absent }
    }

    /// Its line in the plan.
    pub(super) fn line(&self, path: &TreePath) -> String {
        let meta = || format!("{path} {:04o} {} {}", self.mode, self.owner.user, self.owner.group);
        match &self.kind {
            PlannedKind::Dir => format!("dir {}", meta()),
            PlannedKind::File(bytes) => format!("file {} {} {}", meta(), bytes.len(), Sha256::of(bytes)),
            PlannedKind::Named { digest, size } => format!("file {} {size} {digest}", meta()),
            PlannedKind::Extraction(extraction) => format!("made {} {}", meta(), extraction.words()),
            PlannedKind::Symlink(target) => format!("symlink {path} {}", escape(target)),
            PlannedKind::Absent => format!("absent {path}"),
        }
    }
}
