//! How a node's interface gets its address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// DHCP, or an address that is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressing {
    /// The network's DHCP server decides.
    Dhcp,
    /// This address, always.
    Static(StaticAddress),
}

/// An address within its network: `192.168.3.11/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// A static address with what it takes to leave its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticAddress {
    address: Cidr,
    gateway: Option<IpAddr>,
    dns: Vec<IpAddr>,
}

/// An address as a number, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

/// Says why no single machine can have `address`; `None` when one can.
fn why_no_host(address: IpAddr) -> Option<&'static str> {
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    match address {
        _ if address.is_unspecified() => Some("it is the unspecified address"),
        _ if address.is_loopback() => Some("it is a loopback address, the same on every machine"),
        _ if address.is_multicast() => Some("it is a multicast address"),
        IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.octets()[0] >= 240 => Some("it is a reserved address"),
        _ if mapped => Some("it is an IPv4 address in IPv6 clothes"),
        _ => None,
    }
}

impl Cidr {
    /// The address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many leading bits name the network.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The bits behind the prefix, as a mask.
    fn host_mask(self) -> u128 {
        let (_, width) = bits(self.address);
        let host_bits = width - u32::from(self.prefix);
        if host_bits == 128 { u128::MAX } else { (1 << host_bits) - 1 }
    }

    /// Whether `other` is in the same network.
    pub fn contains(self, other: IpAddr) -> bool {
        let ((mine, width), (theirs, other_width)) = (bits(self.address), bits(other));
        width == other_width && (mine ^ theirs) & !self.host_mask() == 0
    }

    /// Says why no machine of the network can have `address`; `None` when one can.
    fn why_reserved(self, address: IpAddr) -> Option<&'static str> {
        let (mask, host) = (self.host_mask(), bits(address).0 & self.host_mask());
        // RFC 3021 and RFC 6164: two-address and one-address networks have no such reserved ends.
        if mask <= 1 {
            return None;
        }
        match address {
            _ if host == 0 && address.is_ipv4() => Some("it is the network's own address"),
            // RFC 4291 section 2.6.1.
            _ if host == 0 => Some("it is the address of all the network's routers"),
            IpAddr::V4(_) if host == mask => Some("it is the network's broadcast address"),
            _ => None,
        }
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        let Some((address, prefix)) = text.split_once('/') else {
            return Err(format!("address `{shown}` lacks its prefix length, as in 192.168.3.11/24"));
        };
        let address: IpAddr = address.parse().map_err(|_| format!("`{shown}` does not start with an IP address"))?;
        let (_, width) = bits(address);
        // `parse` alone would take `+24` and `024`.
        let clean = !prefix.is_empty() && prefix.bytes().all(|c| c.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
        let prefix = match prefix.parse::<u8>() {
            Ok(value) if clean && u32::from(value) <= width && value > 0 => value,
            _ => return Err(format!("`{shown}`: the prefix length must be 1 to {width}")),
        };
        Ok(Cidr { address, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl StaticAddress {
    /// Refuses what no machine can have and a gateway that the address cannot reach.
    pub fn new(address: Cidr, gateway: Option<IpAddr>, dns: Vec<IpAddr>) -> Result<Self, String> {
        if let Some(why) = why_no_host(address.address).or(address.why_reserved(address.address)) {
            return Err(format!("no node can have the address `{address}`: {why}"));
        }
        if let Some(gateway) = gateway {
            check_gateway(address, gateway)?;
        }
        for (place, &server) in dns.iter().enumerate() {
            if let Some(why) = why_no_host(server) {
                return Err(format!("`{server}` is no name server: {why}"));
            }
            if dns[..place].contains(&server) {
                return Err(format!("the name server `{server}` is given twice"));
            }
        }
        Ok(StaticAddress { address, gateway, dns })
    }

    /// The address with its prefix.
    pub fn address(&self) -> Cidr {
        self.address
    }

    /// The default route's next hop, in the address's own network.
    pub fn gateway(&self) -> Option<IpAddr> {
        self.gateway
    }

    /// Name servers, in order of preference.
    pub fn dns(&self) -> &[IpAddr] {
        &self.dns
    }
}

fn check_gateway(address: Cidr, gateway: IpAddr) -> Result<(), String> {
    if gateway == address.address {
        return Err(format!("the gateway `{gateway}` is the node's own address"));
    }
    // Routers on IPv6 are as a rule known by their link-local address.
    let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local() && address.address.is_ipv6());
    if !link_local && !address.contains(gateway) {
        return Err(format!("the gateway `{gateway}` is outside the node's network `{address}`, so it cannot be reached"));
    }
    if let Some(why) = why_no_host(gateway).or(if link_local { None } else { address.why_reserved(gateway) }) {
        return Err(format!("`{gateway}` is no gateway: {why}"));
    }
    Ok(())
}
