//! The layout of a bundle: tar headers, which names and sizes alone determine.

use super::{Outline, document};
use crate::formats::oci;
use crate::formats::oci::tar::{self, BLOCK, Kind};

use crate::common::value::Sha256;

/// The first file: name and content.
pub(super) const LAYOUT: (&str, &str) = ("oci-layout", oci::LAYOUT);
/// The second file.
pub(super) const INDEX: &str = "index.json";
/// The folders, before the first blob.
pub(super) const FOLDERS: [&str; 2] = ["blobs/", "blobs/sha256/"];

/// The name of a blob's file.
pub(super) fn name(digest: &Sha256) -> String {
    format!("blobs/sha256/{digest}")
}

/// The header of a file.
pub(super) fn header(name: &str, size: u64) -> Vec<u8> {
    tar::header(name, Kind::File(size), 0o644, 0)
}

/// The header of a folder.
pub(super) fn folder(name: &str) -> Vec<u8> {
    tar::header(name, Kind::Folder, 0o755, 0)
}

/// The size of a file in the tar, with header and padding.
fn file(name: &str, size: u64) -> u64 {
    header(name, size).len() as u64 + size + tar::padding(size) as u64
}

/// The size of a bundle in bytes.
pub(super) fn len(outline: &Outline) -> u64 {
    let blob = |digest: &Sha256, size: u64| file(&name(digest), size);
    let start = file(LAYOUT.0, LAYOUT.1.len() as u64) + file(INDEX, document::index(outline).len() as u64);
    let documents: u64 = outline.documents().iter().map(|bytes| blob(&Sha256::of(bytes), bytes.len() as u64)).sum();
    let blobs: u64 = outline.entries().iter().map(|entry| blob(&entry.part.digest, entry.part.size)).sum();
    start + (FOLDERS.len() * BLOCK) as u64 + documents + blobs + tar::END.len() as u64
}
