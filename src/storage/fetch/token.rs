//! Access to a registry: the credential that a 401 asks for.
//!
//! The [token specification](https://distribution.github.io/distribution/spec/auth/token/) of the reference implementation;
//! the OCI distribution specification leaves it open.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::address::{self, is_loopback};
use super::challenge::{self, Challenge};
use super::credential::{self, Credential, Scope};
use super::exchange::{self, Reply};
use super::failure::SourceError;
use super::lock;
use super::login::Login;
use super::message::{Ask, BrokenKind};
use super::response::{Head, Verdict};
use super::web::Web;
use crate::common::error::Result;

/// Size limit of a token server's response, in bytes.
const MAX_TOKEN: u64 = 1 << 20;

/// The result of a renewal.
pub(super) enum Renewal {
    /// There is another credential now: repeat the request.
    Again,
    /// A permanent error.
    Refused(SourceError),
    /// A temporary error.
    Later { why: SourceError, pause: Option<Duration> },
}

/// Obtains the credential that the registry requests in `head` (a 401), unless another thread has done so since `used` was
/// sent. `renewed` is true if that was done before: then the registry rejects its own token, and the renewal fails.
pub(super) fn renew(web: &Web<'_>, scope: &Scope, used: Option<&Arc<Credential>>, renewed: bool, head: &Head) -> Result<Renewal> {
    if renewed {
        return Ok(match used.map(|used| &**used) {
            Some(Credential::Basic(_)) => unknown(scope, "rejects the configured login".to_owned()),
            _ => refused("answered 401 Unauthorized to the token that it requested".to_owned()),
        });
    }
    let entry = web.credentials.entry(scope);
    let mut held = lock(&entry);
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
        (None, Some(_), None) => return Ok(unknown(scope, "requires a login, and none is configured for it".to_owned())),
        (None, None, _) => return Ok(refused("answered 401 Unauthorized without a supported challenge".to_owned())),
    };
    *held = Some(Arc::new(credential));
    Ok(Renewal::Again)
}

fn refused(reason: String) -> Renewal {
    Renewal::Refused(SourceError::Other(reason))
}

/// A refusal that a (different) login would resolve.
fn unknown(scope: &Scope, reason: String) -> Renewal {
    Renewal::Refused(SourceError::Login { reason, host: scope.host.clone() })
}

/// True if a token server may see the login of a registry: it is the registry's own host, or the user's configuration names it.
/// Plain http is allowed to loopback, and to the registry's own host if the registry itself is reached over plain http. The
/// registry's response is no authority: an impostor would get the password.
fn may_know(login: &Login, scope: &Scope, at: &Url) -> bool {
    let key = address::host(at);
    let own = Url::parse(&scope.server).is_ok_and(|server| address::host(&server) == key) || scope.host == key;
    let is_safe = at.scheme() == "https" || at.host_str().is_some_and(is_loopback);
    own && (is_safe || scope.server.starts_with("http://")) || login.token_hosts.contains(&key) && is_safe
}

/// The refusal to send a login to a token server.
fn withheld(scope: &Scope, at: &Url) -> Renewal {
    let token_host = address::host(at);
    let plainly = if at.scheme() == "https" { "" } else { " over plain http" };
    let reason = format!("requests its login to be sent to {token_host}{plainly}, which no `[[login]]` names as token-host");
    Renewal::Refused(SourceError::TokenHost { reason, host: scope.host.clone(), token_host })
}

/// Fetches a token as `bearer` requests: anonymously, or with the registry's login.
fn token(web: &Web<'_>, scope: &Scope, bearer: &Challenge) -> Result<Result<Credential, Renewal>> {
    let url = match token_url(scope, &bearer.parameters) {
        Ok(url) => url,
        Err(reason) => return Ok(Err(refused(reason))),
    };
    let at = address::host(&url);
    let login = web.options.logins.get(&scope.host);
    if login.is_some_and(|login| !may_know(login, scope, &url)) {
        return Ok(Err(withheld(scope, &url)));
    }
    let credential = login.map(|login| Arc::new(Credential::Basic(Arc::clone(login))));
    let later = |why: SourceError, pause| Ok(Err(Renewal::Later { why, pause }));
    let (head, body) = match exchange::send(web, Ask { credential, ..Ask::get(url) }, MAX_TOKEN, false)? {
        Reply::Answer(head, body) => (head, body),
        Reply::TooMuch => return Ok(Err(refused(format!("its token server {at} sent more than {MAX_TOKEN} bytes")))),
        Reply::Broken(broken) => {
            let reason = format!("its token server {at} {}", broken.reason);
            return match broken.kind {
                BrokenKind::Unreachable => later(SourceError::Unreachable(reason), None),
                BrokenKind::Cut => later(SourceError::Other(reason), None),
                BrokenKind::Final => Ok(Err(refused(reason))),
                BrokenKind::Proxy => Ok(Err(Renewal::Refused(SourceError::Proxy(reason)))),
            };
        }
    };
    Ok(match head.judge(0, None) {
        Verdict::Take { .. } => credential::token(&body).ok_or_else(|| refused(format!("its token server {at} returned no token"))),
        Verdict::Later { reason, pause } => {
            Err(Renewal::Later { why: SourceError::Other(format!("its token server {at} {reason}")), pause })
        }
        Verdict::Portal(reason) => Err(Renewal::Refused(SourceError::Portal(format!("its token server {at} {reason}")))),
        Verdict::Refuse(reason) | Verdict::StartOver(reason) => {
            let whose = if login.is_some() { "to the configured login" } else { "to an anonymous request" };
            let reason = format!("its token server {at} {reason} {whose}");
            Err(if head.status == 401 { unknown(scope, reason) } else { refused(reason) })
        }
    })
}

/// The address of the token request. A registry over https cannot redirect the login to plain http.
fn token_url(scope: &Scope, parameters: &std::collections::BTreeMap<String, String>) -> Result<Url, String> {
    let realm = parameters.get("realm").map(String::as_str).unwrap_or_default();
    let schemes: &[&str] = if scope.server.starts_with("http://") { &address::WEB_SCHEMES } else { &["https"] };
    let mut url = address::parse(realm, schemes)
        .map_err(|(shown, why)| format!("names an unusable token server: {}: {why}", address::brief(&shown)))?;
    // These fail only for addresses that cannot have a user at all.
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

/// Builds token addresses from any challenge, for the fuzzer.
pub(super) fn fuzz(text: &str) {
    let scope = Scope { server: "https://registry.test".to_owned(), repository: "a/b".to_owned(), host: "registry.test".to_owned() };
    for challenge in challenge::parse(text) {
        // Either result is fine.
        let _ = token_url(&scope, &challenge.parameters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_goes_to_its_own_host_and_to_configured_token_hosts_only() {
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
        assert_eq!(address::host(&url), "evil.test", "the user part of a realm is not its host");
    }

    #[test]
    fn a_registry_over_https_cannot_name_a_token_server_over_http() {
        let scope = |server: &str| Scope { server: server.to_owned(), repository: "a".to_owned(), host: "h".to_owned() };
        let asked = |server: &str, realm: &str| token_url(&scope(server), &[("realm".to_owned(), realm.to_owned())].into());
        let found = asked("https://h.test", "http://u:secret@tokens.test/").unwrap_err();
        assert!(found.contains("only https are supported, not http") && !found.contains("secret"), "{found}");
        let own = "https://tokens.test/t?a=b&scope=repository%3Aa%3Apull";
        assert_eq!(asked("https://h.test", "https://u:secret@tokens.test/t?a=b").unwrap().as_str(), own);
        assert!(asked("http://127.0.0.1:5000", "http://tokens.test/").is_ok());
    }
}
