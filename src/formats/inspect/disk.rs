//! Disk images with random access, parts of them, and the error of reading one.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::value::quote;
use crate::formats::inspect::qcow2::Image;

/// The first bytes of other formats, and the formats' names.
const FOREIGN: &[(&[u8], &str)] = &[
    (b"KDMV", "VMDK"),
    (b"# Disk DescriptorFile", "VMDK"),
    (b"vhdxfile", "VHDX"),
    (b"conectix", "VHD"),
    (b"<<< ", "VDI"),
    (b"QED\0", "QED"),
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
];

/// An open disk image: qcow2, or raw.
pub(crate) struct Disk {
    path: PathBuf,
    size: u64,
    source: Source,
}

enum Source {
    /// A reader with a cache of clusters.
    Qcow2(RefCell<Box<Image>>),
    Raw(File),
}

impl Disk {
    /// Opens an image. A file that begins like no known format is raw.
    ///
    /// # Errors
    /// A file that cannot be read, or is of a format that kbake cannot read.
    pub(crate) fn open(path: &Path) -> Result<Disk> {
        let mut file = fsx::open_disk(path)?;
        let failed = |e: std::io::Error| Error::io(format!("read {}", path.display()), &e);
        let mut head = [0; 32];
        let count = file.read_at(&mut head, 0).map_err(failed)?;
        let head = &head[..count];
        if head.starts_with(b"QFI\xfb") {
            return Ok(Disk { path: path.to_owned(), ..Disk::over(Image::open(path)?) });
        }
        if let Some((_, name)) = FOREIGN.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Err(Error::user(format!("{} is a {name} file; kbake reads qcow2 and raw images", path.display())).hint(format!(
                "unpack it, or convert it: `qemu-img convert -O qcow2 {} OTHER.qcow2`",
                quote(&path.display().to_string())
            )));
        }
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Disk { path: path.to_owned(), size, source: Source::Raw(file) })
    }

    /// Wraps an open image. The disk's path is the image's name.
    pub(crate) fn over(image: Image) -> Disk {
        Disk { path: PathBuf::from(image.name()), size: image.size(), source: Source::Qcow2(RefCell::new(Box::new(image))) }
    }

    /// The image's file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The size of the disk in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// True when the disk lies in a qcow2 file.
    pub(crate) fn is_qcow2(&self) -> bool {
        matches!(self.source, Source::Qcow2(_))
    }

    /// Names what the file holds beside the disk: snapshots of a qcow2 file.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn hidden(&self) -> Result<Option<String>> {
        match &self.source {
            Source::Qcow2(image) => image.borrow_mut().hidden(),
            Source::Raw(_) => Ok(None),
        }
    }

    /// Fills `into` with the disk's bytes from `offset`.
    ///
    /// # Errors
    /// A range that leaves the disk; a file that cannot be read or is malformed.
    pub(crate) fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        match &self.source {
            Source::Qcow2(image) => image.borrow_mut().read_at(offset, into),
            Source::Raw(file) => {
                file.read_exact_at(into, offset).map_err(|e| Error::io(format!("read {} at byte {offset}", self.path.display()), &e))
            }
        }
    }

    /// The first offset at or behind `offset` that may have data; none when the rest of the disk is zero.
    ///
    /// # Errors
    /// A file that cannot be read or is malformed.
    pub(crate) fn next_data(&self, offset: u64) -> Result<Option<u64>> {
        if offset >= self.size {
            return Ok(None);
        }
        match &self.source {
            Source::Qcow2(image) => {
                let found = image.borrow_mut().next_allocated(offset)?;
                Ok(found.map(|at| at.max(offset)).filter(|at| *at < self.size))
            }
            Source::Raw(file) => match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset)) {
                Ok(at) => Ok(Some(at).filter(|at| *at < self.size)),
                Err(rustix::io::Errno::NXIO) => Ok(None),
                // A device or filesystem that cannot tell holes has none.
                Err(_) => Ok(Some(offset)),
            },
        }
    }
}

/// A stretch of a disk: a partition, or the whole disk.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub disk: &'a Disk,
    /// In bytes from the disk's start.
    pub start: u64,
    /// In bytes.
    pub size: u64,
}

impl Part<'_> {
    /// True when `len` bytes from `offset` are in the part.
    pub(super) fn has(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.size)
    }

    /// The `len` bytes from `offset`.
    pub(super) fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, ReadError> {
        let mut bytes = vec![0; len];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `into` with the bytes from `offset`.
    pub(super) fn read_into(&self, offset: u64, into: &mut [u8]) -> Result<(), ReadError> {
        if !self.has(offset, into.len() as u64) {
            return Err(ReadError::Broken(format!("it refers to byte {offset}, and has {} bytes", self.size)));
        }
        Ok(self.disk.read_at(self.start + offset, into)?)
    }
}

/// A failure to read something in an image.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The image is malformed there, or needs a feature that is not read. Other parts of it may be sound.
    Broken(String),
    /// The image's file cannot be read, or the command was interrupted.
    Failed(Error),
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        ReadError::Failed(error)
    }
}

impl ReadError {
    /// The fault of a broken image.
    ///
    /// # Errors
    /// Other failures.
    pub(super) fn broken(self) -> Result<String> {
        match self {
            ReadError::Broken(why) => Ok(why),
            ReadError::Failed(error) => Err(error),
        }
    }
}
