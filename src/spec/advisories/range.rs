//! Ranges of affected versions
//! ([OSV, `affected[].ranges`](https://ossf.github.io/osv-schema/#affectedranges-field)), ordered by Semantic Versioning.

use std::cmp::Ordering;

use semver::Version;

/// A range of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Range {
    /// The versions between these events.
    Events(Vec<Event>),
    /// It has a version that cannot be ordered: every version may be in it.
    All,
}

/// The first version of a run of affected or unaffected ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// The first affected version; none for the first of all.
    Introduced(Option<Version>),
    /// The first version with the fix, as parsed and as text.
    Fixed(Version, String),
    /// The last affected version.
    LastAffected(Version),
}

impl Range {
    /// True if the version is in the range.
    pub(super) fn has(&self, version: &Version) -> bool {
        let Range::Events(events) = self else { return true };
        // An event's kind decides if the version itself is behind it.
        let is_behind = |event: &&Event| match event {
            Event::Introduced(None) => true,
            Event::Introduced(Some(first)) | Event::Fixed(first, _) => version.cmp_precedence(first) != Ordering::Less,
            Event::LastAffected(last) => version.cmp_precedence(last) == Ordering::Greater,
        };
        let last = events.iter().filter(is_behind).max_by(|a, b| order(a, b));
        matches!(last, Some(Event::Introduced(_)))
    }

    /// The first fixed version behind `version`.
    pub(super) fn fix(&self, version: &Version) -> Option<&str> {
        let Range::Events(events) = self else { return None };
        let fixes = events.iter().filter_map(|event| match event {
            Event::Fixed(first, text) if first.cmp_precedence(version) == Ordering::Greater => Some((first, text)),
            _ => None,
        });
        fixes.min_by(|a, b| a.0.cmp_precedence(b.0)).map(|(_, text)| text.as_str())
    }
}

/// The order of events. At one version an introduction comes last: the version itself is affected then.
fn order(a: &Event, b: &Event) -> Ordering {
    let key = |event: &Event| match event {
        Event::Introduced(version) => (version.clone(), 1),
        Event::Fixed(version, _) | Event::LastAffected(version) => (Some(version.clone()), 0),
    };
    let ((a, kind_a), (b, kind_b)) = (key(a), key(b));
    let versions = match (a, b) {
        (Some(a), Some(b)) => a.cmp_precedence(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    versions.then(kind_a.cmp(&kind_b))
}

/// A version of a Go module or of Go itself: `v1.2.3`, `1.26.8`, `1.21rc2`, `1.20`.
pub(super) fn version(text: &str) -> Option<Version> {
    let text = text.strip_prefix("go").unwrap_or(text);
    let text = text.strip_prefix('v').unwrap_or(text);
    if let Ok(version) = text.parse() {
        return Some(version);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let padded = match numbers.matches('.').count() {
        0 => format!("{numbers}.0.0"),
        1 => format!("{numbers}.0"),
        _ => numbers.to_owned(),
    };
    // Go's own pre-releases: `rc2` is `rc.2`, so that `rc10` is newer.
    let letters = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
    let rest = match rest.split_at(letters) {
        ("", rest) => rest.to_owned(),
        (word, "") => format!("-{word}"),
        (word, number) => format!("-{word}.{number}"),
    };
    format!("{padded}{rest}").parse().ok()
}

/// True for a version made from a commit: a working copy between two releases.
pub(super) fn is_of_a_commit(version: &Version) -> bool {
    // The time of the commit and its hash, behind `0.` if a release came before it.
    let last = version.pre.rsplit('.').next().unwrap_or_default();
    last.split_once('-').is_some_and(|(time, hash)| time.len() == 14 && hash.len() == 12 && time.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(events: &[(&str, &str)]) -> Range {
        let event = |(kind, text): &(&str, &str)| match *kind {
            "introduced" if *text == "0" => Event::Introduced(None),
            "introduced" => Event::Introduced(version(text)),
            "fixed" => Event::Fixed(version(text).unwrap(), (*text).to_owned()),
            _ => Event::LastAffected(version(text).unwrap()),
        };
        Range::Events(events.iter().map(event).collect())
    }

    #[test]
    fn a_version_is_in_a_range_between_its_events() {
        let two = range(&[("introduced", "1.31.0"), ("fixed", "1.31.4"), ("introduced", "0"), ("fixed", "1.30.9")]);
        for (text, is_in, fix) in [
            ("0.0.1", true, Some("1.30.9")),
            ("1.30.8", true, Some("1.30.9")),
            ("1.30.9-rc.1", true, Some("1.30.9")),
            ("1.30.9", false, Some("1.31.4")),
            ("1.31.0", true, Some("1.31.4")),
            ("1.31.3+build", true, Some("1.31.4")),
            ("1.31.4", false, None),
            ("1.32.0", false, None),
        ] {
            let version = version(text).unwrap();
            assert_eq!((two.has(&version), two.fix(&version)), (is_in, fix), "{text}");
        }
        let last = range(&[("introduced", "1.0.0"), ("last", "1.5.0")]);
        for (text, is_in) in [("0.9.0", false), ("1.0.0", true), ("1.5.0", true), ("1.5.1", false)] {
            assert_eq!(last.has(&version(text).unwrap()), is_in, "{text}");
        }
        assert!(!range(&[]).has(&version("1.0.0").unwrap()));
        assert!(range(&[("introduced", "0")]).has(&version("99.0.0").unwrap()), "without a fix");
        assert!(Range::All.has(&version("1.0.0").unwrap()));
        let again = range(&[("introduced", "0"), ("fixed", "1.0.0"), ("introduced", "1.0.0")]);
        assert!(again.has(&version("1.0.0").unwrap()), "fixed and introduced again at once");
    }

    #[test]
    fn versions_of_go_and_of_modules_are_ordered_together() {
        let sorted = ["1.21rc2", "1.21rc10", "1.21", "1.21.1", "v1.22.0-0", "go1.22beta1", "1.22.0", "v2.0.0+incompatible"];
        let versions: Vec<Version> = sorted.iter().map(|text| version(text).unwrap_or_else(|| panic!("{text}"))).collect();
        assert!(versions.is_sorted_by(|a, b| a.cmp_precedence(b) == Ordering::Less), "{versions:?}");
        for text in [
            "v0.0.0-20230101000000-abcdef123456",
            "v1.2.4-0.20230101000000-abcdef123456+dirty",
            "v1.2.3-rc.1.0.20230101000000-abcdef123456",
        ] {
            assert!(is_of_a_commit(&version(text).unwrap()), "{text}");
        }
        for text in ["1.2.3", "1.2.3-rc.1", "3.6.8-0"] {
            assert!(!is_of_a_commit(&version(text).unwrap()), "{text}");
        }
        for text in ["", "x", "devel", "1.2.3.4", "1..2"] {
            assert_eq!(version(text), None, "{text}");
        }
    }
}
