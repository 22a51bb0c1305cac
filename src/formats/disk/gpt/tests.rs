use std::path::PathBuf;

use super::*;
use crate::Class;
use crate::common::testing::Blobs;
use crate::common::value::{Cancel, derived_uuid};
use crate::formats::disk::raw;
use crate::formats::disk::testing;

const MIB: u64 = 1 << 20;
/// An EFI system partition.
const ESP: Uuid = Uuid::from_u128(0xC12A7328_F81F_11D2_BA4B_00A0C93EC93B);
/// Any Linux filesystem.
const LINUX_FILESYSTEM: Uuid = Uuid::from_u128(0x0FC63DAF_8483_4772_8E79_3D69D8477DE4);

fn partition(name: &str, start: u64, size: u64) -> Partition {
    let content = match size {
        ..4096 => Pieces::new(size, vec![]),
        _ => Pieces::new(4096, vec![Piece { at: 0, data: Data::Bytes(name.as_bytes().to_vec()) }]),
    };
    Partition { name: name.into(), type_guid: LINUX_FILESYSTEM, guid: derived_uuid("test partition", name), start, size, content }
}

/// The layout of kbake's images: BIOS boot, ESP, and a root partition that fills the rest.
fn typical(size: u64) -> Vec<Partition> {
    let root_start = 64 * MIB;
    vec![
        Partition { type_guid: LINUX_ROOT_X86_64, ..partition("root", root_start, usable_end(size) - root_start) },
        Partition { type_guid: BIOS_BOOT, ..partition("BIOS boot", MIB, MIB) },
        Partition { type_guid: ESP, ..partition("EFI système 😀", 2 * MIB, 62 * MIB) },
    ]
}

fn disk_guid() -> Uuid {
    derived_uuid("test disk", "etcd")
}

fn write_raw(dir: &tempfile::TempDir, pieces: &Pieces) -> PathBuf {
    let path = dir.path().join("disk.raw");
    raw::write(pieces, &Blobs::default(), &mut std::fs::File::create(&path).unwrap(), &Cancel::new()).unwrap();
    path
}

#[test]
fn sgdisk_and_partx_read_the_partitions() {
    let dir = tempfile::tempdir().unwrap();
    // Small; kbake's usual size; too large for the MBR's 32-bit sector numbers; not a multiple of 1 MiB.
    for size in [70 * MIB, 20 << 30, 3 << 40, 100 * MIB + 512] {
        let partitions = typical(size);
        let path = write_raw(&dir, &disk(size, disk_guid(), None, partitions.clone()).unwrap());
        let verdict = testing::run("sgdisk", &[&"-v", &path]);
        assert!(verdict.contains("No problems found"), "{size}: {verdict}");

        let listing = testing::run("sgdisk", &[&"-p", &path]);
        let identifier = format!("Disk identifier (GUID): {}", disk_guid().to_string().to_uppercase());
        let usable = format!("First usable sector is 34, last usable sector is {}", size / 512 - 34);
        assert!(listing.contains(&identifier) && listing.contains(&usable), "{listing}");

        let table = testing::run("partx", &[&"--pairs", &"--output", &"NR,START,SECTORS,TYPE,UUID,NAME", &path]);
        let expected: Vec<String> = (1..).zip(&partitions).map(|(number, partition)| pairs(number, partition)).collect();
        assert_eq!(table.lines().collect::<Vec<_>>(), expected);
    }
}

/// A partition as partx prints it, with non-ASCII bytes as `\xc3`.
fn pairs(number: u32, partition: &Partition) -> String {
    let Partition { name, type_guid, guid, start, size, .. } = partition;
    let shown = |byte: u8| if byte.is_ascii() { char::from(byte).to_string() } else { format!(r"\x{byte:02x}") };
    let name: String = name.bytes().map(shown).collect();
    let (start, size) = (start / 512, size / 512);
    format!(r#"NR="{number}" START="{start}" SECTORS="{size}" TYPE="{type_guid}" UUID="{guid}" NAME="{name}""#)
}

#[test]
fn both_tables_are_valid() {
    // With the front damaged, sgdisk loads the backup; its output tells which checksum failed.
    let dir = tempfile::tempdir().unwrap();
    let path = write_raw(&dir, &disk(70 * MIB, disk_guid(), None, typical(70 * MIB)).unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[512..1024].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let listing = testing::output("sgdisk", &[&"-p", &path]);
    let listing = String::from_utf8_lossy(&listing.stdout);
    assert!(listing.contains("BIOS boot") && listing.contains("root"), "{listing}");
}

#[test]
fn the_protective_mbr_follows_the_specification() {
    let code = std::array::from_fn(|at| at as u8 | 1);
    let small = disk(70 * MIB, disk_guid(), Some(code), vec![]).unwrap();
    let Data::Bytes(front) = &small.iter().next().unwrap().data else { panic!("the table is bytes") };
    assert_eq!(front[..440], code, "GRUB's code");
    assert_eq!(front[440..446], [0; 6]);
    // 143,360 sectors: the last is cylinder 8, head 235, sector 35.
    assert_eq!(front[446..462], [0, 0, 2, 0, 0xee, 235, 35, 8, 1, 0, 0, 0, 0xff, 0x2f, 0x02, 0]);
    assert_eq!(front[462..510], [0; 48]);
    assert_eq!(front[510..512], [0x55, 0xaa]);

    let large = disk(3 << 40, disk_guid(), None, vec![]).unwrap();
    let Data::Bytes(front) = &large.iter().next().unwrap().data else { panic!("the table is bytes") };
    assert_eq!(front[446..462], [0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
}

#[test]
fn chs_of_known_sectors() {
    for (lba, expected) in [(1, [0, 2, 0]), (62, [0, 63, 0]), (63, [1, 1, 0]), (16_450_559, [254, 255, 255]), (16_450_560, [255; 3])] {
        assert_eq!(chs(lba), expected, "sector {lba}");
    }
}

#[test]
fn contents_are_moved_to_their_place() {
    let size = 70 * MIB;
    let pieces = disk(size, disk_guid(), None, typical(size)).unwrap();
    let at: Vec<u64> = pieces.iter().map(|piece| piece.at).collect();
    assert_eq!(at, [0, MIB, 2 * MIB, 64 * MIB, size - 33 * 512]);
    assert_eq!(pieces.len(), size);
}

#[test]
fn partitions_that_do_not_fit_are_refused() {
    let size = 10 * MIB;
    let long = Pieces::new(2 * MIB, vec![]);
    let cases = [
        (size + 1, vec![], "its size must be a multiple of 512"),
        (MIB, vec![], "at least 2 MiB"),
        (size, vec![partition("a", 0, MIB)], "`a` starts at byte 0, but the disk is in use up to byte 1048576"),
        (size, vec![partition("a", MIB + 512, MIB)], "`a` must start at a multiple of 1 MiB"),
        (size, vec![partition("a", MIB, 100)], "whole sectors; found 100 bytes"),
        (size, vec![partition("a", MIB, 0)], "whole sectors; found 0 bytes"),
        (size, vec![partition("b", 2 * MIB, MIB), partition("a", MIB, 2 * MIB)], "`b` starts at byte 2097152"),
        (size, vec![partition("a", MIB, 9 * MIB)], "overlaps the backup table at byte 10468864"),
        (size, vec![partition("a", 100 * MIB, MIB)], "overlaps the backup table"),
        (size, vec![partition("a", MIB, u64::MAX - 511)], "overlaps the backup table"),
        (
            size,
            vec![Partition { content: long, ..partition("a", MIB, MIB) }],
            "the contents of `a`, 2097152 bytes, exceed its size of 1048576 bytes",
        ),
        (size, vec![partition(&"ü".repeat(37), MIB, MIB)], "is too long"),
        (1 << 30, (1..130).map(|at| partition("a", at * MIB, MIB)).collect(), "129 partitions are more than 128"),
    ];
    for (size, partitions, expected) in cases {
        let error = disk(size, disk_guid(), None, partitions).unwrap_err();
        assert_eq!(error.class(), Class::User);
        assert!(error.to_string().contains(expected), "{error} has no {expected:?}");
    }
}

#[test]
fn the_usable_end_leaves_room_for_the_backup() {
    assert_eq!(usable_end(20 << 30), (20 << 30) - MIB);
    assert_eq!(usable_end(10 * MIB + 33 * 512), 10 * MIB);
    assert_eq!(usable_end(10 * MIB + 32 * 512), 9 * MIB);
    assert_eq!(usable_end(0), 0);
}
