//! [Extended attributes](https://docs.kernel.org/filesystems/ext4/dynamic.html#extended-attributes): after the inode's
//! fields as far as they fit, the rest in one block of their own.

use std::collections::BTreeMap;

use crate::common::error::{Error, Result};
use crate::common::value::{TreePath, escape};

use super::block::{BLOCK, put16, put32, zeroed};
use super::checksum::Crc;
use super::inode;

/// The magic number in front of the attributes (`h_magic`).
const MAGIC: u32 = 0xEA02_0000;
/// `struct ext4_xattr_header` in bytes.
const BLOCK_HEADER: usize = 32;
/// `struct ext4_xattr_ibody_header` in bytes.
const INODE_HEADER: usize = 4;
/// `struct ext4_xattr_entry` in bytes, without the name.
const ENTRY: usize = 16;
/// The size in bytes of the zeros that end the entries.
const END: usize = 4;

/// Field offsets in `struct ext4_xattr_header`, by the names that it has for them without `h_`.
mod header {
    pub(super) const MAGIC: usize = 0x00;
    pub(super) const REFCOUNT: usize = 0x04;
    pub(super) const BLOCKS: usize = 0x08;
    pub(super) const HASH: usize = 0x0C;
    pub(super) const CHECKSUM: usize = 0x10;
}

/// Field offsets in `struct ext4_xattr_entry`, by the names that it has for them without `e_`.
mod entry {
    pub(super) const NAME_LEN: usize = 0x00;
    pub(super) const NAME_INDEX: usize = 0x01;
    pub(super) const VALUE_OFFS: usize = 0x02;
    pub(super) const VALUE_SIZE: usize = 0x08;
    pub(super) const HASH: usize = 0x0C;
}

/// Name prefixes that are stored as a number (`e_name_index`). The names of access control lists are nothing but a prefix.
const PREFIXES: [(&[u8], u8); 5] = [(b"user.", 1), (ACL_ACCESS, 2), (ACL_DEFAULT, 3), (b"trusted.", 4), (b"security.", 6)];
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
const ACL_PREFIX: &[u8] = b"system.";

/// An inode's encoded attributes; only the block's checksum is still missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// The part stored in the inode; may be empty.
    pub inline: Vec<u8>,
    /// The block, if one is needed.
    pub block: Option<Vec<u8>>,
}

/// An attribute in its stored form, ordered as the entries of a block must be.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Attribute {
    prefix: u8,
    name_len: usize,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Attribute {
    fn entry_len(&self) -> usize {
        ENTRY + self.name.len().next_multiple_of(4)
    }

    fn len(&self) -> usize {
        self.entry_len() + self.value.len().next_multiple_of(4)
    }

    /// The hash of name and value (`e_hash`). As in the directory hash, characters are signed: x86 has always written this
    /// form, and newer kernels and tools still accept it.
    fn hash(&self) -> u32 {
        let name = self.name.iter().fold(0u32, |hash, &byte| hash.rotate_left(5) ^ (byte as i8 as u32));
        self.value.chunks(4).fold(name, |hash, chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

impl Attributes {
    /// Distributes the attributes of `path` over inode and block.
    pub(super) fn of(path: &TreePath, xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Attributes> {
        if xattrs.is_empty() {
            return Ok(Attributes::default());
        }
        let mut all = xattrs.iter().map(|(name, value)| stored(path, name, value)).collect::<Result<Vec<_>>>()?;
        all.sort();
        let mut room = inode::SIZE - inode::ATTRIBUTES - INODE_HEADER - END;
        let (mut inline, mut block) = (Vec::new(), Vec::new());
        for attribute in all {
            if attribute.len() <= room {
                room -= attribute.len();
                inline.push(attribute);
            } else {
                block.push(attribute);
            }
        }
        let needed: usize = BLOCK_HEADER + END + block.iter().map(Attribute::len).sum::<usize>();
        if needed > BLOCK {
            return Err(Error::user(format!("the extended attributes of {path} are too large for ext4"))
                .detail(format!("found {needed} bytes beside those in the inode; one block has {BLOCK}")));
        }
        Ok(Attributes { inline: in_inode(&inline), block: (!block.is_empty()).then(|| in_block(&block)) })
    }
}

/// Writes the checksum of a block whose block number is `at`.
pub(super) fn seal(block: &mut [u8], at: u64, seed: Crc) {
    let checksum = seed.with(&at.to_le_bytes()).with(block).value();
    put32(block, header::CHECKSUM, checksum);
}

/// The stored form of a full name and a value as from `getxattr(2)`.
fn stored(path: &TreePath, name: &[u8], value: &[u8]) -> Result<Attribute> {
    let bad = |why: &str| Error::user(format!("{path}: ext4 cannot store the extended attribute `{}`", escape(name))).detail(why);
    let (prefix, rest) = PREFIXES
        .iter()
        .find_map(|(text, number)| name.strip_prefix(*text).map(|rest| (*number, rest)))
        .ok_or_else(|| bad("expected a name in user., trusted., security., or that of a POSIX access control list"))?;
    let acl = name.starts_with(ACL_PREFIX);
    if rest.is_empty() != acl || rest.len() > 255 || rest.contains(&0) {
        return Err(bad("expected 1 to 255 bytes after the prefix, none of them NUL"));
    }
    let value = if acl { acl_on_disk(value).ok_or_else(|| bad("the value is not a POSIX access control list"))? } else { value.to_vec() };
    Ok(Attribute { prefix, name_len: rest.len(), name: rest.to_vec(), value })
}

/// Converts an access control list from version 2, which system calls use, to version 1, which is stored. Only entries
/// that name a user or group have an id on disk.
fn acl_on_disk(value: &[u8]) -> Option<Vec<u8>> {
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    let entries = value.strip_prefix(&2u32.to_le_bytes())?;
    if !entries.len().is_multiple_of(8) {
        return None;
    }
    let mut out = 1u32.to_le_bytes().to_vec();
    for entry in entries.chunks_exact(8) {
        let named = matches!(u16::from_le_bytes([entry[0], entry[1]]), USER | GROUP);
        out.extend_from_slice(if named { entry } else { &entry[..4] });
    }
    Some(out)
}

/// Encodes the part in the inode: magic, entries, and values from the end; value offsets count from the first entry.
fn in_inode(attributes: &[Attribute]) -> Vec<u8> {
    if attributes.is_empty() {
        return Vec::new();
    }
    let mut raw = vec![0; inode::SIZE - inode::ATTRIBUTES];
    put32(&mut raw, 0, MAGIC);
    put_attributes(&mut raw[INODE_HEADER..], 0, attributes);
    raw
}

/// Encodes the block: header, entries, and values from the end; value offsets count from the block's start.
fn in_block(attributes: &[Attribute]) -> Vec<u8> {
    let mut block = zeroed();
    put_attributes(&mut block, BLOCK_HEADER, attributes);
    put32(&mut block, header::MAGIC, MAGIC);
    put32(&mut block, header::REFCOUNT, 1);
    put32(&mut block, header::BLOCKS, 1);
    let hashes: Vec<u32> = attributes.iter().map(Attribute::hash).collect();
    // A hash of 0 forbids sharing the block; one entry with a hash of 0 forbids it too.
    let hash = if hashes.contains(&0) { 0 } else { hashes.iter().fold(0u32, |all, hash| all.rotate_left(16) ^ hash) };
    put32(&mut block, header::HASH, hash);
    block
}

fn put_attributes(raw: &mut [u8], start: usize, attributes: &[Attribute]) {
    let (mut at, mut end) = (start, raw.len());
    for attribute in attributes {
        let value = &attribute.value;
        end -= value.len().next_multiple_of(4);
        raw[end..end + value.len()].copy_from_slice(value);
        raw[at + entry::NAME_LEN] = attribute.name.len() as u8;
        raw[at + entry::NAME_INDEX] = attribute.prefix;
        put16(raw, at + entry::VALUE_OFFS, if value.is_empty() { 0 } else { end as u16 });
        put32(raw, at + entry::VALUE_SIZE, value.len() as u32);
        put32(raw, at + entry::HASH, attribute.hash());
        raw[at + ENTRY..at + ENTRY + attribute.name.len()].copy_from_slice(&attribute.name);
        at += attribute.entry_len();
    }
}
