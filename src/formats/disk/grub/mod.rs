//! GRUB for a BIOS (SeaBIOS is QEMU's default), installed without running any GRUB tool.
//!
//! A BIOS reads one sector, so GRUB starts in stages, each from a file of Debian's package `grub-pc-bin`:
//!
//! | file | place | task |
//! |---|---|---|
//! | `boot.img` | the first 440 bytes of the disk | loads one sector: [`boot_sector`] |
//! | `diskboot.img` | the first sector of the BIOS boot partition | loads the rest of that partition |
//! | `lzma_decompress.img` | after it | unpacks the rest to 1 MiB |
//! | `kernel.img`, modules, early configuration, prefix | after it, one LZMA stream | GRUB itself: [`CoreImage`] |
//!
//! The core is equal to the output of `grub-mkimage -O i386-pc` for the same input, but for the compressor: the
//! unpacked stream is equal byte for byte, which the tests verify. Reed–Solomon codes, which `grub-bios-setup` adds for
//! cores in sectors that other programs overwrite, are left out: a partition of our own needs none.
//!
//! All modules that the boot needs are in the core. The root filesystem holds nothing of GRUB but the text of
//! [`Menu::text`], and a kernel upgrade in the guest needs no GRUB tool, because the menu boots the links `/vmlinuz`
//! and `/initrd.img`, which Debian's `linux-base` maintains.
//!
//! Sources: `include/grub/offsets.h` (fields), `include/grub/kernel.h` (module area), `include/grub/i386/pc/boot.h`
//! (boot sector); in GRUB's manual: [Images](https://www.gnu.org/software/grub/manual/grub/html_node/Images.html),
//! [BIOS installation](https://www.gnu.org/software/grub/manual/grub/html_node/BIOS-installation.html).

mod core_image;
mod elf;
mod files;
mod loader;
mod menu;
mod sector;
#[cfg(test)]
mod tests;

pub use core_image::CoreImage;
pub use files::GrubFiles;
pub(crate) use loader::Loader;
pub use menu::{MENU_PATH, Menu, early_config, prefix};
pub use sector::boot_sector;

/// The folder of the package `grub-pc-bin` that holds the files, without a leading slash.
pub const FILES_DIR: &str = "usr/lib/grub/i386-pc";

/// The modules that a kbake disk needs to boot, and a few commands for GRUB's prompt.
///
/// `biosdisk`, `part_gpt`, `ext2` (it reads ext4) and `search_fs_uuid` find the root; `normal`, `test` and `keystatus`
/// run the menu; `serial` shows it on a serial console; `linux` boots. The others are for interactive use.
pub const MODULES: &[&str] = &[
    "biosdisk",
    "part_gpt",
    "ext2",
    "search_fs_uuid",
    "serial",
    "normal",
    "test",
    "keystatus",
    "linux",
    "echo",
    "ls",
    "cat",
    "configfile",
    "reboot",
    "halt",
];

/// The size of a sector in bytes. GRUB's BIOS code knows no other size.
const SECTOR: usize = 512;

/// The address that GRUB's kernel is linked to: `GRUB_KERNEL_I386_PC_LINK_ADDR` in `include/grub/offsets.h`.
const LINK_ADDRESS: u32 = 0x9000;
