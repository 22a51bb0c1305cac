//! The contents of regular files: the blocks that they need, and their parts on the disk.

use std::ops::Range;

use crate::common::error::{Error, Result};
use crate::common::tree::Content;
use crate::common::value::{Sha256, TreePath};
use crate::formats::disk::Data;

use super::block::BLOCK_U64;
use super::extent::Mapping;

/// The most blocks of a file: an extent tree has 32-bit block numbers.
const MAX_BLOCKS: u64 = u32::MAX as u64;

/// The runs of blocks that a file needs, sorted and disjoint; everything else is a hole.
pub(super) fn runs(path: &TreePath, content: &Content) -> Result<Vec<Range<u64>>> {
    let size = content.size();
    if size.div_ceil(BLOCK_U64) > MAX_BLOCKS {
        return Err(Error::user(format!("{path} is too large for ext4")).detail(format!("found {size} bytes; expected less than 16 TiB")));
    }
    let mut runs: Vec<Range<u64>> = Vec::new();
    let mut end = 0;
    for (offset, source) in sources(content) {
        let next = offset.checked_add(source.len()).filter(|&next| offset >= end && next <= size);
        end = next.ok_or_else(|| {
            Error::internal(format!("the segments of the sparse file {path} overlap or leave it"))
                .detail(format!("found {} bytes at {offset} in a file of {size}", source.len()))
        })?;
        if source.len() == 0 {
            continue;
        }
        let blocks = offset / BLOCK_U64..end.div_ceil(BLOCK_U64);
        match runs.last_mut() {
            // Two segments may share a block.
            Some(last) if last.end >= blocks.start => last.end = blocks.end,
            _ => runs.push(blocks),
        }
    }
    Ok(runs)
}

/// The parts of a file's contents with their offsets on the disk in bytes, for a file that is mapped by `map`.
pub(super) fn parts<'a>(content: &'a Content, map: &[Mapping]) -> Vec<(u64, Part<'a>)> {
    let mut parts = Vec::new();
    for (offset, source) in sources(content) {
        let whole = offset..offset + source.len();
        let first = map.partition_point(|mapping| (mapping.logical + mapping.len()) * BLOCK_U64 <= offset);
        for mapping in &map[first..] {
            let start = mapping.logical * BLOCK_U64;
            let range = whole.start.max(start)..whole.end.min(start + mapping.len() * BLOCK_U64);
            if range.is_empty() {
                break;
            }
            let at = mapping.disk.start * BLOCK_U64 + (range.start - start);
            parts.push((at, source.part(range.start - offset, range.end - range.start)));
        }
    }
    parts
}

/// A part of a file's contents.
pub(super) enum Part<'a> {
    /// Bytes in memory.
    Inline(&'a [u8]),
    /// A part of a blob.
    Blob(Data),
}

/// The origin of a segment of a file.
enum Source<'a> {
    Inline(&'a [u8]),
    Blob { digest: Sha256, size: u64 },
}

impl<'a> Source<'a> {
    fn len(&self) -> u64 {
        match self {
            Source::Inline(bytes) => bytes.len() as u64,
            Source::Blob { size, .. } => *size,
        }
    }

    fn part(&self, offset: u64, len: u64) -> Part<'a> {
        match *self {
            Source::Inline(bytes) => Part::Inline(&bytes[offset as usize..(offset + len) as usize]),
            Source::Blob { digest, size } => Part::Blob(Data::Blob { digest, size, offset, len }),
        }
    }
}

/// The segments of data in a file with their offsets.
fn sources(content: &Content) -> Vec<(u64, Source<'_>)> {
    match content {
        Content::Inline(bytes) => vec![(0, Source::Inline(bytes))],
        Content::Blob { digest, size } => vec![(0, Source::Blob { digest: *digest, size: *size })],
        Content::Sparse { segments, .. } => {
            segments.iter().map(|part| (part.offset, Source::Blob { digest: part.digest, size: part.size })).collect()
        }
    }
}
