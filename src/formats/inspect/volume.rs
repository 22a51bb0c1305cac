//! The contents of a partition: a filesystem that is read, one that is only recognised, or none.

use super::bytes::is_zero;
use super::disk::{Disk, Part, ReadError};
use super::ext::Ext;
use super::fat::Fat;
use super::filesystem::Filesystem;
use super::table::{self, Partition, Table};
use crate::common::error::{Error, Result};
use crate::common::value::Cancel;

/// Filesystems and containers that are recognised and not read: offset and bytes of the magic number, name.
const KNOWN: &[(u64, &[u8], &str)] = &[
    (0, b"XFSB", "XFS"),
    (0x1_0040, b"_BHRfS_M", "Btrfs"),
    (0x1018, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca", "bcachefs"),
    (1024, b"\x10\x20\xf5\xf2", "F2FS"),
    (1024, b"\xe2\xe1\xf5\xe0", "EROFS"),
    (0, b"hsqs", "SquashFS"),
    (3, b"NTFS    ", "NTFS"),
    (3, b"EXFAT   ", "exFAT"),
    (0x8001, b"CD001", "ISO 9660"),
    (0x8001, b"BEA01", "UDF"),
    (1024, b"H+", "HFS+"),
    (1024, b"HX", "HFS+"),
    (32, b"NXSB", "APFS"),
    (0x1_0034, b"ReIsEr", "ReiserFS"),
    (0x8000, b"JFS1", "JFS"),
    (1030, b"\x34\x34", "NILFS2"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (536, b"LVM2 001", "LVM"),
    (24, b"LVM2 001", "LVM"),
    (1048, b"LVM2 001", "LVM"),
    (1560, b"LVM2 001", "LVM"),
    (4096, b"\xfc\x4e\x2b\xa9", "Linux RAID"),
    (0, b"\xfc\x4e\x2b\xa9", "Linux RAID"),
    (0, b"-FVE-FS-", "BitLocker"),
    (0, b"\x45\x3d\xcd\x28", "cramfs"),
];

/// Offsets of a swap area's magic number, by page size.
const SWAP: [u64; 5] = [4096 - 10, 8192 - 10, 16384 - 10, 32768 - 10, 65536 - 10];
/// Types of partitions that hold a boot loader's code and no filesystem: GRUB's, and PReP's in GPT and MBR.
const BOOT: [&str; 3] = ["21686148-6449-6e6f-744e-656564454649", "9e1a2d38-c612-4316-aa26-8b49521e5a8b", "0x41"];

/// The contents of a partition.
pub(super) enum Volume<'a> {
    /// A filesystem that can be read.
    Files(Box<dyn Filesystem + 'a>),
    /// Zeros only.
    Empty,
    /// Swap space: no files.
    Swap,
    /// A boot loader's code: no files.
    Boot,
    /// Contents that cannot be read, with the reason.
    Closed(String),
}

impl<'a> Volume<'a> {
    /// Recognises the contents of a partition.
    ///
    /// # Errors
    /// An image file that cannot be read; an interruption.
    pub(super) fn open(partition: &Partition, disk: &'a Disk, cancel: &Cancel) -> Result<Self> {
        match Self::try_open(partition.part(disk), &partition.kind, cancel) {
            Ok(volume) => Ok(volume),
            Err(error) => error.broken().map(Volume::Closed),
        }
    }

    fn try_open(part: Part<'a>, kind: &str, cancel: &Cancel) -> Result<Self, ReadError> {
        if let Some(name) = known(part)? {
            return Ok(Volume::Closed(format!("{name}, which kbake cannot read")));
        }
        if Ext::is_in(part)? {
            return Ok(Volume::Files(Box::new(Ext::open(part)?)));
        }
        if Fat::is_in(part)? {
            return Ok(Volume::Files(Box::new(Fat::open(part)?)));
        }
        if is_swap(part)? {
            return Ok(Volume::Swap);
        }
        Ok(match is_empty(part, cancel)? {
            true => Volume::Empty,
            false if BOOT.contains(&kind) => Volume::Boot,
            false => Volume::Closed("unknown contents".into()),
        })
    }

    /// The contents in words, for people.
    pub(super) fn word(&self) -> String {
        match self {
            Volume::Files(fs) => fs.word().into(),
            Volume::Empty => "nothing".into(),
            Volume::Swap => "swap space".into(),
            Volume::Boot => "a boot loader".into(),
            Volume::Closed(why) => why.clone(),
        }
    }

    /// The filesystem, if it can be read.
    pub(super) fn files(&self) -> Option<&dyn Filesystem> {
        match self {
            Volume::Files(fs) => Some(&**fs),
            _ => None,
        }
    }
}

/// The partition table of a disk.
///
/// # Errors
/// A malformed table: the places of the partitions are then unknown.
pub(super) fn table(disk: &Disk) -> Result<Table> {
    let whole = Part { disk, start: 0, size: disk.size() };
    let bare = || -> Result<bool, ReadError> { Ok(known(whole)?.is_some() || Ext::is_in(whole)? || Fat::is_in(whole)? || is_swap(whole)?) };
    bare().and_then(|bare| table::read(disk, bare)).or_else(|error| {
        let why = error.broken()?;
        Err(Error::integrity(format!("cannot read the partition table of {}", disk.path().display())).detail(why))
    })
}

fn has(part: Part<'_>, at: u64, wanted: &[u8]) -> Result<bool, ReadError> {
    Ok(part.has(at, wanted.len() as u64) && part.read(at, wanted.len())? == wanted)
}

fn known(part: Part<'_>) -> Result<Option<&'static str>, ReadError> {
    for (at, magic, name) in KNOWN {
        if has(part, *at, magic)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn is_swap(part: Part<'_>) -> Result<bool, ReadError> {
    for at in SWAP {
        if has(part, at, b"SWAPSPACE2")? || has(part, at, b"SWAP-SPACE")? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// True when a part is all zeros.
pub(super) fn is_empty(part: Part<'_>, cancel: &Cancel) -> Result<bool, ReadError> {
    let end = part.start + part.size;
    let mut buffer = vec![0; 256 << 10];
    let mut at = part.start;
    while let Some(next) = part.disk.next_data(at)?.filter(|next| *next < end) {
        cancel.check()?;
        let step = (end - next).min(buffer.len() as u64);
        part.disk.read_at(next, &mut buffer[..step as usize])?;
        if !is_zero(&buffer[..step as usize]) {
            return Ok(false);
        }
        at = next + step;
    }
    Ok(true)
}
