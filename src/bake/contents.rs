//! A bill of materials with what is in the things themselves: Go's modules in programs, Python's distributions, the packages of
//! container images.
//!
//! The locked bytes are read, as they are in the store, and never what was built of them: so it does not show in the text whether the
//! image was built. Nothing is fetched, installed or written.

mod items;
mod look;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rayon::prelude::*;

use self::items::{Items, parent};
use super::{Bake, InputKind, Resolved, bill};
use crate::error::{Error, Result};
use crate::lock::Entry;
use crate::plan::{Extract, Made, PlannedKind, PulledImage};
use crate::project::LargeFile;
use crate::sbom::{Bill, container_id, file_id, package_id};
use crate::value::{Digest, TreePath};

/// More missing inputs than these are counted, not listed.
const LISTED: usize = 20;

/// A thing of the bill that is looked into.
struct Job<'a> {
    /// Its name in the bill.
    id: String,
    thing: Thing<'a>,
    places: Places,
}

enum Thing<'a> {
    Package(&'a Entry),
    /// An artifact that is one file.
    Artifact(Digest),
    Archive(Digest),
    Image(&'a PulledImage),
    /// A recipe's file, as the plan holds it.
    Text(&'a [u8]),
    /// A recipe's file, as it is in the project.
    File(&'a LargeFile),
}

/// The places in the image that the files of a thing have.
enum Places {
    /// All of them, at their own paths.
    Root,
    /// All of them, in the archive at this path.
    In(TreePath),
    /// The thing itself, wherever.
    Itself(Vec<String>),
    /// Some of them, by their names in the thing once the first `strip` folders are gone.
    Members { strip: u32, members: BTreeMap<String, Vec<String>> },
}

impl Bake<'_> {
    /// The bill of a role's image with the contents of its items: the same text whether the image was built or its inputs were only fetched.
    ///
    /// # Errors
    /// An input that is not in the store; one that is damaged.
    pub fn bill(&self, resolved: &Resolved) -> Result<Bill> {
        self.require_inputs(resolved)?;
        let jobs = jobs(resolved);
        let look = |job: &Job| self.cancel.check().and_then(|()| look::look(self, job));
        let inside: Result<Vec<_>> = jobs.par_iter().map(look).collect();
        let mut items = Items::of(bill::items(resolved));
        for (job, inside) in jobs.iter().zip(inside?) {
            parent(resolved, job, &inside, &mut items);
        }
        Ok(bill::of(resolved, items.into_list()))
    }

    /// Fails unless all that an image is made of is in the store.
    fn require_inputs(&self, resolved: &Resolved) -> Result<()> {
        let inputs = self.inputs(resolved)?;
        let absent = inputs.iter().filter(|input| input.kind != InputKind::Tool && input.blob.is_none());
        let mut missing: Vec<String> = absent.map(|input| format!("{}  {}", input.want.name, input.want.digest)).collect();
        for (digest, own) in &resolved.artifacts.own {
            if self.store.resolve(digest, None)?.is_none() {
                missing.push(format!("{}  {digest}", own.name));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let (count, role) = (missing.len(), resolved.plan.role());
        let verb = if count == 1 { "input of `{role}` is" } else { "inputs of `{role}` are" }.replace("{role}", role.as_str());
        let error = Error::user(format!("{count} {verb} not in the store, and --contents looks into all of them"));
        let more = count.saturating_sub(LISTED);
        let error = missing.into_iter().take(LISTED).fold(error, Error::detail);
        let error = if more > 0 { error.detail(format!("and {more} more")) } else { error };
        Err(error.hint("run `kbake fetch` first, or leave --contents out"))
    }
}

/// Everything that is looked into.
fn jobs(resolved: &Resolved) -> Vec<Job<'_>> {
    let package = |entry| Job { id: package_id(entry), thing: Thing::Package(entry), places: Places::Root };
    let mut jobs: Vec<Job> = resolved.packages.iter().map(package).collect();
    let mut archives: BTreeMap<(String, Digest, u32), BTreeMap<String, Vec<String>>> = BTreeMap::new();
    let mut whole: BTreeMap<(String, Digest), Vec<String>> = BTreeMap::new();
    let mut extract = |id: String, extract: &Extract, place: String| match extract {
        Extract::Whole(digest) => whole.entry((id, *digest)).or_default().push(place),
        Extract::Member { archive, strip, member } => {
            archives.entry((id, *archive, *strip)).or_default().entry(member.clone()).or_default().push(place);
        }
    };
    for (path, node) in resolved.plan.files() {
        let name = resolved.origins.files.get(path).and_then(bill::artifact);
        let file = |thing| Job { id: file_id(path), thing, places: Places::Itself(vec![path.to_string()]) };
        match (&node.kind, name) {
            (PlannedKind::Made(Made::Extract(from)), Some(name)) => extract(bill::id(resolved, name), from, path.to_string()),
            (PlannedKind::Made(Made::Built(image, _)), Some(name)) => {
                image.files.iter().for_each(|(inner, from)| extract(bill::id(resolved, name), from, format!("{path}:{inner}")));
            }
            (PlannedKind::Made(Made::Pulled(image, _)), _) => {
                jobs.push(Job { id: container_id(&image.reference), thing: Thing::Image(image), places: Places::In(path.clone()) });
            }
            (PlannedKind::Named { digest, .. }, _) => {
                jobs.extend(resolved.sources.iter().find(|file| file.digest == *digest).map(|found| file(Thing::File(found))));
            }
            (PlannedKind::File(bytes), _) if bill::is_recipes(resolved, path) => jobs.push(file(Thing::Text(bytes))),
            _ => {}
        }
    }
    jobs.extend(archives.into_iter().map(|((id, digest, strip), members)| Job {
        id,
        thing: Thing::Archive(digest),
        places: Places::Members { strip, members },
    }));
    jobs.extend(whole.into_iter().map(|((id, digest), places)| Job { id, thing: Thing::Artifact(digest), places: Places::Itself(places) }));
    jobs
}
