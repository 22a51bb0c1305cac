//! Identifiers of artifacts and container images: short names, versions, digests of either length, references.

use std::fmt;
use std::str::FromStr;

use super::{Sha256, Sha512};

/// True if `text` is 1 to 63 of a-z, 0-9 and inner `-` and `.`.
fn word(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = |c: char| outer(c) || c == '-' || c == '.';
    text.len() <= 63 && text.starts_with(outer) && text.ends_with(outer) && text.chars().all(inner)
}

/// The short name of an artifact, a container image or a version in recipes, sources and lockfiles: `kubelet`,
/// `cni-plugins`, `pause`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactName(String);

impl FromStr for ArtifactName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match word(text) {
            true => Ok(ArtifactName(text.to_owned())),
            false => Err(format!("`{}` is not an artifact name: expected 1 to 63 of a-z, 0-9 and inner `-` and `.`", text.escape_debug())),
        }
    }
}

/// A version of an upstream release, without a leading `v`: `1.36.2`, `3.6.8-0`, `3.10`.
///
/// Ordered by its numbers, then by the rest (`-rc.1`), as in [Semantic Versioning](https://semver.org/#spec-item-11),
/// except that two numbers are enough.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReleaseVersion(semver::Version, Shape);

/// The number of numbers written, which is kept when printing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Two,
    Three,
}

impl ReleaseVersion {
    /// The first number.
    pub fn major(&self) -> u64 {
        self.0.major
    }

    /// The second number.
    pub fn minor(&self) -> u64 {
        self.0.minor
    }

    /// The third number; 0 if there is none.
    pub fn patch(&self) -> u64 {
        self.0.patch
    }
}

impl FromStr for ReleaseVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is not a release version: expected numbers like 1.36.2, without `v`", text.escape_debug());
        let numbers = text.split(['-', '+']).next().unwrap_or_default();
        let (full, shape) = match numbers.matches('.').count() {
            1 => (text.replacen(numbers, &format!("{numbers}.0"), 1), Shape::Two),
            _ => (text.to_owned(), Shape::Three),
        };
        full.parse().map(|version| ReleaseVersion(version, shape)).map_err(|_| wrong())
    }
}

impl fmt::Display for ReleaseVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = &self.0;
        write!(f, "{}.{}", version.major, version.minor)?;
        if self.1 == Shape::Three {
            write!(f, ".{}", version.patch)?;
        }
        if !version.pre.is_empty() {
            write!(f, "-{}", version.pre)?;
        }
        if !version.build.is_empty() {
            write!(f, "+{}", version.build)?;
        }
        Ok(())
    }
}

/// The digest of an artifact. Some publishers provide the longer one only. Displayed and parsed as `sha256:…` or
/// `sha512:…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// SHA-256, which also identifies the blob in the store.
    Sha256(Sha256),
    /// SHA-512; the store identifies the blob by its SHA-256.
    Sha512(Sha512),
}

impl From<Sha256> for Digest {
    fn from(digest: Sha256) -> Self {
        Digest::Sha256(digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Digest::Sha256(digest) => write!(f, "sha256:{digest}"),
            Digest::Sha512(digest) => write!(f, "sha512:{digest}"),
        }
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sha256", digits)) => digits.parse().map(Digest::Sha256),
            Some(("sha512", digits)) => digits.parse().map(Digest::Sha512),
            _ => Err(format!("`{}` is not a digest: expected sha256: or sha512: and hexadecimal digits", text.escape_debug())),
        }
    }
}

/// A container image's full name, `REGISTRY/REPOSITORY:TAG`, as in pod manifests
/// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>).
///
/// Registry and tag are mandatory: the meaning of a short name depends on its reader.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    text: String,
    /// The offset of the first `/`.
    slash: usize,
    /// The offset of the tag's `:`.
    colon: usize,
}

impl Reference {
    /// Host and port of the registry: `registry.k8s.io`.
    pub fn registry(&self) -> &str {
        &self.text[..self.slash]
    }

    /// The path in the registry: `coredns/coredns`.
    pub fn repository(&self) -> &str {
        &self.text[self.slash + 1..self.colon]
    }

    /// The tag: `v1.36.2`.
    pub fn tag(&self) -> &str {
        &self.text[self.colon + 1..]
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{}` is not the full name of a container image: {why}", text.escape_debug());
        let slash = text.find('/').ok_or_else(|| wrong("expected REGISTRY/REPOSITORY:TAG"))?;
        let colon = text.rfind(':').filter(|&at| at > slash).ok_or_else(|| wrong("the tag is missing"))?;
        let (registry, repository, tag) = (&text[..slash], &text[slash + 1..colon], &text[colon + 1..]);
        let (host, port) = registry.split_once(':').map_or((registry, None), |(host, port)| (host, Some(port)));
        if !(host.contains('.') || host == "localhost") || !host.split('.').all(label) {
            return Err(wrong("the part before the first `/` is not a host"));
        }
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(wrong("the port is not a number"));
        }
        if repository.len() > 255 || !repository.split('/').all(component) {
            return Err(wrong("expected a-z, 0-9 and inner `.`, `_` and `-` between the slashes of the repository"));
        }
        let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if tag.len() > 128 || !tag.starts_with(first) || !tag.chars().all(|c| first(c) || c == '.' || c == '-') {
            return Err(wrong("expected a tag of up to 128 letters, digits, `_`, `.` and `-`"));
        }
        Ok(Reference { text: text.to_owned(), slash, colon })
    }
}

fn label(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(outer) && text.ends_with(outer) && text.chars().all(|c| outer(c) || c == '-')
}

fn component(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(outer) && text.ends_with(outer) && text.chars().all(|c| outer(c) || "._-".contains(c))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

super::shown_as_text!(ArtifactName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_keep_their_shape_and_order() {
        for text in ["1.36.2", "3.10", "3.10.2", "3.6.8-0", "1.37.0-rc.1", "1.20.5+really1.20.2"] {
            assert_eq!(text.parse::<ReleaseVersion>().unwrap().to_string(), text);
        }
        let version = |text: &str| text.parse::<ReleaseVersion>().unwrap();
        assert!(version("2.3.4") > version("2.3.3") && version("3.10") > version("3.9.9") && version("1.37.0-rc.1") < version("1.37.0"));
        for bad in ["v1.36.2", "1", "", "1.2.3.4", "1.x", "01.2.3"] {
            assert!(bad.parse::<ReleaseVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn references_are_complete_or_refused() {
        let reference: Reference = "registry.k8s.io/coredns/coredns:v1.14.2".parse().unwrap();
        let parts = (reference.registry(), reference.repository(), reference.tag());
        assert_eq!(parts, ("registry.k8s.io", "coredns/coredns", "v1.14.2"));
        let local: Reference = "127.0.0.1:5000/a/b_c:1".parse().unwrap();
        assert_eq!((local.registry(), local.repository()), ("127.0.0.1:5000", "a/b_c"));
        for bad in [
            "pause",
            "pause:3.10",
            "library/pause:3",
            "registry.k8s.io/pause",
            "a.b/../c:1",
            "a.b/C:1",
            "a.b/c:",
            "a.b/c:x y",
            "a.b:x/c:1",
            "-a.b/c:1",
            "a.b//c:1",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }

    #[test]
    fn digests_name_their_algorithm() {
        for text in [format!("sha256:{}", "0a".repeat(32)), format!("sha512:{}", "0a".repeat(64))] {
            assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
        }
        for bad in ["0a".repeat(32), format!("sha512:{}", "0a".repeat(32)), "md5:00".to_owned()] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
