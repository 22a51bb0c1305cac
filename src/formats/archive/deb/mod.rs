//! Debian packages: an `ar` archive of `debian-binary`, `control.tar*` and `data.tar*`, in this order
//! ([deb(5)](https://manpages.debian.org/bookworm/dpkg-dev/deb.5.en.html)).
//!
//! Each function reads the package to its end, so that a verifying reader below has seen every byte.

mod control;
mod plain;

use std::collections::BTreeMap;
use std::io::Read;

pub use control::Control;
pub(crate) use plain::plain;

use super::policy::Policy;
use super::sink::{Memory, Sink, discard};
use super::{ar, compress, tar};
use crate::common::error::{Error, Result};
use crate::common::tree::{Content, Kind, Layer, Tree};
use crate::common::value::{TreePath, escape};

/// The largest size of `debian-binary`, in bytes.
const VERSION_MAX: u64 = 4096;
/// The largest size of the unpacked `control.tar`, in bytes (it includes checksums of all files).
const CONTROL_TOTAL_MAX: u64 = 64 << 20;
/// The largest size of the file `control`, in bytes.
const CONTROL_MAX: usize = 1 << 20;

/// The files that a package installs, as a tree; `policy.what` is the package's pool path.
///
/// # Errors
/// Integrity errors of the package, its compression or its tar; errors of `reader` and `sink`.
pub fn data(reader: impl Read, policy: &Policy, sink: &mut dyn Sink) -> Result<Tree> {
    let mut tree = None;
    walk(reader, &policy.what, &mut |part, name, member| {
        if part == Part::Data {
            tree = Some(tar::read_plain(open_member(member, name, &policy.what, policy.limits.total_bytes)?, policy, sink)?);
        }
        Ok(())
    })?;
    tree.ok_or_else(|| Error::internal(format!("{}: was read without its data", policy.what)))
}

/// The package's control data. `what` names the package in messages.
pub fn control(reader: impl Read, what: &str) -> Result<Control> {
    let mut found = None;
    walk(reader, what, &mut |part, name, member| {
        if part == Part::Control {
            found = Some(read_control(open_member(member, name, what, CONTROL_TOTAL_MAX)?, what)?);
        }
        Ok(())
    })?;
    found.ok_or_else(|| Error::internal(format!("{what}: was read without its control archive")))
}

/// The contents of a few files, each of at most `most` bytes; `policy.what` is the package's pool path.
///
/// # Errors
/// Those of [`data`]; a file that is missing, not regular, or too large.
pub fn members(reader: impl Read, wanted: &[TreePath], most: u64, policy: &Policy) -> Result<BTreeMap<TreePath, Vec<u8>>> {
    let mut picker = Picker { what: &policy.what, wanted, most, found: BTreeMap::new() };
    let tree = data(reader, policy, &mut picker)?;
    let mut found = picker.found;
    let mut missing = Vec::new();
    let mut result = BTreeMap::new();
    for path in wanted {
        match tree.get(path).map(|node| &node.kind) {
            Some(Kind::File(_)) => {
                let bytes = found.remove(path).or_else(|| result.get(path).cloned());
                result.insert(path.clone(), bytes.ok_or_else(|| Error::internal(format!("{path} was read and not kept")))?);
            }
            Some(Kind::HardLink(target)) => missing.push(format!("{path} is a hard link to {target}")),
            Some(Kind::Symlink(target)) => missing.push(format!("{path} is a symbolic link to `{}`", escape(target))),
            Some(_) => missing.push(format!("{path} is not a file")),
            None => missing.push(format!("{path} is not in it")),
        }
    }
    if missing.is_empty() {
        return Ok(result);
    }
    let error = Error::integrity(format!("{}: lacks required files", policy.what));
    Err(missing.into_iter().fold(error, Error::detail))
}

/// The parts of a package, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Version,
    Control,
    Data,
}

impl Part {
    fn next(done: Option<Part>) -> Option<Part> {
        match done {
            None => Some(Part::Version),
            Some(Part::Version) => Some(Part::Control),
            Some(Part::Control) => Some(Part::Data),
            Some(Part::Data) => None,
        }
    }

    /// The member's name, without the suffix of its compression.
    fn name(self) -> &'static str {
        match self {
            Part::Version => "debian-binary",
            Part::Control => "control.tar",
            Part::Data => "data.tar",
        }
    }

    fn is(self, name: &str) -> bool {
        match name.strip_prefix(self.name()) {
            Some("") => true,
            Some(suffix) => self != Part::Version && suffix.starts_with('.'),
            None => false,
        }
    }
}

/// Passes the control and data members to `visit`.
fn walk(reader: impl Read, what: &str, visit: &mut dyn FnMut(Part, &str, &mut dyn Read) -> Result<()>) -> Result<()> {
    let mut archive = ar::Archive::new(reader, what)?;
    let mut done = None;
    while let Some(mut member) = archive.next_member()? {
        let name = member.name.clone();
        let due = Part::next(done);
        match due {
            // Members with `_` are extensions that may be skipped, but none may precede the version.
            Some(Part::Control | Part::Data) | None if name.starts_with('_') => continue,
            Some(part) if part.is(&name) => {
                if part == Part::Version {
                    check_version(member.size, &mut member, what)?;
                } else {
                    visit(part, &name, &mut member)?;
                }
                done = due;
            }
            Some(part) => return Err(Error::integrity(format!("{what}: has the member `{name}` where `{}` should be", part.name()))),
            None => return Err(Error::integrity(format!("{what}: has the member `{name}` after its data"))),
        }
    }
    match Part::next(done) {
        Some(part) => Err(Error::integrity(format!("{what}: has no member `{}`", part.name()))),
        None => Ok(()),
    }
}

/// Accepts format 2 with any minor number; lines after the first are for later versions.
fn check_version(size: u64, member: &mut dyn Read, what: &str) -> Result<()> {
    if size > VERSION_MAX {
        return Err(Error::integrity(format!("{what}: `debian-binary` has {size} bytes, {VERSION_MAX} are allowed")));
    }
    let mut text = Vec::new();
    member.read_to_end(&mut text).map_err(|e| Error::io(format_args!("read {what}"), &e))?;
    let line = text.split(|&b| b == b'\n').next().unwrap_or_default();
    let minor = line.strip_prefix(b"2.").filter(|minor| !minor.is_empty() && minor.iter().all(u8::is_ascii_digit));
    if minor.is_none() || line.len() == text.len() {
        return Err(Error::integrity(format!("{what}: is not a package of format 2")).detail(format!("found `{}`", escape(line))));
    }
    Ok(())
}

/// The decompressed stream of a member, whose name must match its compression.
fn open_member<'a>(member: &'a mut dyn Read, name: &str, what: &str, limit: u64) -> Result<compress::Decoded<'a>> {
    let (format, decoded) = compress::open(member, &format!("{what}: {name}"), limit)?;
    let suffix = name.find(".tar").map_or("", |at| &name[at + 4..]);
    if suffix != format.suffix() {
        let found = if format.suffix().is_empty() { "none of gzip, xz and zstd" } else { &format.suffix()[1..] };
        return Err(Error::integrity(format!("{what}: the member `{name}` does not match its name"))
            .detail(format!("found {found} by its first bytes")));
    }
    Ok(decoded)
}

fn read_control(tar: impl Read, what: &str) -> Result<Control> {
    let name = TreePath::fixed("control");
    let mut policy = Policy::package(format!("{what}: control.tar"), Layer::Base);
    policy.limits.total_bytes = CONTROL_TOTAL_MAX;
    let wanted = [name.clone()];
    let mut picker = Picker { what, wanted: &wanted, most: CONTROL_MAX as u64, found: BTreeMap::new() };
    let tree = tar::read_plain(tar, &policy, &mut picker)?;
    let is_file = matches!(tree.get(&name).map(|node| &node.kind), Some(Kind::File(_)));
    let Some(bytes) = picker.found.remove(&name).filter(|_| is_file) else {
        return Err(Error::integrity(format!("{what}: has no file `control`")));
    };
    Control::parse(&bytes).map_err(|reason| Error::integrity(format!("{what}: its file `control` {reason}")))
}

/// Keeps the wanted files; only hashes all others.
struct Picker<'a> {
    what: &'a str,
    wanted: &'a [TreePath],
    most: u64,
    found: BTreeMap<TreePath, Vec<u8>>,
}

impl Sink for Picker<'_> {
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content> {
        if !self.wanted.contains(path) {
            return discard(self.what, size, bytes);
        }
        if size > self.most {
            return Err(Error::integrity(format!("{}: {path} has {size} bytes, {} are allowed", self.what, self.most)));
        }
        let mut memory = Memory::default();
        let content = memory.put(path, size, bytes)?;
        let held = memory.blobs.into_values().next().unwrap_or_default();
        // A sparse file arrives in segments, which are not the file.
        if self.found.insert(path.clone(), held).is_some() {
            return Err(Error::integrity(format!("{}: {path} occurs twice or is sparse; expected one plain file", self.what)));
        }
        Ok(content)
    }
}

#[cfg(test)]
pub(crate) mod tests;
