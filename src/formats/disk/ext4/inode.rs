//! [Inodes](https://docs.kernel.org/filesystems/ext4/dynamic.html#index-nodes).

use crate::common::tree::Meta;
use crate::common::value::Epoch;

use super::block::{BLOCK_U64, put_split, put16, put32};
use super::checksum::Crc;

/// The size of an inode in bytes.
pub(super) const SIZE: usize = 256;
/// The offset of the attributes that are stored in the inode: after its fields.
pub(super) const ATTRIBUTES: usize = 128 + EXTRA as usize;
/// The size of the fields in the inode's second half (`i_extra_isize`), in bytes.
pub(super) const EXTRA: u16 = 32;
/// The root directory.
pub(super) const ROOT: u32 = 2;
/// The resize inode: it reserves room for further group descriptors.
pub(super) const RESIZE: u32 = 7;
/// The journal.
pub(super) const JOURNAL: u32 = 8;
/// The first inode that is not reserved; by convention lost+found.
pub(super) const LOST_FOUND: u32 = 11;

/// `i_flags`: a directory with a hash index.
pub(super) const INDEX_FLAG: u32 = 0x1000;
/// `i_flags`: the block map is an extent tree.
pub(super) const EXTENTS_FLAG: u32 = 0x8_0000;

/// Field offsets in `struct ext4_inode`, by the names that it has for them without `i_`. A pair is the low and the high
/// part, or a time and its extra field.
mod field {
    pub(super) const MODE: usize = 0x00;
    pub(super) const UID: (usize, usize) = (0x02, 0x78);
    pub(super) const SIZE: (usize, usize) = (0x04, 0x6C);
    pub(super) const ATIME: (usize, usize) = (0x08, 0x8C);
    pub(super) const CTIME: (usize, usize) = (0x0C, 0x84);
    pub(super) const MTIME: (usize, usize) = (0x10, 0x88);
    pub(super) const GID: (usize, usize) = (0x18, 0x7A);
    pub(super) const LINKS_COUNT: usize = 0x1A;
    pub(super) const BLOCKS: (usize, usize) = (0x1C, 0x74);
    pub(super) const FLAGS: usize = 0x20;
    pub(super) const BLOCK: usize = 0x28;
    pub(super) const FILE_ACL: (usize, usize) = (0x68, 0x76);
    pub(super) const CHECKSUM: (usize, usize) = (0x7C, 0x82);
    pub(super) const EXTRA_ISIZE: usize = 0x80;
    pub(super) const CRTIME: (usize, usize) = (0x90, 0x94);
}

/// File types, as stored in `i_mode` and, by another number, in directory entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A character device.
    CharDev,
    /// A block device.
    BlockDev,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A symbolic link.
    Symlink,
}

impl Type {
    /// The bits of `i_mode`.
    pub(super) fn mode(self) -> u16 {
        match self {
            Type::Fifo => 0o010_000,
            Type::CharDev => 0o020_000,
            Type::Dir => 0o040_000,
            Type::BlockDev => 0o060_000,
            Type::File => 0o100_000,
            Type::Symlink => 0o120_000,
            Type::Socket => 0o140_000,
        }
    }

    /// The number in a directory entry.
    pub(super) fn entry(self) -> u8 {
        match self {
            Type::File => 1,
            Type::Dir => 2,
            Type::CharDev => 3,
            Type::BlockDev => 4,
            Type::Fifo => 5,
            Type::Socket => 6,
            Type::Symlink => 7,
        }
    }
}

/// An inode to encode.
#[derive(Debug, Clone)]
pub(super) struct Inode<'a> {
    /// The inode number.
    pub number: u32,
    /// File type.
    pub kind: Type,
    /// Owner, permissions and modification time.
    pub meta: &'a Meta,
    /// The link count.
    pub links: u16,
    /// The length in bytes.
    pub size: u64,
    /// The number of blocks in use: data, extent tree and attributes.
    pub blocks: u64,
    /// `i_flags`.
    pub flags: u32,
    /// `i_block`: extents, a short symlink's target, or a device number.
    pub map: [u8; 60],
    /// The block of attributes, if there is one.
    pub xattr_block: Option<u64>,
    /// The attributes stored in the inode.
    pub xattrs: &'a [u8],
}

impl Inode<'_> {
    /// Encodes the inode with its checksum. Access, change and creation time are `epoch`.
    pub(super) fn encode(&self, epoch: Epoch, seed: Crc) -> [u8; SIZE] {
        let mut raw = [0; SIZE];
        let now = i64::from(epoch.seconds());
        let sectors = self.blocks * (BLOCK_U64 / 512);
        let attributes = self.xattr_block.unwrap_or(0);
        put16(&mut raw, field::MODE, self.kind.mode() | (self.meta.mode & 0o7777));
        put16(&mut raw, field::UID.0, self.meta.uid as u16);
        put16(&mut raw, field::UID.1, (self.meta.uid >> 16) as u16);
        put_split(&mut raw, field::SIZE, self.size);
        put_time(&mut raw, field::ATIME, now);
        put_time(&mut raw, field::CTIME, now);
        put_time(&mut raw, field::MTIME, self.meta.mtime);
        put_time(&mut raw, field::CRTIME, now);
        put16(&mut raw, field::GID.0, self.meta.gid as u16);
        put16(&mut raw, field::GID.1, (self.meta.gid >> 16) as u16);
        put16(&mut raw, field::LINKS_COUNT, self.links);
        put32(&mut raw, field::BLOCKS.0, sectors as u32);
        put16(&mut raw, field::BLOCKS.1, (sectors >> 32) as u16);
        put32(&mut raw, field::FLAGS, self.flags);
        raw[field::BLOCK..field::BLOCK + self.map.len()].copy_from_slice(&self.map);
        put32(&mut raw, field::FILE_ACL.0, attributes as u32);
        put16(&mut raw, field::FILE_ACL.1, (attributes >> 32) as u16);
        put16(&mut raw, field::EXTRA_ISIZE, EXTRA);
        raw[ATTRIBUTES..ATTRIBUTES + self.xattrs.len()].copy_from_slice(self.xattrs);
        let checksum = seed.of_inode(self.number).with(&raw);
        put16(&mut raw, field::CHECKSUM.0, checksum.low());
        put16(&mut raw, field::CHECKSUM.1, checksum.high());
        raw
    }
}

/// True if [`put_time`] can store `seconds`: 1901-12-13 to 2446-05-10.
pub(super) fn time_fits(seconds: i64) -> bool {
    (-(1 << 31)..(1 << 34) - (1 << 31)).contains(&seconds)
}

/// Writes a time: 32 signed bits, and two bits above them in the extra field, the rest of which is nanoseconds (0 here).
/// The trap: the two bits count from the signed value, so 2038 is `0x8000_0000` with an epoch of 1, not of 0.
fn put_time(raw: &mut [u8], (at, extra): (usize, usize), seconds: i64) {
    let low = seconds as i32;
    put32(raw, at, low as u32);
    put32(raw, extra, ((seconds - i64::from(low)) >> 32) as u32 & 3);
}

/// A device number as `i_block`: the old 16-bit form if it fits, else the new 32-bit form in the second word.
pub(super) fn device(major: u32, minor: u32) -> Option<[u8; 60]> {
    let mut map = [0; 60];
    if major < 1 << 8 && minor < 1 << 8 {
        put32(&mut map, 0, major << 8 | minor);
    } else if major < 1 << 12 && minor < 1 << 20 {
        put32(&mut map, 4, (minor & 0xFF) | major << 8 | (minor & !0xFF) << 12);
    } else {
        return None;
    }
    Some(map)
}
