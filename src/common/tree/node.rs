//! A node of a tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::common::value::{Sha256, TreePath};

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Owner, mode, time, extended attributes. Ignored for a hard link, which has those of its target.
    pub meta: Meta,
    /// The kind and contents.
    pub kind: Kind,
    /// The layer that the node comes from.
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
    /// Extended attributes by full name (`security.capability`), values as from `getxattr(2)`.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Meta {
    /// Metadata without extended attributes.
    pub fn new(mode: u16, uid: u32, gid: u32, mtime: i64) -> Self {
        Meta { mode, uid, gid, mtime, xattrs: BTreeMap::new() }
    }
}

/// The kind of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Dir,
    /// A regular file.
    File(Content),
    /// A symbolic link, with its target's unmodified bytes.
    Symlink(Vec<u8>),
    /// Another name of the regular file at this path, which is never a hard link itself.
    HardLink(TreePath),
    /// A character device.
    CharDev {
        /// The major device number.
        major: u32,
        /// The minor device number.
        minor: u32,
    },
    /// A block device.
    BlockDev {
        /// The major device number.
        major: u32,
        /// The minor device number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
}

/// The bytes of a regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes held in the tree: small rendered files.
    Inline(Arc<[u8]>),
    /// A blob by digest; a [`super::ContentSource`] has its bytes.
    Blob {
        /// The digest of the blob's bytes.
        digest: Sha256,
        /// The blob's length in bytes.
        size: u64,
    },
    /// A file that reads as zero outside its segments.
    Sparse {
        /// The file's length in bytes, holes included.
        size: u64,
        /// The ranges of data, sorted by offset and disjoint.
        segments: Vec<Segment>,
    },
}

/// A range of data in a sparse file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The offset in the file in bytes.
    pub offset: u64,
    /// The digest of its contents: a whole blob.
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

/// The origin of a node. A base file stays one when an account of a role is added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The base system's packages.
    Base,
    /// The role's own files.
    Role,
}
