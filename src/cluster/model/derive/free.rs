//! Search for unclaimed addresses, in ascending order.

use std::net::Ipv4Addr;

use super::super::{Net, Range};

/// Addresses that are taken, prepared for many look-ups: sorted, without overlaps.
pub(in super::super) struct Taken(Vec<Range>);

impl Taken {
    pub(in super::super) fn new(mut ranges: Vec<Range>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<Range> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if last.overlaps(range) => *last = last.joined(range),
                _ => merged.push(range),
            }
        }
        Taken(merged)
    }

    /// The last taken range that has an address in common with `wanted`.
    fn blocker(&self, wanted: Range) -> Option<Range> {
        let behind = self.0.partition_point(|range| range.first() <= wanted.last());
        self.0[..behind].last().copied().filter(|range| range.overlaps(wanted))
    }
}

/// Free addresses of `cidr`: from its `start`-th up, then those below. Never the network's own and the broadcast address.
pub(in super::super) fn addresses(taken: &Taken, cidr: Net, start: u32) -> impl Iterator<Item = Ipv4Addr> {
    let first = cidr.first().to_bits();
    // The `start`-th lies inside, and the last address is above it.
    let (middle, end) = (first + start, cidr.last().to_bits());
    stretch(taken, middle, end).chain(stretch(taken, first + 1, middle))
}

/// Free addresses from `next` to before `end`.
fn stretch(taken: &Taken, mut next: u32, end: u32) -> impl Iterator<Item = Ipv4Addr> {
    std::iter::from_fn(move || {
        while next < end {
            let candidate = Ipv4Addr::from(next);
            let blocker = taken.blocker(Range::one(candidate));
            next = blocker.map_or(next, |range| range.last().to_bits()).saturating_add(1);
            if blocker.is_none() {
                return Some(candidate);
            }
        }
        None
    })
}

/// Free networks of `prefix` bits within `whole`, in order.
pub(in super::super) fn subnets(taken: &Taken, whole: Net, prefix: u8) -> impl Iterator<Item = Net> {
    let mut n = 0;
    std::iter::from_fn(move || {
        loop {
            let candidate = whole.subnet(prefix, n)?;
            let blocker = taken.blocker(candidate.range());
            let last = blocker.map_or(candidate.last(), Range::last).min(whole.last());
            // The first one behind the blocker, or else behind the candidate. Prefixes of pods have 8 to 28 bits.
            n = ((last.to_bits() - whole.first().to_bits()) >> (32 - prefix)) + 1;
            if blocker.is_none() {
                return Some(candidate);
            }
        }
    })
}
