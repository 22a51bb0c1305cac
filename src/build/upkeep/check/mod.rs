//! Clean rebuilds: an image is built again beside the store, to find out whether the store's results reproduce.
//!
//! The rebuild shares only the inputs with the store. They are copied by the lockfile's digests and hashed on the way.
//! Everything that action entries name is built again: the base, files from archives, the image.

use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;

use crate::build::base;
use crate::build::pipeline::output;
use crate::build::pipeline::step::StepKind;
use crate::build::{Bake, Baked, Resolved};
use crate::common::error::{Class, Error, Result};
use crate::common::fsx;
use crate::common::value::{Digest, RoleName, Sha256, quote};
use crate::formats::inspect::{self, Difference};
use crate::storage::fetch;
use crate::storage::store::{Access, Action, Claim, Lookup, Store};

/// Size of the copy buffer, in bytes.
const BUFFER: usize = 1 << 20;
/// The number of differences shown: the first is the most useful, the next ones tell one bad file from many.
const SHOWN: usize = 5;

/// The outcome of a clean rebuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// The rebuild gave the same image and the same entries.
    Same {
        /// The number of entries compared.
        entries: usize,
    },
    /// The rebuild gave a different image or different entries.
    Differs(Box<Differs>),
}

/// Differences between a clean rebuild and the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differs {
    /// The image that the store has for the plan.
    pub cached: Sha256,
    /// The image of the clean rebuild.
    pub fresh: Sha256,
    /// Entries that differ from the rebuild, for people. The store no longer trusts them.
    pub entries: Vec<String>,
    /// The first differences of the images, in the order of the disk.
    pub differences: Vec<Difference>,
}

/// An entry that differs from the rebuild: its kind, its key, and a line for people.
type WrongEntry = (String, Sha256, String);

/// Builds an image in the given context.
type Make<'a> = &'a dyn Fn(&Bake) -> Result<Baked>;

/// The result of a clean rebuild, compared with the store.
struct Compared {
    again: Baked,
    /// The number of entries compared.
    entries: usize,
    wrong_entries: Vec<WrongEntry>,
}

impl Compared {
    fn is_as(&self, baked: &Baked) -> bool {
        self.again.image == baked.image && self.wrong_entries.is_empty()
    }
}

impl Bake<'_> {
    /// Rebuilds `resolved` from its locked inputs, and compares the result with `baked`, the store's image. A different
    /// image is kept at the absolute path `keep`. Entries that differ are removed; those of a lower store are no longer
    /// trusted.
    ///
    /// # Errors
    /// Those of a build; inputs that cannot be fetched; a damaged image in the store.
    pub fn check(&self, resolved: &Resolved, baked: &Baked, keep: &Path) -> Result<Checked> {
        self.check_by(resolved, baked, keep, &|bake| bake.image(resolved))
    }

    /// [`Bake::check`] with a given builder, which runs in a store that has only the inputs.
    pub(in crate::build) fn check_by(&self, resolved: &Resolved, baked: &Baked, keep: &Path, make: Make<'_>) -> Result<Checked> {
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
        // No other process enters the folder while the plan's lock is held.
        cleared.and_then(|()| fsx::remove_dir_all(&folder))?;
        Ok(checked)
    }

    /// Removes the contents of the folder, including those that a killed process left. The folder itself stays: its lock
    /// keeps other processes from cleaning it up.
    fn clear(&self, resolved: &Resolved, folder: &Path) -> Result<()> {
        for key in [resolved.plan.base_key()].into_iter().chain(resolved.plan.ground_key()) {
            let installing = folder.join("tmp").join(format!("work-{}-{key}", StepKind::Base.word()));
            if fsx::exists(&installing)? {
                base::clean(base::host_check(resolved.plan.arch())?, &installing)?;
            }
        }
        fsx::empty_dir(folder)
    }

    fn check_in(&self, resolved: &Resolved, baked: &Baked, keep: &Path, folder: &Path, make: Make<'_>) -> Result<Checked> {
        let role = resolved.plan.role();
        let fresh = Store::open(folder, Access::Shared, self.cancel, &|| {})?;
        self.report.say(&format!("{role}: rebuilding from the locked inputs, to compare"));
        let made = self.make_and_compare(resolved, baked, &fresh, make);
        // Checked before the store is accused, or the error is blamed on another cause.
        let explains_itself = |error: &Error| matches!(error.class(), Class::Interrupted | Class::NoSpace);
        if made.as_ref().map_or_else(|error| !explains_itself(error), |made| !made.is_as(baked))
            && let Some(why) = self.disturbance(resolved, folder, &fresh)?
        {
            return Err(Error::user(format!("`{role}` could not be checked: the clean rebuild was disturbed"))
                .detail(why)
                .detail("this says nothing about the store")
                .hint(format!(
                    "run the command again; if it happens twice, find out which other program removes files in {}",
                    self.store.root().display()
                )));
        }
        let Compared { again, entries, wrong_entries } = made?;
        if again.image == baked.image && wrong_entries.is_empty() {
            return Ok(Checked::Same { entries });
        }
        let mut differences = Vec::new();
        if again.image != baked.image {
            output::require_replaceable(self.store, keep, self.cancel, &|_| false)?;
            fresh.export(&again.image.digest, keep, output::IMAGE_MODE)?;
            // An image must be a file to be compared and kept.
            self.store.blob(&baked.image.digest)?.ok_or_else(|| gone(resolved))?;
            inspect::compare(&self.store.path(&baked.image.digest), keep, self.cancel, &mut |difference| {
                differences.push(difference);
                if differences.len() < SHOWN { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
        }
        for (kind, key, _) in &wrong_entries {
            self.store.distrust_action(kind, key)?;
        }
        // Removed even if the store's own entry is not the one that was compared.
        if again.image != baked.image {
            self.store.distrust_action(StepKind::Image.word(), &resolved.plan.key())?;
        }
        let entries = wrong_entries.into_iter().map(|(_, _, said)| said).collect();
        Ok(Checked::Differs(Box::new(Differs { cached: baked.image.digest, fresh: again.image.digest, entries, differences })))
    }

    fn make_and_compare(&self, resolved: &Resolved, baked: &Baked, fresh: &Store, make: Make<'_>) -> Result<Compared> {
        self.copy_inputs(resolved, fresh)?;
        let bake = Bake {
            store: fresh,
            fetch: fetch::Options { offline: true, ..self.fetch.clone() },
            host_mirrors: self.host_mirrors,
            jobs: self.jobs,
            report: self.report,
            cancel: self.cancel,
        };
        let again = make(&bake)?;
        let (entries, wrong_entries) = compare_entries(self.store, fresh)?;
        // Verify the store's bytes, not only their name.
        if !self.store.verify_blob(&baked.image.digest)? {
            return Err(gone(resolved));
        }
        Ok(Compared { again, entries, wrong_entries })
    }

    /// The reason why the rebuild in the store `fresh` in `folder` proves nothing: another process or the disk has changed
    /// its files.
    ///
    /// # Errors
    /// Cancellation.
    fn disturbance(&self, resolved: &Resolved, folder: &Path, fresh: &Store) -> Result<Option<String>> {
        if !self.store.works_in(folder) || !fresh.is_in_place() {
            return Ok(Some(format!("{} was removed, or another folder is in its place", folder.display())));
        }
        let inputs_by_name = self.inputs_by_name(resolved)?;
        match harm_of(fresh, &inputs_by_name) {
            Err(error) if error.class() != Class::Interrupted => Ok(Some(error.message().to_owned())),
            found => found,
        }
    }

    /// All inputs, by name and digest.
    fn inputs_by_name(&self, resolved: &Resolved) -> Result<Vec<(String, Digest)>> {
        Ok(self.inputs(resolved)?.iter().map(|input| (input.name().to_owned(), input.digest())).collect())
    }

    /// Copies all inputs into another store, by their digests.
    fn copy_inputs(&self, resolved: &Resolved, to: &Store) -> Result<()> {
        for (name, digest) in self.inputs_by_name(resolved)? {
            self.cancel.check()?;
            self.copy(&name, &digest, to)?;
        }
        Ok(())
    }

    fn copy(&self, name: &str, digest: &Digest, to: &Store) -> Result<()> {
        let gone = || Error::integrity(format!("`{name}` ({digest}) is gone from the store")).hint("run the command again to fetch it");
        let blob = self.store.resolve(digest, None)?.ok_or_else(gone)?;
        let mut partial = match to.partial(digest, Some(blob.size))? {
            Claim::Ours(partial) => partial,
            // One file under two names.
            Claim::Present => return Ok(()),
            Claim::Busy => return Err(Error::internal("another process writes to the store of the rebuild")),
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

/// A file or entry that changed in a store which only this process should write to.
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

/// Compares the entries of the store and of its lower stores with those of a clean rebuild. Returns the number of entries
/// that both have, and the ones that differ.
fn compare_entries(store: &Store, fresh: &Store) -> Result<(usize, Vec<WrongEntry>)> {
    let (mut compared, mut wrong_entries) = (0, Vec::new());
    for found in fresh.actions()? {
        let (kind, key) = found.name;
        let Ok(made) = found.action else { continue };
        // Compared even if its blobs are lost: it would be trusted again once they are back.
        let own = store.entry(&kind, &key).ok().map(|action| (action, ""));
        let trusted = match store.action(&kind, &key) {
            Lookup::Hit(action) if own.as_ref().is_none_or(|(own, _)| *own != action) => Some((action, " of a lower store")),
            _ => None,
        };
        let said: Vec<_> = own.into_iter().chain(trusted).collect();
        compared += usize::from(!said.is_empty());
        if let Some((wrong, whose)) = said.iter().find(|(action, _)| *action != made)
            && !Store::is_alias(&kind)
        {
            let line = format!("actions/{kind}-{key}.json{whose} names {}; the rebuild gave {}", words(wrong), words(&made));
            wrong_entries.push((kind, key, line));
        }
    }
    Ok((compared, wrong_entries))
}

/// The outputs of an entry, as text.
fn words(action: &Action) -> String {
    action.outputs.iter().map(|(name, blob)| format!("{name} sha256:{}", blob.digest)).collect::<Vec<_>>().join(", ")
}

/// A difference between two images as one line.
pub(crate) fn difference_line(difference: &Difference) -> String {
    let Difference { partition, path, field, left, right } = difference;
    match path {
        Some(path) => format!("{partition}: {path}: {field}: {left} → {right}"),
        None => format!("{partition}: {field}: {left} → {right}"),
    }
}

impl Differs {
    /// The differences as an error. `cached` and `fresh` are the paths of the two images.
    pub fn error(&self, role: &RoleName, cached: &Path, fresh: &Path) -> Error {
        let what = if self.cached == self.fresh { "different intermediate results" } else { "a different image" };
        let mut error = Error::integrity(format!("`{role}` does not reproduce: a clean rebuild gave {what}"));
        if self.cached != self.fresh {
            error = error.detail(format!("in the store     sha256:{}  {}", self.cached, cached.display()));
            error = error.detail(format!("clean rebuild    sha256:{}  {}", self.fresh, fresh.display()));
        }
        for (n, difference) in self.differences.iter().enumerate() {
            let which = if n == 0 { "first difference" } else { "then" };
            error = error.detail(format!("{which:<16} {}", difference_line(difference)));
        }
        for entry in &self.entries {
            error = error.detail(format!("wrong entry      {entry}"));
        }
        let error = match self.cached == self.fresh {
            true => error,
            false => error.hint(format!("both are kept; `kbake diff {} {}` compares them in full", quoted(cached), quoted(fresh))),
        };
        error.hint("the store no longer trusts these entries, and the next build replaces them; if it happens again, please report it")
    }
}

/// A path quoted for the shell.
fn quoted(path: &Path) -> String {
    quote(&path.display().to_string())
}

#[cfg(test)]
mod tests;
