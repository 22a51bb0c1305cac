//! ISO9660 volumes of a few small files:
//! [ECMA-119](https://ecma-international.org/publications-and-standards/standards/ecma-119/) level 1, with Rock Ridge
//! and Joliet names.
//!
//! Made for seeds: one folder, everything in memory, owned by root and accessible to nobody else. Linux reads the Rock
//! Ridge names (SUSP 1.12, RRIP 1.09: PX, TF, NM), Windows and macOS the Joliet names. Not supported: subfolders,
//! links, files of 4 GiB or more, boot records, multiple sessions.

mod descriptor;
mod name;
mod record;

#[cfg(test)]
mod tests;

use crate::common::error::{Error, Result};
use crate::common::value::Epoch;

use descriptor::Volume;
use name::{Names, check_label};
use record::{Extent, Flavour};

/// The size of a logical sector and block, in bytes (ECMA-119 6.1.2).
const SECTOR: usize = 2048;
/// The total size limit of a volume's files, in bytes: seeds have kilobytes.
const VOLUME_MAX: usize = 256 << 20;

/// The sectors of the fixed structures. The system area before them is zero (ECMA-119 6.2.1).
const PRIMARY: usize = 16;
const SUPPLEMENTARY: usize = 17;
const TERMINATOR: usize = 18;
const PATH_TABLES: [usize; 4] = [19, 20, 21, 22];
const FIRST_FOLDER: usize = 23;

/// Writes a volume with `files` in a single folder, all dated `epoch`.
///
/// Names are 1 to 64 of `A-Z a-z 0-9 . _ + -`, must not start with a dot or a hyphen, and must differ in more than
/// case. The label is 1 to 16 of `A-Z a-z 0-9 _ -`.
///
/// # Errors
/// Invalid names or label, or files that are too large.
pub(crate) fn write(files: &[(&str, &[u8])], label: &str, epoch: Epoch) -> Result<Vec<u8>> {
    check_label(label).map_err(Error::user)?;
    let names = Names::of(files.iter().map(|(name, _)| *name)).map_err(Error::user)?;
    let sizes: Vec<usize> = files.iter().map(|(_, bytes)| bytes.len()).collect();
    let plan = Plan::of(&names, &sizes)?;

    let mut image = vec![0; plan.sectors * SECTOR];
    let mut put = |sector: usize, bytes: &[u8]| image[sector * SECTOR..][..bytes.len()].copy_from_slice(bytes);
    for (flavour, sector) in [(Flavour::Primary, PRIMARY), (Flavour::Joliet, SUPPLEMENTARY)] {
        let folder = plan.folder(flavour);
        let tables = match flavour {
            Flavour::Primary => [PATH_TABLES[0], PATH_TABLES[1]],
            Flavour::Joliet => [PATH_TABLES[2], PATH_TABLES[3]],
        };
        let volume = Volume { flavour, label, sectors: plan.sectors as u32, path_tables: tables.map(|table| table as u32), folder, epoch };
        put(sector, &volume.bytes());
        put(tables[0], &descriptor::path_table(folder, u32::to_le_bytes, u16::to_le_bytes));
        put(tables[1], &descriptor::path_table(folder, u32::to_be_bytes, u16::to_be_bytes));
        put(folder.sector as usize, &record::folder(flavour, &names, folder, &plan.files, epoch));
    }
    put(TERMINATOR, &descriptor::TERMINATOR);
    for ((_, bytes), extent) in files.iter().zip(&plan.files) {
        put(extent.sector as usize, bytes);
    }
    Ok(image)
}

/// The place of everything: the folder in both hierarchies, then the files in the given order.
struct Plan {
    folders: [Extent; 2],
    files: Vec<Extent>,
    sectors: usize,
}

impl Plan {
    fn of(names: &Names, sizes: &[usize]) -> Result<Self> {
        let mut next = FIRST_FOLDER;
        let mut take = |bytes: usize| {
            // An empty file has no sector; its extent is never read, but must be inside the volume.
            let sector = if bytes == 0 { PRIMARY } else { next };
            next += bytes.div_ceil(SECTOR);
            Extent { sector: sector as u32, bytes: bytes as u32 }
        };
        if sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size)).is_none_or(|sum| sum > VOLUME_MAX) {
            return Err(Error::user(format!("the files of the volume exceed {} MiB in total", VOLUME_MAX >> 20)));
        }
        let folders = [Flavour::Primary, Flavour::Joliet].map(|flavour| take(record::folder_size(flavour, names)));
        let files = sizes.iter().map(|&size| take(size)).collect();
        Ok(Plan { folders, files, sectors: next })
    }

    fn folder(&self, flavour: Flavour) -> Extent {
        match flavour {
            Flavour::Primary => self.folders[0],
            Flavour::Joliet => self.folders[1],
        }
    }
}

/// A number in both byte orders (ECMA-119 7.3.3).
fn both32(value: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

/// A number in both byte orders (ECMA-119 7.2.3).
fn both16(value: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (value.to_le_bytes(), value.to_be_bytes());
    [a, b, c, d]
}

/// A text in Joliet's two-byte characters; all our texts are ASCII.
fn ucs2(text: &str) -> Vec<u8> {
    text.bytes().flat_map(|byte| [0, byte]).collect()
}
