//! The packages for an installation: each verified against its digest, and written uncompressed.
//!
//! dpkg would decompress them one after the other, on one processor, and the essential ones twice. Here several threads do it,
//! for most packages while the first ones are being installed. The packages' content stays as locked.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::packages::{self, Package};
use super::{Deb, create, open};
use crate::common::error::{Error, Result};
use crate::common::fsx::change;
use crate::common::tree::{Content, Layer};
use crate::common::value::{Cancel, Hasher, Sha256, TreePath};
use crate::formats::archive::deb::{self, Control};
use crate::formats::archive::{Duplicates, Limits, Parents, Policy, Sink, Verdict, discard};

/// The maximum number of threads: each may hold a decoder, which takes 8 MiB for packages as they are made, and up to 96 MiB.
/// More would gain little, since most packages are unpacked while the first ones are being installed.
const THREADS_MAX: usize = 2;
/// Folders whose files are not installed, and whose digests are not needed.
const LEFT_OUT: &[&str] = &["usr/share/info/", "usr/share/lintian/", "usr/share/man/"];
/// Bytes read or written at a time.
const CHUNK: usize = 256 << 10;

/// The packages' control data, in the order of `debs`.
///
/// # Errors
/// A package with other bytes than locked, or with another name or version than it was locked under.
pub(super) fn describe(debs: &[&Deb], jobs: usize, cancel: &Cancel) -> Result<Vec<Package>> {
    each(debs, jobs, cancel, |deb| {
        if !packages::is_name(&deb.name) {
            return Err(Error::user(format!("`{}` is not a package name", deb.name.escape_debug())));
        }
        let control = verified(deb, cancel, |bytes| deb::control(bytes, &what(deb)))?;
        check_locked(deb, &control)?;
        Ok(Package::of(&control))
    })
}

/// Writes the packages to `folder`, uncompressed, as `NAME.deb`. Returns the digests of the files that they ship.
///
/// # Errors
/// A package with other bytes than locked; a full disk; an interruption.
pub(super) fn unpack(debs: &[&Deb], folder: &Path, jobs: usize, cancel: &Cancel) -> Result<BTreeSet<Sha256>> {
    let shipped = each(debs, jobs, cancel, |deb| {
        let path = folder.join(format!("{}.deb", deb.name));
        let file = create(&path)?;
        let mut out = BufWriter::with_capacity(CHUNK, Output { file: &file, path: &path });
        let mut shipped = Shipped { what: what(deb), digests: BTreeSet::new() };
        verified(deb, cancel, |bytes| deb::plain(bytes, &lenient(what(deb)), &mut shipped, &mut out))?;
        out.flush().map_err(|e| Error::io(format_args!("write {}", path.display()), &e))?;
        Ok(shipped.digests)
    })?;
    Ok(shipped.into_iter().flatten().collect())
}

/// A policy without restrictions: nothing is unpacked by it, dpkg decides what it installs.
fn lenient(what: String) -> Policy {
    Policy {
        devices: Verdict::Allow,
        duplicates: Duplicates::LastWins,
        parents: Parents::Create,
        limits: Limits::default(),
        ..Policy::package(what, Layer::Base)
    }
}

/// A sink that keeps only the files' digests.
struct Shipped {
    what: String,
    digests: BTreeSet<Sha256>,
}

impl Sink for Shipped {
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content> {
        if LEFT_OUT.iter().any(|folder| path.as_bytes().starts_with(folder.as_bytes())) {
            io::copy(bytes, &mut io::sink()).map_err(|e| Error::io(format_args!("read {}", self.what), &e))?;
            // The reader expects contents of the size in the archive.
            return Ok(Content::Blob { digest: Sha256::of(""), size });
        }
        let content = discard(&self.what, size, bytes)?;
        if let Content::Blob { digest, .. } = &content {
            self.digests.insert(*digest);
        }
        Ok(content)
    }
}

fn what(deb: &Deb) -> String {
    format!("the package `{}`", deb.name)
}

/// Runs `act` for each package, with up to `jobs` threads. Of several failures the first in the packages' order is returned.
fn each<T: Send>(debs: &[&Deb], jobs: usize, cancel: &Cancel, act: impl Fn(&Deb) -> Result<T> + Sync) -> Result<Vec<T>> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done: Mutex<Vec<(usize, Result<T>)>> = Mutex::default();
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(deb) = debs.get(index) else { break };
            let one = cancel.check().and_then(|()| act(deb));
            failed.fetch_or(one.is_err(), Ordering::Relaxed);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, one));
        }
    };
    std::thread::scope(|scope| (0..jobs.clamp(1, THREADS_MAX)).for_each(|_| drop(scope.spawn(work))));
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, one)| one).collect()
}

fn check_locked(deb: &Deb, control: &Control) -> Result<()> {
    let locked = [deb.name.as_str(), deb.version.as_str(), deb.arch.as_str()];
    let found = [control.package(), control.version(), control.architecture()];
    if locked == found {
        return Ok(());
    }
    Err(Error::integrity(format!("`{}` is locked to another package", deb.name))
        .detail(format!("expected {}, found {}", locked.join(" "), found.join(" ")))
        .hint("run `kbake lock` to resolve the packages again"))
}

/// Passes a package to `read`, and returns its result only if the same bytes are those that were locked.
///
/// # Errors
/// Other bytes; errors of `read`; an interruption.
pub(super) fn verified<T>(deb: &Deb, cancel: &Cancel, read: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
    let mut input = Hashed { file: open(&deb.path)?, hasher: Hasher::new(), size: 0, cancel };
    let made = read(&mut input);
    cancel.check()?;
    // Other bytes than the locked ones explain every complaint about them.
    io::copy(&mut input, &mut io::sink()).map_err(|e| Error::io(format_args!("read {}", deb.path.display()), &e))?;
    let (found, found_size) = (input.hasher.finish(), input.size);
    if found != deb.digest || found_size != deb.size {
        return Err(Error::integrity(format!("hash mismatch for `{}`", deb.name))
            .detail(format!("expected sha256:{} ({} bytes)", deb.digest, deb.size))
            .detail(format!("found sha256:{found} ({found_size} bytes) in {}", deb.path.display())));
    }
    made
}

/// Hashes the bytes that pass through.
struct Hashed<'a> {
    file: File,
    hasher: Hasher,
    size: u64,
    cancel: &'a Cancel,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check()?;
        let count = self.file.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}

/// A new file.
struct Output<'a> {
    file: &'a File,
    path: &'a Path,
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        change::write(self.file, self.path, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Output<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let mut file = self.file;
        file.seek(to)
    }
}
