//! Files with holes: GNU's old form, and its pax forms 0.1 and 1.0 ([GNU tar, "Storing Sparse
//! Files"](https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html)). Form 0.0 repeats keys in an
//! extended header and is refused like all others that do.

use super::pax::{Pax, decimal};
use crate::common::tree::Segment;
use crate::common::value::Sha256;

/// The most segments of a file.
pub(super) const SEGMENTS_MAX: usize = 1 << 16;

/// The data segments of a sparse file: sorted, disjoint, merged where they touch, none empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Map {
    /// The file's length, in bytes.
    pub size: u64,
    /// Offset and length of each segment, in bytes.
    pub data: Vec<(u64, u64)>,
}

impl Map {
    /// Checks a map against the `stored` bytes that the archive has for the file.
    pub(super) fn new(size: u64, pairs: &[(u64, u64)], stored: u64) -> Result<Self, String> {
        let mut data: Vec<(u64, u64)> = Vec::new();
        let mut end = 0;
        let mut sum = 0_u64;
        for &(offset, len) in pairs {
            let after = offset.checked_add(len).filter(|&after| offset >= end && after <= size);
            let Some(after) = after else {
                return Err(format!("has a sparse map whose segment at {offset} overlaps another or exceeds the file"));
            };
            sum += len;
            match data.last_mut() {
                _ if len == 0 => {}
                Some(last) if last.0 + last.1 == offset => last.1 += len,
                _ => data.push((offset, len)),
            }
            end = after;
        }
        if sum != stored {
            return Err(format!("has a sparse map of {sum} bytes, and {stored} in the archive"));
        }
        Ok(Map { size, data })
    }

    /// True if the file has no holes.
    pub(super) fn is_whole(&self) -> bool {
        self.size == 0 || self.data == [(0, self.size)]
    }

    /// The segments, from the digest of each.
    pub(super) fn segments(&self, digests: Vec<Sha256>) -> Vec<Segment> {
        self.data.iter().zip(digests).map(|(&(offset, size), digest)| Segment { offset, digest, size }).collect()
    }
}

/// The sparse form, from the keys of an extended header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// 0.1: the map is in the header.
    InHeader { name: Option<Vec<u8>>, size: u64, pairs: Vec<(u64, u64)> },
    /// 1.0: the map precedes the data.
    InData { name: Vec<u8>, size: u64 },
}

/// Parses `GNU.sparse.*`; `None` if there are no such keys.
pub(super) fn form(pax: &mut Pax) -> Result<Option<Form>, String> {
    let mut keys = std::mem::take(&mut pax.sparse);
    if keys.is_empty() {
        return Ok(None);
    }
    let mut take = |key: &str| keys.remove(key.as_bytes());
    let number = |key: &str, value: Option<Vec<u8>>| match value {
        Some(value) => decimal(&value).map_err(|reason| format!("has an extended header whose `GNU.sparse.{key}` {reason}")),
        None => Err(format!("has an extended header without its `GNU.sparse.{key}`")),
    };
    let version = (take("major"), take("minor"));
    let name = take("name");
    let form = match (version.0.as_deref(), version.1.as_deref()) {
        (Some(b"1"), Some(b"0")) => {
            let name = name.ok_or("has an extended header without its `GNU.sparse.name`")?;
            Form::InData { name, size: number("realsize", take("realsize"))? }
        }
        (None, None) => {
            let size = number("size", take("size"))?;
            let count = number("numblocks", take("numblocks"))?;
            let map = take("map").ok_or("is sparse in pax form 0.0, which is not read")?;
            let numbers = map.split(|&b| b == b',').filter(|part| !part.is_empty()).take(2 * SEGMENTS_MAX + 2);
            let numbers = numbers.map(decimal).collect::<Result<Vec<_>, _>>()?;
            let pairs = pair_up(&numbers, count)?;
            Form::InHeader { name, size, pairs }
        }
        _ => return Err("is sparse in an unknown pax form".into()),
    };
    match keys.keys().next() {
        Some(key) => {
            Err(format!("has `GNU.sparse.{}` in its extended header, which is not allowed there", crate::formats::archive::shown(key)))
        }
        None => Ok(Some(form)),
    }
}

/// The parser of a map of form 1.0: decimal numbers, one a line, the first being the number of pairs. Lines are counted
/// incrementally, so that a long map takes linear time.
#[derive(Debug, Default)]
pub(super) struct DataMap {
    lines: usize,
    count: Option<usize>,
}

impl DataMap {
    /// Advances over the last `new` bytes of `text`, which is everything read so far; returns the pairs once they are
    /// complete.
    pub(super) fn advance(&mut self, text: &[u8], new: usize) -> Result<Option<Vec<(u64, u64)>>, String> {
        let bad = |reason| format!("has a sparse map in which {reason}");
        self.lines += text[text.len() - new..].iter().filter(|&&b| b == b'\n').count();
        let mut lines = text.split(|&b| b == b'\n');
        // Without a line feed this is the whole first block, which is not a number.
        let count = match (self.count, lines.next()) {
            (Some(count), _) => count,
            (None, first) => {
                let count = decimal(first.unwrap_or_default()).map_err(bad)?;
                usize::try_from(count).ok().filter(|&count| count <= SEGMENTS_MAX).ok_or_else(|| too_many(count))?
            }
        };
        self.count = Some(count);
        if self.lines < 1 + 2 * count {
            return Ok(None);
        }
        let numbers = lines.take(2 * count).map(decimal).collect::<Result<Vec<_>, _>>().map_err(bad)?;
        pair_up(&numbers, count as u64).map(Some)
    }
}

fn pair_up(numbers: &[u64], count: u64) -> Result<Vec<(u64, u64)>, String> {
    if count > SEGMENTS_MAX as u64 {
        return Err(too_many(count));
    }
    if numbers.len() as u64 != 2 * count {
        return Err(format!("has a sparse map of {} numbers for {count} segments", numbers.len()));
    }
    Ok(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

fn too_many(count: u64) -> String {
    format!("has a sparse map of {count} segments, {SEGMENTS_MAX} are allowed")
}
