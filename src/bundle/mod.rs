//! Bundles: many blobs in one file, for where there is no network. The format, its writer, and a strict reader of streams.
//! What the blobs are for is its callers' business.
//!
//! A bundle is an uncompressed tar of an
//! [OCI image layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md), so that common tools can look
//! into it, and copy it into a registry. There is one way only to write the same contents:
//!
//! ```text
//! oci-layout              which version of OCI's layout this is
//! index.json              a manifest for each content, the bundle's format, what is left out: its SHA-256 is the bundle's
//! blobs/ blobs/sha256/
//! blobs/sha256/<digest>   each content's manifest and configuration, in the order of the index
//! blobs/sha256/<digest>   all other blobs, each once, by digest
//! ```
//!
//! So whoever reads a stream knows from its first kilobytes everything that comes. The reader compares every header with
//! the one that must stand there: links, devices, other names and surprises of any tar dialect have no place in it.

mod document;
mod layout;
pub mod pieces;
mod read;
mod refuse;
mod write;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use read::{Bytes, Taken, Visitor, documents, read};
pub use write::write;

use crate::error::{Error, Result};
use crate::oci::DOCUMENT_MAX;
use crate::value::{RoleName, Sha256, Sha512};

/// The format that this code reads and writes.
pub const FORMAT: u32 = 1;
/// The longest index, in bytes.
const INDEX_MAX: u64 = 16 << 20;
/// The most bytes that all manifests and configurations have together: they are held in memory.
const DOCUMENTS_MAX: u64 = 64 << 20;
/// The most contents of a bundle.
const CONTENTS_MAX: usize = 1024;
/// The longest blob, in bytes: beyond any image, far below what could overflow.
const BLOB_MAX: u64 = 1 << 40;
/// The longest title of a part, in bytes.
const TITLE_MAX: usize = 4096;

/// Everything that a bundle has, but for the bytes of its blobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// What it has, by name.
    contents: Vec<Content>,
    /// The digests of the bundles that have what this one leaves out.
    since: BTreeSet<Sha256>,
}

/// One thing that a bundle brings, with all of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Its name: in a bundle no two have the same.
    pub name: RoleName,
    /// What it is, as a JSON document.
    pub config: Vec<u8>,
    /// Its blobs, in an order of their own.
    pub parts: Vec<Part>,
}

/// A blob, and what it is to a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What its bytes are.
    pub kind: Kind,
    /// Which one it is, for people: a path or a name.
    pub title: String,
    /// The name of its bytes.
    pub digest: Sha256,
    /// Their number.
    pub size: u64,
    /// By what other digest it is known.
    pub sha512: Option<Sha512>,
    /// Whether it is named only: another bundle has it.
    pub left_out: bool,
}

/// The sorts of parts.
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

/// Each kind's media type.
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
    /// The media type of its bytes.
    pub fn media_type(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).expect("every kind has a row").1
    }

    fn of(media_type: &str) -> Option<Kind> {
        KINDS.iter().find(|(_, known)| *known == media_type).map(|(kind, _)| *kind)
    }
}

/// A blob that lies in a bundle behind its documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The part that it is; the first one of those that share it.
    pub part: &'a Part,
}

impl Outline {
    /// A bundle of `contents`, which leaves out what `since` have.
    ///
    /// # Errors
    /// Of class `Internal`: contents that contradict each other, or are more than a bundle may have.
    pub fn new(mut contents: Vec<Content>, since: BTreeSet<Sha256>) -> Result<Outline> {
        contents.sort_by(|a, b| a.name.cmp(&b.name));
        let outline = Outline { contents, since };
        outline.check().map_err(|why| Error::internal(format!("a bundle cannot be written: {why}")))?;
        Ok(outline)
    }

    /// What it has, sorted by name.
    pub fn contents(&self) -> &[Content] {
        &self.contents
    }

    /// The digests of the bundles that have what this one leaves out.
    pub fn since(&self) -> &BTreeSet<Sha256> {
        &self.since
    }

    /// The bundle's digest: that of its index, from which all bytes of the bundle follow.
    pub fn digest(&self) -> Sha256 {
        Sha256::of(document::index(self))
    }

    /// The blobs that lie in it behind the documents, in their order there.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let documents: BTreeSet<Sha256> = self.documents().iter().map(Sha256::of).collect();
        let parts = self.parts().filter(|part| !part.left_out && !documents.contains(&part.digest));
        let mut sorted: BTreeMap<Sha256, Entry> = BTreeMap::new();
        for part in parts {
            sorted.entry(part.digest).or_insert(Entry { part });
        }
        sorted.into_values().collect()
    }

    /// The blobs that are left out, each once, by digest.
    pub fn left_out(&self) -> Vec<&Part> {
        let mut sorted = BTreeMap::new();
        for part in self.parts().filter(|part| part.left_out) {
            sorted.entry(part.digest).or_insert(part);
        }
        sorted.into_values().collect()
    }

    /// The number of bytes that the whole bundle has.
    pub fn len(&self) -> u64 {
        layout::len(self)
    }

    /// Whether it has no contents.
    pub fn is_empty(&self) -> bool {
        self.contents.is_empty()
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.contents.iter().flat_map(|content| &content.parts)
    }

    /// Manifests and configurations as they lie in the bundle, each once.
    fn documents(&self) -> Vec<Vec<u8>> {
        let mut seen = BTreeSet::new();
        let all = self.contents.iter().flat_map(|content| [document::manifest(content), content.config.clone()]);
        all.filter(|bytes| seen.insert(Sha256::of(bytes))).collect()
    }

    /// What holds of every bundle, whoever wrote it.
    fn check(&self) -> Result<(), String> {
        if self.contents.is_empty() || self.contents.len() > CONTENTS_MAX {
            return Err(format!("it has {} contents, expected 1 to {CONTENTS_MAX}", self.contents.len()));
        }
        if let Some(pair) = self.contents.windows(2).find(|pair| pair[0].name >= pair[1].name) {
            return Err(format!("`{}` does not come before `{}`", pair[0].name, pair[1].name));
        }
        let mut sizes: BTreeMap<Sha256, &Part> = BTreeMap::new();
        for part in self.parts() {
            part.check()?;
            if part.left_out && self.since.is_empty() {
                return Err(format!("it leaves out `{}`, and names no bundle that has it", part.title));
            }
            let first = sizes.entry(part.digest).or_insert(part);
            if (first.size, first.left_out) != (part.size, part.left_out) {
                return Err(format!("it says two things of sha256:{}: `{}` and `{}`", part.digest, first.title, part.title));
            }
        }
        let mut documents = 0;
        for bytes in self.documents() {
            document_size(bytes.len() as u64, &mut documents)?;
        }
        Ok(())
    }
}

/// Holds the size of a document, and of all up to it, against the limits.
fn document_size(size: u64, sum: &mut u64) -> Result<(), String> {
    *sum = sum.saturating_add(size);
    match size == 0 || size > DOCUMENT_MAX || *sum > DOCUMENTS_MAX {
        true => Err(format!("a document has {size} bytes, expected 1 to {DOCUMENT_MAX}, and at most {DOCUMENTS_MAX} of all together")),
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
