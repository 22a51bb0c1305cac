//! Detection of disk images that a machine has open.
//!
//! QEMU holds locks on every image that it uses, including backing images: on one byte for each permission that it
//! holds, and on one for each that it denies to others (QEMU's block/file-posix.c, "raw_apply_lock_bytes").

use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::common::error::{Error, Result};

/// The bytes that QEMU locks, of both kinds.
const LOCKED: Range<u64> = 100..300;

/// True if a running QEMU, or another program with the same locks, has the file at `path` open. False if the file does
/// not exist, or if the kernel has no list of locks, because then nobody can know.
///
/// # Errors
/// A file that cannot be inspected.
pub(crate) fn is_used_by_a_machine(path: &Path) -> Result<bool> {
    let meta = match fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        meta => meta.map_err(|e| Error::io(format!("stat {}", path.display()), &e))?,
    };
    // fcntl(2) would report a process number, which these locks do not have.
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let [major, minor] = [rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev())];
    Ok(locks.lines().any(|line| is_lock_on(line, [major, minor], meta.ino())))
}

/// True if a line of proc_locks(5) is a QEMU lock on the inode of the device.
fn is_lock_on(line: &str, [major, minor]: [u32; 2], inode: u64) -> bool {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    // A waiting lock has an arrow after the number.
    let [_, kind, _, _, _, place, start, end] = fields[..] else { return false };
    let parts: Vec<&str> = place.split(':').collect();
    let [found_major, found_minor, found_inode] = parts[..] else { return false };
    let [found_major, found_minor] = [found_major, found_minor].map(|number| u32::from_str_radix(number, 16).ok());
    // Filesystems without a device of their own, such as Btrfs, show another number here than in stat(2).
    let same_device = (found_major, found_minor) == (Some(major), Some(minor)) || found_major == Some(0) && major == 0;
    let start: u64 = start.parse().unwrap_or(0);
    let end: u64 = end.parse().unwrap_or(u64::MAX);
    matches!(kind, "OFDLCK" | "POSIX") && same_device && found_inode.parse() == Ok(inode) && start < LOCKED.end && end >= LOCKED.start
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_image_that_qemu_has_open_is_detected_and_so_is_its_backing_image() {
        let dir = tempfile::tempdir().unwrap();
        let (under, over) = (dir.path().join("under.qcow2"), dir.path().join("over.qcow2"));
        let create = |args: &[&str], path: &Path| {
            let done = Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).args(args).arg(path).arg("1M").status();
            assert!(done.unwrap_or_else(|e| panic!("qemu-img is missing: run tests/setup.sh ({e})")).success());
        };
        create(&[], &under);
        create(&["-F", "qcow2", "-b", under.to_str().unwrap()], &over);
        assert!(!is_used_by_a_machine(&under).unwrap() && !is_used_by_a_machine(&over).unwrap());
        let mut qemu =
            Command::new("qemu-io").arg("-f").arg("qcow2").arg(&over).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // The prompt: now the files are open.
        qemu.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        assert!(is_used_by_a_machine(&under).unwrap() && is_used_by_a_machine(&over).unwrap());
        qemu.stdin.take().unwrap().write_all(b"quit\n").unwrap();
        assert!(qemu.wait().unwrap().success());
        assert!(!is_used_by_a_machine(&under).unwrap() && !is_used_by_a_machine(&over).unwrap());
        assert!(!is_used_by_a_machine(&dir.path().join("gone")).unwrap());
    }

    #[test]
    fn other_locks_are_not_qemus() {
        let line = "7: OFDLCK ADVISORY  READ  -1 08:11:4242 100 100";
        assert!(is_lock_on(line, [8, 17], 4242));
        assert!(is_lock_on("7: OFDLCK ADVISORY  READ  -1 00:2a:4242 0 EOF", [0, 17], 4242), "another number of the same Btrfs");
        for (line, device, inode) in [
            (line, [8, 18], 4242),
            (line, [8, 17], 4243),
            ("7: FLOCK  ADVISORY  WRITE 12 08:11:4242 0 EOF", [8, 17], 4242),
            ("7: POSIX  ADVISORY  WRITE 12 08:11:4242 1073741824 1073742335", [8, 17], 4242),
            ("7: POSIX  ADVISORY  WRITE 12 08:11:4242 0 99", [8, 17], 4242),
            ("", [8, 17], 4242),
        ] {
            assert!(!is_lock_on(line, device, inode), "{line}");
        }
        // kbake's own locks on temporary files are of another kind.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = File::create(&path).unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert!(!is_used_by_a_machine(&path).unwrap());
    }
}
