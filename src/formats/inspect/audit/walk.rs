//! Audits every file of a filesystem, then every byte that belongs to no file.

use std::collections::BTreeSet;

use super::super::bytes::is_zero;
use super::super::disk::{Disk, ReadError};
use super::super::filesystem::{Content, Extent, Filesystem, Kind as NodeKind, Node, Stream, Walk};
use super::super::ranges::{Ranges, Use};
use super::super::table::Partition;
use super::super::volume::Volume;
use super::scan::{Hit, Scanner};
use super::secret::AHEAD;
use super::{Audited, Finding, rules, unpack, unseen};
use crate::common::error::{Error, Result};
use crate::common::value::{Cancel, TreePath, escape};

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;

/// Audits all files of a filesystem, and notes the places of those that were read whole.
pub(super) fn files(
    partition: &str,
    fs: &dyn Filesystem,
    mount: Option<&str>,
    allow: &[TreePath],
    cancel: &Cancel,
    audited: &mut Audited,
    ranges: &mut Ranges,
) -> Result<()> {
    let mut look = Look { partition, fs, mount, allow, cancel, audited, ranges, seen: BTreeSet::new() };
    if let Some(why) = fs.warning() {
        look.audited.findings.push(unseen(partition, None, why));
    }
    match look.all() {
        Ok(()) => Ok(()),
        Err(error) => {
            let why = error.broken()?;
            look.audited.findings.push(unseen(partition, None, format!("a broken {}: {why}", fs.word())));
            Ok(())
        }
    }
}

struct Look<'a> {
    partition: &'a str,
    fs: &'a dyn Filesystem,
    mount: Option<&'a str>,
    allow: &'a [TreePath],
    cancel: &'a Cancel,
    audited: &'a mut Audited,
    ranges: &'a mut Ranges,
    /// Files with several names whose contents were searched.
    seen: BTreeSet<u64>,
}

impl Look<'_> {
    fn all(&mut self) -> Result<(), ReadError> {
        let mut walk = Walk::new(self.fs, self.cancel)?;
        while let Some((path, node)) = walk.next()? {
            self.audited.names += 1;
            // A broken file does not stop the audit of the others.
            if let Err(error) = self.node(&path, &node) {
                let why = error.broken()?;
                let finding = unseen(self.partition, Some(shown(&path)), why);
                self.add(&path, finding);
            }
        }
        Ok(())
    }

    fn node(&mut self, path: &[u8], node: &Node) -> Result<(), ReadError> {
        self.attributes(path, node)?;
        let content = self.fs.content(node)?;
        match node.kind {
            NodeKind::File => self.file(path, node, &content),
            NodeKind::Symlink => {
                if let Some((kind, what)) = rules::of_symlink(&self.in_machine(path)) {
                    self.found(path, kind, what.into(), String::new());
                }
                self.names(&content);
                Ok(())
            }
            _ => {
                self.names(&content);
                Ok(())
            }
        }
    }

    /// The path on a running machine. FAT ignores case.
    fn in_machine(&self, path: &[u8]) -> Vec<u8> {
        let path = if self.fs.word() == "vfat" { path.to_ascii_lowercase() } else { path.to_vec() };
        match self.mount {
            None | Some("") => path,
            Some(mount) => [mount.as_bytes(), b"/", &path].concat(),
        }
    }

    /// Notes the places of names: they are searched with the rest of the disk.
    fn names(&mut self, content: &Content) {
        if let Content::Extents(extents) = content {
            let start = self.fs.part().start;
            extents.iter().for_each(|extent| self.ranges.add(start + extent.at, start + extent.at + extent.len, Use::Names));
        }
    }

    fn attributes(&mut self, path: &[u8], node: &Node) -> Result<(), ReadError> {
        let start = self.fs.part().start;
        for attribute in self.fs.attributes(node)? {
            let at = start + attribute.at;
            self.ranges.add(at, at + attribute.value.len() as u64, Use::Attribute);
            // Contents in the inode are searched as contents.
            if attribute.name == "system.data" {
                continue;
            }
            let mut hits = Vec::new();
            let mut scanner = Scanner::new(0);
            scanner.push(&attribute.value, &mut |hit| hits.push(hit));
            scanner.finish(&mut |hit| hits.push(hit));
            for hit in hits {
                self.found(path, hit.secret.kind, hit.secret.what, format!("in its attribute {}", attribute.name));
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &[u8], node: &Node, content: &Content) -> Result<(), ReadError> {
        let part = self.fs.part();
        let head = content.head(part, node.size, rules::HEAD)?;
        if let Some((kind, what)) = rules::of_file(&self.in_machine(path), node.size, &head) {
            self.found(path, kind, what.into(), String::new());
        }
        if node.linked && !self.seen.insert(node.id) {
            return Ok(());
        }
        let mut hits = Vec::new();
        let mut keep = |hit: Hit| hits.push(hit);
        self.audited.bytes += scan(Stream::new(part, content, node.size), self.cancel, &mut keep)?;
        for hit in hits.drain(..) {
            let place = hit.line.map_or_else(|| format!("byte {}", hit.offset), |line| format!("line {line}"));
            self.found(path, hit.secret.kind, hit.secret.what, place);
        }
        if let Content::Extents(extents) = content {
            for Extent { from, at, len } in extents {
                let inside = node.size.saturating_sub(*from).min(*len);
                self.ranges.add(part.start + at, part.start + at + inside, Use::File);
                self.ranges.add(part.start + at + inside, part.start + at + len, Use::Slack);
            }
        }
        self.packed(path, node, content, &head)
    }

    /// Searches the unpacked contents of a compressed file.
    fn packed(&mut self, path: &[u8], node: &Node, content: &Content, head: &[u8]) -> Result<(), ReadError> {
        let mut stream = Stream::new(self.fs.part(), content, node.size);
        if !(unpack::is_packed(head) || unpack::is_cpio(head) && unpack::behind_cpio(&mut stream, node.size, self.cancel)?) {
            return Ok(());
        }
        let mut hits = Vec::new();
        let outcome = unpack::scan(stream, node.size, self.cancel, &mut |hit| hits.push(hit))?;
        for hit in hits {
            let place = hit.line.map_or_else(|| format!("byte {}", hit.offset), |line| format!("line {line}"));
            self.found(path, hit.secret.kind, hit.secret.what, format!("{place} of its unpacked contents"));
        }
        match outcome {
            Ok(bytes) => self.audited.bytes += bytes,
            Err(why) => {
                let finding = unseen(self.partition, Some(shown(path)), why);
                self.add(path, finding);
            }
        }
        Ok(())
    }

    fn found(&mut self, path: &[u8], kind: super::Kind, what: String, place: String) {
        let finding = Finding { kind, what, partition: self.partition.into(), path: Some(shown(path)), place, allowed: false };
        self.add(path, finding);
    }

    fn add(&mut self, path: &[u8], finding: Finding) {
        let own = TreePath::parse(path, false).ok();
        let allowed = own.is_some_and(|own| self.allow.iter().any(|allowed| own.is_within(allowed)));
        self.audited.findings.push(Finding { allowed, ..finding });
    }
}

/// Searches a file; returns the number of bytes, without holes.
fn scan(mut stream: Stream<'_>, cancel: &Cancel, found: &mut dyn FnMut(Hit)) -> Result<u64, ReadError> {
    let mut scanner = Scanner::new(0);
    let mut buffer = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        cancel.check()?;
        let data = stream.next_data();
        if data > stream.at() + AHEAD as u64 {
            scanner.finish(found);
            stream.skip_to(data);
            scanner.restart(data);
        }
        match stream.read(&mut buffer)? {
            0 => break,
            count => {
                bytes += count as u64;
                scanner.push(&buffer[..count], found);
            }
        }
    }
    scanner.finish(found);
    Ok(bytes)
}

/// Searches all bytes of the disk that belong to no file.
pub(super) fn rest(
    disk: &Disk,
    volumes: &[(&Partition, Volume<'_>)],
    ranges: &Ranges,
    cancel: &Cancel,
    audited: &mut Audited,
) -> Result<()> {
    let mut scanner = Scanner::new(0);
    let mut buffer = vec![0; CHUNK];
    let mut hits = Vec::new();
    let mut at = 0;
    while let Some(next) = disk.next_data(at)? {
        cancel.check()?;
        // Bytes of files were searched already.
        if let (Some(Use::File | Use::Attribute), until) = ranges.at(next) {
            at = until;
            continue;
        }
        let len = (disk.size() - next).min(CHUNK as u64);
        let bytes = &mut buffer[..len as usize];
        disk.read_at(next, bytes)?;
        let mut inside = 0;
        while inside < len {
            let (what, until) = ranges.at(next + inside);
            let end = until.saturating_sub(next).min(len);
            let piece = &bytes[inside as usize..end as usize];
            let is_looked_at = matches!(what, Some(Use::File | Use::Attribute));
            if !is_looked_at && !is_zero(piece) {
                if scanner.end() != next + inside {
                    scanner.finish(&mut |hit| hits.push(hit));
                    scanner.restart(next + inside);
                }
                scanner.push(piece, &mut |hit| hits.push(hit));
                audited.bytes += piece.len() as u64;
            }
            inside = end;
        }
        at = next + len;
    }
    scanner.finish(&mut |hit| hits.push(hit));
    for hit in hits {
        let (partition, place) = place(volumes, ranges, hit.offset)?;
        let place = format!("outside of files: {place}, byte {} of the disk", hit.offset);
        audited.findings.push(Finding { kind: hit.secret.kind, what: hit.secret.what, partition, path: None, place, allowed: false });
    }
    Ok(())
}

/// The partition and the structure at a byte that belongs to no file.
fn place(volumes: &[(&Partition, Volume<'_>)], ranges: &Ranges, offset: u64) -> Result<(String, &'static str), Error> {
    let Some((partition, volume)) = volumes.iter().find(|(p, _)| (p.start..p.start + p.size).contains(&offset)) else {
        return Ok(("disk".into(), "in no partition"));
    };
    let word = match (ranges.at(offset).0, volume) {
        (Some(what), _) => what.word(),
        (None, Volume::Files(fs)) => match fs.place(offset - partition.start) {
            Ok(word) => word,
            Err(error) => error.broken().map(|_| "a broken filesystem")?,
        },
        (None, _) => "a partition without files that can be read",
    };
    Ok((partition.name(), word))
}

fn shown(path: &[u8]) -> String {
    format!("/{}", escape(path))
}
