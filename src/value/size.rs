//! Sizes as people read them.

use std::fmt;

/// A number of bytes, shown in binary units with three digits at most before the unit: `512 B`, `1.4 MiB`, `20 GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut unit, mut shift) = ("B", 0);
        // Not yet where rounding would show 1024 of a unit.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
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
}
