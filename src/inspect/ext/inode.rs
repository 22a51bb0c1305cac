//! Inodes: [format](https://docs.kernel.org/filesystems/ext4/inodes.html).

use super::super::bytes::{le16, le32, wide};
use super::super::disk::Trouble;
use super::super::filesystem::{Kind, Node};
use super::Ext;

/// Flag: the contents are encrypted.
pub const ENCRYPTED: u32 = 0x800;
/// Flag: the contents are mapped by extents.
pub const EXTENTS: u32 = 0x8_0000;
/// Flag: the contents are in the inode.
pub const INLINE: u32 = 0x1000_0000;
/// Flag: extended attributes are in an inode of their own, and this is it.
pub const IS_VALUE: u32 = 0x20_0000;

/// What an inode's own bytes say.
pub struct Inode<'a>(pub &'a [u8]);

impl Inode<'_> {
    pub fn mode(&self) -> u16 {
        le16(self.0, 0)
    }

    pub fn flags(&self) -> u32 {
        le32(self.0, 32)
    }

    pub fn links(&self) -> u16 {
        le16(self.0, 26)
    }

    /// The sixty bytes that say where the contents are, or are them.
    pub fn map(&self) -> &[u8] {
        &self.0[40..100]
    }

    /// The block of extended attributes; 0 for none.
    pub fn attribute_block(&self) -> u64 {
        wide(u32::from(le16(self.0, 118)), le32(self.0, 104))
    }

    /// Where the attributes in the inode begin.
    pub fn extra_end(&self) -> usize {
        if self.0.len() > 128 { 128 + usize::from(le16(self.0, 128)) } else { self.0.len() }
    }

    /// A field behind the first 128 bytes, where the inode has it.
    fn extra(&self, at: usize) -> Option<u32> {
        (at + 4 <= self.extra_end().min(self.0.len())).then(|| le32(self.0, at))
    }

    /// Seconds since 1970 and nanoseconds, as text.
    fn time(&self, at: usize, extra: usize) -> String {
        let low = i64::from(le32(self.0, at) as i32);
        match self.extra(extra) {
            Some(more) => format!("{}.{:09}", low + (i64::from(more & 3) << 32), more >> 2),
            None => low.to_string(),
        }
    }

    /// Major and minor number of a device.
    fn device(&self) -> (u32, u32) {
        let (old, new) = (le32(self.map(), 0), le32(self.map(), 4));
        match old {
            0 => (new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xf_ff00),
            old => (old >> 8 & 0xff, old & 0xff),
        }
    }

    fn kind(&self) -> Option<Kind> {
        Some(match self.mode() >> 12 {
            0x1 => Kind::Fifo,
            0x2 => Kind::CharDevice,
            0x4 => Kind::Folder,
            0x6 => Kind::BlockDevice,
            0x8 => Kind::File,
            0xa => Kind::Symlink,
            0xc => Kind::Socket,
            _ => return None,
        })
    }
}

impl Ext<'_> {
    /// Reads an inode.
    pub(super) fn inode(&self, number: u32) -> Result<Node, Trouble> {
        let raw = self.part.read(self.inode_at(number)?, self.sb.inode_size as usize)?;
        let inode = Inode(&raw);
        let kind = inode.kind().ok_or_else(|| Trouble::Broken(format!("inode {number} is of no kind")))?;
        // Only files are large; elsewhere the high half has had other uses.
        let high = if kind == Kind::File { le32(&raw, 108) } else { 0 };
        let size = wide(high, le32(&raw, 4));
        Ok(Node { id: u64::from(number), kind, size, linked: kind != Kind::Folder && inode.links() > 1, raw })
    }

    /// Where an inode is, in bytes.
    pub(super) fn inode_at(&self, number: u32) -> Result<u64, Trouble> {
        if number == 0 || number > self.sb.inodes {
            return Err(Trouble::Broken(format!("inode {number} is named, and there are {}", self.sb.inodes)));
        }
        let (group, index) = ((number - 1) / self.sb.inodes_per_group, (number - 1) % self.sb.inodes_per_group);
        let table = self.group(u64::from(group))?.inode_table;
        if table >= self.sb.blocks {
            return Err(Trouble::Broken(format!("the inodes of group {group} are at block {table}, and there are {}", self.sb.blocks)));
        }
        Ok(table * self.sb.block_size + u64::from(index) * self.sb.inode_size)
    }

    /// What there is to compare about an inode.
    pub(super) fn inode_fields(&self, node: &Node) -> Vec<(String, String)> {
        let inode = Inode(&node.raw);
        let owner = |low: usize, high: usize| wide_id(le16(&node.raw, low), le16(&node.raw, high));
        let mut fields = vec![
            ("mode", format!("{:04o}", inode.mode() & 0o7777)),
            ("owner", format!("{}:{}", owner(2, 120), owner(24, 122))),
            ("modification time", inode.time(16, 136)),
            ("change time", inode.time(12, 132)),
            ("access time", inode.time(8, 140)),
            ("creation time", inode.extra(144).map_or("none".into(), |_| inode.time(144, 148))),
            ("links", inode.links().to_string()),
            ("flags", format!("{:#x}", inode.flags() & !INLINE)),
            ("generation", le32(&node.raw, 100).to_string()),
            ("inode", node.id.to_string()),
        ];
        if matches!(node.kind, Kind::CharDevice | Kind::BlockDevice) {
            let (major, minor) = inode.device();
            fields.push(("device", format!("{major}:{minor}")));
        }
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn wide_id(low: u16, high: u16) -> u32 {
    u32::from(high) << 16 | u32::from(low)
}
