//! FAT volumes of a few small files, with long names, after Microsoft's "FAT32 File System Specification" 1.03 (fatgen103);
//! [ECMA-107](https://ecma-international.org/publications-and-standards/standards/ecma-107/) covers its older part.
//!
//! Made for seeds, like `iso9660`: one folder, everything in memory, no partition table. FAT12 below 2 MiB and FAT16
//! above, with the smallest clusters that fit. Left out: FAT32 (the specification's own table of sizes begins it at
//! 512 MiB), subfolders, files of more than 64 MiB, owners and modes (FAT has none: mount options decide).

mod boot;
mod entry;
mod geometry;
mod name;

#[cfg(test)]
mod tests;

use crate::common::error::{Error, Result};
use crate::common::value::{Epoch, Sha256};

use entry::Stamp;
use geometry::Geometry;
use name::volume_label;

/// The size of a sector, in bytes.
const SECTOR: usize = 512;
/// The total size limit of a volume's files, in bytes: seeds have kilobytes.
const CONTENT_MAX: usize = 64 << 20;

/// Writes a volume with `files` in its root folder, all dated `epoch`.
///
/// Names are 1 to 255 printable ASCII characters without `" * / : < > ? \ |`, neither starting nor ending with a space
/// nor ending with a dot, and must differ in more than case. The root folder has 512 entries: one for the label, and
/// for each file one and one more per 13 characters of its name. The label is 1 to 11 of `A-Z a-z 0-9 _ -` and is
/// written in upper case, as the specification demands: Linux shows `CIDATA` for `cidata`, which
/// cloud-init (`DataSourceNoCloud` and `ds-identify`) looks for as well.
///
/// FAT stores local time in steps of two seconds: the epoch in UTC, rounded down, and 1980-01-01 00:00:00 for any time
/// before that. The volume's serial number is a digest of all its other bytes.
///
/// # Errors
/// Invalid names or label, or files that are too many or too large.
pub(crate) fn write(files: &[(&str, &[u8])], label: &str, epoch: Epoch) -> Result<Vec<u8>> {
    let label = volume_label(label).map_err(Error::user)?;
    let names = name::names(files.iter().map(|(name, _)| *name)).map_err(Error::user)?;
    let geometry = plan(files)?;

    // Each file's bytes are copied only once, into the image: they may be secret.
    let mut image = vec![0; geometry.sectors * SECTOR];
    let mut put = |sector: usize, bytes: &[u8]| image[sector * SECTOR..][..bytes.len()].copy_from_slice(bytes);
    put(0, &boot::sector(&geometry, label));
    let stamp = Stamp::of(epoch);
    let mut folder = entry::label(label, stamp).to_vec();
    let mut chains = Vec::with_capacity(files.len());
    let mut next = geometry::FIRST_CLUSTER;
    for (name, (_, bytes)) in names.iter().zip(files) {
        let clusters = bytes.len().div_ceil(geometry.cluster());
        // An empty file has no cluster; its first cluster is 0.
        let first = if clusters == 0 { 0 } else { next };
        folder.extend(entry::file(name, first as u16, bytes.len() as u32, stamp));
        if clusters > 0 {
            put(geometry.sector(next), bytes);
        }
        chains.push(clusters);
        next += clusters;
    }
    put(geometry.folder(), &folder);
    let table = geometry.table(&chains);
    for sector in geometry.tables() {
        put(sector, &table);
    }
    let serial = Sha256::of(&image);
    image[boot::SERIAL].copy_from_slice(&serial.0[..boot::SERIAL.len()]);
    Ok(image)
}

fn plan(files: &[(&str, &[u8])]) -> Result<Geometry> {
    let total = files.iter().try_fold(0usize, |sum, (_, bytes)| sum.checked_add(bytes.len()));
    total
        .filter(|&total| total <= CONTENT_MAX)
        .and_then(|_| Geometry::of(&files.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>()))
        .ok_or_else(|| Error::user(format!("the files of the volume exceed {} MiB in total", CONTENT_MAX >> 20)))
}
