//! Files that are extracted or built from artifacts before the tree is laid out: members of archives, and archives of
//! container images.
//!
//! Each is built once; its action entry is keyed by the words that determine it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write as _};

use super::artifacts::OwnFile;
use super::contents::Blobs;
use super::images;
use super::step::{FILE, Step, extractions};
use super::unpacked::{self, PACK, Unpacked, is_unpacked};
use crate::build::pipeline::saved;
use crate::build::{Bake, Resolved};
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::report::{Item, ItemKind, Outcome};
use crate::common::tree::{Content, Kind, Layer};
use crate::common::value::{Cancel, Digest, Sha256, TreePath};
use crate::formats::archive::{self, Policy, Sink};
use crate::spec::plan::{Extraction, FileSource, PlannedKind, PlannedNode};
use crate::storage::store::{Blob, Store};

/// The magic number of a `.deb`: that of `ar`.
pub(in crate::build) const DEB_MAGIC: &[u8] = b"!<arch>\n";

impl Bake<'_> {
    /// The plan's files with each built one replaced by its digest, the blobs of these, and the container images that are
    /// unpacked.
    pub(in crate::build) fn extracted_files(&self, resolved: &Resolved) -> Result<(BTreeMap<TreePath, PlannedNode>, Blobs, Vec<Unpacked>)> {
        let mut files = resolved.plan.files().clone();
        let wanted: Vec<&Extraction> = extractions(resolved).map(|(_, extraction)| extraction).collect();
        let extracted = self.realise_extractions(resolved, &wanted)?;
        let (mut blobs, mut images) = (Blobs::new(), Vec::new());
        for (path, what) in unpacked::planned(resolved) {
            let image = self.unpacked(path, what)?;
            if let Some(node) = files.get_mut(path) {
                node.kind = image.archive()?;
            }
            images.push(image);
        }
        for node in files.values_mut() {
            let PlannedKind::Extraction(extraction) = &node.kind else { continue };
            let missing = || Error::internal(format!("{} was not extracted", extraction.text()));
            let blob = extracted.get(&extraction.key()).ok_or_else(missing)?;
            let open = self.store.blob(&blob.digest)?;
            blobs.insert(blob.digest, open.ok_or_else(|| Error::internal(format!("sha256:{} is gone from the store", blob.digest)))?);
            node.kind = PlannedKind::Named { digest: blob.digest, size: blob.size };
        }
        Ok((files, blobs, images))
    }

    /// Builds the files that the store lacks. Returns the blobs by their [`Extraction::key`].
    pub(in crate::build) fn realise_extractions(&self, resolved: &Resolved, wanted: &[&Extraction]) -> Result<BTreeMap<Sha256, Blob>> {
        let mut done = BTreeMap::new();
        let mut left = Vec::new();
        for extraction in wanted {
            match self.recorded_file(extraction)? {
                Some(blob) => {
                    let name = name_of(resolved, extraction);
                    match extraction {
                        // A whole artifact is an input, not a result.
                        Extraction::File(FileSource::Whole(digest)) => {
                            let input = Item { kind: ItemKind::Input, name: &name, digest: Some(*digest), bytes: Some(blob.size) };
                            self.report.ended(&input, Outcome::Cached);
                        }
                        _ => self.ended(&name, blob, Outcome::Cached),
                    }
                    done.insert(extraction.key(), blob);
                }
                None => left.push(*extraction),
            }
        }
        if left.is_empty() {
            return Ok(done);
        }
        self.fetch_artifacts(resolved)?;
        // Images are built from members, so members are extracted first, in one pass for each archive.
        let mut extracts = BTreeSet::new();
        for extraction in &left {
            match extraction {
                Extraction::File(extract) => drop(extracts.insert(extract.clone())),
                Extraction::Built(image, _) => extracts.extend(image.files.iter().map(|(_, extract)| extract.clone())),
                Extraction::Pulled(..) => {}
            }
        }
        let extracted = self.extract(resolved, &extracts)?;
        for extraction in left {
            self.cancel.check()?;
            let name = name_of(resolved, extraction);
            let image = |image: &dyn Fn() -> Result<images::ImageOutput>| {
                self.report.begun(&item(&name, None));
                image().inspect(|output| self.ended(&name, output.pack.unwrap_or(output.file), Outcome::Built))
            };
            let images::ImageOutput { file, pack } = match extraction {
                Extraction::File(extract) => images::ImageOutput { file: extracted[extract], pack: None },
                Extraction::Built(built, form) => image(&|| images::build(self, built, *form, &extracted))?,
                Extraction::Pulled(pulled, form) => image(&|| images::pull(self, pulled, *form))?,
            };
            let outputs = [(FILE.to_owned(), file)].into_iter().chain(pack.map(|pack| (PACK.to_owned(), pack))).collect();
            self.record(&Step::Extraction(extraction), outputs)?;
            done.insert(extraction.key(), file);
        }
        Ok(done)
    }

    fn ended(&self, name: &str, blob: Blob, outcome: Outcome) {
        self.report.ended(&item(name, Some(blob)), outcome);
    }

    pub(in crate::build) fn recorded_file(&self, extraction: &Extraction) -> Result<Option<Blob>> {
        // A whole artifact needs no action entry: its digest is known.
        if let Extraction::File(FileSource::Whole(digest)) = extraction {
            return self.store.resolve(digest, None);
        }
        let Some(action) = self.recorded(&Step::Extraction(extraction)) else { return Ok(None) };
        // An unpacked image without its contents is unpacked again.
        let is_whole = !is_unpacked(extraction) || action.outputs.contains_key(PACK);
        Ok(action.outputs.get(FILE).copied().filter(|_| is_whole))
    }

    /// The blobs of all `wanted`.
    fn extract(&self, resolved: &Resolved, wanted: &BTreeSet<FileSource>) -> Result<BTreeMap<FileSource, Blob>> {
        let mut found = BTreeMap::new();
        let mut archives: BTreeMap<(Digest, u32), BTreeSet<String>> = BTreeMap::new();
        for extract in wanted {
            match extract {
                FileSource::Whole(digest) => drop(found.insert(extract.clone(), self.artifact(digest)?)),
                FileSource::Member { archive, strip, member } => {
                    archives.entry((*archive, *strip)).or_default().insert(member.clone());
                }
            }
        }
        for ((archive, strip), members) in archives {
            self.cancel.check()?;
            let what = resolved.artifact_name(&archive);
            let blob = self.artifact(&archive)?;
            members.iter().for_each(|member| self.report.begun(&item(&in_archive(&what, member), None)));
            for (member, blob) in members_of(self.store, &blob, strip, members, &what)? {
                self.ended(&in_archive(&what, &member), blob, Outcome::Built);
                found.insert(FileSource::Member { archive, strip, member }, blob);
            }
        }
        Ok(found)
    }

    fn artifact(&self, digest: &Digest) -> Result<Blob> {
        self.store
            .resolve(digest, None)?
            .ok_or_else(|| Error::internal(format!("the artifact {digest} was fetched and is not in the store")))
    }
}

/// A built file as a report item.
fn item(name: &str, blob: Option<Blob>) -> Item<'_> {
    let digest = blob.map(|blob| Digest::Sha256(blob.digest));
    Item { kind: ItemKind::Extraction, name, digest, bytes: blob.map(|blob| blob.size) }
}

/// The name of a built file, for people.
fn name_of(resolved: &Resolved, extraction: &Extraction) -> String {
    match extraction {
        Extraction::File(FileSource::Whole(digest)) => resolved.artifact_name(digest),
        Extraction::File(FileSource::Member { archive, member, .. }) => in_archive(&resolved.artifact_name(archive), member),
        Extraction::Built(image, _) => image.reference.to_string(),
        Extraction::Pulled(image, _) => image.reference.to_string(),
    }
}

fn in_archive(archive: &str, member: &str) -> String {
    format!("{archive}: {member}")
}

/// Imports a local file of the user into the store.
///
/// # Errors
/// The file is missing, or differs from what was locked.
pub(in crate::build) fn take(store: &Store, digest: &Digest, own: &OwnFile, cancel: &Cancel) -> Result<Blob> {
    let shown = own.path.display();
    let again = format!("put it back, or {}", own.again);
    if !fsx::exists(&own.path)? {
        return Err(Error::user(format!("`{}` is locked to {shown}, which does not exist", own.name)).hint(again));
    }
    let mut file = saved::Stoppable { file: fsx::open_read(&own.path)?, cancel };
    let expected = match digest {
        Digest::Sha256(digest) => Some(*digest),
        Digest::Sha512(_) => {
            return Err(Error::user(format!("local files must be locked by SHA-256; `{}` has a SHA-512", own.name)).hint(again));
        }
    };
    let mut writer = store.writer(expected, None)?;
    io::copy(&mut file, &mut writer).map_err(|e| Error::io(format!("copy {shown} into the store"), &e))?;
    writer.commit()
}

/// Extracts the named members of an archive into the store. Reads the archive to its end, so that corrupt or hostile data
/// behind the last member is found too.
pub(in crate::build) fn members_of(
    store: &Store,
    archive: &Blob,
    strip: u32,
    members: BTreeSet<String>,
    what: &str,
) -> Result<BTreeMap<String, Blob>> {
    pick(store, archive, strip, members, what).map_err(|error| store.explain(error, [archive.digest]))
}

fn pick(store: &Store, archive: &Blob, strip: u32, members: BTreeSet<String>, what: &str) -> Result<BTreeMap<String, Blob>> {
    let open = || store.reader(&archive.digest)?.ok_or_else(|| Error::internal(format!("{what} is gone from the store")));
    let mut start = [0; DEB_MAGIC.len()];
    let is_deb = archive.size >= start.len() as u64 && {
        let file = store.blob(&archive.digest)?.ok_or_else(|| Error::internal(format!("{what} is gone from the store")))?;
        file.read_exact_at(&mut start, 0).map_err(|e| Error::io(format!("read {what}"), &e))?;
        start == DEB_MAGIC
    };
    let mut picker = Picker { store, what, strip, wanted: members, found: BTreeMap::new(), seen: Vec::new() };
    let tree = if is_deb {
        archive::deb::data(open()?, &Policy::package(what, Layer::Role), &mut picker)?
    } else {
        archive::tar::read(open()?, &Policy::strict(what, Layer::Role), &mut picker)?
    };
    let Picker { wanted, mut found, seen, .. } = picker;
    // A hard link to an extracted file has the same contents.
    for (path, node) in tree.iter() {
        if let (Some(name), Kind::HardLink(target)) = (stripped(path, strip), &node.kind)
            && wanted.contains(&name)
            && let Some(blob) = stripped(target, strip).and_then(|target| found.get(&target).copied())
        {
            found.insert(name, blob);
        }
    }
    let missing: Vec<&String> = wanted.iter().filter(|name| !found.contains_key(*name)).collect();
    if missing.is_empty() {
        return Ok(found);
    }
    let error = missing.into_iter().fold(Error::integrity(format!("{what} lacks files that the role needs")), |error, name| {
        error.detail(format!("`{name}` does not exist in it, or is not a regular file"))
    });
    let there: Vec<&str> = seen.iter().map(String::as_str).take(12).collect();
    Err(error
        .detail(format!("it has: {}{}", there.join(", "), if seen.len() > 12 { ", …" } else { "" }))
        .hint("correct `members` and `strip` of the artifact in the channel's sources file"))
}

/// A path in an archive without its first `strip` folders.
pub(in crate::build) fn stripped(path: &TreePath, strip: u32) -> Option<String> {
    let text = String::from_utf8(path.as_bytes().to_vec()).ok()?;
    let mut rest = text.as_str();
    for _ in 0..strip {
        rest = rest.split_once('/')?.1;
    }
    Some(rest.to_owned())
}

/// Stores the wanted members and skips the others.
struct Picker<'a> {
    store: &'a Store,
    what: &'a str,
    strip: u32,
    wanted: BTreeSet<String>,
    found: BTreeMap<String, Blob>,
    /// The names of all files, for error messages.
    seen: Vec<String>,
}

impl Sink for Picker<'_> {
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content> {
        let name = stripped(path, self.strip);
        self.seen.extend(name.clone());
        let fails = |e: &io::Error| Error::io(format!("read {}", self.what), e);
        let Some(name) = name.filter(|name| self.wanted.contains(name)) else {
            return archive::discard(self.what, size, bytes);
        };
        let mut writer = self.store.writer(None, Some(size))?;
        io::copy(bytes, &mut writer).map_err(|e| fails(&e))?;
        writer.flush().map_err(|e| fails(&e))?;
        let blob = writer.commit()?;
        // A sparse file comes in parts; and two paths can have the same name once stripped.
        if self.found.insert(name.clone(), blob).is_some() {
            return Err(Error::integrity(format!("{}: `{name}` occurs twice or is sparse; neither is supported", self.what)));
        }
        Ok(Content::Blob { digest: blob.digest, size })
    }
}

#[cfg(test)]
mod tests;
