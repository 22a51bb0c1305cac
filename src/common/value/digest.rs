//! SHA-256 digests, which identify blobs, and SHA-512 digests, which some publishers provide instead ([FIPS
//! 180-4](https://doi.org/10.6028/NIST.FIPS.180-4)).

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

macro_rules! digest {
    ($name:ident, $hasher:ident, $hash:ty, $bytes:literal, $called:literal, $prefix:literal) => {
        #[doc = concat!("A ", $called, " digest. Shown and parsed as lower-case hexadecimal digits.")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The digest of `bytes`.
            pub fn of(bytes: impl AsRef<[u8]>) -> Self {
                $name(<$hash>::digest(bytes.as_ref()).into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Plans print tens of thousands of digests: one write each, not one per byte.
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let mut text = [0; 2 * $bytes];
                for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
                    pair[0] = DIGITS[usize::from(byte >> 4)];
                    pair[1] = DIGITS[usize::from(byte & 0xf)];
                }
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, ":{}"), self)
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let mut bytes = [0; $bytes];
                digits(text, &mut bytes, $called)?;
                Ok($name(bytes))
            }
        }

        /// Hashes a stream incrementally.
        #[derive(Clone, Default)]
        pub struct $hasher($hash);

        impl $hasher {
            /// A hasher of no bytes yet.
            pub fn new() -> Self {
                Self::default()
            }

            /// Adds the next bytes.
            pub fn update(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }

            /// The digest of all bytes.
            pub fn finish(self) -> $name {
                $name(self.0.finalize().into())
            }
        }
    };
}

digest!(Sha256, Hasher, sha2::Sha256, 32, "SHA-256", "sha256");
digest!(Sha512, Hasher512, sha2::Sha512, 64, "SHA-512", "sha512");

/// Parses hexadecimal digits, in lower case only: otherwise a blob would have two names.
fn digits(text: &str, bytes: &mut [u8], called: &str) -> Result<(), String> {
    let digits = text.as_bytes();
    if digits.len() != 2 * bytes.len() {
        return Err(format!("a {called} digest has {} hexadecimal digits, not {}", 2 * bytes.len(), digits.len()));
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Ok(c - b'0'),
            b'a'..=b'f' => Ok(c - b'a' + 10),
            _ => Err(format!("`{}` is not a lower-case hexadecimal digit", (c as char).escape_default())),
        };
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_round_trips_through_text() {
        let digest = Sha256::of(b"abc");
        // The first example of FIPS 180-4.
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn bad_digests_are_refused() {
        assert!("abc".parse::<Sha256>().unwrap_err().contains("64 hexadecimal digits, not 3"));
        assert!("G".repeat(64).parse::<Sha256>().unwrap_err().contains("`G` is not a"));
        assert!("A".repeat(64).parse::<Sha256>().is_err(), "upper case would give one blob two names");
    }
}
