//! Debian's names: packages, versions, pool paths, and the fingerprints of archive signing keys.
//!
//! The character sets are those of [Debian policy
//! §5.6](https://www.debian.org/doc/debian-policy/ch-controlfields.html); they exclude options, patterns and paths from
//! the arguments of tools.

use std::fmt;
use std::str::FromStr;

use super::Arch;

/// The longest name, version or path component that is accepted, in bytes.
const LONGEST: usize = 255;

/// A binary package's name (policy §5.6.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName(String);

impl FromStr for PackageName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
        let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if text.len() < 2 || text.len() > LONGEST || !text.starts_with(first) || !text.chars().all(inner) {
            return Err(format!("`{}` is not a Debian package name: expected a-z, 0-9, `+`, `-`, `.`, at least two", text.escape_debug()));
        }
        Ok(PackageName(text.to_owned()))
    }
}

/// A package's version (policy §5.6.12): `[epoch:]upstream[-revision]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(String);

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_alphanumeric() || "+-.~:".contains(c);
        if text.len() > LONGEST || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(inner) {
            return Err(format!("`{}` is not a Debian version", text.escape_debug()));
        }
        Ok(Version(text.to_owned()))
    }
}

/// The architecture of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackageArch {
    /// Any architecture.
    All,
    /// One architecture.
    Machine(Arch),
}

impl fmt::Display for PackageArch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PackageArch::All => f.write_str("all"),
            PackageArch::Machine(arch) => arch.fmt(f),
        }
    }
}

impl FromStr for PackageArch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(PackageArch::All),
            _ => text.parse().map(PackageArch::Machine).map_err(|error| format!("{error}, all")),
        }
    }
}

/// The path of a package in every mirror of its archive: `pool/main/e/etcd/etcd-server_…_amd64.deb`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolPath(String);

impl PoolPath {
    /// The folder, which all packages of one source share.
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The file name.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }
}

impl FromStr for PoolPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_alphanumeric() || "+-._~:%".contains(c);
        let sound = |part: &str| !part.is_empty() && !part.starts_with('.') && part.len() <= LONGEST && part.chars().all(inner);
        let in_pool = text.strip_prefix("pool/").and_then(|rest| rest.strip_suffix(".deb"));
        if in_pool.is_none_or(|rest| rest.is_empty()) || !text.split('/').all(sound) {
            return Err(format!("`{}` is not a pool path like pool/main/e/etcd/etcd_1_amd64.deb", text.escape_debug()));
        }
        Ok(PoolPath(text.to_owned()))
    }
}

/// An OpenPGP key's fingerprint: 40 (version 4) or 64 (version 5, 6) upper-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(String);

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digit = |c: char| c.is_ascii_digit() || ('A'..='F').contains(&c);
        if ![40, 64].contains(&text.len()) || !text.chars().all(digit) {
            return Err(format!("`{}` is not a key fingerprint: expected 40 or 64 digits 0-9, A-F without spaces", text.escape_debug()));
        }
        Ok(Fingerprint(text.to_owned()))
    }
}

crate::common::value::shown_as_text!(PackageName, Version, PoolPath, Fingerprint);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_names_are_accepted() {
        for name in ["g++", "libapt-pkg6.0", "0ad", "e2fsprogs"] {
            assert_eq!(name.parse::<PackageName>().unwrap().as_str(), name);
        }
        for version in ["1:9.2p1-2+deb12u10", "252.39-1~deb12u2", "12.4+deb12u15"] {
            assert_eq!(version.parse::<Version>().unwrap().as_str(), version);
        }
        let path: PoolPath = "pool/main/g/gcc-12/libstdc++6_12.2.0-14+deb12u1_amd64.deb".parse().unwrap();
        assert_eq!((path.folder(), path.file_name()), ("pool/main/g/gcc-12", "libstdc++6_12.2.0-14+deb12u1_amd64.deb"));
        assert_eq!("all".parse(), Ok(PackageArch::All));
        assert_eq!("amd64".parse(), Ok(PackageArch::Machine(Arch::Amd64)));
        assert!("4D64FEC119C2029067D6E791F8D2585B8783D481".parse::<Fingerprint>().is_ok());
    }

    #[test]
    fn names_that_a_tool_could_misread_are_refused() {
        for name in ["", "a", "-y", "--force", "?essential", "~i", "a b", "A", "a=1", "a/b", "*", "ü", "lib*", &"a".repeat(256)] {
            assert!(name.parse::<PackageName>().is_err(), "{name}");
        }
        for version in ["", "-1", "1 2", "1*", "1/2", "1\n", &"1".repeat(256)] {
            assert!(version.parse::<Version>().is_err(), "{version}");
        }
        let paths = [
            "",
            "pool/.deb",
            "/pool/a.deb",
            "pool/../a.deb",
            "pool//a.deb",
            "http://x/pool/a.deb",
            "pool/a.rpm",
            "pool/a b.deb",
            "pool/.a/b.deb",
        ];
        for path in paths {
            assert!(path.parse::<PoolPath>().is_err(), "{path}");
        }
        for key in ["", "4d64fec119c2029067d6e791f8d2585b8783d481", "4D64 FEC1", &"Z".repeat(40)] {
            assert!(key.parse::<Fingerprint>().is_err(), "{key}");
        }
    }
}
