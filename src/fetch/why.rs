//! Why a source did not give what was asked for, in words for who can mend it.

use super::answer::Head;
use super::client::{Broken, BrokenKind, wants_login};
use super::source::{self, Target};
use crate::value::Digest;

/// The sources that failed, each with its last reason.
#[derive(Debug)]
pub(super) struct Failed {
    pub sources: Vec<(String, Why)>,
}

/// Why a source did not give an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    Mismatch(Digest),
    Portal(String),
    Unreachable(String),
    /// It wants to know who we are, or does not believe it.
    Login {
        reason: String,
        /// The server, as a login names it.
        host: String,
    },
    /// It sends our login to another server.
    TokenHost {
        reason: String,
        /// The server that the login is for.
        host: String,
        /// The server that it is to be sent to.
        token_host: String,
    },
    /// The proxy does not let us through.
    Proxy(String),
    /// It has more than is taken of what has no locked size.
    Unsized(String),
    Other(String),
}

/// Why `target` refuses, in words for who can mend it.
pub(super) fn refused(target: &Target, head: &Head, reason: String) -> Why {
    match (head.status, &head.proxy) {
        (407, Some(proxy)) => Why::Proxy(wants_login(proxy)),
        (401, _) if head.redirected.is_none() => {
            let host = source::host(&target.url);
            let why = if target.has_login() { "to the login that is configured for it" } else { "and no login is configured for it" };
            Why::Login { reason: format!("{reason}{} {why}", if target.has_login() { "" } else { "," }), host }
        }
        _ => Why::Other(reason),
    }
}

impl Broken {
    /// The reason, and whether asking again is useless.
    pub fn why(self) -> (Why, bool) {
        match self.kind {
            BrokenKind::Unreachable => (Why::Unreachable(self.reason), false),
            BrokenKind::Cut => (Why::Other(self.reason), false),
            BrokenKind::Final => (Why::Other(self.reason), true),
            BrokenKind::Proxy => (Why::Proxy(self.reason), true),
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Mismatch(found) => write!(f, "found {found}"),
            Why::Login { reason: text, .. }
            | Why::TokenHost { reason: text, .. }
            | Why::Portal(text)
            | Why::Unreachable(text)
            | Why::Proxy(text)
            | Why::Unsized(text)
            | Why::Other(text) => f.write_str(text),
        }
    }
}
