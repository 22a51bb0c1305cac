//! The order of Debian versions ([deb-version(7)](https://manpages.debian.org/trixie/dpkg-dev/deb-version.7.en.html)).

use std::cmp::Ordering;

use super::Version;

impl Version {
    /// Compares two versions as dpkg does. The derived order is that of the text, and only sorts.
    pub(crate) fn compare(&self, other: &Version) -> Ordering {
        let ([epoch, upstream, revision], [epoch_2, upstream_2, revision_2]) = (parts(self.as_str()), parts(other.as_str()));
        number(epoch.as_bytes(), epoch_2.as_bytes())
            .then_with(|| part(upstream.as_bytes(), upstream_2.as_bytes()))
            .then_with(|| part(revision.as_bytes(), revision_2.as_bytes()))
    }
}

/// Epoch, upstream version and revision; a missing one is empty, which counts as 0.
fn parts(text: &str) -> [&str; 3] {
    let (epoch, rest) = text.split_once(':').unwrap_or(("", text));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    [epoch, upstream, revision]
}

/// Compares by alternating runs of other characters and of digits.
fn part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        while is_other(a) || is_other(b) {
            let order = rank(a).cmp(&rank(b));
            if order != Ordering::Equal {
                return order;
            }
            // Equal ranks of which one is not 0: both have a character.
            (a, b) = (&a[1..], &b[1..]);
        }
        let (digits_a, digits_b) = (digits(a), digits(b));
        let order = number(&a[..digits_a], &b[..digits_b]);
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (&a[digits_a..], &b[digits_b..]);
    }
    Ordering::Equal
}

fn is_other(text: &[u8]) -> bool {
    text.first().is_some_and(|byte| !byte.is_ascii_digit())
}

/// The rank of the first character: a tilde before the end, letters before all others.
fn rank(text: &[u8]) -> i32 {
    match text.first() {
        None => 0,
        Some(byte) if byte.is_ascii_digit() => 0,
        Some(b'~') => -1,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Compares digits as numbers of any length.
fn number(a: &[u8], b: &[u8]) -> Ordering {
    let bare = |text: &[u8]| text.iter().take_while(|byte| **byte == b'0').count();
    let (a, b) = (&a[bare(a)..], &b[bare(b)..]);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn compared(a: &str, b: &str) -> Ordering {
        a.parse::<Version>().unwrap().compare(&b.parse().unwrap())
    }

    #[test]
    fn versions_are_ordered_as_the_manual_says() {
        let sorted =
            ["0~~", "0~~a", "0~", "0", "0a", "0+", "1.0~rc1-1", "1.0-1", "1.0-1+b1", "1.0-1+deb12u2", "1.0-1+deb12u10", "1.0.1", "1:0.1"];
        for (at, a) in sorted.iter().enumerate() {
            for (other, b) in sorted.iter().enumerate() {
                assert_eq!(compared(a, b), at.cmp(&other), "{a} and {b}");
            }
        }
        for (a, b) in [("1.0", "1.0-0"), ("0:1", "1"), ("1.010", "1.10"), ("1", "1-00")] {
            assert_eq!(compared(a, b), Ordering::Equal, "{a} and {b}");
        }
        let huge = format!("1.{}", "9".repeat(200));
        assert_eq!(compared(&huge, "1.10"), Ordering::Greater, "longer than any machine's number");
    }

    /// The order by dpkg itself.
    fn by_dpkg(a: &str, b: &str) -> Ordering {
        let holds = |relation: &str| {
            let status = Command::new("dpkg").args(["--compare-versions", a, relation, b]).status();
            status.expect("dpkg is missing: kbake's tests run on Debian").success()
        };
        match (holds("lt"), holds("gt")) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            _ => Ordering::Equal,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn the_order_is_dpkg_s(
            a in "([0-2]:)?[0-9][0-3a~+.]{0,6}(-[0-3b~+.]{1,4})?",
            b in "([0-2]:)?[0-9][0-3a~+.]{0,6}(-[0-3b~+.]{1,4})?",
        ) {
            prop_assert_eq!(compared(&a, &b), by_dpkg(&a, &b), "{} and {}", a, b);
        }
    }
}
