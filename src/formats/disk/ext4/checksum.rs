//! [Checksums](https://docs.kernel.org/filesystems/ext4/overview.html#checksums): CRC-32C, chained.
//!
//! The trap: ext4 chains the raw register, which neither starts nor ends inverted, while the `crc32c` crate (like
//! everyone else) inverts at both ends. Only this module knows both forms.

/// A running checksum in ext4's raw form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crc(u32);

impl Crc {
    /// The checksum of no bytes.
    pub(super) const START: Crc = Crc(!0);

    /// The seed of all checksums of a filesystem but the superblock's own.
    pub(super) fn of_filesystem(uuid: &[u8; 16]) -> Crc {
        Crc::START.with(uuid)
    }

    /// The seed of all checksums of an inode, its directory blocks and its extent blocks. Our inode generations are 0.
    pub(super) fn of_inode(self, number: u32) -> Crc {
        self.with(&number.to_le_bytes()).with(&[0; 4])
    }

    /// Extends the checksum by `bytes`.
    #[must_use]
    pub(super) fn with(self, bytes: &[u8]) -> Crc {
        Crc(!crc32c::crc32c_append(!self.0, bytes))
    }

    /// The value that is stored on disk.
    pub(super) fn value(self) -> u32 {
        self.0
    }

    /// The low half, where only 16 bits are stored.
    pub(super) fn low(self) -> u16 {
        self.0 as u16
    }

    /// The high half.
    pub(super) fn high(self) -> u16 {
        (self.0 >> 16) as u16
    }
}
