//! A build from scratch beside the store, to find out whether the store tells the truth.
//!
//! It shares nothing with the store but the inputs, which are taken over by the digests that the lockfile has and hashed on the
//! way. So whatever an action entry says is made anew: the base, what comes out of archives, the image.

use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;

use super::{Bake, Baked, IMAGE, Resolved, place};
use crate::base;
use crate::error::{Class, Error, Result};
use crate::fetch;
use crate::fsx;
use crate::inspect::{self, Difference};
use crate::store::{Access, Action, Claim, Lookup, Store};
use crate::value::{Digest, RoleName, Sha256, quote};

/// Bytes that are copied at a time.
const BUFFER: usize = 1 << 20;
/// So many differences are named: the first says most, the next ones whether it is one file or all.
const SHOWN: usize = 5;

/// What came of a build from scratch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// The same image, and of every action what the store's entries say.
    Same {
        /// How many entries were compared.
        entries: usize,
    },
    /// Something else.
    Differs(Box<Differs>),
}

/// How a build from scratch differs from what the store says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differs {
    /// The image that the store has for the plan.
    pub cached: Sha256,
    /// The image from scratch.
    pub fresh: Sha256,
    /// Entries that say something else than what was made, for people. The store believes them no more.
    pub entries: Vec<String>,
    /// The first differences of the images, in the order of the disk.
    pub differences: Vec<Difference>,
}

/// An entry that says something else than what was made: its kind, its key, and both for people.
type Doubted = (String, Sha256, String);

/// Makes an image with what a bake works with.
type Make<'a> = &'a dyn Fn(&Bake) -> Result<Baked>;

/// The outcome of a build from scratch, held against what the store says.
struct Compared {
    again: Baked,
    /// How many entries were compared.
    entries: usize,
    doubted: Vec<Doubted>,
}

impl Compared {
    fn is_as(&self, baked: &Baked) -> bool {
        self.again.image == baked.image && self.doubted.is_empty()
    }
}

impl Bake<'_> {
    /// Builds `resolved` from scratch, and compares with `baked`, which the store has for it. An image that differs is kept
    /// at the absolute path `keep`, and entries that said otherwise are removed, or no longer believed if they are a lower
    /// store's.
    ///
    /// # Errors
    /// Those of a build; inputs that cannot be fetched; a damaged image in the store.
    pub fn check(&self, resolved: &Resolved, baked: &Baked, keep: &Path) -> Result<Checked> {
        self.check_by(resolved, baked, keep, &|bake| bake.image(resolved))
    }

    /// As [`Bake::check`], with what makes the image in a store that has the inputs alone.
    pub(super) fn check_by(&self, resolved: &Resolved, baked: &Baked, keep: &Path, make: Make<'_>) -> Result<Checked> {
        let key = resolved.plan.key();
        let role = resolved.plan.role();
        let waiting = || self.report.say(&format!("{role}: another kbake is checking it; waiting"));
        let _alone = self.store.plan_lock(&Sha256::of(format!("check {key}")), self.cancel, &waiting)?;
        self.check_installation(resolved)?;
        self.fetch_all(resolved)?;
        let folder = self.store.work_folder("check", &key)?;
        self.clear(resolved, &folder)?;
        let checked = self.check_in(resolved, baked, keep, &folder, make);
        let cleared = self.clear(resolved, &folder);
        let checked = checked?;
        // Nobody else comes in as long as the plan's lock is held.
        cleared.and_then(|()| fsx::remove_dir_all(&folder))?;
        Ok(checked)
    }

    /// Removes what is in the folder, also what a killed process has left there. The folder stays: other processes clean up
    /// where nobody works, and know that by the lock on this very folder.
    fn clear(&self, resolved: &Resolved, folder: &Path) -> Result<()> {
        for key in [resolved.plan.base_key()].into_iter().chain(resolved.plan.ground_key()) {
            let installing = folder.join("tmp").join(format!("work-{}-{key}", super::BASE));
            if fsx::exists(&installing)? {
                base::clean(base::host_check(resolved.plan.arch())?, &installing)?;
            }
        }
        fsx::empty_dir(folder)
    }

    fn check_in(&self, resolved: &Resolved, baked: &Baked, keep: &Path, folder: &Path, make: Make<'_>) -> Result<Checked> {
        let role = resolved.plan.role();
        let fresh = Store::open(folder, Access::Shared, self.cancel, &|| {})?;
        self.report.say(&format!("{role}: building it from scratch, to compare"));
        let made = self.make_and_compare(resolved, baked, &fresh, make);
        // Before anything is said against the store, or of another cause.
        let explains_itself = |error: &Error| matches!(error.class(), Class::Interrupted | Class::NoSpace);
        if made.as_ref().map_or_else(|error| !explains_itself(error), |made| !made.is_as(baked))
            && let Some(why) = self.disturbance(resolved, folder, &fresh)?
        {
            return Err(Error::user(format!("`{role}` could not be checked: what was made from scratch was disturbed"))
                .detail(why)
                .detail("of the store this says nothing")
                .hint(format!(
                    "run the command again; if it happens twice, look for what else cleans up in {}",
                    self.store.root().display()
                )));
        }
        let Compared { again, entries, doubted } = made?;
        if again.image == baked.image && doubted.is_empty() {
            return Ok(Checked::Same { entries });
        }
        let mut differences = Vec::new();
        if again.image != baked.image {
            place::require_replaceable(self.store, keep, self.cancel, &|_| false)?;
            fresh.export(&again.image.digest, keep, place::IMAGE_MODE)?;
            // To be compared, and kept, it needs a file.
            self.store.blob(&baked.image.digest)?.ok_or_else(|| gone(resolved))?;
            inspect::compare(&self.store.path(&baked.image.digest), keep, self.cancel, &mut |difference| {
                differences.push(difference);
                if differences.len() < SHOWN { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
        }
        for (kind, key, _) in &doubted {
            self.store.distrust_action(kind, key)?;
        }
        // Also where its entry was another one's than the one that was compared.
        if again.image != baked.image {
            self.store.distrust_action(IMAGE, &resolved.plan.key())?;
        }
        let entries = doubted.into_iter().map(|(_, _, said)| said).collect();
        Ok(Checked::Differs(Box::new(Differs { cached: baked.image.digest, fresh: again.image.digest, entries, differences })))
    }

    fn make_and_compare(&self, resolved: &Resolved, baked: &Baked, fresh: &Store, make: Make<'_>) -> Result<Compared> {
        self.hand_over(resolved, fresh)?;
        let bake = Bake {
            store: fresh,
            fetch: fetch::Options { offline: true, ..self.fetch.clone() },
            host_mirrors: self.host_mirrors,
            jobs: self.jobs,
            report: self.report,
            cancel: self.cancel,
        };
        let again = make(&bake)?;
        let (entries, doubted) = compare_entries(self.store, fresh)?;
        // The bytes that the store has, not only their name.
        if !self.store.verify_blob(&baked.image.digest)? {
            return Err(gone(resolved));
        }
        Ok(Compared { again, entries, doubted })
    }

    /// The reason why nothing follows from a build in the store `fresh` in `folder`, if somebody else, or the disk, had a hand in it.
    ///
    /// # Errors
    /// A stop.
    fn disturbance(&self, resolved: &Resolved, folder: &Path, fresh: &Store) -> Result<Option<String>> {
        if !self.store.works_in(folder) || !fresh.is_in_place() {
            return Ok(Some(format!("{} was taken away, or another folder is in its place", folder.display())));
        }
        let handed_over = self.handed_over(resolved)?;
        match harm_of(fresh, &handed_over) {
            Err(error) if error.class() != Class::Interrupted => Ok(Some(error.message().to_owned())),
            found => found,
        }
    }

    /// All inputs, by their names and digests.
    fn handed_over(&self, resolved: &Resolved) -> Result<Vec<(String, Digest)>> {
        let inputs = self.inputs(resolved)?.into_iter().map(|input| (input.want.name, input.want.digest));
        let own = resolved.artifacts.own.iter().map(|(digest, own)| (own.name.to_string(), *digest));
        Ok(inputs.chain(own).collect())
    }

    /// Copies all inputs into another store, by their digests.
    fn hand_over(&self, resolved: &Resolved, to: &Store) -> Result<()> {
        for (name, digest) in self.handed_over(resolved)? {
            self.cancel.check()?;
            self.copy(&name, &digest, to)?;
        }
        Ok(())
    }

    fn copy(&self, name: &str, digest: &Digest, to: &Store) -> Result<()> {
        let gone =
            || Error::integrity(format!("`{name}` ({digest}) is gone from the store")).hint("run the command again: it is fetched anew");
        let blob = self.store.resolve(digest, None)?.ok_or_else(gone)?;
        let mut partial = match to.partial(digest, Some(blob.size))? {
            Claim::Ours(partial) => partial,
            // One file under two names.
            Claim::Present => return Ok(()),
            Claim::Busy => return Err(Error::internal("somebody else writes to a store of our own")),
        };
        let mut reader = self.store.reader(&blob.digest)?.ok_or_else(gone)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            self.cancel.check()?;
            match reader.read(&mut buffer).map_err(|e| Error::io(format!("read `{name}` from the store"), &e))? {
                0 => break,
                n => partial.put(&buffer[..n])?,
            }
        }
        partial.commit().map(drop)
    }
}

/// Some thing in a store that nobody but this process should have touched, and that is no longer as it was made.
fn harm_of(fresh: &Store, inputs: &[(String, Digest)]) -> Result<Option<String>> {
    for blob in fresh.blobs()? {
        if let Some(found) = fresh.examine(&blob.digest, &[])?.damage {
            return Ok(Some(format!("its blob sha256:{} is damaged: {found}", blob.digest)));
        }
    }
    for found in fresh.actions()? {
        if let Err(miss) = found.action {
            return Ok(Some(format!("its entry {}-{} is damaged: {miss}", found.name.0, found.name.1)));
        }
    }
    for (name, digest) in inputs {
        if fresh.resolve(digest, None)?.is_none() {
            return Ok(Some(format!("`{name}` is gone from it")));
        }
    }
    Ok(None)
}

fn gone(resolved: &Resolved) -> Error {
    Error::integrity(format!("the image of `{}` is gone from the store", resolved.plan.role())).hint("run the command again")
}

/// Holds the store's entries, and those of lower stores that it believes, against those of a build from scratch: how many
/// there are of both, and which say something else, with what they say.
fn compare_entries(store: &Store, fresh: &Store) -> Result<(usize, Vec<Doubted>)> {
    let (mut compared, mut doubted) = (0, Vec::new());
    for found in fresh.actions()? {
        let (kind, key) = found.name;
        let Ok(made) = found.action else { continue };
        // Our own also where it has lost its blobs: it would be believed again once they are back.
        let own = store.entry(&kind, &key).ok().map(|action| (action, ""));
        let believed = match store.action(&kind, &key) {
            Lookup::Hit(action) if own.as_ref().is_none_or(|(own, _)| *own != action) => Some((action, " of a lower store")),
            _ => None,
        };
        let said: Vec<_> = own.into_iter().chain(believed).collect();
        compared += usize::from(!said.is_empty());
        if let Some((wrong, whose)) = said.iter().find(|(action, _)| *action != made)
            && !Store::is_alias(&kind)
        {
            let line = format!("actions/{kind}-{key}.json{whose} says {}, but it is {}", words(wrong), words(&made));
            doubted.push((kind, key, line));
        }
    }
    Ok((compared, doubted))
}

/// What an entry names.
fn words(action: &Action) -> String {
    action.outputs.iter().map(|(name, blob)| format!("{name} sha256:{}", blob.digest)).collect::<Vec<_>>().join(", ")
}

/// A difference between two images as one line.
pub fn difference_line(difference: &Difference) -> String {
    let Difference { partition, path, field, left, right } = difference;
    match path {
        Some(path) => format!("{partition}: {path}: {field}: {left} → {right}"),
        None => format!("{partition}: {field}: {left} → {right}"),
    }
}

impl Differs {
    /// As a failure. `cached` and `fresh` are where the two images lie.
    pub fn error(&self, role: &RoleName, cached: &Path, fresh: &Path) -> Error {
        let mut error = Error::integrity(format!("the store does not tell the truth about `{role}`: from scratch something else came"));
        if self.cached != self.fresh {
            error = error.detail(format!("in the store     sha256:{}  {}", self.cached, cached.display()));
            error = error.detail(format!("from scratch     sha256:{}  {}", self.fresh, fresh.display()));
        }
        for (n, difference) in self.differences.iter().enumerate() {
            let which = if n == 0 { "first difference" } else { "then" };
            error = error.detail(format!("{which:<16} {}", difference_line(difference)));
        }
        for entry in &self.entries {
            error = error.detail(format!("doubted          {entry}"));
        }
        let error = match self.cached == self.fresh {
            true => error,
            false => error.hint(format!("both are kept; `kbake diff {} {}` compares them in full", quoted(cached), quoted(fresh))),
        };
        error.hint("the store no longer believes these entries: the next build makes them anew; if it happens again, please report it")
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    quote(&path.display().to_string())
}

#[cfg(test)]
#[path = "tests/check.rs"]
mod tests;
