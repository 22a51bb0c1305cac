//! Locked sources → verified blobs in the store. The only module that opens a socket.
//!
//! Nothing enters the store but what has the locked digest, so a source can be slow, absent or hostile, but
//! never wrong: the next one is asked, and in the end every source is named with its own reason.

mod answer;
mod client;
mod local;
mod pace;
mod report;
mod source;
mod work;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::store::Store;
use crate::value::{Cancel, Digest};

/// What the lock names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// For people.
    pub name: String,
    /// Where it may be.
    pub source: Source,
    /// What it must be.
    pub digest: Digest,
    /// Its size in bytes, where the lock knows it.
    pub size: Option<u64>,
}

/// Where an artifact comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// These addresses, in this order; [`Options::rewrites`] apply.
    Urls(Vec<String>),
    /// This path (`pool/main/e/etcd/…`) below each of [`Options::mirrors`].
    Pool(String),
}

/// Through what the connections go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Proxy {
    /// What the environment says (`https_proxy`, `no_proxy` and the like).
    #[default]
    System,
    /// Nothing, whatever the environment says.
    Direct,
    /// This proxy, for everything.
    Url(String),
}

/// How to fetch. Nothing of it can change what is fetched.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many downloads run at once.
    pub jobs: usize,
    /// Open no socket; what is missing is an error.
    pub offline: bool,
    /// Base addresses for [`Source::Pool`], in order.
    pub mirrors: Vec<String>,
    /// For addresses of [`Source::Urls`]: (prefix, replacement). When any prefix fits, the replacements of all that fit
    /// are asked in this order, and the original is not: so a closed site never asks the outside.
    pub rewrites: Vec<(String, String)>,
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

/// Told what happens, from several threads at once. What is not of interest need not be implemented.
pub trait Events: Sync {
    /// A download begins, with `have` bytes from an earlier run.
    fn started(&self, _want: &Want, _have: u64) {}
    /// Another process or thread downloads the same blob; we wait for it.
    fn waiting(&self, _want: &Want) {}
    /// `at` bytes are there. It falls when a source makes us start over.
    fn progress(&self, _want: &Want, _at: u64) {}
    /// All sources are asked again after `pause`, because of `reason`.
    fn retry(&self, _want: &Want, _pause: Duration, _reason: &str) {}
    /// The blob is in the store.
    fn finished(&self, _want: &Want) {}
    /// No source gave it. The reasons are in the error of [`fetch`].
    fn failed(&self, _want: &Want) {}
}

impl Events for () {}

/// What the workers share.
struct Job<'a> {
    store: &'a Store,
    options: &'a Options,
    events: &'a dyn Events,
    cancel: &'a Cancel,
    client: reqwest::blocking::Client,
    /// Servers that could not be reached. They are asked last.
    down: Mutex<BTreeSet<String>>,
}

/// Brings all `wants` into the store, where [`Store::resolve`] finds them. What is there already costs no socket.
///
/// # Errors
/// - [`crate::Class::Network`]: no source had it, or none could be reached; or something is missing and `offline` is set.
/// - [`crate::Class::Integrity`]: a source gave other bytes than the lock names, and no other had the right ones.
/// - [`crate::Class::NoSpace`], [`crate::Class::Interrupted`].
///
/// One failure does not keep the other artifacts from coming, unless it shows that nothing can come.
pub fn fetch(store: &Store, wants: &[Want], options: &Options, events: &dyn Events, cancel: &Cancel) -> Result<()> {
    let missing = missing(store, wants)?;
    if missing.is_empty() {
        return Ok(());
    }
    if options.offline {
        return Err(report::offline(&missing));
    }
    store.require_space(space(store, &missing)?)?;
    let client = client::build(options)?;
    let job = Job { store, options, events, cancel, client, down: Mutex::default() };
    run(&job, &missing)
}

/// The wants that are not in the store, each digest once, in the order given.
fn missing<'a>(store: &Store, wants: &'a [Want]) -> Result<Vec<&'a Want>> {
    let (mut seen, mut missing) = (BTreeSet::new(), Vec::new());
    for want in wants {
        if seen.insert(want.digest) && store.resolve(&want.digest, want.size)?.is_none() {
            missing.push(want);
        }
    }
    Ok(missing)
}

/// How many bytes are to come.
fn space(store: &Store, missing: &[&Want]) -> Result<u64> {
    missing.iter().try_fold(0u64, |sum, want| {
        let have = store.partial_size(&want.digest)?;
        Ok(sum.saturating_add(want.size.unwrap_or(0).saturating_sub(have)))
    })
}

fn run(job: &Job<'_>, missing: &[&Want]) -> Result<()> {
    // The large ones first, so that no thread starts one when the others are done.
    let mut order: Vec<usize> = (0..missing.len()).collect();
    order.sort_by_key(|&n| std::cmp::Reverse(missing[n].size));
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failures = Mutex::new(Vec::new());
    let fatal: Mutex<Option<Error>> = Mutex::default();
    let worker = || {
        while !stop.load(Ordering::Relaxed)
            && let Some(&n) = order.get(next.fetch_add(1, Ordering::Relaxed))
        {
            match work::fetch_one(job, missing[n]) {
                Ok(()) => job.events.finished(missing[n]),
                Err(work::Failure::Fatal(error)) => {
                    stop.store(true, Ordering::Relaxed);
                    lock(&fatal).get_or_insert(error);
                }
                Err(work::Failure::Sources(failed)) => {
                    job.events.failed(missing[n]);
                    // The others would only wait out the same pauses.
                    stop.fetch_or(failed.nothing_reached(), Ordering::Relaxed);
                    lock(&failures).push((n, failed));
                }
            }
        }
    };
    std::thread::scope(|scope| (0..job.options.jobs.clamp(1, missing.len())).for_each(|_| drop(scope.spawn(worker))));
    if let Some(error) = lock(&fatal).take() {
        return Err(error);
    }
    let mut failures = failures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if failures.is_empty() {
        return Ok(());
    }
    failures.sort_by_key(|(n, _)| *n);
    let failed: Vec<_> = failures.iter().map(|(n, failed)| (missing[*n], failed)).collect();
    let untried = missing.len().saturating_sub(next.load(Ordering::Relaxed));
    Err(report::failed(&failed, missing.len(), untried))
}

/// A panic of another worker is reported where its thread is joined; here its data is as good as ever.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
