//! The superblock and the directory index as e2fsprogs reads them.

use std::path::Path;

use tempfile::NamedTempFile;

use super::debugfs;
use super::image::{Sample, fit, fsck, params, tool};
use crate::formats::disk::ext4::Size;
use crate::formats::disk::ext4::dirhash::DirHash;

/// A line of `dumpe2fs -h`.
pub(crate) fn header(image: &Path, label: &str) -> String {
    let (code, said) = tool("dumpe2fs", &["-h", image.to_str().unwrap()]);
    assert_eq!(code, 0);
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().find_map(|line| line.strip_prefix(label));
    line.unwrap_or_else(|| panic!("no {label} in\n{said}")).trim().to_owned()
}

#[test]
fn the_superblock_is_what_mke2fs_would_write() {
    let ours = Sample::new().image(&params(Size::Bytes(1 << 30)));
    let theirs = NamedTempFile::new().unwrap();
    theirs.as_file().set_len(1 << 30).unwrap();
    let features = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,\
                    dir_nlink,extra_isize,metadata_csum";
    let path = theirs.path().to_str().unwrap();
    let args = ["-q", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "16384", "-m", "5", "-J", "size=4", "-O", features, path];
    let (code, said) = tool("mke2fs", &args);
    assert_eq!(code, 0, "{}", String::from_utf8_lossy(&said));
    for label in [
        "Filesystem features:",
        "Filesystem flags:",
        "Default mount options:",
        "Filesystem state:",
        "Errors behavior:",
        "Inode count:",
        "Block count:",
        "Reserved block count:",
        "Reserved GDT blocks:",
        "Blocks per group:",
        "Inodes per group:",
        "Flex block group size:",
        "Mount count:",
        "Maximum mount count:",
        "First inode:",
        "Inode size:",
        "Required extra isize:",
        "Desired extra isize:",
        "Journal inode:",
        "Default directory hash:",
        "Journal backup:",
        "Checksum type:",
        "Total journal size:",
        "Journal start:",
    ] {
        assert_eq!(header(ours.path(), label), header(theirs.path(), label), "{label}");
    }
    assert_eq!(header(ours.path(), "Filesystem volume name:"), "root");
    assert_eq!(header(ours.path(), "Filesystem UUID:"), "6b62616b-6520-6578-7434-207465737473");
    assert!(header(ours.path(), "Filesystem created:").contains("Nov 14 22:13:20 2023"));
}

#[test]
fn names_hash_as_debugfs_hashes_them() {
    let image = Sample::new().image(&fit());
    let hash = DirHash::new(*b"seed of the hash");
    let mut names: Vec<String> = [1, 3, 4, 5, 31, 32, 33, 64, 65, 255].iter().map(|&length| "x".repeat(length)).collect();
    names.extend(["größe", "日本語-ÿ", "lost+found"].map(str::to_owned));
    let seed = "73656564-206f-6620-7468-652068617368";
    let list: Vec<String> = names.iter().map(|name| format!("dx_hash -h half_md4 -s {seed} {name}")).collect();
    for (name, answer) in names.iter().zip(debugfs::commands(image.path(), &list)) {
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let found = answer.split("is 0x").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(format!("{:08x}", hash.of(name.as_bytes())), format!("{:0>8}", found), "{name}");
    }
}

#[test]
fn the_superblock_repeats_the_map_of_the_journal() {
    let image = Sample::new().image(&fit());
    // "Inode 8 is part of block group 0", then "located at block 130, offset 0x0700".
    let answer = String::from_utf8_lossy(&debugfs::commands(image.path(), &["imap <8>".to_owned()])[0]).into_owned();
    let numbers = answer.split("at block ").nth(1).and_then(|rest| rest.lines().next()).unwrap().replace("offset 0x", "");
    let (block, offset) = numbers.split_once(", ").unwrap_or_else(|| panic!("{answer}"));
    let inode = block.parse::<usize>().unwrap() * 4096 + usize::from_str_radix(offset, 16).unwrap();
    let bytes = std::fs::read(image.path()).unwrap();
    let copy = &bytes[1024 + 0x10C..][..68];
    assert_eq!(copy[..60], bytes[inode + 0x28..][..60], "i_block");
    assert_eq!(copy[60..64], [0; 4], "the high half of the size");
    assert_eq!(copy[64..68], bytes[inode + 4..][..4], "the low half");
}

#[test]
fn the_superblock_can_be_restored_from_a_copy() {
    for copy in [1u64, 3, 5, 7] {
        let image = Sample::new().image(&params(Size::Bytes(1 << 30)));
        let path = image.path().to_str().unwrap();
        let block = (copy * 32_768).to_string();
        // Destroys the primary superblock and descriptors.
        std::os::unix::fs::FileExt::write_all_at(image.as_file(), &[0; 8192], 0).unwrap();
        let (code, said) = tool("e2fsck", &["-fy", "-b", &block, "-B", "4096", path]);
        assert_eq!(code, 1, "{}", String::from_utf8_lossy(&said));
        fsck(image.path());
        assert_eq!(header(image.path(), "Filesystem volume name:"), "root");
    }
}
