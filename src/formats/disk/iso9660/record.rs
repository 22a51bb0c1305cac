//! Directory records (ECMA-119 9.1) with Rock Ridge entries in their system use field (SUSP 1.12, RRIP 1.09).

use super::name::Names;
use super::{SECTOR, both16, both32, ucs2};
use crate::common::value::{Epoch, civil};

/// The modes that Linux shows: a private folder and private files, owned by root.
const FOLDER_MODE: u32 = 0o040_700;
const FILE_MODE: u32 = 0o100_600;

/// The directory flag of a record (ECMA-119 9.1.6).
const DIRECTORY: u8 = 0x02;

/// One of the volume's two hierarchies; each has its own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    /// Level-1 names, with Rock Ridge.
    Primary,
    /// Two-byte names.
    Joliet,
}

/// A contiguous range of the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// The first sector.
    pub sector: u32,
    /// The length in bytes.
    pub bytes: u32,
}

/// A directory record.
fn record(identifier: &[u8], extent: Extent, flags: u8, system_use: &[u8], epoch: Epoch) -> Vec<u8> {
    let mut bytes = vec![0; 2];
    bytes.extend(both32(extent.sector));
    bytes.extend(both32(extent.bytes));
    bytes.extend(date(epoch));
    bytes.extend([flags, 0, 0]);
    bytes.extend(both16(1));
    bytes.push(identifier.len() as u8);
    bytes.extend(identifier);
    // 9.1.12: a pad byte makes the identifier's end even; 9.1.13: the record's length is even too.
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes.extend(system_use);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes[0] = u8::try_from(bytes.len()).expect("64 characters and their attributes fit in 255 bytes");
    bytes
}

/// The root folder's record without system use, as stored in volume descriptors (ECMA-119 8.4.18).
pub(super) fn root(folder: Extent, epoch: Epoch) -> Vec<u8> {
    record(&[0], folder, DIRECTORY, &[], epoch)
}

/// All records of a folder, in order. `files` are the extents of the names in the given order; empty if only the size
/// matters.
fn records(flavour: Flavour, names: &Names, folder: Extent, files: &[Extent], epoch: Epoch) -> Vec<Vec<u8>> {
    let rock = |entries: &[Vec<u8>]| match flavour {
        Flavour::Primary => entries.concat(),
        Flavour::Joliet => Vec::new(),
    };
    let (folder_px, file_px, tf) = (px(FOLDER_MODE, 2), px(FILE_MODE, 1), tf(epoch));
    let mut all = vec![
        // SUSP 5.3, 5.5: the root's first record declares the use of SUSP and its extensions.
        record(&[0], folder, DIRECTORY, &rock(&[sp(), folder_px.clone(), tf.clone(), er()]), epoch),
        record(&[1], folder, DIRECTORY, &rock(&[folder_px, tf.clone()]), epoch),
    ];
    let mut order: Vec<(Vec<u8>, usize)> = match flavour {
        Flavour::Primary => names.level1.iter().map(|name| name.as_bytes().to_vec()).zip(0..).collect(),
        Flavour::Joliet => names.given.iter().map(|name| ucs2(name)).zip(0..).collect(),
    };
    order.sort_by_cached_key(|(identifier, _)| sort_key(identifier, flavour));
    for (identifier, index) in order {
        let extent = files.get(index).copied().unwrap_or(folder);
        let system_use = rock(&[file_px.clone(), tf.clone(), nm(&names.given[index])]);
        all.push(record(&identifier, extent, 0, &system_use, epoch));
    }
    all
}

/// The order of ECMA-119 9.3: by name, then by extension, the shorter padded with spaces. Two-byte names likewise.
fn sort_key(identifier: &[u8], flavour: Flavour) -> (Vec<u8>, Vec<u8>) {
    let text: Vec<u8> = match flavour {
        Flavour::Primary => identifier.to_vec(),
        Flavour::Joliet => identifier.chunks_exact(2).map(|pair| pair[1]).collect(),
    };
    let dot = text.iter().rposition(|&byte| byte == b'.').unwrap_or(text.len());
    let padded = |part: &[u8]| {
        let mut part = part.to_vec();
        part.resize(64, b' ');
        part
    };
    (padded(&text[..dot]), padded(text.get(dot + 1..).unwrap_or_default()))
}

/// The folder's bytes: whole sectors, no record across a sector boundary (ECMA-119 6.8.1.1).
pub(super) fn folder(flavour: Flavour, names: &Names, folder: Extent, files: &[Extent], epoch: Epoch) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for record in records(flavour, names, folder, files, epoch) {
        if bytes.len() % SECTOR + record.len() > SECTOR {
            bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
        }
        bytes.extend(record);
    }
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
    bytes
}

/// The folder's length in bytes, which does not depend on the values in its records.
pub(super) fn folder_size(flavour: Flavour, names: &Names) -> usize {
    let nowhere = Extent { sector: 0, bytes: 0 };
    let epoch = Epoch::from_seconds(1).expect("one second after 1970 is a valid epoch");
    folder(flavour, names, nowhere, &[], epoch).len()
}

/// SUSP 5.3: system use fields follow, with no bytes to skip.
fn sp() -> Vec<u8> {
    vec![b'S', b'P', 7, 1, 0xbe, 0xef, 0]
}

/// SUSP 5.5: the extension in use. Its description and source may be empty, and are.
fn er() -> Vec<u8> {
    let identifier = b"RRIP_1991A";
    let mut bytes = vec![b'E', b'R', 8 + identifier.len() as u8, 1, identifier.len() as u8, 0, 0, 1];
    bytes.extend(identifier);
    bytes
}

/// RRIP 4.1.1: mode, links, owner and group.
fn px(mode: u32, links: u32) -> Vec<u8> {
    let mut bytes = vec![b'P', b'X', 36, 1];
    for value in [mode, links, 0, 0] {
        bytes.extend(both32(value));
    }
    bytes
}

/// RRIP 4.1.4: the name, in one entry.
fn nm(name: &str) -> Vec<u8> {
    let mut bytes = vec![b'N', b'M', 5 + name.len() as u8, 1, 0];
    bytes.extend(name.as_bytes());
    bytes
}

/// RRIP 4.1.6: times of modification, access and attribute change, in the short form.
fn tf(epoch: Epoch) -> Vec<u8> {
    const MODIFY_ACCESS_ATTRIBUTES: u8 = 0b1110;
    let mut bytes = vec![b'T', b'F', 5 + 3 * 7, 1, MODIFY_ACCESS_ATTRIBUTES];
    for _ in 0..3 {
        bytes.extend(date(epoch));
    }
    bytes
}

/// ECMA-119 9.1.5: years since 1900, month, day, hour, minute, second, and an offset from UTC of zero.
fn date(epoch: Epoch) -> [u8; 7] {
    let t = civil(epoch);
    [(t.year - 1900) as u8, t.month as u8, t.day as u8, t.hour as u8, t.minute as u8, t.second as u8, 0]
}
