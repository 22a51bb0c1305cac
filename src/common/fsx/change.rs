//! All changes that this program makes to the disk, one function each. The rest of `fsx` calls these, and so does code
//! that writes around it. So tests can make each single change fail, tear it in two, or end the process before it: see
//! `fault`.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, OFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, renameat_with, utimensat};

/// A change that is about to be made.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(test), expect(dead_code, reason = "only the tests look at it"))]
pub(crate) enum Change<'a> {
    /// A file is opened, and created if it does not exist.
    Create(&'a Path),
    /// Bytes are written at the file's position.
    Write { file: &'a File, path: &'a Path, bytes: &'a [u8] },
    /// Bytes are copied from one file to the same offset in another.
    Copy { from: &'a File, file: &'a File, path: &'a Path, start: u64, len: u64 },
    /// A file's length changes.
    Resize { file: &'a File, path: &'a Path },
    /// The mode of a file or folder changes.
    Mode(&'a Path),
    /// A file's modification time is set to now.
    Touch(&'a Path),
    /// A file's bytes are synced.
    Sync { file: &'a File, path: &'a Path },
    /// A folder's names are synced.
    SyncFolder(&'a Path),
    /// A file is renamed.
    Rename { from: &'a Path, to: &'a Path },
    /// A file gets a hard link.
    Link { to: &'a Path },
    /// A name is removed.
    Remove(&'a Path),
    /// A folder is created.
    MakeFolder(&'a Path),
    /// A folder is removed with its contents.
    RemoveFolder(&'a Path),
}

#[cfg(test)]
use super::fault::{after_change as after, before};

#[cfg(not(test))]
#[inline]
fn before(_: &Change<'_>) -> io::Result<()> {
    Ok(())
}

#[cfg(not(test))]
#[inline]
fn after(_: &Change<'_>, _made: bool) {}

#[inline]
fn make<T>(change: Change<'_>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    before(&change)?;
    let done = act();
    after(&change, done.is_ok());
    done
}

/// Opens a file with options that may create it.
pub(crate) fn create(options: &OpenOptions, path: &Path) -> io::Result<File> {
    make(Change::Create(path), || options.open(path))
}

/// Writes some of `bytes` at the position of `file`, opened at `path`.
pub(crate) fn write(mut file: &File, path: &Path, bytes: &[u8]) -> io::Result<usize> {
    make(Change::Write { file, path, bytes }, || file.write(bytes))
}

/// Writes all of `bytes`.
pub(crate) fn write_all(file: &File, path: &Path, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(file, path, bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Copies `len` bytes from offset `start` to the same offset of `file`. Returns the number of bytes copied.
pub(crate) fn copy(mut from: &File, mut file: &File, path: &Path, start: u64, len: u64) -> io::Result<u64> {
    make(Change::Copy { from, file, path, start, len }, || {
        from.seek(SeekFrom::Start(start))?;
        file.seek(SeekFrom::Start(start))?;
        // Between two files this is copy_file_range if the kernel supports it.
        io::copy(&mut from.take(len), &mut file)
    })
}

/// Makes an empty file share all extents of another, if the filesystem can.
pub(crate) fn clone(from: &File, file: &File, path: &Path) -> io::Result<bool> {
    // Another filesystem, or one without reflinks, refuses in several ways; a real failure shows in the copy.
    make(Change::Resize { file, path }, || Ok(rustix::fs::ioctl_ficlone(file, from).is_ok()))
}

/// Changes a file's length.
pub(crate) fn set_len(file: &File, path: &Path, len: u64) -> io::Result<()> {
    make(Change::Resize { file, path }, || file.set_len(len))
}

/// Sets a file's mode to exactly `mode`.
pub(crate) fn set_mode(file: &File, path: &Path, mode: u32) -> io::Result<()> {
    make(Change::Mode(path), || file.set_permissions(Permissions::from_mode(mode)))
}

/// Sets a file's modification time to now.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    let now = |nanos| Timespec { tv_sec: 0, tv_nsec: nanos };
    let times = Timestamps { last_access: now(UTIME_OMIT), last_modification: now(UTIME_NOW) };
    make(Change::Touch(path), || Ok(utimensat(CWD, path, &times, AtFlags::empty())?))
}

/// Syncs a file's bytes to disk.
pub(crate) fn sync(file: &File, path: &Path) -> io::Result<()> {
    make(Change::Sync { file, path }, || file.sync_all())
}

/// Syncs a folder's names to disk.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    make(Change::SyncFolder(path), || File::open(path)?.sync_all())
}

/// Renames a file, replacing an existing target.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    make(Change::Rename { from, to }, || fs::rename(from, to))
}

/// Renames a file unless the target exists.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    make(Change::Rename { from, to }, || Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?))
}

/// Exchanges the names of two files or folders.
pub(crate) fn exchange(from: &Path, to: &Path) -> io::Result<()> {
    make(Change::Rename { from, to }, || Ok(renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE)?))
}

/// Creates a hard link.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<()> {
    make(Change::Link { to }, || fs::hard_link(from, to))
}

/// Removes a name.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    make(Change::Remove(path), || fs::remove_file(path))
}

/// Creates a folder with exactly `mode`.
pub(crate) fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    make(Change::MakeFolder(path), || fs::DirBuilder::new().mode(mode).create(path))?;
    // The umask may have removed bits. Set through the open folder: another process may have put a link in its place.
    allow_other_modes(make(Change::Mode(path), || {
        let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits() as i32;
        OpenOptions::new().read(true).custom_flags(flags).open(path)?.set_permissions(Permissions::from_mode(mode))
    }))
}

/// Ignores a refused mode: FAT and some network shares have fixed modes. Elsewhere the owner is never refused. Callers
/// to whom the mode matters check the result.
pub(crate) fn allow_other_modes(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|e| if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) { Ok(()) } else { Err(e) })
}

/// Creates a folder and its parents, with modes subject to the umask.
pub(crate) fn make_folders(path: &Path) -> io::Result<()> {
    make(Change::MakeFolder(path), || fs::create_dir_all(path))
}

/// Creates a folder and its parents, with `mode` subject to the umask.
pub(crate) fn make_closed_folders(path: &Path, mode: u32) -> io::Result<()> {
    make(Change::MakeFolder(path), || fs::DirBuilder::new().recursive(true).mode(mode).create(path))
}

/// Removes a folder and its contents without following links.
pub(crate) fn remove_folder(path: &Path) -> io::Result<()> {
    make(Change::RemoveFolder(path), || fs::remove_dir_all(path))
}
