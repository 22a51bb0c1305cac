//! GRUB as kbake installs it, started by QEMU's BIOS from a disk that reference tools partitioned, up to the jump into a kernel. The
//! kernel is a few bytes of this test, so it takes seconds.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kbake::disk::grub::{CoreImage, FILES_DIR, GrubFiles, MENU_PATH, MODULES, Menu, boot_sector, early_config, prefix};

use crate::vm::{self, Machine, Network, Setup, Vm};

const UUID: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef";
const UUID_TEXT: &str = "01234567-89ab-cdef-0123-456789abcdef";
const CORE_LBA: u64 = 34;
const ROOT_LBA: u64 = 2048;
const DEADLINE: Duration = Duration::from_secs(600);

/// A disk with GRUB, a menu, the kernel below and an initramfs that is just `message`. GRUB is told that the root is
/// partition `expected_root`; it is 2.
fn disk(folder: &Path, message: &str, expected_root: u32) -> PathBuf {
    let root = folder.join("root");
    std::fs::create_dir_all(root.join("boot/grub")).unwrap();
    let menu = Menu { title: "test", root: UUID, arguments: Menu::CONSOLES }.text().unwrap();
    std::fs::write(root.join(MENU_PATH.trim_start_matches('/')), menu).unwrap();
    std::fs::write(root.join("boot/vmlinuz-1"), kernel()).unwrap();
    std::fs::write(root.join("boot/initrd.img-1"), message).unwrap();
    symlink("boot/vmlinuz-1", root.join("vmlinuz")).unwrap();
    symlink("boot/initrd.img-1", root.join("initrd.img")).unwrap();

    let disk = folder.join("disk.img");
    let file = std::fs::File::create(&disk).unwrap();
    file.set_len(32 << 20).unwrap();
    run(Command::new("sgdisk").args(["-a1", "-n1:34:2047", "-t1:EF02", "-n2:2048:0"]).arg(&disk));
    let offset = format!("offset={}", ROOT_LBA * 512);
    run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-U", UUID_TEXT, "-E", &offset, "-d"]).arg(&root).arg(&disk).arg("16M"));

    let grub = GrubFiles::new(host_files()).unwrap();
    let core = CoreImage::new(&grub, MODULES, &prefix(expected_root), &early_config(&UUID)).unwrap();
    assert!(CORE_LBA + core.sectors() <= ROOT_LBA, "the core does not fit");
    file.write_all_at(&boot_sector(&grub, CORE_LBA), 0).unwrap();
    file.write_all_at(&core.placed_at(CORE_LBA), CORE_LBA * 512).unwrap();
    disk
}

fn host_files() -> BTreeMap<String, Vec<u8>> {
    let entries =
        std::fs::read_dir(Path::new("/").join(FILES_DIR)).unwrap_or_else(|_| panic!("grub-pc-bin is missing: run tests/setup.sh"));
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn run(command: &mut Command) {
    let output = vm::output(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A kernel that writes its command line and its initramfs to the first serial line and resets the machine.
/// The header is that of the [Linux boot protocol](https://docs.kernel.org/arch/x86/boot.html), version 2.10.
fn kernel() -> Vec<u8> {
    let mut image = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[1]); // One sector of real-mode code behind the first.
    put(0x1fe, &[0x55, 0xaa]);
    put(0x200, &[0xeb, 0x66]); // A jump, whose distance tells the header's end.
    put(0x202, b"HdrS");
    put(0x206, &0x020a_u16.to_le_bytes());
    put(0x211, &[1]); // Loaded at 1 MiB.
    put(0x214, &0x10_0000_u32.to_le_bytes());
    put(0x22c, &0x7fff_ffff_u32.to_le_bytes()); // How high an initramfs may lie.
    put(0x230, &0x1000_u32.to_le_bytes()); // Alignment.
    put(0x238, &2047_u32.to_le_bytes()); // The longest command line.
    put(0x258, &0x10_0000_u64.to_le_bytes());
    put(0x260, &0x1000_u32.to_le_bytes()); // Memory needed.
    // al to the serial line, when that is ready: mov bl,al; mov dl,0xfd; in al,dx; test al,0x20; jz -5; mov dl,0xf8; mov al,bl; out dx,al
    let write: &[u8] = &[0x88, 0xc3, 0xb2, 0xfd, 0xec, 0xa8, 0x20, 0x74, 0xfb, 0xb2, 0xf8, 0x88, 0xd8, 0xee];
    let code: [&[u8]; 10] = [
        &[0x89, 0xf5, 0xba, 0xf8, 0x03, 0, 0], // mov ebp,esi (the boot parameters); mov edx,0x3f8
        &[0x8b, 0xb5, 0x28, 0x02, 0, 0],       // mov esi,[ebp+0x228]: the command line
        &[0xac, 0x84, 0xc0, 0x74, 0x10],       // lodsb; test al,al; jz to the next part
        write,
        &[0xeb, 0xeb],                                                 // jmp to lodsb
        &[0x8b, 0xb5, 0x18, 0x02, 0, 0, 0x8b, 0x8d, 0x1c, 0x02, 0, 0], // mov esi,[ebp+0x218]; mov ecx,[ebp+0x21c]: the initramfs
        &[0xe3, 0x12, 0xac],                                           // jecxz to the end; lodsb
        write,
        &[0x49, 0xeb, 0xec],                         // dec ecx; jmp to jecxz
        &[0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd], // mov al,0xfe; out 0x64,al (reset); hlt
    ];
    image.extend(code.concat());
    image.resize(1536, 0);
    image
}

fn boots(machine: Machine, expected_root: u32) {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let first = disk(folder.path(), "<the first disk's initramfs>", expected_root);
    // A copy with the same identity, as a snapshot attached for repair would be, must not be taken for the root.
    let second = disk(other.path(), "<the second disk's initramfs>", expected_root);
    let mut vm = Vm::start(&Setup {
        machine,
        memory_mib: 128,
        disks: &[&first, &second],
        network: Network::Dhcp,
        ports: &[],
        further: &[],
        others: &[],
    });
    let expected = format!("BOOT_IMAGE=/vmlinuz root=UUID={UUID_TEXT} ro console=tty0 console=ttyS0,115200<the first disk's initramfs>");
    let time = vm.wait_for_console(&expected, DEADLINE);
    println!("{machine:?}: from power-on to the kernel in {time:.1?}");
    assert!(vm.wait_for_exit(DEADLINE).success());
    assert!(!vm.console().contains("error:"), "GRUB complained:\n{}", vm.console());
}

#[test]
fn boots_on_a_pc() {
    boots(Machine::Pc, 2);
}

#[test]
fn boots_on_a_q35() {
    boots(Machine::Q35, 2);
}

#[test]
fn a_missing_tool_is_named_with_its_remedy() {
    let panic = std::panic::catch_unwind(|| vm::output(&mut Command::new("no-such-tool"))).unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "no-such-tool is missing: run tests/setup.sh");
}

/// GRUB finds the root by its UUID if partitions that were added later have moved it.
#[test]
fn finds_a_root_that_has_moved() {
    let folder = tempfile::tempdir().unwrap();
    let disk = disk(folder.path(), "<the initramfs>", 7);
    let mut vm = Vm::start(&Setup {
        machine: Machine::Q35,
        memory_mib: 128,
        disks: &[&disk],
        network: Network::Dhcp,
        ports: &[],
        further: &[],
        others: &[],
    });
    vm.wait_for_console("console=ttyS0,115200<the initramfs>", DEADLINE);
}
