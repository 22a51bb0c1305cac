//! The block size, and little-endian numbers in a block.

/// The block size in bytes.
pub(super) const BLOCK: usize = 4096;
/// The block size, for offsets.
pub(super) const BLOCK_U64: u64 = BLOCK as u64;
/// The cluster size of our qcow2 files in blocks: 64 KiB. Images can share contents that start on a cluster boundary.
pub(super) const CLUSTER: u64 = 16;

/// Writes `value` at byte `at`, little-endian.
pub(super) fn put16(buffer: &mut [u8], at: usize, value: u16) {
    buffer[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// Writes `value` at byte `at`, little-endian.
pub(super) fn put32(buffer: &mut [u8], at: usize, value: u32) {
    buffer[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Writes the low 32 bits of `value` at byte `low` and the high 32 bits at `high`.
pub(super) fn put_split(buffer: &mut [u8], (low, high): (usize, usize), value: u64) {
    put32(buffer, low, value as u32);
    put32(buffer, high, (value >> 32) as u32);
}

/// A block of zeros.
pub(super) fn zeroed() -> Vec<u8> {
    vec![0; BLOCK]
}
