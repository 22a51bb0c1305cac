//! Small images and a source in memory, for the tests of this module.

mod archive;
mod build;
#[path = "../../../../tests/containerd/mod.rs"]
mod containerd;
mod elf;
mod read;
mod reference_tools;

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::{Built, File, Image};
use crate::Result;
use crate::common::tree::ContentSource;
use crate::common::value::{Arch, Cancel, Epoch, Reference, Sha256, TreePath};

fn reference() -> Reference {
    "registry.k8s.io/pause:3.10.2".parse().unwrap()
}

fn epoch() -> Epoch {
    Epoch::from_seconds(1_735_689_600).unwrap()
}

/// Blobs by digest; a test may store wrong bytes under a digest.
#[derive(Debug, Default)]
struct Source(BTreeMap<Sha256, Vec<u8>>);

impl Source {
    fn add(&mut self, bytes: &[u8]) -> Sha256 {
        let digest = Sha256::of(bytes);
        self.0.insert(digest, bytes.to_vec());
        digest
    }

    /// Stores the bytes as a file of an image.
    fn file(&mut self, path: &str, mode: u16, bytes: &[u8]) -> File {
        File { path: TreePath::fixed(path), mode, size: bytes.len() as u64, digest: self.add(bytes) }
    }
}

impl ContentSource for Source {
    fn open(&self, digest: &Sha256, _size: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let bytes = self.0.get(digest).ok_or(io::ErrorKind::NotFound)?;
        // In two reads, as pipes and decompressors do.
        Ok(Box::new(bytes[..bytes.len() / 2].chain(&bytes[bytes.len() / 2..])))
    }
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
fn small(arch: Arch, source: &mut Source) -> Built {
    let files = vec![source.file("usr/bin/pause", 0o755, &program(arch)), source.file("etc/motd", 0o644, b"hello\n")];
    let command = vec!["/usr/bin/pause".into(), "--".into()];
    Built { reference: reference(), arch, epoch: epoch(), command, files }
}

fn archive(image: &Image, source: &Source) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    image.write(source, &mut out, &Cancel::new())?;
    Ok(out)
}
