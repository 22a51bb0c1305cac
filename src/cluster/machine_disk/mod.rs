//! Disks of machines and their backing images: copies of role images, named by their contents.
//!
//! A disk holds only its differences from the backing image. If that were `images/ROLE.qcow2`, the next `kbake build ROLE`
//! would replace its bytes, and a running machine would come back with a broken filesystem. So the backing image is a read-only
//! copy whose name changes with its contents: existing disks keep the old one.

use std::path::Path;

use crate::common::error::{Error, Result};
use crate::common::fsx::{self, Persisted};
use crate::common::value::{Cancel, RoleName, Sha256, Size};
use crate::formats::disk::qcow2::{Backing, backing_of, empty, overlay};
use crate::formats::inspect::Image;

/// Hexadecimal digits of the digest in a name: enough for one user's images, few enough to read.
const DIGITS: usize = 12;

/// Bytes at the start of a disk that hold its header and the backing image's name: kbake and QEMU put both into the first
/// cluster.
const HEAD: usize = 64 << 10;

/// The mode of a backing image: public and read-only.
const IMAGE_MODE: u32 = 0o444;

/// The mode of a disk: only its owner has access, since the machine copies its keys to it. libvirt's daemon changes the owner
/// to the hypervisor's user when it starts the machine.
const DISK_MODE: u32 = 0o600;

/// The mode of the folders: a hypervisor that runs as another user passes through them, whatever the umask was.
pub(crate) const FOLDER_MODE: u32 = 0o711;

/// A backing image: a role image's contents, kept for the disks over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackingImage {
    name: String,
    /// The virtual size of the disk in it, in bytes.
    size: u64,
}

/// Keeps the contents of `image` in `folder` as a backing image, unless it exists. A copy or reflink, never a hard link:
/// somebody may start a machine on the image itself.
///
/// # Errors
/// `image` is not a qcow2 file without a backing file, or changes during the copy. The kept file exists and does not match its
/// name (class `Integrity`): disks may depend on its bytes, so it is left alone.
pub(crate) fn keep_backing(image: &Path, role: &RoleName, folder: &Path, cancel: &Cancel) -> Result<BackingImage> {
    // A file that is not an image must not be kept.
    Image::open(image)?;
    let Some((digest, _)) = fsx::digest_if_present(image, cancel)? else {
        return Err(Error::user(format!("{} was removed while it was read", image.display())).hint("run the same command again"));
    };
    let name = kept_name(role, &digest);
    let kept = folder.join(&name);
    fsx::create_dir(folder, FOLDER_MODE)?;
    require_trust(folder)?;
    if !fsx::exists(&kept)? {
        fsx::copy_verified(image, &kept, IMAGE_MODE, &digest, cancel).map_err(|error| error.hint("run the same command again"))?;
    }
    check(&kept, &digest, cancel)?;
    Ok(BackingImage { name, size: Image::open(&kept)?.size() })
}

/// The name that the contents of `image` have as a backing image; none if there is no such file.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn backing_name(image: &Path, role: &RoleName, cancel: &Cancel) -> Result<Option<String>> {
    Ok(fsx::digest_if_present(image, cancel)?.map(|(digest, _)| kept_name(role, &digest)))
}

fn kept_name(role: &RoleName, digest: &Sha256) -> String {
    format!("{role}-{}.qcow2", &digest.to_string()[..DIGITS])
}

/// The size of the smallest disk over `image`, in bytes: its own virtual size; zero for a file that is not an image.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn min_size(image: &Path) -> Result<u64> {
    Ok(if fsx::exists(image)? { Image::open(image).map_or(0, |image| image.size()) } else { 0 })
}

/// Facts that a disk's header states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    /// The file name of the backing image.
    pub backing: String,
    /// True if that file exists.
    pub backing_exists: bool,
    /// In bytes.
    pub size: u64,
}

/// Facts that the header of the disk at `path` states; none if there is no file, or if the disk has no backing image.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read_disk(path: &Path) -> Result<Option<Disk>> {
    let Some(head) = fsx::read_head(path, HEAD)? else { return Ok(None) };
    let Some((name, size)) = backing_of(&head) else { return Ok(None) };
    let folder = path.parent().unwrap_or(Path::new("."));
    let backing = Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Some(Disk { backing, backing_exists: fsx::facts_followed(&folder.join(&name))?.is_some(), size }))
}

/// Refuses a folder that others can change: they could replace the bytes under its disks.
fn require_trust(folder: &Path) -> Result<()> {
    fsx::distrust(folder)?.map_or(Ok(()), |found| {
        let what = format!("no disk is put into {}: {} {}", folder.display(), found.folder.display(), found.what);
        Err(Error::user(what).hint(found.remedy))
    })
}

fn check(kept: &Path, expected: &Sha256, cancel: &Cancel) -> Result<()> {
    let found = match fsx::digest_if_present(kept, cancel)? {
        Some((found, _)) if found == *expected => return Ok(()),
        Some((found, size)) => format!("found    sha256:{found}, {size} bytes"),
        None => "found    a link to nothing".to_owned(),
    };
    Err(Error::integrity(format!("{} does not match the digest in its name", kept.display()))
        .detail(format!("expected sha256:{expected}"))
        .detail(found)
        .hint("disks may depend on it; if none does, remove it, and run the same command again"))
}

/// Makes an empty disk at `path` over `backing`, which is kept in the folder above the disk's own. Its size is at least that of
/// its backing image. An existing file at `path` stays as it is: it holds a machine's writes.
///
/// # Errors
/// Also when the disk's folder is a link to a place from where the backing image cannot be found.
pub(crate) fn create_disk(path: &Path, backing: &BackingImage, size: Size) -> Result<Persisted> {
    let folder = path.parent().ok_or_else(|| Error::user(format!("{} is in no folder", path.display())))?;
    fsx::create_dir(folder, FOLDER_MODE)?;
    require_trust(folder)?;
    // Relative, so that the whole tree can be moved. QEMU and libvirt resolve it from the disk's folder, through the kernel.
    let name = format!("../{}", backing.name);
    if !fsx::exists(&folder.join(&name))? {
        return Err(Error::user(format!("{} is a link to a folder from which {name} cannot be found", folder.display()))
            .hint("make the folder above it the link"));
    }
    let bytes = overlay(&Backing { name: &name, format: "qcow2", size: backing.size }, size.0.max(backing.size))?;
    fsx::write_new(path, DISK_MODE, &bytes)
}

/// Makes an empty disk at `path` without a backing image. An existing file stays as it is.
pub(crate) fn create_empty(path: &Path, size: Size) -> Result<Persisted> {
    let folder = path.parent().ok_or_else(|| Error::user(format!("{} is in no folder", path.display())))?;
    fsx::create_dir(folder, FOLDER_MODE)?;
    fsx::write_new(path, DISK_MODE, &empty(size.0)?)
}

#[cfg(test)]
mod tests;
