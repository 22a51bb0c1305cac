//! A disk image to read from at any place, and a part of it.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::disk::readback::Image;
use crate::error::{Error, Result};
use crate::fsx;

/// How the first bytes of other formats look, and their name in `qemu-img`'s or people's words.
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
pub struct Disk {
    path: PathBuf,
    size: u64,
    source: Source,
}

enum Source {
    /// A reader that keeps what it unpacked last.
    Qcow2(RefCell<Box<Image>>),
    Raw(File),
}

impl Disk {
    /// Opens an image. What begins like a qcow2 file is one, what begins like nothing known is raw.
    ///
    /// # Errors
    /// Also when it is of a format that kbake does not read.
    pub fn open(path: &Path) -> Result<Disk> {
        let mut file = fsx::open_disk(path)?;
        let failed = |e: std::io::Error| Error::io(format!("read {}", path.display()), &e);
        let mut head = [0; 32];
        let count = file.read_at(&mut head, 0).map_err(failed)?;
        let head = &head[..count];
        if head.starts_with(b"QFI\xfb") {
            let image = Image::open(path)?;
            return Ok(Disk { path: path.to_owned(), size: image.size(), source: Source::Qcow2(RefCell::new(Box::new(image))) });
        }
        if let Some((_, name)) = FOREIGN.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Err(Error::user(format!("{} is a {name} file, and kbake looks into qcow2 and raw ones", path.display()))
                .hint("unpack it, or convert it: qemu-img convert -O qcow2 IMAGE OTHER.qcow2"));
        }
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Disk { path: path.to_owned(), size, source: Source::Raw(file) })
    }

    /// The image's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether the disk lies in a qcow2 file.
    pub fn is_qcow2(&self) -> bool {
        matches!(self.source, Source::Qcow2(_))
    }

    /// Why the file may hold more than the disk shows.
    pub fn hidden(&self) -> Result<Option<String>> {
        match &self.source {
            Source::Qcow2(image) => image.borrow_mut().hidden(),
            Source::Raw(_) => Ok(None),
        }
    }

    /// Fills `into` with the disk's bytes from `offset`.
    ///
    /// # Errors
    /// When the range leaves the disk, or the file cannot be read or makes no sense.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        match &self.source {
            Source::Qcow2(image) => image.borrow_mut().read_at(offset, into),
            Source::Raw(file) => {
                file.read_exact_at(into, offset).map_err(|e| Error::io(format!("read {} at byte {offset}", self.path.display()), &e))
            }
        }
    }

    /// The first place at or behind `offset` that may have something else than zeros; none when there is none.
    pub fn next_data(&self, offset: u64) -> Result<Option<u64>> {
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
                // A device or filesystem that does not know holes has none.
                Err(_) => Ok(Some(offset)),
            },
        }
    }
}

/// A stretch of a disk: a partition, or all of it.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    pub disk: &'a Disk,
    /// In bytes from the disk's start.
    pub start: u64,
    /// In bytes.
    pub size: u64,
}

impl Part<'_> {
    /// Whether `len` bytes from `offset` are in it.
    pub fn has(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.size)
    }

    /// The `len` bytes from `offset`.
    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, Trouble> {
        let mut bytes = vec![0; len];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `into` with the bytes from `offset`.
    pub fn read_into(&self, offset: u64, into: &mut [u8]) -> Result<(), Trouble> {
        if !self.has(offset, into.len() as u64) {
            return Err(Trouble::Broken(format!("it has something at byte {offset}, and {} bytes in all", self.size)));
        }
        Ok(self.disk.read_at(self.start + offset, into)?)
    }
}

/// Why something in an image could not be read.
pub enum Trouble {
    /// The image makes no sense there, or needs what is not read. Other parts of it may be sound.
    Broken(String),
    /// The image's file cannot be read, or a stop was asked for.
    Own(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Own(error)
    }
}

impl Trouble {
    /// What is wrong with the image; other failures go up.
    pub fn broken(self) -> Result<String> {
        match self {
            Trouble::Broken(why) => Ok(why),
            Trouble::Own(error) => Err(error),
        }
    }
}
