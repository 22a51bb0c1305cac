//! The documents' texts, and the volumes that contain them.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::common::testing::{golden, goldens};
use crate::formats::disk::testing;

#[test]
fn one_node_of_each_role_is_as_recorded() {
    let mut documents = Vec::new();
    for name in EXAMPLES {
        let cluster = example(name);
        let mut roles = BTreeSet::new();
        for node in cluster.nodes.iter().filter(|node| roles.insert(node.role)) {
            let seed = seed(&cluster, node.name.as_str());
            for (document, secret) in &seed.documents {
                documents.push((format!("cluster/{name}/{}/{document}", node.name), secret.expose_secret().to_owned()));
            }
        }
    }
    goldens(documents);
}

/// The documents in a folder, as extracted from a volume by another tool.
fn assert_holds(folder: &Path, seed: &Seed) {
    for (name, expected) in &seed.documents {
        assert_eq!(std::fs::read_to_string(folder.join(name)).unwrap(), expected.expose_secret(), "{name}");
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), seed.documents.len());
}

fn put(volume: &SeedVolume, path: &Path) {
    volume.write_private(|bytes| std::fs::write(path, bytes).map_err(|e| Error::io("write the seed", &e))).unwrap();
}

#[test]
fn volumes_hold_the_three_documents() {
    let seed = seed(&example("kubenet"), "control0");
    let dir = tempfile::tempdir().unwrap();
    let (iso, fat) = (dir.path().join("seed.iso"), dir.path().join("seed.img"));
    let (from_iso, from_fat) = (dir.path().join("from-iso"), dir.path().join("from-fat"));
    put(&seed.volume(Volume::Iso, epoch()).unwrap(), &iso);
    testing::run("xorriso", &[&"-osirrox", &"on", &"-indev", &iso, &"-extract", &"/", &from_iso]);
    assert_holds(&from_iso, &seed);
    assert!(testing::run("isoinfo", &[&"-d", &"-i", &iso]).contains("Volume id: cidata\n"));
    put(&seed.volume(Volume::Vfat, epoch()).unwrap(), &fat);
    std::fs::create_dir(&from_fat).unwrap();
    testing::run("mcopy", &[&"-i", &fat, &"::*", &from_fat]);
    assert_holds(&from_fat, &seed);
    testing::run("fsck.fat", &[&"-n", &fat]);
}

#[test]
fn documents_go_out_one_by_one() {
    let seed = seed(&example("two-node"), "worker");
    let dir = tempfile::tempdir().unwrap();
    seed.write_private(|name, bytes| std::fs::write(dir.path().join(name), bytes).map_err(|e| Error::io("write", &e))).unwrap();
    assert_holds(dir.path(), &seed);
    assert_eq!(seed.write_private(|_, _| Err(Error::user("disk on fire"))).unwrap_err().message(), "disk on fire");
}

#[test]
fn volumes_are_as_recorded_for_cluster_keys_and_epoch_alone() {
    let digest = |seed: &Seed, kind, epoch| Sha256::of(seed.volume(kind, epoch).unwrap().0.expose_secret()).to_string();
    let cluster = example("etcd");
    let later = Epoch::from_seconds(1_800_000_000).unwrap();
    let mut found = String::new();
    for (name, kind) in [("iso", Volume::Iso), ("vfat", Volume::Vfat)] {
        let first = digest(&seed(&cluster, "etcd0"), kind, epoch());
        assert_eq!(digest(&seed(&cluster, "etcd0"), kind, epoch()), first);
        assert_ne!(digest(&seed(&cluster, "etcd0"), kind, later), first);
        assert_ne!(digest(&seed(&cluster, "etcd1"), kind, epoch()), first);
        found.push_str(&format!("{name} {first}\n"));
    }
    // A new digest means that all seeds change: change it only on purpose.
    golden("cluster/etcd/etcd0/volumes", &found);
}
