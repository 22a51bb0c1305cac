//! The header of a qcow2 file: [specification](https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.txt),
//! sections "Header", "Header extensions" and "Feature name table". All numbers are big-endian.

use super::{CLUSTER_BITS, REFCOUNT_ORDER};

/// Bytes 0–3: `QFI` and 0xfb.
const MAGIC: u32 = 0x5146_49fb;
/// Bytes 4–7.
const VERSION: u32 = 3;
/// Bytes 72–79, bit 3: the compression type is not zlib.
const INCOMPATIBLE_COMPRESSION: u64 = 1 << 3;
/// Bytes 100–103: the length that QEMU writes since the compression type (byte 104) was added.
const HEADER_LENGTH: u32 = 112;
/// Byte 104: zstd.
const COMPRESSION_ZSTD: u8 = 1;
/// The type of the feature name table extension.
const FEATURE_NAME_TABLE: u32 = 0x6803_f857;
/// The length of a feature's name in the table, in bytes.
const FEATURE_NAME_LENGTH: usize = 46;
/// The type of the backing file format extension.
const BACKING_FORMAT: u32 = 0xe279_2aca;

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// A disk, in clusters compressed with zstd.
    Whole,
    /// An empty disk without a backing file.
    Empty,
    /// An empty disk over a backing file of this name and format.
    Overlay { backing: &'a str, format: &'a str },
}

/// The fields that differ between files.
pub(super) struct Header<'a> {
    pub kind: Kind<'a>,
    /// Bytes 24–31: the disk's size in bytes.
    pub virtual_size: u64,
    /// Bytes 36–39: entries of the L1 table.
    pub l1_size: u32,
    /// Bytes 40–47: the offset of the L1 table.
    pub l1_offset: u64,
    /// Bytes 48–55: the offset of the refcount table.
    pub refcount_table_offset: u64,
    /// Bytes 56–59: the length of the refcount table.
    pub refcount_table_clusters: u32,
}

impl Header<'_> {
    /// The bytes from the start of the file, with the header extensions and the backing file's name, which must be in
    /// the first cluster. No encryption or snapshots.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (extensions, backing, incompatible, compression) = match self.kind {
            Kind::Whole => (feature_names(), "", INCOMPATIBLE_COMPRESSION, COMPRESSION_ZSTD),
            Kind::Empty => (feature_names(), "", 0, 0),
            // QEMU then compresses by zlib, the type that needs no feature bit.
            Kind::Overlay { backing, format } => ([backing_format(format), feature_names()].concat(), backing, 0, 0),
        };
        // The name follows the extensions. Without one, both fields are zero.
        let backing_offset = if backing.is_empty() { 0 } else { u64::from(HEADER_LENGTH) + extensions.len() as u64 };

        let mut bytes = Vec::with_capacity(2048);
        let mut put = |field: &[u8]| bytes.extend_from_slice(field);
        put(&MAGIC.to_be_bytes());
        put(&VERSION.to_be_bytes());
        put(&backing_offset.to_be_bytes());
        put(&(backing.len() as u32).to_be_bytes());
        put(&CLUSTER_BITS.to_be_bytes());
        put(&self.virtual_size.to_be_bytes());
        put(&[0; 4]); // 32–35: encryption
        put(&self.l1_size.to_be_bytes());
        put(&self.l1_offset.to_be_bytes());
        put(&self.refcount_table_offset.to_be_bytes());
        put(&self.refcount_table_clusters.to_be_bytes());
        put(&[0; 12]); // 60–71: snapshots
        put(&incompatible.to_be_bytes());
        put(&[0; 16]); // 80–95: compatible and auto-clear features
        put(&REFCOUNT_ORDER.to_be_bytes());
        put(&HEADER_LENGTH.to_be_bytes());
        put(&[compression, 0, 0, 0, 0, 0, 0, 0]); // 104–111: and padding
        debug_assert_eq!(bytes.len(), HEADER_LENGTH as usize);
        bytes.extend_from_slice(&extensions);
        bytes.extend_from_slice(backing.as_bytes());
        bytes
    }
}

/// The backing file format extension. Without it QEMU would warn, and guess the backing file's format from its
/// contents: a raw disk could then pose as a qcow2 that names any file of the host.
fn backing_format(format: &str) -> Vec<u8> {
    let mut bytes = BACKING_FORMAT.to_be_bytes().to_vec();
    bytes.extend_from_slice(&(format.len() as u32).to_be_bytes());
    bytes.extend_from_slice(format.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// The feature name table and the end of the extensions. A QEMU before 5.1 cannot read zstd; with the table its error
/// names the missing feature "compression type" instead of a bit number.
fn feature_names() -> Vec<u8> {
    let mut entry = vec![0; 2 + FEATURE_NAME_LENGTH];
    entry[0] = 0; // an incompatible feature
    entry[1] = 3; // its bit
    let name = b"compression type";
    entry[2..][..name.len()].copy_from_slice(name);

    let mut bytes = FEATURE_NAME_TABLE.to_be_bytes().to_vec();
    bytes.extend_from_slice(&(entry.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&entry); // 48 bytes: a multiple of 8, as an extension must be
    bytes.extend_from_slice(&[0; 8]); // type 0, length 0: the end
    bytes
}
