//! A tree as a tar, which GNU tar extracts into the root where more packages are installed.
//!
//! With pax headers, since only these keep extended attributes. Hard links come last, behind their targets.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use crate::common::error::{Error, Result};
use crate::common::tree::{Content, ContentSource, Kind, Meta, Node, Tree};
use crate::common::value::TreePath;

/// The block size of a tar, in bytes.
const BLOCK: u64 = 512;
/// The length of a name or of a link's target in the header itself, in bytes.
const NAME: usize = 100;
/// Bytes copied at a time.
const CHUNK: usize = 256 << 10;

/// Writes `tree`, with contents from `source`.
///
/// # Errors
/// Errors of both; a device, socket or sparse file, which no base has.
pub(super) fn write(tree: &Tree, source: &dyn ContentSource, out: &mut dyn Write) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    let links = |(_, node): &(&TreePath, &Node)| matches!(node.kind, Kind::HardLink(_));
    for (path, node) in tree.iter().filter(|entry| !links(entry)).chain(tree.iter().filter(links)) {
        entry(path, node, source, out, &mut buffer)?;
    }
    put(out, &[0; 2 * BLOCK as usize])
}

fn entry(path: &TreePath, node: &Node, source: &dyn ContentSource, out: &mut dyn Write, buffer: &mut [u8]) -> Result<()> {
    let kind = match &node.kind {
        Kind::Dir => return put(out, &header(path, EntryType::Directory, &node.meta, 0, b"")),
        Kind::Symlink(target) => return put(out, &header(path, EntryType::Symlink, &node.meta, 0, target)),
        Kind::HardLink(target) => return put(out, &header(path, EntryType::Link, &node.meta, 0, &name_of(target))),
        Kind::File(Content::Inline(bytes)) => {
            put(out, &header(path, EntryType::Regular, &node.meta, bytes.len() as u64, b""))?;
            put(out, bytes)?;
            return put(out, padding(bytes.len() as u64));
        }
        Kind::File(Content::Blob { digest, size }) => (digest, *size),
        Kind::File(Content::Sparse { .. }) | Kind::CharDev { .. } | Kind::BlockDev { .. } | Kind::Fifo | Kind::Socket => {
            return Err(Error::internal(format!("{path} of the base is not a regular file, folder or link")));
        }
    };
    let (digest, size) = kind;
    put(out, &header(path, EntryType::Regular, &node.meta, size, b""))?;
    let failed = |e: &io::Error| Error::io(format_args!("read {path} of the base"), e);
    let mut reader = source.open(digest, size).map_err(|e| failed(&e))?;
    loop {
        match reader.read(buffer) {
            Ok(0) => break,
            Ok(n) => put(out, &buffer[..n])?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(&e)),
        }
    }
    put(out, padding(size))
}

fn put(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(|e| Error::io("pass the base to tar", &e))
}

fn padding(size: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
    &ZEROS[..((BLOCK - size % BLOCK) % BLOCK) as usize]
}

/// The name in the usual form for tars of whole systems.
fn name_of(path: &TreePath) -> Vec<u8> {
    [b"./", path.as_bytes()].concat()
}

/// The header blocks of an entry.
fn header(path: &TreePath, kind: EntryType, meta: &Meta, size: u64, target: &[u8]) -> Vec<u8> {
    let name = name_of(path);
    let mut records = Vec::new();
    for (key, value) in [("path", &name[..]), ("linkpath", target)] {
        if value.len() > NAME {
            records.extend(record(key.as_bytes(), value));
        }
    }
    // A hard link's attributes are its target's.
    for (key, value) in meta.xattrs.iter().filter(|_| kind != EntryType::Link) {
        records.extend(record(&[b"SCHILY.xattr.", &key[..]].concat(), value));
    }
    let mut blocks = Vec::new();
    if !records.is_empty() {
        let size = records.len() as u64;
        blocks.extend(block(b"pax", EntryType::XHeader, &Meta::new(0o644, 0, 0, 0), size, b""));
        blocks.extend(records);
        blocks.extend_from_slice(padding(size));
    }
    blocks.extend(block(&name, kind, meta, size, target));
    blocks
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// One header. Values that are too long for a field are truncated here, and complete in the pax records.
fn block(name: &[u8], kind: EntryType, meta: &Meta, size: u64, target: &[u8]) -> [u8; BLOCK as usize] {
    let mut header = Header::new_ustar();
    let cut = |bytes: &[u8]| bytes.len().min(NAME);
    header.as_old_mut().name[..cut(name)].copy_from_slice(&name[..cut(name)]);
    header.as_old_mut().linkname[..cut(target)].copy_from_slice(&target[..cut(target)]);
    header.set_entry_type(kind);
    header.set_mode(u32::from(meta.mode));
    header.set_uid(u64::from(meta.uid));
    header.set_gid(u64::from(meta.gid));
    header.set_mtime(meta.mtime.try_into().unwrap_or(0));
    header.set_size(size);
    header.set_cksum();
    *header.as_bytes()
}
