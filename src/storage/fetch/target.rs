//! A target: one address with everything that determines its request.

use std::sync::Arc;

use reqwest::Url;

use super::Options;
use super::credential::{self, Credential, Scope};
use super::login::NamedBy;

/// One address to ask. Not `Debug`: it may contain a password.
#[derive(Clone)]
pub(super) struct Target {
    pub url: Url,
    /// The `Accept` header, if one is needed.
    pub accept: Option<&'static str>,
    /// The required scope of a credential; registries only.
    pub scope: Option<Scope>,
    /// The login to send with the first request; never for registries.
    pub login: Option<Arc<Credential>>,
    /// The proxies and TLS settings to use.
    pub route: Route,
}

/// The proxies and TLS settings with which a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Route {
    /// Those of the environment.
    #[default]
    Web,
    /// Those of the host's apt.
    Apt,
}

impl Target {
    /// A target with the login that fits its address.
    pub(super) fn of(url: Url, named: NamedBy, route: Route, options: &Options) -> Target {
        let login = credential::login_for(&url, named, options).map(|login| Arc::new(Credential::Basic(login)));
        Target { url, accept: None, scope: None, login, route }
    }

    /// True if the request carries a login, also one in the address.
    pub(super) fn has_login(&self) -> bool {
        self.login.is_some() || !self.url.username().is_empty() || self.url.password().is_some()
    }
}
