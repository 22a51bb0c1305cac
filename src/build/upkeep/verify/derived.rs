//! Comparison of action entries with outputs recomputed from verified bytes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Actions, Work};
use crate::build::pipeline::step::{Step, StepKind, extractions, file_of};
use crate::build::pipeline::{disk, loader};
use crate::build::upkeep::findings::Damaged;
use crate::common::error::{Class, Result};
use crate::common::value::Sha256;
use crate::spec::plan::Extraction;
use crate::spec::plan::compare::{self, Group};
use crate::storage::store::{Blob, COMPOSED, Root, Store};

impl Work<'_> {
    /// Recomputes the outputs of entries, where that needs no installation, and compares them.
    pub(super) fn derive(&mut self, actions: &Actions, roots: &[Root]) -> Result<()> {
        let plans = self.plans(roots)?;
        let mut suspects = BTreeSet::new();
        for kind in StepKind::ALL {
            match kind {
                StepKind::Extraction => suspects = self.derive_extractions(actions, &plans)?,
                StepKind::Loader => self.derive_loaders(actions)?,
                StepKind::Composition => self.composed(actions)?,
                StepKind::Image => self.derive_images(actions, std::mem::take(&mut suspects))?,
                // A base would need an installation, which takes minutes; frames that an image uses are proved by the image.
                StepKind::Base | StepKind::Frames => {}
            }
        }
        let aliases = actions.keys().filter(|(kind, _)| Store::is_alias(kind)).count() as u64;
        self.findings.derived += aliases;
        self.findings.trusted = (actions.len() as u64).saturating_sub(self.findings.derived);
        Ok(())
    }

    /// Recomputes files from artifacts. Returns the plans whose images may have been built from wrong ones.
    fn derive_extractions(&mut self, actions: &Actions, plans: &BTreeMap<Sha256, Vec<Extraction>>) -> Result<BTreeSet<Sha256>> {
        let all: BTreeMap<Sha256, &Extraction> = plans.values().flatten().map(|extraction| (extraction.key(), extraction)).collect();
        let named = |extraction: &Extraction| actions.get(&Step::Extraction(extraction).id()).and_then(file_of);
        let wanted: Vec<(&Extraction, Blob)> = all.values().filter_map(|extraction| Some((*extraction, named(extraction)?))).collect();
        let mut wrong = BTreeSet::new();
        for (extraction, said, derived) in self.bake.derive_extractions(&wanted)? {
            self.findings.derived += 1;
            if derived == said {
                continue;
            }
            wrong.insert(extraction.key());
            let found =
                format!("it names sha256:{}, but {} gives sha256:{}; it is removed", said.digest, extraction.text(), derived.digest);
            self.refuse(Step::Extraction(extraction), found)?;
        }
        let mut suspects = BTreeSet::new();
        for (plan, of) in plans {
            let image = Step::Image(*plan);
            if of.iter().any(|extraction| wrong.contains(&extraction.key())) && actions.contains_key(&image.id()) {
                suspects.insert(*plan);
                self.refuse(image, "it may have been built from a wrong file; it is removed".into())?;
            }
        }
        Ok(suspects)
    }

    /// Lays images out again and compares them, except those of `suspects`, plans that are refused already.
    fn derive_images(&mut self, actions: &Actions, mut suspects: BTreeSet<Sha256>) -> Result<()> {
        let wanted = self.wanted;
        for (_, resolved) in wanted.resolved() {
            let step = Step::Image(resolved.plan.key());
            let Some(action) = actions.get(&step.id()).filter(|_| suspects.insert(step.key())) else { continue };
            match self.bake.derive_image(resolved, action)? {
                None => {}
                Some(Ok(())) => self.findings.derived += 1,
                Some(Err(why)) => {
                    self.findings.derived += 1;
                    // The composition's parts or its order are wrong: the next build compresses everything again.
                    self.bake.forget_image(resolved)?;
                    let (kind, key) = step.id();
                    self.damage(Damaged::Entry(kind, key), format!("{why}; it is removed"));
                }
            }
        }
        Ok(())
    }

    /// Removes a wrong entry and records the damage.
    fn refuse(&mut self, step: Step<'_>, found: String) -> Result<()> {
        let (kind, key) = step.id();
        self.store().remove_action(&kind, &key)?;
        self.damage(Damaged::Entry(kind, key), found);
        Ok(())
    }

    /// Verifies composed images against their digests.
    fn composed(&mut self, actions: &Actions) -> Result<()> {
        let wanted: Vec<Sha256> = actions.keys().filter(|(kind, _)| kind == COMPOSED).map(|(_, digest)| *digest).collect();
        let (bake, store) = (self.bake, self.bake.store);
        for digest in wanted {
            bake.cancel.check()?;
            // One after the other, because each opens all its parts. A missing part is reported as the part's own damage.
            match store.composed(&digest)?.map(|composed| composed.verify()) {
                None => {}
                Some(Ok(())) => self.findings.derived += 1,
                Some(Err(error)) if error.class() == Class::Integrity => {
                    self.findings.derived += 1;
                    self.store().distrust_action(COMPOSED, &digest)?;
                    self.damage(Damaged::Entry(COMPOSED.into(), digest), format!("{}; it is removed", error.message()));
                }
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Rebuilds boot loaders. Images are compared with their plans independently of loader entries.
    fn derive_loaders(&mut self, actions: &Actions) -> Result<()> {
        let wanted = self.wanted;
        let mut seen = BTreeSet::new();
        for (_, resolved) in wanted.resolved() {
            let Some(key) = disk::loader_key(resolved).filter(|key| seen.insert(*key)) else { continue };
            let Some(action) = actions.get(&Step::Loader(key).id()) else { continue };
            let Some(derived) = self.bake.derive_loader(resolved)? else { continue };
            self.findings.derived += 1;
            let said = loader::loader_of(action).map(|blob| blob.digest);
            if said != Some(derived) {
                let said = said.map_or_else(|| "nothing".to_owned(), |digest| format!("sha256:{digest}"));
                let found = format!("it names {said}, but GRUB's package gives sha256:{derived}; it is removed");
                self.refuse(Step::Loader(key), found)?;
            }
        }
        Ok(())
    }

    /// The built files that each plan of a root or project names, by the plan's key.
    fn plans(&self, roots: &[Root]) -> Result<BTreeMap<Sha256, Vec<Extraction>>> {
        let mut plans = BTreeMap::new();
        for root in roots {
            for history in [Some(&root.current.history), root.previous.as_ref()].into_iter().flatten() {
                let Some(text) = self.bake.text(&history.plan)? else { continue };
                let Ok(lines) = compare::lines(&text, "a plan in the store") else { continue };
                let named = lines.iter().filter(|(subject, _)| subject.group() == Group::Path).filter_map(|(_, says)| {
                    // `made 0755 root root WORDS`
                    Extraction::parse(says.strip_prefix("made ")?.splitn(4, ' ').nth(3)?)
                });
                plans.insert(history.plan.digest, named.collect());
            }
        }
        for (_, resolved) in self.wanted.resolved() {
            plans.insert(resolved.plan.key(), extractions(resolved).map(|(_, extraction)| extraction.clone()).collect());
        }
        Ok(plans)
    }
}
