//! Extended attributes: [format](https://docs.kernel.org/filesystems/ext4/attributes.html).

use super::super::bytes::{le16, le32};
use super::super::disk::ReadError;
use super::super::filesystem::{Attribute, Content, Node, Stream};
use super::Ext;
use super::inode::{IS_VALUE, Inode};

const MAGIC: u32 = 0xea02_0000;
/// Linux's limit on a value, in bytes.
const VALUE_MAX: usize = 64 << 10;

impl Ext<'_> {
    /// The attributes in the inode and in its attribute block, sorted by name.
    pub(super) fn all_attributes(&self, node: &Node) -> Result<Vec<Attribute>, ReadError> {
        let inode = Inode(&node.raw);
        let mut found = Vec::new();
        let start = inode.extra_end();
        if le32(&node.raw, start) == MAGIC {
            let first = start + 4;
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
            self.entries_of(&bytes, 32, block * self.sb.block_size, &mut found)?;
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Reads the entries from byte `first` of `bytes`, which lie at byte `at` of the part. Offsets of values count from the start
    /// of `bytes`.
    fn entries_of(&self, bytes: &[u8], first: usize, at: u64, found: &mut Vec<Attribute>) -> Result<(), ReadError> {
        let broken = || ReadError::Broken("an extended attribute is malformed".into());
        let mut next = first;
        while next + 16 <= bytes.len() && le32(bytes, next) != 0 {
            let (name_len, index) = (usize::from(bytes[next]), bytes[next + 1]);
            let (offset, inode, size) = (usize::from(le16(bytes, next + 2)), le32(bytes, next + 4), le32(bytes, next + 8) as usize);
            let name = bytes.get(next + 16..next + 16 + name_len).ok_or_else(broken)?;
            let name = format!("{}{}", prefix(index), crate::common::value::escape(name));
            let value = match inode {
                0 => bytes.get(offset..offset.saturating_add(size)).ok_or_else(broken)?.to_vec(),
                inode => self.far_value(inode, size)?,
            };
            found.push(Attribute { name, value, at: at + offset as u64 });
            next += (16 + name_len).next_multiple_of(4);
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
