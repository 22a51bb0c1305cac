//! What a bake is made of: fetched packages, and the installed base as one blob of contents.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::chance::Fresh;
use super::made::Blobs;
use super::{Bake, Resolved, Stocked};
use crate::base;
use crate::error::{Class, Error, Result};
use crate::fetch::{Events, Source, Want};
use crate::fsx::{self, Temp};
use crate::lock::Entry as Locked;
use crate::plan::Plan;
use crate::project::LargeFile;
use crate::report::{Item, ItemKind, Outcome, Report};
use crate::store::{Blob, BlobFile, Store};
use crate::tree::pack::{self, PackIndex};
use crate::tree::{Content, ContentSource, Tree};
use crate::unpack::Sink;
use crate::value::{Arch, Digest, Hasher, RoleName, Sha256, TreePath};

/// The contents of a tree: the base's pack in the store, and the recipes' large files.
pub struct Pantry {
    pack: BlobFile,
    index: PackIndex,
    files: Vec<LargeFile>,
    blobs: Blobs,
    /// Those of unpacked container images.
    packs: Vec<(BlobFile, PackIndex)>,
}

impl Pantry {
    /// The contents of the tree that `index` was made from.
    pub fn new(pack: BlobFile, index: PackIndex) -> Self {
        Pantry { pack, index, files: Vec::new(), blobs: Blobs::new(), packs: Vec::new() }
    }

    /// The blob of the base's contents.
    pub fn pack(&self) -> Blob {
        Blob { digest: self.pack.digest(), size: self.pack.size() }
    }

    /// With `files` beside it.
    pub fn with_files(self, files: Vec<LargeFile>) -> Self {
        Pantry { files, ..self }
    }

    /// The pack of an unpacked container image that has a content, and where.
    fn pack_of(&self, digest: &Sha256, size: u64) -> Option<(&BlobFile, u64)> {
        let place = |index: &PackIndex| index.get(digest).filter(|(_, known)| *known == size).map(|(offset, _)| offset);
        self.packs.iter().find_map(|(pack, index)| Some((pack, place(index)?)))
    }

    /// With the contents of unpacked container images beside it.
    pub fn with_packs(self, packs: Vec<(BlobFile, PackIndex)>) -> Self {
        Pantry { packs, ..self }
    }

    /// With `blobs` of the store beside it.
    pub fn with_blobs(self, blobs: Blobs) -> Self {
        Pantry { blobs, ..self }
    }
}

impl ContentSource for Pantry {
    fn open(&self, digest: &Sha256, size: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        match self.index.get(digest) {
            Some((offset, known)) if known == size => Ok(Box::new(self.pack.range(offset, size, *digest)?)),
            _ if self.blobs.contains_key(digest) => Ok(Box::new(self.blobs[digest].range(0, size, *digest)?)),
            _ if let Some((pack, offset)) = self.pack_of(digest, size) => Ok(Box::new(pack.range(offset, size, *digest)?)),
            _ => match self.files.iter().find(|file| (file.digest, file.size) == (*digest, size)) {
                Some(file) => Ok(Box::new(Witnessed::open(file)?)),
                None => Err(Error::internal(format!("nothing has the content sha256:{digest} of {size} bytes")).into()),
            },
        }
    }
}

/// Reads a file of the project, and fails on the read that would give the last byte when it is no longer the file that
/// the plan was made from.
pub(super) struct Witnessed<'a> {
    expected: &'a LargeFile,
    file: std::fs::File,
    hasher: Hasher,
    left: u64,
    /// As is every read behind a failed one.
    failed: bool,
}

impl<'a> Witnessed<'a> {
    pub(super) fn open(expected: &'a LargeFile) -> Result<Self> {
        let file = fsx::open_read(&expected.path)?;
        Ok(Witnessed { expected, file, hasher: Hasher::new(), left: expected.size, failed: false })
    }

    fn changed(&self) -> io::Error {
        Error::user(format!("{} changed while the image was made from it", self.expected.path.display()))
            .hint("run the command again once nobody writes to the file")
            .into()
    }
}

impl Read for Witnessed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(self.changed());
        }
        let n = self.file.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        // Blobs' readers ask once more behind the last byte, so a file that grew is noticed too.
        let grew = n as u64 > self.left;
        let shrank = n == 0 && !buffer.is_empty() && self.left > 0;
        self.left = self.left.saturating_sub(n as u64);
        self.failed = grew || shrank || (self.left == 0 && self.hasher.clone().finish() != self.expected.digest);
        if self.failed { Err(self.changed()) } else { Ok(n) }
    }
}

/// What fetching must bring for locked packages.
pub fn wants<'a>(packages: impl Iterator<Item = &'a Locked>) -> Vec<Want> {
    let want = |package: &Locked| Want {
        name: package.name.to_string(),
        source: Source::Pool(package.source.to_string()),
        digest: package.sha256.into(),
        size: Some(package.size),
    };
    packages.map(want).collect()
}

/// An input as the report knows it.
pub fn item(want: &Want, bytes: Option<u64>) -> Item<'_> {
    Item { kind: ItemKind::Input, name: &want.name, digest: Some(want.digest), bytes }
}

/// Tells the report how the downloads go on: each of them, and their sum.
pub struct Downloads<'a> {
    report: &'a dyn Report,
    /// Bytes that are there, of all that began here. The parts of a container image share its name.
    have: Mutex<BTreeMap<Digest, u64>>,
}

impl<'a> Downloads<'a> {
    /// Nothing is there yet.
    pub fn new(report: &'a dyn Report) -> Self {
        Downloads { report, have: Mutex::default() }
    }

    fn have(&self) -> MutexGuard<'_, BTreeMap<Digest, u64>> {
        self.have.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events for Downloads<'_> {
    fn started(&self, want: &Want, have: u64) {
        self.have().insert(want.digest, have);
        self.report.begun(&item(want, want.size));
    }

    fn waiting(&self, want: &Want) {
        self.report.say(&format!("another kbake fetches {}; waiting", want.name));
    }

    fn progress(&self, want: &Want, at: u64) {
        let mut have = self.have();
        have.insert(want.digest, at);
        self.report.reached(have.values().sum());
    }

    fn retry(&self, want: &Want, pause: Duration, reason: &str) {
        self.report.say(&format!("{}: {reason}; trying again in {:.1} s", want.name, pause.as_secs_f32()));
    }

    fn finished(&self, want: &Want) {
        let began = self.have().get(&want.digest).copied();
        if let Some(size) = want.size {
            self.progress(want, size);
        }
        // What did not begin here was brought by another process in the meantime.
        let outcome = if began.is_some() { Outcome::Fetched } else { Outcome::Cached };
        // Of an unknown size the last progress has told all of it.
        self.report.ended(&item(want, want.size.or(began)), outcome);
    }

    fn failed(&self, want: &Want) {
        self.report.ended(&item(want, want.size), Outcome::Failed);
    }
}

/// Installs a plan's packages. Gives the normalised tree and the blob of its contents.
///
/// Always in two steps when the plan has more packages than every role has: first these, whose base the store keeps by itself,
/// then on top of it the others. So the outcome is the same whether the first step was made just now or long ago.
///
/// # Errors
/// Those of [`base::build`]. A blob that is damaged in the store is put aside, so that the next command fetches or makes it anew.
pub fn install(bake: &Bake, resolved: &Resolved) -> Result<(Tree, Blob)> {
    let plan = &resolved.plan;
    match ground(bake, resolved)? {
        None => install_packages(bake, resolved, &plan.base_key(), None, Part::All),
        Some(ground) => install_packages(bake, resolved, &plan.base_key(), Some(&ground), Part::Others),
    }
}

/// The base that a plan's is installed on top of, if there is one: looked up, or installed.
pub fn ground(bake: &Bake, resolved: &Resolved) -> Result<Option<Stocked>> {
    let plan = &resolved.plan;
    let install = |key| bake.kept_base(&key, || install_packages(bake, resolved, &key, None, Part::Common));
    plan.ground_key().map(install).transpose()
}

/// What is to blame for `error`: who reads a blob by its path can tell that it is damaged, but only the store can take it out
/// of use. All that are damaged, in one go.
fn put_aside(store: &Store, digests: &[Sha256], error: Error) -> Error {
    if error.class() != Class::Integrity {
        return error;
    }
    let damage = |digest: &Sha256| store.blob(digest).ok().flatten()?.verify().err();
    let all: Vec<Error> = digests.iter().filter_map(damage).collect();
    all.into_iter().next().unwrap_or(error)
}

/// Which of a plan's packages are installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All.
    All,
    /// Those that every role has.
    Common,
    /// The others.
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

/// Installs a part of the packages, on top of `ground` if there is one, for the base of this key.
fn install_packages(bake: &Bake, resolved: &Resolved, key: &Sha256, ground: Option<&Stocked>, part: Part) -> Result<(Tree, Blob)> {
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
    let once = if ground.is_some() { "on top of the base that all roles have" } else { "once for this lockfile; minutes" };
    bake.report.say(&format!("installing {} packages ({once})", debs.len()));
    let spec = base::Spec {
        ground: ground.map(|stocked| base::Ground { tree: &stocked.tree, source: &stocked.source }),
        debs,
        mmdebstrap: deb(&resolved.installer),
        cleared: plan.cleared(part == Part::Common).iter().cloned().collect(),
        epoch: plan.epoch(),
        arch: plan.arch(),
    };
    let scratch = bake.store.work_folder("base", key)?;
    let event = |line: &str| bake.report.say(&format!("  {line}"));
    let how = base::How { mode, jobs: bake.jobs, event: &event, cancel: bake.cancel };
    let installed = installed(bake, plan.role(), &spec, &how, &scratch);
    installed.map_err(|error| {
        // Packages are read from their files, past the store's own readers.
        let mut digests: Vec<Sha256> = spec.debs.iter().chain([&spec.mmdebstrap]).map(|deb| deb.digest).collect();
        digests.extend(ground.map(|stocked| stocked.source.pack().digest));
        let error = bake.store.explain(error, digests.iter().copied());
        put_aside(bake.store, &digests, error)
    })
}

/// Installs, looks for what no image may have before anything of it is in the store, and packs.
fn installed(bake: &Bake, role: &RoleName, spec: &base::Spec<'_>, how: &base::How<'_>, scratch: &Path) -> Result<(Tree, Blob)> {
    let mut spool = Spool::new(bake)?;
    let installed = base::build(spec, how, scratch, &mut spool)?;
    let stored = spool.finish()?;
    let ground = spec.ground.map(|ground| ground.tree);
    let fresh = Fresh { role, installed: &installed, source: &stored, ground, cancel: bake.cancel };
    (how.event)("looking at what no package ships");
    fresh.examine(&|| base::host_facts(scratch), how.event, &mut |sink| base::build(spec, how, scratch, sink))?;
    write_pack(bake, installed.tree, &stored)
}

/// The tree that `make` makes, and the blob of the contents that it gives away.
#[cfg(test)]
pub(super) fn pack(bake: &Bake, make: impl FnOnce(&mut dyn Sink) -> Result<Tree>) -> Result<(Tree, Blob)> {
    let mut spool = Spool::new(bake)?;
    let tree = make(&mut spool)?;
    write_pack(bake, tree, &spool.finish()?)
}

pub(super) fn write_pack(bake: &Bake, tree: Tree, stored: &Spooled) -> Result<(Tree, Blob)> {
    let mut writer = bake.store.writer(None, None)?;
    pack::write(&tree, stored, &mut writer)?;
    Ok((tree, writer.commit()?))
}

/// Removes the work folder of a base build that was killed, also what of it belongs to subordinate ids of the user.
pub fn remove_work(folder: &Path, arch: Arch) -> Result<()> {
    base::clean(base::host_check(arch)?, folder)?;
    fsx::remove_dir_all(folder)
}

/// Contents in the order in which the installed tree's archive has them, each once, in a temporary file. Only what the
/// normalised tree still names goes on into the pack.
pub(super) struct Spool {
    out: BufWriter<Temp>,
    places: BTreeMap<Sha256, (u64, u64)>,
    end: u64,
    /// What is on its way: one for all of ten thousand files.
    buffer: Vec<u8>,
}

/// A spool that is written, for reading.
pub(super) struct Spooled {
    temp: Temp,
    places: BTreeMap<Sha256, (u64, u64)>,
}

impl Spool {
    pub(super) fn new(bake: &Bake) -> Result<Self> {
        let out = BufWriter::with_capacity(1 << 20, bake.store.scratch_file()?);
        Ok(Spool { out, places: BTreeMap::new(), end: 0, buffer: vec![0; 256 << 10] })
    }

    pub(super) fn finish(self) -> Result<Spooled> {
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

/// A part of the spool. Not verified: the pack's own readers do that whenever its bytes are used.
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
    use crate::store::Access;
    use crate::value::Cancel;

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

    #[test]
    fn a_file_that_changed_behind_the_plan_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        let good: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let file = LargeFile { path: path.clone(), digest: Sha256::of(&good), size: good.len() as u64 };
        let read = || {
            let mut bytes = Vec::new();
            Witnessed::open(&file).unwrap().read_to_end(&mut bytes).map(|_| bytes)
        };
        fsx::write_atomic(&path, 0o644, &good).unwrap();
        assert_eq!(read().unwrap(), good);
        let mut flipped = good.clone();
        flipped[2_999_999] ^= 1;
        for bad in [&flipped[..], &good[..2_999_999], &[&good[..], b"x"].concat(), b""] {
            fsx::write_atomic(&path, 0o644, bad).unwrap();
            let error = Error::io("read", &read().unwrap_err());
            assert!(error.to_string().contains("changed while the image was made"), "{error}");
        }
    }
}
