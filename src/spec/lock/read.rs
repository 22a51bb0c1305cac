//! Text → lock. Refuses text that `kbake lock` never writes, where it could mislead.

use std::collections::{BTreeMap, BTreeSet};

use crate::Result;
use crate::common::document::{self, Located, Place, Section};
use crate::common::value::{PackageArch, PackageName};

use super::order::{Order, Seen, relock_command};
use super::{Entry, FORMAT, Lock, LockedSuite, SetName, WantedSuite, artifact};

/// The remedy for a lockfile full of conflict markers.
fn remedy(file: &str) -> String {
    format!(
        "take one side of the whole file (`git checkout --theirs -- {file}`), then run `{}`: it completes the rest from the recipes",
        relock_command(file)
    )
}

pub(super) fn lock(text: &str, file: &str, order: Order) -> Result<Lock> {
    let mut root = document::open(file, text, &remedy(file))?;
    format(&mut root, file)?;
    root.only(&["channel", "arch", "suite", "request", "artifact", "image", "package"])?;
    let channel = root.required("channel")?.value;
    let arch = root.required("arch")?.value;
    let suites = suites(&mut root)?;
    let request = match root.section("request")? {
        Some(section) => request(section)?,
        None => return Err(root.missing("request")),
    };
    let artifacts = artifact::artifacts(&mut root, file, order)?;
    let images = artifact::images(&mut root, file, order)?;
    let mut entries: BTreeMap<(PackageName, PackageArch), Entry> = BTreeMap::new();
    let mut seen = Seen::new(file, order);
    for section in root.sections("package")? {
        let (entry, place) = self::entry(section, &request)?;
        if !suites.iter().any(|locked| locked.suite.archive == entry.archive) {
            return Err(place.error(format!("no `[[suite]]` is in the archive `{}` of `{}`", entry.archive, entry.name)));
        }
        let key = (entry.name.clone(), entry.arch);
        seen.add(key.clone(), &place, &format!("`{}` ({})", entry.name, entry.arch))?;
        entries.insert(key, entry);
    }
    Ok(Lock { channel, suites, arch, request, entries, artifacts, images })
}

/// Checks the format first, so that keys of a newer kbake are not called misspelt.
fn format(root: &mut Section, file: &str) -> Result<()> {
    let found = root.number("format")?;
    match found.value {
        FORMAT => Ok(()),
        newer if newer > FORMAT => {
            let error = found.place.error(format!("`{file}` has the lock format {newer}; this kbake knows up to {FORMAT}"));
            Err(error.hint("use the newer kbake that wrote it"))
        }
        other => {
            let error = found.place.error(format!("`{file}` has the lock format {other}, which this kbake no longer reads"));
            Err(error.hint(format!("remove it, then run `{}`: it locks the current versions", relock_command(file))))
        }
    }
}

/// Parses all `[[suite]]` tables of a lockfile; there is at least one.
fn suites(root: &mut Section) -> Result<Vec<LockedSuite>> {
    let mut found: Vec<LockedSuite> = Vec::new();
    for mut section in root.sections("suite")? {
        section.only(&["name", "archive", "components", "released"])?;
        let place = section.place().clone();
        let suite = WantedSuite {
            name: section.required("name")?.value,
            archive: section.required("archive")?.value,
            components: distinct(section.list("components")?, "component")?,
        };
        if found.iter().any(|other| other.suite.name == suite.name) {
            return Err(place.error(format!("the suite `{}` is listed twice", suite.name)));
        }
        found.push(LockedSuite { suite, released: section.optional("released")?.map(|released| released.value) });
    }
    if found.is_empty() { Err(root.missing("suite")) } else { Ok(found) }
}

fn request(mut section: Section) -> Result<BTreeMap<SetName, BTreeSet<PackageName>>> {
    let mut sets = BTreeMap::new();
    for key in section.key_names() {
        let place = section.key_place(&key).unwrap_or_else(|| section.place().clone());
        let set = key.parse::<SetName>().map_err(|reason| place.error(format!("bad set in `[request]`: {reason}")))?;
        sets.insert(set, distinct(section.list(&key)?, "package")?);
    }
    Ok(sets)
}

fn distinct<T: Ord + std::fmt::Display>(items: Vec<Located<T>>, what: &str) -> Result<BTreeSet<T>> {
    let mut set = BTreeSet::new();
    for item in items {
        if set.contains(&item.value) {
            return Err(item.place.error(format!("the {what} `{}` is listed twice", item.value)));
        }
        set.insert(item.value);
    }
    Ok(set)
}

/// A package's entry, and the place of its name.
fn entry(mut section: Section, request: &BTreeMap<SetName, BTreeSet<PackageName>>) -> Result<(Entry, Place)> {
    section.only(&["name", "version", "arch", "source-version", "archive", "source", "size", "sha256", "verified", "sets"])?;
    let name = section.required::<PackageName>("name")?;
    let sets = section.list::<SetName>("sets")?;
    if sets.is_empty() {
        return Err(section.missing("sets"));
    }
    if let Some(unknown) = sets.iter().find(|set| !request.contains_key(&set.value)) {
        return Err(unknown.place.error(format!("the set `{}` of `{}` is not in `[request]`", unknown.value, name.value)));
    }
    let size = section.number("size")?;
    if size.value == 0 {
        return Err(size.place.error(format!("`{}` cannot have no bytes", name.value)));
    }
    let entry = Entry {
        name: name.value,
        version: section.required("version")?.value,
        arch: section.required("arch")?.value,
        source_version: section.optional("source-version")?.map(|version| version.value),
        archive: section.required("archive")?.value,
        source: section.required("source")?.value,
        size: size.value,
        sha256: section.required("sha256")?.value,
        verified: section.required("verified")?.value,
        sets: distinct(sets, "set")?,
    };
    Ok((entry, name.place))
}
