//! Passwords and tokens. The only file here that opens them: into the header of a request, marked as sensitive, into a proxy's
//! address, and into the line that tells apt a mirror's login.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use reqwest::Url;
use reqwest::blocking::RequestBuilder;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::login::{self, Login, Named};
use super::options::Way;
use super::{Options, lock, source};
use crate::error::{Error, Result};

/// What a request shows.
pub(super) enum Credential {
    Basic(Arc<Login>),
    Bearer(SecretString),
}

impl Credential {
    /// `request` with it.
    pub fn on(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Credential::Basic(login) => request.basic_auth(&login.user, Some(login.password.expose_secret())),
            Credential::Bearer(token) => request.bearer_auth(token.expose_secret()),
        }
    }
}

/// The entry of apt's netrc for a mirror that has a login of the user's. None where the mirror has no login, or where its
/// address has one in it.
///
/// # Errors
/// The login cannot be said in such a file.
pub fn netrc(mirror: &str, options: &Options) -> Result<Option<SecretString>> {
    let Ok(url) = Url::parse(mirror) else { return Ok(None) };
    let Some(login) = login::at(&url, Named::ByUser, &Options { apt: Way::Unknown, ..options.clone() }) else { return Ok(None) };
    let password = login.password.expose_secret();
    let is_word = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control()) && text != "machine";
    if !is_word(&login.user) || !is_word(password) {
        return Err(Error::user(format!("apt takes no blanks in the login for {}", source::host(&url)))
            .hint("write it into the mirror's address, with %20 for each blank"));
    }
    let place = format!("{}://{}", url.scheme(), source::host(&url));
    Ok(Some(format!("machine {place} login {} password {password}\n", login.user).into()))
}

/// A proxy's address with the login that apt has for the proxy, where it has one.
pub(super) fn proxy_with_login(proxy: &str, options: &Options) -> String {
    let Ok(mut url) = Url::parse(proxy) else { return proxy.to_owned() };
    let Some(login) = login::at(&url, Named::ByUser, options) else { return proxy.to_owned() };
    let set = url.set_username(&login.user).and_then(|()| url.set_password(Some(login.password.expose_secret())));
    if set.is_ok() { url.into() } else { proxy.to_owned() }
}

/// The token in an answer of a token server
/// (<https://distribution.github.io/distribution/spec/auth/token/#token-response-fields>).
pub(super) fn token(body: &[u8]) -> Option<Credential> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<SecretText>,
        access_token: Option<SecretText>,
    }
    // What serde says of a bad answer would quote it.
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let SecretText(token) = answer.token.or(answer.access_token)?;
    let text = token.expose_secret();
    // Anything else could not stand in a header.
    let sound = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    sound.then_some(Credential::Bearer(token))
}

/// A text that is a secret from its reading on.
#[derive(Deserialize)]
#[serde(from = "String")]
struct SecretText(SecretString);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        SecretText(text.into())
    }
}

/// For what a credential is good: a repository of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scope {
    /// Scheme, host and port. A credential never goes to another.
    pub server: String,
    /// The repository's path there.
    pub repository: String,
    /// Under what the login is found in the options.
    pub host: String,
}

/// The credentials of a command, in memory only.
#[derive(Default)]
pub(super) struct Wallet(Mutex<BTreeMap<Scope, Arc<Pocket>>>);

/// One scope's. Held locked while it is renewed, so that of many threads one asks for a token.
pub(super) type Pocket = Mutex<Option<Arc<Credential>>>;

impl Wallet {
    pub fn pocket(&self, scope: &Scope) -> Arc<Pocket> {
        Arc::clone(lock(&self.0).entry(scope.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn tokens_are_taken_out_of_answers() {
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
    fn apt_is_told_the_login_of_a_mirror_and_of_no_other() {
        let login = |password: &str| Login { user: "me".to_owned(), password: password.into(), token_hosts: BTreeSet::new() };
        let with =
            |password: &str| Options { logins: [("m.test:8080".to_owned(), Arc::new(login(password)))].into(), ..Options::default() };
        let line = |url: &str| netrc(url, &with("hidden")).unwrap().map(|line| line.expose_secret().to_owned());
        assert_eq!(line("http://m.test:8080/debian/").as_deref(), Some("machine http://m.test:8080 login me password hidden\n"));
        assert_eq!((line("http://m.test/debian/"), line("http://u:p@m.test:8080/"), line("file:/srv/debian")), (None, None, None));
        let error = netrc("http://m.test:8080/", &with("hid den")).unwrap_err().to_string();
        assert!(error.contains("no blanks") && !error.contains("hid den"), "{error}");
    }
}
