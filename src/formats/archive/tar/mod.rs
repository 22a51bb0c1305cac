//! tar archives as trees: ustar, GNU and pax, uncompressed or compressed ([POSIX
//! pax](https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13), [GNU
//! tar](https://www.gnu.org/software/tar/manual/html_node/Tar-Internals.html)).
//!
//! Stricter than the tools: an archive must end with two blocks of zeros and nothing after them, and everything that
//! two readers could interpret differently is refused (sizes that disagree, duplicate keys or names, links with
//! contents). So an accepted archive means the same everywhere. Not supported: volumes, incremental dumps, ACLs in pax
//! records.

mod blocks;
mod header;
mod pax;
mod sparse;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::io::Read;

use self::blocks::Blocks;
use self::header::{BLOCK, Block, GnuSparse, NoHeader, OCTAL_MAX};
use self::pax::Pax;
use self::sparse::Map;
use super::build::Builder;
use super::compress;
use super::policy::Policy;
use super::shown;
use super::sink::Sink;
use crate::common::error::{Error, Result};
use crate::common::tree::{Content, Kind, Meta, Tree};
use crate::common::value::{TreePath, escape};

/// The largest long name or extended header, in bytes.
const EXTENSION_MAX: u64 = 1 << 20;
/// The longest symlink target in Linux, in bytes.
const SYMLINK_MAX: usize = 4095;

/// Reads a tar, compressed or not, to its end.
///
/// # Errors
/// [`Class::Integrity`](crate::Class::Integrity), naming archive and member, when the archive is hostile, corrupt,
/// truncated or against the policy; errors of `reader` and `sink`.
pub fn read(reader: impl Read, policy: &Policy, sink: &mut dyn Sink) -> Result<Tree> {
    let (_, decoded) = compress::open(reader, &policy.what, policy.limits.total_bytes)?;
    read_plain(decoded, policy, sink)
}

/// Reads an uncompressed tar.
pub(super) fn read_plain(reader: impl Read, policy: &Policy, sink: &mut dyn Sink) -> Result<Tree> {
    let blocks = Blocks::new(reader, &policy.what);
    let mut archive = Archive { blocks, policy, builder: Builder::new(policy), sink, member: None };
    let mut pending = Pending::default();
    while let Some(block) = archive.next_header(&pending)? {
        if let Some(entry) = archive.extend(&block, &mut pending)? {
            archive.member = Some(shown(&entry.name));
            archive.entry(entry)?;
        }
    }
    Ok(archive.builder.finish())
}

/// Extension entries for the next entry.
#[derive(Default)]
struct Pending {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

/// An entry, from its header and extensions.
struct Entry {
    typeflag: u8,
    name: Vec<u8>,
    link: Vec<u8>,
    /// The number of bytes that follow in the archive.
    stored: u64,
    meta: Meta,
    device: Option<(u32, u32)>,
    gnu_sparse: Option<GnuSparse>,
    pax_sparse: Option<sparse::Form>,
}

struct Archive<'a, R> {
    blocks: Blocks<R>,
    policy: &'a Policy,
    builder: Builder<'a>,
    sink: &'a mut dyn Sink,
    /// The current or last entry, for messages.
    member: Option<String>,
}

impl<R: Read> Archive<'_, R> {
    /// The next header; `None` after a proper end.
    fn next_header(&mut self, pending: &Pending) -> Result<Option<Block>> {
        let Some(bytes) = self.blocks.block()? else { return Err(self.unfinished()) };
        if bytes == [0; BLOCK] {
            if pending.long_name.is_some() || pending.long_link.is_some() || pending.pax.is_some() {
                return Err(self.bad("ends after an extended header, without the entry that it belongs to"));
            }
            match self.blocks.block()? {
                None => return Err(self.unfinished()),
                Some(second) if second != [0; BLOCK] => return Err(self.bad("has a lone block of zeros between its entries")),
                Some(_) => self.blocks.finish()?,
            }
            return Ok(None);
        }
        match (Block::parse(&bytes), &self.member) {
            (Ok(block), _) => Ok(Some(block)),
            (Err(NoHeader::Other(reason)), _) => Err(self.bad(&format!("after {}, an entry {reason}", self.place()))),
            (Err(NoHeader::Checksum), None) => {
                Err(self.bad("is not a tar archive").detail(format!("it starts with `{}`", escape(&bytes[..16]))))
            }
            (Err(NoHeader::Checksum), Some(_)) => {
                Err(self.bad(&format!("is corrupt: no header where one should be, after {}", self.place())))
            }
        }
    }

    /// Stores an extension entry, or completes an entry with the stored ones.
    fn extend(&mut self, block: &Block, pending: &mut Pending) -> Result<Option<Entry>> {
        let typeflag = block.typeflag();
        if !matches!(typeflag, b'x' | b'g' | b'L' | b'K') {
            let name = pending.long_name.as_ref().or(pending.pax.as_ref().and_then(|pax| pax.path.as_ref()));
            self.member = Some(shown(&name.cloned().unwrap_or_else(|| block.name())));
            let entry = Entry::new(block, std::mem::take(pending)).map_err(|reason| self.at_member(&reason))?;
            return Ok(Some(entry));
        }
        let size = block.size().map_err(|reason| self.at_member(&reason))?;
        if size > EXTENSION_MAX {
            return Err(self.bad(&format!("after {}, an extended header has {size} bytes, {EXTENSION_MAX} are allowed", self.place())));
        }
        let bytes = self.blocks.held(size)?;
        let taken = match typeflag {
            b'g' => pax::check_global(&bytes).map(|()| None),
            b'x' => Pax::parse(&bytes).map(|pax| pending.pax.replace(pax).map(drop)),
            b'L' => Ok(pending.long_name.replace(without_nul(bytes)).map(drop)),
            _ => Ok(pending.long_link.replace(without_nul(bytes)).map(drop)),
        };
        match taken {
            Ok(None) => Ok(None),
            Ok(Some(())) => Err(self.bad(&format!("after {}, an entry has two extended headers of a kind", self.place()))),
            Err(reason) => Err(self.bad(&format!("after {}, an entry {reason}", self.place()))),
        }
    }

    fn entry(&mut self, entry: Entry) -> Result<()> {
        let refused = |archive: &Self, reason: String| Err(archive.at_member(&reason));
        let path = match entry.path() {
            Ok(path) => path,
            Err(reason) => return refused(self, reason),
        };
        let placed = match entry.typeflag {
            b'0' | 0 | b'7' | b'S' => return self.file(path, entry),
            b'5' => self.builder.folder(path, entry.meta),
            b'1' => self.builder.link_target(&path, &entry.link).and_then(|(target, meta)| {
                self.builder.make_room(&path)?;
                self.builder.put(path, meta, Kind::HardLink(target))
            }),
            _ => entry.plain_kind().and_then(|kind| {
                self.builder.make_room(&path)?;
                self.builder.put(path, entry.meta, kind)
            }),
        };
        placed.or_else(|reason| refused(self, reason))
    }

    fn file(&mut self, path: TreePath, entry: Entry) -> Result<()> {
        let ready = self.builder.check_rights(&entry.meta).and_then(|()| self.builder.make_room(&path));
        ready.map_err(|reason| self.at_member(&reason))?;
        let stored = entry.stored;
        self.check_size(stored)?;
        let content = match (entry.gnu_sparse, entry.pax_sparse) {
            (None, None) => self.content(&path, stored)?,
            (Some(map), None) => self.gnu_sparse(&path, stored, map)?,
            (None, Some(sparse::Form::InHeader { size, pairs, .. })) => self.sparse(&path, stored, size, &pairs)?,
            (None, Some(sparse::Form::InData { size, .. })) => self.sparse_in_data(&path, stored, size)?,
            (Some(_), Some(_)) => return Err(self.at_member("is sparse in two forms at once")),
        };
        self.blocks.skip_padding(stored)?;
        self.builder.put(path, entry.meta, Kind::File(content)).map_err(|reason| self.at_member(&reason))
    }

    /// Passes the next `size` bytes of the archive to the sink.
    fn content(&mut self, path: &TreePath, size: u64) -> Result<Content> {
        let mut body = self.blocks.body(size);
        let put = self.sink.put(path, size, &mut body);
        let left = body.left();
        let content = put.map_err(|error| error.detail(format!("in member `{}`", self.member.as_deref().unwrap_or_default())))?;
        if left > 0 || content.size() != size {
            return Err(Error::internal(format!("the store took {} of {size} bytes of {path}", size - left)));
        }
        Ok(content)
    }

    fn gnu_sparse(&mut self, path: &TreePath, stored: u64, map: GnuSparse) -> Result<Content> {
        let GnuSparse { mut pairs, mut more, size } = map;
        while more {
            let Some(block) = self.blocks.block()? else { return Err(self.unfinished()) };
            // 21 pairs of 24 bytes, then the flag.
            more = block[504] != 0;
            let before = pairs.len();
            pairs.extend(header::sparse_pairs(&block[..504]).map_err(|reason| self.at_member(&reason))?);
            // An archive could continue like this endlessly.
            if more && pairs.len() == before {
                return Err(self.at_member("has a sparse map that goes on with nothing"));
            }
            if pairs.len() > sparse::SEGMENTS_MAX {
                return Err(self.at_member(&format!("has a sparse map of more than {} segments", sparse::SEGMENTS_MAX)));
            }
        }
        self.sparse(path, stored, size, &pairs)
    }

    /// pax form 1.0: blocks of the map, then the data.
    fn sparse_in_data(&mut self, path: &TreePath, stored: u64, size: u64) -> Result<Content> {
        let mut text = Vec::new();
        let mut map = sparse::DataMap::default();
        loop {
            if text.len() as u64 >= stored.min(EXTENSION_MAX) {
                return Err(self.at_member("has a sparse map that does not end"));
            }
            let Some(block) = self.blocks.block()? else { return Err(self.unfinished()) };
            text.extend_from_slice(&block);
            if let Some(pairs) = map.advance(&text, block.len()).map_err(|reason| self.at_member(&reason))? {
                let Some(data) = stored.checked_sub(text.len() as u64) else {
                    return Err(self.at_member("has a sparse map larger than itself"));
                };
                return self.sparse(path, data, size, &pairs);
            }
        }
    }

    fn sparse(&mut self, path: &TreePath, stored: u64, size: u64, pairs: &[(u64, u64)]) -> Result<Content> {
        self.check_size(size)?;
        let map = Map::new(size, pairs, stored).map_err(|reason| self.at_member(&reason))?;
        if map.is_whole() {
            return self.content(path, size);
        }
        let mut digests = Vec::new();
        for &(_, len) in &map.data {
            match self.content(path, len)? {
                Content::Blob { digest, .. } => digests.push(digest),
                _ => {
                    return Err(Error::internal(format!("the store kept a part of the sparse file {path} in another form than by digest")));
                }
            }
        }
        Ok(Content::Sparse { size, segments: map.segments(digests) })
    }

    fn check_size(&self, size: u64) -> Result<()> {
        let most = self.policy.limits.file_bytes;
        if size > most {
            return Err(self.at_member(&format!("has {size} bytes, {most} are allowed")));
        }
        Ok(())
    }

    fn at_member(&self, reason: &str) -> Error {
        self.bad(&format!("member `{}` {reason}", self.member.as_deref().unwrap_or_default()))
    }

    fn bad(&self, reason: &str) -> Error {
        Error::integrity(format!("{}: {reason}", self.policy.what))
    }

    fn place(&self) -> String {
        self.member.as_ref().map_or_else(|| "its start".to_owned(), |member| format!("member `{member}`"))
    }

    fn unfinished(&self) -> Error {
        let reason = "ends without its end marker, two blocks of zeros: it is probably cut off";
        self.bad(reason).detail(format!("the last that was read is {}", self.place()))
    }
}

impl Entry {
    fn new(block: &Block, pending: Pending) -> Result<Self, String> {
        let Pending { long_name, long_link, pax } = pending;
        let mut pax = pax.unwrap_or_default();
        let typeflag = block.typeflag();
        let stored = pick_size(block.size()?, pax.size)?;
        let regular = matches!(typeflag, b'0' | 0 | b'7' | b'S');
        if stored > 0 && !regular {
            return Err(format!("has {stored} bytes of contents, which its type `{}` cannot have", escape(&[typeflag])));
        }
        let pax_sparse = sparse::form(&mut pax)?;
        if pax_sparse.is_some() && !regular {
            return Err("is sparse, but no file".into());
        }
        let xattrs: BTreeMap<_, _> = std::mem::take(&mut pax.xattrs);
        let meta = Meta {
            mode: block.mode()?,
            uid: pax.uid.map_or_else(|| block.uid(), Ok)?,
            gid: pax.gid.map_or_else(|| block.gid(), Ok)?,
            mtime: pax.mtime.map_or_else(|| block.mtime(), Ok)?,
            xattrs,
        };
        let sparse_name = match &pax_sparse {
            Some(sparse::Form::InData { name, .. }) => Some(name.clone()),
            Some(sparse::Form::InHeader { name, .. }) => name.clone(),
            None => None,
        };
        // GNU tar writes an artificial `path` (`GNUSparseFile.1/name`) beside the name of a sparse file.
        let name = sparse_name.map_or_else(|| pick(long_name, pax.path, "names", || block.name()), Ok)?;
        let link = pick(long_link, pax.linkpath, "link targets", || block.link())?;
        let device = if matches!(typeflag, b'3' | b'4') { Some(block.device()?) } else { None };
        let gnu_sparse = if typeflag == b'S' { Some(block.gnu_sparse()?) } else { None };
        Ok(Entry { typeflag, name, link, stored, meta, device, gnu_sparse, pax_sparse })
    }

    fn path(&self) -> Result<TreePath, String> {
        if self.name.is_empty() {
            return Err("has no name".into());
        }
        if self.name.ends_with(b"/") && self.typeflag != b'5' {
            return Err("is not a folder, but its name ends with a slash".into());
        }
        TreePath::parse(&self.name, false).map_err(|reason| format!("has a forbidden name: {reason}"))
    }

    /// The kind of an entry that is no file, folder or hard link.
    fn plain_kind(&self) -> Result<Kind, String> {
        match (self.typeflag, self.device) {
            (b'2', _) if self.link.is_empty() || self.link.len() > SYMLINK_MAX || self.link.contains(&0) => {
                Err("is a symbolic link whose target is empty, too long or holds a NUL byte".into())
            }
            (b'2', _) => Ok(Kind::Symlink(self.link.clone())),
            (b'3', Some((major, minor))) => Ok(Kind::CharDev { major, minor }),
            (b'4', Some((major, minor))) => Ok(Kind::BlockDev { major, minor }),
            (b'6', _) => Ok(Kind::Fifo),
            (other, _) => Err(format!("has the type `{}`, which is not read", escape(&[other]))),
        }
    }
}

/// The entry's size. A pax size is for sizes that the header cannot store; if both can and differ, readers disagree on
/// the place of the next header, and so on the archive's contents.
fn pick_size(header: u64, pax: Option<u64>) -> Result<u64, String> {
    match pax {
        Some(pax) if pax != header && pax <= OCTAL_MAX => Err(format!("has {header} bytes by its header and {pax} by its extended header")),
        Some(pax) => Ok(pax),
        None => Ok(header),
    }
}

fn pick(gnu: Option<Vec<u8>>, pax: Option<Vec<u8>>, what: &str, plain: impl Fn() -> Vec<u8>) -> Result<Vec<u8>, String> {
    match (gnu, pax) {
        (Some(_), Some(_)) => Err(format!("has two long {what}, one of GNU's and one of pax")),
        (Some(long), None) | (None, Some(long)) => Ok(long),
        (None, None) => Ok(plain()),
    }
}

/// GNU tar terminates a long name with a NUL.
fn without_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}
