//! How to fetch. Nothing in here can change what is fetched.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::login::{Login, Machine};
use crate::error::{Class, Result};
use crate::value::Proxies;

/// How the host's apt reaches its mirrors.
#[derive(Default)]
pub struct Apt {
    /// The proxies: the environment's, and apt's own before them.
    pub proxies: Proxies,
    /// Its logins.
    pub machines: Vec<Machine>,
    /// The authorities that it trusts, where it has a file of its own for them.
    pub authorities: Option<PathBuf>,
    /// The certificate that it shows, and the key of that.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// How to learn [`Apt`], for these mirrors.
pub type AskApt = dyn Fn(&[String]) -> Result<Apt> + Send + Sync;

/// The way in which the host's apt reaches its mirrors, as far as it is known.
#[derive(Clone, Default)]
pub enum Way {
    /// Nothing. Mirrors are reached as everything else is.
    #[default]
    Unknown,
    /// It is asked when packages are to be fetched, or something from a rewrite.
    Ask(Arc<AskApt>),
    /// This.
    Known(Arc<Apt>),
}

impl Way {
    /// The way, when it is known.
    pub(super) fn known(&self) -> Option<&Apt> {
        match self {
            Way::Known(apt) => Some(apt),
            Way::Unknown | Way::Ask(_) => None,
        }
    }
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
    /// Logins for servers, by their host and port as [`super::host_key`] has them. A server without a login is asked anonymously.
    pub logins: BTreeMap<String, Arc<Login>>,
    /// Through what we ask.
    pub proxies: Proxies,
    /// How packages' mirrors are reached, beside that.
    pub apt: Way,
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
    /// Fewer bytes per second than these, over [`Options::choice_window`], are too few while another source is untried.
    pub choice_rate: u64,
    /// How long a source may be slower than that.
    pub choice_window: Duration,
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
            proxies: Proxies::default(),
            apt: Way::Unknown,
            user_agent: concat!("kbake/", env!("CARGO_PKG_VERSION")).to_owned(),
            retries: 4,
            backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            min_rate: 256,
            choice_rate: 8 << 10,
            choice_window: Duration::from_secs(10),
            max_unsized: 1 << 30,
        }
    }
}

impl Options {
    /// With the way of the host's apt found out, if that is `needed`. A host without a working apt has no such way.
    pub(super) fn settled(&self, needed: bool) -> Result<Options> {
        let apt = match &self.apt {
            Way::Ask(ask) if needed => match ask(&self.mirrors) {
                Ok(apt) => Way::Known(Arc::new(apt)),
                Err(error) if error.class() == Class::User => Way::Unknown,
                Err(error) => return Err(error),
            },
            other => other.clone(),
        };
        Ok(Options { apt, ..self.clone() })
    }
}
