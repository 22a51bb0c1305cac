//! Extended attributes: [format](https://docs.kernel.org/filesystems/ext4/attributes.html).

use super::super::bytes::{le16, le32};
use super::super::disk::ReadError;
use super::super::filesystem::{Attribute, Content, Node, Stream};
use super::Ext;
use super::inode::{IS_VALUE, Inode};

/// The magic number of attributes, in the inode and in a block.
const MAGIC: u32 = 0xea02_0000;
/// The length of the header of attributes in the inode, in bytes: the magic number alone.
const INODE_HEADER: usize = 4;
/// The length of the header of an attribute block, in bytes.
const BLOCK_HEADER: usize = 0x20;
/// The bytes of an attribute block's checksum (`h_checksum`).
pub(super) const CHECKSUM: std::ops::Range<usize> = 0x10..0x14;

/// Offsets in an entry in bytes, named as in the kernel without `e_`.
mod entry_field {
    pub(super) const NAME_LEN: usize = 0x00;
    pub(super) const NAME_INDEX: usize = 0x01;
    pub(super) const VALUE_OFFS: usize = 0x02;
    pub(super) const VALUE_INUM: usize = 0x04;
    pub(super) const VALUE_SIZE: usize = 0x08;
    pub(super) const NAME: usize = 0x10;
}

/// Linux's limit on a value, in bytes.
const VALUE_MAX: usize = 64 << 10;

impl Ext<'_> {
    /// The attributes in the inode and in its attribute block, sorted by name.
    pub(super) fn all_attributes(&self, node: &Node) -> Result<Vec<Attribute>, ReadError> {
        let inode = Inode(&node.raw);
        let mut found = Vec::new();
        let start = inode.extra_end();
        if le32(&node.raw, start) == MAGIC {
            let first = start + INODE_HEADER;
            let at = self.inode_at(u32::try_from(node.id).unwrap_or(0))? + first as u64;
            self.entries_of(&node.raw[first..], 0, at, &mut found)?;
        }
        let block = inode.attribute_block();
        if block != 0 {
            let bytes = self.block(block)?;
            if le32(&bytes, 0) != MAGIC {
                return Err(ReadError::Broken(format!("the attribute block of inode {} is malformed", node.id)));
            }
            self.check_attributes(block, &bytes)?;
            self.entries_of(&bytes, BLOCK_HEADER, block * self.sb.block_size, &mut found)?;
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Reads the entries from byte `first` of `bytes`, which lie at byte `at` of the part. Offsets of values count from the start
    /// of `bytes`.
    fn entries_of(&self, bytes: &[u8], first: usize, at: u64, found: &mut Vec<Attribute>) -> Result<(), ReadError> {
        let broken = || ReadError::Broken("an extended attribute is malformed".into());
        let mut next = first;
        while next + entry_field::NAME <= bytes.len() && le32(bytes, next) != 0 {
            let entry = &bytes[next..];
            let (name_len, index) = (usize::from(entry[entry_field::NAME_LEN]), entry[entry_field::NAME_INDEX]);
            let (offset, inode) = (usize::from(le16(entry, entry_field::VALUE_OFFS)), le32(entry, entry_field::VALUE_INUM));
            let size = le32(entry, entry_field::VALUE_SIZE) as usize;
            let name = entry.get(entry_field::NAME..entry_field::NAME + name_len).ok_or_else(broken)?;
            let name = format!("{}{}", prefix(index), crate::common::value::escape(name));
            let value = match inode {
                0 => bytes.get(offset..offset.saturating_add(size)).ok_or_else(broken)?.to_vec(),
                inode => self.far_value(inode, size)?,
            };
            found.push(Attribute { name, value, at: at + offset as u64 });
            next += (entry_field::NAME + name_len).next_multiple_of(4);
        }
        Ok(())
    }

    /// The value in an inode of its own.
    fn far_value(&self, inode: u32, size: usize) -> Result<Vec<u8>, ReadError> {
        let node = self.inode(inode)?;
        let content = if Inode(&node.raw).flags() & IS_VALUE != 0 { self.map(&node)? } else { Content::Inline(Vec::new()) };
        if size > VALUE_MAX || size as u64 != node.size {
            return Err(ReadError::Broken(format!("the attribute value in inode {inode} is malformed")));
        }
        let mut value = vec![0; size];
        Stream::new(self.part, &content, node.size).read_exact(&mut value)?;
        Ok(value)
    }
}

fn prefix(index: u8) -> String {
    match index {
        0 => "",
        1 => "user.",
        2 => "system.posix_acl_access",
        3 => "system.posix_acl_default",
        4 => "trusted.",
        6 => "security.",
        7 => "system.",
        8 => "system.richacl",
        other => return format!("{other}."),
    }
    .into()
}
