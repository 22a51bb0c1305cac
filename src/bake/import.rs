//! What comes of a bundle: its blobs go into the store, and of what it says of images only what somebody vouches for is
//! believed.
//!
//! Inputs need no trust: whoever uses one holds it against the lockfile. An image is believed when the bundle has the
//! digest that the user gave, or when the user's own project has recorded it for this very plan. Anything else that a
//! bundle says of an image is a claim: the image is made here, and must be the same.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use super::bundle::{Description, check_documents};
use super::{Bake, Baked, IMAGE, Resolved};
use crate::bundle::{self, Bytes, Content, Kind, Outline, Part, Taken, Visitor};
use crate::error::{Class, Error, Result};
use crate::fsx;
use crate::project::Expected;
use crate::report::{Item, ItemKind, Outcome};
use crate::store::{Action, Blob, COMPOSED, Generation, History, ImageClaim, Lookup, Owner, Root, Unplaced};
use crate::value::{Cancel, RoleName, Sha256, Size, TreePath};

/// Files of a project up to this size are read into memory to be written, in bytes.
const SMALL: u64 = 1 << 20;
/// So many blobs, or bytes of them, get their names together. A process that is killed loses two lots at most.
const LOT_BLOBS: usize = 64;
const LOT_BYTES: u64 = 64 << 20;

/// How a bundle is to be imported.
pub struct Importing<'a> {
    /// The digest that it must have. With it, what it says of images is believed.
    pub expect: Option<Sha256>,
    /// What the user's own project says that plans give.
    pub expected: &'a Expected,
    /// The absolute folder for its recipes and lockfile.
    pub project_to: Option<&'a Path>,
    /// Who has the role of this channel with this plan, so that it is kept.
    pub owner: &'a dyn Fn(&str, &RoleName, &Sha256) -> Option<Owner>,
}

/// What came of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The bundle's digest.
    pub digest: Sha256,
    /// The roles that it has.
    pub roles: Vec<ImportedRole>,
    /// How many blobs were new, and their bytes.
    pub new: (usize, u64),
    /// How many were there already.
    pub known: usize,
}

/// What came of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedRole {
    /// What the bundle says of it.
    pub description: Description,
    /// Whether the bundle has what the image is made of.
    pub inputs: bool,
    /// Whether its image is in the store now, and what is believed of it.
    pub belief: Belief,
}

/// Whether what a bundle says of an image is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// The image is in the store for its plan: the bundle has the digest that was expected.
    Expected,
    /// The image is in the store for its plan: the project's images/expected.toml names it.
    Recorded,
    /// This store has made or got the very same image before.
    Known,
    /// It must be made here, and come out the same.
    Claimed,
}

impl Bake<'_> {
    /// Takes what is in a bundle into the store. What is there already is passed over, so an import that was broken off is
    /// gone on with by doing it again.
    ///
    /// # Errors
    /// A bundle that is not sound, or says of a plan what is known to be otherwise; blobs that it leaves out and that are
    /// missing here; a full disk. Blobs that had come by then stay, and nothing else does.
    pub fn import(&self, from: &mut dyn Read, how: &Importing) -> Result<Imported> {
        let (digest, outline, new, known) = std::thread::scope(|scope| {
            // While one lot waits for the disk, the next is read.
            let (shelf, lots) = mpsc::sync_channel(1);
            let placer = scope.spawn(move || lots.into_iter().try_for_each(|lot| self.place_lot(lot)));
            let lot = Lot::default();
            let (outline, vouched) = Default::default();
            let mut importer = Importer { bake: self, how, outline, vouched, at: 0, new: (0, 0), known: 0, lot, shelf };
            let read = bundle::read(from, &mut importer);
            // What came whole stays, whatever came behind it.
            let handed = importer.hand_over();
            let Importer { outline, new, known, shelf, .. } = importer;
            drop(shelf);
            let placed = placer.join().unwrap_or_else(|_| Err(Error::internal("the writer of blobs has panicked")));
            if !outline.is_empty() {
                self.report.done();
            }
            // Its failure is the reason of the others.
            placed?;
            let digest = read?;
            handed?;
            Ok::<_, Error>((digest, outline, new, known))
        })?;
        let roles = self.settle(&outline, how)?;
        Ok(Imported { digest, roles, new, known })
    }

    /// Makes a lot of what came blobs.
    fn place_lot(&self, lot: Lot) -> Result<()> {
        let (blobs, items): (Vec<Unplaced>, Vec<(String, Blob)>) = lot
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

    /// Everything but blobs, once all of them are there.
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
            let belief = self.believe(content, &description, how)?;
            if let Some(owner) = (how.owner)(&description.channel, &description.role, &description.plan) {
                self.root_of_import(owner, content, &description)?;
            }
            let inputs = content.parts.iter().any(|part| matches!(part.kind, Kind::Package | Kind::Artifact | Kind::ImagePart));
            roles.push(ImportedRole { description, inputs, belief });
        }
        Ok(roles)
    }

    fn believe(&self, content: &Content, description: &Description, how: &Importing) -> Result<Belief> {
        let Description { role, plan, gives, .. } = description;
        let find = |kind: Kind| content.parts.iter().find(|part| part.kind == kind).map(blob);
        let belief = if self.known_gives(plan) == Some(*gives) {
            return Ok(Belief::Known);
        } else if how.expected.of(role, plan) == Some(*gives) {
            Belief::Recorded
        } else if how.expect.is_some() {
            Belief::Expected
        } else {
            Belief::Claimed
        };
        match (belief, find(Kind::Image), find(Kind::Tree)) {
            (Belief::Expected | Belief::Recorded, Some(image), Some(tree)) => {
                let outputs = [("image".to_owned(), image), ("tree".to_owned(), tree)].into();
                self.store.put_action(IMAGE, plan, &Action { outputs })?;
                self.store.remove_claim(plan)?;
                Ok(belief)
            }
            _ => {
                self.store.put_claim(&ImageClaim { plan: *plan, tree: gives.0, image: gives.1 })?;
                Ok(Belief::Claimed)
            }
        }
    }

    /// The tree and the image that this store has for a plan.
    fn known_gives(&self, plan: &Sha256) -> Option<(Sha256, Sha256)> {
        let Lookup::Hit(action) = self.store.action(IMAGE, plan) else { return None };
        Some((action.outputs.get("tree")?.digest, action.outputs.get("image")?.digest))
    }

    /// Keeps what came from being collected, beside what the owner has of the same plan already: inputs may come before
    /// outputs, or after them. What another plan of the same owner has stays, too, as far as it is an output.
    fn root_of_import(&self, owner: Owner, content: &Content, description: &Description) -> Result<()> {
        let before = self.store.root_of(&owner)?;
        let plan = content.parts.iter().find(|part| part.kind == Kind::Plan).map(blob);
        let plan = plan.ok_or_else(|| Error::internal("a bundle's role has no plan"))?;
        let mut inputs = BTreeSet::new();
        for part in &content.parts {
            let wanted = match part.kind {
                Kind::Plan | Kind::File => false,
                Kind::Package | Kind::Artifact | Kind::ImagePart => true,
                // An image or tree that was made here is composed: its entry keeps it, and may be lost at any time.
                Kind::Image | Kind::Tree => self.store.entry(COMPOSED, &part.digest).is_err(),
            };
            inputs.extend(wanted.then_some(part.digest));
        }
        let mut current =
            Generation { history: History { plan, causes: None }, actions: [(IMAGE.to_owned(), description.plan)].into(), inputs };
        let (mut previous, mut outputs) = (None, BTreeSet::new());
        if let Some(before) = &before {
            // Those that are gone keep nothing.
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

    /// Fails when what was made of a plan is not what a bundle said of it.
    pub(super) fn meet_claim(&self, resolved: &Resolved, baked: &Baked) -> Result<()> {
        let plan = resolved.plan.key();
        let Some(claim) = self.store.claim(&plan)? else { return Ok(()) };
        if (claim.tree, claim.image) == (baked.tree, baked.image.digest) {
            return Ok(());
        }
        let role = resolved.plan.role();
        let which = match claim.tree == baked.tree {
            true => "the installed tree is the one that it named, the image is not",
            false => "the installed tree differs already",
        };
        Err(Error::integrity(format!("the image of `{role}` is not the one that a bundle promised for this plan"))
            .detail(format!("expected sha256:{}  found sha256:{}", claim.image, baked.image.digest))
            .detail(which)
            .hint("what was found is what the locked inputs give here; ask where the bundle comes from what it promised, and why")
            .hint(format!("to use the image all the same, and forget the promise: `kbake build {role} --accept-new-digest`")))
    }

    /// Writes the bundle's recipes and lockfile, but for those that are there.
    fn write_project(&self, outline: &Outline, folder: &Path) -> Result<()> {
        let mut batch = fsx::Batch::default();
        for (name, part) in project_files(outline)? {
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

/// The files of the project that a bundle brings, by their names.
///
/// # Errors
/// Of class `Integrity`: a name that leads elsewhere, or that two roles have for different files.
pub(super) fn project_files(outline: &Outline) -> Result<BTreeMap<String, &Part>> {
    let mut files: BTreeMap<String, &Part> = BTreeMap::new();
    for part in outline.contents().iter().flat_map(|content| &content.parts).filter(|part| part.kind == Kind::File) {
        let bad = |why: &str| {
            Error::integrity("the bundle is not sound: a file of its project cannot be used")
                .detail(format!("`{}` {why}", part.title.escape_debug()))
        };
        let path = TreePath::parse(part.title.as_bytes(), false).map_err(|why| bad(&why))?;
        if path.as_bytes() != part.title.as_bytes() || !["recipes/", "lockfiles/"].iter().any(|folder| part.title.starts_with(folder)) {
            return Err(bad("is no plain name below recipes/ or lockfiles/"));
        }
        if files.insert(part.title.clone(), part).is_some_and(|other| other.digest != part.digest) {
            return Err(bad("is two different files"));
        }
    }
    // In this order a folder would come right before what is in it, but for names that continue it otherwise.
    let names: BTreeSet<&str> = files.keys().map(String::as_str).collect();
    for name in &names {
        let above = name.match_indices('/').map(|(at, _)| &name[..at]).find(|above| names.contains(above));
        if let Some(above) = above {
            return Err(Error::integrity("the bundle is not sound").detail(format!("`{above}` is a file, and a folder of `{name}`")));
        }
    }
    Ok(files)
}

struct Importer<'a> {
    bake: &'a Bake<'a>,
    how: &'a Importing<'a>,
    outline: Outline,
    /// Images and trees of it that will be believed.
    vouched: BTreeSet<Sha256>,
    /// How many bytes of blobs went by.
    at: u64,
    new: (usize, u64),
    known: usize,
    lot: Lot,
    shelf: mpsc::SyncSender<Lot>,
}

/// Blobs that get their names together.
#[derive(Default)]
struct Lot {
    /// With what people call them.
    blobs: Vec<(String, Unplaced)>,
    bytes: u64,
}

impl Importer<'_> {
    /// Hands what has come on, to be placed.
    fn hand_over(&mut self) -> Result<()> {
        let lot = std::mem::take(&mut self.lot);
        self.shelf.send(lot).map_err(|_| Error::internal("nobody takes what comes out of the bundle"))
    }

    /// Refuses what would be refused at the end.
    fn check(&self, outline: &Outline) -> Result<()> {
        for content in outline.contents() {
            self.check_promise(&Description::of(content)?)?;
        }
        let files = project_files(outline)?;
        if let Some(folder) = self.how.project_to {
            check_folder(folder, &files, self.bake.cancel)?;
        }
        self.check_left_out(outline)
    }

    /// A bundle that contradicts what is known of a plan is wrong, or what is known is.
    fn check_promise(&self, description: &Description) -> Result<()> {
        let Description { role, plan, gives, .. } = description;
        let differs = |who: &str, other: (Sha256, Sha256)| {
            Error::integrity(format!("what the bundle says of `{role}` is not what {who} for the same plan"))
                .detail(format!("the bundle: image sha256:{}", gives.1))
                .detail(format!("otherwise:  image sha256:{}", other.1))
        };
        let recorded = self.how.expected.of(role, plan).filter(|recorded| recorded != gives);
        if let Some(recorded) = recorded {
            return Err(differs("images/expected.toml records", recorded));
        }
        if let Some(known) = self.bake.known_gives(plan).filter(|known| known != gives) {
            return Err(
                differs("this store has", known).hint("nothing of it was taken; one of the two was made by a broken or dishonest host")
            );
        }
        match self.bake.store.claim(plan) {
            Ok(Some(claim)) if (claim.tree, claim.image) != *gives && self.how.expect.is_none() => {
                Err(differs("another bundle said", (claim.tree, claim.image)).hint(format!(
                    "build the role to see who is right; to forget the other bundle's word, remove {}",
                    self.bake.store.claim_path(plan).display()
                )))
            }
            // A damaged claim is replaced.
            _ => Ok(()),
        }
    }

    /// The images and trees that will be believed, or are.
    fn vouched(&self, outline: &Outline) -> Result<BTreeSet<Sha256>> {
        let mut vouched = BTreeSet::new();
        for content in outline.contents() {
            let Description { role, plan, gives, .. } = Description::of(content)?;
            let is_known = || self.how.expected.of(&role, &plan) == Some(gives) || self.bake.known_gives(&plan) == Some(gives);
            if self.how.expect.is_some() || is_known() {
                vouched.extend([gives.0, gives.1]);
            }
        }
        Ok(vouched)
    }

    /// Whether a blob is there. Of what is believed every byte is looked at: no lockfile is held against it later. A
    /// damaged one is put aside, and comes from the bundle.
    fn has(&self, part: &Part) -> Result<bool> {
        let store = self.bake.store;
        if !self.vouched.contains(&part.digest) {
            return store.holds(&part.digest, Some(part.size));
        }
        // Behind a damaged one a lower store may have a good one.
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
            error = error.detail(format!("it was made for sites that have the bundle sha256:{digest}"));
        }
        Err(error.hint("import that bundle first; or have one made without --since"))
    }
}

/// Files that are there already must be the bundle's.
fn check_folder(folder: &Path, files: &BTreeMap<String, &Part>, cancel: &Cancel) -> Result<()> {
    let mut other: Vec<PathBuf> = Vec::new();
    for (name, part) in files {
        let path = folder.join(name);
        if !fsx::exists(&path)? {
            continue;
        }
        // A folder or a pipe in its place is another thing, too, and of another size.
        let is_like = fsx::Stamp::of(&path)?.is_some_and(|stamp| stamp.size == part.size);
        if !is_like || fsx::digest_until(&path, cancel)?.is_none_or(|(digest, ..)| digest != part.digest) {
            other.push(path);
        }
    }
    if other.is_empty() {
        return Ok(());
    }
    let error = Error::user(format!("files in {} are not the bundle's", folder.display()));
    let error = other.iter().fold(error, |error, path| error.detail(format!("{} is another file", path.display())));
    Err(error.hint("name a new folder with --project-to; nothing was written"))
}

impl Visitor for Importer<'_> {
    fn outline(&mut self, outline: &Outline) -> Result<()> {
        check_documents(outline, self.how.expect)?;
        self.vouched = self.vouched(outline)?;
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
        self.lot.bytes += part.size;
        self.lot.blobs.push((part.title.clone(), found));
        if self.lot.blobs.len() >= LOT_BLOBS || self.lot.bytes >= LOT_BYTES {
            self.hand_over()?;
        }
        Ok(Taken::Hashed(digest))
    }
}

#[cfg(test)]
#[path = "tests/import.rs"]
mod tests;
