//! Passwords and tokens of registries. The only file here that opens them: into the header of a request, marked as
//! sensitive, and nowhere else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use reqwest::blocking::RequestBuilder;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::lock;

/// Who we are at a registry.
#[derive(Debug)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password, or a token that the registry's owner gave in its place.
    pub password: SecretString,
}

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
    fn logins_do_not_print_their_password() {
        let login = Login { user: "me".to_owned(), password: "hidden".into() };
        assert!(!format!("{login:?}").contains("hidden"));
    }
}
