//! The common interface of filesystems: folders of nodes, whose contents lie somewhere in a part of the disk.

use std::collections::BTreeSet;

use super::disk::{Part, ReadError};
use crate::common::value::Cancel;

/// The longest path that is followed, Linux's own limit, in bytes.
pub(super) const PATH_MAX: usize = 4096;
/// The most memory for names that wait to be visited, in bytes: enough for a million. Only a hostile image has more.
pub(super) const HELD_MAX: u64 = 512 << 20;

/// A filesystem in a part of a disk.
pub(super) trait Filesystem {
    /// The filesystem's name for `mount -t`.
    fn word(&self) -> &'static str;

    /// The part of the disk that holds it.
    fn part(&self) -> Part<'_>;

    /// The root folder.
    fn root(&self) -> Result<Node, ReadError>;

    /// The names in a folder, sorted by bytes, without `.` and `..`.
    fn list(&self, folder: &Node) -> Result<Vec<(Vec<u8>, Node)>, ReadError>;

    /// The place of the bytes of a file, folder or symbolic link.
    fn content(&self, node: &Node) -> Result<Content, ReadError>;

    /// The node's fields besides kind, size and contents: names and values, always the same names.
    fn fields(&self, node: &Node) -> Result<Vec<(String, String)>, ReadError>;

    /// The node's extended attributes.
    fn attributes(&self, node: &Node) -> Result<Vec<Attribute>, ReadError>;

    /// The filesystem's own fields: names and values, always the same names.
    fn facts(&self) -> Vec<(String, String)>;

    /// Names the structure at a byte of the part that is in no file or folder.
    fn place(&self, offset: u64) -> Result<&'static str, ReadError>;

    /// The reason why reading may miss something; none where it does not.
    fn warning(&self) -> Option<String>;
}

/// A file, folder, link, device, fifo or socket.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Identifies the node: hard links share it.
    pub id: u64,
    pub kind: Kind,
    /// In bytes; of files and symbolic links.
    pub size: u64,
    /// True when there may be other names.
    pub linked: bool,
    /// The filesystem's own record of it.
    pub raw: Vec<u8>,
}

/// The kind of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

impl Kind {
    /// The word for people.
    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::Folder => "folder",
            Kind::File => "file",
            Kind::Symlink => "symbolic link",
            Kind::CharDevice => "character device",
            Kind::BlockDevice => "block device",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
        }
    }
}

/// An extended attribute.
pub(super) struct Attribute {
    /// With its namespace: `security.capability`.
    pub name: String,
    pub value: Vec<u8>,
    /// The value's offset in the part.
    pub at: u64,
}

/// The place of a node's bytes.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// In the node itself.
    Inline(Vec<u8>),
    /// In the part, sorted by `from`, without overlaps. Zeros lie between them.
    Extents(Vec<Extent>),
}

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// In bytes from the file's start.
    pub from: u64,
    /// In bytes from the part's start.
    pub at: u64,
    /// In bytes.
    pub len: u64,
}

impl Content {
    /// The first `most` bytes of a node of this size.
    pub(super) fn head(&self, part: Part<'_>, size: u64, most: usize) -> Result<Vec<u8>, ReadError> {
        let mut stream = Stream::new(part, self, size);
        let mut bytes = vec![0; size.min(most as u64) as usize];
        stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Adds a stretch behind the others; joins it with the last one where both are contiguous.
pub(super) fn add_extent(extents: &mut Vec<Extent>, new: Extent) {
    match extents.last_mut() {
        Some(last) if last.from + last.len == new.from && last.at + last.len == new.at => last.len += new.len,
        _ => extents.push(new),
    }
}

/// Reads a node's bytes from the start to the end.
pub(super) struct Stream<'a> {
    part: Part<'a>,
    content: &'a Content,
    size: u64,
    at: u64,
    /// The first extent that does not end before `at`.
    next: usize,
}

impl<'a> Stream<'a> {
    /// Begins at the start of a node of `size` bytes.
    pub(super) fn new(part: Part<'a>, content: &'a Content, size: u64) -> Self {
        Stream { part, content, size, at: 0, next: 0 }
    }

    /// The stream's position in bytes.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The position of the next byte that lies on the disk; the end when there is none. Zeros lie before it.
    pub(super) fn next_data(&mut self) -> u64 {
        let found = match self.content {
            Content::Inline(bytes) => (self.at < bytes.len() as u64).then_some(self.at),
            Content::Extents(extents) => {
                while extents.get(self.next).is_some_and(|extent| extent.from + extent.len <= self.at) {
                    self.next += 1;
                }
                extents.get(self.next).map(|extent| extent.from.max(self.at))
            }
        };
        found.unwrap_or(self.size).min(self.size)
    }

    /// Moves forward to `offset`.
    pub(super) fn skip_to(&mut self, offset: u64) {
        self.at = offset.clamp(self.at, self.size.max(self.at));
    }

    /// Moves back to `offset`.
    pub(super) fn back_to(&mut self, offset: u64) {
        (self.at, self.next) = (offset.min(self.at), 0);
    }

    /// Reads up to `into.len()` bytes; reads none only at the end.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, ReadError> {
        let most = (into.len() as u64).min(self.size - self.at) as usize;
        let mut filled = 0;
        while filled < most {
            let data = self.next_data();
            let rest = &mut into[filled..most];
            let step = if data > self.at {
                let step = (data - self.at).min(rest.len() as u64) as usize;
                rest[..step].fill(0);
                step
            } else {
                self.read_data(rest)?
            };
            self.at += step as u64;
            filled += step;
        }
        Ok(filled)
    }

    /// Fills `into`.
    pub(super) fn read_exact(&mut self, into: &mut [u8]) -> Result<(), ReadError> {
        match self.read(into)? {
            count if count == into.len() => Ok(()),
            count => Err(ReadError::Broken(format!("{count} bytes are left where {} should be", into.len()))),
        }
    }

    /// Reads from the current extent.
    fn read_data(&mut self, into: &mut [u8]) -> Result<usize, ReadError> {
        match self.content {
            Content::Inline(bytes) => {
                let rest = &bytes[self.at as usize..];
                let step = rest.len().min(into.len());
                into[..step].copy_from_slice(&rest[..step]);
                Ok(step)
            }
            Content::Extents(extents) => {
                let extent = extents[self.next];
                let inside = self.at - extent.from;
                let step = (extent.len - inside).min(into.len() as u64) as usize;
                self.part.read_into(extent.at + inside, &mut into[..step])?;
                Ok(step)
            }
        }
    }
}

/// The nodes of a filesystem, each folder before what is in it, names sorted by bytes.
pub(super) struct Walk<'a> {
    fs: &'a dyn Filesystem,
    cancel: &'a Cancel,
    stack: Vec<(Vec<u8>, Node)>,
    entered: Entered,
}

impl<'a> Walk<'a> {
    /// Begins at the root folder, whose path is empty.
    pub(super) fn new(fs: &'a dyn Filesystem, cancel: &'a Cancel) -> Result<Self, ReadError> {
        Ok(Walk { fs, cancel, stack: vec![(Vec::new(), fs.root()?)], entered: Entered::default() })
    }

    /// The next node, with its path without leading slash. A folder's contents follow it.
    pub(super) fn next(&mut self) -> Result<Option<(Vec<u8>, Node)>, ReadError> {
        self.cancel.check()?;
        let Some((path, node)) = self.stack.pop() else { return Ok(None) };
        self.entered.visited(&path, &node);
        if node.kind == Kind::Folder {
            let inside = list_once(self.fs, &path, &node, &mut self.entered)?;
            self.stack.extend(inside.into_iter().rev());
        }
        Ok(Some((path, node)))
    }
}

/// The record of a walk.
#[derive(Default)]
pub(super) struct Entered {
    /// Folders that were entered: none may be entered twice.
    folders: BTreeSet<u64>,
    /// Memory of the names that wait, in bytes.
    held: u64,
}

impl Entered {
    /// Notes that a name was visited.
    pub(super) fn visited(&mut self, path: &[u8], node: &Node) {
        self.held = self.held.saturating_sub(cost(path, node));
    }
}

fn cost(path: &[u8], node: &Node) -> u64 {
    (path.len() + node.raw.len() + 128) as u64
}

/// Lists a folder with paths; refuses a folder that was entered before.
pub(super) fn list_once(fs: &dyn Filesystem, path: &[u8], folder: &Node, entered: &mut Entered) -> Result<Vec<(Vec<u8>, Node)>, ReadError> {
    if !entered.folders.insert(folder.id) {
        return Err(ReadError::Broken("a folder contains itself, or has two names".into()));
    }
    if path.len() > PATH_MAX {
        return Err(ReadError::Broken(format!("a path has more than {PATH_MAX} bytes")));
    }
    let inside: Vec<_> = fs.list(folder)?.into_iter().map(|(name, node)| (join(path, &name), node)).collect();
    entered.held += inside.iter().map(|(path, node)| cost(path, node)).sum::<u64>();
    match entered.held {
        0..=HELD_MAX => Ok(inside),
        _ => Err(ReadError::Broken("it has too many names".into())),
    }
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}
