//! Verification of single entries by `kbake verify`.

use super::*;
use crate::common::value::Sha512;
use crate::storage::store::check::Examined;

fn sha512(bytes: &[u8]) -> Sha512 {
    let mut hasher = crate::common::value::Hasher512::new();
    hasher.update(bytes);
    hasher.finish()
}

#[test]
fn a_blob_is_sound_or_put_aside() {
    let (_dir, store) = fresh();
    let blob = store.insert(b"some bytes").unwrap();
    assert_eq!(store.examine(&blob.digest, &[]).unwrap(), Examined::default());
    let path = store.path(&blob.digest);
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"some bytez").unwrap();
    let found = store.examine(&blob.digest, &[]).unwrap().damage.unwrap();
    assert!(found.contains(&format!("10 bytes with sha256:{}; moved to ", Sha256::of(b"some bytez"))), "{found}");
    assert!(!store.contains(&blob.digest).unwrap());
    // A thing that cannot be read at all is damage.
    fs::create_dir(&path).unwrap();
    assert!(store.examine(&blob.digest, &[]).unwrap().damage.is_some());
    assert!(store.examine(&Sha256::of(b"none"), &[]).unwrap().damage.unwrap().contains("disappeared during"));
}

#[test]
fn a_false_alias_is_detected() {
    let (_dir, store) = fresh();
    let blob = store.insert(b"some bytes").unwrap();
    let (right, wrong) = (sha512(b"some bytes"), sha512(b"other bytes"));
    store.put_alias(&right, blob).unwrap();
    store.put_alias(&wrong, blob).unwrap();
    let keys = [crate::storage::store::alias::key(&right), crate::storage::store::alias::key(&wrong)];
    let examined = store.examine(&blob.digest, &keys).unwrap();
    assert_eq!(examined, Examined { damage: None, wrong_aliases: vec![keys[1]] });
    assert_eq!(store.alias_of(&right), Some(blob.digest));
    store.remove_action(crate::storage::store::alias::KIND, &keys[1]).unwrap();
    assert_eq!(store.alias_of(&wrong), None);
    fs::remove_file(store.path(&blob.digest)).unwrap();
    assert_eq!(store.alias_of(&right), Some(blob.digest), "also when the bytes are gone");
}

#[test]
fn bytes_are_taken_back_from_outside_only_when_they_are_the_blobs() {
    let (dir, store) = fresh();
    let blob = Blob { digest: Sha256::of(b"an image"), size: 8 };
    let copy = dir.path().join("copy");
    assert!(!store.take_back(&blob, &copy).unwrap(), "nothing is there");
    for (bytes, taken) in [(&b"an imagE"[..], false), (b"an image and more", false), (b"an image", true)] {
        fs::write(&copy, bytes).unwrap();
        assert_eq!(store.take_back(&blob, &copy).unwrap(), taken);
    }
    assert_eq!(read_all(&store, &blob.digest).unwrap(), b"an image");
}

#[test]
fn files_of_roots_that_are_none_are_listed_too() {
    let (_dir, store) = fresh();
    let owner = Owner { project: None, channel: "debian".into(), role: "etcd".parse().unwrap() };
    let history = History { plan: store.insert(b"plan").unwrap(), causes: None };
    let current = Generation { history, actions: Default::default(), inputs: Default::default() };
    let root = Root { owner: owner.clone(), current, previous: None, outputs: Default::default() };
    store.put_root(&root).unwrap();
    let name = Store::root_name(&owner);
    assert_eq!(store.root_files().unwrap(), [(name.clone(), Some(root))]);
    // A root under another owner's file name is not that owner's.
    let folder = store.root().join("roots");
    fs::rename(folder.join(&name), folder.join("other.json")).unwrap();
    assert_eq!(store.root_files().unwrap(), [("other.json".to_owned(), None)]);
    store.remove_root("other.json").unwrap();
    assert_eq!(store.root_files().unwrap(), []);
}
