//! Locked sources → verified blobs in the store. The only module that opens a socket.
//!
//! Nothing enters the store but what has the locked digest, so a source can be slow, absent or hostile, but
//! never wrong: the next one is asked, and in the end every source is named with its own reason.

mod answer;
mod challenge;
mod client;
mod credential;
mod local;
mod login;
mod look;
mod options;
mod pace;
mod registry;
mod report;
mod small;
mod source;
mod web;
mod why;
mod work;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

pub use credential::netrc;
pub use login::{Login, Machine, host_key};
pub use look::{size, tag_digest, text};
pub use options::{Apt, AskApt, Options, Way};

use crate::error::{Error, Result};
use crate::store::{Store, Whole};
use crate::value::{Cancel, Digest, Reference};
use web::Web;

/// Makes of a registry's or mirror's answer what fetching would, and forgets it: `tests/fuzz` looks whether any text in
/// any header is survived. No part of what others may use.
#[doc(hidden)]
pub fn survive_headers(status: u16, text: &str) {
    answer::survive(status, text);
    challenge::parse(text);
    registry::survive(text);
}

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
    /// What has the want's digest in the repository of a container image, at its registry or the registry's mirrors.
    /// The reference's tag plays no part.
    Registry {
        /// The image.
        reference: Reference,
        /// What of it.
        kind: RegistryKind,
    },
}

/// What a registry has by digest
/// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pull>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryKind {
    /// A manifest, or an index of manifests.
    Manifest,
    /// A configuration or a layer.
    Blob,
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
    /// No source gave it, or none could be reached for others. The reasons are in the error of [`fetch`].
    fn failed(&self, _want: &Want) {}
}

impl Events for () {}

/// So many downloads get their names together at most.
const LOT: usize = 64;

/// What the workers share.
struct Job<'a> {
    store: &'a Store,
    events: &'a dyn Events,
    web: Web<'a>,
    /// Servers that could not be reached. They are asked last.
    down: Mutex<BTreeSet<String>>,
    /// Those that could not be reached, however often they were asked. They are not asked again.
    dead: Mutex<BTreeSet<String>>,
}

/// Brings all `wants` into the store, where [`Store::resolve`] finds them. What is there already costs no socket.
///
/// # Errors
/// - [`crate::Class::Network`]: no source had it, or none could be reached; or something is missing and `offline` is set.
/// - [`crate::Class::Integrity`]: a source gave other bytes than the lock names, and no other had the right ones.
/// - [`crate::Class::NoSpace`], [`crate::Class::Interrupted`].
///
/// One failure does not keep the other artifacts from coming, but those are not tried that only servers have which
/// cannot be reached.
pub fn fetch(store: &Store, wants: &[Want], options: &Options, events: &dyn Events, cancel: &Cancel) -> Result<()> {
    let missing = missing(store, wants)?;
    if missing.is_empty() {
        return Ok(());
    }
    if options.offline {
        return Err(report::offline(&missing));
    }
    if let Some(want) = missing.iter().find(|want| options.mirrors.is_empty() && matches!(want.source, Source::Pool(_))) {
        return Err(report::sourceless(want));
    }
    store.require_space(space(store, &missing)?)?;
    let options = &options.settled(missing.iter().any(|want| source::concerns_apt(want, options)))?;
    let job = Job { store, events, web: Web::new(options, cancel), down: Mutex::default(), dead: Mutex::default() };
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

/// How many bytes are to come, as far as that is known.
fn space(store: &Store, missing: &[&Want]) -> Result<u64> {
    missing.iter().try_fold(0u64, |sum, want| {
        let have = store.partial_size(&want.digest)?;
        Ok(sum.saturating_add(want.size.unwrap_or(0).saturating_sub(have)))
    })
}

fn run<'a>(job: &Job<'a>, missing: &[&Want]) -> Result<()> {
    // The large ones first, so that no thread starts one when the others are done. The unknown may be the largest. But one
    // thread in four begins with the small ones: these take little more than the way to the server and back, and
    // meanwhile the others keep the link busy.
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
            if work::is_hopeless(job, missing[n]) {
                job.events.failed(missing[n]);
                lock(&untried).push(n);
                continue;
            }
            match work::fetch_one(job, missing[n]) {
                Ok(None) => job.events.finished(missing[n]),
                // The one who takes it outlives us.
                Ok(Some(whole)) => drop(done.send((n, whole))),
                Err(work::Failure::Fatal(error)) => fail(error),
                Err(work::Failure::Sources(failed)) => {
                    job.events.failed(missing[n]);
                    lock(&failures).push((n, failed));
                }
            }
        }
    };
    let (done, whole) = sync_channel(LOT);
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

/// Gives what has come its names, as much at a time as came while the disk was busy with the last lot. Ends when nobody
/// sends any more.
fn place<'a>(job: &Job<'a>, missing: &[&Want], whole: &Receiver<(usize, Whole<'a>)>, fail: &dyn Fn(Error)) {
    while let Ok(first) = whole.recv() {
        let (numbers, lot): (Vec<usize>, Vec<Whole<'_>>) = std::iter::once(first).chain(whole.try_iter().take(LOT - 1)).unzip();
        match job.store.place_whole(lot) {
            Ok(()) => numbers.into_iter().for_each(|n| job.events.finished(missing[n])),
            Err(error) => fail(error),
        }
    }
}

/// A panic of another worker is reported where its thread is joined; here its data is as good as ever.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
