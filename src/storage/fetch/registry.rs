//! Container registries: the addresses of manifests and blobs
//! ([OCI distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md)).

use super::address::{self, Unusable, host_key, is_loopback, shown};
use super::credential::Scope;
use super::target::{Route, Target};
use super::{Options, RegistryKind};
use crate::common::value::Reference;

/// Media types of an index or manifest, OCI's and Docker's.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// References name the first host, but its registry API is at the second; the first serves a web site.
const ELSEWHERE: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// The targets for `id` (a digest or a tag) in the repository of `reference`, in order.
pub(super) fn targets(reference: &Reference, kind: RegistryKind, id: &str, options: &Options) -> Vec<Result<Target, Unusable>> {
    let fitting = options.registry_mirrors.iter().filter(|(registry, _)| registry == reference.registry());
    let mirrors: Vec<_> = fitting.map(|(_, base)| below(base, None, reference.repository(), kind, id)).collect();
    if !mirrors.is_empty() {
        return mirrors;
    }
    let registry = reference.registry();
    let (from, to) = ELSEWHERE;
    let scheme = if registry.split(':').next().is_some_and(is_loopback) { "http" } else { "https" };
    let base = format!("{scheme}://{}", if registry == from { to } else { registry });
    vec![below(&base, Some(registry), reference.repository(), kind, id)]
}

/// The target below a base address. `registry` is the registry's name if the base is the registry's own.
fn below(base: &str, registry: Option<&str>, repository: &str, kind: RegistryKind, id: &str) -> Result<Target, Unusable> {
    let mut url = address::parse(base, &address::WEB_SCHEMES)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err((shown(&url), "a registry's address must not contain a user and password: configure a `[[login]]` instead".to_owned()));
    }
    let parts: Vec<&str> = url.path().split('/').filter(|part| !part.is_empty()).collect();
    // A registry API below the server's root is marked by `v2` in the base address.
    let (front, inner) = match parts.iter().position(|part| *part == "v2") {
        None => ("v2".to_owned(), parts.join("/")),
        Some(at) => (parts[..=at].join("/"), parts[at + 1..].join("/")),
    };
    let repository = if inner.is_empty() { repository.to_owned() } else { format!("{inner}/{repository}") };
    let (folder, accept) = match kind {
        RegistryKind::Manifest => ("manifests", Some(MANIFESTS)),
        RegistryKind::Blob => ("blobs", None),
    };
    url.set_path(&format!("/{front}/{repository}/{folder}/{id}"));
    url.set_query(None);
    url.set_fragment(None);
    let host = registry.map_or_else(|| address::host(&url), |name| host_key(name).unwrap_or_else(|| name.to_owned()));
    let scope = Scope { server: address::server(&url), repository, host };
    Ok(Target { url, accept, scope: Some(scope), login: None, route: Route::Web })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(reference: &str, mirrors: &[(&str, &str)]) -> Vec<(String, Scope)> {
        let registry_mirrors = mirrors.iter().map(|(registry, base)| ((*registry).to_owned(), (*base).to_owned())).collect();
        let options = Options { registry_mirrors, ..Options::default() };
        let found = targets(&reference.parse().unwrap(), RegistryKind::Blob, "ID", &options);
        found
            .into_iter()
            .map(|target| target.unwrap_or_else(|(at, why)| panic!("{at}: {why}")))
            .map(|t| (t.url.into(), t.scope.unwrap()))
            .collect()
    }

    #[test]
    fn references_give_addresses() {
        for (reference, url, host) in [
            ("registry.test/a/b:1", "https://registry.test/v2/a/b/blobs/ID", "registry.test"),
            ("registry.test:5000/a:1", "https://registry.test:5000/v2/a/blobs/ID", "registry.test:5000"),
            ("docker.io/library/a:1", "https://registry-1.docker.io/v2/library/a/blobs/ID", "docker.io"),
            ("localhost:5000/a:1", "http://localhost:5000/v2/a/blobs/ID", "localhost:5000"),
            ("127.8.9.1/a:1", "http://127.8.9.1/v2/a/blobs/ID", "127.8.9.1"),
            ("127.0.0.1.test/a:1", "https://127.0.0.1.test/v2/a/blobs/ID", "127.0.0.1.test"),
            ("10.0.0.1:80/a:1", "https://10.0.0.1:80/v2/a/blobs/ID", "10.0.0.1:80"),
        ] {
            let found = asked(reference, &[]);
            assert_eq!((found.len(), &*found[0].0, &*found[0].1.host), (1, url, host));
        }
        for (base, url, repository) in [
            ("http://m.test:5000/k8s", "http://m.test:5000/v2/k8s/a/b/blobs/ID", "k8s/a/b"),
            ("https://m.test", "https://m.test/v2/a/b/blobs/ID", "a/b"),
            ("https://m.test/v2/x/", "https://m.test/v2/x/a/b/blobs/ID", "x/a/b"),
            ("https://m.test/api/docker/v2?q#f", "https://m.test/api/docker/v2/a/b/blobs/ID", "a/b"),
            ("https://m.test/xv2/y", "https://m.test/v2/xv2/y/a/b/blobs/ID", "xv2/y/a/b"),
        ] {
            let found = asked("registry.test/a/b:1", &[("registry.test", base)]);
            assert_eq!((&*found[0].0, &*found[0].1.repository), (url, repository), "{base}");
        }
    }
}
