//! Verification of a store: hashes every blob, checks every entry's checksum, and recomputes outputs where possible.
//!
//! Builds trust an action entry with a right checksum. So its outputs are recomputed here from bytes that the lockfile
//! names, wherever that needs no installation: members of archives, archives of container images, boot loaders, and images
//! over their base. Bases, and frames that no image in the store uses, remain trusted: only a clean rebuild proves them.

mod derived;
mod needs;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use self::needs::{Label, Need, Needs};
use super::findings::{Damage, Damaged, Findings, State};
use crate::build::pipeline::inputs::InputKind;
use crate::build::pipeline::resolve;
use crate::build::pipeline::step::{StepKind, planned_steps};
use crate::build::{Bake, Resolved};
use crate::common::error::{Class, Error, Result};
use crate::common::report::{Item, ItemKind, Outcome};
use crate::common::value::{Cancel, Digest, Sha256};
use crate::spec::project::Project;
use crate::storage::store::{Action, Blob, COMPOSED, Miss, Owner, Root, Store};

/// The current state of a project's role, or the reason why it cannot be resolved.
pub struct Known {
    /// The owner of the role.
    pub owner: Owner,
    /// The resolved role.
    pub resolved: Result<Resolved>,
}

/// Everything that may need the store's contents: the roles of all roots and of the current project.
#[derive(Default)]
pub struct Wanted {
    /// The current state of the projects' roles.
    pub known: Vec<Known>,
    /// The owners of roots whose project or recipe is gone.
    pub gone: BTreeSet<Owner>,
}

impl Wanted {
    /// Resolves every root's role, and all roles of `current`, a project and its channel.
    ///
    /// # Errors
    /// Cancellation; I/O errors of the store. A project that cannot be resolved is no error here.
    pub fn of(store: &Store, current: Option<(&Project, &Path, &str)>, cancel: &Cancel) -> Result<Self> {
        let mut owners: BTreeSet<Owner> = store.roots()?.into_iter().map(|root| root.owner).collect();
        let rooted = owners.clone();
        if let Some((project, folder, channel)) = current {
            owners.extend(project.roles()?.iter().map(|role| crate::build::owner(project, folder, channel, role)));
        }
        let mut wanted = Wanted::default();
        for owner in owners {
            let project = owner.project.clone().map_or(Project::Shipped, Project::Folder);
            let is_there = |project: &Project| Ok::<_, Error>(project.text("recipes/base.toml")?.is_some());
            if !is_there(&project)? || !project.roles()?.contains(&owner.role) {
                wanted.gone.insert(owner);
                continue;
            }
            let resolved = project
                .channel_for(&owner.channel, std::slice::from_ref(&owner.role))
                .and_then(|channel| resolve::resolve(&project, &channel, &owner.role, cancel));
            cancel.check()?;
            // A role that nobody has built or fetched needs nothing, so its errors do not matter.
            if resolved.is_ok() || rooted.contains(&owner) {
                wanted.known.push(Known { owner, resolved });
            }
        }
        Ok(wanted)
    }

    /// The roles that could be resolved.
    pub fn resolved(&self) -> impl Iterator<Item = (&Owner, &Resolved)> {
        self.known.iter().filter_map(|known| known.resolved.as_ref().ok().map(|resolved| (&known.owner, resolved)))
    }
}

/// An owner for people.
pub(crate) fn shown(owner: &Owner) -> String {
    let folder = owner.project.as_ref().map_or_else(|| "the shipped recipes".to_owned(), |folder| folder.display().to_string());
    format!("{} (channel {}, {folder})", owner.role, owner.channel)
}

impl Bake<'_> {
    /// Verifies everything in the store. Damaged blobs go to quarantine; invalid entries and roots are removed.
    ///
    /// # Errors
    /// I/O errors and cancellation. Damage is no error here.
    pub fn verify_store(&self, wanted: &Wanted) -> Result<Findings> {
        let mut work = Work { bake: self, wanted, needs: Needs::default(), named: BTreeMap::new(), findings: Findings::default() };
        let roots = work.roots()?;
        let actions = work.actions()?;
        // Blobs are hashed before anything else reads them: a reader silently puts aside a blob of a wrong size.
        work.blobs(&actions)?;
        work.lower_blobs()?;
        work.claims()?;
        work.collect_needs(&roots)?;
        work.outputs(&actions, &roots);
        work.rooted(&roots);
        work.derive(&actions, &roots)?;
        Ok(work.finish())
    }
}

struct Work<'a> {
    bake: &'a Bake<'a>,
    wanted: &'a Wanted,
    needs: Needs,
    /// The entries that name a blob.
    named: BTreeMap<Sha256, BTreeSet<(String, Sha256)>>,
    findings: Findings,
}

/// Valid entries, by kind and key.
type Actions = BTreeMap<(String, Sha256), Action>;

impl Work<'_> {
    fn store(&self) -> &Store {
        self.bake.store
    }

    fn roots(&mut self) -> Result<Vec<Root>> {
        let mut sound = Vec::new();
        for (name, root) in self.store().root_files()? {
            self.findings.roots += 1;
            match root {
                Some(root) => sound.push(root),
                None => {
                    self.store().remove_root(&name)?;
                    self.damage(Damaged::Root(name), "it is not a root, or its checksum is wrong; it is removed".into());
                }
            }
        }
        Ok(sound)
    }

    fn collect_needs(&mut self, roots: &[Root]) -> Result<()> {
        for root in roots {
            let whose = shown(&root.owner);
            let histories = [Some(&root.current.history), root.previous.as_ref()];
            for blob in histories.into_iter().flatten().flat_map(|history| [Some(history.plan), history.causes]).flatten() {
                self.needs.add(Need::Blob(blob.digest), Label::Kind("the history"), &whose);
            }
            for digest in &root.current.inputs {
                self.needs.add(Need::Blob(*digest), Label::Kind("an input"), &whose);
            }
            for (kind, key) in &root.current.actions {
                self.needs.add(Need::Action(kind.clone(), *key), Label::Kind(thing(kind)), &whose);
                if *kind == StepKind::Image.word() {
                    self.need_parts(key, &whose);
                }
            }
        }
        let wanted = self.wanted;
        for (owner, resolved) in wanted.resolved() {
            let whose = shown(owner);
            for input in self.bake.inputs(resolved)? {
                let sort = match input.kind {
                    InputKind::Package => "package",
                    InputKind::Tool => "tool",
                    InputKind::Artifact => "artifact",
                    InputKind::ImagePart => "container image",
                };
                let name = match input.digest() {
                    Digest::Sha256(digest) => Some(digest),
                    Digest::Sha512(digest) => self.store().alias_of(&digest),
                };
                if let Some(name) = name {
                    self.needs.add(Need::Blob(name), Label::Exact(format!("{sort} {}", input.name())), &whose);
                }
            }
            for step in planned_steps(resolved) {
                let (kind, key) = step.id();
                self.needs.add(Need::Action(kind, key), Label::Exact(step.noun(resolved)), &whose);
            }
            self.need_parts(&resolved.plan.key(), &whose);
        }
        Ok(())
    }

    /// The parts of a plan's composed image are needed as the image is.
    fn need_parts(&mut self, plan: &Sha256, whose: &str) {
        if let Some(image) = self.store().entry(StepKind::Image.word(), plan).ok().and_then(|action| action.outputs.get("image").copied()) {
            self.needs.add(Need::Action(COMPOSED.into(), image.digest), Label::Kind(StepKind::Image.noun()), whose);
        }
    }

    /// Adds to each damage the things that need it.
    fn finish(self) -> Findings {
        let Work { needs, named, mut findings, .. } = self;
        let of = |need: Need| needs.of(&need);
        let of_entry = |(kind, key): &(String, Sha256)| match of(Need::Action(kind.clone(), *key)) {
            unknown if unknown.is_empty() => [format!("{} {kind}-{}", thing(kind), short(key))].into(),
            known => known,
        };
        for damage in &mut findings.damages {
            damage.needed = match &damage.what {
                Damaged::Blob(digest) | Damaged::Missing(digest) => {
                    let entries = named.get(digest).into_iter().flatten().flat_map(of_entry);
                    of(Need::Blob(*digest)).into_iter().chain(entries).collect()
                }
                Damaged::Entry(kind, key) => of(Need::Action(kind.clone(), *key)),
                Damaged::Lower(digest, _) => of(Need::Blob(*digest)),
                Damaged::Root(_) | Damaged::Claim(_) => BTreeSet::new(),
            };
        }
        findings
    }

    /// Checks the checksums of action entries. Their blobs are checked later.
    fn actions(&mut self) -> Result<Actions> {
        let mut sound = Actions::new();
        for (kind, key) in self.store().action_names()? {
            self.findings.entries += 1;
            match self.store().entry(&kind, &key) {
                Ok(action) => _ = sound.insert((kind, key), action),
                // Another process has just removed it.
                Err(Miss::Absent) => {}
                Err(miss) => {
                    self.store().remove_action(&kind, &key)?;
                    self.damage(Damaged::Entry(kind, key), format!("{miss}; it is removed"));
                }
            }
        }
        Ok(sound)
    }

    /// Hashes all blobs, several at a time.
    fn blobs(&mut self, actions: &Actions) -> Result<()> {
        let mut aliases: BTreeMap<Sha256, Vec<Sha256>> = BTreeMap::new();
        for ((kind, key), action) in actions {
            if Store::is_alias(kind) {
                action.outputs.values().for_each(|blob| aliases.entry(blob.digest).or_default().push(*key));
            }
            for blob in action.outputs.values() {
                self.named.entry(blob.digest).or_default().insert((kind.clone(), *key));
            }
        }
        let blobs = self.store().blobs()?;
        let (bake, done) = (self.bake, AtomicU64::new(0));
        bake.report.begin(&format!("hashing {} blobs", blobs.len()), blobs.iter().map(|blob| blob.size).sum());
        let looked: Result<Vec<_>> = blobs
            .par_iter()
            .map(|blob| {
                bake.cancel.check()?;
                let examined = bake.store.examine(&blob.digest, aliases.get(&blob.digest).map_or(&[], Vec::as_slice))?;
                let name = blob.digest.to_string();
                let outcome = if examined.damage.is_some() { Outcome::Damaged } else { Outcome::Verified };
                bake.report.ended(&item(ItemKind::Blob, &name, blob), outcome);
                bake.report.reached(done.fetch_add(blob.size, Ordering::Relaxed) + blob.size);
                Ok((*blob, examined))
            })
            .collect();
        bake.report.done();
        for (blob, examined) in looked? {
            self.findings.blobs += 1;
            self.findings.bytes += blob.size;
            if let Some(found) = examined.damage {
                self.damage(Damaged::Blob(blob.digest), found);
            }
            for key in examined.wrong_aliases {
                let kind = actions.keys().find(|(kind, found)| Store::is_alias(kind) && *found == key).map(|(kind, _)| kind.clone());
                let kind = kind.ok_or_else(|| Error::internal("an alias was found and is not an entry"))?;
                self.store().remove_action(&kind, &key)?;
                self.damage(Damaged::Entry(kind, key), format!("sha256:{} has another SHA-512; it is removed", blob.digest));
            }
        }
        Ok(())
    }

    /// Hashes the blobs of lower stores. Only their owners can repair them.
    fn lower_blobs(&mut self) -> Result<()> {
        for lower in self.bake.store.lower() {
            let (bake, blobs) = (self.bake, lower.blobs()?);
            bake.report
                .begin(&format!("hashing {} blobs of {}", blobs.len(), lower.root().display()), blobs.iter().map(|blob| blob.size).sum());
            let done = AtomicU64::new(0);
            let looked: Result<Vec<_>> = blobs
                .par_iter()
                .map(|blob| {
                    bake.cancel.check()?;
                    let damage = bake.store.examine_lower(lower, &blob.digest)?;
                    let name = lower.path(&blob.digest).display().to_string();
                    let outcome = if damage.is_some() { Outcome::Damaged } else { Outcome::Verified };
                    bake.report.ended(&item(ItemKind::Blob, &name, blob), outcome);
                    bake.report.reached(done.fetch_add(blob.size, Ordering::Relaxed) + blob.size);
                    Ok((*blob, name, damage))
                })
                .collect();
            bake.report.done();
            for (blob, name, damage) in looked? {
                self.findings.blobs += 1;
                self.findings.bytes += blob.size;
                if let Some(found) = damage {
                    self.damage(Damaged::Lower(blob.digest, name), found);
                }
            }
        }
        Ok(())
    }

    /// Checks the checksums of claims.
    fn claims(&mut self) -> Result<()> {
        for plan in self.store().claims()? {
            self.findings.claims += 1;
            match self.store().claim(&plan) {
                Ok(_) => {}
                Err(error) if error.class() == Class::Integrity => {
                    self.damage(Damaged::Claim(plan), "its checksum is wrong; import the bundle again".into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reports blobs that entries name and the store lacks.
    fn outputs(&mut self, actions: &Actions, roots: &[Root]) {
        for ((kind, _), action) in actions {
            for (name, blob) in &action.outputs {
                // An image that was built here is composed, by an entry that may be lost at any time. Only an image that a
                // bundle brought, and that its root names, was a file.
                let was_file = || roots.iter().any(|root| root.current.inputs.contains(&blob.digest));
                if *kind != StepKind::Image.word() || name != "image" || was_file() {
                    self.missing(&blob.digest, Some(blob.size));
                }
            }
        }
    }

    /// Reports blobs that roots name and the store lacks.
    fn rooted(&mut self, roots: &[Root]) {
        for root in roots {
            let histories = [Some(&root.current.history), root.previous.as_ref()];
            for blob in histories.into_iter().flatten().flat_map(|history| [Some(history.plan), history.causes]).flatten() {
                self.missing(&blob.digest, Some(blob.size));
            }
            root.current.inputs.iter().for_each(|digest| self.missing(digest, None));
        }
    }

    fn missing(&mut self, digest: &Sha256, size: Option<u64>) {
        // A composed blob is no file; its parts are checked instead.
        if self.store().entry(COMPOSED, digest).is_ok() {
            return;
        }
        let found = match (self.store().size(digest), size) {
            (Ok(None), _) => "it is not there".to_owned(),
            // The bytes match the digest, so the recorded size is wrong.
            (Ok(Some(found)), Some(size)) if found != size => format!("it has {found} bytes instead of {size}"),
            (Ok(Some(_)), _) => return,
            (Err(error), _) => error.message().to_owned(),
        };
        let known = |damage: &Damage| damage.what == Damaged::Blob(*digest) || damage.what == Damaged::Missing(*digest);
        if !self.findings.damages.iter().any(known) {
            self.damage(Damaged::Missing(*digest), found);
        }
    }

    fn damage(&mut self, what: Damaged, found: String) {
        if !matches!(what, Damaged::Blob(_) | Damaged::Lower(..)) {
            let name = what.to_string();
            let item = Item { kind: what.kind(), name: &name, digest: what.digest(), bytes: None };
            self.bake.report.ended(&item, Outcome::Damaged);
        }
        self.findings.damages.push(Damage { what, found, needed: BTreeSet::new(), state: State::Open });
    }
}

fn item<'a>(kind: ItemKind, name: &'a str, blob: &Blob) -> Item<'a> {
    Item { kind, name, digest: Some(Digest::Sha256(blob.digest)), bytes: Some(blob.size) }
}

/// The result of an entry's step, for people.
fn thing(kind: &str) -> &'static str {
    StepKind::of_word(kind).map_or("the entry", StepKind::noun)
}

fn short(key: &Sha256) -> String {
    key.to_string()[..12].to_owned()
}
