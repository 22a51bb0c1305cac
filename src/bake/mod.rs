//! The verbs in order: plan → blobs → base tree → tree → disk → image. The only module that knows the sequence.
//!
//! Each step is a function from values to a value; what a step made is remembered in the store under the digest of
//! what went in, and looked up before it is made again.

mod accounts;
mod artifacts;
mod authorities;
mod bill;
mod boot;
mod bring;
mod bundle;
mod causes;
mod chance;
mod check;
mod contents;
mod derive;
mod effect;
mod frames;
mod images;
mod import;
mod inputs;
mod machine;
mod made;
pub mod origin;
mod overlay;
mod own;
mod owners;
mod pantry;
mod place;
mod proof;
mod public;
mod recall;
mod remember;
mod repair;
mod resolve;
mod saved;
mod together;
mod units;
mod unpacked;
mod verify;
mod why;

use std::io;
use std::path::Path;

pub use artifacts::{Absent, Artifacts};
pub use bill::bill;
pub use bundle::{Bundling, Description, Packed, verify_bundle};
pub use causes::{Cause, Causes};
pub use check::{Checked, difference_line};
pub use import::{Belief, Imported, ImportedRole, Importing};
pub use inputs::{Input, InputKind};
pub use machine::ROOT_START;
pub use origin::Origin;
pub use own::check_own;
pub use pantry::{Pantry, remove_work};
pub use proof::{Damage, Damaged, Proof, State};
pub use remember::owner;
pub use resolve::{LockFile, Resolved, request, resolve};
pub use saved::{choose as choose_image, is_image_archive};
pub use verify::Wanted;
pub use why::{Before, Reason, Why};

use crate::disk::Pieces;
use crate::disk::readback::{self, Depth, Image, ReadAt};
use crate::error::{Class, Error, Result};
use crate::fetch;
use crate::fsx;
use crate::plan::Plan;
use crate::report::{Item, ItemKind, Outcome, Report};
use crate::store::{Action, Blob, Lookup, Store, Stretches};
use crate::tree::Tree;
use crate::tree::pack::PackIndex;
use crate::value::{Cancel, Digest, RoleName, Sha256};

/// The kinds of action that the store remembers.
const BASE: &str = "base";
const IMAGE: &str = "image";

/// What a bake works with.
pub struct Bake<'a> {
    /// Where blobs are and go.
    pub store: &'a Store,
    /// How missing ones are fetched.
    pub fetch: fetch::Options,
    /// The mirrors that the host knows, asked for only when something is missing.
    pub host_mirrors: &'a (dyn Fn(&str) -> Result<Vec<String>> + Sync),
    /// How many threads unpack and compress.
    pub jobs: usize,
    /// Who is told.
    pub report: &'a dyn Report,
    /// Whether to stop.
    pub cancel: &'a Cancel,
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baked {
    /// The qcow2 file.
    pub image: Blob,
    /// The digest of the tree's text.
    pub tree: Sha256,
    /// Whether anything had to be made for it.
    pub made: bool,
}

/// A finished filesystem, and where its contents are.
pub struct Stocked {
    /// The filesystem.
    pub tree: Tree,
    /// The base in it, as it was installed.
    pub base: Tree,
    /// Its contents.
    pub source: Pantry,
}

impl Bake<'_> {
    /// The image of a plan: looked up, or made. It is what a bundle said of the plan, if one did.
    pub fn image(&self, resolved: &Resolved) -> Result<Baked> {
        let baked = self.find_or_make(resolved)?;
        if !baked.made {
            self.mend_loader(resolved)?;
        }
        self.meet_claim(resolved, &baked)?;
        Ok(baked)
    }

    fn find_or_make(&self, resolved: &Resolved) -> Result<Baked> {
        let plan = &resolved.plan;
        if let Some(baked) = self.known_image(plan) {
            return Ok(baked);
        }
        let key = plan.key();
        let waiting = || self.report.say(&format!("{}: another kbake is baking it; waiting", plan.role()));
        let _flight = self.store.plan_lock(&key, self.cancel, &waiting)?;
        if let Some(baked) = self.known_image(plan) {
            return Ok(baked);
        }
        public::audit(resolved, self.cancel)?;
        self.fetch_needed(resolved)?;
        let (stocked, ()) = self.both(|| self.tree(resolved), || self.prove_frames(resolved));
        let stocked = stocked?;
        self.report.begun(&of_role(plan, ItemKind::Image, None));
        let (image, tree) = self.write_image(resolved, &stocked)?;
        let outputs = [("image".to_owned(), image), ("tree".to_owned(), tree)].into();
        self.store.put_action(IMAGE, &key, &Action { outputs })?;
        self.report.ended(&of_role(plan, ItemKind::Image, Some(image)), Outcome::Built);
        Ok(Baked { image, tree: tree.digest, made: true })
    }

    fn has_image(&self, plan: &Plan) -> bool {
        matches!(self.store.action(IMAGE, &plan.key()), Lookup::Hit(_))
    }

    fn known_image(&self, plan: &Plan) -> Option<Baked> {
        let Lookup::Hit(action) = self.store.action(IMAGE, &plan.key()) else { return None };
        let output = |name: &str| action.outputs.get(name).copied();
        let baked = Baked { image: output("image")?, tree: output("tree")?.digest, made: false };
        self.report.ended(&of_role(plan, ItemKind::Image, Some(baked.image)), Outcome::Cached);
        Some(baked)
    }

    /// The whole tree of a plan: the base with the role's files on top.
    pub fn tree(&self, resolved: &Resolved) -> Result<Stocked> {
        let plan = &resolved.plan;
        let base = self.base(resolved)?;
        resolved.effects.check(&base.tree, &base.source)?;
        let (files, blobs, images) = self.made_files(resolved)?;
        let tree = accounts::add(base.tree, plan.users(), &base.source)?;
        let accounts = overlay::Accounts::of(&tree, &base.source)?;
        let tree = overlay::overlay(tree, &files, &accounts, plan.epoch())?;
        let tree = units::apply(tree, plan.presets(), &base.source, plan.epoch())?;
        let tree = authorities::add(tree, plan.files(), &base.source, plan.epoch())?;
        let tree = unpacked::lay(tree, &images, plan.epoch())?;
        let packs =
            images.into_iter().map(|image| Ok((image.index()?, image.pack))).map(|both: Result<_>| both.map(|(index, pack)| (pack, index)));
        let source = base.source.with_files(resolved.sources.clone()).with_blobs(blobs).with_packs(packs.collect::<Result<_>>()?);
        Ok(Stocked { tree, base: base.base, source })
    }

    /// The base tree of a plan: looked up, or installed.
    fn base(&self, resolved: &Resolved) -> Result<Stocked> {
        if matches!(self.store.action(BASE, &resolved.plan.base_key()), Lookup::Miss(_)) {
            self.check_installation(resolved)?;
        }
        self.base_by(resolved, pantry::install)
    }

    /// As [`Bake::base`], with what installs the packages and gives the tree and the blob of its contents.
    fn base_by(&self, resolved: &Resolved, install: impl FnOnce(&Bake, &Resolved) -> Result<(Tree, Blob)>) -> Result<Stocked> {
        let key = resolved.plan.base_key();
        let known = |outcome| {
            Ok::<_, Error>(self.known_base(&key)?.inspect(|stocked| {
                self.report.ended(&of_role(&resolved.plan, ItemKind::Base, Some(stocked.source.pack())), outcome);
            }))
        };
        if let Some(stocked) = known(Outcome::Cached)? {
            return Ok(stocked);
        }
        let mut outcome = Outcome::Cached;
        self.kept_base(&key, || {
            outcome = Outcome::Built;
            self.fetch_packages(resolved)?;
            self.report.begun(&of_role(&resolved.plan, ItemKind::Base, None));
            install(self, resolved)
        })?;
        known(outcome)?.ok_or_else(|| Error::internal("the base tree that was just stored cannot be read back"))
    }

    /// The base of this key: looked up, or made by `install` and kept.
    fn kept_base(&self, key: &Sha256, install: impl FnOnce() -> Result<(Tree, Blob)>) -> Result<Stocked> {
        let waiting = || self.report.say("another kbake is installing the same packages; waiting");
        let _flight = self.store.plan_lock(key, self.cancel, &waiting)?;
        if let Some(stocked) = self.known_base(key)? {
            return Ok(stocked);
        }
        let (tree, pack) = install()?;
        let text = self.store.insert(tree.to_text().as_bytes())?;
        let outputs = [("pack".to_owned(), pack), ("tree".to_owned(), text)].into();
        self.store.put_action(BASE, key, &Action { outputs })?;
        self.known_base(key)?.ok_or_else(|| Error::internal("the base tree that was just stored cannot be read back"))
    }

    fn known_base(&self, key: &Sha256) -> Result<Option<Stocked>> {
        let Lookup::Hit(action) = self.store.action(BASE, key) else { return Ok(None) };
        let (Some(tree), Some(pack)) = (action.outputs.get("tree"), action.outputs.get("pack")) else { return Ok(None) };
        let (Some(mut text), Some(pack)) = (self.store.reader(&tree.digest)?, self.store.blob(&pack.digest)?) else { return Ok(None) };
        let text = std::io::read_to_string(&mut text).map_err(|e| Error::io("read the base tree from the store", &e))?;
        let base = Tree::parse_text(&text, "the base tree in the store")?;
        let source = Pantry::new(pack, PackIndex::of(&base)?);
        Ok(Some(Stocked { tree: base.clone(), base, source }))
    }

    /// The disk of a plan's whole tree, as a value.
    pub fn disk(&self, resolved: &Resolved, stocked: &Stocked) -> Result<Pieces> {
        machine::disk(&resolved.plan, &stocked.tree, &stocked.base, &self.loader(resolved)?)
    }

    /// Lays out the disk and composes its image in the store, of kept frames and what is new; gives the image, and the text of
    /// its tree.
    fn write_image(&self, resolved: &Resolved, stocked: &Stocked) -> Result<(Blob, Blob)> {
        let frames = self.frames(resolved, stocked)?;
        let disk = self.disk(resolved, stocked)?;
        let stretches = self.stretches(resolved, stocked, &disk, &frames)?;
        // Through readers that share no code with the writers, before anyone else sees the image. What large files hold is
        // left to `verify`: how they are compressed and where they lie is found out by all the others.
        let read_back = || {
            let image = Image::over(Composition(self.store.stretches(&stretches)?), "the new image".into())?;
            readback::verify_image(image, machine::ROOT_START, &stocked.tree, Depth::Small, self.cancel)?.into_result()
        };
        let (image, found) = self.both(|| self.store.compose(&stretches, self.cancel), read_back);
        let image = image?;
        found?;
        // Only now is it known that the tree's contents are what it says: a damaged blob may have had another size.
        let text = self.store.insert(stocked.tree.to_text().as_bytes())?;
        Ok((image, text))
    }

    /// Does both, side by side if there may be several threads.
    fn both<A: Send, B: Send>(&self, one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B + Send) -> (A, B) {
        if self.jobs > 1 { rayon::join(one, other) } else { (one(), other()) }
    }

    /// Makes frames and what composes an image again.
    fn compose_again(&self, resolved: &Resolved) -> Result<()> {
        let stocked = self.tree(resolved)?;
        self.write_image(resolved, &stocked).map(drop)
    }

    /// Reads a written image back through independent readers, and compares every file with the plan's tree and
    /// every byte with the disk that was laid out.
    pub fn verify(&self, resolved: &Resolved, image: &Path) -> Result<readback::VerifyReport> {
        let verified = self.verify_image(resolved, Image::open(image)?);
        if matches!(&verified, Err(error) if error.class() == Class::Integrity) {
            // Be it the file alone: to compress all of it once more costs little, and to keep a mistake would cost more.
            self.forget_image(resolved)?;
        }
        verified
    }

    /// As [`Bake::verify`], of an image that is open.
    fn verify_image(&self, resolved: &Resolved, mut image: Image) -> Result<readback::VerifyReport> {
        let stocked = self.tree(resolved)?;
        // Nothing that can be made again is believed.
        let disk = machine::disk(&resolved.plan, &stocked.tree, &stocked.base, &self.new_loader(resolved)?)?;
        readback::compare_image(&mut image, &disk, &stocked.source, self.cancel)?;
        readback::verify_image(image, machine::ROOT_START, &stocked.tree, Depth::All, self.cancel)?.into_result()
    }

    /// An image in the store, for reading back. What it is composed of is not verified.
    fn stored_image(&self, digest: &Sha256) -> Result<Image> {
        match self.store.composed(digest)? {
            Some(composed) => Image::over(Composition(composed.into_unverified()), format!("the image {digest}")),
            None if self.store.contains(digest)? => Image::open(&self.store.path(digest)),
            None => Err(Error::integrity(format!("the image sha256:{digest} is gone from the store"))
                .hint("run the command again: what was lost is made anew")),
        }
    }

    /// Puts an image at the absolute path `to`, unless it is there already. Gives whether it had to be written. It takes
    /// the place of an image that kbake has written, and of nothing else; `is_known` tells digests that the project knows.
    ///
    /// # Errors
    /// Something else is at `to`, or a machine uses it.
    pub fn place(&self, image: &Blob, to: &Path, is_known: &dyn Fn(&Sha256) -> bool) -> Result<bool> {
        if self.store.stamp(to)? == Some(image.digest) {
            return Ok(false);
        }
        place::require_replaceable(self.store, to, self.cancel, &|digest| *digest == image.digest || is_known(digest))?;
        if let Some(folder) = to.parent() {
            fsx::create_closed(folder)?;
        }
        self.store.export(&image.digest, to, place::IMAGE_MODE)?;
        Ok(true)
    }
}

/// A composed image as a file.
struct Composition(Stretches);

impl ReadAt for Composition {
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.size())
    }
}

/// A blob that was made for a role, as the report knows it.
fn of_role(plan: &Plan, kind: ItemKind, blob: Option<Blob>) -> Item<'_> {
    Item { kind, name: plan.role().as_str(), digest: blob.map(|blob| Digest::Sha256(blob.digest)), bytes: blob.map(|blob| blob.size) }
}

/// Fails when an image is not what everyone else got from the same plan.
pub fn hold_against(expected: Option<(Sha256, Sha256)>, role: &RoleName, baked: &Baked) -> Result<()> {
    let Some((tree, image)) = expected else { return Ok(()) };
    if baked.image.digest == image {
        return Ok(());
    }
    let what =
        if baked.tree == tree { "the tree is the expected one, so the disk writers differ" } else { "the installed tree differs already" };
    Err(Error::integrity(format!("the image of `{role}` is not the one that images/expected.toml names for this plan"))
        .detail(format!("expected sha256:{image}  found sha256:{}", baked.image.digest))
        .detail(what)
        .hint(format!("`kbake tree {role}` prints what was installed; please report this with your host's release"))
        .hint("to use the image all the same: --accept-new-digest"))
}

#[cfg(test)]
mod tests;
