//! apt's output as values: simulated installs, version lists, and package stanzas. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use crate::common::value::{PackageArch, PackageName, PoolPath, Sha256, Version};
use crate::{Error, Result};

/// The packages that `apt-get --simulate install` would install: lines `Inst name (version …`.
pub(super) fn installs(text: &str) -> Result<BTreeMap<PackageName, Version>> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("Inst ") else { continue };
        let (name, rest) = rest.split_once(' ').ok_or_else(|| odd("apt-get --simulate install", line))?;
        // With several architectures apt would print `name:arch`; the private state has one.
        let version = rest.strip_prefix('(').and_then(|rest| rest.split([' ', ')']).next());
        let (Ok(name), Some(Ok(version))) = (name.parse(), version.map(str::parse)) else {
            return Err(odd("apt-get --simulate install", line));
        };
        if found.insert(name, version).is_some() {
            return Err(odd("apt-get --simulate install", line));
        }
    }
    Ok(found)
}

/// The versions in the archive, from `apt-cache madison`: lines `name | version | where`.
pub(super) fn available(text: &str) -> BTreeMap<PackageName, BTreeSet<Version>> {
    let mut found: BTreeMap<PackageName, BTreeSet<Version>> = BTreeMap::new();
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

fn stanza(text: &str) -> Result<Stanza> {
    // Continuation lines begin with a blank, so a description cannot contain a field.
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    let name: PackageName = field(value("Package"), "Package", "a package")?;
    let of = name.to_string();
    let size: u64 = field(value("Size"), "Size", &of)?;
    if size == 0 {
        return Err(odd("the archive's index", &format!("`{of}` has no bytes")));
    }
    Ok(Stanza {
        version: field(value("Version"), "Version", &of)?,
        arch: field(value("Architecture"), "Architecture", &of)?,
        source: field(value("Filename"), "Filename", &of)?,
        sha256: field(value("SHA256"), "SHA256", &of)?,
        size,
        name,
    })
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
    fn installs_are_read() {
        let text = "Reading package lists...\nInst libc6 (2.36-9+deb12u14 Debian:12.15/oldstable [amd64]) [dash:amd64 ]\n\
                    Conf libc6 (2.36-9+deb12u14 Debian:12.15/oldstable [amd64])\nInst g++ (4:12.2.0-3 local [amd64])\n";
        let found = installs(text).unwrap();
        let shown: Vec<_> = found.iter().map(|(name, version)| format!("{name} {version}")).collect();
        assert_eq!(shown, ["g++ 4:12.2.0-3", "libc6 2.36-9+deb12u14"]);
        for bad in ["Inst", "Inst a", "Inst ab 1.0 (x", "Inst ab [1] (2 x)", "Inst ab:i386 (1 x)", "Inst ab (1 x)\nInst ab (2 x)"] {
            assert!(installs(bad).map_or(true, |found| found.is_empty()), "{bad}");
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
