//! `kbake lock --set IMAGE=FILE`: a saved archive instead of a container image from a registry.

use std::path::{Path, PathBuf};

use super::paths::{clean, lockfile_path};
use crate::build;
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::value::{ArtifactName, Cancel};
use crate::spec::project::Channel;
use crate::spec::upstream::OwnImage;

/// The folders for resolving a typed path and for its form in a lockfile.
pub(super) struct Folders<'a> {
    /// The current folder.
    pub current: &'a Path,
    /// The project's folder.
    pub project: &'a Path,
}

/// The archive `file` for the image `name`; none if the channel has no such image, or if the file is meant for the artifact of
/// the same name. A `#` after the file selects one of several images in the archive.
///
/// # Errors
/// The archive does not exist, or has no such image for the channel's architecture.
pub(super) fn saved_image(
    name: &ArtifactName,
    file: &Path,
    channel: &Channel,
    folders: &Folders<'_>,
    cancel: &Cancel,
) -> Result<Option<OwnImage>> {
    let sources = &channel.sources;
    let Some(image) = sources.images.get(name) else { return Ok(None) };
    let (file, wanted) = split(file, folders.current)?;
    let path = clean(&folders.current.join(&file));
    let is_there = fsx::facts_followed(&path)?.is_some_and(|facts| facts.kind == fsx::Kind::File);
    if sources.artifacts.contains_key(name) && !(is_there && (wanted.is_some() || build::is_image_archive(&path, cancel)?)) {
        return Ok(None);
    }
    if !is_there {
        return Err(Error::user(format!("{} does not exist or is not a regular file", file.display()))
            .hint("`docker save`, `podman save` or `skopeo copy docker://IMAGE oci-archive:FILE` write an image's archive"));
    }
    let reference = image.full_name(&sources.versions)?;
    let manifest = build::choose_image(&path, wanted.as_deref(), sources.arch, &reference, cancel)?;
    // A path inside the project is stored relative, so that it is valid in every checkout.
    let inside = path.strip_prefix(clean(&folders.current.join(folders.project))).map(Path::to_owned).unwrap_or(path);
    let path = lockfile_path(&inside, &file)?;
    Ok(Some(OwnImage { name: name.clone(), reference, path, manifest }))
}

/// Splits a typed path at its last `#`, unless a file of the whole name exists.
fn split(typed: &Path, current: &Path) -> Result<(PathBuf, Option<String>)> {
    let parts = typed.to_str().and_then(|text| text.rsplit_once('#')).filter(|(_, wanted)| !wanted.is_empty());
    Ok(match parts {
        Some((file, wanted)) if !fsx::exists(&current.join(typed))? => (file.into(), Some(wanted.to_owned())),
        _ => (typed.to_owned(), None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_name_may_follow_the_file() {
        let folder = tempfile::tempdir().unwrap();
        fsx::write_atomic(&folder.path().join("odd#name.tar"), 0o600, b"x").unwrap();
        let shown = |typed: &str| {
            let (file, wanted) = split(Path::new(typed), folder.path()).unwrap();
            (file.display().to_string(), wanted)
        };
        assert_eq!(shown("all.tar#registry.test/a:1"), ("all.tar".to_owned(), Some("registry.test/a:1".to_owned())));
        assert_eq!(shown("odd#name.tar"), ("odd#name.tar".to_owned(), None));
        assert_eq!(shown("odd#name.tar#a:1"), ("odd#name.tar".to_owned(), Some("a:1".to_owned())));
        assert_eq!(shown("all.tar"), ("all.tar".to_owned(), None));
    }
}
