//! IPv4 networks and ranges of addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 network: an address with no bit set behind its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Net {
    first: u32,
    prefix: u8,
}

/// Addresses from a first to a last one, inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    first: u32,
    last: u32,
}

impl Net {
    /// The network's own address, the first one.
    pub fn first(self) -> Ipv4Addr {
        self.first.into()
    }

    /// The broadcast address, the last one.
    pub fn last(self) -> Ipv4Addr {
        (self.first | self.host_mask()).into()
    }

    /// The prefix length: 1 to 32 bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The netmask: `255.255.255.0` for a prefix of 24.
    pub fn mask(self) -> Ipv4Addr {
        (!self.host_mask()).into()
    }

    /// The `n`-th address, counted from the network's own as the 0th; none past the last.
    pub fn nth(self, n: u32) -> Option<Ipv4Addr> {
        (n <= self.host_mask()).then(|| (self.first + n).into())
    }

    /// True if `address` lies in the network.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & !self.host_mask() == self.first
    }

    /// True if all of `other` lies in the network.
    pub fn contains_net(self, other: Net) -> bool {
        other.prefix >= self.prefix && self.contains(other.first())
    }

    /// The `n`-th network of `prefix` bits within this one; none if it does not fit.
    pub fn subnet(self, prefix: u8, n: u32) -> Option<Net> {
        let fits = (self.prefix..=32).contains(&prefix) && u64::from(n) < 1 << (prefix - self.prefix);
        fits.then(|| Net { first: self.first | n << (32 - prefix), prefix })
    }

    /// The network of the same size, `n` sizes further on; none past the end of the address space.
    pub fn forth(self, n: u32) -> Option<Net> {
        let first = u64::from(self.first) + (u64::from(n) << (32 - self.prefix));
        u32::try_from(first).ok().map(|first| Net { first, prefix: self.prefix })
    }

    /// All its addresses, including its own and the broadcast address.
    pub fn range(self) -> Range {
        Range { first: self.first, last: self.first | self.host_mask() }
    }

    /// The host bits, behind the prefix.
    fn host_mask(self) -> u32 {
        (u64::from(u32::MAX) >> self.prefix) as u32
    }
}

impl Range {
    /// One address.
    pub fn one(address: Ipv4Addr) -> Self {
        Range { first: address.to_bits(), last: address.to_bits() }
    }

    /// The first address.
    pub fn first(self) -> Ipv4Addr {
        self.first.into()
    }

    /// The last address.
    pub fn last(self) -> Ipv4Addr {
        self.last.into()
    }

    /// True if both have an address in common.
    pub fn overlaps(self, other: Range) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The range from the first address of both to the last.
    pub(super) fn joined(self, other: Range) -> Range {
        Range { first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    /// True if all of `other` lies within.
    pub fn holds(self, other: Range) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

impl FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        let Some((address, prefix)) = text.split_once('/') else {
            return Err(format!("`{shown}` lacks its prefix length, as in 192.168.3.0/24"));
        };
        let address: Ipv4Addr = address.parse().map_err(|_| match address.contains(':') {
            true => format!("`{shown}` is an IPv6 network; clusters have IPv4 networks so far"),
            false => format!("`{shown}` does not start with an IPv4 address"),
        })?;
        // `parse` alone would accept `+24` and `024`.
        let clean = prefix.bytes().all(|c| c.is_ascii_digit()) && !prefix.starts_with('0');
        let prefix = match prefix.parse::<u8>() {
            Ok(value) if clean && value <= 32 => value,
            _ => return Err(format!("`{shown}`: the prefix length must be 1 to 32")),
        };
        let mut net = Net { first: address.to_bits(), prefix };
        net.first &= !net.host_mask();
        if net.first() != address {
            return Err(format!("`{shown}` is an address within a network; the network is {net}"));
        }
        Ok(net)
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            return text.parse::<Net>().map(Net::range);
        }
        let parse = |part: &str| part.trim().parse::<Ipv4Addr>().ok();
        let (Some(first), Some(last)) = text.split_once('-').map_or((None, None), |(first, last)| (parse(first), parse(last))) else {
            return Err(format!(
                "`{}` is not a range: expected two IPv4 addresses with `-` between, as in 192.168.3.2-192.168.3.9, or a network",
                text.escape_debug()
            ));
        };
        if first > last {
            return Err(format!("the range ends before it starts; did you mean {last}-{first}?"));
        }
        Ok(Range { first: first.to_bits(), last: last.to_bits() })
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first(), self.prefix)
    }
}

/// `FIRST-LAST`, or the address alone.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first()),
            false => write!(f, "{}-{}", self.first(), self.last()),
        }
    }
}
