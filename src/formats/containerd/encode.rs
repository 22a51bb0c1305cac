//! Values in the encodings of Go's standard library.

use crate::common::value::Epoch;

/// Seconds from the year 1 to 1970.
const BEFORE_1970: i64 = 62_135_596_800;

/// A time in UTC ([`Time.MarshalBinary`](https://pkg.go.dev/time#Time.MarshalBinary)): version, seconds since the year 1 and
/// nanoseconds in big-endian, and an offset of -1 for UTC.
pub(super) fn time(epoch: Epoch) -> Vec<u8> {
    let seconds = BEFORE_1970 + i64::from(epoch.seconds());
    [&[1][..], &seconds.to_be_bytes(), &0u32.to_be_bytes(), &(-1i16).to_be_bytes()].concat()
}

/// [`binary.PutUvarint`](https://pkg.go.dev/encoding/binary#PutUvarint).
pub(super) fn unsigned(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// [`binary.PutVarint`](https://pkg.go.dev/encoding/binary#PutVarint) of a number that is not negative.
pub(super) fn signed(number: u64) -> Vec<u8> {
    unsigned(number << 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_match_go() {
        assert_eq!(unsigned(0), [0]);
        assert_eq!(unsigned(300), [0xac, 2]);
        assert_eq!(signed(4), [8]);
        assert_eq!(signed(64), [0x80, 1]);
    }

    #[test]
    fn times_match_go() {
        // time.Unix(1767225600, 0).UTC()
        let epoch = Epoch::from_seconds(1_767_225_600).unwrap();
        assert_eq!(time(epoch), [1, 0, 0, 0, 14, 224, 231, 176, 0, 0, 0, 0, 0, 255, 255]);
    }
}
