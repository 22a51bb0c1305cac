use super::program;
use crate::common::value::Arch;
use crate::formats::oci::{ELF_HEAD, elf_is_static};

fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut elf = program(Arch::Amd64);
    elf[at..at + bytes.len()].copy_from_slice(bytes);
    elf
}

/// The program with a second program header of this type.
fn with_segment(kind: u8, offset: u8, len: u8) -> Vec<u8> {
    let mut elf = patched(56, &[2]);
    let mut entry = [0; 56];
    (entry[0], entry[8], entry[32]) = (kind, offset, len);
    elf.extend(entry);
    elf.extend(b"/lib64/ld-linux\x1b.so.2\0");
    elf
}

#[test]
fn static_programs_of_either_architecture_are_accepted() {
    for arch in Arch::ALL {
        assert_eq!(elf_is_static(&program(arch), arch), Ok(()));
    }
    assert_eq!(elf_is_static(&patched(16, &[3]), Arch::Amd64), Ok(()), "static-pie");
    assert_eq!(elf_is_static(&with_segment(2, 0, 0), Arch::Amd64), Ok(()), "static-pie has a dynamic segment");
}

#[test]
fn other_files_are_refused_with_a_reason() {
    let script = b"#!/bin/sh\nexit 0\n".to_vec();
    let far = (ELF_HEAD as u64).to_le_bytes();
    for (bytes, expected) in [
        (vec![], "not an ELF file"),
        (script, "not an ELF file"),
        (b"\x7fELF".to_vec(), "not a 64-bit little-endian ELF file"),
        (patched(4, &[1]), "not a 64-bit little-endian ELF file"),
        (patched(5, &[2]), "not a 64-bit little-endian ELF file"),
        (program(Arch::Arm64), "is a program for arm64, not for amd64"),
        (patched(18, &[3]), "another architecture (ELF machine 3)"),
        (patched(16, &[1]), "an object or a library"),
        (patched(16, &[4]), "an object or a library"),
        (patched(24, &[0]), "an object or a library"),
        (patched(54, &[32]), "unknown size"),
        (patched(54, &[0]), "unknown size"),
        (patched(32, &[65]), "are not at its beginning"),
        (patched(32, &far), "are not at its beginning"),
        (patched(32, &[0xff; 8]), "are not at its beginning"),
        (patched(56, &[2]), "are not at its beginning"),
        (patched(56, &[0xff, 0xff]), "are not at its beginning"),
        (patched(56, &[0]), "no loadable segment"),
        (patched(64, &[6]), "no loadable segment"),
        (with_segment(3, 176, 22), r"needs the loader /lib64/ld-linux\x1b.so.2"),
        (with_segment(3, 250, 255), "needs the loader (path unreadable)"),
    ] {
        let why = elf_is_static(&bytes, Arch::Amd64).unwrap_err();
        assert!(why.contains(expected), "{why}: expected {expected}");
    }
}

#[test]
fn no_prefix_makes_it_panic() {
    let elf = with_segment(3, 176, 22);
    for len in 0..elf.len() {
        assert!(elf_is_static(&elf[..len], Arch::Amd64).is_err());
    }
    for at in 0..elf.len() {
        let mut changed = elf.clone();
        changed[at] = 0xff;
        let _ = elf_is_static(&changed, Arch::Amd64);
    }
}

/// A static program of Debian's, and this test itself, which is dynamic.
#[test]
fn real_static_and_dynamic_programs_are_distinguished() {
    use crate::common::testing::containerd::{PROGRAMS, STATIC, program};
    for name in ["busybox", "catatonit"] {
        assert_eq!(elf_is_static(&std::fs::read(program(STATIC, name)).unwrap()[..ELF_HEAD], Arch::Amd64), Ok(()), "{name}");
    }
    for path in [std::env::current_exe().unwrap(), program(PROGRAMS, "ctr"), "/bin/ls".into()] {
        let bytes = std::fs::read(&path).unwrap();
        let why = elf_is_static(&bytes[..ELF_HEAD], Arch::Amd64).unwrap_err();
        assert!(why.starts_with("is not static: it needs the loader /lib64/ld-linux"), "{}: {why}", path.display());
    }
}
