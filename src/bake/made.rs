//! What is made of artifacts before the tree is laid out: members of archives, archives of container images.
//!
//! Each thing is made once and remembered in the store by the words that decide it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write as _};

use super::artifacts::OwnFile;
use super::unpacked::{self, PACK, Unpacked, is_unpacked};
use super::{Bake, Resolved, images, saved};
use crate::error::{Error, Result};
use crate::fsx;
use crate::plan::{Extract, Made, PlannedKind, PlannedNode};
use crate::report::{Item, ItemKind, Outcome};
use crate::store::{Action, Blob, BlobFile, Lookup, Store};
use crate::tree::{Content, Kind, Layer};
use crate::unpack::{self, Policy, Sink};
use crate::value::{Cancel, Digest, Sha256, TreePath};

/// The kind of action that the store remembers.
pub(super) const MADE: &str = "made";
/// The name of its one output.
const FILE: &str = "file";
/// What every `.deb` begins with.
pub(super) const DEB_MAGIC: &[u8] = b"!<arch>\n";

/// Blobs that a tree names beside its pack, open for reading.
pub type Blobs = BTreeMap<Sha256, BlobFile>;

impl Bake<'_> {
    /// The plan's files with every made one replaced by its bytes' name, these bytes, and container images that are unpacked.
    pub(super) fn made_files(&self, resolved: &Resolved) -> Result<(BTreeMap<TreePath, PlannedNode>, Blobs, Vec<Unpacked>)> {
        let mut files = resolved.plan.files().clone();
        let wanted: Vec<&Made> = files.values().filter_map(|node| made(&node.kind)).collect();
        let made = self.make(resolved, &wanted)?;
        let (mut blobs, mut images) = (Blobs::new(), Vec::new());
        for (path, what) in unpacked::planned(resolved) {
            let image = self.unpacked(path, what)?;
            if let Some(node) = files.get_mut(path) {
                node.kind = image.archive()?;
            }
            images.push(image);
        }
        for node in files.values_mut() {
            let PlannedKind::Made(what) = &node.kind else { continue };
            let blob = made.get(&what.key()).ok_or_else(|| Error::internal(format!("{} was not made", what.text())))?;
            let open = self.store.blob(&blob.digest)?;
            blobs.insert(blob.digest, open.ok_or_else(|| Error::internal(format!("sha256:{} is gone from the store", blob.digest)))?);
            node.kind = PlannedKind::Named { digest: blob.digest, size: blob.size };
        }
        Ok((files, blobs, images))
    }

    /// Makes what was not made before. Gives the blobs by their [`Made::key`].
    pub(super) fn make(&self, resolved: &Resolved, wanted: &[&Made]) -> Result<BTreeMap<Sha256, Blob>> {
        let mut done = BTreeMap::new();
        let mut left = Vec::new();
        for made in wanted {
            match self.remembered(made)? {
                Some(blob) => {
                    let name = name_of(resolved, made);
                    match made {
                        // An artifact as it is was not made: it is an input.
                        Made::Extract(Extract::Whole(digest)) => {
                            let input = Item { kind: ItemKind::Input, name: &name, digest: Some(*digest), bytes: Some(blob.size) };
                            self.report.ended(&input, Outcome::Cached);
                        }
                        _ => self.made(&name, blob, Outcome::Cached),
                    }
                    done.insert(made.key(), blob);
                }
                None => left.push(*made),
            }
        }
        if left.is_empty() {
            return Ok(done);
        }
        self.fetch_artifacts(resolved)?;
        // Images are built of members, so these come first, each archive once.
        let mut extracts = BTreeSet::new();
        for made in &left {
            match made {
                Made::Extract(extract) => drop(extracts.insert(extract.clone())),
                Made::Built(image, _) => extracts.extend(image.files.iter().map(|(_, extract)| extract.clone())),
                Made::Pulled(..) => {}
            }
        }
        let extracted = self.extract(resolved, &extracts)?;
        for made in left {
            self.cancel.check()?;
            let name = name_of(resolved, made);
            let image = |image: &dyn Fn() -> Result<images::Made>| {
                self.report.begun(&item(&name, None));
                image().inspect(|made| self.made(&name, made.pack.unwrap_or(made.file), Outcome::Built))
            };
            let images::Made { file, pack } = match made {
                Made::Extract(extract) => images::Made { file: extracted[extract], pack: None },
                Made::Built(built, form) => image(&|| images::build(self, built, *form, &extracted))?,
                Made::Pulled(pulled, form) => image(&|| images::pull(self, pulled, *form))?,
            };
            let outputs = [(FILE.to_owned(), file)].into_iter().chain(pack.map(|pack| (PACK.to_owned(), pack))).collect();
            self.store.put_action(MADE, &made.key(), &Action { outputs })?;
            done.insert(made.key(), file);
        }
        Ok(done)
    }

    fn made(&self, name: &str, blob: Blob, outcome: Outcome) {
        self.report.ended(&item(name, Some(blob)), outcome);
    }

    pub(super) fn remembered(&self, made: &Made) -> Result<Option<Blob>> {
        // An artifact as it is needs no memory: its digest is its name.
        if let Made::Extract(Extract::Whole(digest)) = made {
            return self.store.resolve(digest, None);
        }
        let Lookup::Hit(action) = self.store.action(MADE, &made.key()) else { return Ok(None) };
        // An unpacked image without its contents is made anew.
        let is_whole = !is_unpacked(made) || action.outputs.contains_key(PACK);
        Ok(action.outputs.get(FILE).copied().filter(|_| is_whole))
    }

    /// The bytes of all `wanted`, as blobs.
    fn extract(&self, resolved: &Resolved, wanted: &BTreeSet<Extract>) -> Result<BTreeMap<Extract, Blob>> {
        let mut found = BTreeMap::new();
        let mut archives: BTreeMap<(Digest, u32), BTreeSet<String>> = BTreeMap::new();
        for extract in wanted {
            match extract {
                Extract::Whole(digest) => drop(found.insert(extract.clone(), self.artifact(digest)?)),
                Extract::Member { archive, strip, member } => {
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
                self.made(&in_archive(&what, &member), blob, Outcome::Built);
                found.insert(Extract::Member { archive, strip, member }, blob);
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

/// What was made, as the report knows it.
fn item(name: &str, blob: Option<Blob>) -> Item<'_> {
    let digest = blob.map(|blob| Digest::Sha256(blob.digest));
    Item { kind: ItemKind::Made, name, digest, bytes: blob.map(|blob| blob.size) }
}

/// What is made, for people.
fn name_of(resolved: &Resolved, made: &Made) -> String {
    match made {
        Made::Extract(Extract::Whole(digest)) => resolved.artifact_name(digest),
        Made::Extract(Extract::Member { archive, member, .. }) => in_archive(&resolved.artifact_name(archive), member),
        Made::Built(image, _) => image.reference.to_string(),
        Made::Pulled(image, _) => image.reference.to_string(),
    }
}

fn in_archive(archive: &str, member: &str) -> String {
    format!("{archive}: {member}")
}

/// What an entry says that was made.
pub(super) fn file_of(action: &Action) -> Option<Blob> {
    action.outputs.get(FILE).copied()
}

fn made(kind: &PlannedKind) -> Option<&Made> {
    match kind {
        PlannedKind::Made(made) => Some(made),
        _ => None,
    }
}

/// Takes a file of the user's own into the store.
///
/// # Errors
/// It is not there, or no longer what was locked.
pub(super) fn take(store: &Store, digest: &Digest, own: &OwnFile, cancel: &Cancel) -> Result<Blob> {
    let shown = own.path.display();
    let again = format!("put it back, or {}", own.again);
    if !fsx::exists(&own.path)? {
        return Err(Error::user(format!("{shown} is missing, which is locked as `{}`", own.name)).hint(again));
    }
    let mut file = saved::Stoppable { file: fsx::open_read(&own.path)?, cancel };
    let expected = match digest {
        Digest::Sha256(digest) => Some(*digest),
        Digest::Sha512(_) => {
            return Err(Error::user(format!("`{}` is locked by a SHA-512 digest, and one's own files are not", own.name)).hint(again));
        }
    };
    let mut writer = store.writer(expected, None)?;
    io::copy(&mut file, &mut writer).map_err(|e| Error::io(format!("take {shown} into the store"), &e))?;
    writer.commit()
}

/// Puts the named members of an archive into the store. The archive is read to its end: what is corrupt or hostile
/// behind the last member is found too.
pub(super) fn members_of(
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
        unpack::deb::data(open()?, &Policy::package(what, Layer::Role), &mut picker)?
    } else {
        unpack::tar::read(open()?, &Policy::strict(what, Layer::Role), &mut picker)?
    };
    let Picker { wanted, mut found, seen, .. } = picker;
    // A hard link to a file that was read is that file.
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
    let error = missing.into_iter().fold(Error::integrity(format!("{what} lacks files that are needed from it")), |error, name| {
        error.detail(format!("`{name}` is not in it, or is no plain file"))
    });
    let there: Vec<&str> = seen.iter().map(String::as_str).take(12).collect();
    Err(error
        .detail(format!("it has: {}{}", there.join(", "), if seen.len() > 12 { ", …" } else { "" }))
        .hint("correct `members` and `strip` of the artifact in the channel's sources file"))
}

/// A path of an archive without its first `strip` folders.
pub(super) fn stripped(path: &TreePath, strip: u32) -> Option<String> {
    let text = String::from_utf8(path.as_bytes().to_vec()).ok()?;
    let mut rest = text.as_str();
    for _ in 0..strip {
        rest = rest.split_once('/')?.1;
    }
    Some(rest.to_owned())
}

/// Puts wanted members into the store, and lets the others go by.
struct Picker<'a> {
    store: &'a Store,
    what: &'a str,
    strip: u32,
    wanted: BTreeSet<String>,
    found: BTreeMap<String, Blob>,
    /// The names of all files, for messages.
    seen: Vec<String>,
}

impl Sink for Picker<'_> {
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content> {
        let name = stripped(path, self.strip);
        self.seen.extend(name.clone());
        let fails = |e: &io::Error| Error::io(format!("read {}", self.what), e);
        let Some(name) = name.filter(|name| self.wanted.contains(name)) else {
            return unpack::let_go(self.what, size, bytes);
        };
        let mut writer = self.store.writer(None, Some(size))?;
        io::copy(bytes, &mut writer).map_err(|e| fails(&e))?;
        writer.flush().map_err(|e| fails(&e))?;
        let blob = writer.commit()?;
        // A sparse file comes in parts, and two folders may have one name in them once they are stripped.
        if self.found.insert(name.clone(), blob).is_some() {
            return Err(Error::integrity(format!("{}: `{name}` is there twice, or sparse, and wanted whole", self.what)));
        }
        Ok(Content::Blob { digest: blob.digest, size })
    }
}

#[cfg(test)]
#[path = "tests/made.rs"]
mod tests;
