//! Entries that a channel takes over from the lockfiles of the channels that it is based on.
//!
//! An entry is taken over where both channels want the same version from the same address and the base's lockfile has just that.
//! So a derived channel asks publishers only for what it changes, and its lock follows from the project's text alone.

use std::collections::{BTreeMap, BTreeSet};

use super::request::Wanted;
use super::{ArtifactSource, Lock, Request};
use crate::Result;
use crate::recipe::{ChannelName, Sources};
use crate::value::ArtifactName;

/// A channel that another one is based on.
#[derive(Debug, Clone)]
pub struct Base {
    /// Its sources.
    pub sources: Sources,
    /// Its lockfile.
    pub lock: Lock,
}

/// The lock from which a channel's own one is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inherited {
    /// The channel's own lock with the entries that it takes over; none where there is nothing to begin with.
    pub lock: Option<Lock>,
    /// How many artifacts and images come from which channel.
    pub taken: BTreeMap<ChannelName, usize>,
    /// The channel whose packages are a new lock's first ones.
    pub packages: Option<ChannelName>,
    /// Entries that a base's lockfile has otherwise than its own sources say, by channel. They are not taken over.
    pub stale: BTreeMap<ChannelName, Vec<String>>,
}

/// The channel's lock `own` with the entries of `bases`, the nearest first. Files of the user's own that a base has in
/// an artifact's place are taken over too, but for the names in `given_back`.
///
/// # Errors
/// Sources that contradict themselves.
pub fn inherit(own: Option<&Lock>, bases: &[Base], request: &Request, given_back: &BTreeSet<ArtifactName>) -> Result<Inherited> {
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

/// The packages of the nearest base whose lock is of the wanted archive, as a lock of the channel without artifacts and images.
fn packages(bases: &[Base], request: &Request) -> (Option<Lock>, Option<ChannelName>) {
    if bases.is_empty() {
        return (None, None);
    }
    let (artifacts, images) = (BTreeMap::new(), BTreeMap::new());
    let channel = request.channel.clone();
    let fits = |lock: &Lock| (&lock.suite, &lock.components, lock.arch) == (&request.suite, &request.components, request.arch);
    match bases.iter().find(|base| fits(&base.lock)) {
        Some(base) => (Some(Lock { channel, artifacts, images, ..base.lock.clone() }), Some(base.sources.channel.clone())),
        None => {
            let Request { suite, components, arch, .. } = request.clone();
            // Without a request, nothing counts as resolved.
            let (request, entries) = (BTreeMap::new(), BTreeMap::new());
            (Some(Lock { channel, suite, components, arch, request, entries, artifacts, images }), None)
        }
    }
}

fn same_archive(lock: &Lock, sources: &Sources) -> bool {
    let components: BTreeSet<_> = sources.components.iter().map(|component| &component.value).collect();
    lock.suite == sources.suite.value && lock.components.iter().collect::<BTreeSet<_>>() == components && lock.arch == sources.arch
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
            // A file that was set there is no mistake.
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
