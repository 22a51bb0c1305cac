//! Fetch settings. None of them can change which bytes are accepted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::login::{Login, Machine};
use super::{Source, Want};
use crate::common::error::{Class, Result};
use crate::common::value::{Mirror, Proxies};

/// The settings with which the host's apt reaches its mirrors.
#[derive(Default)]
pub struct Apt {
    /// apt's own proxies, then those of the environment.
    pub proxies: Proxies,
    /// apt's logins.
    pub machines: Vec<Machine>,
    /// PEM file of the CAs that apt trusts (`Acquire::https::CAInfo`), if set.
    pub authorities: Option<PathBuf>,
    /// apt's TLS client certificate and its key, if set.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// Finds the [`Apt`] settings for the given mirrors.
pub(crate) type FindApt = dyn Fn(&[String]) -> Result<Apt> + Send + Sync;

/// The apt settings, which cost a process to find and are often not needed.
#[derive(Clone, Default)]
pub enum AptAccess {
    /// No apt settings: mirrors are reached like every other server.
    #[default]
    Unknown,
    /// Found on demand: when packages or rewritten addresses are fetched.
    Ask(Arc<FindApt>),
    /// These settings.
    Known(Arc<Apt>),
}

impl AptAccess {
    /// The settings, if they were found.
    pub(super) fn known(&self) -> Option<&Apt> {
        match self {
            AptAccess::Known(apt) => Some(apt),
            AptAccess::Unknown | AptAccess::Ask(_) => None,
        }
    }
}

/// Fetch settings. Not `Debug`: a mirror's address may contain a password.
#[derive(Clone)]
pub struct Options {
    /// Number of parallel downloads.
    pub jobs: usize,
    /// Open no socket; a missing artifact is an error.
    pub offline: bool,
    /// Mirrors for [`super::Source::Pool`], in order.
    pub mirrors: Vec<Mirror>,
    /// Archives of earlier states for [`super::Source::Pool`], which are asked after all mirrors; [`Options::rewrites`] apply.
    pub snapshots: Vec<Mirror>,
    /// (prefix, replacement) pairs for [`super::Source::Urls`]. If any prefix matches, all matching replacements are tried in
    /// this order and the original address is not: an isolated site never contacts the outside. A replacement may be a
    /// `file:` address.
    pub rewrites: Vec<(String, String)>,
    /// (registry, base address of a mirror) pairs for [`super::Source::Registry`], tried in this order. As with rewrites, a
    /// registry that has a mirror is not contacted itself. A path in the base address precedes the repository
    /// (`http://mirror.test:5000/k8s` → `/v2/k8s/pause/…`), unless it contains the `v2`.
    pub registry_mirrors: Vec<(String, String)>,
    /// Logins by host and port in the form of [`super::host_key`]. A server without a login is asked anonymously.
    pub logins: BTreeMap<String, Arc<Login>>,
    /// The proxies of the environment.
    pub proxies: Proxies,
    /// The host's apt settings, for package mirrors and rewritten addresses.
    pub apt: AptAccess,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// Number of retries over all sources of an artifact after temporary errors.
    pub retries: u32,
    /// Pause before the first retry; it doubles each time.
    pub backoff: Duration,
    /// Longest pause, even if a server asks for a longer one.
    pub max_backoff: Duration,
    /// Time limit for a connection attempt.
    pub connect_timeout: Duration,
    /// Longest silence of a server.
    pub idle_timeout: Duration,
    /// Minimum rate in bytes per second over [`Options::idle_timeout`]; less counts as silence.
    pub min_rate: u64,
    /// Minimum rate in bytes per second over [`Options::choice_window`] while another source is untried.
    pub choice_rate: u64,
    /// Time for which a source may stay below [`Options::choice_rate`].
    pub choice_window: Duration,
    /// Size limit in bytes for an artifact whose size is not locked.
    pub max_unsized: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            jobs: 8,
            offline: false,
            mirrors: Vec::new(),
            snapshots: Vec::new(),
            rewrites: Vec::new(),
            registry_mirrors: Vec::new(),
            logins: BTreeMap::new(),
            proxies: Proxies::default(),
            apt: AptAccess::Unknown,
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
    /// True for a package of an archive without mirror and snapshot.
    pub(super) fn is_without_mirror(&self, want: &Want) -> bool {
        match &want.source {
            Source::Pool { archive, .. } => !self.mirrors.iter().chain(&self.snapshots).any(|mirror| mirror.may_have(archive)),
            Source::Urls(_) | Source::Registry { .. } => false,
        }
    }

    /// The same options with the apt settings found, if they are `needed`. A host without a working apt has none.
    pub(super) fn settled(&self, needed: bool) -> Result<Options> {
        let apt = match &self.apt {
            AptAccess::Ask(ask) if needed => match ask(&self.mirrors.iter().map(|mirror| mirror.base.clone()).collect::<Vec<_>>()) {
                Ok(apt) => AptAccess::Known(Arc::new(apt)),
                Err(error) if error.class() == Class::User => AptAccess::Unknown,
                Err(error) => return Err(error),
            },
            other => other.clone(),
        };
        Ok(Options { apt, ..self.clone() })
    }
}
