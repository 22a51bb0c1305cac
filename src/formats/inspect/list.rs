//! Lists the partitions and files of a disk image.

use std::path::Path;

use super::disk::{Disk, ReadError};
use super::filesystem::{Filesystem, Kind, Node, PATH_MAX, Walk};
use super::volume::{self, Volume};
use crate::common::error::Result;
use crate::common::value::{Cancel, escape};

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// A partition, or the disk where it has none. Its files follow.
    Partition {
        /// `partition 2 (root)`, or `disk`.
        name: String,
        /// In bytes from the disk's start.
        start: u64,
        /// In bytes.
        size: u64,
        /// The filesystem's name, or what else the partition has.
        contents: String,
    },
    /// A file of the last partition.
    File(Entry),
    /// A partition or file that cannot be read.
    Unread {
        /// Absolute and escaped; none for the rest of a partition.
        path: Option<String>,
        /// The reason.
        why: String,
    },
}

/// A file, folder, link or device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Absolute and escaped.
    pub path: String,
    /// `file`, `folder`, `symbolic link` and so on.
    pub kind: &'static str,
    /// In bytes; of files and symbolic links.
    pub size: u64,
    /// A symbolic link's target, escaped.
    pub target: Option<String>,
    /// The filesystem's fields, by name: `mode`, `owner`, `modification time`.
    pub fields: Vec<(String, String)>,
    /// Names of extended attributes.
    pub attributes: Vec<String>,
}

/// Reports the partitions of a disk image, qcow2 or raw, each followed by its files: a folder before its contents, names sorted by
/// bytes.
///
/// # Errors
/// An image file or partition table that cannot be read; errors of `report`. Partitions and files that cannot be read are reported.
pub fn list(path: &Path, cancel: &Cancel, report: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
    let disk = Disk::open(path)?;
    for partition in &volume::table(&disk)?.partitions {
        let volume = Volume::open(partition, &disk, cancel)?;
        let (name, contents) = (partition.name(), volume.word());
        report(Listed::Partition { name, start: partition.start, size: partition.size, contents })?;
        let Some(fs) = volume.files() else { continue };
        if let Err(error) = files(fs, cancel, report) {
            report(Listed::Unread { path: None, why: error.broken()? })?;
        }
    }
    Ok(())
}

fn files(fs: &dyn Filesystem, cancel: &Cancel, report: &mut dyn FnMut(Listed) -> Result<()>) -> Result<(), ReadError> {
    let mut walk = Walk::new(fs, cancel)?;
    while let Some((path, node)) = walk.next()? {
        let path = format!("/{}", escape(&path));
        let listed = match entry(fs, &path, &node) {
            Ok(entry) => Listed::File(entry),
            Err(error) => Listed::Unread { path: Some(path), why: error.broken()? },
        };
        report(listed)?;
    }
    Ok(())
}

fn entry(fs: &dyn Filesystem, path: &str, node: &Node) -> Result<Entry, ReadError> {
    let target = match node.kind {
        Kind::Symlink => Some(escape(&fs.content(node)?.head(fs.part(), node.size, PATH_MAX)?)),
        _ => None,
    };
    let attributes = fs.attributes(node)?.into_iter().map(|attribute| attribute.name).collect();
    Ok(Entry { path: path.to_owned(), kind: node.kind.word(), size: node.size, target, fields: fs.fields(node)?, attributes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::error::Error;
    use crate::formats::disk::testing;

    #[test]
    fn a_listing_has_each_partition_and_file() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/name"), "node\n").unwrap();
        std::os::unix::fs::symlink("etc/name", root.join("link")).unwrap();
        let raw = dir.path().join("disk.raw");
        testing::run("mke2fs", &[&"-q", &"-t", &"ext4", &"-d", &root, &raw, &"8M"]);
        let mut found = Vec::new();
        let mut report = |listed: Listed| {
            found.push(match listed {
                Listed::Partition { name, start, size, contents } => format!("{name} {start} {size} {contents}"),
                Listed::File(entry) => format!("{} {} {:?}", entry.kind, entry.path, entry.target.as_deref()),
                Listed::Unread { path, why } => format!("{path:?}: {why}"),
            });
            Ok(())
        };
        list(&raw, &Cancel::new(), &mut report).unwrap();
        let expected = [
            "disk 0 8388608 ext4",
            "folder / None",
            "folder /etc None",
            "file /etc/name None",
            "symbolic link /link Some(\"etc/name\")",
            "folder /lost+found None",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_error_of_the_caller_ends_the_listing() {
        let dir = tempfile::tempdir().unwrap();
        let raw = dir.path().join("disk.raw");
        testing::run("mke2fs", &[&"-q", &"-t", &"ext4", &raw, &"8M"]);
        let stop = |listed: Listed| if matches!(listed, Listed::File(_)) { Err(Error::user("enough")) } else { Ok(()) };
        assert_eq!(list(&raw, &Cancel::new(), &mut { stop }).unwrap_err().message(), "enough");
    }
}
