//! What entries say, held against what can be made again of verified bytes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Actions, Work};
use crate::bake::proof::Damaged;
use crate::bake::{IMAGE, boot, made};
use crate::error::{Class, Result};
use crate::plan::compare::{self, Group};
use crate::plan::{Made, PlannedKind};
use crate::store::{Blob, COMPOSED, Root, Store};
use crate::value::Sha256;

impl Work<'_> {
    /// Derives again what entries say, where that takes no installation.
    pub(super) fn derive(&mut self, actions: &Actions, roots: &[Root]) -> Result<()> {
        let plans = self.plans(roots)?;
        let all: BTreeMap<Sha256, &Made> = plans.values().flatten().map(|made| (made.key(), made)).collect();
        let named = |key: &Sha256| actions.get(&(made::MADE.to_owned(), *key)).and_then(made::file_of);
        let wanted: Vec<(&Made, Blob)> = all.iter().filter_map(|(key, made)| Some((*made, named(key)?))).collect();
        let mut wrong = BTreeSet::new();
        for (made, said, derived) in self.bake.derive_made(&wanted)? {
            self.proof.derived += 1;
            if derived == said {
                continue;
            }
            let key = made.key();
            wrong.insert(key);
            self.store().remove_action(made::MADE, &key)?;
            let found = format!("it says sha256:{}, but {} gives sha256:{}; it is removed", said.digest, made.text(), derived.digest);
            self.damage(Damaged::Entry(made::MADE.into(), key), found);
        }
        self.derive_loaders(actions)?;
        // What was made of wrong things is not to be believed either.
        let mut doubted = BTreeSet::new();
        for (plan, of) in &plans {
            if of.iter().any(|made| wrong.contains(&made.key())) && actions.contains_key(&(IMAGE.to_owned(), *plan)) {
                doubted.insert(*plan);
                self.store().remove_action(IMAGE, plan)?;
                self.damage(Damaged::Entry(IMAGE.into(), *plan), "it may have been made of what is wrong; it is removed".into());
            }
        }
        let wanted = self.wanted;
        for (_, resolved) in wanted.resolved() {
            let key = resolved.plan.key();
            let Some(action) = actions.get(&(IMAGE.to_owned(), key)).filter(|_| doubted.insert(key)) else { continue };
            match self.bake.derive_image(resolved, action)? {
                None => {}
                Some(Ok(())) => self.proof.derived += 1,
                Some(Err(why)) => {
                    self.proof.derived += 1;
                    // What it was composed of is wrong, or how: the next build makes all of it anew.
                    self.bake.forget_image(resolved)?;
                    self.damage(Damaged::Entry(IMAGE.into(), key), format!("{why}; it is removed"));
                }
            }
        }
        self.composed(actions)?;
        let aliases = actions.keys().filter(|(kind, _)| Store::is_alias(kind)).count() as u64;
        self.proof.derived += aliases;
        self.proof.believed = (actions.len() as u64).saturating_sub(self.proof.derived);
        Ok(())
    }

    /// Holds what is composed against its digest.
    fn composed(&mut self, actions: &Actions) -> Result<()> {
        let wanted: Vec<Sha256> = actions.keys().filter(|(kind, _)| kind == COMPOSED).map(|(_, digest)| *digest).collect();
        let (bake, store) = (self.bake, self.bake.store);
        for digest in wanted {
            bake.cancel.check()?;
            // One after the other: each has all its parts open. Of one that lacks a part, that is found as the part's damage.
            match store.composed(&digest)?.map(|composed| composed.verify()) {
                None => {}
                Some(Ok(())) => self.proof.derived += 1,
                Some(Err(error)) if error.class() == Class::Integrity => {
                    self.proof.derived += 1;
                    self.store().distrust_action(COMPOSED, &digest)?;
                    self.damage(Damaged::Entry(COMPOSED.into(), digest), format!("{}; it is removed", error.message()));
                }
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes boot loaders again. Images are held against their plans without what entries say of these.
    fn derive_loaders(&mut self, actions: &Actions) -> Result<()> {
        let wanted = self.wanted;
        let mut seen = BTreeSet::new();
        for (_, resolved) in wanted.resolved() {
            let Some(key) = boot::key(resolved).filter(|key| seen.insert(*key)) else { continue };
            let Some(action) = actions.get(&(boot::BOOT.to_owned(), key)) else { continue };
            let Some(derived) = self.bake.derive_loader(resolved)? else { continue };
            self.proof.derived += 1;
            let said = boot::loader_of(action).map(|blob| blob.digest);
            if said != Some(derived) {
                self.store().remove_action(boot::BOOT, &key)?;
                let said = said.map_or_else(|| "nothing".to_owned(), |digest| format!("sha256:{digest}"));
                let found = format!("it says {said}, but GRUB's package gives sha256:{derived}; it is removed");
                self.damage(Damaged::Entry(boot::BOOT.into(), key), found);
            }
        }
        Ok(())
    }

    /// What is made for each plan that roots or projects name, by the plan's key.
    fn plans(&self, roots: &[Root]) -> Result<BTreeMap<Sha256, Vec<Made>>> {
        let mut plans = BTreeMap::new();
        for root in roots {
            for history in [Some(&root.current.history), root.previous.as_ref()].into_iter().flatten() {
                let Some(text) = self.bake.text(&history.plan)? else { continue };
                let Ok(lines) = compare::lines(&text, "a plan in the store") else { continue };
                let made = lines.iter().filter(|(subject, _)| subject.group() == Group::Path).filter_map(|(_, says)| {
                    // `made 0755 root root WORDS`
                    Made::parse(says.strip_prefix("made ")?.splitn(4, ' ').nth(3)?)
                });
                plans.insert(history.plan.digest, made.collect());
            }
        }
        for (_, resolved) in self.wanted.resolved() {
            let made = resolved.plan.files().values().filter_map(|node| match &node.kind {
                PlannedKind::Made(made) => Some(made.clone()),
                _ => None,
            });
            plans.insert(resolved.plan.key(), made.collect());
        }
        Ok(plans)
    }
}
