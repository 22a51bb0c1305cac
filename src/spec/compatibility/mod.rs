//! Compatibility of a channel's versions, according to the table `recipes/compatibility.toml`. Pure: texts come in by name.

mod table;
#[cfg(test)]
mod tests;

use crate::common::document::Place;
use crate::common::value::{ArtifactName, ReleaseVersion};
use crate::spec::recipe::{ImageContent, Origin, Release, Sources, version};
use crate::{Error, Result};

pub use table::Table;
pub(crate) use table::{Broken, Minor, Needs, Skew};

/// The table's place in a project.
pub(crate) const FILE: &str = "recipes/compatibility.toml";

/// The program whose version is Kubernetes' own; the others are compared with it.
const SERVER: &str = "kube-apiserver";

/// A version of the channel, and its place.
struct Found<'a> {
    version: &'a ReleaseVersion,
    /// Its line in `[versions]`.
    place: &'a Place,
}

/// Checks a channel's versions against the table. Returns warnings.
///
/// # Errors
/// The first incompatible version: its place, the expected range, and the change to make.
pub(crate) fn check(table: &Table, sources: &Sources) -> Result<Vec<String>> {
    let mut names: Vec<&ArtifactName> = sources.artifacts.keys().chain(sources.images.keys()).collect();
    names.sort();
    names.dedup();
    for name in &names {
        if let Some(found) = version_of(sources, name)? {
            check_broken(table, name, &found)?;
        }
    }
    let server = names.iter().find(|name| name.as_str() == SERVER);
    let Some(server) = server.map(|name| version_of(sources, name)).transpose()?.flatten() else { return Ok(Vec::new()) };
    let minor = Minor::of(server.version);
    for (name, skew) in &table.skew {
        if let Some(found) = version_of(sources, name)? {
            check_skew(table, name, &found, *skew, &server)?;
        }
    }
    let Some(needs) = table.kubernetes.get(&minor) else {
        let known = table.kubernetes.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let place = server.place;
        return Ok(vec![format!("{place}: compatible versions for Kubernetes {minor} are not known; {} has {known}", table.file)]);
    };
    for (name, first_good) in &needs.first_good {
        if let Some(found) = version_of(sources, name)? {
            check_first_good(table, name, &found, first_good, &server)?;
        }
    }
    for name in &needs.same_minor {
        if let Some(found) = version_of(sources, name)?
            && Minor::of(found.version) != minor
        {
            return Err(wrong(table, name, &found, &server, format!("{minor}.x: its minor version is Kubernetes' own")));
        }
    }
    kubeadm_warnings(sources, needs, &minor)
}

/// The version of the first of `names` that the channel has, as a released artifact or a container image.
///
/// # Errors
/// A version that `[versions]` lacks.
pub(crate) fn release(sources: &Sources, names: &[&str]) -> Result<Option<ReleaseVersion>> {
    for name in names {
        let name: ArtifactName = name.parse().map_err(Error::internal)?;
        if let Some(found) = version_of(sources, &name)? {
            return Ok(Some(found.version.clone()));
        }
    }
    Ok(None)
}

/// The version of a released artifact or a container image.
fn version_of<'a>(sources: &'a Sources, name: &ArtifactName) -> Result<Option<Found<'a>>> {
    let origin = sources.artifacts.get(name).map(|artifact| &artifact.origin);
    let image = sources.images.get(name);
    let released = match (origin, image) {
        (Some(Origin::Release(Release { version, .. }) | Origin::Path { version: Some(version), .. }), _) => Some(version),
        // A pulled image is independent of an artifact of its name.
        (None, Some(image)) => image.version.as_ref(),
        (_, Some(image)) if image.content == ImageContent::Pulled => image.version.as_ref(),
        // A user's own build without a version cannot be checked; a package's version is the archive's affair.
        _ => None,
    };
    let Some(key) = released else { return Ok(None) };
    let version = version(&sources.versions, key)?;
    let place = sources.versions.get(&key.value).map_or(&key.place, |located| &located.place);
    Ok(Some(Found { version, place }))
}

fn check_broken(table: &Table, name: &ArtifactName, found: &Found<'_>) -> Result<()> {
    let hit = table.broken.iter().find(|broken| broken.name == *name && (&broken.from..=&broken.to).contains(&found.version));
    let Some(Broken { from, to, good, why, .. }) = hit else { return Ok(()) };
    let error = found.place.error(format!("{name} {} must not be used: {why}", found.version));
    Err(error
        .detail(format!("broken: {from} to {to}; the first good one is {good} ({})", table.file))
        .hint(format!("set it to {good} or newer, and run `kbake lock`")))
}

fn check_skew(table: &Table, name: &ArtifactName, found: &Found<'_>, skew: Skew, server: &Found<'_>) -> Result<()> {
    let (minor, of_server) = (Minor::of(found.version), Minor::of(server.version));
    let lowest = Minor(of_server.0, of_server.1.saturating_sub(skew.behind));
    let highest = Minor(of_server.0, of_server.1.saturating_add(skew.ahead));
    if (lowest..=highest).contains(&minor) {
        return Ok(());
    }
    let expected = if lowest == highest { format!("{lowest}.x") } else { format!("{lowest}.x to {highest}.x") };
    Err(wrong(table, name, found, server, expected))
}

/// Each release line has its own first good version; lines newer than all of them are good.
fn check_first_good(
    table: &Table,
    name: &ArtifactName,
    found: &Found<'_>,
    first_good: &[ReleaseVersion],
    server: &Found<'_>,
) -> Result<()> {
    let line = Minor::of(found.version);
    let good = match first_good.iter().find(|first| Minor::of(first) == line) {
        Some(first) => found.version >= first,
        None => first_good.iter().all(|first| Minor::of(first) < line),
    };
    if good {
        return Ok(());
    }
    let expected = first_good.iter().map(|first| format!("{first} or newer of {}", Minor::of(first))).collect::<Vec<_>>().join(", ");
    Err(wrong(table, name, found, server, format!("{expected}, or a newer line")))
}

fn wrong(table: &Table, name: &ArtifactName, found: &Found<'_>, server: &Found<'_>, expected: String) -> Error {
    let error = found.place.error(format!("{name} {} is not compatible with Kubernetes {}", found.version, server.version));
    error
        .detail(format!("expected {expected}; found {}", found.version))
        .hint("change it in `[versions]`, and run `kbake lock`")
        .hint(format!("if the publishers now say otherwise, change {}", table.file))
}

/// Warnings about images that kubeadm would pull from the network, because the channel preloads other versions.
fn kubeadm_warnings(sources: &Sources, needs: &Needs, minor: &Minor) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for (name, tag) in &needs.kubeadm {
        let Some(image) = sources.images.get(name).filter(|image| !matches!(image.content, ImageContent::Absent(_))) else { continue };
        let reference = image.full_name(&sources.versions)?;
        if reference.tag() != tag {
            warnings.push(format!(
                "{}: kubeadm {minor} asks for `{name}` with the tag {tag}; the channel has {reference}, so name it in kubeadm's configuration",
                image.place
            ));
        }
    }
    Ok(warnings)
}
