//! Claims on addresses, and the check that no two claims meet.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::Range;
use crate::common::document::Place;
use crate::common::error::{Error, Result};

/// Addresses and their owner.
pub(super) struct Claim {
    /// The owner, for messages: "the pod network".
    pub(super) owner: String,
    pub(super) range: Range,
    /// The place where it was written, or of what it was derived for.
    pub(super) place: Place,
    pub(super) layer: Layer,
    /// The setting that could give a value that was not given: "`cidr` in [pods]".
    pub(super) default_of: Option<&'static str>,
}

/// A layer of claims. Claims of one layer must not meet; claims of different layers may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    /// Whole networks (nodes, pods, services), and machines outside of them.
    Networks,
    /// Addresses of the nodes' network.
    Addresses,
    /// The nodes' shares of the pod network.
    Shares,
}

impl Layer {
    /// The remedy when two claims meet.
    fn remedy(self) -> &'static str {
        match self {
            Layer::Networks => "give one of them other addresses: packets are sent by address alone",
            Layer::Addresses => "move one of them; a node without `address` gets one that is free",
            Layer::Shares => "move one of them; a node without `pod-cidr` gets a share that is free",
        }
    }
}

/// Proof that the claims were compared.
#[derive(Debug, Clone)]
pub(super) struct Passed(());

/// Refuses two claims of a layer that have an address in common, naming both.
pub(super) fn refuse_overlaps(claims: &[Claim]) -> Result<Passed> {
    // Sorted by first address, every overlap shows between a claim and the one that reaches furthest before it.
    let mut sorted: Vec<(usize, &Claim)> = claims.iter().enumerate().collect();
    sorted.sort_by_key(|(at, claim)| (claim.layer, claim.range.first(), *at));
    let mut furthest: BTreeMap<Layer, (usize, &Claim)> = BTreeMap::new();
    for (at, claim) in sorted {
        let Some(&(other_at, other)) = furthest.get(&claim.layer) else {
            furthest.insert(claim.layer, (at, claim));
            continue;
        };
        if claim.range.overlaps(other.range) {
            // The later claim is the one to blame.
            let (first, second) = if other_at < at { (other, claim) } else { (claim, other) };
            return Err(collision(first, second));
        }
        if claim.range.last() > other.range.last() {
            furthest.insert(claim.layer, (at, claim));
        }
    }
    Ok(Passed(()))
}

fn collision(first: &Claim, second: &Claim) -> Error {
    let is_one = |claim: &Claim| claim.range.first() == claim.range.last();
    let within = |one: &Claim, range: &Claim| format!("{} ({}) lies within {} ({})", one.owner, one.range, range.owner, range.range);
    let message = match (is_one(first), is_one(second)) {
        (true, true) => format!("{} and {} have the same address {}", second.owner, first.owner, first.range),
        (false, true) => within(second, first),
        (true, false) => within(first, second),
        (false, false) => format!("{} ({}) overlaps {} ({})", second.owner, second.range, first.owner, first.range),
    };
    // A network by default stands nowhere; the default of an address follows from the network's line.
    let stands = |claim: &Claim| claim.default_of.is_none() || claim.layer == Layer::Addresses;
    let error = match (stands(first), stands(second)) {
        (true, true) => first.place.note(second.place.error(message), &format!("{} is here", first.owner)),
        (false, _) => second.place.error(message),
        (true, false) => first.place.error(message),
    };
    match second.default_of.or(first.default_of) {
        Some(key) => error.hint(format!("one of them is a default, which {key} replaces")),
        None => error.hint(second.layer.remedy()),
    }
}

/// Refuses two items with the same key, naming both.
pub(super) fn refuse_duplicates<'a, K: Ord + Display>(items: impl IntoIterator<Item = (K, String, &'a Place)>, what: &str) -> Result<()> {
    let mut seen: BTreeMap<K, (String, &Place)> = BTreeMap::new();
    for (key, owner, place) in items {
        if let Some((first, first_place)) = seen.get(&key) {
            let (other, here) = match owner == *first {
                true => ("another one", "the other one"),
                false => (first.as_str(), first.as_str()),
            };
            let error = place.error(format!("{owner} and {other} have the same {what} {key}"));
            return Err(first_place.note(error, &format!("{here} is here")));
        }
        seen.insert(key, (owner, place));
    }
    Ok(())
}

/// Refuses a list with a repeated item.
pub(super) fn refuse_repeats<'a, K: Ord>(items: impl IntoIterator<Item = (K, String, &'a Place)>) -> Result<()> {
    let mut seen: BTreeMap<K, &Place> = BTreeMap::new();
    for (key, what, place) in items {
        if let Some(first) = seen.get(&key) {
            return Err(first.note(place.error(format!("{what} is given twice")), "first here").hint("remove one of them"));
        }
        seen.insert(key, place);
    }
    Ok(())
}
