//! The reference is the host's own `grub-mkimage`, on the same files: `tests/setup.sh` installs both.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use super::sector::BOOT_CODE_LEN;
use super::*;

const UUID: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef";

/// The files of the host's package `grub-pc-bin`.
fn host_files() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new("/").join(FILES_DIR);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|_| panic!("grub-pc-bin is missing: run tests/setup.sh"));
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn grub() -> GrubFiles {
    GrubFiles::new(host_files()).unwrap()
}

/// The core from the reference tool.
fn reference(modules: &[&str], prefix: &str, config: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (config_path, core_path) = (folder.path().join("early.cfg"), folder.path().join("core.img"));
    std::fs::write(&config_path, config).unwrap();
    let status = Command::new("grub-mkimage")
        .args(["-O", "i386-pc", "-p", prefix, "-c"])
        .arg(&config_path)
        .arg("-o")
        .arg(&core_path)
        .args(modules)
        .status()
        .unwrap_or_else(|_| panic!("grub-mkimage is missing: run tests/setup.sh"));
    assert!(status.success(), "grub-mkimage failed");
    std::fs::read(core_path).unwrap()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Splits a core into its three parts and unpacks the last: first sector, decompressor, payload.
fn parts(core: &[u8], decompressor_len: usize) -> (&[u8], Vec<u8>, Vec<u8>) {
    let (first, rest) = core.split_at(SECTOR);
    let (decompressor, packed) = rest.split_at(decompressor_len);
    let packed = &packed[..word(decompressor, 0x08) as usize];
    let mut payload = Vec::new();
    let mut reader = lzma_rust2::LzmaReader::new(packed, u64::from(word(decompressor, 0x0c)), 3, 0, 2, 1 << 20, None).unwrap();
    reader.read_to_end(&mut payload).unwrap();
    let mut decompressor = decompressor.to_vec();
    // The only field that may differ: the length of the compressed stream.
    decompressor[0x08..0x0c].fill(0);
    (first, decompressor, payload)
}

#[test]
fn cores_unpack_to_the_output_of_grub_mkimage() {
    let grub = grub();
    let long = "echo x\n".repeat(1000);
    let early = early_config(&UUID);
    let cases: &[(&[&str], &str, &str)] = &[
        (MODULES, "(,gpt2)/boot/grub", &early),
        (&["biosdisk"], "/", ""),
        (&["echo", "echo"], "/boot", "e"),
        (&["echo"], "/boo", "ech"),
        (&["echo"], "/bo", "echo"),
        (&["echo"], "/boot/grub", &long),
        (&["part_gpt", "part_msdos", "ext2", "xfs", "lvm", "mdraid1x", "cryptodisk", "luks", "normal"], "(hd0)", "set a=b\n"),
        (&["normal", "ext2"], "p", "c"),
        (&["ext2", "normal"], "p", "c"),
    ];
    for (modules, prefix, config) in cases {
        let core = CoreImage::new(&grub, modules, prefix, config).unwrap();
        let theirs = reference(modules, prefix, config);
        let ours = core.placed_at(0);
        let (first, decompressor, payload) = parts(&ours, grub.decompressor.len());
        let (their_first, their_decompressor, their_payload) = parts(&theirs, grub.decompressor.len());
        assert_eq!(first[..0x1f4 - 12], their_first[..0x1f4 - 12]);
        assert!(decompressor == their_decompressor, "{modules:?}: the decompressors differ");
        assert_eq!(payload.len(), their_payload.len(), "{modules:?}");
        assert!(payload == their_payload, "{modules:?}: the unpacked streams differ");
        assert!(ours.len() <= theirs.len().next_multiple_of(SECTOR), "{modules:?}: {} bytes, grub-mkimage's {}", ours.len(), theirs.len());
    }
}

#[test]
fn the_core_contains_its_location() {
    let core = CoreImage::new(&grub(), &["biosdisk"], "/", "").unwrap();
    for lba in [1, 34, 2048, 0x1_2345_6789] {
        let placed = core.placed_at(lba);
        assert_eq!(placed.len() as u64, core.sectors() * 512);
        assert_eq!(placed[0x1f4..0x1fc], (lba + 1).to_le_bytes(), "where the second sector is");
        assert_eq!(placed[0x1fc..0x1fe], (core.sectors() as u16 - 1).to_le_bytes(), "how many follow the first");
        assert_eq!(placed[0x1fe..0x200], 0x820u16.to_le_bytes(), "the segment they are loaded to");
        assert_eq!(placed[0x1e8..0x1f4], [0; 12], "the end of the list");
    }
}

#[test]
fn the_boot_sector_names_the_core_and_keeps_the_rest() {
    let grub = grub();
    let code = boot_sector(&grub, 0x1_2345_6789);
    assert_eq!(code[0x5c..0x64], 0x1_2345_6789u64.to_le_bytes());
    assert_eq!(code[0x64], 0xff);
    assert_eq!(code[0x66..0x68], [0x90, 0x90]);
    for at in (0..BOOT_CODE_LEN).filter(|at| !(0x5c..0x68).contains(at)) {
        assert_eq!(code[at], grub.boot[at], "byte {at:#x}");
    }
    assert_eq!(code[..2], [0xeb, 0x63], "the jump over the parameter block");
}

#[test]
fn the_same_input_gives_the_same_core() {
    let build = || CoreImage::new(&grub(), MODULES, &prefix(2), &early_config(&UUID)).unwrap();
    assert_eq!(build(), build());
    assert_ne!(build(), CoreImage::new(&grub(), MODULES, &prefix(3), &early_config(&UUID)).unwrap());
}

/// A change to the host's files, and the expected error.
type Damage = (&'static str, fn(&mut BTreeMap<String, Vec<u8>>), &'static str);

#[test]
fn damaged_files_are_named() {
    let cases: &[Damage] = &[
        ("no boot.img", |f| drop(f.remove("boot.img")), "file `boot.img` is missing"),
        ("no kernel.img", |f| drop(f.remove("kernel.img")), "file `kernel.img` is missing"),
        ("no moddep.lst", |f| drop(f.remove("moddep.lst")), "file `moddep.lst` is missing"),
        ("short boot.img", |f| f.get_mut("boot.img").unwrap().truncate(511), "`boot.img` is damaged\n  expected 512 bytes, found 511"),
        ("long diskboot.img", |f| f.get_mut("diskboot.img").unwrap().push(0), "`diskboot.img` is damaged\n  expected 512 bytes, found 513"),
        ("empty decompressor", |f| f.get_mut("lzma_decompress.img").unwrap().clear(), "`lzma_decompress.img` is damaged"),
        ("large decompressor", |f| f.get_mut("lzma_decompress.img").unwrap().resize(4000, 0), "to 3584 bytes, found 4000"),
        ("empty kernel", |f| f.get_mut("kernel.img").unwrap().clear(), "not a 32-bit little-endian ELF file"),
        ("cut kernel", |f| f.get_mut("kernel.img").unwrap().truncate(5000), "ends after 5000 bytes"),
        ("cut program headers", |f| f.get_mut("kernel.img").unwrap().truncate(60), "ends after 60 bytes"),
        ("64-bit kernel", |f| f.get_mut("kernel.img").unwrap()[4] = 2, "not a 32-bit little-endian ELF file"),
        ("kernel of another machine", |f| f.get_mut("kernel.img").unwrap()[18] = 40, "not an i386 executable"),
        ("kernel elsewhere", |f| f.get_mut("kernel.img").unwrap()[25] = 0x80, "does not start at 0x9000"),
        ("huge segment", |f| f.get_mut("kernel.img").unwrap()[52 + 23] = 0xff, "is outside 0x9000..0x68000"),
        ("segment below", |f| f.get_mut("kernel.img").unwrap()[52 + 9] = 0x10, "at 0x1000 is outside"),
        ("nothing to load", |f| f.get_mut("kernel.img").unwrap()[52] = 9, "no loadable segment"),
        ("module gone", |f| drop(f.remove("fshelp.mod")), "file `fshelp.mod` is missing\n  needed by the module `ext2`"),
        ("malformed list", |f| f.get_mut("moddep.lst").unwrap().extend(b"oops\n"), "expected `module: dependencies`, found `oops`"),
        ("no text", |f| f.get_mut("moddep.lst").unwrap().push(0xff), "`moddep.lst` is not UTF-8 text"),
        ("twice", |f| f.get_mut("moddep.lst").unwrap().extend(b"ext2: normal\n"), "the module `ext2` twice"),
        ("circle", |f| drop(f.insert("moddep.lst".into(), b"ext2: fshelp\nfshelp: ext2\n".to_vec())), "cycle: ext2 → fshelp → ext2"),
        (
            "unknown need",
            |f| drop(f.insert("moddep.lst".into(), b"ext2: a\n".to_vec())),
            "no module `a`\n  it is not in moddep.lst\n  needed by",
        ),
    ];
    for (name, damage, expected) in cases {
        let mut files = host_files();
        damage(&mut files);
        let error = GrubFiles::new(files).and_then(|grub| CoreImage::new(&grub, &["ext2"], "/", "")).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert!(error.contains("hint: the files come from the package `grub-pc-bin`"), "{name}: {error}");
    }
}

#[test]
fn no_changed_byte_or_length_of_the_kernel_panics() {
    let kernel = grub().kernel;
    for at in 0..128 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = kernel.clone();
            changed[at] = value;
            let _ = elf::flatten(&changed);
        }
        let _ = elf::flatten(&kernel[..at]);
    }
}

#[test]
fn a_core_too_large_for_the_bios_is_refused() {
    let mut files = host_files();
    // Noise does not compress: 500 KiB of it stay 500 KiB.
    let noise = (0u64..16_000).flat_map(|n| crate::common::value::Sha256::of(n.to_le_bytes()).0).collect();
    files.insert("noise.mod".into(), noise);
    files.get_mut("moddep.lst").unwrap().extend(b"noise:\n");
    let error = CoreImage::new(&GrubFiles::new(files).unwrap(), &["noise"], "/", "").unwrap_err().to_string();
    assert!(error.contains("too large for a BIOS to load\n  expected at most 454656 bytes, found 5"), "{error}");
    assert!(CoreImage::new(&grub(), MODULES, "/", "a\0b").is_err(), "a zero byte would cut the commands off");
}

#[test]
fn texts() {
    assert_eq!(prefix(2), "(,gpt2)/boot/grub");
    let early = "search.fs_uuid 01234567-89ab-cdef-0123-456789abcdef root $root\nset prefix=($root)/boot/grub\n";
    assert_eq!(early_config(&UUID), early);
    let menu = Menu { title: "kbake etcd", root: UUID, arguments: &["console=tty0", "console=ttyS0,115200", "a=$b \"c\""] };
    let text = menu.text().unwrap();
    assert!(text.contains("menuentry 'kbake etcd' {\n"), "{text}");
    let line = "  linux /vmlinuz root=UUID=01234567-89ab-cdef-0123-456789abcdef ro console=tty0 console=ttyS0,115200 'a=$b \"c\"'\n";
    assert!(text.contains(line), "{text}");
    for bad in ["", "it's", "a\nb", "a\0"] {
        let error = Menu { arguments: &[bad], ..menu }.text().unwrap_err().to_string();
        assert!(error.contains("GRUB's menu cannot contain"), "{error}");
        assert!(Menu { title: bad, ..menu }.text().is_err());
    }
}

/// GRUB's own parser accepts the menu.
#[test]
fn grub_accepts_the_menu() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grub.cfg");
    let text = Menu { title: "kbake: etcd & more", root: UUID, arguments: Menu::CONSOLES }.text().unwrap();
    for (text, good) in [(text.as_str(), true), (&text[..text.len() - 3], false)] {
        std::fs::write(&path, text).unwrap();
        let run = Command::new("grub-script-check").arg(&path).output();
        let output = run.unwrap_or_else(|_| panic!("grub-script-check is missing: run tests/setup.sh"));
        assert_eq!(output.status.success(), good, "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_loader_round_trips_through_bytes() {
    let made = Loader::new(&grub(), MODULES, &prefix(2), &early_config(&UUID)).unwrap();
    let bytes = made.to_bytes();
    let kept = Loader::from_bytes(&bytes).unwrap();
    assert_eq!(kept, made);
    assert_eq!(kept.core(), &CoreImage::new(&grub(), MODULES, &prefix(2), &early_config(&UUID)).unwrap());
    assert_eq!(kept.boot_sector(2048), boot_sector(&grub(), 2048));
    for len in [0, 511, 512, 1024, bytes.len() - 1] {
        assert_eq!(Loader::from_bytes(&bytes[..len]), None, "{len} bytes");
    }
}
