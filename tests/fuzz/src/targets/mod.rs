//! The fuzz targets: every parser of bytes that kbake did not write itself. A target must survive any input; input that it accepts
//! must also satisfy the assertions here.
//!
//! `tests/hostile` runs the same functions over the seeds and over what fuzzing once found.

mod archives;
mod disks;
mod images;
mod texts;

use crate::seeds;

/// One parser, or a few that read the same.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

pub const TARGETS: [Target; 20] = [
    Target { name: "tar", run: archives::tar, seeds: seeds::tar },
    Target { name: "deb", run: archives::deb, seeds: seeds::deb },
    Target { name: "control", run: archives::control, seeds: seeds::control },
    Target { name: "compress", run: archives::compress, seeds: seeds::compress },
    Target { name: "bundle", run: images::bundle, seeds: seeds::bundle },
    Target { name: "oci", run: images::oci, seeds: seeds::oci },
    Target { name: "elf", run: images::elf, seeds: seeds::elf },
    Target { name: "contents", run: disks::contents, seeds: seeds::contents },
    Target { name: "registry", run: images::registry, seeds: seeds::registry },
    Target { name: "qcow2", run: disks::qcow2, seeds: seeds::qcow2 },
    Target { name: "ext4", run: disks::ext4, seeds: seeds::ext4 },
    Target { name: "lock", run: texts::lock, seeds: seeds::lock },
    Target { name: "recipe", run: texts::recipe, seeds: seeds::recipe },
    Target { name: "sources", run: texts::sources, seeds: seeds::sources },
    Target { name: "cluster", run: texts::cluster, seeds: seeds::cluster },
    Target { name: "checksums", run: texts::checksums, seeds: seeds::checksums },
    Target { name: "advisories", run: texts::advisories, seeds: seeds::advisories },
    Target { name: "tables", run: texts::tables, seeds: seeds::tables },
    Target { name: "tree", run: texts::tree, seeds: seeds::tree },
    Target { name: "store", run: texts::store, seeds: seeds::store },
];

fn short(error: &kbake::Error) {
    let text = error.to_string();
    assert!(text.len() < 20_000, "a message of {} bytes: {}", text.len(), &text.chars().take(300).collect::<String>());
    assert!(!text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "control characters in a message: {text:?}");
}
