//! Disk images, the filesystems in them, and the files from which software is read.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kbake::inspect::Image;
use kbake::inspect::contents::Content;
use kbake::inspect::readback::{self, Depth};
use kbake::tree::Tree;
use kbake::value::{Cancel, TreePath};

use super::short;
use crate::seeds;

/// First byte: the kind of file.
pub fn contents(bytes: &[u8]) {
    const PATHS: [&str; 5] = ["usr/bin/p", "a.dist-info/METADATA", "var/lib/dpkg/status", "lib/apk/db/installed", "etc/os-release"];
    let Some((pick, bytes)) = bytes.split_first() else { return };
    let path = TreePath::fixed(PATHS[usize::from(*pick) % PATHS.len()]);
    match kbake::inspect::contents::content(&path, bytes).expect("memory can be read") {
        Some(Content::Go(Ok(program))) => {
            let mut modules = program.main.iter().chain(&program.modules);
            assert!(!program.go.is_empty() && modules.all(|module| !module.path.is_empty()));
        }
        Some(Content::Go(Err(why))) => assert!(why.len() < 200, "{why}"),
        Some(Content::Installed(all)) => assert!(all.iter().all(|one| !one.name.is_empty() && !one.version.is_empty())),
        Some(Content::Python(found)) => assert!(!found.name.is_empty() && !found.version.is_empty()),
        Some(Content::System(_)) | None => {}
    }
}

fn memory_file() -> File {
    File::from(rustix::fs::memfd_create("kbake-fuzz", rustix::fs::MemfdFlags::CLOEXEC).expect("a file in memory"))
}

/// A file in memory with these bytes, by path.
fn with_file(bytes: &[u8], look: impl FnOnce(&Path)) {
    thread_local!(static FILE: RefCell<Option<File>> = const { RefCell::new(None) });
    FILE.with_borrow_mut(|slot| {
        let file = slot.get_or_insert_with(memory_file);
        file.set_len(0).expect("emptied");
        file.write_all_at(bytes, 0).expect("written");
        look(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())));
    });
}

pub fn qcow2(bytes: &[u8]) {
    with_file(bytes, |path| {
        let mut image = match Image::open(path) {
            Ok(image) => image,
            Err(error) => return short(&error),
        };
        let size = image.size();
        let mut buffer = vec![0; 100_000];
        for at in [0, 511, size / 2, size.saturating_sub(700)] {
            let len = (size.saturating_sub(at)).min(buffer.len() as u64) as usize;
            if let Err(error) = image.read_at(at, &mut buffer[..len]) {
                short(&error);
            }
        }
        assert!(image.read_at(size, &mut [0]).is_err() && image.read_at(u64::MAX, &mut [0]).is_err());
        let mut at = 0;
        for _ in 0..20 {
            match image.next_allocated(at) {
                Ok(Some(found)) => {
                    assert!(found < size && found + (2 << 20) > at);
                    if image.read_at(found, &mut [0]).is_err() {
                        break;
                    }
                    at = found.max(at) + (2 << 20);
                    if at >= size {
                        break;
                    }
                }
                Ok(None) | Err(_) => break,
            }
        }
    });
}

/// Patches of four bytes (three of them the place) on a sound filesystem in a sound image. A difference must be reported, never a crash.
pub fn ext4(bytes: &[u8]) {
    thread_local!(static BED: (seeds::Disk, Tree, File) = {
        let (disk, tree) = seeds::disk();
        let file = memory_file();
        file.write_all_at(&seeds::plain_qcow2(&disk.bytes), 0).expect("written");
        (disk, tree, file)
    });
    BED.with(|(disk, tree, file)| {
        let patches: Vec<(usize, u8)> = bytes
            .chunks_exact(4)
            .take(64)
            // Only bytes in use: the superblock, the tables, the folders.
            .map(|patch| {
                (disk.busy[(usize::from(patch[0]) << 16 | usize::from(patch[1]) << 8 | usize::from(patch[2])) % disk.busy.len()], patch[3])
            })
            .collect();
        let put = |at: usize, byte: u8| file.write_all_at(&[byte], seeds::PLAIN_AT + at as u64).expect("written");
        for &(at, byte) in &patches {
            put(at, byte);
        }
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        match readback::verify_tree(&path, 0, tree, Depth::All, &Cancel::new()) {
            Ok(report) => assert!(report.count == 0 || report.into_result().is_err()),
            Err(error) => short(&error),
        }
        for &(at, _) in &patches {
            put(at, disk.bytes[at]);
        }
    });
}
