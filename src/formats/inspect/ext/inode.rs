//! Inodes: [format](https://docs.kernel.org/filesystems/ext4/inodes.html).

use super::super::bytes::{le16, le32, wide};
use super::super::disk::ReadError;
use super::super::filesystem::{Kind, Node};
use super::Ext;

/// Offsets of the fields in bytes, named as in the kernel without `i_`.
pub(super) mod field {
    use std::ops::Range;

    /// The length of the part that every inode has, in bytes.
    pub(crate) const BASE: usize = 128;
    pub(crate) const MODE: usize = 0x00;
    pub(crate) const UID_LO: usize = 0x02;
    pub(crate) const SIZE_LO: usize = 0x04;
    pub(crate) const ATIME: usize = 0x08;
    pub(crate) const CTIME: usize = 0x0C;
    pub(crate) const MTIME: usize = 0x10;
    pub(crate) const GID_LO: usize = 0x18;
    pub(crate) const LINKS_COUNT: usize = 0x1A;
    pub(crate) const FLAGS: usize = 0x20;
    pub(crate) const BLOCK: Range<usize> = 0x28..0x64;
    pub(crate) const GENERATION: Range<usize> = 0x64..0x68;
    pub(crate) const FILE_ACL_LO: usize = 0x68;
    pub(crate) const SIZE_HIGH: usize = 0x6C;
    pub(crate) const FILE_ACL_HIGH: usize = 0x76;
    pub(crate) const UID_HIGH: usize = 0x78;
    pub(crate) const GID_HIGH: usize = 0x7A;
    pub(crate) const CHECKSUM_LO: Range<usize> = 0x7C..0x7E;
    pub(crate) const EXTRA_ISIZE: usize = 0x80;
    pub(crate) const CHECKSUM_HI: Range<usize> = 0x82..0x84;
    pub(crate) const CTIME_EXTRA: usize = 0x84;
    pub(crate) const MTIME_EXTRA: usize = 0x88;
    pub(crate) const ATIME_EXTRA: usize = 0x8C;
    pub(crate) const CRTIME: usize = 0x90;
    pub(crate) const CRTIME_EXTRA: usize = 0x94;
}

/// The most links that are counted (`EXT4_LINK_MAX`). A folder with more has a count of 1.
pub(crate) const LINKS_MAX: u64 = 65_000;

/// Flag: the contents are encrypted.
pub(super) const ENCRYPTED: u32 = 0x800;
/// Flag: a folder has an index of hashes.
pub(super) const INDEX: u32 = 0x1000;
/// Flag: the contents are mapped by extents.
pub(super) const EXTENTS: u32 = 0x8_0000;
/// Flag: the contents are in the inode.
pub(super) const INLINE: u32 = 0x1000_0000;
/// Flag: the inode holds the value of an extended attribute.
pub(super) const IS_VALUE: u32 = 0x20_0000;

/// The metadata of an inode that a tree knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
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

/// The bytes of an inode, at least [`field::BASE`].
pub(super) struct Inode<'a>(pub &'a [u8]);

impl Inode<'_> {
    pub(super) fn mode(&self) -> u16 {
        le16(self.0, field::MODE)
    }

    pub(super) fn flags(&self) -> u32 {
        le32(self.0, field::FLAGS)
    }

    pub(super) fn links(&self) -> u16 {
        le16(self.0, field::LINKS_COUNT)
    }

    /// The sixty bytes (`i_block`) that map the contents, or hold them.
    pub(super) fn map(&self) -> &[u8] {
        &self.0[field::BLOCK]
    }

    /// The block of extended attributes; 0 for none.
    pub(super) fn attribute_block(&self) -> u64 {
        wide(u32::from(le16(self.0, field::FILE_ACL_HIGH)), le32(self.0, field::FILE_ACL_LO))
    }

    /// The offset of the attributes in the inode.
    pub(super) fn extra_end(&self) -> usize {
        match self.0.len() > field::BASE {
            true => field::BASE + usize::from(le16(self.0, field::EXTRA_ISIZE)),
            false => self.0.len(),
        }
    }

    /// A field behind the base part; none where the inode is too short for it.
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
        u32::from(le16(self.0, field::UID_HIGH)) << 16 | u32::from(le16(self.0, field::UID_LO))
    }

    fn gid(&self) -> u32 {
        u32::from(le16(self.0, field::GID_HIGH)) << 16 | u32::from(le16(self.0, field::GID_LO))
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
        let high = if kind == Kind::File { le32(&raw, field::SIZE_HIGH) } else { 0 };
        let size = wide(high, le32(&raw, field::SIZE_LO));
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
    pub(crate) fn stat(&self, node: &Node) -> Stat {
        let inode = Inode(&node.raw);
        Stat {
            mode: inode.mode() & 0o7777,
            uid: inode.uid(),
            gid: inode.gid(),
            mtime: inode.seconds(field::MTIME, field::MTIME_EXTRA),
            links: inode.links(),
            device: inode.device(),
        }
    }

    /// The fields to compare of two inodes: names and values.
    pub(super) fn inode_fields(&self, node: &Node) -> Vec<(String, String)> {
        let inode = Inode(&node.raw);
        let created = inode.extra(field::CRTIME).map_or("none".into(), |_| inode.time(field::CRTIME, field::CRTIME_EXTRA));
        let mut fields = vec![
            ("mode", format!("{:04o}", inode.mode() & 0o7777)),
            ("owner", format!("{}:{}", inode.uid(), inode.gid())),
            ("modification time", inode.time(field::MTIME, field::MTIME_EXTRA)),
            ("change time", inode.time(field::CTIME, field::CTIME_EXTRA)),
            ("access time", inode.time(field::ATIME, field::ATIME_EXTRA)),
            ("creation time", created),
            ("links", inode.links().to_string()),
            ("flags", format!("{:#x}", inode.flags() & !INLINE)),
            ("generation", le32(&node.raw, field::GENERATION.start).to_string()),
            ("inode", node.id.to_string()),
        ];
        if let Some((major, minor)) = inode.device() {
            fields.push(("device", format!("{major}:{minor}")));
        }
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
