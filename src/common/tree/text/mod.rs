//! The text form of a tree: one line per node in path order, so that two trees can be compared with `diff`.
//!
//! A line is words between single spaces, and ends with a line feed:
//!
//! ```text
//! type path mode uid gid mtime size what layer [name=value …]
//!
//! dir /etc 0755 0 0 1700000000 - - base
//! file /etc/fstab 0644 0 0 1700000000 12 sha256:1f… base user.note=a\x20b
//! sparse /var/disk 0600 0 0 1700000000 8192 0+512=sha256:9c…,4096+10=sha256:44… role
//! symlink /bin 0777 0 0 1700000000 - usr/bin base
//! hardlink /etc/other 0644 0 0 1700000000 - /etc/fstab base
//! char /dev/null 0666 0 0 1700000000 - 1:3 base
//! ```
//!
//! `type` is `dir`, `file`, `sparse`, `symlink`, `hardlink`, `char`, `block`, `fifo` or `socket`. `mode` has at least
//! four octal digits; the other numbers are decimal, without leading zeros. `what` is a file's digest, the segments of
//! a sparse file (`offset+size=digest`, separated by commas; `-` for none), a link's target, a device's `major:minor`,
//! else `-`. The backslash and bytes that are not printable ASCII are written as `\xNN`, in attribute names `=` too.
//! Attributes are sorted. Each tree has exactly one text: parsing refuses every other spelling.
//!
//! Contents are written as digests, even those that the tree holds itself: a parsed tree references them as blobs.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::{Content, Kind, Layer, Meta, Node, Refused, Segment, Tree};
use crate::common::error::{Error, Result};
use crate::common::value::{Sha256, TreePath, escape, unescape};

impl Tree {
    /// The tree's text, in the form that this module describes.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (path, node) in self.iter() {
            writeln!(text, "{}", Line { path, node }).expect("a String takes all text");
        }
        text
    }

    /// Parses the output of [`Tree::to_text`]; `what` names the text in messages.
    ///
    /// # Errors
    /// Integrity errors that name the line, for every other text.
    pub fn parse_text(text: &str, what: &str) -> Result<Tree> {
        let bad = |number: usize, reason: String| Error::integrity(format!("{what}: line {number}: {reason}"));
        if !text.ends_with('\n') {
            return Err(bad(text.lines().count().max(1), "the text does not end with a line feed; it may be cut off".into()));
        }
        let mut tree: Option<Tree> = None;
        let mut last: Option<TreePath> = None;
        // In path order a hard link may come before its file.
        let mut links = Vec::new();
        for (number, line) in (1..).zip(text.split_terminator('\n')) {
            let (path, node) = parse_line(line).map_err(|reason| bad(number, reason))?;
            if let Some(last) = last.filter(|last| *last >= path) {
                return Err(bad(number, format!("{path} must not follow {last}: paths are sorted")));
            }
            last = Some(path.clone());
            match &mut tree {
                None => tree = Some(start(&path, node).map_err(|reason| bad(number, reason))?),
                Some(_) if matches!(node.kind, Kind::HardLink(_)) => links.push((number, path, node)),
                Some(tree) => tree.insert(path, node).map_err(|refused| bad(number, refused.to_string()))?,
            }
        }
        let mut tree = tree.ok_or_else(|| bad(1, "the text is empty".into()))?;
        for (number, path, node) in links {
            tree.insert(path, node).map_err(|refused| bad(number, refused.to_string()))?;
        }
        Ok(tree)
    }
}

/// The tree with the root from the first line.
fn start(path: &TreePath, node: Node) -> Result<Tree, String> {
    if !path.is_root() {
        return Err(format!("the first line is {path}, not the root"));
    }
    if node.kind != Kind::Dir || node.layer != Layer::Base {
        return Err(Refused::Root.to_string());
    }
    Ok(Tree::new(node.meta))
}

/// One node's line, without its line feed.
pub(crate) struct Line<'a> {
    /// The path.
    pub path: &'a TreePath,
    /// The node.
    pub node: &'a Node,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Node { meta, kind, layer } = self.node;
        let Meta { mode, uid, gid, mtime, xattrs } = meta;
        write!(f, "{} {} {mode:04o} {uid} {gid} {mtime} ", type_name(kind), self.path)?;
        write_what(f, kind)?;
        write!(f, " {}", layer_name(*layer))?;
        for (name, value) in xattrs {
            write!(f, " {}={}", escape(name).replace('=', "\\x3d"), escape(value))?;
        }
        Ok(())
    }
}

fn type_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Dir => "dir",
        Kind::File(Content::Inline(_) | Content::Blob { .. }) => "file",
        Kind::File(Content::Sparse { .. }) => "sparse",
        Kind::Symlink(_) => "symlink",
        Kind::HardLink(_) => "hardlink",
        Kind::CharDev { .. } => "char",
        Kind::BlockDev { .. } => "block",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
    }
}

fn layer_name(layer: Layer) -> &'static str {
    match layer {
        Layer::Base => "base",
        Layer::Role => "role",
    }
}

/// Writes size and digest or target.
fn write_what(f: &mut fmt::Formatter<'_>, kind: &Kind) -> fmt::Result {
    match kind {
        Kind::Dir | Kind::Fifo | Kind::Socket => f.write_str("- -"),
        Kind::File(Content::Inline(bytes)) => write!(f, "{} sha256:{}", bytes.len(), Sha256::of(bytes)),
        Kind::File(Content::Blob { digest, size }) => write!(f, "{size} sha256:{digest}"),
        Kind::File(Content::Sparse { size, segments }) => {
            write!(f, "{size} ")?;
            if segments.is_empty() {
                return f.write_char('-');
            }
            segments.iter().enumerate().try_for_each(|(index, Segment { offset, digest, size })| {
                let comma = if index == 0 { "" } else { "," };
                write!(f, "{comma}{offset}+{size}=sha256:{digest}")
            })
        }
        Kind::Symlink(target) => write!(f, "- {}", escape(target)),
        Kind::HardLink(target) => write!(f, "- {target}"),
        Kind::CharDev { major, minor } | Kind::BlockDev { major, minor } => write!(f, "- {major}:{minor}"),
    }
}

fn parse_line(line: &str) -> Result<(TreePath, Node), String> {
    let words: Vec<&str> = line.split(' ').collect();
    let [kind, path, mode, uid, gid, mtime, size, what, layer, xattrs @ ..] = &*words else {
        return Err(format!("{} words; expected at least 9", words.len()));
    };
    let mode = u16::from_str_radix(mode, 8).ok().filter(|&mode| mode <= 0o7777).ok_or_else(|| format!("`{mode}` is not a mode"))?;
    let meta = Meta {
        mode,
        uid: number(uid, "owner")?,
        gid: number(gid, "group")?,
        mtime: number(mtime, "time")?,
        xattrs: xattrs.iter().map(|word| parse_xattr(word)).collect::<Result<BTreeMap<_, _>, _>>()?,
    };
    let layer = match *layer {
        "base" => Layer::Base,
        "role" => Layer::Role,
        _ => return Err(format!("`{layer}` is not a layer; known: base, role")),
    };
    let path = parse_path(path)?;
    let node = Node { meta, kind: parse_kind(kind, size, what)?, layer };
    // A line that is printed differently had another spelling: `00644`, `+1`, unsorted attributes.
    let proper = Line { path: &path, node: &node }.to_string();
    if proper != line {
        return Err(format!("is not in canonical form; expected `{proper}`"));
    }
    Ok((path, node))
}

fn parse_kind(kind: &str, size: &str, what: &str) -> Result<Kind, String> {
    Ok(match kind {
        "dir" => Kind::Dir,
        "fifo" => Kind::Fifo,
        "socket" => Kind::Socket,
        "file" => Kind::File(Content::Blob { digest: parse_digest(what)?, size: number(size, "size")? }),
        "sparse" => Kind::File(parse_sparse(number(size, "size")?, what)?),
        "symlink" => Kind::Symlink(unescape(what).ok_or_else(|| format!("`{what}` is not an escaped target"))?),
        "hardlink" => Kind::HardLink(parse_path(what)?),
        "char" | "block" => {
            let (major, minor) = what.split_once(':').ok_or_else(|| format!("`{what}` is not a device"))?;
            let (major, minor) = (number(major, "major number")?, number(minor, "minor number")?);
            if kind == "char" { Kind::CharDev { major, minor } } else { Kind::BlockDev { major, minor } }
        }
        _ => return Err(format!("`{kind}` is not a node type")),
    })
}

fn parse_sparse(size: u64, what: &str) -> Result<Content, String> {
    let mut segments = Vec::new();
    let mut end = 0;
    for word in what.split(',').filter(|_| what != "-") {
        let (range, digest) = word.split_once('=').ok_or_else(|| format!("`{word}` is not a segment"))?;
        let (offset, len) = range.split_once('+').ok_or_else(|| format!("`{word}` is not a segment"))?;
        let segment = Segment { offset: number(offset, "offset")?, digest: parse_digest(digest)?, size: number(len, "size")? };
        let after = segment.offset.checked_add(segment.size).filter(|&after| segment.offset >= end && after <= size && segment.size > 0);
        end = after.ok_or_else(|| format!("the segment at {offset} is empty, overlaps another or exceeds the file"))?;
        segments.push(segment);
    }
    Ok(Content::Sparse { size, segments })
}

fn parse_path(word: &str) -> Result<TreePath, String> {
    let bytes = unescape(word).ok_or_else(|| format!("`{word}` is not an escaped path"))?;
    let inner = bytes.strip_prefix(b"/").ok_or_else(|| format!("the path `{word}` does not start with a slash"))?;
    TreePath::parse(inner, false)
}

fn parse_xattr(word: &str) -> Result<(Vec<u8>, Vec<u8>), String> {
    let bad = || format!("`{word}` is not an attribute");
    let (name, value) = word.split_once('=').ok_or_else(bad)?;
    let name = unescape(&name.replace("\\x3d", "=")).filter(|name| !name.is_empty()).ok_or_else(bad)?;
    Ok((name, unescape(value).ok_or_else(bad)?))
}

fn parse_digest(word: &str) -> Result<Sha256, String> {
    word.strip_prefix("sha256:").ok_or_else(|| format!("`{word}` is not a digest"))?.parse()
}

fn number<T: std::str::FromStr>(word: &str, what: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{what} `{word}` is not a number in range"))
}

#[cfg(test)]
mod tests;
