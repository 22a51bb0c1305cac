//! Installation of a plan's packages: the base tree, and one blob of its contents.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::reproducibility::NewBase;
use super::step::{BasePart, Step, StepKind};
use crate::build::base;
use crate::build::{Bake, Filesystem, Resolved};
use crate::common::error::{Class, Error, Result};
use crate::common::fsx::{self, Temp};
use crate::common::tree::{Content, ContentSource, Tree, pack};
use crate::common::value::{Arch, Hasher, RoleName, Sha256, TreePath};
use crate::formats::archive::Sink;
use crate::spec::lock::Entry as Locked;
use crate::spec::plan::Plan;
use crate::storage::store::{Blob, Store};

/// Installs a plan's packages. Returns the normalised tree and the blob of its contents.
///
/// The installation of a plan that has more packages than all roles share always has two steps: first the shared packages,
/// whose base is cached by itself, then the others on top. So the result does not depend on whether the first was cached.
///
/// # Errors
/// Those of [`base::build`]. A blob that is damaged in the store is put aside, so that the next command fetches or builds it
/// again.
pub(crate) fn install(bake: &Bake, resolved: &Resolved) -> Result<(Tree, Blob)> {
    let plan = &resolved.plan;
    match ground(bake, resolved)? {
        None => install_packages(bake, resolved, &plan.base_key(), None, Part::All),
        Some(ground) => install_packages(bake, resolved, &plan.base_key(), Some(&ground), Part::Others),
    }
}

/// The base that a plan's base is installed on, if there is one: looked up, or installed.
pub(crate) fn ground(bake: &Bake, resolved: &Resolved) -> Result<Option<Filesystem>> {
    let plan = &resolved.plan;
    let install = |key| {
        let step = Step::Base { key, part: BasePart::Ground };
        bake.realise_base(&step, resolved, || install_packages(bake, resolved, &key, None, Part::Common)).map(|(base, _)| base)
    };
    plan.ground_key().map(install).transpose()
}

/// Finds damaged blobs behind `error`: a reader that opens a blob by its path can detect damage, but only the store can put
/// the blob aside. Handles all damaged blobs at once.
fn put_aside(store: &Store, digests: &[Sha256], error: Error) -> Error {
    if error.class() != Class::Integrity {
        return error;
    }
    let damage = |digest: &Sha256| store.blob(digest).ok().flatten()?.verify().err();
    let all: Vec<Error> = digests.iter().filter_map(damage).collect();
    all.into_iter().next().unwrap_or(error)
}

/// The packages of a plan that one step installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All packages.
    All,
    /// The packages that all roles share.
    Common,
    /// The packages that only this role has.
    Others,
}

impl Part {
    fn has(self, plan: &Plan, name: &str) -> bool {
        match self {
            Part::All => true,
            Part::Common => plan.is_common(name),
            Part::Others => !plan.is_common(name),
        }
    }
}

/// Installs a part of the packages, on top of `ground` if there is one, for the base with this key.
fn install_packages(bake: &Bake, resolved: &Resolved, key: &Sha256, ground: Option<&Filesystem>, part: Part) -> Result<(Tree, Blob)> {
    let plan = &resolved.plan;
    let mode = base::host_check(plan.arch())?;
    let deb = |package: &Locked| base::Deb {
        name: package.name.to_string(),
        version: package.version.to_string(),
        arch: package.arch.to_string(),
        path: bake.store.path(&package.sha256),
        digest: package.sha256,
        size: package.size,
    };
    let debs: Vec<base::Deb> = resolved.packages.iter().filter(|package| part.has(plan, package.name.as_str())).map(deb).collect();
    let once = if ground.is_some() { "on top of the base that all roles share" } else { "once for this lockfile; minutes" };
    bake.report.say(&format!("installing {} packages ({once})", debs.len()));
    let spec = base::Spec {
        ground: ground.map(|filesystem| base::Ground { tree: &filesystem.tree, source: &filesystem.contents }),
        debs,
        mmdebstrap: deb(&resolved.installer),
        cleared: plan.cleared(part == Part::Common).iter().cloned().collect(),
        epoch: plan.epoch(),
        arch: plan.arch(),
    };
    let scratch = bake.store.work_folder(StepKind::Base.word(), key)?;
    let event = |line: &str| bake.report.say(&format!("  {line}"));
    let how = base::How { mode, jobs: bake.jobs, event: &event, cancel: bake.cancel };
    let installed = installed(bake, plan.role(), &spec, &how, &scratch);
    installed.map_err(|error| {
        // The installer reads packages by their paths, past the store's verifying readers.
        let mut digests: Vec<Sha256> = spec.debs.iter().chain([&spec.mmdebstrap]).map(|deb| deb.digest).collect();
        digests.extend(ground.map(|filesystem| filesystem.contents.pack().digest));
        let error = bake.store.explain(error, digests.iter().copied());
        put_aside(bake.store, &digests, error)
    })
}

/// Installs, checks the result before anything of it is stored, and packs it.
fn installed(bake: &Bake, role: &RoleName, spec: &base::Spec<'_>, how: &base::How<'_>, scratch: &Path) -> Result<(Tree, Blob)> {
    let mut spool = Spool::new(bake)?;
    let installed = base::build(spec, how, scratch, &mut spool)?;
    let stored = spool.finish()?;
    let ground = spec.ground.map(|ground| ground.tree);
    let new_base = NewBase { role, installed: &installed, source: &stored, ground, cancel: bake.cancel };
    (how.event)("checking files that no package ships");
    new_base.examine(&|| base::host_facts(scratch), how.event, &mut |sink| base::build(spec, how, scratch, sink))?;
    write_pack(bake, installed.tree, &stored)
}

/// Runs `make`; returns its tree, and the blob of the contents that it passes on.
#[cfg(test)]
pub(in crate::build) fn pack(bake: &Bake, make: impl FnOnce(&mut dyn Sink) -> Result<Tree>) -> Result<(Tree, Blob)> {
    let mut spool = Spool::new(bake)?;
    let tree = make(&mut spool)?;
    write_pack(bake, tree, &spool.finish()?)
}

pub(in crate::build) fn write_pack(bake: &Bake, tree: Tree, stored: &Spooled) -> Result<(Tree, Blob)> {
    let mut writer = bake.store.writer(None, None)?;
    pack::write(&tree, stored, &mut writer)?;
    Ok((tree, writer.commit()?))
}

/// Removes the work folder of a base build that was killed, including files that belong to the user's subordinate ids.
pub(crate) fn remove_work(folder: &Path, arch: Arch) -> Result<()> {
    base::clean(base::host_check(arch)?, folder)?;
    fsx::remove_dir_all(folder)
}

/// Contents in the order of the installed tree's archive, each once, in a temporary file. Only contents that the normalised
/// tree names go on into the pack.
pub(in crate::build) struct Spool {
    out: BufWriter<Temp>,
    places: BTreeMap<Sha256, (u64, u64)>,
    end: u64,
    /// The copy buffer, shared by all files.
    buffer: Vec<u8>,
}

/// A finished spool, for reading.
pub(in crate::build) struct Spooled {
    temp: Temp,
    places: BTreeMap<Sha256, (u64, u64)>,
}

impl Spool {
    pub(in crate::build) fn new(bake: &Bake) -> Result<Self> {
        let out = BufWriter::with_capacity(1 << 20, bake.store.scratch_file()?);
        Ok(Spool { out, places: BTreeMap::new(), end: 0, buffer: vec![0; 256 << 10] })
    }

    pub(in crate::build) fn finish(self) -> Result<Spooled> {
        let temp = self.out.into_inner().map_err(|e| Error::io("write the installed files to the store", e.error()))?;
        Ok(Spooled { temp, places: self.places })
    }
}

impl Sink for Spool {
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content> {
        let mut hasher = Hasher::new();
        let mut len = 0;
        loop {
            let n = match bytes.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::io(format!("read {path} of the installed tree"), &e)),
            };
            hasher.update(&self.buffer[..n]);
            self.out.write_all(&self.buffer[..n]).map_err(|e| Error::io("write the installed files to the store", &e))?;
            len += n as u64;
        }
        if len != size {
            return Err(Error::integrity(format!("{path} of the installed tree has {len} bytes instead of {size}")));
        }
        let digest = hasher.finish();
        self.places.entry(digest).or_insert((self.end, size));
        self.end += size;
        Ok(Content::Blob { digest, size })
    }
}

impl ContentSource for Spooled {
    fn open(&self, digest: &Sha256, size: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        match self.places.get(digest) {
            Some(&(at, known)) if known == size => Ok(Box::new(Stretch { file: self.temp.file(), at, end: at + size })),
            _ => Err(Error::internal(format!("sha256:{digest} was not spooled")).into()),
        }
    }
}

/// A range of the spool. Not verified: the pack's readers verify its bytes whenever they are used.
struct Stretch<'a> {
    file: &'a std::fs::File,
    at: u64,
    end: u64,
}

impl Read for Stretch<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let n = self.file.read_at(&mut buffer[..len], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::value::Cancel;
    use crate::storage::store::Access;

    #[test]
    fn damaged_packages_are_put_aside_by_whoever_finds_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), Access::Shared, &Cancel::new(), &|| {}).unwrap();
        let names = ["sound", "damaged", "cut off", "gone"];
        let digests = names.map(Sha256::of);
        for name in names {
            store.insert(name.as_bytes()).unwrap();
        }
        for (n, bytes) in [(1, &b"damageD"[..]), (2, b"cut")] {
            fsx::write_atomic(&store.path(&digests[n]), 0o444, bytes).unwrap();
        }
        fsx::remove_file(&store.path(&digests[3])).unwrap();
        let error = put_aside(&store, &digests, Error::user("the disk is full"));
        assert!(error.to_string().contains("full") && store.contains(&digests[1]).unwrap(), "nobody's fault: {error}");
        let error = put_aside(&store, &digests, Error::integrity("hash mismatch for `damaged`"));
        assert!(error.to_string().contains(&digests[1].to_string()) && error.to_string().contains("quarantine"), "{error}");
        assert_eq!(digests.map(|digest| store.contains(&digest).unwrap()), [true, false, false, false]);
        let error = put_aside(&store, &digests, Error::integrity("the package locked as `x` is another one"));
        assert!(error.to_string().contains("is another one"), "{error}");
    }
}
