//! The losses of a power cut: unsynced bytes of files, and unsynced names in folders.
//!
//! A filesystem may keep or lose each of them independently; here the test chooses.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::common::fsx::change::Change;
use crate::common::value::Sha256;

/// The fate of unsynced names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Kept.
    Kept,
    /// Back to the state of the last sync.
    Lost,
    /// In each folder, some, all or none of the first ones are kept, by this number.
    Some(u32),
}

/// The fate of unsynced bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// Kept.
    Kept,
    /// The file has its previous length.
    Cut,
    /// The file has its new length, filled with zeros.
    Zeros,
}

/// Everything that is not durable yet.
pub(super) struct Unsettled {
    /// The folder that keeps files whose name was removed.
    graves: PathBuf,
    dug: u32,
    /// By device and inode number: the file, and its durable length.
    files: BTreeMap<(u64, u64), (File, u64)>,
    names: Vec<Name>,
    /// The file whose name each thread's current change removes.
    victims: BTreeMap<i32, PathBuf>,
}

/// A change of names.
struct Name {
    folder: PathBuf,
    what: What,
}

enum What {
    New(PathBuf),
    Folder(PathBuf),
    Moved { from: PathBuf, to: PathBuf, over: Option<PathBuf> },
    Gone { path: PathBuf, was: Option<PathBuf> },
}

impl Unsettled {
    pub(super) fn new(graves: &Path) -> Self {
        Unsettled { graves: graves.to_owned(), dug: 0, files: BTreeMap::new(), names: Vec::new(), victims: BTreeMap::new() }
    }

    /// Records what the change will remove.
    pub(super) fn before(&mut self, change: &Change<'_>) {
        match change {
            Change::Write { file, .. } | Change::Copy { file, .. } | Change::Resize { file, .. } => self.touch(file),
            Change::Rename { to: path, .. } | Change::Remove(path) => self.bury(path),
            Change::Create(path) | Change::MakeFolder(path) if fs::symlink_metadata(path).is_ok() => {
                drop(self.victims.insert(thread(), PathBuf::new()))
            }
            _ => {}
        }
    }

    /// Records that the change failed.
    pub(super) fn failed(&mut self) {
        self.victims.remove(&thread());
    }

    /// Records that the change was made.
    pub(super) fn after(&mut self, change: &Change<'_>) {
        let folder = |path: &Path| path.parent().unwrap().to_owned();
        let own = |path: &Path| path.to_owned();
        let victim = self.victims.remove(&thread());
        let name = match change {
            Change::Sync { file, .. } => {
                self.files.remove(&number(file));
                return;
            }
            Change::SyncFolder(path) => {
                self.names.retain(|name| name.folder != *path);
                return;
            }
            // An existing file gets no new name.
            Change::Create(_) | Change::MakeFolder(_) if victim.is_some() => return,
            Change::Create(path) | Change::Link { to: path } => Name { folder: folder(path), what: What::New(own(path)) },
            Change::MakeFolder(path) => Name { folder: folder(path), what: What::Folder(own(path)) },
            Change::Rename { from, to } => Name { folder: folder(to), what: What::Moved { from: own(from), to: own(to), over: victim } },
            Change::Remove(path) => Name { folder: folder(path), what: What::Gone { path: own(path), was: victim } },
            _ => return,
        };
        self.names.push(name);
    }

    /// Applies the power cut.
    pub(super) fn lose(&mut self, names: Names, bytes: Bytes) {
        for (mut file, settled) in std::mem::take(&mut self.files).into_values() {
            let len = file.metadata().unwrap().len();
            match bytes {
                Bytes::Kept => {}
                Bytes::Cut => file.set_len(settled.min(len)).unwrap(),
                Bytes::Zeros if len > settled => {
                    file.set_len(settled).unwrap();
                    file.set_len(len).unwrap();
                    file.seek(SeekFrom::Start(0)).unwrap();
                }
                Bytes::Zeros => {}
            }
        }
        let mut counts: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for name in &self.names {
            *counts.entry(name.folder.clone()).or_default() += 1;
        }
        let keeps = |folder: &Path| match names {
            Names::Kept => usize::MAX,
            Names::Lost => 0,
            Names::Some(seed) => {
                // The name of the temporary folder must not influence the choice.
                let last = folder.file_name().unwrap_or_default().to_string_lossy();
                let dice = Sha256::of(format!("{seed} {last}")).to_string();
                let dice = usize::from_str_radix(&dice[..4], 16).unwrap();
                dice % (counts[folder] + 1)
            }
        };
        let mut left: BTreeMap<PathBuf, usize> = counts.keys().map(|folder| (folder.clone(), keeps(folder))).collect();
        let mut lost = Vec::new();
        for name in std::mem::take(&mut self.names) {
            let left = left.get_mut(&name.folder).unwrap();
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => lost.push(name.what),
            }
        }
        lost.into_iter().rev().for_each(undo);
    }

    fn touch(&mut self, file: &File) {
        let number = number(file);
        if self.files.contains_key(&number) {
            return;
        }
        // Opened again: a duplicate of the handle would hold its lock.
        let again = OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()));
        self.files.insert(number, (again.unwrap(), file.metadata().unwrap().len()));
    }

    /// Keeps the file at `path` under a second name elsewhere.
    fn bury(&mut self, path: &Path) {
        fs::create_dir_all(&self.graves).unwrap();
        self.dug += 1;
        let grave = self.graves.join(self.dug.to_string());
        if fs::hard_link(path, &grave).is_ok() {
            self.victims.insert(thread(), grave);
        }
    }
}

fn thread() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

fn number(file: &File) -> (u64, u64) {
    let meta = file.metadata().unwrap();
    (meta.dev(), meta.ino())
}

/// Undoes a change of names; skipped if later changes made that impossible.
fn undo(what: What) {
    let _ = match what {
        What::New(path) => fs::remove_file(path),
        What::Folder(path) => fs::remove_dir_all(path),
        What::Moved { from, to, over } => fs::rename(&to, from).and_then(|()| match over {
            Some(grave) => fs::rename(grave, to),
            None => Ok(()),
        }),
        What::Gone { path, was: Some(grave) } => fs::rename(grave, path),
        What::Gone { was: None, .. } => Ok(()),
    };
}
