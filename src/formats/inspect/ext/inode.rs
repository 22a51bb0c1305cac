//! Inodes: [format](https://docs.kernel.org/filesystems/ext4/inodes.html).

use super::super::bytes::{le16, le32, wide};
use super::super::disk::ReadError;
use super::super::filesystem::{Kind, Node};
use super::Ext;

/// The most links that are counted (`EXT4_LINK_MAX`). A folder with more has a count of 1.
pub const LINKS_MAX: u64 = 65_000;

/// Flag: the contents are encrypted.
pub const ENCRYPTED: u32 = 0x800;
/// Flag: a folder has an index of hashes.
pub const INDEX: u32 = 0x1000;
/// Flag: the contents are mapped by extents.
pub const EXTENTS: u32 = 0x8_0000;
/// Flag: the contents are in the inode.
pub const INLINE: u32 = 0x1000_0000;
/// Flag: the inode holds the value of an extended attribute.
pub const IS_VALUE: u32 = 0x20_0000;

/// The metadata of an inode that a tree knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    /// Modification time in seconds since 1970.
    pub mtime: i64,
    /// Link count.
    pub links: u16,
    /// A device's major and minor number.
    pub device: Option<(u32, u32)>,
}

/// The bytes of an inode, at least 128.
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

    /// The sixty bytes (`i_block`) that map the contents, or hold them.
    pub fn map(&self) -> &[u8] {
        &self.0[40..100]
    }

    /// The block of extended attributes; 0 for none.
    pub fn attribute_block(&self) -> u64 {
        wide(u32::from(le16(self.0, 118)), le32(self.0, 104))
    }

    /// The offset of the attributes in the inode.
    pub fn extra_end(&self) -> usize {
        if self.0.len() > 128 { 128 + usize::from(le16(self.0, 128)) } else { self.0.len() }
    }

    /// A field behind the first 128 bytes; none where the inode is too short for it.
    fn extra(&self, at: usize) -> Option<u32> {
        (at + 4 <= self.extra_end().min(self.0.len())).then(|| le32(self.0, at))
    }

    /// Seconds since 1970: 32 signed bits, and two bits above them in the extra field.
    fn seconds(&self, at: usize, extra: usize) -> i64 {
        i64::from(le32(self.0, at) as i32) + (i64::from(self.extra(extra).unwrap_or(0) & 3) << 32)
    }

    /// Seconds since 1970 and nanoseconds, as text.
    fn time(&self, at: usize, extra: usize) -> String {
        let seconds = self.seconds(at, extra);
        self.extra(extra).map_or_else(|| seconds.to_string(), |more| format!("{seconds}.{:09}", more >> 2))
    }

    fn uid(&self) -> u32 {
        u32::from(le16(self.0, 120)) << 16 | u32::from(le16(self.0, 2))
    }

    fn gid(&self) -> u32 {
        u32::from(le16(self.0, 122)) << 16 | u32::from(le16(self.0, 24))
    }

    /// A device's major and minor number; none for other kinds.
    fn device(&self) -> Option<(u32, u32)> {
        if !matches!(self.kind(), Some(Kind::CharDevice | Kind::BlockDevice)) {
            return None;
        }
        let (old, new) = (le32(self.map(), 0), le32(self.map(), 4));
        Some(match old {
            0 => (new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xf_ff00),
            old => (old >> 8 & 0xff, old & 0xff),
        })
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
    pub(super) fn inode(&self, number: u32) -> Result<Node, ReadError> {
        let raw = self.part.read(self.inode_at(number)?, self.sb.inode_size as usize)?;
        self.check_inode(number, &raw)?;
        let inode = Inode(&raw);
        let kind = inode.kind().ok_or_else(|| ReadError::Broken(format!("inode {number} has an unknown file type")))?;
        // Only files are large; elsewhere the high half has had other uses.
        let high = if kind == Kind::File { le32(&raw, 108) } else { 0 };
        let size = wide(high, le32(&raw, 4));
        Ok(Node { id: u64::from(number), kind, size, linked: kind != Kind::Folder && inode.links() > 1, raw })
    }

    /// The offset of an inode, in bytes.
    pub(super) fn inode_at(&self, number: u32) -> Result<u64, ReadError> {
        if number == 0 || number > self.sb.inodes {
            return Err(ReadError::Broken(format!("inode {number} is used, and there are {}", self.sb.inodes)));
        }
        let (group, index) = ((number - 1) / self.sb.inodes_per_group, (number - 1) % self.sb.inodes_per_group);
        let table = self.group(u64::from(group))?.inode_table;
        if table >= self.sb.blocks {
            return Err(ReadError::Broken(format!("the inodes of group {group} are at block {table}, and there are {}", self.sb.blocks)));
        }
        Ok(table * self.sb.block_size + u64::from(index) * self.sb.inode_size)
    }

    /// An inode's metadata.
    pub fn stat(&self, node: &Node) -> Stat {
        let inode = Inode(&node.raw);
        Stat {
            mode: inode.mode() & 0o7777,
            uid: inode.uid(),
            gid: inode.gid(),
            mtime: inode.seconds(16, 136),
            links: inode.links(),
            device: inode.device(),
        }
    }

    /// The fields to compare of two inodes: names and values.
    pub(super) fn inode_fields(&self, node: &Node) -> Vec<(String, String)> {
        let inode = Inode(&node.raw);
        let mut fields = vec![
            ("mode", format!("{:04o}", inode.mode() & 0o7777)),
            ("owner", format!("{}:{}", inode.uid(), inode.gid())),
            ("modification time", inode.time(16, 136)),
            ("change time", inode.time(12, 132)),
            ("access time", inode.time(8, 140)),
            ("creation time", inode.extra(144).map_or("none".into(), |_| inode.time(144, 148))),
            ("links", inode.links().to_string()),
            ("flags", format!("{:#x}", inode.flags() & !INLINE)),
            ("generation", le32(&node.raw, 100).to_string()),
            ("inode", node.id.to_string()),
        ];
        if let Some((major, minor)) = inode.device() {
            fields.push(("device", format!("{major}:{minor}")));
        }
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
