//! A request, and the messages in which its answer comes.

use std::sync::Arc;

use reqwest::Url;

use super::credential::Credential;
use super::response::Head;
use super::target::Route;

/// The most bytes of a body in one message.
pub(super) const CHUNK: usize = 128 << 10;

/// A request for one address.
pub(super) struct Ask {
    pub url: Url,
    /// First byte of the requested range.
    pub from: u64,
    /// `HEAD` instead of `GET`.
    pub head: bool,
    /// The `Accept` header, if one is needed.
    pub accept: Option<&'static str>,
    /// Sent to this server only, not to a redirect's target.
    pub credential: Option<Arc<Credential>>,
    /// The proxies and TLS settings to use.
    pub route: Route,
    /// The proxy in between, without secrets. [`super::web::Web::ask`] sets it.
    pub proxy: Option<Box<str>>,
}

impl Ask {
    /// A request for the whole resource at `url`.
    pub(super) fn get(url: Url) -> Ask {
        Ask { url, from: 0, head: false, accept: None, credential: None, route: Route::Web, proxy: None }
    }
}

/// A transfer's messages: `Head`, then for a successful response any number of `Data` and one `End`. `Failed` may come at
/// any point and is the last.
pub(super) enum Message {
    Head(Head),
    Data(Vec<u8>),
    End,
    Failed(Broken),
}

/// The reason for a broken transfer.
#[derive(Debug)]
pub(super) struct Broken {
    pub reason: String,
    pub kind: BrokenKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BrokenKind {
    /// No connection was made.
    Unreachable,
    /// The connection broke or timed out.
    Cut,
    /// A redirect that is not followed, or a missing file; a retry gives the same.
    Final,
    /// The proxy requires a login.
    Proxy,
}

/// The reason text for a proxy that answers 407.
pub(super) fn wants_login(proxy: &str) -> String {
    format!("was not asked: the proxy {proxy} requires a user and a password (407)")
}
