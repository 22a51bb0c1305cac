//! The files of `grub-pc-bin`, validated once, and the order of modules.

use std::collections::{BTreeMap, BTreeSet};

use super::SECTOR;
use crate::{Error, Result};

/// GRUB's files for a BIOS, from one version of the package `grub-pc-bin`.
#[derive(Debug, Clone)]
pub struct GrubFiles {
    pub(super) boot: Vec<u8>,
    pub(super) diskboot: Vec<u8>,
    pub(super) decompressor: Vec<u8>,
    pub(super) kernel: Vec<u8>,
    modules: BTreeMap<String, Vec<u8>>,
    /// Module → its dependencies, in the order of `moddep.lst`.
    dependencies: BTreeMap<String, Vec<String>>,
}

impl GrubFiles {
    /// Takes the files of [`FILES_DIR`](super::FILES_DIR) by bare name (`boot.img`, `ext2.mod`, `moddep.lst`); other
    /// files are ignored.
    ///
    /// # Errors
    /// A missing file, a sector image of the wrong size, a malformed `moddep.lst`.
    pub fn new(mut files: BTreeMap<String, Vec<u8>>) -> Result<Self> {
        let mut take = |name: &str| {
            files.remove(name).ok_or_else(|| damaged(format!("GRUB's file `{name}` is missing")).detail("expected in usr/lib/grub/i386-pc"))
        };
        let boot = sector_image("boot.img", take("boot.img")?)?;
        let diskboot = sector_image("diskboot.img", take("diskboot.img")?)?;
        let decompressor = take("lzma_decompress.img")?;
        let kernel = take("kernel.img")?;
        let dependencies = parse_dependencies(&take("moddep.lst")?)?;
        let modules = files.into_iter().filter_map(|(name, bytes)| Some((name.strip_suffix(".mod")?.to_owned(), bytes))).collect();
        Ok(GrubFiles { boot, diskboot, decompressor, kernel, modules, dependencies })
    }

    /// The modules `wanted` and all their dependencies, each once and after its own dependencies, in the order of
    /// `grub-mkimage`: it visits a module's dependencies from the last to the first.
    ///
    /// # Errors
    /// A module that is unknown or missing; a dependency cycle.
    pub(super) fn closure(&self, wanted: &[&str]) -> Result<Vec<&[u8]>> {
        let mut walk = Walk { files: self, seen: BTreeSet::new(), path: Vec::new(), found: Vec::new() };
        wanted.iter().try_for_each(|name| walk.visit(name))?;
        Ok(walk.found)
    }
}

/// A depth-first walk through the modules.
struct Walk<'a> {
    files: &'a GrubFiles,
    seen: BTreeSet<String>,
    /// The modules whose dependencies are being visited, outermost first.
    path: Vec<String>,
    found: Vec<&'a [u8]>,
}

impl Walk<'_> {
    fn visit(&mut self, name: &str) -> Result<()> {
        if self.seen.contains(name) {
            return Ok(());
        }
        if self.path.iter().any(|on_path| on_path == name) {
            return Err(damaged(format!("GRUB's modules depend on each other in a cycle: {} → {name}", self.path.join(" → "))));
        }
        let files = self.files;
        let asked_by = |error: Error| match self.path.last() {
            Some(parent) => error.detail(format!("needed by the module `{parent}`")),
            None => error,
        };
        let needs = files
            .dependencies
            .get(name)
            .ok_or_else(|| asked_by(damaged(format!("GRUB has no module `{}`", name.escape_debug())).detail("it is not in moddep.lst")))?;
        let bytes = files.modules.get(name).ok_or_else(|| asked_by(damaged(format!("GRUB's file `{name}.mod` is missing"))))?;
        self.path.push(name.to_owned());
        needs.iter().rev().try_for_each(|need| self.visit(need))?;
        self.path.pop();
        self.seen.insert(name.to_owned());
        self.found.push(bytes);
        Ok(())
    }
}

/// Parses lines `module: dependency dependency …`.
fn parse_dependencies(bytes: &[u8]) -> Result<BTreeMap<String, Vec<String>>> {
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("GRUB's file `moddep.lst` is not UTF-8 text"))?;
    let mut dependencies = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let entry = line.split_once(':').filter(|(name, _)| !name.is_empty());
        let Some((name, needs)) = entry else {
            return Err(damaged(format!("GRUB's file `moddep.lst` is malformed at line {number}"))
                .detail(format!("expected `module: dependencies`, found `{}`", line.escape_debug())));
        };
        let needs: Vec<String> = needs.split_ascii_whitespace().map(str::to_owned).collect();
        if dependencies.insert(name.to_owned(), needs).is_some() {
            return Err(damaged(format!("GRUB's file `moddep.lst` lists the module `{}` twice", name.escape_debug())));
        }
    }
    Ok(dependencies)
}

fn sector_image(name: &str, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if bytes.len() == SECTOR {
        return Ok(bytes);
    }
    Err(damaged(format!("GRUB's file `{name}` is damaged")).detail(format!("expected {SECTOR} bytes, found {}", bytes.len())))
}

/// An error for damaged GRUB files.
pub(super) fn damaged(message: impl Into<String>) -> Error {
    Error::user(message)
        .hint("the files come from the package `grub-pc-bin`; check that the role's base includes it and no other GRUB package")
}
