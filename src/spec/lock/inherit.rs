//! Lock entries that a channel inherits from the lockfiles of the channels that it is based on.
//!
//! An entry is inherited if both channels want the same version from the same address and the base's lockfile has exactly that.
//! So a derived channel asks publishers only about its own changes, and its lock follows from the project's text alone.

use std::collections::{BTreeMap, BTreeSet};

use super::request::Wanted;
use super::{ArtifactSource, Lock, Request, WantedSuite, suite};
use crate::Result;
use crate::common::value::ArtifactName;
use crate::spec::recipe::{ChannelName, Sources};

/// A channel that another one is based on.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    /// Its sources.
    pub sources: Sources,
    /// Its lockfile.
    pub lock: Lock,
}

/// The starting point for a channel's new lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inherited {
    /// The channel's own lock with the inherited entries; none if there are no entries to begin with.
    pub lock: Option<Lock>,
    /// The number of artifacts and images from each channel.
    pub taken: BTreeMap<ChannelName, usize>,
    /// The channel from which a new lock takes its first packages.
    pub packages: Option<ChannelName>,
    /// Entries of a base's lockfile that contradict its own sources, by channel. They are not inherited.
    pub stale: BTreeMap<ChannelName, Vec<String>>,
}

/// The channel's lock `own` with the entries of `bases`, the nearest first. Files of the user's that replace an artifact in a
/// base are inherited too, except for the names in `given_back`.
///
/// # Errors
/// Inconsistent sources.
pub(crate) fn inherit(own: Option<&Lock>, bases: &[Base], request: &Request, given_back: &BTreeSet<ArtifactName>) -> Result<Inherited> {
    let mut found = Inherited { lock: own.cloned(), ..Inherited::default() };
    if own.is_none() {
        (found.lock, found.packages) = packages(bases, request);
    }
    let Some(mut lock) = found.lock.take() else { return Ok(found) };
    for base in bases {
        let name = &base.sources.channel;
        let (mut taken, mut stale) = (0, Vec::new());
        if own.is_none() && !same_archive(&base.lock, &base.sources) {
            stale.push("packages".to_owned());
        }
        let theirs = Wanted::of_channel(&base.sources)?;
        artifacts(&mut lock, base, &theirs, request, given_back, (&mut taken, &mut stale));
        images(&mut lock, base, &theirs, request, given_back, (&mut taken, &mut stale));
        if taken > 0 {
            found.taken.insert(name.clone(), taken);
        }
        if !stale.is_empty() {
            found.stale.insert(name.clone(), stale);
        }
    }
    found.lock = Some(lock);
    Ok(found)
}

/// The packages of the nearest base whose lock is of the same archive, as a lock of the channel without artifacts and images.
fn packages(bases: &[Base], request: &Request) -> (Option<Lock>, Option<ChannelName>) {
    if bases.is_empty() {
        return (None, None);
    }
    let (artifacts, images) = (BTreeMap::new(), BTreeMap::new());
    let channel = request.channel.clone();
    let fits = |lock: &Lock| suite::are_same(&request.suites, &lock.suites) && lock.arch == request.arch;
    match bases.iter().find(|base| fits(&base.lock)) {
        Some(base) => (Some(Lock { channel, artifacts, images, ..base.lock.clone() }), Some(base.sources.channel.clone())),
        None => {
            let suites = request.unresolved();
            // Without a request, nothing counts as resolved.
            let (arch, request, entries) = (request.arch, BTreeMap::new(), BTreeMap::new());
            (Some(Lock { channel, suites, arch, request, entries, artifacts, images }), None)
        }
    }
}

fn same_archive(lock: &Lock, sources: &Sources) -> bool {
    let suites: Vec<WantedSuite> = sources.suites.iter().map(WantedSuite::of).collect();
    suite::are_same(&suites, &lock.suites) && lock.arch == sources.arch
}

type Tally<'a> = (&'a mut usize, &'a mut Vec<String>);

fn artifacts(lock: &mut Lock, base: &Base, theirs: &Wanted, request: &Request, given_back: &BTreeSet<ArtifactName>, tally: Tally<'_>) {
    for (key, want) in &request.artifacts {
        let is_set = |own: bool| own && !given_back.contains(&key.0) && matches!(want.source, ArtifactSource::Url(_));
        let does = |entry: &super::LockedArtifact| want.is_met_by(entry) || is_set(entry.is_own());
        if lock.artifacts.get(key).is_some_and(does) || theirs.artifacts.get(key) != Some(want) {
            continue;
        }
        match base.lock.artifacts.get(key) {
            Some(entry) if does(entry) => {
                lock.artifacts.insert(key.clone(), entry.clone());
                *tally.0 += 1;
            }
            // A user's own file is intentional.
            Some(entry) if !entry.is_own() => tally.1.push(format!("artifact `{}`", key.0)),
            Some(_) | None => {}
        }
    }
}

fn images(lock: &mut Lock, base: &Base, theirs: &Wanted, request: &Request, given_back: &BTreeSet<ArtifactName>, tally: Tally<'_>) {
    for (name, reference) in &request.images {
        let does = |entry: &super::LockedImage| match entry.is_own() {
            true => !given_back.contains(name),
            false => entry.reference == *reference,
        };
        if lock.images.get(name).is_some_and(does) || theirs.images.get(name) != Some(reference) {
            continue;
        }
        match base.lock.images.get(name) {
            Some(entry) if does(entry) => {
                lock.images.insert(name.clone(), entry.clone());
                *tally.0 += 1;
            }
            Some(entry) if !entry.is_own() => tally.1.push(format!("image `{name}`")),
            Some(_) | None => {}
        }
    }
}
