//! Reading a written image back: was every byte kept, and is the filesystem in it the tree that was meant?
//!
//! Shares no code with the writers it checks: an own qcow2 reader, and the `ext4-view` crate. (`qcow2-rs` 0.1.6 cannot
//! stand in: it refuses any incompatible feature, and zstd is one.) The only disk module that opens files.

mod ext4;
mod image;
mod source;
mod stored;

use std::path::Path;

pub use ext4::{Depth, Difference, VerifyReport, verify_image, verify_tree};
pub use image::Image;
pub use source::ReadAt;

use super::cluster::{CLUSTER, Clusters, zeroed};
use super::{ContentSource, Pieces};
use crate::error::{Error, Result};
use crate::value::Cancel;

/// Checks that the image at `path` reads as `pieces` do, byte for byte, and as zero between and behind them.
///
/// # Errors
/// Names the first byte that differs. Also those of the source, and of an image that cannot be read.
pub fn compare(path: &Path, pieces: &Pieces, source: &dyn ContentSource, cancel: &Cancel) -> Result<()> {
    compare_image(&mut Image::open(path)?, pieces, source, cancel)
}

/// As [`compare`], for an image that is open.
///
/// # Errors
/// As [`compare`].
pub fn compare_image(image: &mut Image, pieces: &Pieces, source: &dyn ContentSource, cancel: &Cancel) -> Result<()> {
    if image.size() < pieces.len() {
        return Err(Error::integrity(format!("{} is too small", image.name())).detail(format!(
            "expected at least {} bytes of disk, found {}",
            pieces.len(),
            image.size()
        )));
    }
    let mut expected = Clusters::new(pieces, source);
    let mut wanted = zeroed();
    let mut found = zeroed();
    let zero = zeroed();
    let mut next = expected.next(&mut wanted)?;
    // Both sides name only the clusters where they have something: merged, what is in neither is zero in both.
    let mut at = 0;
    loop {
        cancel.check()?;
        // An image with larger clusters names one that began before `at`.
        let stored = image.next_allocated(at)?.map(|offset| offset.max(at)).filter(|offset| *offset < image.size());
        let stored = stored.map(|offset| offset / CLUSTER as u64);
        let Some(index) = [next, stored].into_iter().flatten().min() else { return Ok(()) };
        let start = index * CLUSTER as u64;
        // The last cluster may be cut off; what the disk does not have is zero in `wanted`.
        let len = (image.size() - start).min(CLUSTER as u64) as usize;
        image.read_at(start, &mut found[..len])?;
        found[len..].fill(0);
        let right = if next == Some(index) { &wanted } else { &zero };
        if let Some(inside) = right.iter().zip(found.iter()).position(|(a, b)| a != b) {
            return Err(Error::integrity(format!(
                "{} differs from what was to be written at byte {}",
                image.name(),
                start + inside as u64
            ))
            .detail(format!("expected {:#04x}, found {:#04x}", right[inside], found[inside]))
            .hint("the disk under it may be failing; remove the image and build it again"));
        }
        if next == Some(index) {
            next = expected.next(&mut wanted)?;
        }
        at = start + CLUSTER as u64;
    }
}

#[cfg(test)]
mod tests;
