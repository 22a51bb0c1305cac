//! Passwords and tokens. The only file of `fetch` that opens them: for a request's header, marked as sensitive; for a proxy's
//! address; and for the netrc line of a mirror's login in apt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use reqwest::Url;
use reqwest::blocking::RequestBuilder;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::login::{Login, NamedBy};
use super::options::AptAccess;
use super::{Options, address, lock};
use crate::common::error::{Error, Result};

/// The credential of a request.
pub(super) enum Credential {
    Basic(Arc<Login>),
    Bearer(SecretString),
}

impl Credential {
    /// `request` with this credential in its `Authorization` header.
    pub(super) fn on(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Credential::Basic(login) => request.basic_auth(&login.user, Some(login.password.expose_secret())),
            Credential::Bearer(token) => request.bearer_auth(token.expose_secret()),
        }
    }
}

/// The login for an address; none if the address contains one itself. An address from a lockfile gets no login over plain http,
/// where an eavesdropper could read the password.
pub(super) fn login_for(url: &Url, named: NamedBy, options: &Options) -> Option<Arc<Login>> {
    if !url.username().is_empty() || url.password().is_some() || !address::WEB_SCHEMES.contains(&url.scheme()) {
        return None;
    }
    if named == NamedBy::Lockfile && url.scheme() != "https" && !url.host_str().is_some_and(address::is_loopback) {
        return None;
    }
    let with_port = || Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?));
    let own = options.logins.get(&address::host(url)).or_else(|| options.logins.get(&with_port()?));
    let of_apt = || options.apt.known().filter(|_| named == NamedBy::User)?.machines.iter().find(|machine| machine.is_for(url));
    own.cloned().or_else(|| Some(Arc::clone(&of_apt()?.login)))
}

/// The netrc entry for a mirror with a configured login. None if the mirror has no login, or its address contains one.
///
/// # Errors
/// A login that netrc cannot express.
pub(crate) fn netrc(mirror: &str, options: &Options) -> Result<Option<SecretString>> {
    let Ok(url) = Url::parse(mirror) else { return Ok(None) };
    let Some(login) = login_for(&url, NamedBy::User, &Options { apt: AptAccess::Unknown, ..options.clone() }) else { return Ok(None) };
    let password = login.password.expose_secret();
    let is_word = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control()) && text != "machine";
    if !is_word(&login.user) || !is_word(password) {
        return Err(Error::user(format!("apt does not support spaces in the login for {}", address::host(&url)))
            .hint("write the login into the mirror's address, with %20 for each space"));
    }
    let place = format!("{}://{}", url.scheme(), address::host(&url));
    Ok(Some(format!("machine {place} login {} password {password}\n", login.user).into()))
}

/// A proxy's address with apt's login for that proxy, if there is one.
pub(super) fn proxy_with_login(proxy: &str, options: &Options) -> String {
    let Ok(mut url) = Url::parse(proxy) else { return proxy.to_owned() };
    let Some(login) = login_for(&url, NamedBy::User, options) else { return proxy.to_owned() };
    let set = url.set_username(&login.user).and_then(|()| url.set_password(Some(login.password.expose_secret())));
    if set.is_ok() { url.into() } else { proxy.to_owned() }
}

/// The token in a token server's response
/// (<https://distribution.github.io/distribution/spec/auth/token/#token-response-fields>).
pub(super) fn token(body: &[u8]) -> Option<Credential> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<SecretText>,
        access_token: Option<SecretText>,
    }
    // serde's error text would quote the token.
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let SecretText(token) = answer.token.or(answer.access_token)?;
    let text = token.expose_secret();
    // Other bytes are not valid in a header.
    let sound = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    sound.then_some(Credential::Bearer(token))
}

/// A JSON string that is deserialized directly into a secret.
#[derive(Deserialize)]
#[serde(from = "String")]
struct SecretText(SecretString);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        SecretText(text.into())
    }
}

/// The scope of a credential: one repository of one server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scope {
    /// Scheme, host and port. A credential is never sent to another server.
    pub server: String,
    /// The repository's path on the server.
    pub repository: String,
    /// The key of the login in the options.
    pub host: String,
}

/// The credentials of one command, kept in memory only.
#[derive(Default)]
pub(super) struct CredentialCache(Mutex<BTreeMap<Scope, Arc<CachedCredential>>>);

/// The credential of one scope. Locked while it is renewed, so that only one thread requests a token.
pub(super) type CachedCredential = Mutex<Option<Arc<Credential>>>;

impl CredentialCache {
    /// The cache entry of a scope, created empty.
    pub(super) fn entry(&self, scope: &Scope) -> Arc<CachedCredential> {
        Arc::clone(lock(&self.0).entry(scope.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn tokens_are_parsed() {
        for (body, good) in [
            (r#"{"token": "abc.def-_~+/="}"#, true),
            (r#"{"access_token": "abc", "expires_in": 60, "issued_at": null}"#, true),
            (r#"{"token": null, "access_token": "abc"}"#, true),
            (r#"{"token": "a b"}"#, false),
            (r#"{"token": "a\r\nX-Evil: 1"}"#, false),
            (r#"{"token": ""}"#, false),
            (r#"{"token": 7}"#, false),
            ("{}", false),
            ("[]", false),
            ("<html>", false),
        ] {
            assert_eq!(token(body.as_bytes()).is_some(), good, "{body}");
        }
    }

    #[test]
    fn netrc_has_an_entry_only_for_a_mirror_with_a_login() {
        let login = |password: &str| Login { user: "me".to_owned(), password: password.into(), token_hosts: BTreeSet::new() };
        let with =
            |password: &str| Options { logins: [("m.test:8080".to_owned(), Arc::new(login(password)))].into(), ..Options::default() };
        let line = |url: &str| netrc(url, &with("hidden")).unwrap().map(|line| line.expose_secret().to_owned());
        assert_eq!(line("http://m.test:8080/debian/").as_deref(), Some("machine http://m.test:8080 login me password hidden\n"));
        assert_eq!((line("http://m.test/debian/"), line("http://u:p@m.test:8080/"), line("file:/srv/debian")), (None, None, None));
        let error = netrc("http://m.test:8080/", &with("hid den")).unwrap_err().to_string();
        assert!(error.contains("does not support spaces") && !error.contains("hid den"), "{error}");
    }
}
