//! Reasons for a failed source, worded for the person who can fix them.

use super::address;
use super::message::{Broken, BrokenKind, wants_login};
use super::response::Head;
use super::target::Target;
use crate::common::value::Digest;

/// All sources of an artifact, each with its last error.
#[derive(Debug)]
pub(super) struct SourceErrors {
    pub sources: Vec<(String, SourceError)>,
}

/// The reason why a source did not deliver an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SourceError {
    /// The bytes have this digest instead of the locked one.
    Mismatch(Digest),
    /// A web page came instead of the artifact.
    Portal(String),
    /// No connection.
    Unreachable(String),
    /// The server requires a login, or rejects the configured one.
    Login {
        reason: String,
        /// The server, in the form that `[[login]]` uses.
        host: String,
    },
    /// The registry names a token server that may not see the registry's login.
    TokenHost {
        reason: String,
        /// The server that the login belongs to.
        host: String,
        /// The token server.
        token_host: String,
    },
    /// The proxy requires a login.
    Proxy(String),
    /// The artifact has no locked size and exceeds [`Options::max_unsized`](super::Options::max_unsized).
    Unsized(String),
    /// Any other reason.
    Other(String),
}

/// The error for a refusal by `target`.
pub(super) fn refused(target: &Target, head: &Head, reason: String) -> SourceError {
    match (head.status, &head.proxy) {
        (407, Some(proxy)) => SourceError::Proxy(wants_login(proxy)),
        (401, _) if head.redirected.is_none() => {
            let host = address::host(&target.url);
            let why = if target.has_login() { "to the configured login" } else { "and no login is configured for it" };
            SourceError::Login { reason: format!("{reason}{} {why}", if target.has_login() { "" } else { "," }), host }
        }
        _ => SourceError::Other(reason),
    }
}

impl Broken {
    /// The error, and whether it is permanent.
    pub(super) fn why(self) -> (SourceError, bool) {
        match self.kind {
            BrokenKind::Unreachable => (SourceError::Unreachable(self.reason), false),
            BrokenKind::Cut => (SourceError::Other(self.reason), false),
            BrokenKind::Final => (SourceError::Other(self.reason), true),
            BrokenKind::Proxy => (SourceError::Proxy(self.reason), true),
        }
    }
}

impl std::fmt::Display for SourceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SourceError::Mismatch(found) => write!(f, "found {found}"),
            SourceError::Login { reason: text, .. }
            | SourceError::TokenHost { reason: text, .. }
            | SourceError::Portal(text)
            | SourceError::Unreachable(text)
            | SourceError::Proxy(text)
            | SourceError::Unsized(text)
            | SourceError::Other(text) => f.write_str(text),
        }
    }
}
