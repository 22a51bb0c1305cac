//! Human-readable sizes.

use std::fmt;
use std::str::FromStr;

/// A number of bytes, displayed in binary units with at most three digits before the unit: `512 B`, `1.4 MiB`, `20
/// GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut unit, mut shift) = ("B", 0);
        // Switches the unit where rounding would give 1024 of the smaller one.
        for (n, name) in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].into_iter().enumerate() {
            if tenths(self.0, shift) >= 10_235 {
                (unit, shift) = (name, 10 * (n as u32 + 1));
            }
        }
        match tenths(self.0, shift) {
            tenths if shift > 0 && tenths < 100 => write!(f, "{}.{} {unit}", tenths / 10, tenths % 10),
            tenths => write!(f, "{} {unit}", (tenths + 5) / 10),
        }
    }
}

/// `bytes` in units of 2^`shift`, in tenths, rounded.
fn tenths(bytes: u64, shift: u32) -> u128 {
    let scaled = u128::from(bytes) * 10;
    if shift == 0 { scaled } else { (scaled + (1 << (shift - 1))) >> shift }
}

/// The accepted units as powers of two. Decimal ones are refused: 4 GB and 4 GiB are too easily confused.
const UNITS: [(&str, u32); 8] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("K", 10), ("M", 20), ("G", 30), ("T", 40)];

/// Parses a whole number and a binary unit: `2 GiB`, `512MiB`, or QEMU's `20G`.
impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{}` is not a size: expected a whole number and KiB, MiB, GiB or TiB, as in \"2 GiB\"", text.escape_debug());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, shift) = UNITS.into_iter().find(|(name, _)| *name == unit.trim_start_matches(' ')).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(1 << shift).map(Size).ok_or_else(|| format!("`{text}` is larger than any memory or disk"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_displayed() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 << 10, "10 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (20 << 30, "20 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), shown);
        }
    }

    #[test]
    fn sizes_are_parsed() {
        for (text, bytes) in [("2 GiB", 2 << 30), ("512MiB", 512 << 20), ("20G", 20 << 30), ("0K", 0)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "2", "GiB", "2 GB", "2gib", "-1G", "+1G", "1.5G", "2 G iB", "99999999999999999999G", "99999999999T"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
