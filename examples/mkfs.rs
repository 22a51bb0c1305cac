//! Writes a folder as an ext4 filesystem into a qcow2 image, reproducibly:
//!
//! ```text
//! cargo run --example mkfs -- FOLDER IMAGE.qcow2
//! ```
//!
//! All files belong to root and keep their mode and modification time. Hard links become separate files; extended
//! attributes, devices and pipes are not supported.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a program of its own: it reads files and prints")]

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kbake::disk::ext4::{self, Params, Size};
use kbake::disk::{ContentSource, qcow2};
use kbake::fsx::{self, Persisted, Temp};
use kbake::tree::{Content, Kind, Layer, Meta, Node, Tree};
use kbake::value::{Cancel, Epoch, Hasher, Sha256, TreePath, derived_uuid};
use kbake::{Error, Result};

/// Free space in the filesystem, in bytes.
const SLACK: u64 = 256 << 20;
/// The size limit of the filesystem, in bytes.
const ROOM: u64 = 1 << 40;
/// The length of the journal: 64 MiB in blocks of 4096 bytes.
const JOURNAL_BLOCKS: u32 = 16_384;

fn main() -> ExitCode {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [folder, image] = &args[..] else {
        eprintln!("usage: mkfs FOLDER IMAGE.qcow2");
        return ExitCode::from(2);
    };
    match mkfs(folder, image) {
        Ok(summary) => {
            println!("{}: {} bytes", image.display(), summary.file_size);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.class().exit_code())
        }
    }
}

fn mkfs(folder: &Path, image: &Path) -> Result<qcow2::Summary> {
    let mut found = Found::default();
    let mut tree = Tree::new(meta(&metadata(folder)?));
    add(&mut tree, &mut found, folder, &TreePath::root())?;
    let params = Params {
        uuid: *derived_uuid("mkfs example", "filesystem").as_bytes(),
        label: String::new(),
        hash_seed: *derived_uuid("mkfs example", "directory hash").as_bytes(),
        epoch: newest(&tree)?,
        size: Size::Fit { slack: SLACK, room: ROOM },
        journal_blocks: JOURNAL_BLOCKS,
    };
    // The layout is a value: every range of the disk that is not zero, with file contents by digest.
    let disk = ext4::layout(&tree, &tree, &params)?;
    let mut out = Temp::beside(image)?;
    let jobs = std::thread::available_parallelism().map_or(1, |count| count.get());
    let summary = qcow2::write(&disk, &found, disk.len(), jobs, &mut out, &Cancel::new(), &|_| {})?;
    match out.place(image, 0o644)? {
        Persisted::Done => Ok(summary),
        Persisted::WasThere => Err(Error::user(format!("{} exists already", image.display()))),
    }
}

/// Adds the contents of `folder`, which is at `at` in the tree.
fn add(tree: &mut Tree, found: &mut Found, folder: &Path, at: &TreePath) -> Result<()> {
    for name in fsx::list(folder)? {
        let host = folder.join(&name);
        let path = TreePath::parse(&[at.as_bytes(), b"/", name.as_bytes()].concat(), true).map_err(Error::user)?;
        let info = metadata(&host)?;
        let kind = match info.file_type() {
            kind if kind.is_dir() => Kind::Dir,
            kind if kind.is_file() => Kind::File(found.content(&host)?),
            kind if kind.is_symlink() => Kind::Symlink(target(&host)?),
            _ => return Err(Error::user(format!("{} is not a file, folder or symbolic link", host.display()))),
        };
        let is_folder = kind == Kind::Dir;
        let node = Node { meta: meta(&info), kind, layer: Layer::Base };
        tree.insert(path.clone(), node).map_err(|refused| Error::user(refused.to_string()))?;
        if is_folder {
            add(tree, found, &host, &path)?;
        }
    }
    Ok(())
}

fn metadata(path: &Path) -> Result<Metadata> {
    fs::symlink_metadata(path).map_err(|e| Error::io(format!("stat {}", path.display()), &e))
}

fn target(link: &Path) -> Result<Vec<u8>> {
    let target = fs::read_link(link).map_err(|e| Error::io(format!("read {}", link.display()), &e))?;
    Ok(target.as_os_str().as_bytes().to_vec())
}

/// The metadata in the image: owned by root.
fn meta(info: &Metadata) -> Meta {
    Meta::new((info.mode() & 0o7777) as u16, 0, 0, info.mtime())
}

/// The newest modification time: the filesystem's own times follow from the folder, not from the clock.
fn newest(tree: &Tree) -> Result<Epoch> {
    let newest = tree.iter().map(|(_, node)| node.meta.mtime).max().unwrap_or_default();
    Epoch::from_seconds(newest.max(1)).map_err(Error::user)
}

/// The files of the folder by the digest of their contents.
#[derive(Default)]
struct Found(BTreeMap<Sha256, PathBuf>);

impl Found {
    fn content(&mut self, path: &Path) -> Result<Content> {
        let found = fsx::digest_if_present(path, &Cancel::new())?;
        let (digest, size) = found.ok_or_else(|| Error::user(format!("{} no longer exists", path.display())))?;
        self.0.insert(digest, path.to_owned());
        Ok(Content::Blob { digest, size })
    }
}

impl ContentSource for Found {
    fn open(&self, digest: &Sha256, _size: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let path = self.0.get(digest).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Verified { file: File::open(path)?, path, hasher: Some(Hasher::new()), expected: *digest }))
    }
}

/// A file whose last read fails if its contents have changed since they were hashed.
struct Verified<'a> {
    file: File,
    path: &'a Path,
    hasher: Option<Hasher>,
    expected: Sha256,
}

impl Read for Verified<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        if count > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..count]);
            }
        } else if !buffer.is_empty() && self.hasher.take().is_some_and(|hasher| hasher.finish() != self.expected) {
            return Err(Error::user(format!("{} changed while it was read", self.path.display())).into());
        }
        Ok(count)
    }
}
