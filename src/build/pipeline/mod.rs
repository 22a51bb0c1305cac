//! The build of an image in order: plan → blobs → base tree → tree → disk → image. Only this module knows the order.
//!
//! Each step is a function from values to a value. Its result is recorded in the store under the digest of its inputs, and
//! looked up before the step runs again.

pub(in crate::build) mod accounts;
pub(in crate::build) mod artifacts;
pub(in crate::build) mod authorities;
pub(in crate::build) mod contents;
pub(in crate::build) mod digests;
pub(in crate::build) mod disk;
pub(in crate::build) mod effect;
pub(in crate::build) mod extract;
pub(in crate::build) mod fetch;
pub(in crate::build) mod frames;
pub(in crate::build) mod images;
pub(in crate::build) mod inputs;
pub(in crate::build) mod install;
pub(in crate::build) mod loader;
pub(in crate::build) mod origin;
pub(in crate::build) mod output;
pub(in crate::build) mod overlay;
pub(in crate::build) mod own;
pub(in crate::build) mod owners;
pub(in crate::build) mod parallel;
pub(in crate::build) mod public;
pub(in crate::build) mod realise;
pub(in crate::build) mod reproducibility;
pub(in crate::build) mod resolve;
pub(in crate::build) mod saved;
pub(in crate::build) mod step;
pub(in crate::build) mod units;
pub(in crate::build) mod unpacked;

use std::io;
use std::path::Path;

use self::contents::Contents;
use self::install::install;
use self::resolve::Resolved;
use self::step::{BasePart, Step};
use crate::common::error::{Class, Error, Result};
use crate::common::fsx;
use crate::common::report::{Item, ItemKind, Outcome, Report};
use crate::common::tree::Tree;
use crate::common::tree::pack::PackIndex;
use crate::common::value::{Cancel, Digest, RoleName, Sha256};
use crate::formats::disk::Pieces;
use crate::formats::inspect::readback::{self, Depth};
use crate::formats::inspect::{Image, ReadAt};
use crate::spec::plan::Plan;
use crate::spec::recipe::Archive;
use crate::storage::store::{Action, Blob, Store, Stretches};

/// The context of a build.
pub struct Bake<'a> {
    /// The store that has the blobs and takes new ones.
    pub store: &'a Store,
    /// Options for fetching missing blobs.
    pub fetch: crate::storage::fetch::Options,
    /// The mirrors in the host's apt configuration, read only when something is missing.
    pub host_mirrors: &'a (dyn Fn(&Archive) -> Result<Vec<String>> + Sync),
    /// Number of threads that unpack and compress.
    pub jobs: usize,
    /// Progress sink.
    pub report: &'a dyn Report,
    /// Cancellation flag.
    pub cancel: &'a Cancel,
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baked {
    /// The qcow2 file.
    pub image: Blob,
    /// The digest of the tree's text.
    pub tree: Sha256,
    /// True when the image was built now, false when the store had it.
    pub built: bool,
}

/// A finished filesystem and its contents.
pub struct Filesystem {
    /// The filesystem.
    pub tree: Tree,
    /// The base as it was installed, without the role's files.
    pub base: Tree,
    /// The contents of its files.
    pub contents: Contents,
}

impl Bake<'_> {
    /// The image of a plan: looked up, or built. It must match the claim of an imported bundle, if there is one.
    pub fn image(&self, resolved: &Resolved) -> Result<Baked> {
        let baked = self.find_or_make(resolved)?;
        if !baked.built {
            self.restore_loader(resolved)?;
        }
        self.check_claim(resolved, &baked)?;
        Ok(baked)
    }

    fn find_or_make(&self, resolved: &Resolved) -> Result<Baked> {
        let plan = &resolved.plan;
        let step = Step::Image(plan.key());
        let make = || {
            public::audit(resolved, self.cancel)?;
            self.fetch_needed(resolved)?;
            let (filesystem, ()) = self.join(|| self.tree(resolved), || self.verify_frames(resolved));
            let filesystem = filesystem?;
            self.report.begun(&of_role(plan, ItemKind::Image, None));
            let (image, tree) = self.write_image(resolved, &filesystem)?;
            Ok([("image".to_owned(), image), ("tree".to_owned(), tree)].into())
        };
        let (baked, outcome) = self.realise(&step, plan.role(), |action| Ok(baked(action)), make)?;
        Ok(self.baked(plan, baked, outcome))
    }

    /// Reports the image of a plan, and notes whether it was built.
    fn baked(&self, plan: &Plan, baked: Baked, outcome: Outcome) -> Baked {
        self.report.ended(&of_role(plan, ItemKind::Image, Some(baked.image)), outcome);
        Baked { built: outcome == Outcome::Built, ..baked }
    }

    fn has_image(&self, plan: &Plan) -> bool {
        self.recorded(&Step::Image(plan.key())).is_some()
    }

    /// The whole tree of a plan: the base with the role's files on top.
    pub fn tree(&self, resolved: &Resolved) -> Result<Filesystem> {
        let plan = &resolved.plan;
        let base = self.base(resolved)?;
        resolved.effects.check(&base.tree, &base.contents)?;
        let (files, blobs, images) = self.extracted_files(resolved)?;
        let tree = accounts::add(base.tree, plan.users(), &base.contents)?;
        let accounts = overlay::Accounts::of(&tree, &base.contents)?;
        let tree = overlay::overlay(tree, &files, &accounts, plan.epoch())?;
        let tree = units::apply(tree, plan.presets(), &base.contents, plan.epoch())?;
        let tree = authorities::add(tree, plan.files(), &base.contents, plan.epoch())?;
        let tree = unpacked::lay(tree, &images, plan.epoch())?;
        let packs =
            images.into_iter().map(|image| Ok((image.index()?, image.pack))).map(|both: Result<_>| both.map(|(index, pack)| (pack, index)));
        let contents = base.contents.with_files(resolved.sources.clone()).with_blobs(blobs).with_packs(packs.collect::<Result<_>>()?);
        Ok(Filesystem { tree, base: base.base, contents })
    }

    /// The base tree of a plan: looked up, or installed.
    pub(in crate::build) fn base(&self, resolved: &Resolved) -> Result<Filesystem> {
        if self.recorded(&role_base(resolved)).is_none() {
            self.check_installation(resolved)?;
        }
        self.base_by(resolved, install)
    }

    /// [`Bake::base`] with a given installer, which returns the tree and the blob of its contents.
    fn base_by(&self, resolved: &Resolved, install: impl FnOnce(&Bake, &Resolved) -> Result<(Tree, Blob)>) -> Result<Filesystem> {
        let (base, outcome) = self.realise_base(&role_base(resolved), resolved, || {
            self.fetch_packages(resolved)?;
            self.report.begun(&of_role(&resolved.plan, ItemKind::Base, None));
            install(self, resolved)
        })?;
        self.report.ended(&of_role(&resolved.plan, ItemKind::Base, Some(base.contents.pack())), outcome);
        Ok(base)
    }

    /// A base: looked up, or installed by `install` and recorded.
    fn realise_base(
        &self,
        step: &Step<'_>,
        resolved: &Resolved,
        install: impl FnOnce() -> Result<(Tree, Blob)>,
    ) -> Result<(Filesystem, Outcome)> {
        let make = || {
            let (tree, pack) = install()?;
            let text = self.store.insert(tree.to_text().as_bytes())?;
            Ok([("pack".to_owned(), pack), ("tree".to_owned(), text)].into())
        };
        self.realise(step, resolved.plan.role(), |action| self.read_base(action), make)
    }

    /// The base of a role, if the store has it.
    fn known_base(&self, resolved: &Resolved) -> Result<Option<Filesystem>> {
        self.recorded(&role_base(resolved)).map_or(Ok(None), |action| self.read_base(&action))
    }

    fn read_base(&self, action: &Action) -> Result<Option<Filesystem>> {
        let (Some(tree), Some(pack)) = (action.outputs.get("tree"), action.outputs.get("pack")) else { return Ok(None) };
        let (Some(mut text), Some(pack)) = (self.store.reader(&tree.digest)?, self.store.blob(&pack.digest)?) else { return Ok(None) };
        let text = std::io::read_to_string(&mut text).map_err(|e| Error::io("read the base tree from the store", &e))?;
        let base = Tree::parse_text(&text, "the base tree in the store")?;
        let contents = Contents::new(pack, PackIndex::of(&base)?);
        Ok(Some(Filesystem { tree: base.clone(), base, contents }))
    }

    /// The disk layout of a plan's whole tree.
    pub fn disk(&self, resolved: &Resolved, filesystem: &Filesystem) -> Result<Pieces> {
        disk::disk(&resolved.plan, &filesystem.tree, &filesystem.base, &self.loader(resolved)?)
    }

    /// Lays out the disk and composes its image in the store, from cached frames and new data. Returns the image and the
    /// tree's text.
    fn write_image(&self, resolved: &Resolved, filesystem: &Filesystem) -> Result<(Blob, Blob)> {
        let frames = self.frames(resolved, filesystem)?;
        let disk = self.disk(resolved, filesystem)?;
        let stretches = self.stretches(resolved, filesystem, &disk, &frames)?;
        // Read back by readers that share no code with the writers, before anyone else sees the image. The contents of large
        // files are left to `verify`: the other files exercise compression and placement already.
        let read_back = || {
            let image = Image::over(Composition(self.store.stretches(&stretches)?), "the new image".into())?;
            readback::verify_image(image, disk::ROOT_START, &filesystem.tree, Depth::Small, self.cancel)?.into_result()
        };
        let (image, found) = self.join(|| self.store.compose(&stretches, self.cancel), read_back);
        let image = image?;
        found?;
        // The tree's text is stored last: only now are the contents known to match it. A damaged blob could have had another
        // size.
        let text = self.store.insert(filesystem.tree.to_text().as_bytes())?;
        Ok((image, text))
    }

    /// Runs both closures, in parallel when `jobs > 1`.
    fn join<A: Send, B: Send>(&self, one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B + Send) -> (A, B) {
        if self.jobs > 1 { rayon::join(one, other) } else { (one(), other()) }
    }

    /// Rebuilds frames and the composition of an image.
    pub(in crate::build) fn compose_again(&self, resolved: &Resolved) -> Result<()> {
        let filesystem = self.tree(resolved)?;
        self.write_image(resolved, &filesystem).map(drop)
    }

    /// Reads a written image back through independent readers. Compares every file with the plan's tree, and every byte with
    /// the disk layout.
    pub fn verify(&self, resolved: &Resolved, image: &Path) -> Result<readback::VerifyReport> {
        let verified = self.verify_image(resolved, Image::open(image)?);
        if matches!(&verified, Err(error) if error.class() == Class::Integrity) {
            // Even if only the file is wrong: compressing again is cheap, keeping a wrong cached frame is not.
            self.forget_image(resolved)?;
        }
        verified
    }

    /// [`Bake::verify`] for an image that is open.
    pub(in crate::build) fn verify_image(&self, resolved: &Resolved, mut image: Image) -> Result<readback::VerifyReport> {
        let filesystem = self.tree(resolved)?;
        // The loader is rebuilt: a cached one could have the same fault as the image.
        let disk = disk::disk(&resolved.plan, &filesystem.tree, &filesystem.base, &self.new_loader(resolved)?)?;
        readback::compare_image(&mut image, &disk, &filesystem.contents, self.cancel)?;
        readback::verify_image(image, disk::ROOT_START, &filesystem.tree, Depth::All, self.cancel)?.into_result()
    }

    /// An image in the store, for reading back. The blobs that it is composed of are not verified.
    pub(in crate::build) fn stored_image(&self, digest: &Sha256) -> Result<Image> {
        match self.store.composed(digest)? {
            Some(composed) => Image::over(Composition(composed.into_unverified()), format!("the image {digest}")),
            None if self.store.contains(digest)? => Image::open(&self.store.path(digest)),
            None => {
                Err(Error::integrity(format!("the image sha256:{digest} is gone from the store"))
                    .hint("run the command again to rebuild it"))
            }
        }
    }

    /// Writes an image to the absolute path `to`, unless it is there already. Returns true when it was written. It replaces
    /// only an image that kbake has written; `is_known` accepts the digests that the project records.
    ///
    /// # Errors
    /// Something else is at `to`, or a machine uses it.
    pub fn place(&self, image: &Blob, to: &Path, is_known: &dyn Fn(&Sha256) -> bool) -> Result<bool> {
        if self.store.stamp(to)? == Some(image.digest) {
            return Ok(false);
        }
        output::require_replaceable(self.store, to, self.cancel, &|digest| *digest == image.digest || is_known(digest))?;
        if let Some(folder) = to.parent() {
            fsx::create_closed(folder)?;
        }
        self.store.export(&image.digest, to, output::IMAGE_MODE)?;
        Ok(true)
    }
}

/// The step that installs all packages of a role.
pub(in crate::build) fn role_base(resolved: &Resolved) -> Step<'_> {
    Step::Base { key: resolved.plan.base_key(), part: BasePart::Role }
}

/// The image that an action entry names.
fn baked(action: &Action) -> Option<Baked> {
    let output = |name: &str| action.outputs.get(name).copied();
    Some(Baked { image: output("image")?, tree: output("tree")?.digest, built: false })
}

/// A composed image, readable as one file.
struct Composition(Stretches);

impl ReadAt for Composition {
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.size())
    }
}

/// A blob that was built for a role, as a report item.
fn of_role(plan: &Plan, kind: ItemKind, blob: Option<Blob>) -> Item<'_> {
    Item { kind, name: plan.role().as_str(), digest: blob.map(|blob| Digest::Sha256(blob.digest)), bytes: blob.map(|blob| blob.size) }
}

/// Fails when an image differs from the one that the project records for the plan.
pub(crate) fn check_expected(expected: Option<(Sha256, Sha256)>, role: &RoleName, baked: &Baked) -> Result<()> {
    let Some((tree, image)) = expected else { return Ok(()) };
    if baked.image.digest == image {
        return Ok(());
    }
    let what =
        if baked.tree == tree { "the tree is as expected, so the disk writers differ" } else { "the installed tree differs already" };
    Err(Error::integrity(format!("the image of `{role}` differs from the one in images/expected.toml for this plan"))
        .detail(format!("expected sha256:{image}  found sha256:{}", baked.image.digest))
        .detail(what)
        .hint(format!("`kbake tree {role}` prints what was installed; please report this with your host's release"))
        .hint(format!("to use the image anyway: `kbake build {role} --accept-new-digest`")))
}

#[cfg(test)]
mod tests;
