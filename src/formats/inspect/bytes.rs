//! Decoding of numbers and texts in on-disk structures.

/// A little-endian number of two bytes; zero where `bytes` ends before.
pub(super) fn le16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u16::from_le_bytes(*chunk))
}

/// A little-endian number of four bytes; zero where `bytes` ends before.
pub(super) fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

/// A little-endian number of eight bytes; zero where `bytes` ends before.
pub(super) fn le64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// A 64-bit number from its two halves.
pub(super) fn wide(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// The text before the first NUL, for people.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).escape_debug().to_string()
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// True when all bytes are zero.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    // Word by word: whole disks pass through here.
    let (words, tail) = bytes.as_chunks::<16>();
    words.iter().all(|word| *word == [0; 16]) && tail.iter().all(|&byte| byte == 0)
}
