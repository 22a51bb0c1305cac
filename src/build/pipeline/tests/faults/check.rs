//! Invariants that hold at every moment, for a process that starts then; and the contents that an undisturbed run leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::site::Site;
use super::world::ROLES;
use crate::common::value::Sha256;
use crate::storage::store::{Generation, Owner, Store};

/// The contents of a store, without parts that differ by place and time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Contents {
    /// The names of the blobs, each verified.
    pub blobs: BTreeSet<String>,
    /// The action entries: name and bytes.
    pub actions: BTreeMap<String, String>,
    /// Roots, by project and role.
    pub roots: BTreeMap<String, Generation>,
    /// Written images, by role.
    pub images: BTreeMap<String, Sha256>,
    /// The roles whose written images the store recognises.
    pub stamped: BTreeSet<String>,
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The bytes of a list of stretches.
fn composed(folder: &Path, list: &str) -> Vec<u8> {
    let (mut parts, mut bytes) = (Vec::new(), Vec::new());
    for line in fs::read_to_string(folder.join(list)).unwrap().lines().skip(2) {
        match *line.split(' ').collect::<Vec<_>>() {
            ["part", digest, _] => parts.push(fs::read(folder.join(digest)).unwrap()),
            ["zero", len] => bytes.resize(bytes.len() + len.parse::<usize>().unwrap(), 0),
            [part, offset, len] => {
                let (part, offset, len): (usize, usize, usize) = (part.parse().unwrap(), offset.parse().unwrap(), len.parse().unwrap());
                bytes.extend_from_slice(&parts[part][offset..offset + len]);
            }
            _ => panic!("{line:?} in a list of stretches"),
        }
    }
    bytes
}

impl Contents {
    /// Reads all files directly, without the store's readers.
    pub(crate) fn of(site: &Site, when: &str) -> Contents {
        let mut found = Contents::default();
        let folder = site.store().join("blobs/sha256");
        for name in names(&folder) {
            let path = folder.join(&name);
            assert_eq!(Sha256::of(fs::read(&path).unwrap()).to_string(), name, "{when}: a blob that is not what its name says");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o444, "{when}");
            found.blobs.insert(name);
        }
        let mut sizes: BTreeMap<String, u64> =
            found.blobs.iter().map(|name| (name.clone(), fs::metadata(folder.join(name)).unwrap().len())).collect();
        let mut entries = BTreeMap::new();
        for name in names(&site.store().join("actions")).into_iter().filter(|name| !name.starts_with('.')) {
            let text = fs::read_to_string(site.store().join("actions").join(&name)).unwrap();
            let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{when}: {name}: {e}: {text:?}"));
            if let Some(digest) = name.strip_prefix("composed-").and_then(|rest| rest.strip_suffix(".json")) {
                let bytes = composed(&folder, json["outputs"]["list"]["digest"].as_str().unwrap());
                assert_eq!(Sha256::of(&bytes).to_string(), digest, "{when}: {name} gives other bytes");
                sizes.insert(digest.to_owned(), bytes.len() as u64);
            }
            found.actions.insert(name.clone(), text);
            entries.insert(name, json);
        }
        for (name, json) in &entries {
            for (output, blob) in json["outputs"].as_object().unwrap() {
                let size = sizes.get(blob["digest"].as_str().unwrap());
                assert_eq!(size.copied(), blob["size"].as_u64(), "{when}: {name} names `{output}`, which is not there, or not so long");
            }
        }
        for role in ROLES {
            if let Ok(bytes) = fs::read(site.image(role)) {
                found.images.insert(role.to_owned(), Sha256::of(bytes));
            }
        }
        found
    }

    /// [`Contents::of`] for a store at rest, also read through the store itself.
    pub(crate) fn settled(site: &Site, when: &str) -> Contents {
        let mut found = Contents::of(site, when);
        let store = site.open().unwrap();
        found.roots = roots(site, &store);
        for (role, digest) in &found.images {
            if let Some(stamped) = store.stamp(&site.image(role)).unwrap() {
                assert_eq!(stamped, *digest, "{when}: a stamp that lies");
                found.stamped.insert(role.clone());
            }
        }
        assert_eq!(store.actions().unwrap().len(), found.actions.len(), "{when}");
        let left = store.actions().unwrap().into_iter().find(|found| found.action.is_err());
        assert_eq!(left, None, "{when}");
        found
    }

    /// Checks the contents after a disturbed run: each part equals the part before the run or the part after an undisturbed
    /// run.
    pub(crate) fn disturbed(site: &Site, sound: [&Contents; 2], when: &str) {
        let found = Contents::of(site, when);
        for (name, text) in &found.actions {
            assert!(sound.iter().any(|sound| sound.actions.get(name) == Some(text)), "{when}: {name} is not what a sound run gives");
        }
        for (role, digest) in &found.images {
            assert!(sound.iter().any(|sound| sound.images.get(role) == Some(digest)), "{when}: the image of {role} is not whole");
        }
        if !site.store().join("format").exists() {
            return;
        }
        let open = || site.open().unwrap_or_else(|e| panic!("{when}: the store does not open: {e}"));
        let is_kept = |name: &String| ["partial-", "work-"].iter().any(|stem| name.starts_with(stem));
        let left = || names(&site.store().join("tmp")).into_iter().find(|name| !is_kept(name));
        let mut store = open();
        // A process that another test is just starting has all our files open for a moment, and their locks with them.
        for _ in 0..2400 {
            if left().is_none() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
            drop(store);
            store = open();
        }
        assert_eq!(left(), None, "{when}: it was not removed by the next process");
        for (owner, generation) in roots(site, &store) {
            assert!(
                sound.iter().any(|sound| sound.roots.get(&owner) == Some(&generation)),
                "{when}: the root of {owner} names something else"
            );
        }
        for role in ROLES {
            if let Some(digest) = store.stamp(&site.image(role)).unwrap() {
                assert_eq!(found.images.get(role), Some(&digest), "{when}: a stamp that lies");
            }
        }
    }
}

fn roots(site: &Site, store: &Store) -> BTreeMap<String, Generation> {
    let shown = |owner: &Owner| {
        let project = owner.project.as_deref().unwrap();
        format!("{} {}", project.strip_prefix(&site.dir).unwrap_or(project).display(), owner.role)
    };
    store.roots().unwrap().into_iter().map(|root| (shown(&root.owner), root.current)).collect()
}
