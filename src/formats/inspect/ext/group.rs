//! Groups of blocks, their descriptors and bitmaps: [format](https://docs.kernel.org/filesystems/ext4/group_descr.html).

use std::collections::BTreeMap;

use super::super::bytes::{le32, wide};
use super::super::disk::ReadError;
use super::Ext;
use super::superblock::{AT, SIZE};

/// Offsets of a descriptor's fields in bytes, named as in the kernel without `bg_`. Numbers of blocks have a low and a high half.
mod field {
    pub(super) const BLOCK_BITMAP: (usize, usize) = (0x00, 0x20);
    pub(super) const INODE_BITMAP: (usize, usize) = (0x04, 0x24);
    pub(super) const INODE_TABLE: (usize, usize) = (0x08, 0x28);
    pub(super) const FLAGS: usize = 0x12;
}

/// The length of a descriptor that has high halves, in bytes.
const WIDE: usize = 64;
/// Flag: the block bitmap was never written.
const BLOCK_UNINIT: u8 = 0x2;

/// The places of a group's own structures, as block numbers.
pub(super) struct Group {
    pub block_bitmap: u64,
    pub inode_bitmap: u64,
    pub inode_table: u64,
    /// The block bitmap was never written: only the group's own structures are in use.
    pub uninit: bool,
}

impl Ext<'_> {
    /// The descriptor of a group.
    pub(super) fn group(&self, group: u64) -> Result<Group, ReadError> {
        let sb = &self.sb;
        if group >= sb.groups() {
            return Err(ReadError::Broken(format!("group {group} is used, and there are {}", sb.groups())));
        }
        let per_block = sb.block_size / sb.descriptor_size;
        let block = match sb.first_meta_group {
            // The descriptors of a meta group lie in its first group, behind a copy of the superblock if there is one.
            Some(first) if group / per_block >= first => {
                let home = group / per_block * per_block;
                sb.first_data_block + home * sb.blocks_per_group + u64::from(self.has_superblock(home))
            }
            _ => sb.first_data_block + 1 + group / per_block,
        };
        let at = block * sb.block_size + group % per_block * sb.descriptor_size;
        let bytes = self.part.read(at, sb.descriptor_size as usize)?;
        self.check_group(group, &bytes)?;
        let block = |(low, high): (usize, usize)| wide(if bytes.len() >= WIDE { le32(&bytes, high) } else { 0 }, le32(&bytes, low));
        Ok(Group {
            block_bitmap: block(field::BLOCK_BITMAP),
            inode_bitmap: block(field::INODE_BITMAP),
            inode_table: block(field::INODE_TABLE),
            uninit: bytes[field::FLAGS] & BLOCK_UNINIT != 0,
        })
    }

    /// True when a group begins with a copy of the superblock.
    fn has_superblock(&self, group: u64) -> bool {
        if let Some(backups) = self.sb.backups {
            return group == 0 || backups.iter().any(|&backup| u64::from(backup) == group);
        }
        let power = |base: u64| {
            let mut n = base;
            while n < group {
                n *= base;
            }
            n == group
        };
        !self.sb.sparse || group <= 1 || power(3) || power(5) || power(7)
    }

    /// Names the structure at a byte of the part that is in no file or folder.
    pub(super) fn name_place(&self, offset: u64) -> Result<&'static str, ReadError> {
        let sb = &self.sb;
        let block = offset / sb.block_size;
        if offset < AT {
            return Ok("the boot block");
        }
        if block >= sb.blocks {
            return Ok("space behind the filesystem");
        }
        if offset < AT + SIZE as u64 {
            return Ok("the superblock");
        }
        if self.journal.iter().any(|(start, end)| (*start..*end).contains(&offset)) {
            return Ok("the journal");
        }
        let (group, inside) = ((block - sb.first_data_block) / sb.blocks_per_group, (block - sb.first_data_block) % sb.blocks_per_group);
        let descriptors = sb.groups().div_ceil(sb.block_size / sb.descriptor_size) + sb.reserved_descriptors;
        if self.has_superblock(group) && inside <= descriptors {
            return Ok("superblocks and group descriptors");
        }
        // With flexible groups, a group's structures may lie in another group.
        if let Some((_, (end, name))) = self.structures()?.range(..=block).next_back()
            && block < *end
        {
            return Ok(name);
        }
        Ok(if self.is_free(group, inside)? { "free space" } else { "unreferenced blocks" })
    }

    /// The places of all groups' structures: by first block, the block behind the last one and a name.
    fn structures(&self) -> Result<&BTreeMap<u64, (u64, &'static str)>, ReadError> {
        if let Some(known) = self.structures.get() {
            return Ok(known);
        }
        let table = (u64::from(self.sb.inodes_per_group) * self.sb.inode_size).div_ceil(self.sb.block_size);
        let mut found = BTreeMap::new();
        for group in 0..self.sb.groups() {
            let group = self.group(group)?;
            found.insert(group.block_bitmap, (group.block_bitmap + 1, "bitmaps"));
            found.insert(group.inode_bitmap, (group.inode_bitmap + 1, "bitmaps"));
            found.insert(group.inode_table, (group.inode_table.saturating_add(table), "the inode table"));
        }
        Ok(self.structures.get_or_init(|| found))
    }

    fn is_free(&self, group: u64, inside: u64) -> Result<bool, ReadError> {
        let mut kept = self.bitmap.borrow_mut();
        if kept.as_ref().is_none_or(|(of, _)| *of != group) {
            let found = self.group(group)?;
            let bits = if found.uninit { vec![0; self.sb.block_size as usize] } else { self.block(found.block_bitmap)? };
            *kept = Some((group, bits));
        }
        let bit = inside / self.sb.cluster;
        Ok(kept.as_ref().is_some_and(|(_, bits)| bits.get((bit / 8) as usize).is_some_and(|byte| byte >> (bit % 8) & 1 == 0)))
    }
}
