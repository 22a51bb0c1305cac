use super::program;
use crate::oci::{ELF_HEAD, elf_is_static};
use crate::value::Arch;

fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut elf = program(Arch::Amd64);
    elf[at..at + bytes.len()].copy_from_slice(bytes);
    elf
}

/// With a second program header of this type.
fn with_segment(kind: u8, offset: u8, len: u8) -> Vec<u8> {
    let mut elf = patched(56, &[2]);
    let mut entry = [0; 56];
    (entry[0], entry[8], entry[32]) = (kind, offset, len);
    elf.extend(entry);
    elf.extend(b"/lib64/ld-linux\x1b.so.2\0");
    elf
}

#[test]
fn static_programs_of_either_machine_are_known() {
    for arch in Arch::ALL {
        assert_eq!(elf_is_static(&program(arch), arch), Ok(()));
    }
    assert_eq!(elf_is_static(&patched(16, &[3]), Arch::Amd64), Ok(()), "static-pie");
    assert_eq!(elf_is_static(&with_segment(2, 0, 0), Arch::Amd64), Ok(()), "static-pie has a dynamic segment");
}

#[test]
fn all_else_is_refused_by_what_it_is() {
    let script = b"#!/bin/sh\nexit 0\n".to_vec();
    let far = (ELF_HEAD as u64).to_le_bytes();
    for (bytes, expected) in [
        (vec![], "no ELF file"),
        (script, "no ELF file"),
        (b"\x7fELF".to_vec(), "no 64-bit little-endian ELF file"),
        (patched(4, &[1]), "no 64-bit little-endian ELF file"),
        (patched(5, &[2]), "no 64-bit little-endian ELF file"),
        (program(Arch::Arm64), "is a program for arm64, not for amd64"),
        (patched(18, &[3]), "another machine (ELF number 3)"),
        (patched(16, &[1]), "an object or a library"),
        (patched(16, &[4]), "an object or a library"),
        (patched(24, &[0]), "an object or a library"),
        (patched(54, &[32]), "unknown size"),
        (patched(54, &[0]), "unknown size"),
        (patched(32, &[65]), "are not where it begins"),
        (patched(32, &far), "are not where it begins"),
        (patched(32, &[0xff; 8]), "are not where it begins"),
        (patched(56, &[2]), "are not where it begins"),
        (patched(56, &[0xff, 0xff]), "are not where it begins"),
        (patched(56, &[0]), "nothing to load"),
        (patched(64, &[6]), "nothing to load"),
        (with_segment(3, 176, 22), r"it asks for /lib64/ld-linux\x1b.so.2"),
        (with_segment(3, 250, 255), "it asks for a loader"),
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

/// What Debian builds statically, and this very test, which is dynamic.
#[test]
fn real_programs_are_told_apart() {
    use super::containerd::{PROGRAMS, STATIC, program};
    for name in ["busybox", "catatonit"] {
        assert_eq!(elf_is_static(&std::fs::read(program(STATIC, name)).unwrap()[..ELF_HEAD], Arch::Amd64), Ok(()), "{name}");
    }
    for path in [std::env::current_exe().unwrap(), program(PROGRAMS, "ctr"), "/bin/ls".into()] {
        let bytes = std::fs::read(&path).unwrap();
        let why = elf_is_static(&bytes[..ELF_HEAD], Arch::Amd64).unwrap_err();
        assert!(why.starts_with("is not static: it asks for /lib64/ld-linux"), "{}: {why}", path.display());
    }
}
