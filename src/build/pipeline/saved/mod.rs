//! Archives of container images that the user saved with another tool: inspected when they are locked, imported into the
//! store when they are used.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::Path;

use super::artifacts::{self, OwnFile};
use super::images;
use crate::build::{Bake, Resolved};
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::tree::{Content, Kind, Layer, Tree};
use crate::common::value::{Arch, Cancel, Hasher, Reference, Sha256, TreePath};
use crate::formats::archive::{self, Policy, Sink};
use crate::formats::oci::{DOCUMENT_MAX, Saved, SavedImage};
use crate::spec::plan::PulledImage;
use crate::storage::store::Store;

/// The maximum number of bytes of documents kept in memory: far more than any image has.
const HELD: u64 = 64 << 20;
const BUFFER: usize = 128 << 10;

/// The image in a saved archive that a lock can name by its manifest.
///
/// # Errors
/// The file is not such an archive, has no such image or several, or its bytes do not match their digests.
pub(crate) fn choose(file: &Path, wanted: Option<&str>, arch: Arch, reference: &Reference, cancel: &Cancel) -> Result<Sha256> {
    Ok(Sha256::of(&look(file, cancel)?.choose(wanted, arch, reference)?.manifest))
}

/// True when a file is an archive of container images. A file that is not a tar is not.
pub(crate) fn is_image_archive(file: &Path, cancel: &Cancel) -> Result<bool> {
    let saved = look(file, cancel);
    cancel.check()?;
    Ok(saved.is_ok_and(|saved| saved.is_saved()))
}

/// Imports the user's own images that the store lacks, so that fetching finds all of their parts there.
pub(in crate::build) fn take_missing(bake: &Bake, resolved: &Resolved) -> Result<()> {
    for image in artifacts::pulled(&resolved.artifacts) {
        if let Some(own) = resolved.artifacts.own_images.get(&image.index)
            && !is_taken(bake, image)?
        {
            take(bake, image, own)?;
        }
    }
    Ok(())
}

fn take(bake: &Bake, image: &PulledImage, own: &OwnFile) -> Result<()> {
    let PulledImage { reference, index, arch } = image;
    let shown = own.path.display();
    let again = format!("put it back, or {}", own.again);
    if !fsx::exists(&own.path)? {
        return Err(Error::user(format!("the image `{}` is locked to {shown}, which does not exist", own.name)).hint(again));
    }
    let found = look(&own.path, bake.cancel)?.by_manifest(index, *arch, reference)?;
    let Some(SavedImage { manifest, parts, .. }) = found else {
        let error = Error::user(format!("{shown} no longer has the image that was locked as `{}`", own.name));
        return Err(error.detail(format!("expected the manifest sha256:{index}")).hint(again));
    };
    let wanted = parts.iter().map(|part| (part.digest, part.size)).collect();
    let mut taker = Taker { store: bake.store, wanted, what: shown.to_string() };
    read(&own.path, &mut taker, bake.cancel)?;
    if let Some((digest, _)) = taker.wanted.first() {
        return Err(Error::user(format!("{shown} changed while it was read"))
            .detail(format!("missing: sha256:{digest}"))
            .hint("run the command again"));
    }
    bake.store.insert(&manifest).map(drop)
}

/// All blobs in the archive, by digest.
fn look(file: &Path, cancel: &Cancel) -> Result<Saved> {
    let mut looker = Looker { saved: Saved::default(), held: 0, what: file.display().to_string() };
    let tree = read(file, &mut looker, cancel)?;
    let mut saved = looker.saved;
    let links: Vec<(String, (Sha256, u64))> = tree
        .iter()
        .filter_map(|(path, node)| {
            let target = match &node.kind {
                Kind::HardLink(target) => text(target)?,
                Kind::Symlink(target) => beside(&text(path)?, std::str::from_utf8(target).ok()?)?,
                _ => return None,
            };
            // Follows one link only: a link to a link is skipped, and reported as missing only if it is needed.
            Some((text(path)?, *saved.files.get(&target)?))
        })
        .collect();
    saved.files.extend(links);
    Ok(saved)
}

fn text(path: &TreePath) -> Option<String> {
    String::from_utf8(path.as_bytes().to_vec()).ok()
}

/// The target of a relative link, inside the archive.
fn beside(link: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" if parts.is_empty() => return None,
            "" | "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    (!target.starts_with('/')).then(|| parts.join("/"))
}

fn read(file: &Path, sink: &mut dyn Sink, cancel: &Cancel) -> Result<Tree> {
    let what = file.display().to_string();
    if fsx::facts_followed(file)?.is_some_and(|facts| facts.kind != fsx::Kind::File) {
        return Err(Error::user(format!("{what} is not a regular file; expected an archive of a container image")));
    }
    archive::tar::read(Stoppable { file: fsx::open_read(file)?, cancel }, &Policy::strict(what, Layer::Role), sink)
}

/// A file whose reads fail once the user cancels.
pub(in crate::build) struct Stoppable<'a> {
    pub file: File,
    pub cancel: &'a Cancel,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check()?;
        self.file.read(buffer)
    }
}

/// Hashes all files, and keeps possible documents in memory.
struct Looker {
    saved: Saved,
    held: u64,
    what: String,
}

impl Sink for Looker {
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content> {
        let may_be_held = size <= DOCUMENT_MAX && self.held + size <= HELD;
        let (mut hasher, mut held, mut buffer, mut count) = (Hasher::new(), Vec::new(), vec![0; BUFFER], 0u64);
        loop {
            let n = match bytes.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::io(format!("read {}", self.what), &e)),
            };
            hasher.update(&buffer[..n]);
            // Documents are JSON objects or lists.
            let goes_on = if count == 0 { [b'{', b'['].contains(&buffer[0]) } else { !held.is_empty() };
            if may_be_held && goes_on {
                held.extend_from_slice(&buffer[..n]);
            }
            count += n as u64;
        }
        let digest = hasher.finish();
        if !held.is_empty() {
            self.held += count;
            self.saved.documents.insert(digest, held);
        }
        if let Some(name) = text(path)
            && self.saved.files.insert(name, (digest, count)).is_some()
        {
            return Err(Error::integrity(format!("{}: {path} is sparse; archives of images have no sparse files", self.what)));
        }
        Ok(Content::Blob { digest, size })
    }
}

/// Stores wanted files.
struct Taker<'a> {
    store: &'a Store,
    wanted: BTreeSet<(Sha256, u64)>,
    what: String,
}

impl Sink for Taker<'_> {
    fn put(&mut self, _: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content> {
        if !self.wanted.iter().any(|(_, wanted)| *wanted == size) {
            return archive::discard(&self.what, size, bytes);
        }
        let fails = |e: &io::Error| Error::io(format!("read {}", self.what), e);
        let mut writer = self.store.writer(None, Some(size))?;
        io::copy(bytes, &mut writer).map_err(|e| fails(&e))?;
        writer.flush().map_err(|e| fails(&e))?;
        let unplaced = writer.finish()?;
        let blob = unplaced.blob();
        if self.wanted.remove(&(blob.digest, blob.size)) {
            self.store.place(vec![unplaced])?;
        }
        Ok(Content::Blob { digest: blob.digest, size })
    }
}

/// True when the store has all of an image.
fn is_taken(bake: &Bake, image: &PulledImage) -> Result<bool> {
    if !bake.store.contains(&image.index)? {
        return Ok(false);
    }
    for want in images::known(bake, image)? {
        if bake.store.resolve(&want.digest, want.size)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
