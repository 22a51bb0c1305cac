//! Texts of a project and of publishers, and the store's own.

use std::path::PathBuf;

use kbake::Cluster;
use kbake::project::Expected;
use kbake::project::Lock;
use kbake::project::Table;
use kbake::project::{Recipe, Sources, Subject};
use kbake::store::{Access, Lookup, Owner, Store};
use kbake::tree::PackIndex;
use kbake::tree::Tree;
use kbake::upstream::{self, List};
use kbake::value::{Arch, Cancel, Sha256};

use super::short;

fn text(bytes: &[u8], look: impl FnOnce(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        look(text);
    }
}

pub fn lock(bytes: &[u8]) {
    text(bytes, |text| {
        match Lock::parse(text, "t.lock") {
            Ok(lock) => {
                let again = lock.to_text();
                assert_eq!(Lock::parse(&again, "t.lock").expect("its own text"), lock);
            }
            Err(error) => short(&error),
        }
        if let Ok(lock) = Lock::parse_merged(text, "t.lock") {
            assert!(Lock::parse(&lock.to_text(), "t.lock").is_ok());
        }
    });
}

pub fn recipe(bytes: &[u8]) {
    text(bytes, |text| {
        for subject in [Subject::Role("node".parse().expect("a literal")), Subject::Base] {
            if let Err(error) = Recipe::parse("t.toml", text, subject) {
                short(&error);
            }
        }
    });
}

pub fn sources(bytes: &[u8]) {
    text(bytes, |text| {
        let _ = Sources::base_of("t.toml", text);
        match Sources::parse("t.toml", text, None) {
            Ok(base) => _ = Sources::parse("u.toml", text, Some(base)),
            Err(error) => short(&error),
        }
    });
}

pub fn cluster(bytes: &[u8]) {
    text(bytes, |text| {
        let _ = Cluster::channel_of("t.toml", text);
        if let Err(error) = Cluster::read("t.toml", text) {
            short(&error);
        }
    });
}

pub fn checksums(bytes: &[u8]) {
    text(bytes, |text| {
        if let Err(reason) = upstream::find(text, "https://dl.example/v1/bin/amd64/kubelet?x=1") {
            assert!(reason.len() < 4000, "a reason of {} bytes", reason.len());
        }
        match List::parse("checksums.yml", text) {
            Ok(list) => {
                _ = list.get(
                    &"kubelet".parse().expect("a literal"),
                    Arch::Amd64,
                    &"1.36.0".parse().expect("a literal"),
                    "https://a/kubelet",
                )
            }
            Err(error) => short(&error),
        }
    });
}

pub fn advisories(bytes: &[u8]) {
    kbake::advisories::fuzz(bytes).iter().for_each(short);
}

pub fn tables(bytes: &[u8]) {
    text(bytes, |text| {
        if let Err(error) = Table::parse("compatibility.toml", text) {
            short(&error);
        }
        let _ = Expected::parse("expected.toml", text);
    });
}

pub fn tree(bytes: &[u8]) {
    text(bytes, |text| match Tree::parse_text(text, "t") {
        Ok(tree) => {
            assert_eq!(tree.to_text(), text);
            let _ = PackIndex::of(&tree);
        }
        Err(error) => short(&error),
    });
}

/// An action entry, a root and a claim as they are found on the disk.
pub fn store(bytes: &[u8]) {
    thread_local!(static STORE: (tempfile::TempDir, Store) = {
        let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
        let store = Store::open(&folder.path().join("store"), Access::Shared, &Cancel::new(), &|| {}).expect("a store");
        (folder, store)
    });
    STORE.with(|(_, store)| {
        let key = Sha256::of("key");
        std::fs::write(store.root().join("actions").join(format!("image-{key}.json")), bytes).expect("written");
        match store.action("image", &key) {
            Lookup::Hit(action) => assert!(action.outputs.values().all(|blob| store.holds(&blob.digest, Some(blob.size)).expect("looked"))),
            Lookup::Miss(miss) => assert!(miss.to_string().len() < 2000),
        }
        let owner = Owner { project: Some(PathBuf::from("/p")), channel: "debian".into(), role: "etcd".parse().expect("a literal") };
        let name = Sha256::of("/p\ndebian\netcd");
        std::fs::write(store.root().join("roots").join(format!("{name}.json")), bytes).expect("written");
        if let Some(root) = store.root_of(&owner).expect("read") {
            assert_eq!(root.owner, owner);
        }
        let _ = store.roots();
        std::fs::write(store.claim_path(&key), bytes).expect("written");
        match store.claim(&key) {
            Ok(claim) => assert!(claim.is_some_and(|claim| claim.plan == key)),
            Err(error) => short(&error),
        }
    });
}
