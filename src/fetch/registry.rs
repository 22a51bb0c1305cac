//! Container registries: what is asked where, and how they are satisfied that we may.
//!
//! [OCI distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md), and for
//! tokens the [token specification](https://distribution.github.io/distribution/spec/auth/token/) of its reference
//! implementation, which it leaves open.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::answer::{Head, Verdict};
use super::challenge::{self, Challenge};
use super::client::{Ask, BrokenKind};
use super::credential::{self, Credential, Scope};
use super::login::{Login, host_key};
use super::small::{self, Gave};
use super::source::{self, Lane, Target, Unusable, is_loopback, shown};
use super::web::Web;
use super::why::Why;
use super::{Options, RegistryKind, lock};
use crate::error::Result;
use crate::value::Reference;

/// What manifests may be: an index or a manifest, as OCI or as Docker calls them.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// References of this registry mean that one; by its own name it answers with a page for people.
const ELSEWHERE: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// A token server's answer is smaller than this.
const MAX_TOKEN: u64 = 1 << 20;

/// The addresses to ask for `id` (a digest or a tag) in the repository of `reference`, in order.
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

/// The address below a base. `registry` is the registry's name where the base is its own.
fn below(base: &str, registry: Option<&str>, repository: &str, kind: RegistryKind, id: &str) -> Result<Target, Unusable> {
    let mut url = source::parse(base, &source::WEB_SCHEMES)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err((shown(&url), "a registry's address has no user and password in it: logins are given apart".to_owned()));
    }
    let parts: Vec<&str> = url.path().split('/').filter(|part| !part.is_empty()).collect();
    // Where the registry's own interface is somewhere in its server, the address says so by the `v2`.
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
    let host = registry.map_or_else(|| source::host(&url), |name| host_key(name).unwrap_or_else(|| name.to_owned()));
    let scope = Scope { server: source::server(&url), repository, host };
    Ok(Target { url, accept, scope: Some(scope), login: None, lane: Lane::Web })
}

/// What came of a refusal.
pub(super) enum Renewal {
    /// Ask again: there is another credential now.
    Again,
    /// The same would come of it.
    Refused(Why),
    /// It may pass.
    Later { why: Why, pause: Option<Duration> },
}

/// Gets what the registry asks for in `head` (a 401), unless another thread has done so since `used` was shown. `renewed`
/// says that this was got right before; then it is given up.
pub(super) fn renew(web: &Web<'_>, scope: &Scope, used: Option<&Arc<Credential>>, renewed: bool, head: &Head) -> Result<Renewal> {
    if renewed {
        return Ok(match used.map(|used| &**used) {
            Some(Credential::Basic(_)) => unknown(scope, "does not accept the login that is configured for it".to_owned()),
            _ => refused("answered 401 Unauthorized, also to what it had asked for".to_owned()),
        });
    }
    let pocket = web.wallet.pocket(scope);
    let mut held = lock(&pocket);
    web.cancel.check()?;
    if let Some(credential) = held.as_ref()
        && !used.is_some_and(|used| Arc::ptr_eq(used, credential))
    {
        return Ok(Renewal::Again);
    }
    *held = None;
    let login = web.options.logins.get(&scope.host);
    let challenges = challenge::parse(head.authenticate.as_deref().unwrap_or_default());
    let find = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
    let credential = match (find("bearer").filter(|bearer| bearer.parameters.contains_key("realm")), find("basic"), login) {
        (Some(bearer), ..) => match token(web, scope, bearer)? {
            Ok(credential) => credential,
            Err(renewal) => return Ok(renewal),
        },
        (None, Some(_), Some(login)) => Credential::Basic(Arc::clone(login)),
        (None, Some(_), None) => return Ok(unknown(scope, "asks for a login, and none is configured for it".to_owned())),
        (None, None, _) => return Ok(refused("answered 401 Unauthorized, and does not say how to be asked".to_owned())),
    };
    *held = Some(Arc::new(credential));
    Ok(Renewal::Again)
}

fn refused(reason: String) -> Renewal {
    Renewal::Refused(Why::Other(reason))
}

/// Another login, or one at all, would mend it.
fn unknown(scope: &Scope, reason: String) -> Renewal {
    Renewal::Refused(Why::Login { reason, host: scope.host.clone() })
}

/// True when a token server may be shown the login of a registry. It must be the registry's own host, or one that the user names.
/// Plain http is allowed to loopback, and to the registry's own host when the registry is asked by plain http too. The registry's
/// word is no reason: whoever answers in its place would get the password.
fn may_know(login: &Login, scope: &Scope, at: &Url) -> bool {
    let key = source::host(at);
    let own = Url::parse(&scope.server).is_ok_and(|server| source::host(&server) == key) || scope.host == key;
    let is_safe = at.scheme() == "https" || at.host_str().is_some_and(is_loopback);
    own && (is_safe || scope.server.starts_with("http://")) || login.token_hosts.contains(&key) && is_safe
}

/// The refusal to show a login to a token server.
fn withheld(scope: &Scope, at: &Url) -> Renewal {
    let token_host = source::host(at);
    let plainly = if at.scheme() == "https" { "" } else { " by plain http" };
    let reason = format!("wants its login sent to {token_host}{plainly}, which no login names as its token host");
    Renewal::Refused(Why::TokenHost { reason, host: scope.host.clone(), token_host })
}

/// Fetches a token as `bearer` says: anonymously, or with the login of the registry.
fn token(web: &Web<'_>, scope: &Scope, bearer: &Challenge) -> Result<Result<Credential, Renewal>> {
    let url = match token_url(scope, &bearer.parameters) {
        Ok(url) => url,
        Err(reason) => return Ok(Err(refused(reason))),
    };
    let at = source::host(&url);
    let login = web.options.logins.get(&scope.host);
    if login.is_some_and(|login| !may_know(login, scope, &url)) {
        return Ok(Err(withheld(scope, &url)));
    }
    let credential = login.map(|login| Arc::new(Credential::Basic(Arc::clone(login))));
    let later = |why: Why, pause| Ok(Err(Renewal::Later { why, pause }));
    let (head, body) = match small::once(web, Ask { credential, ..Ask::get(url) }, MAX_TOKEN, false)? {
        Gave::Answer(head, body) => (head, body),
        Gave::TooMuch => return Ok(Err(refused(format!("its token server {at} does not stop talking")))),
        Gave::Broken(broken) => {
            let reason = format!("its token server {at} {}", broken.reason);
            return match broken.kind {
                BrokenKind::Unreachable => later(Why::Unreachable(reason), None),
                BrokenKind::Cut => later(Why::Other(reason), None),
                BrokenKind::Final => Ok(Err(refused(reason))),
                BrokenKind::Proxy => Ok(Err(Renewal::Refused(Why::Proxy(reason)))),
            };
        }
    };
    Ok(match head.judge(0, None) {
        Verdict::Take { .. } => credential::token(&body).ok_or_else(|| refused(format!("its token server {at} gave no token"))),
        Verdict::Later { reason, pause } => Err(Renewal::Later { why: Why::Other(format!("its token server {at} {reason}")), pause }),
        Verdict::Portal(reason) => Err(Renewal::Refused(Why::Portal(format!("its token server {at} {reason}")))),
        Verdict::Refuse(reason) | Verdict::StartOver(reason) => {
            let whose = if login.is_some() { "to the login that is configured" } else { "to an anonymous request" };
            let reason = format!("its token server {at} {reason} {whose}");
            Err(if head.status == 401 { unknown(scope, reason) } else { refused(reason) })
        }
    })
}

/// The address to fetch a token from. A registry that is asked over https cannot send us, and our login, to plain http.
fn token_url(scope: &Scope, parameters: &std::collections::BTreeMap<String, String>) -> Result<Url, String> {
    let realm = parameters.get("realm").map(String::as_str).unwrap_or_default();
    let schemes: &[&str] = if scope.server.starts_with("http://") { &source::WEB_SCHEMES } else { &["https"] };
    let mut url = source::parse(realm, schemes)
        .map_err(|(shown, why)| format!("names a token server that is not asked: {}: {why}", source::brief(&shown)))?;
    // These fail only where an address can have no such part.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let own = format!("repository:{}:pull", scope.repository);
    let mut query = url.query_pairs_mut();
    if let Some(service) = parameters.get("service") {
        query.append_pair("service", service);
    }
    query.append_pair("scope", parameters.get("scope").unwrap_or(&own));
    drop(query);
    Ok(url)
}

/// Makes the address of a token server out of a challenge, as far as that goes.
pub(super) fn survive(text: &str) {
    let scope = Scope { server: "https://registry.test".to_owned(), repository: "a/b".to_owned(), host: "registry.test".to_owned() };
    for challenge in challenge::parse(text) {
        // A refusal is as good as an address.
        let _ = token_url(&scope, &challenge.parameters);
    }
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
    fn references_lead_to_addresses() {
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

    #[test]
    fn a_login_is_for_its_own_host_and_for_those_that_the_user_names() {
        let own = ("https://r.test", "r.test");
        let alias = ("https://registry-1.r.test", "r.test");
        let plain = ("http://r.test:5000", "r.test:5000");
        for ((server, host), named, realm, may) in [
            (own, "", "https://r.test/token", true),
            (own, "", "https://R.test:443/token", true),
            (alias, "", "https://registry-1.r.test/token", true),
            (plain, "", "http://r.test:5000/token", true),
            (plain, "", "https://r.test:5000/token", true),
            (own, "auth.test", "https://auth.test/token", true),
            (own, "auth.test:8443", "https://auth.test:8443/token", true),
            (plain, "127.0.0.1:9", "http://127.0.0.1:9/token", true),
            (own, "", "https://auth.r.test/token", false),
            (own, "", "https://r.test.:443/token", false),
            (own, "", "https://r.test:8443/token", false),
            (own, "", "https://evil.test/r.test", false),
            (own, "", "https://r.test.evil.test/", false),
            (own, "", "https://xn--bcher-kva.test/", false),
            (own, "auth.test", "https://auth.test:8443/token", false),
            (own, "auth.test", "https://auth.test.evil.test/token", false),
            (own, "auth.test", "https://sub.auth.test/token", false),
            (own, "", "http://r.test/token", false),
            (plain, "auth.test", "http://auth.test/token", false),
            (plain, "", "http://r.test/token", false),
            (plain, "", "http://r.test:5001/token", false),
        ] {
            let scope = Scope { server: server.to_owned(), repository: "a".to_owned(), host: host.to_owned() };
            let token_hosts = [named.to_owned()].into_iter().filter(|named| !named.is_empty()).collect();
            let login = Login { user: "me".to_owned(), password: "hidden".into(), token_hosts };
            assert_eq!(may_know(&login, &scope, &Url::parse(realm).unwrap()), may, "{server} {named} {realm}");
        }
        let scope = Scope { server: "https://r.test".to_owned(), repository: "a".to_owned(), host: "r.test".to_owned() };
        let url = token_url(&scope, &[("realm".to_owned(), "https://r.test@evil.test/".to_owned())].into()).unwrap();
        assert_eq!(source::host(&url), "evil.test", "a user in a realm is no host");
    }

    #[test]
    fn a_registry_over_https_cannot_send_us_to_plain_http() {
        let scope = |server: &str| Scope { server: server.to_owned(), repository: "a".to_owned(), host: "h".to_owned() };
        let asked = |server: &str, realm: &str| token_url(&scope(server), &[("realm".to_owned(), realm.to_owned())].into());
        let found = asked("https://h.test", "http://u:secret@tokens.test/").unwrap_err();
        assert!(found.contains("only https are fetched, not http") && !found.contains("secret"), "{found}");
        let own = "https://tokens.test/t?a=b&scope=repository%3Aa%3Apull";
        assert_eq!(asked("https://h.test", "https://u:secret@tokens.test/t?a=b").unwrap().as_str(), own);
        assert!(asked("http://127.0.0.1:5000", "http://tokens.test/").is_ok());
    }
}
