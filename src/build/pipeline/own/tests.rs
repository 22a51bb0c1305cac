//! Local files that suit their use, and files that a node could not start.

use std::io::Write as _;

use super::*;
use crate::spec::project::Project;

/// The head of a program that the kernel would load; a dynamic one if a loader is named.
fn program(machine: u8, loader: Option<&[u8]>) -> Vec<u8> {
    let mut elf = vec![0; 64];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    (elf[16], elf[18], elf[24], elf[32], elf[54], elf[56]) = (2, machine, 0x78, 64, 56, 1 + u8::from(loader.is_some()));
    let mut load = [0; 56];
    load[0] = 1;
    elf.extend(load);
    if let Some(loader) = loader {
        let mut asks = [0; 56];
        (asks[0], asks[8], asks[32]) = (3, 176, loader.len() as u8);
        elf.extend(asks);
        elf.extend(loader);
    }
    elf
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn check(name: &str, bytes: &[u8]) -> Result<(), String> {
    let sources = Project::Shipped.channel("upstream").unwrap().sources;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    check_own(&sources, &name.parse().unwrap(), &mut file, "mine").map_err(|error| error.to_string())
}

const AMD64: u8 = 62;
const ARM64: u8 = 183;

#[test]
fn a_program_is_one_for_the_channel_s_machine() {
    let dynamic = program(AMD64, Some(b"/lib64/ld-linux-x86-64.so.2\0"));
    for good in [&program(AMD64, None)[..], &dynamic, b"#!/bin/sh\nexit 0\n"] {
        check("kubelet", good).unwrap();
    }
    for (bad, words) in [
        (&b"127.0.0.1 localhost\n"[..], "mine is not a program (not an ELF file)"),
        (&program(ARM64, None), "is a program for arm64, not for amd64"),
        (b"#", "is not a program"),
        (b"\x7fELF", "not a 64-bit little-endian ELF file"),
    ] {
        let said = check("kubelet", bad).unwrap_err();
        assert!(said.contains(words), "{said}");
    }
    // A text is no program here, and need not be one.
    check("metallb-manifest", b"kind: List\n").unwrap();
}

#[test]
fn an_archive_has_what_is_installed_from_it() {
    let good = program(AMD64, None);
    let all = [("etcd-v1/etcd", &good[..]), ("etcd-v1/etcdctl", &good), ("etcd-v1/etcdutl", &good), ("etcd-v1/README.md", b"text")];
    check("etcd", &archive(&all)).unwrap();
    check("etcdctl", &archive(&all)).unwrap();
    for (bad, words) in [
        (archive(&all[1..]), "mine has no file `etcd`"),
        (archive(&[("etcd", &good), ("etcdutl", &good)]), "mine has no file `etcd`"),
        (archive(&[("v/etcd", b"text"), all[1], all[2]]), "mine: `etcd` is not a program"),
        (archive(&[("v/etcd", &program(ARM64, None)), all[1], all[2]]), "is a program for arm64"),
        (good.clone(), "expected an archive that has: etcd"),
        (b"127.0.0.1 localhost\n".to_vec(), "expected an archive"),
    ] {
        let said = check("etcd", &bad).unwrap_err();
        assert!(said.contains(words), "{said}");
    }
}
