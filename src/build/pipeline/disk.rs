//! The disk of a virtual machine: GRUB for the BIOS, and one root filesystem up to the end.

use std::collections::BTreeMap;

use super::resolve::Resolved;
use crate::common::error::{Error, Result};
use crate::common::tree::{Content, Kind, Layer, Tree};
use crate::common::value::{Epoch, Sha256, TreePath};
use crate::formats::archive::{self, Memory, Policy};
use crate::formats::disk::cluster::CLUSTER;
use crate::formats::disk::ext4::{self, Size};
use crate::formats::disk::gpt::{self, Partition};
use crate::formats::disk::grub::{self, GrubFiles, Loader};
use crate::formats::disk::{Data, Piece, Pieces};
use crate::spec::lock::Entry as Locked;
use crate::spec::plan::{IMAGE_FORMAT, Plan};
use crate::storage::store::Store;

/// The start of the partition with GRUB's core image, in bytes.
const CORE_START: u64 = 1 << 20;
/// Its size in bytes.
const CORE_SIZE: u64 = 1 << 20;
/// The start of the root partition, in bytes.
pub const ROOT_START: u64 = CORE_START + CORE_SIZE;
// File data with the same cluster alignment in two root partitions has the same alignment on their disks.
const _: () = assert!(ROOT_START.is_multiple_of(CLUSTER as u64));
/// The root partition's number, from 1.
const ROOT_NUMBER: u32 = 2;
/// The sector size of the disk, in bytes.
const SECTOR: u64 = 512;
/// The journal's length in blocks of 4 KiB: 64 MiB, as mke2fs chooses for a disk of this size.
const JOURNAL_BLOCKS: u32 = 16384;

/// The package with GRUB's images and modules.
const GRUB_PACKAGE: &str = "grub-pc-bin";

/// The package with GRUB's files among a channel's tools.
pub(crate) fn grub_package(packages: &[Locked]) -> Option<&Locked> {
    packages.iter().find(|package| package.name.as_str() == GRUB_PACKAGE)
}

/// All files of GRUB's folder, read from the locked package in the store.
fn grub_files(store: &Store, packages: &[Locked]) -> Result<GrubFiles> {
    let locked = grub_package(packages).ok_or_else(|| {
        Error::user(format!("the channel's `tools` lack `{GRUB_PACKAGE}`, which makes the disk bootable"))
            .hint("add it to the sources file, and run `kbake lock`")
    })?;
    read_grub(store, locked).map_err(|error| store.explain(error, [locked.sha256]))
}

/// GRUB's settings in a plan's images: the folder of its menu, and its first commands.
pub(crate) fn grub_words(plan: &Plan) -> (String, String) {
    (grub::prefix(ROOT_NUMBER), grub::early_config(plan.root_uuid().as_bytes()))
}

/// The key of a role's boot loader: GRUB's package, its modules, its first commands, and the format of images. None without a package.
pub(crate) fn loader_key(resolved: &Resolved) -> Option<Sha256> {
    let package = grub_package(&resolved.tools)?.sha256;
    let (prefix, config) = grub_words(&resolved.plan);
    let modules = grub::MODULES.join(" ");
    Some(Sha256::of(format!("kbake boot\nimage-format {IMAGE_FORMAT}\npackage {package}\nmodules {modules}\nprefix {prefix}\n\n{config}")))
}

/// GRUB for a plan's images, built from the locked package in the store.
pub(crate) fn loader(plan: &Plan, store: &Store, packages: &[Locked]) -> Result<Loader> {
    let (prefix, config) = grub_words(plan);
    Loader::new(&grub_files(store, packages)?, grub::MODULES, &prefix, &config)
}

fn read_grub(store: &Store, locked: &Locked) -> Result<GrubFiles> {
    let reader = store.reader(&locked.sha256)?.ok_or_else(|| Error::internal(format!("{} is not in the store", locked.source)))?;
    let policy = Policy::package(locked.source.to_string(), Layer::Base);
    let mut contents = Memory::default();
    let tree = archive::deb::data(reader, &policy, &mut contents)?;
    let mut named = BTreeMap::new();
    for (path, node) in tree.below(&TreePath::fixed(grub::FILES_DIR)) {
        if let Kind::File(Content::Blob { digest, .. }) = &node.kind {
            let bytes = contents.blobs.get(digest).cloned().unwrap_or_default();
            named.insert(String::from_utf8_lossy(path.name()).into_owned(), bytes);
        }
    }
    GrubFiles::new(named)
}

/// The base alone, laid out as [`disk`] does, on an unbootable disk of `size` bytes. A cluster that has only file contents
/// here is at the same place on every disk of that size over this base, unless the tree changes or lacks one of these files.
pub(crate) fn base_disk(base: &Tree, size: u64) -> Result<Pieces> {
    let params = ext4::Params {
        uuid: [0; 16],
        label: String::new(),
        hash_seed: [0; 16],
        epoch: Epoch::from_seconds(1).map_err(Error::internal)?,
        size: Size::Fit { slack: 0, room: gpt::usable_end(size) - ROOT_START },
        journal_blocks: JOURNAL_BLOCKS,
    };
    Ok(Pieces::new(size, ext4::layout(base, base, &params)?.shifted(ROOT_START).collect()))
}

/// The disk layout of a tree over its base.
pub(crate) fn disk(plan: &Plan, tree: &Tree, base: &Tree, loader: &Loader) -> Result<Pieces> {
    let root_uuid = *plan.root_uuid().as_bytes();
    let size = plan.disk_size();
    let core_lba = CORE_START / SECTOR;
    let core_bytes = loader.core().placed_at(core_lba);
    if core_bytes.len() as u64 > CORE_SIZE {
        return Err(Error::internal(format!("GRUB's core image has {} bytes, its partition {CORE_SIZE}", core_bytes.len())));
    }
    let end = gpt::usable_end(size);
    let root = ext4::layout(
        tree,
        base,
        &ext4::Params {
            uuid: root_uuid,
            label: plan.root_label().to_owned(),
            hash_seed: *plan.guid("directory hash seed").as_bytes(),
            epoch: plan.epoch(),
            size: Size::Fit { slack: plan.root_slack(), room: end - ROOT_START },
            journal_blocks: JOURNAL_BLOCKS,
        },
    )?;
    let partitions = vec![
        Partition {
            name: "bios-boot".into(),
            type_guid: gpt::BIOS_BOOT,
            guid: plan.guid("boot partition"),
            start: CORE_START,
            size: CORE_SIZE,
            content: Pieces::new(CORE_SIZE, vec![Piece { at: 0, data: Data::Bytes(core_bytes) }]),
        },
        Partition {
            name: "root".into(),
            type_guid: gpt::LINUX_ROOT_X86_64,
            guid: plan.guid("root partition"),
            start: ROOT_START,
            size: end - ROOT_START,
            content: root,
        },
    ];
    gpt::disk(size, plan.guid("disk"), Some(loader.boot_sector(core_lba)), partitions)
}
