//! Checks that a file of the user's own suits its use: a program for the machine, or an archive that has the programs.
//! The check is made when the file is locked; a node that finds out at boot says only "exec format error".

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek as _};

use super::made::{DEB_MAGIC, stripped};
use crate::document::Located;
use crate::error::{Error, Result};
use crate::oci::{ELF_HEAD, elf_is_program, elf_is_static};
use crate::recipe::{ImageContent, Install, MemberPath, Sources, Unpack};
use crate::tree::{Content, Kind, Layer};
use crate::unpack::{self, Policy, Sink};
use crate::value::{Arch, ArtifactName, TreePath};

/// Requirement that a program must meet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    /// Anything that the kernel starts in a role's image: a script too.
    Any,
    /// It is all that a container image has.
    Static,
}

/// Fails unless `file`, called `shown`, can take the place of the artifact `name`.
///
/// # Errors
/// It is no program for the channel's machine, or an archive without what is installed from it.
pub fn check_own(sources: &Sources, name: &ArtifactName, file: &mut File, shown: &str) -> Result<()> {
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
    Error::user(message).hint(format!("`{name}` is a program of its publisher's: give one that is built for the channel's machine"))
}

/// The names of the files that container images are built of.
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
        true => unpack::deb::data(&*file, &Policy::package(shown, Layer::Role), &mut heads),
        false => unpack::tar::read(&*file, &Policy::strict(shown, Layer::Role), &mut heads),
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
            return Err(
                Error::user(format!("{shown} has no file `{name}`")).detail(format!("leading folders that do not count: {}", unpack.strip))
            );
        };
        let needed = if in_images.contains(name) { Program::Static } else { Program::Any };
        if needed == Program::Static || unpack.mode.bits() & 0o111 != 0 {
            is_program(head, arch, needed).map_err(|why| Error::user(format!("{shown}: `{name}` {why}")))?;
        }
    }
    Ok(())
}

/// Keeps the beginnings of wanted members, and lets the others go by.
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
            // A sparse file comes in parts; it begins with the first.
            self.found.entry(name).or_insert(head);
        }
        unpack::let_go(self.what, size, bytes)
    }
}

#[cfg(test)]
#[path = "tests/own.rs"]
mod tests;
