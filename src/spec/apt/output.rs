//! apt's output as values: simulated installs, version lists, and package stanzas. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use crate::common::value::{PackageArch, PackageName, PoolPath, Sha256, Version};
use crate::{Error, Result};

/// The packages that `apt-get install --print-uris` would download: lines `'address' name_version_arch.deb size digest`, the file's
/// name with escapes.
pub(super) fn downloads(text: &str) -> Result<BTreeMap<PackageName, Version>> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('\'')) {
        let file = line.rsplit_once("' ").and_then(|(_, rest)| rest.split(' ').next());
        let parts: Option<Vec<String>> = file.and_then(|file| file.split('_').map(unescaped).collect());
        let parts = parts.unwrap_or_default();
        let (Some(Ok(name)), Some(Ok(version)), 3) =
            (parts.first().map(|name| name.parse()), parts.get(1).map(|text| text.parse()), parts.len())
        else {
            return Err(odd("apt-get install --print-uris", line));
        };
        if found.insert(name, version).is_some() {
            return Err(odd("apt-get install --print-uris", line));
        }
    }
    Ok(found)
}

/// Replaces apt's escapes: `%3a` is a colon.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push(char::from(u8::from_str_radix(part.get(..2)?, 16).ok()?));
        out.push_str(&part[2..]);
    }
    Some(out)
}

/// The versions in the suites, by package.
pub(super) type Available = BTreeMap<PackageName, BTreeSet<Version>>;

/// The versions in the suites, from `apt-cache madison`: lines `name | version | where`.
pub(super) fn available(text: &str) -> Available {
    let mut found = Available::new();
    for line in text.lines() {
        let mut fields = line.split('|').map(str::trim);
        if let (Some(Ok(name)), Some(Ok(version))) = (fields.next().map(str::parse), fields.next().map(str::parse)) {
            found.entry(name).or_default().insert(version);
        }
    }
    found
}

/// The packages that provide a virtual one, from the end of `apt-cache showpkg`.
pub(super) fn providers(text: &str) -> BTreeSet<String> {
    let after = text.lines().skip_while(|line| !line.starts_with("Reverse Provides:")).skip(1);
    after.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// A package's entry in an archive's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stanza {
    pub name: PackageName,
    pub version: Version,
    pub arch: PackageArch,
    /// The version of its source package, if that is another one.
    pub source_version: Option<Version>,
    pub source: PoolPath,
    pub size: u64,
    pub sha256: Sha256,
}

/// The stanzas of `apt-cache show`.
///
/// # Errors
/// A missing or invalid field: the archive is signed, so it is the archive's mistake, or not a Debian archive.
pub(super) fn stanzas(text: &str) -> Result<Vec<Stanza>> {
    text.split("\n\n").filter(|part| !part.trim().is_empty()).map(stanza).collect()
}

/// One stanza of an index.
///
/// # Errors
/// See [`stanzas`].
pub(super) fn stanza(text: &str) -> Result<Stanza> {
    // Continuation lines begin with a blank, so a description cannot contain a field.
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    let name: PackageName = field(value("Package"), "Package", "a package")?;
    let of = name.to_string();
    let size: u64 = field(value("Size"), "Size", &of)?;
    if size == 0 {
        return Err(odd("the archive's index", &format!("`{of}` has no bytes")));
    }
    let version: Version = field(value("Version"), "Version", &of)?;
    Ok(Stanza {
        source_version: source_version(value("Source"), &of)?.filter(|source| *source != version),
        version,
        arch: field(value("Architecture"), "Architecture", &of)?,
        source: field(value("Filename"), "Filename", &of)?,
        sha256: field(value("SHA256"), "SHA256", &of)?,
        size,
        name,
    })
}

/// The version in a field `Source: NAME (VERSION)`, which is there when it differs from the package's
/// ([Debian Policy, 5.6.1](https://www.debian.org/doc/debian-policy/ch-controlfields.html#source)).
fn source_version(value: Option<&str>, of: &str) -> Result<Option<Version>> {
    let version = value.and_then(|value| value.split_once('(')?.1.strip_suffix(')'));
    version.map(|version| field(Some(version.trim()), "Source", of)).transpose()
}

fn field<T: FromStr<Err: std::fmt::Display>>(value: Option<&str>, name: &str, of: &str) -> Result<T> {
    let value = value.ok_or_else(|| odd("the archive's index", &format!("`{of}` has no field {name}")))?;
    value.parse().map_err(|reason| odd("the archive's index", &format!("{name} of `{of}`: {reason}")))
}

fn odd(what: &str, found: &str) -> Error {
    Error::user(format!("kbake does not understand {what}")).detail(found.escape_debug().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_are_read() {
        let text = "Reading package lists...\n'http://a.invalid/debian/pool/main/g/glibc/libc6_2.41-12%2bdeb13u1_amd64.deb' libc6_2.41-12+deb13u1_amd64.deb \
                    2847596 SHA256:00\n'http://a.invalid/o'x.deb' g++_4%3a12.2.0-3_amd64.deb 7 \n";
        let found = downloads(text).unwrap();
        let shown: Vec<_> = found.iter().map(|(name, version)| format!("{name} {version}")).collect();
        assert_eq!(shown, ["g++ 4:12.2.0-3", "libc6 2.41-12+deb13u1"]);
        for bad in ["'", "'u' a", "'u' ab_1 7", "'u' ab_%3_all.deb", "'u' A_1_all.deb", "'u' ab_1_all.deb\n'u' ab_2_all.deb"] {
            assert!(downloads(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_and_providers_are_read() {
        let found =
            available(" etcd-server | 3.4.23-4+b4 | http://a.invalid/ bookworm/main amd64 Packages\n etcd-server | 3.5 | x\n\nN: none\n");
        assert_eq!(found.len(), 1);
        assert_eq!(found.values().next().unwrap().len(), 2);
        let text =
            "Package: awk\nVersions: \n\nReverse Depends: \n  base-files,awk\nProvides: \nReverse Provides: \nmawk 1 (= )\ngawk 2 (= )\n";
        assert_eq!(providers(text), ["gawk".to_owned(), "mawk".to_owned()].into());
        assert!(providers("").is_empty());
    }

    const GOOD: &str = "Package: ab\nVersion: 1\nArchitecture: all\nDescription: x\n Size: 7\nFilename: pool/a.deb\nSize: 12\nSHA256: ";

    #[test]
    fn stanzas_are_read() {
        let text = format!("{GOOD}{}\n\n", "0".repeat(64));
        let found = stanzas(&format!("{text}{text}")).unwrap();
        assert_eq!((found.len(), found[0].size, found[0].arch), (2, 12, PackageArch::All));
        let of_source = |line: &str| stanzas(&format!("{line}\n{text}")).unwrap()[0].source_version.as_ref().map(ToString::to_string);
        let found = ["Source: x", "Source: x (1)", "Source: x (2:1-1)"].map(of_source);
        assert_eq!(found, [None, None, Some("2:1-1".to_owned())], "a version is kept if it is another one");
        assert!(stanzas(&format!("Source: x (a b)\n{text}")).is_err());
        let cases = [
            ("Size: 12", "Size: 0"),
            ("Size: 12\n", ""),
            ("pool/a.deb", "../a.deb"),
            ("0000", "zz"),
            ("Package: ab\n", ""),
            ("all", "m68k"),
        ];
        for (from, to) in cases {
            assert!(stanzas(&text.replace(from, to)).is_err(), "{to}");
        }
    }
}
