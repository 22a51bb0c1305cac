//! What machines' disks lie on: copies of role images that are named by their contents, and the overlays over them.
//!
//! A disk holds only what differs from the file under it. Were that `images/ROLE.qcow2`, the next `kbake build ROLE` would
//! put other bytes under it, and a machine that was fine until then would come up with a broken filesystem. So a disk lies on
//! a copy that nobody writes to, whose name changes with its contents: old disks keep the old one.

use std::path::Path;

use crate::disk::qcow2::{Backing, Format, backing_of, empty, overlay};
use crate::disk::readback::Image;
use crate::error::{Error, Result};
use crate::fsx::{self, Persisted};
use crate::value::{Cancel, RoleName, Sha256, Size};

/// So many digits of a digest in a name: enough for a person's images, few enough to read.
const DIGITS: usize = 12;

/// So many bytes of a disk have its header with the name of what it lies on: kbake and QEMU put both into the first cluster.
const HEAD: usize = 64 << 10;

/// Of a kept image: it is public, everyone may read it, and nobody should write to it.
const IMAGE_MODE: u32 = 0o444;

/// Of a disk: its owner's alone, for the machine will copy its keys to it. libvirt's daemon makes it the hypervisor's
/// when it starts the machine.
const DISK_MODE: u32 = 0o600;

/// Of the folders: a hypervisor that runs as another user passes through them, whatever the umask was.
pub const FOLDER_MODE: u32 = 0o711;

/// A role image's contents, kept for disks to lie on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    name: String,
    /// The size of the disk in it, in bytes.
    size: u64,
}

impl Base {
    /// The file's name, `ROLE-DIGITS.qcow2`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Keeps the contents of `image` in `folder`, unless they are there. A copy or reflink, never a second name of the file:
/// somebody may start a machine on the image itself.
///
/// # Errors
/// When `image` is no qcow2 file that stands alone, or is written to meanwhile. When the kept file is there and is not what
/// its name says (class `Integrity`): disks may lie on it as it is, so it is left alone.
pub fn keep(image: &Path, role: &RoleName, folder: &Path, cancel: &Cancel) -> Result<Base> {
    // What is no image must not be kept.
    Image::open(image)?;
    let Some((digest, _)) = fsx::digest_if_present(image, cancel)? else {
        return Err(Error::user(format!("{} has just gone away", image.display())).hint("run the same command again"));
    };
    let name = kept_name(role, &digest);
    let kept = folder.join(&name);
    fsx::create_dir(folder, FOLDER_MODE)?;
    require_trust(folder)?;
    if !fsx::exists(&kept)? {
        fsx::copy_verified(image, &kept, IMAGE_MODE, &digest, cancel).map_err(|error| error.hint("run the same command again"))?;
    }
    check(&kept, &digest, cancel)?;
    Ok(Base { name, size: Image::open(&kept)?.size() })
}

/// The name that the contents of `image` have among the kept ones; none when there is no such file.
///
/// # Errors
/// When the file cannot be read.
pub fn name_of(image: &Path, role: &RoleName, cancel: &Cancel) -> Result<Option<String>> {
    Ok(fsx::digest_if_present(image, cancel)?.map(|(digest, _)| kept_name(role, &digest)))
}

fn kept_name(role: &RoleName, digest: &Sha256) -> String {
    format!("{role}-{}.qcow2", &digest.to_string()[..DIGITS])
}

/// The size of the smallest disk over `image`, in bytes: none is smaller than what it lies on. Nothing for what is no image.
///
/// # Errors
/// When it cannot be looked at.
pub fn least(image: &Path) -> Result<u64> {
    Ok(if fsx::exists(image)? { Image::open(image).map_or(0, |image| image.size()) } else { 0 })
}

/// Facts that a disk's header states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The file's name that it lies on.
    pub base: String,
    /// True when that file exists.
    pub base_is_there: bool,
    /// In bytes.
    pub size: u64,
}

/// Facts that the header of the disk at `path` states; none when nothing is there, or when the disk has no backing file.
///
/// # Errors
/// When the file cannot be read.
pub fn look(path: &Path) -> Result<Option<Disk>> {
    let Some(head) = fsx::read_head(path, HEAD)? else { return Ok(None) };
    let Some((name, size)) = backing_of(&head) else { return Ok(None) };
    let folder = path.parent().unwrap_or(Path::new("."));
    let base = Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Some(Disk { base, base_is_there: fsx::facts_followed(&folder.join(&name))?.is_some(), size }))
}

/// Whoever can change the folder can put other bytes under the disks in it.
fn require_trust(folder: &Path) -> Result<()> {
    fsx::distrust(folder)?.map_or(Ok(()), |found| {
        let what = format!("no disk is put into {}: {} {}", folder.display(), found.folder.display(), found.what);
        Err(Error::user(what).hint(found.mend))
    })
}

fn check(kept: &Path, expected: &Sha256, cancel: &Cancel) -> Result<()> {
    let found = match fsx::digest_if_present(kept, cancel)? {
        Some((found, _)) if found == *expected => return Ok(()),
        Some((found, size)) => format!("found    sha256:{found}, {size} bytes"),
        None => "found    a link to nothing".to_owned(),
    };
    Err(Error::integrity(format!("{} is not what its name says", kept.display()))
        .detail(format!("expected sha256:{expected}"))
        .detail(found)
        .hint("disks may lie on it; when none does, remove it, and run the same command again"))
}

/// Makes an empty disk at `path` over `base`, which is kept in the folder above the disk's own. As large as its base, if
/// `size` is less. What is at `path` already stays as it is: it holds what a machine has written.
///
/// # Errors
/// Also when the disk's folder is a link to somewhere from where the base is not to be found.
pub fn place_disk(path: &Path, base: &Base, size: Size) -> Result<Persisted> {
    let folder = path.parent().ok_or_else(|| Error::user(format!("{} is in no folder", path.display())))?;
    fsx::create_dir(folder, FOLDER_MODE)?;
    require_trust(folder)?;
    // Relative, so that all can be moved together. QEMU and libvirt look from the disk's folder, through the kernel.
    let name = format!("../{}", base.name);
    if !fsx::exists(&folder.join(&name))? {
        return Err(Error::user(format!("{} is a link to a folder from where {name} is not there", folder.display()))
            .hint("make the folder above it the link"));
    }
    let bytes = overlay(&Backing { name: &name, format: Format::Qcow2, size: base.size }, size.0.max(base.size))?;
    fsx::write_new(path, DISK_MODE, &bytes)
}

/// Makes an empty disk at `path` that lies on nothing. What is at `path` already stays as it is.
pub fn place_empty(path: &Path, size: Size) -> Result<Persisted> {
    let folder = path.parent().ok_or_else(|| Error::user(format!("{} is in no folder", path.display())))?;
    fsx::create_dir(folder, FOLDER_MODE)?;
    fsx::write_new(path, DISK_MODE, &empty(size.0)?)
}

#[cfg(test)]
mod tests;
