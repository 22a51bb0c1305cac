//! Bills of materials with the contents of their items: Go modules in programs, Python distributions, packages in container
//! images.
//!
//! Reads the locked bytes in the store, never results built from them, so the text does not depend on whether the image was
//! built. Fetches, installs and writes nothing.

mod items;
mod look;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;

use rayon::prelude::*;

pub(super) use self::items::built_without_modules;
use self::items::{Items, parent};
use super::sbom;
use crate::build::sbom::{Bill, container_id, file_id, package_id};
use crate::build::{Bake, InputKind, Resolved};
use crate::common::error::{Error, Result};
use crate::common::value::{Digest, TreePath};
use crate::spec::lock::Entry;
use crate::spec::plan::{Extraction, FileSource, PlannedKind, PulledImage};
use crate::spec::project::LargeFile;

/// The number of missing inputs that are listed; more are counted.
const LISTED: usize = 20;

/// An item of the bill to inspect.
struct Job<'a> {
    /// The item's id in the bill.
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
    /// A recipe's file that the plan has inline.
    Text(&'a [u8]),
    /// A recipe's large file in the project.
    File(&'a LargeFile),
}

/// The places in the image of an item's files.
enum Places {
    /// All files, at their own paths.
    Root,
    /// All files, in the archive at this path.
    In(TreePath),
    /// The item is one file, at these paths.
    Itself(Vec<String>),
    /// Some files, by their names in the item without the first `strip` folders.
    Members { strip: u32, members: BTreeMap<String, Vec<String>> },
}

impl Bake<'_> {
    /// The bill of a role's image with the contents of its items. The text does not depend on whether the image was built.
    ///
    /// # Errors
    /// An input is not in the store, or is damaged.
    pub fn bill(&self, resolved: &Resolved) -> Result<Bill> {
        self.bill_for(resolved, "--contents", "run `kbake fetch` first, or omit --contents")
    }

    /// [`Bake::bill`] for a command that is called `reader` in the error for missing inputs, with its own `hint`.
    pub(in crate::build) fn bill_for(&self, resolved: &Resolved, reader: &str, hint: &str) -> Result<Bill> {
        self.require_inputs(resolved, reader, hint)?;
        let jobs = jobs(resolved);
        let look = |job: &Job| self.cancel.check().and_then(|()| look::look(self, job));
        let inside: Result<Vec<_>> = jobs.par_iter().map(look).collect();
        let mut items = Items::of(sbom::items(resolved));
        for (job, inside) in jobs.iter().zip(inside?) {
            parent(resolved, job, &inside, &mut items);
        }
        Ok(sbom::of(resolved, items.into_list()))
    }

    /// Fails unless the store has all inputs of an image.
    fn require_inputs(&self, resolved: &Resolved, reader: &str, hint: &str) -> Result<()> {
        let inputs = self.inputs(resolved)?;
        let absent = inputs.iter().filter(|input| input.kind != InputKind::Tool && input.blob.is_none());
        let missing: Vec<String> = absent.map(|input| format!("{}  {}", input.name(), input.digest())).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (count, role) = (missing.len(), resolved.plan.role());
        let verb = if count == 1 { "input of `{role}` is" } else { "inputs of `{role}` are" }.replace("{role}", role.as_str());
        let error = Error::user(format!("{count} {verb} not in the store; {reader} reads all of them"));
        let more = count.saturating_sub(LISTED);
        let error = missing.into_iter().take(LISTED).fold(error, Error::detail);
        let error = if more > 0 { error.detail(format!("and {more} more")) } else { error };
        Err(error.hint(hint))
    }
}

/// All items to inspect.
fn jobs(resolved: &Resolved) -> Vec<Job<'_>> {
    let package = |entry| Job { id: package_id(entry), thing: Thing::Package(entry), places: Places::Root };
    let mut jobs: Vec<Job> = resolved.packages.iter().map(package).collect();
    let mut archives: BTreeMap<(String, Digest, u32), BTreeMap<String, Vec<String>>> = BTreeMap::new();
    let mut whole: BTreeMap<(String, Digest), Vec<String>> = BTreeMap::new();
    let mut extract = |id: String, extract: &FileSource, place: String| match extract {
        FileSource::Whole(digest) => whole.entry((id, *digest)).or_default().push(place),
        FileSource::Member { archive, strip, member } => {
            archives.entry((id, *archive, *strip)).or_default().entry(member.clone()).or_default().push(place);
        }
    };
    for (path, node) in resolved.plan.files() {
        let name = resolved.origins.files.get(path).and_then(sbom::artifact);
        let file = |thing| Job { id: file_id(path), thing, places: Places::Itself(vec![path.to_string()]) };
        match (&node.kind, name) {
            (PlannedKind::Extraction(Extraction::File(from)), Some(name)) => extract(sbom::id(resolved, name), from, path.to_string()),
            (PlannedKind::Extraction(Extraction::Built(image, _)), Some(name)) => {
                image.files.iter().for_each(|(inner, from)| extract(sbom::id(resolved, name), from, format!("{path}:{inner}")));
            }
            (PlannedKind::Extraction(Extraction::Pulled(image, _)), _) => {
                jobs.push(Job { id: container_id(&image.reference), thing: Thing::Image(image), places: Places::In(path.clone()) });
            }
            (PlannedKind::Named { digest, .. }, _) => {
                jobs.extend(resolved.sources.iter().find(|file| file.digest == *digest).map(|found| file(Thing::File(found))));
            }
            (PlannedKind::File(bytes), _) if sbom::is_recipes(resolved, path) => jobs.push(file(Thing::Text(bytes))),
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
