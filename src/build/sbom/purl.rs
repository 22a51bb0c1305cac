//! Package URLs ([the specification](https://github.com/package-url/purl-spec)): one name for a package everywhere.

use std::fmt::Write as _;

use super::installed::{Installed, Manager};
use crate::common::value::{Digest, Reference, Sha256};

/// A Debian package in the system `distro`, `debian-13`: scanners find the release by it. `upstream` is [`upstream`]'s answer.
pub(super) fn deb(name: &str, version: &str, arch: &str, distro: &str, upstream: Option<&str>) -> String {
    let mut url = format!("pkg:deb/debian/{}@{}?arch={arch}&distro={}", encode(name), encode(version), encode(distro));
    if let Some(upstream) = upstream {
        let _ = write!(url, "&upstream={}", encode(upstream));
    }
    url
}

/// The source package that a package is built from, which Debian's advisories name, as far as it differs: `SOURCE` or
/// `SOURCE@VERSION`.
pub(super) fn upstream(name: &str, version: &str, source: &str, source_version: &str) -> Option<String> {
    match (source == name, source_version == version) {
        (true, true) => None,
        (false, true) => Some(source.to_owned()),
        (_, false) => Some(format!("{source}@{source_version}")),
    }
}

/// A package that is installed in a container image, of the system that the image names.
pub(super) fn installed(package: &Installed) -> String {
    let Installed { manager, name, version, arch, source, system, distro, .. } = package;
    let (kind, usual) = match manager {
        Manager::Dpkg => ("deb", "debian"),
        Manager::Apk => ("apk", "alpine"),
    };
    let mut url = format!("pkg:{kind}/{}/{}@{}?arch={}", encode(system.unwrap_or(usual)), encode(name), encode(version), encode(arch));
    if let Some(distro) = distro {
        let _ = write!(url, "&distro={}", encode(distro));
    }
    if source != name {
        let _ = write!(url, "&upstream={}", encode(source));
    }
    url
}

/// A Go module. Its path is namespace and name, including a major version at its end; both are in lower case.
pub(super) fn golang(path: &str, version: Option<&str>) -> String {
    let parts: Vec<String> = path.to_lowercase().split('/').map(encode).collect();
    let version = version.map(|version| format!("@{}", encode(version))).unwrap_or_default();
    format!("pkg:golang/{}{version}", parts.join("/"))
}

/// A Python distribution, by its name in the notation of the index.
pub(super) fn pypi(name: &str, version: &str) -> String {
    format!("pkg:pypi/{}@{}", encode(&name.to_lowercase().replace('_', "-")), encode(version))
}

/// Bytes that are released at an address: the repository's release for an address on GitHub, else a generic URL.
pub(super) fn release(name: &str, version: Option<&str>, digest: &Digest, url: Option<&str>) -> String {
    if let Some((owner, repository, tag)) = url.and_then(github) {
        return format!("pkg:github/{}/{}@{}", encode(&owner.to_lowercase()), encode(&repository.to_lowercase()), encode(tag));
    }
    let mut purl = format!("pkg:generic/{}", encode(name));
    if let Some(version) = version {
        let _ = write!(purl, "@{}", encode(version));
    }
    let _ = write!(purl, "?checksum={}", encode(&digest.to_string()));
    if let Some(url) = url {
        let _ = write!(purl, "&download_url={}", encode(url));
    }
    purl
}

/// A container image in a registry.
pub(super) fn oci(reference: &Reference, digest: &Sha256, arch: &str) -> String {
    let repository = reference.repository();
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let place = format!("{}/{repository}", reference.registry());
    format!("pkg:oci/{}@sha256:{digest}?arch={arch}&repository_url={}&tag={}", encode(name), encode(&place), encode(reference.tag()))
}

/// Owner, repository and tag of `https://github.com/OWNER/REPOSITORY/releases/download/TAG/FILE`.
fn github(url: &str) -> Option<(&str, &str, &str)> {
    let mut parts = url.strip_prefix("https://github.com/")?.split('/');
    let found = (parts.next()?, parts.next()?);
    (parts.next()? == "releases" && parts.next()? == "download").then_some(())?;
    // A tag with slashes is written with `%2F`, which would be encoded twice: such a release keeps its address.
    let tag = parts.next().filter(|tag| !tag.is_empty() && !tag.contains('%'))?;
    (parts.next().is_some() && parts.next().is_none()).then_some((found.0, found.1, tag))
}

/// Percent-encodes everything but letters, digits, `.`, `-`, `_`, `~` and the colon.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// An address without its possible secrets: user, password, query, fragment.
pub(super) fn shown(url: &str) -> Option<String> {
    let plain = url.split(['?', '#']).next()?;
    let (scheme, rest) = plain.split_once("://")?;
    let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = server.rsplit('@').next()?;
    // A part that is not understood may be a secret.
    let sound = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\' && b != b'@');
    (!host.is_empty() && sound(scheme) && sound(host) && !path.contains('\\') && path.is_ascii())
        .then(|| format!("{scheme}://{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_as_the_specification_says() {
        assert_eq!(
            deb("libstdc++6", "12.2.0-14+deb12u1", "amd64", "debian-12", Some("gcc-12")),
            "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12&upstream=gcc-12"
        );
        assert_eq!(deb("curl", "1:7~rc-1", "all", "sid", None), "pkg:deb/debian/curl@1:7~rc-1?arch=all&distro=sid");
        assert_eq!(
            deb("dmsetup", "2:1.02.185-2", "amd64", "debian-12", Some("lvm2@2.03.16-2")),
            "pkg:deb/debian/dmsetup@2:1.02.185-2?arch=amd64&distro=debian-12&upstream=lvm2%402.03.16-2",
            "as Syft writes it"
        );
        let reference = "registry.k8s.io/coredns/coredns:v1.14.2".parse().unwrap();
        let digest = Sha256::of("a");
        assert_eq!(
            oci(&reference, &digest, "amd64"),
            format!("pkg:oci/coredns@sha256:{digest}?arch=amd64&repository_url=registry.k8s.io%2Fcoredns%2Fcoredns&tag=v1.14.2")
        );
    }

    #[test]
    fn a_source_is_named_where_it_differs() {
        assert_eq!(upstream("curl", "7-1", "curl", "7-1"), None);
        assert_eq!(upstream("libcurl4", "7-1", "curl", "7-1"), Some("curl".to_owned()));
        assert_eq!(upstream("curl", "7-1+b1", "curl", "7-1"), Some("curl@7-1".to_owned()));
        assert_eq!(upstream("dmsetup", "2:1-2", "lvm2", "2-2"), Some("lvm2@2-2".to_owned()));
    }

    #[test]
    fn names_of_other_worlds_are_written_as_their_rules_say() {
        for (path, version, expected) in [
            ("k8s.io/kubernetes", Some("v1.36.3"), "pkg:golang/k8s.io/kubernetes@v1.36.3"),
            ("github.com/NYTimes/gziphandler", Some("v1.1.1"), "pkg:golang/github.com/nytimes/gziphandler@v1.1.1"),
            ("go.etcd.io/etcd/server/v3", Some("v3.6.16"), "pkg:golang/go.etcd.io/etcd/server/v3@v3.6.16"),
            ("a.test/x", Some("v2.0.0+incompatible"), "pkg:golang/a.test/x@v2.0.0%2Bincompatible"),
            ("stdlib", Some("1.26.8"), "pkg:golang/stdlib@1.26.8"),
            ("k8s.io/api", None, "pkg:golang/k8s.io/api"),
            ("a.test/~x/ü@1", None, "pkg:golang/a.test/~x/%C3%BC%401"),
        ] {
            assert_eq!(golang(path, version), expected);
        }
        assert_eq!(pypi("Typing_Extensions", "4.4.0"), "pkg:pypi/typing-extensions@4.4.0");
        let mut package = Installed {
            manager: Manager::Apk,
            name: "ssl_client",
            version: "1.36.1-r29",
            arch: "x86_64",
            source: "busybox",
            system: None,
            distro: Some("alpine-3.20.3".to_owned()),
            codename: None,
        };
        assert_eq!(installed(&package), "pkg:apk/alpine/ssl_client@1.36.1-r29?arch=x86_64&distro=alpine-3.20.3&upstream=busybox");
        (package.manager, package.system, package.distro, package.source) = (Manager::Dpkg, Some("ubuntu"), None, "ssl_client");
        assert_eq!(installed(&package), "pkg:deb/ubuntu/ssl_client@1.36.1-r29?arch=x86_64");
    }

    #[test]
    fn a_release_is_its_repository_s_where_that_is_sure() {
        let digest = Digest::Sha256(Sha256::of("a"));
        let of = |url| release("runc", Some("1.4.0"), &digest, Some(url));
        assert_eq!(
            of("https://github.com/Open-Containers/runc/releases/download/v1.4.0/runc.amd64"),
            "pkg:github/open-containers/runc@v1.4.0"
        );
        for other in [
            "https://github.com/a/b/archive/v1.tar.gz",
            "https://github.com/a/b/releases/download/x%2Fv1/f",
            "https://github.com.evil.test/a/b/releases/download/v1/f",
            "https://dl.test/runc",
        ] {
            let purl = of(other);
            assert!(purl.starts_with("pkg:generic/runc@1.4.0?checksum=sha256:"), "{purl}");
            assert!(purl.contains("&download_url=https:%2F%2F"), "{purl}");
        }
        assert_eq!(release("own", None, &digest, None), format!("pkg:generic/own?checksum={digest}"));
    }

    #[test]
    fn addresses_lose_their_secrets() {
        for (url, expected) in [
            ("https://user:pw@h.test:8443/a/b?token=t#f", Some("https://h.test:8443/a/b")),
            ("https://user:p@w@h.test/a", Some("https://h.test/a")),
            ("https://h.test", Some("https://h.test/")),
            ("https://h.test?token=t", Some("https://h.test/")),
            ("https://h.test/a@b", Some("https://h.test/a@b")),
            ("no address", None),
            ("https://@/a", None),
            ("https:\\\\u:secret@h/a", None),
        ] {
            assert_eq!(shown(url).as_deref(), expected, "{url}");
        }
    }
}
