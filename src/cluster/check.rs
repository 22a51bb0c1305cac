//! Who claims which addresses, and that no two claim the same.

use std::collections::BTreeMap;

use super::Range;
use crate::document::Place;
use crate::error::Result;

/// Addresses and whom they belong to.
pub(super) struct Claim {
    /// The owner, for messages: "the pod network".
    pub(super) owner: String,
    pub(super) range: Range,
    /// Where it was written, or what it was derived for.
    pub(super) place: Place,
    pub(super) layer: Layer,
}

/// Claims of one layer must not meet; claims of different layers may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    /// Whole networks: nodes, pods, services.
    Networks,
    /// Addresses of the nodes' network.
    Addresses,
    /// The nodes' shares of the pod network.
    Shares,
}

/// Proof that the claims were compared.
#[derive(Debug, Clone)]
pub(super) struct Passed(());

/// Refuses two claims of a layer that have an address in common, naming both.
pub(super) fn refuse_overlaps(claims: &[Claim]) -> Result<Passed> {
    // Sorted by their first address, any overlap shows between a claim and the one that reaches furthest before it.
    let mut sorted: Vec<(usize, &Claim)> = claims.iter().enumerate().collect();
    sorted.sort_by_key(|(at, claim)| (claim.layer, claim.range.first(), *at));
    let mut furthest: BTreeMap<Layer, (usize, &Claim)> = BTreeMap::new();
    for (at, claim) in sorted {
        let Some(&(other_at, other)) = furthest.get(&claim.layer) else {
            furthest.insert(claim.layer, (at, claim));
            continue;
        };
        if claim.range.overlaps(other.range) {
            // The later one in the file is the one to blame.
            let (first, second) = if other_at < at { (other, claim) } else { (claim, other) };
            return Err(collision(first, second));
        }
        if claim.range.last() > other.range.last() {
            furthest.insert(claim.layer, (at, claim));
        }
    }
    Ok(Passed(()))
}

fn collision(first: &Claim, second: &Claim) -> crate::error::Error {
    let message = match first.range == second.range && first.range.first() == first.range.last() {
        true => format!("{} and {} have the same address {}", second.owner, first.owner, first.range),
        false => format!("{} ({}) overlaps {} ({})", second.owner, second.range, first.owner, first.range),
    };
    first.place.note(second.place.error(message), &format!("{} is here", first.owner))
}

/// Refuses two items with the same key, naming both.
pub(super) fn refuse_twins<'a, K: Ord + std::fmt::Display>(
    items: impl IntoIterator<Item = (K, String, &'a Place)>,
    what: &str,
) -> Result<()> {
    let mut seen: BTreeMap<K, (String, &Place)> = BTreeMap::new();
    for (key, owner, place) in items {
        if let Some((first, first_place)) = seen.get(&key) {
            let error = place.error(format!("{owner} and {first} have the same {what} {key}"));
            return Err(first_place.note(error, &format!("{first} is here")));
        }
        seen.insert(key, (owner, place));
    }
    Ok(())
}
