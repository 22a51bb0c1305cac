//! Fetches the inputs that a plan needs and the store lacks.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::inputs::{all_inputs, inputs_of, want, wants};
use super::resolve::PackageArchives;
use super::step::{BasePart, Step, StepInput, planned_steps};
use super::{extract, images, saved};
use crate::build::base;
use crate::build::{Bake, Resolved};
use crate::common::error::{Class, Error, Result};
use crate::common::report::{Item, ItemKind, Outcome, Report};
use crate::common::value::{Digest, Mirror};
use crate::spec::recipe::{Archive, check_mirrors};
use crate::storage::fetch::{self, Events, Source, Want};

impl Bake<'_> {
    /// Fetches all inputs of a plan, even if results of them are cached.
    pub fn fetch_all(&self, resolved: &Resolved) -> Result<()> {
        self.fetch_inputs(resolved, &all_inputs(resolved))
    }

    /// Fetches what the build of the plan's image will read: all at once and before the first long step, so that an
    /// unreachable source is reported early, together with all files that it should have served.
    pub(in crate::build) fn fetch_needed(&self, resolved: &Resolved) -> Result<()> {
        let mut steps = Vec::new();
        for step in planned_steps(resolved) {
            if self.reads_inputs(resolved, &step)? {
                steps.push(step);
            }
        }
        if steps.iter().any(|step| matches!(step, Step::Base { .. })) {
            self.check_installation(resolved)?;
        }
        self.fetch_inputs(resolved, &inputs_of(resolved, &steps))
    }

    /// True when the build of a plan's image will read a step's inputs.
    fn reads_inputs(&self, resolved: &Resolved, step: &Step<'_>) -> Result<bool> {
        Ok(match step {
            Step::Extraction(extraction) => self.recorded_file(extraction)?.is_none(),
            Step::Base { part: BasePart::Role, .. } => self.known_base(resolved)?.is_none(),
            // Only the role's base reads its ground, and its inputs include the ground's.
            Step::Base { part: BasePart::Ground, .. } => false,
            // `build --verify` builds a second loader.
            Step::Loader(_) => true,
            Step::Frames(_) | Step::Composition(_) | Step::Image(_) => false,
        })
    }

    /// Fetches inputs; the user's own files are imported.
    fn fetch_inputs(&self, resolved: &Resolved, inputs: &[StepInput<'_>]) -> Result<()> {
        let (mut wanted, mut pulled) = (Vec::new(), Vec::new());
        for input in inputs {
            match *input {
                StepInput::Package(locked) | StepInput::Tool(locked) => wanted.push(want(locked)),
                StepInput::Artifact(want) => wanted.push(want.clone()),
                StepInput::ContainerImage(image) => {
                    wanted.push(images::index(image));
                    pulled.push(image);
                }
                // Imported below, with all others: the project's file may change later.
                StepInput::OwnFile(..) => {}
            }
        }
        self.import_own_files(resolved)?;
        self.fetch_missing(Some(&resolved.archives), wanted)?;
        pulled.into_iter().try_for_each(|image| images::fetch(self, image).map(drop))
    }

    /// Checks that a plan's packages can be installed on this host, before they are fetched: the store's filesystem allows
    /// programs to run, the disk has room for downloads and installation, and the host can sandbox the packages' scripts.
    pub(in crate::build) fn check_installation(&self, resolved: &Resolved) -> Result<()> {
        base::folder_check(self.store.root())?;
        let (mut missing, mut packed) = (0, 0);
        for package in resolved.packages.iter().chain(&resolved.tools) {
            let is_there = self.store.resolve(&package.sha256.into(), Some(package.size))?.is_some();
            missing += if is_there { 0 } else { package.size };
            packed += package.size;
        }
        let count = resolved.packages.len();
        let estimate = format!("estimated for {count} packages: their downloads, and twice their unpacked size during installation");
        self.store.require_space(missing + base::room(packed)).map_err(|error| error.detail(estimate))?;
        if missing > 0 && !self.fetch.offline {
            base::host_check(resolved.plan.arch())?;
        }
        Ok(())
    }

    /// Fetches a plan's packages.
    pub(in crate::build) fn fetch_packages(&self, resolved: &Resolved) -> Result<()> {
        self.fetch_missing(Some(&resolved.archives), wants(resolved.packages.iter().chain(&resolved.tools)))
    }

    /// Fetches a plan's artifacts.
    pub(in crate::build) fn fetch_artifacts(&self, resolved: &Resolved) -> Result<()> {
        self.import_own_files(resolved)?;
        self.fetch_missing(Some(&resolved.archives), resolved.artifacts.wants.values().cloned().collect())
    }

    /// Imports the user's own files, as they were locked.
    fn import_own_files(&self, resolved: &Resolved) -> Result<()> {
        for (digest, own) in &resolved.artifacts.own {
            let name = own.name.as_str();
            let item = |bytes| Item { kind: ItemKind::Input, name, digest: Some(*digest), bytes };
            if let Some(blob) = self.store.resolve(digest, None)? {
                self.report.ended(&item(Some(blob.size)), Outcome::Cached);
                continue;
            }
            self.report.begun(&item(None));
            let taken = extract::take(self.store, digest, own, self.cancel)?;
            self.report.ended(&item(Some(taken.size)), Outcome::Fetched);
        }
        saved::take_missing(self, resolved)
    }

    /// Fetches those of `wants` that the store lacks. Packages need the `archives` that they come from.
    pub(in crate::build) fn fetch_missing(&self, archives: Option<&PackageArchives>, wants: Vec<Want>) -> Result<()> {
        let mut missing = Vec::new();
        for want in wants {
            match self.store.resolve(&want.digest, want.size)? {
                Some(blob) => self.report.ended(&item(&want, Some(blob.size)), Outcome::Cached),
                None => missing.push(want),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let released = missing.iter().any(|want| !matches!(want.source, Source::Pool { .. }));
        let mut options = self.fetch.clone();
        if options.offline {
            missing.iter().for_each(|want| self.report.ended(&item(want, want.size), Outcome::Failed));
            return fetch::fetch(self.store, &missing, &options, &(), self.cancel).map_err(|error| other_way(error, released));
        }
        if let Some(archives) = archives {
            check_mirrors(&options.mirrors, &archives.archives)?;
            options.snapshots.extend(archives.snapshots.iter().cloned());
            for archive in archives.archives.iter().filter(|archive| missing.iter().any(|want| is_in(want, archive))) {
                self.add_host_mirrors(&mut options, archive)?;
            }
        }
        self.report.begin(
            &format!("fetching {} {}", missing.len(), if missing.len() == 1 { "file" } else { "files" }),
            missing.iter().filter_map(|want| want.size).sum(),
        );
        let fetched = fetch::fetch(self.store, &missing, &options, &Downloads::new(self.report), self.cancel);
        self.report.done();
        fetched.map_err(|error| other_way(error, released))
    }

    /// The host's apt may be broken or absent if the user gave a mirror, or if there is an archive of snapshots.
    fn add_host_mirrors(&self, options: &mut fetch::Options, archive: &Archive) -> Result<()> {
        let (name, mirrors) = (archive.name.as_str(), &mut options.mirrors);
        let has_others = mirrors.iter().chain(&options.snapshots).any(|mirror| mirror.may_have(name));
        match (self.host_mirrors)(archive) {
            Ok(own) => own.into_iter().for_each(|base| {
                if !mirrors.iter().any(|known| known.may_have(name) && known.base == base) {
                    mirrors.push(Mirror::of(name, base));
                }
            }),
            Err(error) if error.class() == Class::User && has_others => {
                self.report.say(&format!("the host's own mirrors are not used: {}", error.message()));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// True for a package of the archive.
fn is_in(want: &Want, archive: &Archive) -> bool {
    matches!(&want.source, Source::Pool { archive: name, .. } if name == archive.name.as_str())
}

/// An input as a report item.
pub(crate) fn item(want: &Want, bytes: Option<u64>) -> Item<'_> {
    Item { kind: ItemKind::Input, name: &want.name, digest: Some(want.digest), bytes }
}

/// Reports the progress of downloads, each of them and their sum.
pub(crate) struct Downloads<'a> {
    report: &'a dyn Report,
    /// Bytes fetched so far, of all downloads that started here, by digest: the parts of a container image share its name.
    have: Mutex<BTreeMap<Digest, u64>>,
}

impl<'a> Downloads<'a> {
    /// Nothing is fetched yet.
    pub(crate) fn new(report: &'a dyn Report) -> Self {
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
        self.report.say(&format!("another kbake is fetching {}; waiting", want.name));
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
        // A download that did not start here was finished by another process in the meantime.
        let outcome = if began.is_some() { Outcome::Fetched } else { Outcome::Cached };
        // The last progress of a download of unknown size is its size.
        self.report.ended(&item(want, want.size.or(began)), outcome);
    }

    fn failed(&self, want: &Want) {
        self.report.ended(&item(want, want.size), Outcome::Failed);
    }
}

/// Adds a hint for releases, which have one host each: Debian's archive has mirrors everywhere.
fn other_way(error: Error, released: bool) -> Error {
    match released && error.class() == Class::Network {
        true => error.hint("or build from Debian's archive: `--channel debian`"),
        false => error,
    }
}
