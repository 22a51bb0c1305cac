//! Compares a whole image, as debugfs reads it, with its tree.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use tempfile::TempDir;

use super::image::{EPOCH, Sample, tool};
use crate::common::tree::{Content, Kind, Meta};
use crate::common::value::TreePath;

/// An inode in a notation that both sides share.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    kind: String,
    mode: u16,
    owner: (u32, u32),
    size: u64,
    links: u32,
    mtime: i64,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: Vec<u8>,
}

/// Panics if the image's owners, modes, times, links, targets, numbers, attributes or contents differ from the tree's.
/// Names must be printable for debugfs, and attribute names plain.
pub(crate) fn compare(sample: &Sample, image: &Path) {
    let paths = walk(image);
    let folder = tempfile::tempdir().unwrap();
    let inodes = inspect(sample, image, &paths, &folder);
    let mut expected: Vec<TreePath> = sample.tree.iter().map(|(path, _)| path.clone()).collect();
    let lost = TreePath::fixed("lost+found");
    if sample.tree.get(&lost).is_none() {
        expected.push(lost);
        expected.sort();
    }
    assert_eq!(paths.keys().cloned().collect::<Vec<_>>(), expected, "the names on the image");
    for (path, node) in sample.tree.iter() {
        if let Kind::HardLink(target) = &node.kind {
            assert_eq!(paths[path], paths[target], "{path} is the same inode as {target}");
            continue;
        }
        let seen = &inodes[&paths[path]];
        let wanted = wanted(sample, path, &node.meta, &node.kind, seen);
        assert!(*seen == wanted, "{path}:\n found {}\nwanted {}", brief(seen), brief(&wanted));
    }
}

fn brief(seen: &Seen) -> String {
    let mut text = format!("{seen:?}");
    text.truncate(600);
    text
}

fn wanted(sample: &Sample, path: &TreePath, meta: &Meta, kind: &Kind, seen: &Seen) -> Seen {
    let (kind, size, bytes) = match kind {
        // The size of a directory is up to the writer; e2fsck checks it.
        Kind::Dir => ("directory".to_owned(), seen.size, Vec::new()),
        Kind::File(content) => ("regular".to_owned(), content.size(), contents(sample, content)),
        Kind::Symlink(target) => ("symlink".to_owned(), target.len() as u64, target.clone()),
        Kind::CharDev { major, minor } => (format!("character special {major}:{minor}"), 0, Vec::new()),
        Kind::BlockDev { major, minor } => (format!("block special {major}:{minor}"), 0, Vec::new()),
        Kind::Fifo => ("FIFO".to_owned(), 0, Vec::new()),
        Kind::Socket => ("socket".to_owned(), 0, Vec::new()),
        Kind::HardLink(_) => unreachable!(),
    };
    let same = |other: &Kind| matches!(other, Kind::HardLink(target) if target == path);
    let subdirs = sample.tree.iter().filter(|(child, node)| node.kind == Kind::Dir && child.parent().as_ref() == Some(path)).count();
    let lost = usize::from(path.is_root() && sample.tree.get(&TreePath::fixed("lost+found")).is_none());
    let links = match kind.as_str() {
        "directory" => 2 + subdirs + lost,
        _ => 1 + sample.tree.iter().filter(|(_, node)| same(&node.kind)).count(),
    };
    let owner = (meta.uid, meta.gid);
    Seen { kind, mode: meta.mode, owner, size, links: links as u32, mtime: meta.mtime, xattrs: meta.xattrs.clone(), bytes }
}

pub(crate) fn contents(sample: &Sample, content: &Content) -> Vec<u8> {
    match content {
        Content::Inline(bytes) => bytes.to_vec(),
        Content::Blob { digest, .. } => sample.blobs.bytes(digest).to_vec(),
        Content::Sparse { size, segments } => {
            let mut bytes = vec![0; *size as usize];
            for part in segments {
                bytes[part.offset as usize..][..part.size as usize].copy_from_slice(sample.blobs.bytes(&part.digest));
            }
            bytes
        }
    }
}

/// Runs debugfs with a list of commands; returns its output for each.
pub(crate) fn commands(image: &Path, list: &[String]) -> Vec<Vec<u8>> {
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), list.join("\n") + "\n").unwrap();
    let (code, said) = tool("debugfs", &["-f", script.path().to_str().unwrap(), image.to_str().unwrap()]);
    assert_eq!(code, 0, "{}", String::from_utf8_lossy(&said));
    let mut answers: Vec<Vec<u8>> = Vec::new();
    for line in said.split_inclusive(|&byte| byte == b'\n') {
        match answers.last_mut() {
            _ if line.starts_with(b"debugfs: ") => answers.push(Vec::new()),
            Some(last) => last.extend_from_slice(line),
            None => {}
        }
    }
    assert_eq!(answers.len(), list.len());
    answers
}

/// All names and their inodes, level by level from the root.
pub(crate) fn walk(image: &Path) -> BTreeMap<TreePath, u32> {
    let mut found = BTreeMap::from([(TreePath::root(), 2)]);
    let mut level = vec![(Vec::new(), 2)];
    while !level.is_empty() {
        let list: Vec<String> = level.iter().map(|(_, inode)| format!("ls -p <{inode}>")).collect();
        let mut next = Vec::new();
        for ((path, _), answer) in level.iter().zip(commands(image, &list)) {
            for line in answer.split(|&byte| byte == b'\n') {
                // /inode/mode/uid/gid/name/size/
                let fields: Vec<&[u8]> = line.split(|&byte| byte == b'/').collect();
                let [_, inode, mode, _, _, name, ..] = fields[..] else { continue };
                if name == b"." || name == b".." || inode == b"0" {
                    continue;
                }
                let child = [path.as_slice(), name].join(&b'/');
                let inode = std::str::from_utf8(inode).unwrap().parse().unwrap();
                let clean = TreePath::parse(child.strip_prefix(b"/").unwrap_or(&child), false).unwrap();
                assert!(found.insert(clean, inode).is_none(), "a name twice");
                if mode.starts_with(b"04") {
                    next.push((child, inode));
                }
            }
        }
        level = next;
    }
    found
}

/// Queries debugfs for each inode, its attributes and its contents.
fn inspect(sample: &Sample, image: &Path, paths: &BTreeMap<TreePath, u32>, folder: &TempDir) -> BTreeMap<u32, Seen> {
    let (mut list, mut asked) = (Vec::new(), Vec::new());
    for (path, inode) in paths {
        let node = sample.tree.get(path);
        let names: Vec<&Vec<u8>> = node.iter().flat_map(|node| node.meta.xattrs.keys()).collect();
        let read = matches!(node.map(|node| &node.kind), Some(Kind::File(_) | Kind::Symlink(_)));
        list.push(format!("stat <{inode}>"));
        list.push(format!("ea_list <{inode}>"));
        list.extend(names.iter().map(|name| format!("ea_get -x <{inode}> {}", String::from_utf8_lossy(name))));
        if read {
            list.push(format!("dump <{inode}> {}/{inode}", folder.path().display()));
        }
        asked.push((*inode, names, read, node.is_some_and(|node| matches!(node.kind, Kind::HardLink(_)))));
    }
    let mut answers = commands(image, &list).into_iter();
    let mut inodes = BTreeMap::new();
    for (inode, names, read, again) in asked {
        let mut seen = stat(&String::from_utf8_lossy(&answers.next().unwrap()));
        let listed = answers.next().unwrap().iter().filter(|&&byte| byte == b'\n').count();
        for name in names {
            let text = String::from_utf8_lossy(&answers.next().unwrap()).into_owned();
            seen.xattrs.insert(name.clone(), hex(&text));
        }
        if read {
            answers.next().unwrap();
            if seen.bytes.is_empty() {
                seen.bytes = std::fs::read(folder.path().join(inode.to_string())).unwrap();
            }
        }
        if !again {
            assert_eq!(listed.saturating_sub(1), seen.xattrs.len(), "attributes of inode {inode}");
            inodes.insert(inode, seen);
        }
    }
    inodes
}

/// Parses `name (2) = 61 62` or `name (0)`.
fn hex(text: &str) -> Vec<u8> {
    let (_, bytes) = text.split_once(')').unwrap_or_else(|| panic!("{text}"));
    let bytes = bytes.trim().strip_prefix('=').unwrap_or_default();
    bytes.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn stat(text: &str) -> Seen {
    let after = |label: &str| -> &str {
        let start = text.find(label).unwrap_or_else(|| panic!("no {label} in\n{text}")) + label.len();
        text[start..].trim_start()
    };
    let word = |label: &str| after(label).split_whitespace().next().unwrap();
    let time = |label: &str| {
        let (low, extra) = word(label).trim_start_matches("0x").split_once(':').unwrap();
        let extra = u32::from_str_radix(extra, 16).unwrap();
        assert_eq!(extra & !3, 0, "no nanoseconds");
        i64::from(u32::from_str_radix(low, 16).unwrap() as i32) + (i64::from(extra) << 32)
    };
    for label in [" ctime:", " atime:", "crtime:"] {
        assert_eq!(time(label), i64::from(EPOCH), "{label}");
    }
    let mut kind = after("Type:").split("  ").next().unwrap().trim().to_owned();
    if kind.ends_with("special") {
        let (major, minor) = word("evice major/minor number:").split_once(':').unwrap();
        write!(kind, " {}:{}", major.parse::<u32>().unwrap(), minor.parse::<u32>().unwrap()).unwrap();
    }
    let bytes = match text.split_once("Fast link dest: \"") {
        Some((_, rest)) => rest.rsplit_once('"').unwrap().0.as_bytes().to_vec(),
        None => Vec::new(),
    };
    Seen {
        kind,
        mode: u16::from_str_radix(word("Mode:"), 8).unwrap(),
        // debugfs shows it as signed.
        owner: (word("User:").parse::<i32>().unwrap() as u32, word("Group:").parse::<i32>().unwrap() as u32),
        size: word("Size:").parse().unwrap(),
        links: word("Links:").parse().unwrap(),
        mtime: time(" mtime:"),
        xattrs: BTreeMap::new(),
        bytes,
    }
}
