//! `kbake lock --set` and `--unset`: local files instead of artifacts and images.

use std::collections::BTreeSet;
use std::path::Path;

use super::paths::{clean, file_of_sources, lockfile_path};
use super::saved_image::{Folders, saved_image};
use crate::build;
use crate::cli::args::Lock as Args;
use crate::common::document::nearest;
use crate::common::error::{Class, Error, Result};
use crate::common::fsx;
use crate::common::value::{ArtifactName, Cancel};
use crate::spec::project::Channel;
use crate::spec::recipe::{Artifact, Install, Origin, Sources};
use crate::spec::upstream::{self, Choices, List, Own, OwnImage};

/// The choices of the command line, with the named files read.
pub(super) fn choices(
    args: &Args,
    upgrade: upstream::Upgrade,
    channel: &Channel,
    current: &Path,
    folder: &Path,
    cancel: &Cancel,
) -> Result<Choices> {
    let list = args.import.as_ref().map(|file| List::parse(&file.display().to_string(), &fsx::read_given_to_string(file)?)).transpose()?;
    let mut unset: BTreeSet<ArtifactName> = args.unset.iter().cloned().collect();
    let locked_own = || channel.lock.iter().flat_map(|lock| lock.artifacts.values()).filter(|entry| entry.is_own());
    for name in &unset {
        if let Some(artifact) = channel.sources.artifacts.get(name) {
            refuse_file_of_sources(name, artifact, &channel.sources)?;
        }
        let is_own_image = channel.lock.iter().any(|lock| lock.images.get(name).is_some_and(|image| image.is_own()));
        if !is_own_image && !locked_own().any(|entry| entry.name == *name) {
            return Err(Error::user(format!("`{name}` is not locked to a local file")).hint("there is nothing to unset"));
        }
    }
    let (mut own, mut own_images): (Vec<Own>, Vec<OwnImage>) = (Vec::new(), Vec::new());
    for (name, file) in &args.set {
        let is_set = own.iter().any(|other| other.name == *name) || own_images.iter().any(|other| other.name == *name);
        if unset.contains(name) || is_set {
            return Err(Error::new(Class::Usage, format!("`{name}` is set twice, or set and unset"))
                .hint("name it once, with `--set` or with `--unset`"));
        }
        match saved_image(name, file, channel, &Folders { current, project: folder }, cancel)? {
            Some(image) => own_images.push(image),
            None => own.push(own_file(name, file, channel, current, folder, cancel)?),
        }
    }
    let typed = |name: &ArtifactName| args.unset.contains(name) || args.set.iter().any(|(set, _)| set == name);
    // Setting or unsetting one artifact of an archive includes the other artifacts of the archive.
    for one in own.clone() {
        let Some((_, file)) = args.set.iter().find(|(set, _)| *set == one.name) else { continue };
        let mut file = fsx::open_read(&clean(&current.join(file)))?;
        let others = companions(&channel.sources, &one.name).into_iter().filter(|other| !typed(other));
        let fitting = others.filter(|other| build::check_own(&channel.sources, other, &mut file, &one.path).is_ok());
        own.extend(fitting.map(|name| Own { name, ..one.clone() }));
    }
    for name in &args.unset {
        let source = |name: &ArtifactName| locked_own().find(|entry| entry.name == *name).map(|entry| &entry.source);
        let others = companions(&channel.sources, name).into_iter();
        unset.extend(others.filter(|other| !typed(other) && source(other).is_some() && source(other) == source(name)));
    }
    Ok(Choices { upgrade, list, own, own_images, unset, tags: args.tags })
}

/// The note on a locked file that no recipe uses.
pub(super) fn unused(name: &ArtifactName, sources: &Sources) -> String {
    let found = format!("no recipe uses the artifact `{name}` of the channel `{}`: the file has no effect", sources.channel);
    let way = match sources.images.contains_key(name) {
        true => format!("to set the container image `{name}`, name an archive from `docker save`"),
        false => format!("a role or part uses it with `artifacts = [\"{name}\"]`"),
    };
    format!("{found}; {way}")
}

/// The other artifacts in the same archive of the publisher.
fn companions(sources: &Sources, name: &ArtifactName) -> Vec<ArtifactName> {
    let archive = |artifact: &Artifact| match (&artifact.origin, &artifact.install) {
        (Origin::Release(release), Install::Unpack(_)) => Some((release.version.value.clone(), release.url.value.clone())),
        _ => None,
    };
    let Some(of_name) = sources.artifacts.get(name).and_then(archive) else { return Vec::new() };
    let same = |(other, artifact): &(&ArtifactName, &Artifact)| *other != name && archive(artifact).as_ref() == Some(&of_name);
    sources.artifacts.iter().filter(same).map(|(other, _)| other.clone()).collect()
}

/// Refuses to set or unset a file that the sources name: every `kbake lock` reads it again anyway.
fn refuse_file_of_sources(name: &ArtifactName, artifact: &Artifact, sources: &Sources) -> Result<()> {
    let Some(path) = file_of_sources(artifact) else { return Ok(()) };
    let error = artifact.place.error(format!("`{name}` is a project file in this channel: {path}"));
    Err(error.hint(format!("replace the file, or change its `path`; then run `kbake lock --channel {}`", sources.channel)))
}

/// A local file instead of an artifact.
fn own_file(name: &ArtifactName, file: &Path, channel: &Channel, current: &Path, folder: &Path, cancel: &Cancel) -> Result<Own> {
    let sources = &channel.sources;
    let Some(artifact) = sources.artifacts.get(name) else {
        let error = Error::user(format!("the channel `{}` has no artifact `{name}`", sources.channel));
        return Err(match nearest(name.as_str(), sources.artifacts.keys().map(ArtifactName::as_str)) {
            Some(meant) => error.hint(format!("did you mean `{meant}`?")),
            None => error.hint(format!("describe it in {}: `[artifact.{name}]`", sources.file)),
        });
    };
    refuse_file_of_sources(name, artifact, sources)?;
    if let Origin::Package { package, .. } = &artifact.origin {
        let error = artifact.place.error(format!("`{name}` comes from the package `{}` in this channel", package.value));
        return Err(error.hint("to use a local file, give the artifact's table `path` and `install` instead of `package`"));
    }
    let shown = file.display();
    let path = clean(&current.join(file));
    match fsx::facts_followed(&path)?.map(|facts| facts.kind) {
        Some(fsx::Kind::Folder) => {
            let error = Error::user(format!("{shown} is a folder, but an artifact is a single file"));
            return Err(error.hint("to use a folder with copies of many releases as a mirror: `--rewrite https://HOST/=file:///FOLDER/`"));
        }
        Some(fsx::Kind::Other | fsx::Kind::Link) => return Err(Error::user(format!("{shown} is a device, pipe or socket, not a file"))),
        Some(fsx::Kind::File) | None => {}
    }
    let (sha256, size) = fsx::digest_if_present(&path, cancel)?.ok_or_else(|| Error::user(format!("{shown} does not exist")))?;
    if size == 0 {
        return Err(Error::user(format!("{shown} is empty")));
    }
    build::check_own(sources, name, &mut fsx::open_read(&path)?, &shown.to_string())?;
    // A path inside the project is stored relative, so that it is valid in every checkout.
    let project = clean(&current.join(folder));
    // A link that leads out of the project is stored like any other path outside: valid only on this machine.
    let inside = path.strip_prefix(&project).ok().filter(|inside| fsx::Inside::find(&project, inside).is_ok_and(|found| found.is_some()));
    let inside = inside.map_or_else(|| path.clone(), Path::to_owned);
    let path = lockfile_path(&inside, file)?;
    Ok(Own { name: name.clone(), path, sha256, size })
}
