//! Architectures, roles and the epoch, as recipes write them; escaping of bytes in line-based text.

use std::fmt;
use std::str::FromStr;

/// Implements `as_str` and `Display` for types that wrap a validated `String`.
macro_rules! shown_as_text {
    ($($name:ident),* $(,)?) => {$(
        impl $name {
            /// The text.
            #[allow(unreachable_pub, reason = "some of the types are public")]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
pub(crate) use shown_as_text;

/// The architecture of a machine, by its name in Debian and Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// 64-bit ARM. Artifacts can be locked for it; images cannot be built yet.
    Arm64,
}

impl Arch {
    /// All architectures that artifacts are locked for.
    pub const ALL: [Arch; 2] = [Arch::Amd64, Arch::Arm64];
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
        })
    }
}

impl FromStr for Arch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "amd64" => Ok(Arch::Amd64),
            "arm64" => Ok(Arch::Arm64),
            _ => Err(format!("unknown architecture `{text}`; known: amd64, arm64")),
        }
    }
}

/// An architecture that images can be built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MachineArch(pub Arch);

impl FromStr for MachineArch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(Arch::Arm64) => Err("images for arm64 cannot be baked yet; known: amd64".into()),
            Ok(arch) => Ok(MachineArch(arch)),
            Err(_) => Err(format!("unknown architecture `{text}`; known: amd64")),
        }
    }
}

/// The single point in time that an image contains: seconds since 1970-01-01 UTC. Every timestamp that a build writes
/// is the epoch; files from packages keep their own time if it is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u32);

impl Epoch {
    /// Takes seconds since 1970: positive and below 2³¹, so that every on-disk format can store it.
    pub fn from_seconds(seconds: i64) -> Result<Self, String> {
        match u32::try_from(seconds) {
            Ok(value) if (1..=i32::MAX as u32).contains(&value) => Ok(Epoch(value)),
            _ => Err(format!("the epoch {seconds} is outside 1..2147483647 (seconds since 1970)")),
        }
    }

    /// Seconds since 1970.
    pub fn seconds(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A role's name, as in `recipes/roles/<name>.toml`: lower-case letters, digits and inner hyphens, as in a DNS label,
/// because it becomes part of file and host names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(String);

impl FromStr for RoleName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 63 || !text.chars().all(inner) || text.starts_with('-') || text.ends_with('-') {
            return Err(format!("`{}` is not a role name: expected 1 to 63 of a-z, 0-9 and inner `-`", text.escape_debug()));
        }
        Ok(RoleName(text.to_owned()))
    }
}

shown_as_text!(RoleName);

/// Escapes bytes as one word of line-based text: printable ASCII except space and backslash stays, the rest becomes
/// `\xNN`.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_graphic() && byte != b'\\' {
            text.push(byte as char);
        } else {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// The inverse of [`escape`]; `None` for any other text.
pub(crate) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'\\' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let [b'x', high, low, after @ ..] = tail else { return None };
        let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
        bytes.push(digit(*high)? << 4 | digit(*low)?);
        rest = after;
    }
    (escape(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping_round_trips_every_byte() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&escape(&all)), Some(all));
        assert_eq!(escape("a b\\ü".as_bytes()), "a\\x20b\\x5c\\xc3\\xbc");
        assert_eq!(unescape("\\x4"), None);
        assert_eq!(unescape("\\x41"), None, "bytes have one escaped form");
    }

    #[test]
    fn role_names() {
        assert_eq!("control-plane".parse::<RoleName>().unwrap().as_str(), "control-plane");
        for bad in ["", "-a", "a-", "Etcd", "a/b", "../etcd"] {
            assert!(bad.parse::<RoleName>().is_err(), "{bad}");
        }
    }
}
