//! The boot sector's code: the first 440 bytes of the disk. The disk's signature and partition table follow.

use super::GrubFiles;

/// The length of the code in the first sector, in bytes.
pub(crate) const BOOT_CODE_LEN: usize = 440;

/// Fields of `boot.img` (`GRUB_BOOT_MACHINE_*` in `include/grub/i386/pc/boot.h`).
const CORE_SECTOR: usize = 0x5c;
const BOOT_DRIVE: usize = 0x64;
const DRIVE_CHECK: usize = 0x66;

/// The value for "the drive that the BIOS booted from".
const ANY_DRIVE: u8 = 0xff;

/// The processor's no-op instruction.
const NOP: u8 = 0x90;

/// The code that loads the core whose first sector is `core_lba` (in 512 bytes, from the disk's start).
pub fn boot_sector(files: &GrubFiles, core_lba: u64) -> [u8; BOOT_CODE_LEN] {
    code(&files.boot, core_lba)
}

/// [`boot_sector`] from the bytes of `boot.img`.
pub(super) fn code(boot: &[u8], core_lba: u64) -> [u8; BOOT_CODE_LEN] {
    let mut code = [0; BOOT_CODE_LEN];
    code.copy_from_slice(&boot[..BOOT_CODE_LEN]);
    code[CORE_SECTOR..CORE_SECTOR + 8].copy_from_slice(&core_lba.to_le_bytes());
    code[BOOT_DRIVE] = ANY_DRIVE;
    // The image jumps over a check of the drive number that is wrong for floppy disks only. On a hard disk the check
    // guards against a BIOS that passes 0 for the first disk.
    code[DRIVE_CHECK..DRIVE_CHECK + 2].fill(NOP);
    code
}
