//! Hardware addresses of Ethernet interfaces.

use std::fmt;
use std::str::FromStr;

/// A unicast MAC address. Shown in lower case with colons, as cloud-init and libvirt write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        let wrong = || format!("`{shown}` is no MAC address: six pairs of hexadecimal digits with colons, as in 52:54:00:12:34:56");
        let pairs: Vec<&str> = text.split(':').collect();
        if pairs.len() != 6 {
            return Err(wrong());
        }
        let mut bytes = [0; 6];
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            // `from_str_radix` alone would take `+1`.
            if pair.len() != 2 || !pair.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        // IEEE 802: the lowest bit of the first byte marks a group of machines, which no interface can be.
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
