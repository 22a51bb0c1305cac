//! UUIDs ([RFC 9562](https://www.rfc-editor.org/rfc/rfc9562)), the names of disks, partitions and filesystems.

use std::fmt;
use std::str::FromStr;

use super::Hasher;

/// A UUID, in the byte order of RFC 9562 §4 (which is also ext4's). Shown in lower case; parsed in either case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid([u8; 16]);

impl Guid {
    /// The UUID whose 32 hexadecimal digits, read as one number, are `value`.
    pub const fn from_u128(value: u128) -> Self {
        Guid(value.to_be_bytes())
    }

    /// A reproducible UUID from `namespace` (the kind of thing: "ext4 filesystem") and `name` (which one: a role, a
    /// plan's hash).
    ///
    /// Version 8 of RFC 9562 §5.8: the first bits of a SHA-256 over both texts. Each is preceded by its length, so that
    /// ("ab", "c") and ("a", "bc") differ.
    pub fn derived(namespace: &str, name: &str) -> Self {
        let mut hasher = Hasher::new();
        for text in [namespace, name] {
            hasher.update(&(text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        let digest = hasher.finish().0;
        let mut bytes: [u8; 16] = std::array::from_fn(|at| digest[at]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Guid(bytes)
    }

    /// The bytes in the order of the text, as in ext4's superblock.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The bytes as in a GPT: the first three fields little-endian, the rest in the order of the text ([UEFI 2.10,
    /// appendix A](https://uefi.org/specs/UEFI/2.10/Apx_A_GUID_and_Time_Formats.html)).
    pub fn to_mixed_endian(self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h, tail @ ..] = self.0;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&[d, c, b, a, f, e, h, g]);
        bytes[8..].copy_from_slice(&tail);
        bytes
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Guid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is not a valid UUID: expected 8-4-4-4-12 hexadecimal digits", text.escape_default());
        let groups: Vec<&str> = text.split('-').collect();
        if !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) {
            return Err(wrong());
        }
        let digits = groups.concat();
        // `from_str_radix` alone would accept a leading plus sign.
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u128::from_str_radix(&digits, 16).map(Guid::from_u128).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let guid: Guid = "0FC63DAF-8483-4772-8E79-3D69D8477DE4".parse().unwrap();
        assert_eq!(guid.to_string(), "0fc63daf-8483-4772-8e79-3d69d8477de4");
        assert_eq!(guid.to_string().parse(), Ok(guid));
        assert_eq!(guid, Guid::from_u128(0x0FC63DAF_8483_4772_8E79_3D69D8477DE4));
    }

    #[test]
    fn bad_texts_are_refused() {
        for bad in [
            "",
            "0fc63daf84834772 8e793d69d8477de4",
            "0fc63daf-8483-4772-8e79-3d69d8477de",
            "+fc63daf-8483-4772-8e79-3d69d8477de4",
            "0fc63daf-8483-4772-8e79-3d69d8477dü",
            "0fc63daf-8483-4772-8e79-3d69d8477de4-",
        ] {
            assert!(bad.parse::<Guid>().unwrap_err().contains("is not a valid UUID"), "{bad:?}");
        }
    }

    #[test]
    fn gpt_swaps_the_first_three_fields() {
        let guid = Guid::from_u128(0x00112233_4455_6677_8899_aabbccddeeff);
        let expected = [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
        assert_eq!(guid.to_mixed_endian(), expected);
    }

    #[test]
    fn derived_uuids_are_stable_and_distinct() {
        let one = Guid::derived("disk", "etcd");
        // Pinned: a change would change all images.
        assert_eq!(one.to_string(), "0a5f3433-5bc9-87bc-ba8b-965d1dd77766");
        assert_ne!(one, Guid::derived("disk", "worker"));
        assert_ne!(one, Guid::derived("partition", "etcd"));
        assert_ne!(Guid::derived("ab", "c"), Guid::derived("a", "bc"));
        for name in 0..64 {
            let text = Guid::derived("disk", &name.to_string()).to_string();
            assert_eq!(&text[14..15], "8", "version of {text}");
            assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"), "variant of {text}");
        }
    }
}
