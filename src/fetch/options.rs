//! How to fetch. Nothing in here can change what is fetched.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Login;

/// Through what the connections go. Not `Debug`: an address may have a password in it.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Proxy {
    /// What the environment says (`https_proxy`, `no_proxy` and the like).
    #[default]
    System,
    /// Nothing, whatever the environment says.
    Direct,
    /// This proxy, for everything.
    Url(String),
}

/// How to fetch. Not `Debug`: mirrors' addresses may have passwords in them.
#[derive(Clone)]
pub struct Options {
    /// How many downloads run at once.
    pub jobs: usize,
    /// Open no socket; what is missing is an error.
    pub offline: bool,
    /// Base addresses for [`super::Source::Pool`], in order.
    pub mirrors: Vec<String>,
    /// For addresses of [`super::Source::Urls`]: (prefix, replacement). When any prefix fits, the replacements of all
    /// that fit are asked in this order, and the original is not: so a closed site never asks the outside. A
    /// replacement may be a `file:` address.
    pub rewrites: Vec<(String, String)>,
    /// For [`super::Source::Registry`]: (registry as references name it, base address of a mirror), asked in this
    /// order. As with rewrites, the registry itself is not asked when it has a mirror. What follows the host in a base
    /// goes before the repository (`http://mirror.test:5000/k8s` → `/v2/k8s/pause/…`), unless the `v2` is in it.
    pub registry_mirrors: Vec<(String, String)>,
    /// Who we are at registries, by the registry's or the mirror's host and port. Without one we ask anonymously.
    pub logins: BTreeMap<String, Arc<Login>>,
    /// Through what.
    pub proxy: Proxy,
    /// What to say that we are.
    pub user_agent: String,
    /// How often all sources of an artifact are asked again after troubles that may pass.
    pub retries: u32,
    /// The pause before the first such repetition; it doubles each time.
    pub backoff: Duration,
    /// The longest pause, also when a server asks for a longer one.
    pub max_backoff: Duration,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a server may be silent.
    pub idle_timeout: Duration,
    /// Fewer bytes per second than these, over [`Options::idle_timeout`], count as silence.
    pub min_rate: u64,
    /// The most bytes to take for an artifact whose size is not locked.
    pub max_unsized: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            jobs: 8,
            offline: false,
            mirrors: Vec::new(),
            rewrites: Vec::new(),
            registry_mirrors: Vec::new(),
            logins: BTreeMap::new(),
            proxy: Proxy::System,
            user_agent: concat!("kbake/", env!("CARGO_PKG_VERSION")).to_owned(),
            retries: 4,
            backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            min_rate: 256,
            max_unsized: 16 << 30,
        }
    }
}
