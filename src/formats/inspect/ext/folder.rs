//! Folders: [format](https://docs.kernel.org/filesystems/ext4/directory.html). The index of a large folder looks like deleted
//! entries to a reader that does not know it.

use super::super::bytes::{le16, le32};
use super::super::disk::ReadError;
use super::super::filesystem::{Content, HELD_MAX, Node};
use super::Ext;
use super::inode::field::BLOCK;

/// Offsets in an entry in bytes (`ext4_dir_entry_2`).
mod entry_field {
    pub(super) const INODE: usize = 0;
    pub(super) const REC_LEN: usize = 4;
    /// Two bytes long where entries have no file type.
    pub(super) const NAME_LEN: usize = 6;
    pub(super) const NAME: usize = 8;
}

/// The largest folder that is read, in bytes: some hundred thousand names.
const SIZE_MAX: u64 = 32 << 20;

/// The length of the entry at `at`, in bytes. A length of 64 KiB does not fit its field.
pub(super) fn entry_len(block: &[u8], at: usize) -> usize {
    match le16(block, at + entry_field::REC_LEN) {
        0 | 0xffff if block.len() == 1 << 16 => 1 << 16,
        len => usize::from(len),
    }
}

impl Ext<'_> {
    /// The names in a folder, sorted, without `.` and `..`.
    pub(super) fn folder(&self, folder: &Node) -> Result<Vec<(Vec<u8>, Node)>, ReadError> {
        let broken = |what: &str| ReadError::Broken(format!("the folder with inode {} {what}", folder.id));
        let mut found = Vec::new();
        match self.map(folder)? {
            // The parent's inode number stands in place of `.` and `..`.
            Content::Inline(bytes) => {
                let cut = bytes.len().min(BLOCK.len());
                self.entries(bytes.get(4..cut).unwrap_or_default(), &mut found)?;
                self.entries(&bytes[cut..], &mut found)?;
            }
            Content::Extents(extents) => {
                if extents.iter().map(|extent| extent.len).sum::<u64>() > SIZE_MAX {
                    return Err(broken("is too large"));
                }
                for extent in extents {
                    for at in (extent.at..extent.at + extent.len).step_by(self.sb.block_size as usize) {
                        let block = self.part.read(at, self.sb.block_size as usize)?;
                        self.check_folder(folder, extent.from == 0 && at == extent.at, &block)?;
                        self.entries(&block, &mut found)?;
                    }
                }
            }
        }
        if found.len() as u64 * (self.sb.inode_size + 128) > HELD_MAX {
            return Err(broken("has too many names"));
        }
        found.sort();
        if found.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(broken("has a name twice"));
        }
        found.into_iter().map(|(name, inode)| Ok((name, self.inode(inode)?))).collect()
    }

    /// Collects the entries of one block.
    fn entries(&self, block: &[u8], found: &mut Vec<(Vec<u8>, u32)>) -> Result<(), ReadError> {
        let mut at = 0;
        while at + entry_field::NAME <= block.len() {
            let inode = le32(block, at + entry_field::INODE);
            let len = entry_len(block, at);
            let len_at = at + entry_field::NAME_LEN;
            let name_len = if self.sb.file_types { usize::from(block[len_at]) } else { usize::from(le16(block, len_at)) };
            let name_at = at + entry_field::NAME;
            let is_too_short = len < entry_field::NAME || (inode != 0 && entry_field::NAME + name_len > len);
            if is_too_short || !len.is_multiple_of(4) || at + len > block.len() {
                return Err(ReadError::Broken("a folder's entry is malformed".into()));
            }
            if inode != 0 {
                match &block[name_at..name_at + name_len] {
                    b"." | b".." => {}
                    name if name.is_empty() || name.contains(&b'/') || name.contains(&0) => {
                        return Err(ReadError::Broken("a folder has an invalid name".into()));
                    }
                    name => found.push((name.to_vec(), inode)),
                }
            }
            at += len;
        }
        Ok(())
    }
}
