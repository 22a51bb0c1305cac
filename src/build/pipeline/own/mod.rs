//! Checks that a local file suits its use: a program for the machine, or an archive with the programs. The check runs when
//! the file is locked; on the node, a mistake would show only as "exec format error" at boot.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek as _};

use super::extract::{DEB_MAGIC, stripped};
use crate::common::document::Located;
use crate::common::error::{Error, Result};
use crate::common::tree::{Content, Kind, Layer};
use crate::common::value::{Arch, ArtifactName, TreePath};
use crate::formats::archive::{self, Policy, Sink};
use crate::formats::oci::{ELF_HEAD, elf_is_program, elf_is_static};
use crate::spec::recipe::{ImageContent, Install, MemberPath, Sources, Unpack};

/// The requirement that a program must meet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    /// Anything that the kernel can execute in a role's image, including scripts.
    Any,
    /// Self-contained: a container image has no other files.
    Static,
}

/// Fails unless `file`, shown as `shown`, can replace the artifact `name`.
///
/// # Errors
/// The file is not a program for the channel's machine, or is an archive without the files that are installed from it.
pub(crate) fn check_own(sources: &Sources, name: &ArtifactName, file: &mut File, shown: &str) -> Result<()> {
    let Some(artifact) = sources.artifacts.get(name) else { return Ok(()) };
    let in_images = in_images(sources, name);
    match &artifact.install {
        Install::Unpack(unpack) => archive(sources.arch, unpack, &in_images, file, shown),
        Install::Whole { mode, .. } if mode.bits() & 0o111 == 0 && in_images.is_empty() => Ok(()),
        Install::Nowhere if in_images.is_empty() => Ok(()),
        Install::Whole { .. } | Install::Nowhere => {
            let needed = if in_images.is_empty() { Program::Any } else { Program::Static };
            let head = start(file).map_err(|e| Error::io(format!("read {shown}"), &e))?;
            is_program(&head, sources.arch, needed).map_err(|why| not_fit(format!("{shown} {why}"), name))
        }
    }
}

fn not_fit(message: String, name: &ArtifactName) -> Error {
    Error::user(message).hint(format!("give a build of `{name}` for the channel's architecture"))
}

/// The names of the files that container images are built from.
fn in_images(sources: &Sources, name: &ArtifactName) -> BTreeSet<String> {
    let built = sources.images.values().filter_map(|image| match &image.content {
        ImageContent::Built { from, files, .. } if from.value == *name => Some(files),
        _ => None,
    });
    let names = |files: &Vec<_>| match files.is_empty() {
        true => vec![name.to_string()],
        false => files.iter().map(|file: &Located<MemberPath>| file.value.as_str().to_owned()).collect(),
    };
    built.flat_map(names).collect()
}

fn is_program(head: &[u8], arch: Arch, needed: Program) -> Result<(), String> {
    match needed {
        Program::Any if head.starts_with(b"#!/") => Ok(()),
        Program::Any => elf_is_program(head, arch),
        Program::Static => elf_is_static(head, arch),
    }
}

fn start(file: &mut File) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let mut head = Vec::new();
    (&*file).take(ELF_HEAD as u64).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(head)
}

fn archive(arch: Arch, unpack: &Unpack, in_images: &BTreeSet<String>, file: &mut File, shown: &str) -> Result<()> {
    let head = start(file).map_err(|e| Error::io(format!("read {shown}"), &e))?;
    let members = unpack.members.iter().map(|member| member.value.as_str().to_owned());
    let wanted: BTreeSet<String> = members.chain(in_images.iter().cloned()).collect();
    let mut heads = Heads { what: shown, strip: unpack.strip, wanted: &wanted, found: BTreeMap::new() };
    let tree = match head.starts_with(DEB_MAGIC) {
        true => archive::deb::data(&*file, &Policy::package(shown, Layer::Role), &mut heads),
        false => archive::tar::read(&*file, &Policy::strict(shown, Layer::Role), &mut heads),
    };
    let tree = tree.map_err(|error| {
        let list = unpack.members.iter().map(|member| member.value.as_str()).collect::<Vec<_>>().join(", ");
        Error::user(error.message().to_owned()).detail(format!("expected an archive that has: {list}"))
    })?;
    let mut found = heads.found;
    for (path, node) in tree.iter() {
        if let (Some(name), Kind::HardLink(target)) = (stripped(path, unpack.strip), &node.kind)
            && let Some(head) = stripped(target, unpack.strip).and_then(|target| found.get(&target).cloned())
        {
            found.insert(name, head);
        }
    }
    for name in &wanted {
        let Some(head) = found.get(name) else {
            return Err(Error::user(format!("{shown} has no file `{name}`")).detail(format!("leading folders stripped: {}", unpack.strip)));
        };
        let needed = if in_images.contains(name) { Program::Static } else { Program::Any };
        if needed == Program::Static || unpack.mode.bits() & 0o111 != 0 {
            is_program(head, arch, needed).map_err(|why| Error::user(format!("{shown}: `{name}` {why}")))?;
        }
    }
    Ok(())
}

/// Keeps the first bytes of wanted members and skips the others.
struct Heads<'a> {
    what: &'a str,
    strip: u32,
    wanted: &'a BTreeSet<String>,
    found: BTreeMap<String, Vec<u8>>,
}

impl Sink for Heads<'_> {
    fn put(&mut self, path: &TreePath, size: u64, bytes: &mut dyn Read) -> Result<Content> {
        if let Some(name) = stripped(path, self.strip).filter(|name| self.wanted.contains(name)) {
            let mut head = Vec::new();
            bytes.take(ELF_HEAD as u64).read_to_end(&mut head).map_err(|e| Error::io(format!("read {}", self.what), &e))?;
            // A sparse file comes in parts; the first part has the head.
            self.found.entry(name).or_insert(head);
        }
        archive::discard(self.what, size, bytes)
    }
}

#[cfg(test)]
mod tests;
