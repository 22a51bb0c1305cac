//! A secret that was found, and helpers of the tests that find secrets.

use super::Kind;

/// Bytes that a test may read before its anchor.
pub(super) const BACK: usize = 512;
/// Bytes that a test may read behind its anchor: an RSA key of 16384 bits, OpenSSL's largest, has 9300.
pub(super) const AHEAD: usize = 10 << 10;

/// A kind of secret. Holds no byte of the secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Secret {
    pub kind: Kind,
    /// The exact format, for people: `PEM, RSA PRIVATE KEY`.
    pub what: String,
}

/// A secret and its place in the bytes that were searched.
pub(super) struct Found {
    pub start: usize,
    /// Length in bytes, as far as the test read it.
    pub len: usize,
    pub secret: Secret,
}

/// Counts the bytes from the start for which `is` holds.
pub(super) fn run(bytes: &[u8], is: fn(u8) -> bool) -> usize {
    bytes.iter().position(|&byte| !is(byte)).unwrap_or(bytes.len())
}

/// The value behind `at`: after one to eight bytes of `between`, at least `least` bytes for which `is` holds.
pub(super) fn value_after<'a>(bytes: &'a [u8], at: usize, between: &[u8], is: fn(u8) -> bool, least: usize) -> Option<&'a [u8]> {
    let rest = bytes.get(at..)?;
    let gap = rest.iter().take(9).position(|byte| !between.contains(byte)).filter(|gap| *gap > 0)?;
    let value = &rest[gap..gap + run(&rest[gap..], is)];
    (value.len() >= least).then_some(value)
}
