//! What stands at one path of a tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::value::{Sha256, TreePath};

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Owner, mode, time, extended attributes. A hard link's are its target's: this copy is not looked at.
    pub meta: Meta,
    /// What it is.
    pub kind: Kind,
    /// Who put it there.
    pub layer: Layer,
}

/// The metadata of an inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky: at most 0o7777.
    pub mode: u16,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time in seconds since 1970.
    pub mtime: i64,
    /// Extended attributes by full name (`security.capability`), raw values as `getxattr(2)` gives them.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Meta {
    /// Metadata without extended attributes.
    pub fn new(mode: u16, uid: u32, gid: u32, mtime: i64) -> Self {
        Meta { mode, uid, gid, mtime, xattrs: BTreeMap::new() }
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Dir,
    /// A regular file.
    File(Content),
    /// A symbolic link, with its target's bytes as they stand.
    Symlink(Vec<u8>),
    /// Another name of the regular file at this path (never of another hard link).
    HardLink(TreePath),
    /// A character device.
    CharDev { major: u32, minor: u32 },
    /// A block device.
    BlockDev { major: u32, minor: u32 },
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
}

/// The bytes of a regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Held here: small rendered files.
    Inline(Arc<[u8]>),
    /// Named by digest; a [`super::ContentSource`] has the bytes.
    Blob { digest: Sha256, size: u64 },
    /// A file of `size` bytes that reads as zero outside its segments, which are sorted and disjoint.
    Sparse { size: u64, segments: Vec<Segment> },
}

/// A stretch of data in a sparse file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What is there: the whole blob.
    pub digest: Sha256,
    /// Its length in bytes.
    pub size: u64,
}

impl Content {
    /// The file's length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::Blob { size, .. } | Content::Sparse { size, .. } => *size,
        }
    }
}

/// Where a node comes from. A file of the base stays one when it gets a line for a role's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The base system's packages.
    Base,
    /// The role's own files.
    Role,
}
