//! Brings into the store what a plan needs and the store does not have.

use super::{Bake, Resolved, artifacts, images, made, pantry, saved};
use crate::base;
use crate::error::{Class, Error, Result};
use crate::fetch::{self, Source, Want};
use crate::plan::{Made, PlannedKind};
use crate::report::{Item, ItemKind, Outcome};

impl Bake<'_> {
    /// Everything that a plan is made of, whether or not something was made of it already.
    pub fn fetch_all(&self, resolved: &Resolved) -> Result<()> {
        let mut wants = pantry::wants(resolved.packages.iter().chain(&resolved.tools));
        wants.extend(resolved.artifacts.wants.values().cloned());
        let pulled = artifacts::pulled(&resolved.artifacts);
        wants.extend(pulled.iter().map(|image| images::index(image)));
        self.take_own(resolved)?;
        self.fetch_missing(Some(&resolved.suite), wants)?;
        pulled.into_iter().try_for_each(|image| images::fetch(self, image).map(drop))
    }

    /// What baking the plan's image will ask for: all in one go and before the first long step, so that a source that
    /// cannot be reached is known at once, and with everything that it should have given.
    pub(super) fn fetch_needed(&self, resolved: &Resolved) -> Result<()> {
        let mut wants = pantry::wants(resolved.tools.iter());
        if self.known_base(&resolved.plan.base_key())?.is_none() {
            self.check_installation(resolved)?;
            wants.extend(pantry::wants(resolved.packages.iter()));
        }
        let mut pulled = Vec::new();
        for node in resolved.plan.files().values() {
            let PlannedKind::Made(made) = &node.kind else { continue };
            if self.remembered(made)?.is_some() {
                continue;
            }
            wants.extend(made.artifacts().iter().filter_map(|digest| resolved.artifacts.wants.get(digest)).cloned());
            if let Made::Pulled(image, _) = made {
                wants.push(images::index(image));
                pulled.push(image);
            }
        }
        self.take_own(resolved)?;
        self.fetch_missing(Some(&resolved.suite), wants)?;
        pulled.into_iter().try_for_each(|image| images::fetch(self, image).map(drop))
    }

    /// Checks that a plan's packages can be installed here, before they are fetched: the store's filesystem runs programs,
    /// there is room for the downloads and the installation, and the host confines the packages' scripts.
    pub(super) fn check_installation(&self, resolved: &Resolved) -> Result<()> {
        base::folder_check(self.store.root())?;
        let (mut missing, mut packed) = (0, 0);
        for package in resolved.packages.iter().chain(&resolved.tools) {
            let is_there = self.store.resolve(&package.sha256.into(), Some(package.size))?.is_some();
            missing += if is_there { 0 } else { package.size };
            packed += package.size;
        }
        let count = resolved.packages.len();
        let estimate = format!("estimated for {count} packages: their downloads, and twice what is in them while they are installed");
        self.store.require_space(missing + base::room(packed)).map_err(|error| error.detail(estimate))?;
        if missing > 0 && !self.fetch.offline {
            base::host_check(resolved.plan.arch())?;
        }
        Ok(())
    }

    /// A plan's packages.
    pub(super) fn fetch_packages(&self, resolved: &Resolved) -> Result<()> {
        self.fetch_missing(Some(&resolved.suite), pantry::wants(resolved.packages.iter().chain(&resolved.tools)))
    }

    /// A plan's artifacts.
    pub(super) fn fetch_artifacts(&self, resolved: &Resolved) -> Result<()> {
        self.take_own(resolved)?;
        self.fetch_missing(Some(&resolved.suite), resolved.artifacts.wants.values().cloned().collect())
    }

    /// The user's own files, as they were locked.
    fn take_own(&self, resolved: &Resolved) -> Result<()> {
        for (digest, own) in &resolved.artifacts.own {
            let name = own.name.as_str();
            let item = |bytes| Item { kind: ItemKind::Input, name, digest: Some(*digest), bytes };
            if let Some(blob) = self.store.resolve(digest, None)? {
                self.report.ended(&item(Some(blob.size)), Outcome::Cached);
                continue;
            }
            self.report.begun(&item(None));
            let taken = made::take(self.store, digest, own, self.cancel)?;
            self.report.ended(&item(Some(taken.size)), Outcome::Fetched);
        }
        saved::take_missing(self, resolved)
    }

    /// Those of `wants` that the store does not have. Packages need the `suite` that they are of.
    pub(super) fn fetch_missing(&self, suite: Option<&str>, wants: Vec<Want>) -> Result<()> {
        let mut missing = Vec::new();
        for want in wants {
            match self.store.resolve(&want.digest, want.size)? {
                Some(blob) => self.report.ended(&pantry::item(&want, Some(blob.size)), Outcome::Cached),
                None => missing.push(want),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let released = missing.iter().any(|want| !matches!(want.source, Source::Pool(_)));
        let mut options = self.fetch.clone();
        if options.offline {
            missing.iter().for_each(|want| self.report.ended(&pantry::item(want, want.size), Outcome::Failed));
            return fetch::fetch(self.store, &missing, &options, &(), self.cancel).map_err(|error| other_way(error, released));
        }
        if let Some(suite) = suite
            && missing.iter().any(|want| matches!(want.source, Source::Pool(_)))
        {
            self.add_host_mirrors(&mut options.mirrors, suite)?;
        }
        self.report.begin(
            &format!("fetching {} {}", missing.len(), if missing.len() == 1 { "file" } else { "files" }),
            missing.iter().filter_map(|want| want.size).sum(),
        );
        let fetched = fetch::fetch(self.store, &missing, &options, &pantry::Downloads::new(self.report), self.cancel);
        self.report.done();
        fetched.map_err(|error| other_way(error, released))
    }

    /// With a mirror that the user gave, a host without a working apt will do.
    fn add_host_mirrors(&self, mirrors: &mut Vec<String>, suite: &str) -> Result<()> {
        match (self.host_mirrors)(suite) {
            Ok(own) => own.into_iter().for_each(|mirror| {
                if !mirrors.contains(&mirror) {
                    mirrors.push(mirror);
                }
            }),
            Err(error) if error.class() == Class::User && !mirrors.is_empty() => {
                self.report.say(&format!("the host's own mirrors are not asked: {}", error.message()));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Releases have their hosts; Debian's archive has mirrors everywhere.
fn other_way(error: Error, released: bool) -> Error {
    match released && error.class() == Class::Network {
        true => error.hint("or bake what Debian's archive has of it: `--channel debian`"),
        false => error,
    }
}
