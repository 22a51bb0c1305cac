//! The software of an image by the names that advisories use.

use std::collections::BTreeSet;

use crate::common::value::{ArtifactName, Version};
use crate::spec::lock::Entry;

/// Everything in an image that advisories can name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Software {
    /// Debian's source packages.
    pub packages: Vec<Package>,
    /// Go modules in programs.
    pub modules: Vec<Module>,
    /// The parts that no advisory can be matched with, and the reason of each.
    pub unknown: BTreeSet<String>,
}

/// A source package in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    /// The product in reports: the source package, or the container image that it is in.
    pub product: String,
    /// The name in Debian's security tracker.
    pub source: String,
    /// The version there.
    pub version: Version,
    /// The release: `trixie`.
    pub release: String,
    /// True if the lock names the package: an update can be locked. False for one in a container image.
    pub is_locked: bool,
    /// The package URLs of the binary packages, without qualifiers.
    pub purls: BTreeSet<String>,
}

/// A Go module in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    /// The product in reports: what is updated to get another version of the module.
    pub product: String,
    /// The module's path.
    pub path: String,
    /// Its version, without the `v`.
    pub version: String,
    /// The package URL.
    pub purl: String,
    /// The kind of its product.
    pub inside: Inside,
}

/// The kind of a module's product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inside {
    /// A Debian package: its source and release. The tracker's word on the source comes first, because Debian fixes older versions.
    Debian { source: String, release: String },
    /// A publisher's release in this version.
    Release(Option<String>),
}

impl Module {
    /// True if the module is its product's own: a newer release of the product is a newer version of the module.
    pub(crate) fn is_own(&self) -> bool {
        matches!(&self.inside, Inside::Release(Some(version)) if *version == self.version)
    }
}

/// The modules whose version is that of an artifact or a container image, by its name in recipes. Programs that were built from a
/// working copy do not name the version themselves.
pub(crate) fn own_modules(name: &ArtifactName) -> &'static [&'static str] {
    match name.as_str() {
        "kubelet" | "kubeadm" | "kubectl" | "kube-apiserver" | "kube-controller-manager" | "kube-scheduler" | "kube-proxy" => {
            &["k8s.io/kubernetes"]
        }
        "etcd" | "etcdctl" | "etcdutl" => &[
            "go.etcd.io/etcd",
            "go.etcd.io/etcd/v3",
            "go.etcd.io/etcd/server/v3",
            "go.etcd.io/etcd/etcdctl/v3",
            "go.etcd.io/etcd/etcdutl/v3",
        ],
        "containerd" => &["github.com/containerd/containerd", "github.com/containerd/containerd/v2"],
        "runc" => &["github.com/opencontainers/runc"],
        _ => &[],
    }
}

/// The version of the source package.
pub(crate) fn source_version(entry: &Entry) -> Version {
    entry.source_version.clone().unwrap_or_else(|| without_rebuild(&entry.version))
}

/// The version without the number of a binary rebuild, `+b1`
/// ([Debian policy §3.2.2](https://www.debian.org/doc/debian-policy/ch-binary.html)).
pub(crate) fn without_rebuild(version: &Version) -> Version {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = version.as_str().rsplit_once("+b").filter(|(_, number)| is_number(number)).map(|(plain, _)| plain);
    plain.and_then(|plain| plain.parse().ok()).unwrap_or_else(|| version.clone())
}

/// Name and version of a source package in the security tracker. Signed kernels and boot loaders are sources of their own, made from
/// another source's files, under which the tracker lists them.
pub(crate) fn tracked(source: &str, version: &Version, binary: &Version) -> (String, Version) {
    let signed = |prefix: &str| source.strip_prefix(prefix).is_some_and(|rest| rest.ends_with("-signed"));
    let found = if source.starts_with("linux-signed-") || source == "linux-latest" {
        // 6.1.176+1 is signed from linux 6.1.176-1, which is the version of its binary packages.
        Some(("linux", Some(without_rebuild(binary))))
    } else if signed("grub-efi-") {
        Some(("grub2", signed_from(version)))
    } else if signed("shim-helpers-") {
        Some(("shim", signed_from(version)))
    } else if source == "shim-signed" {
        Some(("shim", shim(binary)))
    } else {
        None
    };
    match found {
        Some((name, Some(version))) => (name.to_owned(), version),
        _ => (source.to_owned(), version.clone()),
    }
}

/// `1+2.06+13+deb12u1` → `2.06-13+deb12u1`: the revision follows the last plus sign before a number and the suffix of an update.
fn signed_from(version: &Version) -> Option<Version> {
    let (_, text) = version.as_str().split_once('+')?;
    let is_revision = |rest: &str| {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        after.len() < rest.len() && (after.is_empty() || ["+deb", "~", "."].iter().any(|next| after.starts_with(next)))
    };
    let (at, _) = text.match_indices('+').rfind(|(at, _)| is_revision(&text[at + 1..]))?;
    format!("{}-{}", &text[..at], &text[at + 1..]).parse().ok()
}

/// `1.44~1+deb12u1+15.8-1~deb12u1` → `15.8-1~deb12u1`: shim's own version is the rest that begins with a number and has a revision.
fn shim(version: &Version) -> Option<Version> {
    let text = version.as_str();
    let rests = text.match_indices('+').map(|(at, _)| &text[at + 1..]);
    let mut whole = rests.filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains('-'));
    whole.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn signed_packages_are_tracked_under_the_source_that_they_are_made_from() {
        for (source, its, binary, expected) in [
            ("linux-signed-amd64", "6.1.176+1", "6.1.176-1", ("linux", "6.1.176-1")),
            ("linux-signed-amd64", "6.1.176-1", "6.1.176-1", ("linux", "6.1.176-1")),
            ("linux-signed-arm64", "6.12.57+1", "6.12.57-1+b1", ("linux", "6.12.57-1")),
            ("linux", "6.1.176-1", "6.1.176-1", ("linux", "6.1.176-1")),
            ("grub-efi-amd64-signed", "1+2.06+13+deb12u1", "1+2.06+13+deb12u1", ("grub2", "2.06-13+deb12u1")),
            ("grub-efi-arm64-signed", "1+2.12+9", "1+2.12+9", ("grub2", "2.12-9")),
            ("grub-efi-ia32-signed", "1+2.02+dfsg1+20+deb10u4", "1+2.02+dfsg1+20+deb10u4", ("grub2", "2.02+dfsg1-20+deb10u4")),
            ("shim-helpers-amd64-signed", "1+15.8+1~deb12u1", "1+15.8+1~deb12u1", ("shim", "15.8-1~deb12u1")),
            ("shim-signed", "1.44~1+deb12u1", "1.44~1+deb12u1+15.8-1~deb12u1", ("shim", "15.8-1~deb12u1")),
            ("shim-signed", "1.39", "1.39", ("shim-signed", "1.39")),
            ("util-linux", "2.38.1-5+deb12u3", "2.38.1-5+deb12u3", ("util-linux", "2.38.1-5+deb12u3")),
        ] {
            let (name, found) = tracked(source, &version(its), &version(binary));
            assert_eq!((name.as_str(), found.as_str()), expected, "{source} {its}");
        }
    }

    #[test]
    fn a_rebuild_has_its_source_s_version() {
        for (text, expected) in [
            ("1.0-1+b2", "1.0-1"),
            ("1.0-1+b12", "1.0-1"),
            ("1.0-1+deb12u1+b1", "1.0-1+deb12u1"),
            ("1.0-1", "1.0-1"),
            ("1.0+b", "1.0+b"),
            ("1.0+beta1-1", "1.0+beta1-1"),
        ] {
            assert_eq!(without_rebuild(&version(text)).as_str(), expected);
        }
    }
}
