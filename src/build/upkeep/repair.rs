//! Repair of a store: lost blobs are taken back from written images, fetched or built again, until their digests match.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::findings::{Damage, Damaged, Findings, State};
use super::verify::{Wanted, shown};
use crate::build::pipeline::inputs::InputSource;
use crate::build::pipeline::saved;
use crate::build::pipeline::step::{BasePart, Step, StepKind, planned_steps};
use crate::build::pipeline::{extract, install};
use crate::build::{Bake, Causes, Resolved};
use crate::common::error::{Class, Error, Result};
use crate::common::report::{Item, Outcome};
use crate::common::value::{Digest, Sha256};
use crate::storage::fetch::Source;
use crate::storage::store::{Action, Blob, COMPOSED, History, Lookup, Owner, Root, Store};

/// The number of fetch rounds: each document of a container image names the next parts.
const ROUNDS: usize = 4;

impl Bake<'_> {
    /// Repairs the damages that [`Bake::verify_store`] has found, as far as possible. Drops data that only earlier plans need.
    ///
    /// # Errors
    /// I/O errors and cancellation. Failed repairs are reported in `findings`.
    pub fn repair(&self, wanted: &Wanted, findings: &mut Findings) -> Result<()> {
        let lost = findings.damages.iter().filter_map(|damage| match damage.what {
            Damaged::Blob(digest) | Damaged::Missing(digest) => Some(digest),
            _ => None,
        });
        let mut work = Repair {
            bake: self,
            wanted,
            lost: lost.collect(),
            how: BTreeMap::new(),
            failed: Vec::new(),
            others: BTreeSet::new(),
            replanned: BTreeSet::new(),
        };
        work.take_back()?;
        work.fetch()?;
        work.make(findings)?;
        work.take_back_composed()?;
        work.histories()?;
        work.settle(findings)
    }
}

struct Repair<'a> {
    bake: &'a Bake<'a>,
    wanted: &'a Wanted,
    lost: BTreeSet<Sha256>,
    /// The way in which a blob was restored.
    how: BTreeMap<Sha256, &'static str>,
    /// Errors of failed attempts, in order.
    failed: Vec<Error>,
    /// Lost blobs whose rebuild gave other bytes.
    others: BTreeSet<Sha256>,
    /// The owners of roots that got the current plan but still have inputs of an earlier one.
    replanned: BTreeSet<Owner>,
}

impl Repair<'_> {
    fn is_lost(&self, digest: &Sha256) -> Result<bool> {
        Ok(self.lost.contains(digest) && !self.bake.store.contains(digest)?)
    }

    /// The SHA-256 of the blob of an input, as far as known.
    fn blob_of(&self, input: &Digest) -> Option<Sha256> {
        match input {
            Digest::Sha256(digest) => Some(*digest),
            Digest::Sha512(digest) => self.bake.store.alias_of(digest),
        }
    }

    /// Records an error that concerns one blob; other errors end the repair.
    fn note(&mut self, done: Result<()>) -> Result<()> {
        match done {
            Err(error) if matches!(error.class(), Class::Interrupted | Class::NoSpace | Class::Internal) => Err(error),
            Err(error) => {
                self.failed.push(error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Takes back images from their written copies, which may be intact.
    fn take_back(&mut self) -> Result<()> {
        for (image, output) in self.written()? {
            // A composed image gets its parts back when it is built again.
            let is_composed = self.bake.store.entry(COMPOSED, &image.digest).is_ok();
            if !is_composed && self.is_lost(&image.digest)? && self.bake.store.take_back(&image, &output)? {
                self.how.insert(image.digest, "taken back from the written image");
            }
        }
        Ok(())
    }

    /// Takes back images that could not be composed again from their written copies.
    fn take_back_composed(&self) -> Result<()> {
        let store = self.bake.store;
        for (image, output) in self.written()? {
            let is_composed = store.entry(COMPOSED, &image.digest).is_ok();
            if is_composed && !store.contains(&image.digest)? && store.take_back(&image, &output)? {
                // The parts of the composition are no longer needed.
                store.remove_action(COMPOSED, &image.digest)?;
            }
        }
        Ok(())
    }

    /// The images of all roots, with each path that they were written to.
    fn written(&self) -> Result<Vec<(Blob, PathBuf)>> {
        let mut all = Vec::new();
        for root in self.bake.store.roots()? {
            let entry = self.bake.store.entry(StepKind::Image.word(), &root.current.history.plan.digest);
            if let Some(image) = entry.ok().and_then(|action| action.outputs.get("image").copied()) {
                all.extend(root.outputs.into_iter().map(|output| (image, output)));
            }
        }
        Ok(all)
    }

    /// Fetches lost inputs of all roles that can be resolved.
    fn fetch(&mut self) -> Result<()> {
        let wanted = self.wanted;
        for (_, resolved) in wanted.resolved() {
            for _ in 0..ROUNDS {
                let mut wants = Vec::new();
                for input in self.bake.inputs(resolved)?.into_iter().filter(|input| input.blob.is_none()) {
                    let Some(name) = self.blob_of(&input.digest()) else { continue };
                    if !self.is_lost(&name)? {
                        continue;
                    }
                    match input.source {
                        InputSource::Own(digest, own) => {
                            self.note(extract::take(self.bake.store, &digest, &own, self.bake.cancel).map(drop))?;
                            self.how.insert(name, "imported from your file again");
                        }
                        // A local file needs no download, even if it is locked as an artifact too.
                        InputSource::Download(want) if resolved.artifacts.own.contains_key(&want.digest) => {}
                        InputSource::Download(want) => {
                            if matches!(want.source, Source::Registry { .. }) {
                                // The parts that the user's own archive has need no download.
                                self.note(saved::take_missing(self.bake, resolved))?;
                            }
                            wants.push(want);
                            self.how.insert(name, "fetched again");
                        }
                    }
                }
                if wants.is_empty() {
                    break;
                }
                let before = self.failed.len();
                self.note(self.bake.fetch_missing(Some(&resolved.archives), wants))?;
                if self.failed.len() > before {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Runs the lost steps again, each before those that use its result.
    fn make(&mut self, findings: &Findings) -> Result<()> {
        let gone: BTreeSet<(String, Sha256)> = findings
            .damages
            .iter()
            .filter_map(|damage| match &damage.what {
                Damaged::Entry(kind, key) => Some((kind.clone(), *key)),
                _ => None,
            })
            .collect();
        let wanted = self.wanted;
        for (_, resolved) in wanted.resolved() {
            for step in planned_steps(resolved) {
                self.again(&gone, resolved, step)?;
            }
            // Other results may be lost though the image is not.
            for step in self.bake.derived_steps(resolved)? {
                self.again(&gone, resolved, step)?;
            }
        }
        Ok(())
    }

    /// Runs a step again if its entry or blobs are lost, and compares the new outputs with the recorded ones.
    fn again(&mut self, gone: &BTreeSet<(String, Sha256)>, resolved: &Resolved, step: Step<'_>) -> Result<()> {
        let store = self.bake.store;
        let (kind, key) = step.id();
        let before = store.entry(&kind, &key).ok();
        let lost = |action: &Action| {
            action.outputs.values().any(|blob| {
                let parts = store.entry(COMPOSED, &blob.digest).unwrap_or_default();
                let parts = parts.outputs.values().map(|part| part.digest);
                parts.chain([blob.digest]).any(|digest| self.lost.contains(&digest))
            })
        };
        if self.bake.recorded(&step).is_some() || !(gone.contains(&step.id()) || before.as_ref().is_some_and(lost)) {
            return Ok(());
        }
        let done = make_again(self.bake, resolved, step);
        self.note(done)?;
        let (Some(before), Ok(after)) = (before, store.entry(&kind, &key)) else { return Ok(()) };
        for (name, blob) in &before.outputs {
            match after.outputs.get(name) == Some(blob) {
                true => _ = self.how.entry(blob.digest).or_insert("rebuilt"),
                false if self.lost.contains(&blob.digest) => {
                    let now = after.outputs.get(name).map_or("nothing".to_owned(), |blob| format!("sha256:{}", blob.digest));
                    self.others.insert(blob.digest);
                    self.failed
                        .push(Error::integrity(format!("`{name}` of {kind}-{key} was sha256:{}; the rebuild gave {now}", blob.digest)));
                }
                false => {}
            }
        }
        Ok(())
    }

    /// Writes lost plans and causes again if they are current; drops lost ones that are only history.
    fn histories(&mut self) -> Result<()> {
        let store = self.bake.store;
        for mut root in store.roots()? {
            let whole = |history: &History| -> Result<bool> {
                Ok(store.contains(&history.plan.digest)? && history.causes.map_or(Ok(true), |blob| store.contains(&blob.digest))?)
            };
            let before = root.clone();
            if !whole(&root.current.history)? {
                let wanted = self.wanted;
                let now = wanted.known.iter().find(|known| known.owner == root.owner).map(|known| known.resolved.as_ref());
                let plan = root.current.history.plan.digest;
                let has_plan = store.contains(&plan)?;
                match now {
                    Some(Ok(resolved)) if resolved.plan.key() == plan => self.rewrite(&mut root, resolved)?,
                    _ if has_plan => root.current.history.causes = None,
                    // The root was built from another state of the project. Its inputs stay: a host without network may have
                    // no others.
                    Some(Ok(resolved)) => {
                        self.rewrite(&mut root, resolved)?;
                        root.previous = None;
                        self.replanned.insert(root.owner.clone());
                    }
                    Some(Err(error)) => {
                        let owner = shown(&root.owner);
                        self.failed.push(
                            Error::integrity(format!("the plan of {owner} cannot be written again: {}", error.message()))
                                .detail(format!("sha256:{plan}")),
                        );
                    }
                    None if wanted.gone.contains(&root.owner) => {
                        store.remove_root(&Store::root_name(&root.owner))?;
                        continue;
                    }
                    // Another process has just written it.
                    None => {}
                }
            }
            if let Some(previous) = root.previous
                && !whole(&previous)?
            {
                root.previous = store.contains(&previous.plan.digest)?.then_some(History { causes: None, ..previous });
            }
            // Keep lost inputs only if the current plan can say where to fetch them.
            let mut left = BTreeSet::new();
            for digest in &root.current.inputs {
                if !self.is_lost(digest)? || self.may_come(&root) {
                    left.insert(*digest);
                }
            }
            root.current.inputs = left;
            if root != before {
                store.put_root(&root)?;
            }
        }
        Ok(())
    }

    /// True when the root's inputs may be fetched again: its plan can be resolved, or its project is unavailable at the
    /// moment.
    fn may_come(&self, root: &Root) -> bool {
        let known = self.wanted.known.iter().find(|known| known.owner == root.owner);
        let is_current =
            |resolved: &Resolved| resolved.plan.key() == root.current.history.plan.digest && !self.replanned.contains(&root.owner);
        known.is_some_and(|known| known.resolved.as_ref().map_or(true, is_current))
    }

    fn rewrite(&mut self, root: &mut Root, resolved: &Resolved) -> Result<()> {
        let store = self.bake.store;
        let plan = store.insert(resolved.plan.text().as_bytes())?;
        let causes = store.insert(Causes::of(resolved)?.text()?.as_bytes())?;
        self.how.insert(plan.digest, "written again");
        self.how.insert(causes.digest, "written again");
        root.current.history = History { plan, causes: Some(causes) };
        Ok(())
    }

    /// Records the outcome of each damage.
    fn settle(&mut self, findings: &mut Findings) -> Result<()> {
        let still = self.still_needed()?;
        for damage in &mut findings.damages {
            damage.state = self.state(damage, &still)?;
            let name = damage.what.to_string();
            let item = Item { kind: damage.what.kind(), name: &name, digest: damage.what.digest(), bytes: None };
            let outcome = match damage.state {
                State::Repaired(_) => Outcome::Repaired,
                State::Dropped => Outcome::Removed,
                State::Open | State::Failed(_) => Outcome::Failed,
            };
            self.bake.report.ended(&item, outcome);
        }
        Ok(())
    }

    fn state(&self, damage: &Damage, still: &Needed) -> Result<State> {
        let store = self.bake.store;
        Ok(match &damage.what {
            Damaged::Blob(digest) | Damaged::Missing(digest) if self.others.contains(digest) => State::Failed(self.why(digest)),
            Damaged::Blob(digest) | Damaged::Missing(digest) if store.contains(digest)? => {
                State::Repaired(self.how.get(digest).copied().unwrap_or("rebuilt"))
            }
            Damaged::Blob(digest) | Damaged::Missing(digest) if still.blobs.contains(digest) => State::Failed(self.why(digest)),
            Damaged::Blob(digest) | Damaged::Missing(digest) => {
                self.forget(digest)?;
                State::Dropped
            }
            Damaged::Entry(kind, key) if matches!(store.action(kind, key), Lookup::Hit(_)) => State::Repaired("rebuilt"),
            Damaged::Entry(kind, key) if still.actions.contains(&(kind.clone(), *key)) => {
                State::Failed(self.failed.last().map_or_else(|| "it was not rebuilt".to_owned(), |error| error.message().to_owned()))
            }
            Damaged::Entry(..) | Damaged::Root(_) => State::Dropped,
            Damaged::Lower(..) => State::Repaired("it is fetched or built here when needed"),
            Damaged::Claim(_) => {
                State::Failed("import the bundle again; or remove the file, and the image is not compared with a claim".into())
            }
        })
    }

    /// The first error that mentions the blob, or else the last one.
    fn why(&self, digest: &Sha256) -> String {
        let text = digest.to_string();
        let speaks = self.failed.iter().find(|error| error.to_string().contains(&text)).or(self.failed.last());
        let unresolved = || self.wanted.known.iter().find_map(|known| known.resolved.as_ref().err());
        speaks.or_else(unresolved).map_or_else(|| "its source is not known".to_owned(), |error| error.message().to_owned())
    }

    /// Removes entries that name a blob which nothing needs.
    fn forget(&self, digest: &Sha256) -> Result<()> {
        for (kind, key) in self.bake.store.action_names()? {
            let names = self.bake.store.entry(&kind, &key).is_ok_and(|action| action.outputs.values().any(|blob| blob.digest == *digest));
            if names {
                self.bake.store.remove_action(&kind, &key)?;
            }
        }
        Ok(())
    }

    /// The blobs and actions that roots and projects need after the repair.
    fn still_needed(&self) -> Result<Needed> {
        let store = self.bake.store;
        let mut needed = Needed::default();
        for root in store.roots()? {
            needed.blobs.extend(&root.current.inputs);
            for history in [Some(root.current.history), root.previous].into_iter().flatten() {
                needed.blobs.extend([Some(history.plan), history.causes].into_iter().flatten().map(|blob| blob.digest));
            }
            // Steps of an earlier plan cannot run again: its image is kept only while it is there.
            if self.may_come(&root) {
                needed.actions.extend(root.current.actions);
            }
        }
        for (kind, key) in &needed.actions {
            if let Ok(action) = store.entry(kind, key) {
                needed.blobs.extend(action.outputs.values().map(|blob| blob.digest));
            }
        }
        let composed: Vec<Action> = needed.blobs.iter().filter_map(|blob| store.entry(COMPOSED, blob).ok()).collect();
        needed.blobs.extend(composed.iter().flat_map(|action| action.outputs.values()).map(|blob| blob.digest));
        for (_, resolved) in self.wanted.resolved() {
            needed.blobs.extend(self.bake.inputs(resolved)?.iter().filter_map(|input| self.blob_of(&input.digest())));
        }
        Ok(needed)
    }
}

/// Runs a step again.
fn make_again(bake: &Bake, resolved: &Resolved, step: Step<'_>) -> Result<()> {
    match step {
        Step::Extraction(extraction) => bake.realise_extractions(resolved, &[extraction]).map(drop),
        Step::Base { part: BasePart::Ground, .. } => install::ground(bake, resolved).map(drop),
        Step::Base { part: BasePart::Role, .. } => bake.base(resolved).map(drop),
        Step::Loader(_) => bake.loader(resolved).map(drop),
        Step::Image(_) => bake.image(resolved).map(drop),
        Step::Frames(_) | Step::Composition(_) => bake.compose_again(resolved),
    }
}

#[derive(Default)]
struct Needed {
    blobs: BTreeSet<Sha256>,
    actions: BTreeSet<(String, Sha256)>,
}
