//! What a role puts on top of its base, before the base's user names have numbers.

use std::sync::Arc;

use super::Made;
use crate::value::{Sha256, TreePath, escape};

/// One entry that a role adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedNode {
    /// Permission bits.
    pub mode: u16,
    /// By name: the packages' maintainer scripts give the numbers, which the base tree's `/etc/passwd` knows.
    pub owner: Owner,
    /// What it is.
    pub kind: PlannedKind,
}

/// A user and a group, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// As in `/etc/passwd`.
    pub user: String,
    /// As in `/etc/group`.
    pub group: String,
}

impl Owner {
    /// `root:root`.
    pub fn root() -> Self {
        Owner { user: "root".into(), group: "root".into() }
    }
}

/// The kinds that a role can add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedKind {
    /// A folder. Where the base has it already, owner and mode are changed.
    Dir,
    /// A file. Replaces one of the base.
    File(Arc<[u8]>),
    /// The same, too large to be held here: its bytes are where the resolver found them.
    Named { digest: Sha256, size: u64 },
    /// The same, out of artifacts: its bytes are made when the image is baked.
    Made(Made),
    /// A symbolic link. Replaces a file or link of the base.
    Symlink(Vec<u8>),
    /// Nothing: what the base has there goes.
    Absent,
}

/// What systemd does with a unit at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Starts it, as its `[Install]` section says.
    Enable,
    /// Does not start it by itself.
    Disable,
    /// Never starts it.
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
    /// A symbolic link; it belongs to root, and nobody looks at its mode.
    pub fn symlink(target: Vec<u8>) -> Self {
        PlannedNode { mode: 0o777, owner: Owner::root(), kind: PlannedKind::Symlink(target) }
    }

    /// Nothing.
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
            PlannedKind::Made(made) => format!("made {} {}", meta(), made.words()),
            PlannedKind::Symlink(target) => format!("symlink {path} {}", escape(target)),
            PlannedKind::Absent => format!("absent {path}"),
        }
    }
}
