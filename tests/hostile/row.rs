//! A row of the tables, and the store in which it is tried.

use std::io::{Read, Write};
use std::path::PathBuf;

use kbake::archive::{Policy, Sink, deb, discard, tar};
use kbake::store::{Access, Store};
use kbake::tree::{Content, Kind, Layer, Tree};
use kbake::value::{Cancel, TreePath};
use kbake::{Class, Error, Result};

/// The archive's name, which every refusal must contain.
pub const WHAT: &str = "pool/evil.archive";

pub type Read1 = Box<dyn Fn(&[u8], &Place) -> Result<Seen>>;

/// One attack.
pub struct Row {
    pub name: &'static str,
    pub make: Box<dyn FnOnce() -> Vec<u8>>,
    pub read: Read1,
    pub expect: Expect,
    /// The most memory that reading may take, in MiB.
    pub memory: u64,
}

/// The result as lines: nodes of a tree, or a few words about something else.
pub type Seen = Vec<String>;

pub enum Expect {
    /// With this class, and all these words in the message.
    Refused(Class, Vec<String>),
    /// With exactly this result.
    Accepted(Vec<&'static str>),
}

impl Expect {
    pub fn holds(&self, result: &Result<Seen>) -> std::result::Result<(), String> {
        match (self, result) {
            (Expect::Accepted(expected), Ok(seen)) if expected == seen => Ok(()),
            (Expect::Accepted(expected), Ok(seen)) => Err(format!("expected {expected:?}, found {seen:?}")),
            (Expect::Accepted(_), Err(error)) => Err(format!("was refused: {error}")),
            (Expect::Refused(..), Ok(seen)) => Err(format!("was taken as {seen:?}")),
            (Expect::Refused(class, words), Err(error)) => {
                let text = error.to_string();
                if let Some(word) = words.iter().find(|word| !text.contains(&***word)) {
                    return Err(format!("the refusal lacks `{word}`: {text}"));
                }
                if text.len() > 5000 || text.contains(|c: char| c.is_control() && c != '\n') {
                    return Err(format!("the refusal is {} bytes long, or has control characters: {text:?}", text.len()));
                }
                (error.class() == *class).then_some(()).ok_or_else(|| format!("of class {:?}: {text}", error.class()))
            }
        }
    }
}

/// A store, with something beside it that must stay as it is.
pub struct Place {
    folder: tempfile::TempDir,
    pub store: Store,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("outside"), "untouched").unwrap();
        let store = Store::open(&folder.path().join("store"), Access::Shared, &Cancel::new(), &|| {}).unwrap();
        Place { folder, store }
    }

    pub fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("store/tmp/evil.qcow2");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Nothing beside the store, and in it nothing but blobs by their digests.
    pub fn is_untouched(&self) -> std::result::Result<(), String> {
        let list = |folder: &str| -> Vec<String> {
            let entries = std::fs::read_dir(self.folder.path().join(folder)).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let top = list(".");
        if top != ["outside", "store"] || std::fs::read(self.folder.path().join("outside")).unwrap() != b"untouched" {
            return Err(format!("left something beside the store: {top:?}"));
        }
        let known = ["actions", "blobs", "format", "lock", "locks", "quarantine", "roots", "stamps", "tmp"];
        if let Some(odd) = list("store").iter().find(|name| !known.contains(&name.as_str()) && !self.is_folder_of_store(name)) {
            return Err(format!("left {odd} in the store"));
        }
        let hex = |name: &String| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
        match list("store/blobs/sha256").iter().find(|name| !hex(name)) {
            Some(odd) => Err(format!("left the blob {odd}")),
            None => Ok(()),
        }
    }

    fn is_folder_of_store(&self, name: &str) -> bool {
        // The store makes empty folders when it is opened.
        let path = self.folder.path().join("store").join(name);
        path.is_dir() && std::fs::read_dir(path).unwrap().next().is_none()
    }
}

/// Keeps the first few files in the store and skips the rest: each is synced to the disk.
struct IntoStore<'a>(&'a Store, u32);

const KEPT: u32 = 20;

impl Sink for IntoStore<'_> {
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content> {
        self.1 += 1;
        if self.1 > KEPT {
            return discard(WHAT, size, bytes);
        }
        let mut writer = self.0.writer(None, Some(size))?;
        std::io::copy(bytes, &mut writer).map_err(|e| Error::io(format_args!("keep {path}"), &e))?;
        writer.flush().map_err(|e| Error::io(format_args!("keep {path}"), &e))?;
        let blob = writer.commit()?;
        Ok(Content::Blob { digest: blob.digest, size: blob.size })
    }
}

fn seen(tree: &Tree) -> Seen {
    let line = |(path, node): (&TreePath, &kbake::tree::Node)| {
        let what = match &node.kind {
            Kind::Dir => "dir".to_owned(),
            Kind::File(Content::Sparse { size, segments }) => format!("sparse {size}/{}", segments.len()),
            Kind::File(content) => format!("file {}", content.size()),
            Kind::Symlink(target) => format!("symlink to {}", String::from_utf8_lossy(target)),
            Kind::HardLink(target) => format!("hardlink to {target}"),
            Kind::CharDev { .. } | Kind::BlockDev { .. } => "device".to_owned(),
            Kind::Fifo | Kind::Socket => "pipe".to_owned(),
        };
        format!("{path} {:o} {what}", node.meta.mode)
    };
    // An archive of very many names is only counted.
    match tree.len() {
        0..50 => tree.iter().skip(1).map(line).collect(),
        many => vec![format!("{many} nodes")],
    }
}

/// Reads as kbake reads an upstream tarball.
pub fn tarball(bytes: &[u8], place: &Place) -> Result<Seen> {
    read_tar(bytes, place, &Policy::strict(WHAT, Layer::Role))
}

/// Reads as kbake reads the installed base system.
pub fn system(bytes: &[u8], place: &Place) -> Result<Seen> {
    read_tar(bytes, place, &Policy::system(WHAT, Layer::Base))
}

pub fn read_tar(bytes: &[u8], place: &Place, policy: &Policy) -> Result<Seen> {
    tar::read(bytes, policy, &mut IntoStore(&place.store, 0)).map(|tree| seen(&tree))
}

/// Reads as kbake reads a package.
pub fn package(bytes: &[u8], place: &Place) -> Result<Seen> {
    let control = deb::control(bytes, WHAT)?;
    let tree = deb::data(bytes, &Policy::package(WHAT, Layer::Base), &mut IntoStore(&place.store, 0))?;
    Ok([vec![format!("{} {}", control.package(), control.version())], seen(&tree)].concat())
}

pub fn refused(words: &[&str]) -> Expect {
    Expect::Refused(Class::Integrity, words.iter().map(|word| (*word).to_owned()).collect())
}

/// The usual bound, in MiB.
pub const MEMORY: u64 = 64;

/// A row of a tarball that is refused: the words must stand in the message beside the archive's name.
pub fn bad_tar(name: &'static str, entries: Vec<Vec<u8>>, words: &[&str]) -> Row {
    let words = [&[WHAT], words].concat();
    let make = move || [entries.concat(), super::seeds::build::END.to_vec()].concat();
    Row { name, make: Box::new(make), read: Box::new(tarball), expect: refused(&words), memory: MEMORY }
}

/// A row of a tarball that is harmless in this form.
pub fn good_tar(name: &'static str, entries: Vec<Vec<u8>>, nodes: &[&'static str]) -> Row {
    let make = move || [entries.concat(), super::seeds::build::END.to_vec()].concat();
    Row { name, make: Box::new(make), read: Box::new(tarball), expect: Expect::Accepted(nodes.to_vec()), memory: MEMORY }
}
