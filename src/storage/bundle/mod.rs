//! Bundles: many blobs in one file, for sites without network. The format, its writer, and a strict streaming reader. The
//! meaning of the blobs is up to the callers.
//!
//! A bundle is an uncompressed tar of an
//! [OCI image layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md), so that common tools can inspect
//! it and copy it to a registry. The same contents have exactly one encoding:
//!
//! ```text
//! oci-layout              the version of the OCI layout
//! index.json              a manifest per content, the bundle format, the omitted blobs; its SHA-256 is the bundle's digest
//! blobs/ blobs/sha256/
//! blobs/sha256/<digest>   each content's manifest and configuration, in the order of the index
//! blobs/sha256/<digest>   all other blobs, each once, sorted by digest
//! ```
//!
//! So the first kilobytes of a stream determine everything that follows. The reader compares every tar header with the
//! expected one; links, devices, other names and extensions of any tar dialect are refused.

mod document;
mod layout;
pub(crate) mod pieces;
mod read;
mod refuse;
mod write;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use read::{Bytes, Taken, Visitor, documents, read};
pub use write::write;

use crate::common::error::{Error, Result};
use crate::common::value::{RoleName, Sha256, Sha512};
use crate::formats::oci::DOCUMENT_MAX;

/// The format that this code reads and writes.
pub(crate) const FORMAT: u32 = 1;
/// Size limit of the index, in bytes.
const INDEX_MAX: u64 = 16 << 20;
/// Total size limit of all manifests and configurations, in bytes: they are held in memory.
const DOCUMENTS_MAX: u64 = 64 << 20;
/// The most contents of a bundle.
const CONTENTS_MAX: usize = 1024;
/// Size limit of a blob, in bytes: larger than any image, and far from an overflow.
const BLOB_MAX: u64 = 1 << 40;
/// Length limit of a part's title, in bytes.
const TITLE_MAX: usize = 4096;

/// Everything in a bundle except the bytes of its blobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// The contents, sorted by name.
    contents: Vec<Content>,
    /// The digests of the bundles that have the omitted blobs.
    since: BTreeSet<Sha256>,
}

/// One content of a bundle (a role), with all its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The name, unique in a bundle.
    pub name: RoleName,
    /// The configuration, a JSON document.
    pub config: Vec<u8>,
    /// The blobs, in the caller's order.
    pub parts: Vec<Part>,
}

/// A blob and its meaning for a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The kind of the blob.
    pub kind: Kind,
    /// The title, for people: a path or a name.
    pub title: String,
    /// The SHA-256 of the blob.
    pub digest: Sha256,
    /// The size in bytes.
    pub size: u64,
    /// The SHA-512, if the lockfile uses one.
    pub sha512: Option<Sha512>,
    /// True if the blob is omitted: an older bundle has it.
    pub left_out: bool,
}

/// The kinds of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A plan's text.
    Plan,
    /// A file of the project; its title is its path there.
    File,
    /// A Debian package.
    Package,
    /// A publisher's artifact, or a user's own.
    Artifact,
    /// A document or layer of a container image.
    ImagePart,
    /// A disk image, qcow2.
    Image,
    /// A tree's text.
    Tree,
}

/// The media type of each kind.
const KINDS: [(Kind, &str); 7] = [
    (Kind::Plan, "application/vnd.kbake.plan.v1"),
    (Kind::File, "application/vnd.kbake.project-file.v1"),
    (Kind::Package, "application/vnd.debian.binary-package"),
    (Kind::Artifact, "application/octet-stream"),
    (Kind::ImagePart, "application/vnd.kbake.image-part.v1"),
    (Kind::Image, "application/x-qemu-disk"),
    (Kind::Tree, "application/vnd.kbake.tree.v1"),
];

impl Kind {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).expect("every kind has a row").1
    }

    fn of(media_type: &str) -> Option<Kind> {
        KINDS.iter().find(|(_, known)| *known == media_type).map(|(kind, _)| *kind)
    }
}

/// A blob that follows the documents in a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The first part with this blob.
    pub part: &'a Part,
}

impl Outline {
    /// The outline of a bundle of `contents` without the blobs that the bundles `since` have.
    ///
    /// # Errors
    /// Class `Internal`: contradictory contents, or more than a bundle may have.
    pub fn new(mut contents: Vec<Content>, since: BTreeSet<Sha256>) -> Result<Outline> {
        contents.sort_by(|a, b| a.name.cmp(&b.name));
        let outline = Outline { contents, since };
        outline.check().map_err(|why| Error::internal(format!("invalid bundle: {why}")))?;
        Ok(outline)
    }

    /// The contents, sorted by name.
    pub fn contents(&self) -> &[Content] {
        &self.contents
    }

    /// The digests of the bundles that have the omitted blobs.
    pub fn since(&self) -> &BTreeSet<Sha256> {
        &self.since
    }

    /// The bundle's digest: that of its index, which determines all other bytes.
    pub fn digest(&self) -> Sha256 {
        Sha256::of(document::index(self))
    }

    /// The blobs after the documents, in their order in the bundle.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let documents: BTreeSet<Sha256> = self.documents().iter().map(Sha256::of).collect();
        let parts = self.parts().filter(|part| !part.left_out && !documents.contains(&part.digest));
        let mut sorted: BTreeMap<Sha256, Entry> = BTreeMap::new();
        for part in parts {
            sorted.entry(part.digest).or_insert(Entry { part });
        }
        sorted.into_values().collect()
    }

    /// The omitted blobs, each once, sorted by digest.
    pub fn left_out(&self) -> Vec<&Part> {
        let mut sorted = BTreeMap::new();
        for part in self.parts().filter(|part| part.left_out) {
            sorted.entry(part.digest).or_insert(part);
        }
        sorted.into_values().collect()
    }

    /// The size of the bundle in bytes.
    pub fn len(&self) -> u64 {
        layout::len(self)
    }

    /// True if there are no contents.
    pub fn is_empty(&self) -> bool {
        self.contents.is_empty()
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.contents.iter().flat_map(|content| &content.parts)
    }

    /// The manifests and configurations in their order in the bundle, each once.
    fn documents(&self) -> Vec<Vec<u8>> {
        let mut seen = BTreeSet::new();
        let all = self.contents.iter().flat_map(|content| [document::manifest(content), content.config.clone()]);
        all.filter(|bytes| seen.insert(Sha256::of(bytes))).collect()
    }

    /// Checks the invariants of a bundle.
    fn check(&self) -> Result<(), String> {
        if self.contents.is_empty() || self.contents.len() > CONTENTS_MAX {
            return Err(format!("{} contents, expected 1 to {CONTENTS_MAX}", self.contents.len()));
        }
        if let Some(pair) = self.contents.windows(2).find(|pair| pair[0].name >= pair[1].name) {
            return Err(format!("the contents are not sorted: `{}` before `{}`", pair[0].name, pair[1].name));
        }
        let mut sizes: BTreeMap<Sha256, &Part> = BTreeMap::new();
        for part in self.parts() {
            part.check()?;
            if part.left_out && self.since.is_empty() {
                return Err(format!("`{}` is omitted, but no bundle that has it is named", part.title));
            }
            let first = sizes.entry(part.digest).or_insert(part);
            if (first.size, first.left_out) != (part.size, part.left_out) {
                return Err(format!("contradictory entries for sha256:{}: `{}` and `{}`", part.digest, first.title, part.title));
            }
        }
        let mut documents = 0;
        for bytes in self.documents() {
            document_size(bytes.len() as u64, &mut documents)?;
        }
        Ok(())
    }
}

/// Checks the size of a document, and of all documents so far, against the limits.
fn document_size(size: u64, sum: &mut u64) -> Result<(), String> {
    *sum = sum.saturating_add(size);
    match size == 0 || size > DOCUMENT_MAX || *sum > DOCUMENTS_MAX {
        true => Err(format!("a document has {size} bytes, expected 1 to {DOCUMENT_MAX}, and at most {DOCUMENTS_MAX} in total")),
        false => Ok(()),
    }
}

impl Part {
    fn check(&self) -> Result<(), String> {
        if self.size > BLOB_MAX {
            return Err(format!("sha256:{} has {} bytes, expected at most {BLOB_MAX}", self.digest, self.size));
        }
        if self.title.is_empty() || self.title.len() > TITLE_MAX || self.title.chars().any(char::is_control) {
            return Err(format!("sha256:{} has no usable title", self.digest));
        }
        Ok(())
    }
}
