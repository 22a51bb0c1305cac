//! A map of a disk's bytes: files, folders, attributes.

use std::collections::BTreeMap;

/// The use of a stretch of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Bytes of a file, up to its end.
    File,
    /// The rest of a file's last block, behind its end.
    Slack,
    /// A folder's entries, or a symbolic link's target.
    Names,
    /// Extended attributes.
    Attribute,
}

impl Use {
    /// The use in words, for people.
    pub(super) fn word(self) -> &'static str {
        match self {
            Use::File => "files' blocks",
            Use::Slack => "slack behind the ends of files",
            Use::Names => "folders",
            Use::Attribute => "extended attributes",
        }
    }
}

/// Stretches of a disk by their start. Where stretches overlap, as in a broken filesystem, the one that starts last counts.
#[derive(Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, (u64, Use)>);

impl Ranges {
    /// Adds the stretch from `start` to before `end`.
    pub(super) fn add(&mut self, start: u64, end: u64, what: Use) {
        if start < end {
            self.0.insert(start, (end, what));
        }
    }

    /// The use of the byte at `offset`, none for a byte in no stretch, and the end of that use.
    pub(super) fn at(&self, offset: u64) -> (Option<Use>, u64) {
        let next = self.0.range(offset + 1..).next().map_or(u64::MAX, |(start, _)| *start);
        match self.0.range(..=offset).next_back() {
            Some((_, (end, what))) if offset < *end => (Some(*what), (*end).min(next)),
            _ => (None, next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_in_the_stretch_that_began_last() {
        let mut ranges = Ranges::default();
        ranges.add(10, 20, Use::File);
        ranges.add(20, 24, Use::Slack);
        ranges.add(30, 30, Use::Names);
        ranges.add(40, 50, Use::Names);
        let cases = [
            (0, (None, 10)),
            (10, (Some(Use::File), 20)),
            (19, (Some(Use::File), 20)),
            (20, (Some(Use::Slack), 24)),
            (24, (None, 40)),
            (49, (Some(Use::Names), 50)),
            (50, (None, u64::MAX)),
        ];
        for (offset, expected) in cases {
            assert_eq!(ranges.at(offset), expected, "at {offset}");
        }
    }
}
