//! Builds several roles: shared steps first with all processors, then one image for each processor.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::Builder;

use crate::build::{Bake, Baked, Resolved};
use crate::common::error::{Error, Result};
use crate::common::report::{Item, Outcome, Report};

/// The maximum number of images composed in parallel: each takes tens of MiB of memory.
const AT_ONCE: usize = 4;

impl Bake<'_> {
    /// Builds the images of all these plans, and passes each to `each`, in their order. The result of one does not depend on
    /// the others.
    ///
    /// # Errors
    /// The first error of `each`; the images after it are not passed on.
    pub fn images(&self, all: &[Resolved], mut each: impl FnMut(&Resolved, Result<Baked>) -> Result<()>) -> Result<()> {
        if let [one] = all {
            return each(one, self.image(one));
        }
        let prepared: Vec<Result<()>> = all.iter().map(|resolved| self.prepare(resolved)).collect();
        let alone = Bake {
            store: self.store,
            fetch: self.fetch.clone(),
            host_mirrors: self.host_mirrors,
            jobs: 1,
            report: &WithoutProgress(self.report),
            cancel: self.cancel,
        };
        let next = AtomicUsize::new(0);
        let (senders, receivers): (Vec<_>, Vec<_>) = all.iter().map(|_| channel()).unzip();
        let compose = |senders: Vec<Sender<Result<Baked>>>| {
            while let Some((number, sender)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, senders.get(n)?))) {
                let baked = prepared[number].clone().and_then(|()| alone.image(&all[number]));
                if sender.send(baked).is_err() {
                    // The receiver has stopped; the remaining images are not needed.
                    next.store(all.len(), Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.clamp(1, AT_ONCE).min(all.len()) {
                let (compose, senders) = (&compose, senders.clone());
                Builder::new()
                    .name("compose".into())
                    .spawn_scoped(scope, move || compose(senders))
                    .map_err(|e| Error::io("start a thread", &e))?;
            }
            drop(senders);
            let lost = |_| Err(Error::internal("a thread that composes images ended early"));
            all.iter().zip(receivers).try_for_each(|(resolved, baked)| each(resolved, baked.recv().unwrap_or_else(lost)))
        })
    }

    /// Builds the slow steps of an image, which other images may share: inputs, base, frames.
    fn prepare(&self, resolved: &Resolved) -> Result<()> {
        if self.has_image(&resolved.plan) || self.has_frames(resolved)? {
            return Ok(());
        }
        self.fetch_needed(resolved)?;
        let filesystem = self.tree(resolved)?;
        self.frames(resolved, &filesystem).map(drop)
    }
}

/// Forwards events and drops progress: the progress of parallel tasks would share one number.
struct WithoutProgress<'a>(&'a dyn Report);

impl Report for WithoutProgress<'_> {
    fn say(&self, line: &str) {
        self.0.say(line);
    }

    fn begin(&self, _: &str, _: u64) {}

    fn reached(&self, _: u64) {}

    fn done(&self) {}

    fn begun(&self, item: &Item<'_>) {
        self.0.begun(item);
    }

    fn ended(&self, item: &Item<'_>, outcome: Outcome) {
        self.0.ended(item, outcome);
    }
}
