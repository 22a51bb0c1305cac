//! The contents of regular files: which blocks they need, and the pieces that stand there.

use std::ops::Range;

use crate::disk::Data;
use crate::error::{Error, Result};
use crate::tree::Content;
use crate::value::TreePath;

use super::block::BLOCK_U64;
use super::emit::Emitter;
use super::extent::Mapping;

/// Blocks that an extent tree can count.
const MAX_BLOCKS: u64 = u32::MAX as u64;

/// The stretches of blocks that a file needs, in order and apart from each other; all else is holes.
pub fn runs(path: &TreePath, content: &Content) -> Result<Vec<Range<u64>>> {
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
            // Two segments may meet in one block.
            Some(last) if last.end >= blocks.start => last.end = blocks.end,
            _ => runs.push(blocks),
        }
    }
    Ok(runs)
}

/// Puts a file's contents where `map` says.
pub fn put(content: &Content, map: &[Mapping], out: &mut Emitter) {
    for (offset, source) in sources(content) {
        let whole = offset..offset + source.len();
        let first = map.partition_point(|mapping| (mapping.logical + mapping.len()) * BLOCK_U64 <= offset);
        for mapping in &map[first..] {
            let start = mapping.logical * BLOCK_U64;
            let part = whole.start.max(start)..whole.end.min(start + mapping.len() * BLOCK_U64);
            if part.is_empty() {
                break;
            }
            let at = mapping.disk.start * BLOCK_U64 + (part.start - start);
            source.put(part.start - offset, part.end - part.start, at, out);
        }
    }
}

/// Where a stretch of a file comes from.
enum Source<'a> {
    Inline(&'a [u8]),
    Blob { digest: crate::value::Sha256, size: u64 },
}

impl Source<'_> {
    fn len(&self) -> u64 {
        match self {
            Source::Inline(bytes) => bytes.len() as u64,
            Source::Blob { size, .. } => *size,
        }
    }

    fn put(&self, offset: u64, len: u64, at: u64, out: &mut Emitter) {
        match *self {
            Source::Inline(bytes) => out.bytes(at, &bytes[offset as usize..(offset + len) as usize]),
            Source::Blob { digest, size } => out.data(at, Data::Blob { digest, size, offset, len }),
        }
    }
}

/// The stretches of data in a file with their offsets.
fn sources(content: &Content) -> Vec<(u64, Source<'_>)> {
    match content {
        Content::Inline(bytes) => vec![(0, Source::Inline(bytes))],
        Content::Blob { digest, size } => vec![(0, Source::Blob { digest: *digest, size: *size })],
        Content::Sparse { segments, .. } => {
            segments.iter().map(|part| (part.offset, Source::Blob { digest: part.digest, size: part.size })).collect()
        }
    }
}
