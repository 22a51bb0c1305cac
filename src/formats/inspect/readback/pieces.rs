//! Compares an image, byte for byte, with the pieces of its disk.

use crate::common::error::{Error, Result};
use crate::common::value::Cancel;
use crate::formats::disk::cluster::{CLUSTER, Clusters, zeroed};
use crate::formats::disk::{ContentSource, Pieces};
use crate::formats::inspect::qcow2::Image;

/// Checks that an image reads as `pieces` do, and as zeros between and behind them.
///
/// # Errors
/// An integrity error that names the first differing byte; errors of the source.
pub(crate) fn compare_image(image: &mut Image, pieces: &Pieces, source: &dyn ContentSource, cancel: &Cancel) -> Result<()> {
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
    // Each side names only the clusters that hold something. A cluster that neither side names is zero in both.
    let mut at = 0;
    loop {
        cancel.check()?;
        // An image with larger clusters names a cluster that begins before `at`.
        let stored = image.next_allocated(at)?.map(|offset| offset.max(at)).filter(|offset| *offset < image.size());
        let stored = stored.map(|offset| offset / CLUSTER as u64);
        let Some(index) = [next, stored].into_iter().flatten().min() else { return Ok(()) };
        let start = index * CLUSTER as u64;
        // The disk may end inside of the last cluster; `wanted` is zero behind its end.
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
