//! Several roles at once: what they share is made first, by all processors; then each processor composes an image of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::Builder;

use super::{Bake, Baked, Resolved};
use crate::error::{Error, Result};
use crate::report::{Item, Outcome, Report};

/// So many images are composed at once: each takes tens of MiB of memory.
const AT_ONCE: usize = 4;

impl Bake<'_> {
    /// Makes the images of all these plans, and gives each to `each`, in their order. What comes of one does not depend on the
    /// others.
    ///
    /// # Errors
    /// The first one of `each`; the images behind it are not given any more.
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
                    // Nobody wants it, nor those behind it.
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
            let lost = |_| Err(Error::internal("a thread that composes images ended too early"));
            all.iter().zip(receivers).try_for_each(|(resolved, baked)| each(resolved, baked.recv().unwrap_or_else(lost)))
        })
    }

    /// Makes what takes long of an image, and what others may share: inputs, base, frames.
    fn prepare(&self, resolved: &Resolved) -> Result<()> {
        if self.has_image(&resolved.plan) || self.has_frames(resolved)? {
            return Ok(());
        }
        self.fetch_needed(resolved)?;
        let stocked = self.tree(resolved)?;
        self.frames(resolved, &stocked).map(drop)
    }
}

/// Tells what happened, and not how far it has come: of several things at once that would be one number for all.
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
