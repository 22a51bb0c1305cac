//! Reading, compressing and writing at the same time, in order, in bounded memory.
//!
//! One thread reads clusters and deals them out to the workers in turn; each worker compresses its own in order; the
//! calling thread collects from the workers in the same turn. So the order does not depend on the threads' speed. A
//! fixed set of buffers circulates, and the reader waits when all are in use.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, Scope};

use super::codec::{Codec, Compressed};
use crate::common::error::{Error, Result};
use crate::common::value::Cancel;
use crate::formats::disk::cluster::{CLUSTER, Cluster, Clusters, zeroed};
use crate::formats::disk::{ContentSource, Pieces};

/// The number of clusters in flight: 16 MiB.
const BUFFERS: usize = 256;
/// The most workers; with more, each would have too few buffers to even out fast and slow clusters.
const MAX_WORKERS: usize = 64;

/// A cluster in flight.
pub(super) struct Job {
    /// The cluster's index on the disk.
    pub index: u64,
    /// The number of bytes of pieces read up to the cluster's end.
    pub done: u64,
    /// The contents, later the stored form.
    buffer: Box<Cluster>,
    /// The length of the stored form.
    len: usize,
}

impl Job {
    /// The stored form.
    pub(super) fn stored(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// A message from the reader through a worker to the writer. The end is explicit: a channel that merely closes belongs
/// to a thread that died, and must not pass for a complete disk.
enum Step {
    Job(Job),
    Failed(Error),
    End,
}

/// Passes each cluster of the disk that is not all zero to `sink` in stored form, in ascending order; only the clusters
/// in `only` (ascending) if given.
///
/// # Errors
/// The first error of the source, of zstd, of `sink` or of `cancel`, in the order of the disk.
pub(super) fn run(
    pieces: &Pieces,
    only: Option<&[u64]>,
    source: &dyn ContentSource,
    jobs: usize,
    cancel: &Cancel,
    sink: &mut dyn FnMut(&Job) -> Result<()>,
) -> Result<()> {
    let workers = jobs.clamp(1, MAX_WORKERS);
    std::thread::scope(|scope| {
        let (give_back, spare) = channel();
        for _ in 0..BUFFERS {
            give_back.send(zeroed()).map_err(|_| lost())?;
        }
        let mut inboxes = Vec::with_capacity(workers);
        let mut outboxes = Vec::with_capacity(workers);
        for _ in 0..workers {
            let (inbox, work) = channel();
            let (result, outbox) = channel();
            start(scope, "compress", move || compress_all(&work, &result))?;
            inboxes.push(inbox);
            outboxes.push(outbox);
        }
        start(scope, "read", move || read_all(Clusters::new(pieces, source), only, &spare, &inboxes, cancel))?;
        // Returning drops `give_back` and `outboxes`, which ends all threads that still run.
        collect(&outboxes, &give_back, cancel, sink)
    })
}

fn start<'scope>(scope: &'scope Scope<'scope, '_>, name: &str, body: impl FnOnce() + Send + 'scope) -> Result<()> {
    Builder::new().name(name.into()).spawn_scoped(scope, body).map(drop).map_err(|e| Error::io("start a thread", &e))
}

/// The reader's thread. A failed send means that the writer has given up; the writer's error is the one to report.
fn read_all(mut clusters: Clusters<'_>, only: Option<&[u64]>, spare: &Receiver<Box<Cluster>>, inboxes: &[Sender<Step>], cancel: &Cancel) {
    for inbox in inboxes.iter().cycle() {
        let Ok(mut buffer) = spare.recv() else { return };
        let step = match next(&mut clusters, only, &mut buffer, cancel) {
            Ok(Some(index)) => Step::Job(Job { index, done: clusters.done(), buffer, len: CLUSTER }),
            Ok(None) => Step::End,
            Err(error) => Step::Failed(error),
        };
        let last = !matches!(step, Step::Job(_));
        if inbox.send(step).is_err() || last {
            return;
        }
    }
}

/// The next requested cluster.
fn next(clusters: &mut Clusters<'_>, only: Option<&[u64]>, buffer: &mut Cluster, cancel: &Cancel) -> Result<Option<u64>> {
    loop {
        cancel.check()?;
        match clusters.next(buffer)? {
            Some(index) if only.is_some_and(|only| only.binary_search(&index).is_err()) => {}
            found => return Ok(found),
        }
    }
}

/// A worker's thread.
fn compress_all(work: &Receiver<Step>, result: &Sender<Step>) {
    let mut codec = None;
    for step in work {
        let step = match step {
            Step::Job(job) => compress(&mut codec, job).map_or_else(Step::Failed, Step::Job),
            other => other,
        };
        if result.send(step).is_err() {
            return;
        }
    }
}

fn compress(codec: &mut Option<Codec>, mut job: Job) -> Result<Job> {
    let codec = match codec {
        Some(codec) => codec,
        None => codec.insert(Codec::new()?),
    };
    if let Compressed::Frame(frame) = codec.compress(&job.buffer)? {
        job.len = frame.len();
        job.buffer[..frame.len()].copy_from_slice(frame);
    }
    Ok(job)
}

/// The collection of frames on the calling thread.
fn collect(
    outboxes: &[Receiver<Step>],
    give_back: &Sender<Box<Cluster>>,
    cancel: &Cancel,
    sink: &mut dyn FnMut(&Job) -> Result<()>,
) -> Result<()> {
    for outbox in outboxes.iter().cycle() {
        match outbox.recv().map_err(|_| lost())? {
            Step::Job(job) => {
                cancel.check()?;
                sink(&job)?;
                // The reader may have finished already.
                let _ = give_back.send(job.buffer);
            }
            Step::Failed(error) => return Err(error),
            Step::End => return Ok(()),
        }
    }
    Err(lost())
}

fn lost() -> Error {
    Error::internal("a thread that writes the image ended too early")
}
