//! `kbake lock --set IMAGE=FILE`: an archive that another tool saved, in a container image's place.

use std::path::{Path, PathBuf};

use super::lock::clean;
use crate::bake;
use crate::error::{Error, Result};
use crate::fsx;
use crate::project::Channel;
use crate::release::OwnImage;
use crate::value::{ArtifactName, Cancel};

/// The folders that say where a typed path is, and how a lockfile has it.
pub struct Folders<'a> {
    /// The folder in which the command was called.
    pub current: &'a Path,
    /// The project's.
    pub project: &'a Path,
}

/// The archive that was typed as `file` for the image `name`, looked into; none where the channel has no such image, or where
/// the file is one for the artifact of the same name. Behind a `#` stands which of several images in it is meant.
///
/// # Errors
/// The archive is not there, or has no such image for the machine that images are baked for.
pub fn saved_image(
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
    if sources.artifacts.contains_key(name) && !(is_there && (wanted.is_some() || bake::is_image_archive(&path, cancel)?)) {
        return Ok(None);
    }
    if !is_there {
        return Err(Error::user(format!("{} is not there, or is no regular file", file.display()))
            .hint("an image's archive is written by `docker save`, `podman save` or `skopeo copy docker://IMAGE oci-archive:FILE`"));
    }
    let reference = image.full_name(&sources.versions)?;
    let manifest = bake::choose_image(&path, wanted.as_deref(), sources.arch, &reference, cancel)?;
    // Inside the project it is found wherever the project is checked out.
    let inside = path.strip_prefix(clean(&folders.current.join(folders.project))).map(Path::to_owned).unwrap_or(path);
    let text = inside.to_str().filter(|text| !text.chars().any(|c| c.is_control() || "\"\\".contains(c)));
    let path = text.ok_or_else(|| Error::user(format!("the path of {} has characters that a lockfile does not take", file.display())))?;
    Ok(Some(OwnImage { name: name.clone(), reference, path: path.to_owned(), manifest }))
}

/// The file, and what stands behind its `#`. A file may have one in its name.
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
    fn an_image_is_named_behind_the_file() {
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
