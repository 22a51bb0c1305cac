//! Import of bundles: the blobs go into the store; an image digest from a bundle is trusted only if the user or the project
//! approved it.
//!
//! Inputs need no trust: every use checks them against the lockfile. An image is trusted when the bundle has the digest that
//! the user gave, or when the user's own project has recorded the image for this plan. Any other image digest in a bundle is
//! a claim: the image is built here, and must match.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use super::bundle::{Description, check_documents, files_of_project};
use crate::build::pipeline::step::StepKind;
use crate::build::{Bake, Baked, Resolved};
use crate::common::error::{Class, Error, Result};
use crate::common::fsx;
use crate::common::report::{Item, ItemKind, Outcome};
use crate::common::value::{Cancel, RoleName, Sha256, Size};
use crate::spec::project::Expected;
use crate::storage::bundle::{self, Bytes, Content, Kind, Outline, Part, Taken, Visitor};
use crate::storage::store::{Action, Blob, COMPOSED, Generation, History, ImageClaim, Lookup, Owner, Root, Unplaced};

/// Files of a project up to this size are read into memory to be written, in bytes.
const SMALL: u64 = 1 << 20;
/// The number of blobs, or of their bytes, that are renamed into place together. A killed process loses at most two batches.
const BATCH_BLOBS: usize = 64;
const BATCH_BYTES: u64 = 64 << 20;

/// Options of an import.
pub struct Importing<'a> {
    /// The digest that the bundle must have. With it, the bundle's image digests are trusted.
    pub expect: Option<Sha256>,
    /// The images that the user's own project records for its plans.
    pub expected: &'a Expected,
    /// The absolute folder for the bundle's recipes and lockfile.
    pub project_to: Option<&'a Path>,
    /// The owner of a role of this channel with this plan; its root keeps the imported blobs.
    pub owner: &'a dyn Fn(&str, &RoleName, &Sha256) -> Option<Owner>,
}

/// The result of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The bundle's digest.
    pub digest: Sha256,
    /// The bundle's roles.
    pub roles: Vec<ImportedRole>,
    /// The number of new blobs, and their bytes.
    pub new: (usize, u64),
    /// The number of blobs that the store had already.
    pub known: usize,
}

/// The result for a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedRole {
    /// The bundle's description of it.
    pub description: Description,
    /// True when the bundle has inputs of the image.
    pub inputs: bool,
    /// The trust in its image.
    pub trust: ImageTrust,
}

/// The trust in a bundle's image digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageTrust {
    /// The image is in the store for its plan: the bundle has the digest that was expected.
    Expected,
    /// The image is in the store for its plan: the project's images/expected.toml names it.
    Recorded,
    /// The store has the same image already, built or imported before.
    Known,
    /// Not trusted: the image must be built here, and must match.
    Claimed,
}

impl Bake<'_> {
    /// Imports a bundle into the store. Skips blobs that the store has, so repeating an interrupted import continues it.
    ///
    /// # Errors
    /// The bundle is malformed, or contradicts a known image of the same plan; blobs that it leaves out are missing in the
    /// store; the disk is full. Blobs that were imported before the error stay; nothing else does.
    pub fn import(&self, from: &mut dyn Read, how: &Importing) -> Result<Imported> {
        let (digest, outline, new, known) = std::thread::scope(|scope| {
            // The next batch is read while one is written to disk.
            let (sender, batches) = mpsc::sync_channel(1);
            let placer = scope.spawn(move || batches.into_iter().try_for_each(|batch| self.place_batch(batch)));
            let batch = Batch::default();
            let (outline, trusted) = Default::default();
            let mut importer = Importer { bake: self, how, outline, trusted, at: 0, new: (0, 0), known: 0, batch, sender };
            let read = bundle::read(from, &mut importer);
            // Complete blobs stay, even if reading failed after them.
            let handed = importer.send_batch();
            let Importer { outline, new, known, sender, .. } = importer;
            drop(sender);
            let placed = placer.join().unwrap_or_else(|_| Err(Error::internal("the writer of blobs has panicked")));
            if !outline.is_empty() {
                self.report.done();
            }
            // A failed writer also fails the reader, so its error comes first.
            placed?;
            let digest = read?;
            handed?;
            Ok::<_, Error>((digest, outline, new, known))
        })?;
        let roles = self.settle(&outline, how)?;
        Ok(Imported { digest, roles, new, known })
    }

    /// Places a batch of blobs into the store.
    fn place_batch(&self, batch: Batch) -> Result<()> {
        let (blobs, items): (Vec<Unplaced>, Vec<(String, Blob)>) = batch
            .blobs
            .into_iter()
            .map(|(name, blob)| {
                let item = (name, blob.blob());
                (blob, item)
            })
            .unzip();
        self.store.place(blobs)?;
        for (name, Blob { digest, size }) in &items {
            let item = Item { kind: ItemKind::Blob, name, digest: Some((*digest).into()), bytes: Some(*size) };
            self.report.ended(&item, Outcome::Imported);
        }
        Ok(())
    }

    /// Handles everything but blobs, once all blobs are in the store.
    fn settle(&self, outline: &Outline, how: &Importing) -> Result<Vec<ImportedRole>> {
        for part in outline.contents().iter().flat_map(|content| &content.parts) {
            if let Some(digest) = &part.sha512 {
                self.store.hint_alias(digest, blob(part))?;
            }
        }
        if let Some(folder) = how.project_to {
            self.write_project(outline, folder)?;
        }
        let mut roles = Vec::new();
        for content in outline.contents() {
            let description = Description::of(content)?;
            let trust = self.decide_trust(content, &description, how)?;
            if let Some(owner) = (how.owner)(&description.channel, &description.role, &description.plan) {
                self.root_of_import(owner, content, &description)?;
            }
            let inputs = content.parts.iter().any(|part| matches!(part.kind, Kind::Package | Kind::Artifact | Kind::ImagePart));
            roles.push(ImportedRole { description, inputs, trust });
        }
        Ok(roles)
    }

    fn decide_trust(&self, content: &Content, description: &Description, how: &Importing) -> Result<ImageTrust> {
        let Description { role, plan, result, .. } = description;
        let find = |kind: Kind| content.parts.iter().find(|part| part.kind == kind).map(blob);
        let trust = if self.known_result(plan) == Some(*result) {
            return Ok(ImageTrust::Known);
        } else if how.expected.of(role, plan) == Some(*result) {
            ImageTrust::Recorded
        } else if how.expect.is_some() {
            ImageTrust::Expected
        } else {
            ImageTrust::Claimed
        };
        match (trust, find(Kind::Image), find(Kind::Tree)) {
            (ImageTrust::Expected | ImageTrust::Recorded, Some(image), Some(tree)) => {
                let outputs = [("image".to_owned(), image), ("tree".to_owned(), tree)].into();
                self.store.put_action(StepKind::Image.word(), plan, &Action { outputs })?;
                self.store.remove_claim(plan)?;
                Ok(trust)
            }
            _ => {
                self.store.put_claim(&ImageClaim { plan: *plan, tree: result.0, image: result.1 })?;
                Ok(ImageTrust::Claimed)
            }
        }
    }

    /// The tree and the image that this store has for a plan.
    fn known_result(&self, plan: &Sha256) -> Option<(Sha256, Sha256)> {
        let Lookup::Hit(action) = self.store.action(StepKind::Image.word(), plan) else { return None };
        Some((action.outputs.get("tree")?.digest, action.outputs.get("image")?.digest))
    }

    /// Protects imported blobs from garbage collection, in addition to the owner's blobs of the same plan: inputs may be
    /// imported before or after outputs. Outputs of the owner's other plan stay protected too.
    fn root_of_import(&self, owner: Owner, content: &Content, description: &Description) -> Result<()> {
        let before = self.store.root_of(&owner)?;
        let plan = content.parts.iter().find(|part| part.kind == Kind::Plan).map(blob);
        let plan = plan.ok_or_else(|| Error::internal("a bundle's role has no plan"))?;
        let mut inputs = BTreeSet::new();
        for part in &content.parts {
            let wanted = match part.kind {
                Kind::Plan | Kind::File => false,
                Kind::Package | Kind::Artifact | Kind::ImagePart => true,
                // An image or tree that was built here is composed: its entry keeps it, and may be lost at any time.
                Kind::Image | Kind::Tree => self.store.entry(COMPOSED, &part.digest).is_err(),
            };
            inputs.extend(wanted.then_some(part.digest));
        }
        let mut current = Generation {
            history: History { plan, causes: None },
            actions: [(StepKind::Image.word().to_owned(), description.plan)].into(),
            inputs,
        };
        let (mut previous, mut outputs) = (None, BTreeSet::new());
        if let Some(before) = &before {
            // Deleted outputs keep nothing.
            outputs.extend(before.outputs.iter().filter(|path| fsx::exists(path).unwrap_or(true)).cloned());
            previous = Some(before.current.history);
            if before.current.history.plan == plan {
                current.history = before.current.history;
                current.actions.extend(before.current.actions.iter().cloned());
                current.inputs.extend(&before.current.inputs);
                previous = before.previous;
            }
        }
        let root = Root { owner, current, previous, outputs };
        if before.as_ref() == Some(&root) { Ok(()) } else { self.store.put_root(&root) }
    }

    /// Fails when the built image of a plan does not match a bundle's claim.
    pub(in crate::build) fn check_claim(&self, resolved: &Resolved, baked: &Baked) -> Result<()> {
        let plan = resolved.plan.key();
        let Some(claim) = self.store.claim(&plan)? else { return Ok(()) };
        if (claim.tree, claim.image) == (baked.tree, baked.image.digest) {
            return Ok(());
        }
        let role = resolved.plan.role();
        let which = match claim.tree == baked.tree {
            true => "the installed tree is the claimed one, the image is not",
            false => "the installed tree differs already",
        };
        Err(Error::integrity(format!("the image of `{role}` does not match the one that a bundle claims for this plan"))
            .detail(format!("expected sha256:{}  found sha256:{}", claim.image, baked.image.digest))
            .detail(which)
            .hint("the image found here was built from the locked inputs; ask the bundle's author about the claimed one")
            .hint(format!("to use the image anyway, and drop the claim: `kbake build {role} --accept-new-digest`")))
    }

    /// Writes the bundle's recipes and lockfile, except existing files.
    fn write_project(&self, outline: &Outline, folder: &Path) -> Result<()> {
        let mut batch = fsx::Batch::default();
        for (name, part) in files_of_project(outline)? {
            let path = folder.join(&name);
            if fsx::exists(&path)? {
                continue;
            }
            if let Some(parent) = path.parent() {
                fsx::create_dir_all(parent)?;
            }
            if part.size > SMALL {
                self.store.export(&part.digest, &path, 0o644)?;
                continue;
            }
            let gone = || Error::integrity(format!("{name} of the bundle is gone from the store"));
            let mut bytes = Vec::new();
            let read = self.store.reader(&part.digest)?.ok_or_else(gone)?.read_to_end(&mut bytes);
            read.map_err(|e| Error::io(format!("read {name} of the bundle"), &e))?;
            batch.add(&path, 0o644, &bytes)?;
        }
        batch.commit()
    }
}

fn blob(part: &Part) -> Blob {
    Blob { digest: part.digest, size: part.size }
}

struct Importer<'a> {
    bake: &'a Bake<'a>,
    how: &'a Importing<'a>,
    outline: Outline,
    /// Digests of images and trees whose bytes are verified, because they are or will be trusted.
    trusted: BTreeSet<Sha256>,
    /// The number of bytes of blobs read so far.
    at: u64,
    new: (usize, u64),
    known: usize,
    batch: Batch,
    sender: mpsc::SyncSender<Batch>,
}

/// Blobs that are renamed into place together.
#[derive(Default)]
struct Batch {
    /// The blobs, with their titles.
    blobs: Vec<(String, Unplaced)>,
    bytes: u64,
}

impl Importer<'_> {
    /// Sends the current batch to the writer.
    fn send_batch(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.sender.send(batch).map_err(|_| Error::internal("the writer of blobs has ended"))
    }

    /// Checks early everything that would fail at the end.
    fn check(&self, outline: &Outline) -> Result<()> {
        for content in outline.contents() {
            self.check_claims(&Description::of(content)?)?;
        }
        let files = files_of_project(outline)?;
        if let Some(folder) = self.how.project_to {
            check_folder(folder, &files, self.bake.cancel)?;
        }
        self.check_left_out(outline)
    }

    /// Refuses a bundle that contradicts a known image of the same plan: one of the two is wrong.
    fn check_claims(&self, description: &Description) -> Result<()> {
        let Description { role, plan, result, .. } = description;
        let differs = |who: &str, other: (Sha256, Sha256)| {
            Error::integrity(format!("the bundle's image of `{role}` is not the one that {who} for the same plan"))
                .detail(format!("the bundle: image sha256:{}", result.1))
                .detail(format!("otherwise:  image sha256:{}", other.1))
        };
        let recorded = self.how.expected.of(role, plan).filter(|recorded| recorded != result);
        if let Some(recorded) = recorded {
            return Err(differs("images/expected.toml records", recorded));
        }
        if let Some(known) = self.bake.known_result(plan).filter(|known| known != result) {
            return Err(differs("this store has", known).hint("nothing was imported; a faulty or dishonest host built one of the two"));
        }
        match self.bake.store.claim(plan) {
            Ok(Some(claim)) if (claim.tree, claim.image) != *result && self.how.expect.is_none() => {
                Err(differs("another bundle claims", (claim.tree, claim.image)).hint(format!(
                    "build the role to see which is right; to drop the other bundle's claim, remove {}",
                    self.bake.store.claim_path(plan).display()
                )))
            }
            // A damaged claim is replaced.
            _ => Ok(()),
        }
    }

    /// The images and trees that are or will be trusted.
    fn trusted(&self, outline: &Outline) -> Result<BTreeSet<Sha256>> {
        let mut trusted = BTreeSet::new();
        for content in outline.contents() {
            let Description { role, plan, result, .. } = Description::of(content)?;
            let is_known = || self.how.expected.of(&role, &plan) == Some(result) || self.bake.known_result(&plan) == Some(result);
            if self.how.expect.is_some() || is_known() {
                trusted.extend([result.0, result.1]);
            }
        }
        Ok(trusted)
    }

    /// True when the store has a blob. Every byte of a trusted blob is verified: no later step checks it against a lockfile.
    /// A damaged one is put aside, and read from the bundle.
    fn has(&self, part: &Part) -> Result<bool> {
        let store = self.bake.store;
        if !self.trusted.contains(&part.digest) {
            return store.holds(&part.digest, Some(part.size));
        }
        // A lower store may have an intact copy of a damaged blob.
        for _ in 0..=store.lower().len() {
            if !store.holds(&part.digest, Some(part.size))? {
                break;
            }
            match store.verify_blob(&part.digest) {
                Ok(true) => return Ok(true),
                Err(error) if error.class() != Class::Integrity => return Err(error),
                _ => {}
            }
        }
        Ok(false)
    }

    fn check_left_out(&self, outline: &Outline) -> Result<()> {
        const LISTED: usize = 10;
        let mut missing = Vec::new();
        for part in outline.left_out() {
            if !self.has(part)? {
                missing.push(part);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let size = Size(missing.iter().map(|part| part.size).sum());
        let mut error = Error::user(format!("the bundle leaves out {} blobs ({size}) that this store does not have", missing.len()));
        for part in missing.iter().take(LISTED) {
            error = error.detail(format!("missing: {}  {}  sha256:{}", part.title, Size(part.size), part.digest));
        }
        if missing.len() > LISTED {
            error = error.detail(format!("and {} more", missing.len() - LISTED));
        }
        for digest in outline.since() {
            error = error.detail(format!("it was made for stores that have the bundle sha256:{digest}"));
        }
        Err(error.hint("import that bundle first, or ask for a bundle created without --since"))
    }
}

/// Fails when existing files differ from the bundle's.
fn check_folder(folder: &Path, files: &BTreeMap<String, &Part>, cancel: &Cancel) -> Result<()> {
    let mut other: Vec<PathBuf> = Vec::new();
    for (name, part) in files {
        let path = folder.join(name);
        if !fsx::exists(&path)? {
            continue;
        }
        // A folder or a pipe in a file's place also differs in size.
        let is_like = fsx::Stamp::of(&path)?.is_some_and(|stamp| stamp.size == part.size);
        if !is_like || fsx::digest_until(&path, cancel)?.is_none_or(|(digest, ..)| digest != part.digest) {
            other.push(path);
        }
    }
    if other.is_empty() {
        return Ok(());
    }
    let error = Error::user(format!("files in {} differ from the bundle's", folder.display()));
    let error = other.iter().fold(error, |error, path| error.detail(format!("{} is a different file", path.display())));
    Err(error.hint("name a new folder with --project-to; nothing was written"))
}

impl Visitor for Importer<'_> {
    fn outline(&mut self, outline: &Outline) -> Result<()> {
        check_documents(outline, self.how.expect)?;
        self.trusted = self.trusted(outline)?;
        self.check(outline)?;
        let (mut needed, mut total) = (0, 0);
        for entry in outline.entries() {
            total += entry.part.size;
            if !self.bake.store.holds(&entry.part.digest, Some(entry.part.size))? {
                needed += entry.part.size;
            }
        }
        self.bake.store.require_space(needed)?;
        self.bake.report.begin("importing the bundle", total);
        self.outline = outline.clone();
        Ok(())
    }

    fn blob(&mut self, part: &Part, bytes: &mut Bytes<'_>) -> Result<Taken> {
        let Bake { store, report, cancel, .. } = self.bake;
        cancel.check()?;
        let item = Item { kind: ItemKind::Blob, name: &part.title, digest: Some(part.digest.into()), bytes: Some(part.size) };
        if self.has(part)? {
            self.at += part.size;
            self.known += 1;
            report.reached(self.at);
            report.ended(&item, Outcome::Cached);
            return Ok(Taken::Unread);
        }
        report.begun(&item);
        let mut writer = store.writer(Some(part.digest), Some(part.size))?;
        bytes.each(&mut |piece| {
            cancel.check()?;
            self.at += piece.len() as u64;
            report.reached(self.at);
            writer.put(piece)
        })?;
        let found = writer.finish().map_err(|error| error.detail(format!("it is `{}` of the bundle", part.title)))?;
        let digest = found.blob().digest;
        self.new = (self.new.0 + 1, self.new.1 + part.size);
        self.batch.bytes += part.size;
        self.batch.blobs.push((part.title.clone(), found));
        if self.batch.blobs.len() >= BATCH_BLOBS || self.batch.bytes >= BATCH_BYTES {
            self.send_batch()?;
        }
        Ok(Taken::Hashed(digest))
    }
}

#[cfg(test)]
mod tests;
