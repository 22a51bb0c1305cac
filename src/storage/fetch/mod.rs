//! Locked sources → verified blobs in the store. The only module that opens a socket.
//!
//! Only bytes with the locked digest enter the store, so a source can be slow, absent or hostile, but never wrong: the next
//! source is tried, and a final error lists every source with its reason.
//!
//! From the bottom: `address`, `response`, `challenge` (pure) → `login`, `options`, `credential`, `target` → `message`, `local`,
//! `client`, `web` (one transfer) → `exchange`, `token`, `registry`, `source` → `in_memory`, `query`, `download`.

mod address;
mod challenge;
mod client;
mod credential;
mod download;
mod exchange;
mod failure;
mod in_memory;
mod local;
mod login;
mod message;
mod options;
mod pace;
mod query;
mod registry;
mod report;
mod response;
mod source;
mod target;
mod token;
mod web;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

pub(crate) use address::host_key;
pub(crate) use credential::netrc;
pub use login::Login;
pub(crate) use login::Machine;
pub use options::Options;
pub(crate) use options::{Apt, AptAccess};
pub use query::tag_digest;
pub(crate) use query::{bytes, size, text};

use crate::common::error::{Error, Result};
use crate::common::value::{Cancel, Digest, Reference};
use crate::storage::store::{Store, Whole};
use web::Web;

/// Parses `text` as every header of a server's response. For `tests/fuzz` only, not part of the API.
#[doc(hidden)]
pub fn fuzz_headers(status: u16, text: &str) {
    response::fuzz(status, text);
    challenge::parse(text);
    token::fuzz(text);
}

/// An artifact to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The name, for messages.
    pub name: String,
    /// The source.
    pub source: Source,
    /// The required digest.
    pub digest: Digest,
    /// The size in bytes, if it is locked.
    pub size: Option<u64>,
}

/// The source of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// These addresses, in this order; [`Options::rewrites`] apply.
    Urls(Vec<String>),
    /// A file of an archive's pool, at each mirror and each snapshot of the archive.
    Pool {
        /// The name of the archive.
        archive: String,
        /// The path below the archive's address: `pool/main/e/etcd/…`.
        path: String,
    },
    /// The object with the want's digest in a container image's repository, at its registry or the registry's mirrors. The
    /// reference's tag is ignored.
    Registry {
        /// The image.
        reference: Reference,
        /// The kind of object.
        kind: RegistryKind,
    },
}

/// The kinds of objects that a registry serves by digest
/// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pull>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryKind {
    /// A manifest, or an index of manifests.
    Manifest,
    /// A configuration or a layer.
    Blob,
}

/// Progress sink, called from several threads at once. Every method has a default that ignores the event.
pub trait Events: Sync {
    /// A download begins, with `have` bytes from an earlier run.
    fn started(&self, _want: &Want, _have: u64) {}
    /// Another process or thread downloads the same blob; this one waits.
    fn waiting(&self, _want: &Want) {}
    /// `at` bytes are present. The number drops when a download starts over.
    fn progress(&self, _want: &Want, _at: u64) {}
    /// All sources are retried after `pause`, because of `reason`.
    fn retry(&self, _want: &Want, _pause: Duration, _reason: &str) {}
    /// The blob is in the store.
    fn finished(&self, _want: &Want) {}
    /// No source delivered the artifact, or all its servers were unreachable before. The error of [`fetch`] has the reasons.
    fn failed(&self, _want: &Want) {}
}

impl Events for () {}

/// The most downloads that are committed together.
const BATCH: usize = 64;

/// The state shared by the workers.
struct Job<'a> {
    store: &'a Store,
    events: &'a dyn Events,
    web: Web<'a>,
    /// Servers that were unreachable or slow. They are asked last.
    down: Mutex<BTreeSet<String>>,
    /// Servers that stayed unreachable after all retries. They are not asked again.
    dead: Mutex<BTreeSet<String>>,
}

/// Fetches all missing `wants` into the store, where [`Store::resolve`] finds them. Opens no socket if none is missing.
///
/// # Errors
/// - [`crate::Class::Network`]: no source had the artifact, or none was reachable; or one is missing and `offline` is set.
/// - [`crate::Class::Integrity`]: a source delivered other bytes than locked, and no other source had the right ones.
/// - [`crate::Class::NoSpace`], [`crate::Class::Interrupted`].
///
/// A failure does not stop the other artifacts. Artifacts that only unreachable servers have are not tried.
pub fn fetch(store: &Store, wants: &[Want], options: &Options, events: &dyn Events, cancel: &Cancel) -> Result<()> {
    let missing = missing(store, wants)?;
    if missing.is_empty() {
        return Ok(());
    }
    if options.offline {
        return Err(report::offline(&missing));
    }
    if let Some(want) = missing.iter().find(|want| options.is_without_mirror(want)) {
        return Err(report::sourceless(want));
    }
    store.require_space(space(store, &missing)?)?;
    let options = &options.settled(missing.iter().any(|want| source::concerns_apt(want, options)))?;
    let job = Job { store, events, web: Web::new(options, cancel), down: Mutex::default(), dead: Mutex::default() };
    run(&job, &missing)
}

/// The wants that are not in the store, each digest once, in the given order.
fn missing<'a>(store: &Store, wants: &'a [Want]) -> Result<Vec<&'a Want>> {
    let (mut seen, mut missing) = (BTreeSet::new(), Vec::new());
    for want in wants {
        if seen.insert(want.digest) && store.resolve(&want.digest, want.size)?.is_none() {
            missing.push(want);
        }
    }
    Ok(missing)
}

/// The number of bytes still to download, as far as sizes are locked.
fn space(store: &Store, missing: &[&Want]) -> Result<u64> {
    missing.iter().try_fold(0u64, |sum, want| {
        let have = store.partial_size(&want.digest)?;
        Ok(sum.saturating_add(want.size.unwrap_or(0).saturating_sub(have)))
    })
}

fn run<'a>(job: &Job<'a>, missing: &[&Want]) -> Result<()> {
    // Large artifacts first, so that no thread starts one when the others are done; unknown sizes count as largest. One
    // thread in four starts with the small ones: they cost little more than a round trip each, while the other threads
    // keep the link busy.
    let mut order: Vec<usize> = (0..missing.len()).collect();
    order.sort_by_key(|&n| std::cmp::Reverse(missing[n].size.unwrap_or(u64::MAX)));
    let order = Mutex::new(VecDeque::from(order));
    let next = |thread: usize| match thread % 4 {
        3 => lock(&order).pop_back(),
        _ => lock(&order).pop_front(),
    };
    let stop = AtomicBool::new(false);
    let (failures, untried) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let fatal: Mutex<Option<Error>> = Mutex::default();
    let fail = |error| {
        stop.store(true, Ordering::Relaxed);
        lock(&fatal).get_or_insert(error);
    };
    let worker = |thread: usize, done: SyncSender<(usize, Whole<'a>)>| {
        while !stop.load(Ordering::Relaxed)
            && let Some(n) = next(thread)
        {
            if download::is_hopeless(job, missing[n]) {
                job.events.failed(missing[n]);
                lock(&untried).push(n);
                continue;
            }
            match download::fetch_one(job, missing[n]) {
                Ok(None) => job.events.finished(missing[n]),
                // The receiver outlives every worker.
                Ok(Some(whole)) => drop(done.send((n, whole))),
                Err(download::Failure::Fatal(error)) => fail(error),
                Err(download::Failure::Sources(failed)) => {
                    job.events.failed(missing[n]);
                    lock(&failures).push((n, failed));
                }
            }
        }
    };
    let (done, whole) = sync_channel(BATCH);
    std::thread::scope(|scope| {
        for thread in 0..job.web.options.jobs.clamp(1, missing.len()) {
            let (worker, done) = (&worker, done.clone());
            scope.spawn(move || worker(thread, done));
        }
        drop(done);
        place(job, missing, &whole, &fail);
    });
    if let Some(error) = lock(&fatal).take() {
        return Err(error);
    }
    let (mut failures, mut untried) = (std::mem::take(&mut *lock(&failures)), std::mem::take(&mut *lock(&untried)));
    if failures.is_empty() {
        return Ok(());
    }
    failures.sort_by_key(|(n, _)| *n);
    untried.sort_unstable();
    let failed: Vec<_> = failures.iter().map(|(n, failed)| (missing[*n], failed)).collect();
    let untried: Vec<_> = untried.iter().map(|&n| missing[n]).collect();
    Err(report::failed(&failed, &untried, missing.len()))
}

/// Commits finished downloads in batches: each batch is what arrived while the disk was busy with the previous one. Ends
/// when all senders are gone.
fn place<'a>(job: &Job<'a>, missing: &[&Want], whole: &Receiver<(usize, Whole<'a>)>, fail: &dyn Fn(Error)) {
    while let Ok(first) = whole.recv() {
        let (numbers, batch): (Vec<usize>, Vec<Whole<'_>>) = std::iter::once(first).chain(whole.try_iter().take(BATCH - 1)).unzip();
        match job.store.place_whole(batch) {
            Ok(()) => numbers.into_iter().for_each(|n| job.events.finished(missing[n])),
            Err(error) => fail(error),
        }
    }
}

/// Locks a mutex and ignores poisoning: a worker's panic is reported where its thread is joined, and its data stays valid.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
