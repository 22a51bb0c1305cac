//! Compares two filesystems, name by name.

use super::{Halt, NOTHING, Reporter};
use crate::common::error::Error;
use crate::common::value::{Cancel, Hasher, escape};
use crate::formats::inspect::bytes::hex;
use crate::formats::inspect::disk::ReadError;
use crate::formats::inspect::filesystem::{Content, Entered, Extent, Filesystem, Kind, Node, Stream, list_once};
use crate::formats::inspect::ranges::{Ranges, Use};

/// Bytes that are compared at a time.
const CHUNK: usize = 256 << 10;
/// The largest file with a digest in its difference, in bytes: holes would be hashed for hours.
const HASHED_MAX: u64 = 64 << 30;
/// Attribute values up to this length are shown whole.
const VALUE_SHOWN: usize = 64;

/// The reason for an early end.
pub(super) enum CompareError {
    Halt(Halt),
    /// The filesystem of this side, 0 or 1, is broken.
    Broken(usize, String),
}

impl From<Halt> for CompareError {
    fn from(halt: Halt) -> Self {
        CompareError::Halt(halt)
    }
}

impl From<Error> for CompareError {
    fn from(error: Error) -> Self {
        CompareError::Halt(Halt::Failed(error))
    }
}

/// Adds the side to a failed read.
fn of<T>(side: usize, result: Result<T, ReadError>) -> Result<T, CompareError> {
    result.map_err(|error| match error.broken() {
        Ok(why) => CompareError::Broken(side, why),
        Err(error) => error.into(),
    })
}

/// Reports the differences between the files of two filesystems, and notes the files' places.
pub(super) fn compare(
    partition: &str,
    sides: [&dyn Filesystem; 2],
    cancel: &Cancel,
    reporter: &mut Reporter<'_>,
    ranges: &mut [Ranges; 2],
) -> Result<(), CompareError> {
    let mut pair = Pair { partition, sides, cancel, reporter, ranges, entered: Default::default(), renumbered: 0, first_number: None };
    let roots = (Some(of(0, sides[0].root())?), Some(of(1, sides[1].root())?));
    let mut stack = vec![(Vec::new(), roots.0, roots.1)];
    while let Some((path, left, right)) = stack.pop() {
        cancel.check()?;
        for (side, node) in [&left, &right].into_iter().enumerate() {
            if let Some(node) = node {
                pair.entered[side].visited(&path, node);
            }
        }
        pair.nodes(&path, left.as_ref(), right.as_ref())?;
        let inside = merge(pair.list(0, &path, left.as_ref())?, pair.list(1, &path, right.as_ref())?);
        stack.extend(inside.into_iter().rev());
    }
    match pair.first_number.take() {
        None => Ok(()),
        Some((path, left, right)) => {
            let field = if pair.renumbered == 1 { "inode".into() } else { format!("inode, the first of {}", pair.renumbered) };
            pair.report(&path, &field, left, right)
        }
    }
}

type Named = (Vec<u8>, Node);
type Both = (Vec<u8>, Option<Node>, Option<Node>);

/// Two sorted lists as one.
fn merge(left: Vec<Named>, right: Vec<Named>) -> Vec<Both> {
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    let mut both = Vec::new();
    loop {
        let first = match (left.peek(), right.peek()) {
            (None, None) => return both,
            (Some(a), None) => a.0.clone(),
            (None, Some(b)) => b.0.clone(),
            (Some(a), Some(b)) => a.0.clone().min(b.0.clone()),
        };
        let a = left.next_if(|(path, _)| *path == first).map(|(_, node)| node);
        let b = right.next_if(|(path, _)| *path == first).map(|(_, node)| node);
        both.push((first, a, b));
    }
}

struct Pair<'a, 'b> {
    partition: &'a str,
    sides: [&'a dyn Filesystem; 2],
    cancel: &'a Cancel,
    reporter: &'a mut Reporter<'b>,
    ranges: &'a mut [Ranges; 2],
    /// The walk of each side.
    entered: [Entered; 2],
    /// Number of files with another inode number, which follows from the files made before them; and the first such file.
    renumbered: u64,
    first_number: Option<(Vec<u8>, String, String)>,
}

impl Pair<'_, '_> {
    /// Lists a folder of one side; empty for everything else.
    fn list(&mut self, side: usize, path: &[u8], node: Option<&Node>) -> Result<Vec<Named>, CompareError> {
        match node {
            Some(node) if node.kind == Kind::Folder => of(side, list_once(self.sides[side], path, node, &mut self.entered[side])),
            _ => Ok(Vec::new()),
        }
    }

    fn report(&mut self, path: &[u8], field: &str, left: String, right: String) -> Result<(), CompareError> {
        Ok(self.reporter.report(self.partition, Some(shown(path)), field, left, right)?)
    }

    /// Compares one name.
    fn nodes(&mut self, path: &[u8], left: Option<&Node>, right: Option<&Node>) -> Result<(), CompareError> {
        for (side, node) in [left, right].into_iter().enumerate() {
            if let Some(node) = node {
                self.note(side, node)?;
            }
        }
        let (Some(a), Some(b)) = (left, right) else {
            self.reporter.contents_differ = true;
            return self.report(path, "kind", word(left), word(right));
        };
        if a.kind != b.kind {
            self.reporter.contents_differ = true;
            return self.report(path, "kind", word(left), word(right));
        }
        let facts = [of(0, self.sides[0].fields(a))?, of(1, self.sides[1].fields(b))?];
        let [left, right] = facts.each_ref().map(|facts| facts.iter().find(|(name, _)| name == "inode").map(|(_, value)| value));
        if let (Some(left), Some(right)) = (left, right)
            && left != right
        {
            self.renumbered += 1;
            self.first_number.get_or_insert_with(|| (path.to_vec(), left.clone(), right.clone()));
        }
        let facts = facts.map(|facts| facts.into_iter().filter(|(name, _)| name != "inode").collect::<Vec<_>>());
        self.reporter.facts(self.partition, Some(&shown(path)), &facts[0], &facts[1])?;
        self.attributes(path, a, b)?;
        match a.kind {
            Kind::File => self.contents(path, a, b),
            Kind::Symlink => self.targets(path, a, b),
            _ => Ok(()),
        }
    }

    /// Notes the places of a node's bytes.
    fn note(&mut self, side: usize, node: &Node) -> Result<(), CompareError> {
        let fs = self.sides[side];
        let ranges = &mut self.ranges[side];
        let start = fs.part().start;
        for attribute in of(side, fs.attributes(node))? {
            let at = start + attribute.at;
            ranges.add(at, at + attribute.value.len() as u64, Use::Attribute);
        }
        let Content::Extents(extents) = of(side, fs.content(node))? else { return Ok(()) };
        for Extent { from, at, len } in extents {
            let at = start + at;
            match node.kind {
                Kind::File => {
                    let inside = node.size.saturating_sub(from).min(len);
                    ranges.add(at, at + inside, Use::File);
                    ranges.add(at + inside, at + len, Use::Slack);
                }
                _ => ranges.add(at, at + len, Use::Names),
            }
        }
        Ok(())
    }

    fn attributes(&mut self, path: &[u8], a: &Node, b: &Node) -> Result<(), CompareError> {
        let show = |side: usize, node: &Node, fs: &dyn Filesystem| -> Result<Vec<(String, String)>, CompareError> {
            let attributes = of(side, fs.attributes(node))?;
            // Contents in the inode are compared as contents.
            let real = attributes.into_iter().filter(|attribute| attribute.name != "system.data");
            Ok(real.map(|attribute| (format!("attribute {}", attribute.name), value(&attribute.value))).collect())
        };
        let (left, right) = (show(0, a, self.sides[0])?, show(1, b, self.sides[1])?);
        Ok(self.reporter.facts(self.partition, Some(&shown(path)), &left, &right)?)
    }

    fn targets(&mut self, path: &[u8], a: &Node, b: &Node) -> Result<(), CompareError> {
        let target = |side: usize, node: &Node| -> Result<String, CompareError> {
            let fs = self.sides[side];
            let content = of(side, fs.content(node))?;
            Ok(escape(&of(side, content.head(fs.part(), node.size, 4096))?))
        };
        let (left, right) = (target(0, a)?, target(1, b)?);
        if left == right { Ok(()) } else { self.report(path, "target", left, right) }
    }

    /// Compares the sizes and bytes of two files.
    fn contents(&mut self, path: &[u8], a: &Node, b: &Node) -> Result<(), CompareError> {
        if a.size != b.size {
            self.report(path, "size", a.size.to_string(), b.size.to_string())?;
        }
        let contents = [of(0, self.sides[0].content(a))?, of(1, self.sides[1].content(b))?];
        let parts = self.sides.map(|fs| fs.part());
        let streams = [Stream::new(parts[0], &contents[0], a.size), Stream::new(parts[1], &contents[1], b.size)];
        let Some(first) = first_difference(streams, a.size.min(b.size), self.cancel)? else { return Ok(()) };
        self.reporter.contents_differ = true;
        let side = |side: usize, node: &Node| -> Result<String, CompareError> {
            let mut stream = Stream::new(parts[side], &contents[side], node.size);
            let digest = match node.size {
                size if size > HASHED_MAX => "too large to be hashed".to_owned(),
                _ => digest(side, &mut stream, self.cancel)?,
            };
            let mut stream = Stream::new(parts[side], &contents[side], node.size);
            stream.skip_to(first);
            let mut byte = [0; 1];
            Ok(match of(side, stream.read(&mut byte))? {
                1 => format!("{digest}, byte {first} is {:#04x}", byte[0]),
                _ => format!("{digest}, ends at byte {first}"),
            })
        };
        let (left, right) = (side(0, a)?, side(1, b)?);
        self.report(path, "content", left, right)
    }
}

/// The offset of the first byte that differs; `shorter`, the smaller size, when one stream only continues the other.
fn first_difference(mut streams: [Stream<'_>; 2], shorter: u64, cancel: &Cancel) -> Result<Option<u64>, CompareError> {
    let mut buffers = [vec![0; CHUNK], vec![0; CHUNK]];
    loop {
        cancel.check()?;
        // Skips common holes.
        let data = streams[0].next_data().min(streams[1].next_data());
        streams.iter_mut().for_each(|stream| stream.skip_to(data.min(shorter)));
        let at = streams[0].at();
        let [left, right] = &mut buffers;
        let counts = [of(0, streams[0].read(left))?, of(1, streams[1].read(right))?];
        let common = counts[0].min(counts[1]);
        if left[..common] != right[..common] {
            let inside = left.iter().zip(right.iter()).position(|(a, b)| a != b).unwrap_or(0);
            return Ok(Some(at + inside as u64));
        }
        match counts {
            [a, b] if a != b => return Ok(Some(at + common as u64)),
            [0, _] => return Ok(None),
            _ => {}
        }
    }
}

fn digest(side: usize, stream: &mut Stream<'_>, cancel: &Cancel) -> Result<String, CompareError> {
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; CHUNK]);
    loop {
        cancel.check()?;
        match of(side, stream.read(&mut buffer))? {
            0 => return Ok(format!("sha256:{}", hasher.finish())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn word(node: Option<&Node>) -> String {
    match node {
        None => NOTHING.into(),
        Some(node) if node.kind == Kind::File => format!("file of {} bytes", node.size),
        Some(node) => node.kind.word().into(),
    }
}

fn value(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=VALUE_SHOWN => hex(bytes),
        len => format!("{}… ({len} bytes)", hex(&bytes[..VALUE_SHOWN])),
    }
}

/// A path for people: absolute and escaped.
pub(super) fn shown(path: &[u8]) -> String {
    format!("/{}", escape(path))
}
