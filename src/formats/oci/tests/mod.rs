//! Small images for the tests of this module.

mod archive;
mod build;
mod elf;
mod read;
mod reference_tools;

use super::{Built, File, Image};
use crate::Result;
use crate::common::testing::Blobs;
use crate::common::tree::ContentSource;
use crate::common::value::{Arch, Cancel, Epoch, Reference, TreePath};

fn reference() -> Reference {
    "registry.k8s.io/pause:3.10.2".parse().unwrap()
}

fn epoch() -> Epoch {
    Epoch::from_seconds(1_735_689_600).unwrap()
}

/// Adds a blob; returns it as a file of an image.
fn file(source: &mut Blobs, path: &str, mode: u16, bytes: &[u8]) -> File {
    File { path: TreePath::fixed(path), mode, size: bytes.len() as u64, digest: source.add(bytes) }
}

/// The beginning of a static program, enough for Linux to load it.
fn program(arch: Arch) -> Vec<u8> {
    let mut elf = vec![0; 64 + 56];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    elf[16] = 2;
    elf[18] = if arch == Arch::Amd64 { 62 } else { 183 };
    elf[24] = 0x78;
    elf[32] = 64;
    elf[54] = 56;
    elf[56] = 1;
    elf[64] = 1;
    elf
}

/// An image of a program and a text file.
fn small(arch: Arch, source: &mut Blobs) -> Built {
    let files = vec![file(source, "usr/bin/pause", 0o755, &program(arch)), file(source, "etc/motd", 0o644, b"hello\n")];
    let command = vec!["/usr/bin/pause".into(), "--".into()];
    Built { reference: reference(), arch, epoch: epoch(), command, files }
}

fn archive(image: &Image, source: &dyn ContentSource) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    image.write(source, &mut out, &Cancel::new())?;
    Ok(out)
}
