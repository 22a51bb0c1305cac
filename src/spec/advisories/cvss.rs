//! The base score of a CVSS 3 vector ([the specification](https://www.first.org/cvss/v3.1/specification-document), section 7.1).
//!
//! Version 4 has no formula but a table of 270 rows; its records name the severity by a word as well.

use super::Severity;

/// The severity of a vector `CVSS:3.1/AV:N/…`; none for another version, or an incomplete vector.
pub(super) fn severity(vector: &str) -> Option<Severity> {
    // Ratings by section 5.
    Some(match score(vector)? {
        0 => Severity::Unknown,
        1..=39 => Severity::Low,
        40..=69 => Severity::Medium,
        70..=89 => Severity::High,
        _ => Severity::Critical,
    })
}

/// The base score in tenths.
fn score(vector: &str) -> Option<u32> {
    let metrics = ["CVSS:3.0/", "CVSS:3.1/"].iter().find_map(|prefix| vector.strip_prefix(prefix))?;
    let value = |name: &str| metrics.split('/').find_map(|metric| metric.strip_prefix(name)?.strip_prefix(':'));
    let is_changed = match value("S")? {
        "U" => false,
        "C" => true,
        _ => return None,
    };
    let weight = |name: &str, weights: &[(&str, f64)]| {
        let value = value(name)?;
        weights.iter().find(|(letter, _)| *letter == value).map(|(_, weight)| *weight)
    };
    let loss = |name| weight(name, &[("H", 0.56), ("L", 0.22), ("N", 0.0)]);
    let base = 1.0 - (1.0 - loss("C")?) * (1.0 - loss("I")?) * (1.0 - loss("A")?);
    let impact = match is_changed {
        true => 7.52 * (base - 0.029) - 3.25 * (base - 0.02).powi(15),
        false => 6.42 * base,
    };
    let privileges = if is_changed { [("N", 0.85), ("L", 0.68), ("H", 0.5)] } else { [("N", 0.85), ("L", 0.62), ("H", 0.27)] };
    let exploitability = 8.22
        * weight("AV", &[("N", 0.85), ("A", 0.62), ("L", 0.55), ("P", 0.2)])?
        * weight("AC", &[("L", 0.77), ("H", 0.44)])?
        * weight("PR", &privileges)?
        * weight("UI", &[("N", 0.85), ("R", 0.62)])?;
    let factor = if is_changed { 1.08 } else { 1.0 };
    Some(if impact <= 0.0 { 0 } else { round_up((factor * (impact + exploitability)).min(10.0)) })
}

/// Rounds up to tenths, unaffected by errors of floating-point numbers (appendix A).
fn round_up(score: f64) -> u32 {
    ((score * 100_000.0).round() as u32).div_ceil(10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_specification_s_examples() {
        for (vector, expected) in [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Some(98)),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", Some(61)),
            ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", Some(64)),
            ("CVSS:3.0/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", Some(31)),
            ("CVSS:3.1/AV:L/AC:L/PR:H/UI:N/S:U/C:L/I:L/A:L", Some(42)),
            ("CVSS:3.0/AV:P/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Some(68)),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", Some(75)),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H/E:P/RL:O", Some(100)),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", Some(0)),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H", None),
            ("CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", None),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None),
            ("AV:N/AC:L/Au:N/C:P/I:P/A:P", None),
            ("", None),
        ] {
            assert_eq!(score(vector), expected, "{vector}");
        }
        assert_eq!(severity("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"), Some(Severity::High));
    }
}
