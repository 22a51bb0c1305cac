//! Hardware addresses of Ethernet interfaces.

use std::fmt;
use std::str::FromStr;

use crate::common::value::derived_uuid;

/// The first three bytes of the addresses that QEMU's and libvirt's users give to machines. Locally administered, as the second
/// bit of the first byte states.
const QEMU: [u8; 3] = [0x52, 0x54, 0x00];

/// A unicast MAC address. Shown in lower case with colons, as cloud-init and libvirt write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// An address in QEMU's range, always the same for the same `cluster` and `owner`.
    ///
    /// Only 24 bits: two owners may collide, so callers that derive several compare them.
    pub(super) fn derived(cluster: &str, owner: &str) -> Self {
        let guid = derived_uuid("kbake MAC address", &format!("{cluster}/{owner}"));
        let [a, b, c, ..] = *guid.as_bytes();
        let [x, y, z] = QEMU;
        Mac([x, y, z, a, b, c])
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        let wrong =
            || format!("`{shown}` is not a MAC address: expected six pairs of hexadecimal digits with colons, as in 52:54:00:12:34:56");
        let pairs: Vec<&str> = text.split(':').collect();
        if pairs.len() != 6 {
            return Err(wrong());
        }
        let mut bytes = [0; 6];
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            // `from_str_radix` alone would accept `+1`.
            if pair.len() != 2 || !pair.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        // IEEE 802: the lowest bit of the first byte marks a group address, which no interface has.
        if bytes[0] & 1 != 0 {
            return Err(format!("the MAC address `{shown}` is a multicast address: the second digit must be even"));
        }
        if bytes == [0; 6] {
            return Err("the MAC address is all zero".to_owned());
        }
        Ok(Mac(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
