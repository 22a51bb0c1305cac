//! Networks and ranges, compared with sets of addresses, in the 1024 addresses of 10.0.0.0/22.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use crate::cluster::model::derive::free::{Taken, addresses, subnets};
use crate::cluster::model::{Net, Range};

const WORLD: u32 = 0x0a00_0000;

fn world() -> Net {
    "10.0.0.0/22".parse().unwrap()
}

fn net() -> impl Strategy<Value = Net> {
    (22u8..=32, 0u32..1024).prop_map(|(prefix, at)| {
        let first = (WORLD + at) & !((1u64 << (32 - prefix)) as u32).wrapping_sub(1);
        format!("{}/{prefix}", Ipv4Addr::from(first)).parse().unwrap()
    })
}

fn range() -> impl Strategy<Value = Range> {
    (0u32..1024, 0u32..1024).prop_map(|(a, b)| {
        let ends = [a.min(b), a.max(b)].map(|end| Ipv4Addr::from(WORLD + end));
        format!("{}-{}", ends[0], ends[1]).parse().unwrap()
    })
}

/// Every address of a range.
fn all(range: Range) -> BTreeSet<Ipv4Addr> {
    (range.first().to_bits()..=range.last().to_bits()).map(Ipv4Addr::from).collect()
}

proptest! {
    #[test]
    fn nets_are_their_addresses(one in net(), two in net(), n in 0u32..1100, prefix in 20u8..=32) {
        let (mine, theirs) = (all(one.range()), all(two.range()));
        prop_assert_eq!(one.to_string().parse::<Net>(), Ok(one));
        prop_assert_eq!(mine.len(), 1 << (32 - one.prefix()));
        prop_assert_eq!((Some(&one.first()), Some(&one.last())), (mine.first(), mine.last()));
        prop_assert_eq!(one.nth(n), mine.iter().nth(n as usize).copied());
        prop_assert_eq!(one.contains_net(two), mine.is_superset(&theirs));
        prop_assert!(all(world().range()).iter().all(|address| one.contains(*address) == mine.contains(address)));
        prop_assert!(mine.iter().all(|address| address.to_bits() & one.mask().to_bits() == one.first().to_bits()));
        // Subnets cut the whole into equal pieces, and nothing is left behind them.
        let pieces: Vec<Net> = (0..).map_while(|n| one.subnet(prefix, n)).collect();
        let cut: BTreeSet<Ipv4Addr> = pieces.iter().flat_map(|piece| all(piece.range())).collect();
        prop_assert_eq!(pieces.len(), if prefix < one.prefix() { 0 } else { 1 << (prefix - one.prefix()) });
        prop_assert!(pieces.is_empty() || cut == mine);
        for (n, piece) in pieces.iter().enumerate() {
            prop_assert_eq!(pieces[0].forth(n as u32), Some(*piece));
        }
    }

    #[test]
    fn ranges_are_their_addresses(one in range(), two in range()) {
        let (mine, theirs) = (all(one), all(two));
        prop_assert_eq!(one.overlaps(two), !mine.is_disjoint(&theirs));
        prop_assert_eq!(one.holds(two), mine.is_superset(&theirs));
        if one.overlaps(two) {
            prop_assert_eq!(all(one.joined(two)), &mine | &theirs);
        }
        if one.first() != one.last() {
            prop_assert_eq!(one.to_string().parse::<Range>(), Ok(one));
        }
    }

    /// Free addresses come in order, and are exactly the untaken ones.
    #[test]
    fn free_is_what_is_not_taken(ranges in prop::collection::vec(range(), 0..12), small in prop::collection::vec(net(), 0..12), cidr in net(), prefix in 24u8..=30) {
        let ranges: Vec<Range> = small.iter().map(|net| net.range()).chain(ranges.into_iter().filter(|range| range.last().to_bits() - range.first().to_bits() < 200)).collect();
        let used: BTreeSet<Ipv4Addr> = ranges.iter().flat_map(|range| all(*range)).collect();
        let taken = Taken::new(ranges);
        let free: Vec<Net> = subnets(&taken, world(), prefix).collect();
        let expected: Vec<Net> = (0..).map_while(|n| world().subnet(prefix, n)).filter(|net| all(net.range()).is_disjoint(&used)).collect();
        prop_assert_eq!(free, expected);
        if cidr.prefix() <= 29 {
            let start = if cidr.prefix() <= 27 { 10 } else { 1 };
            let usable = |from: u32, to: u32| (from..to).filter_map(|n| cidr.nth(n)).filter(|address| !used.contains(address)).collect::<Vec<_>>();
            let count = 1u32 << (32 - cidr.prefix());
            let expected = [usable(start, count - 1), usable(1, start)].concat();
            prop_assert_eq!(addresses(&taken, cidr, start).collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn the_ends_of_all_addresses() {
    let last: Net = "255.255.255.0/24".parse().unwrap();
    assert_eq!((last.forth(0), last.forth(1), last.nth(255), last.nth(256)), (Some(last), None, Some(Ipv4Addr::BROADCAST), None));
    let half: Net = "128.0.0.0/1".parse().unwrap();
    assert_eq!((half.subnet(32, u32::MAX), half.last(), half.subnet(33, 0)), (None, Ipv4Addr::BROADCAST, None));
    assert_eq!(half.subnet(2, 1).unwrap().to_string(), "192.0.0.0/2");
    let all: Range = "0.0.0.0-255.255.255.255".parse().unwrap();
    assert!(all.holds(half.range()) && all.overlaps(Range::one(Ipv4Addr::BROADCAST)));
    assert_eq!(subnets(&Taken::new(vec![all]), half, 24).next(), None);
    assert_eq!(addresses(&Taken::new(vec![all]), last, 10).next(), None);
    for bad in ["10.0.0.0", "10.0.0.0/0", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/08", "10.0.0/8", "10.0.0.1/8", "::/8", "/8", ""] {
        assert!(bad.parse::<Net>().is_err(), "{bad}");
    }
    for bad in ["10.0.0.2-10.0.0.1", "10.0.0.1", "10.0.0.1-", "-", "10.0.0.1-10.0.0.2-10.0.0.3", "10.0.0.1/24", ""] {
        assert!(bad.parse::<Range>().is_err(), "{bad}");
    }
}
