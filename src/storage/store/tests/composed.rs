//! Composed blobs.

use std::io::Read as _;
use std::path::Path;

use super::*;
use crate::storage::store::Access;
use crate::storage::store::list::Found;

fn open(root: &Path) -> Store {
    Store::open(root, Access::Shared, &Cancel::new(), &|| {}).unwrap()
}

/// Three parts, and a blob composed of two of them.
fn world(store: &Store) -> (Vec<Blob>, Blob, Vec<u8>) {
    let texts: Vec<Vec<u8>> =
        (0..3u8).map(|n| (0..3_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ n).collect()).collect();
    let parts: Vec<Blob> = texts.iter().map(|text| store.insert(text).unwrap()).collect();
    let stretch = |part: usize, offset, len| Stretch::Of { blob: parts[part], offset, len };
    let stretches = [
        stretch(0, 10, 100),
        stretch(0, 110, 1_500_000),
        Stretch::Zero { len: 70_000 },
        Stretch::Zero { len: 1 },
        stretch(1, 2_999_999, 1),
        stretch(0, 0, 5),
    ];
    let bytes = [&texts[0][10..1_500_110], &[0; 70_001], &texts[1][2_999_999..], &texts[0][..5]].concat();
    let blob = store.compose(&stretches, &Cancel::new()).unwrap();
    (parts, blob, bytes)
}

fn actions(store: &Store) -> Vec<String> {
    store.actions().unwrap().into_iter().map(|Found { name: (kind, _), .. }| kind).collect()
}

#[test]
fn a_composed_blob_is_one_for_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let (blob, bytes) = {
        let store = open(&root);
        let (_, blob, bytes) = world(&store);
        assert_eq!(blob, Blob { digest: Sha256::of(&bytes), size: bytes.len() as u64 });
        store.export(&blob.digest, &dir.path().join("made here"), 0o600).unwrap();
        (blob, bytes)
    };
    // Another process, which has hashed nothing yet.
    let store = open(&root);
    assert_eq!((store.size(&blob.digest).unwrap(), store.holds(&blob.digest, Some(blob.size)).unwrap()), (Some(blob.size), true));
    assert!(!store.holds(&blob.digest, Some(1)).unwrap());
    let mut read = Vec::new();
    store.composed(&blob.digest).unwrap().unwrap().reader().read_to_end(&mut read).unwrap();
    assert!(read == bytes);
    store.export(&blob.digest, &dir.path().join("made later"), 0o644).unwrap();
    for name in ["made here", "made later"] {
        assert!(fsx::read(&dir.path().join(name)).unwrap() == bytes, "{name}");
        assert_eq!(store.stamp(&dir.path().join(name)).unwrap(), Some(blob.digest));
    }
    let names = store.blobs().unwrap().len();
    assert!(!store.blobs().unwrap().iter().any(|plain| plain.digest == blob.digest), "no file of its own up to here");
    let mut read = Vec::new();
    store.reader(&blob.digest).unwrap().unwrap().read_to_end(&mut read).unwrap();
    assert!(read == bytes && store.blobs().unwrap().len() == names + 1, "whoever needs a file gets one");
}

#[test]
fn random_access_reads_the_right_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    let (_, blob, bytes) = world(&store);
    let composed = store.composed(&blob.digest).unwrap().unwrap().into_unverified();
    for (at, len) in
        [(0, 0), (0, 100), (99, 2), (1_500_099, 70_003), (1_500_100, 1), (1_570_100, 2), (bytes.len() - 1, 1), (bytes.len(), 0)]
    {
        let mut found = vec![1; len];
        composed.read_exact_at(&mut found, at as u64).unwrap();
        assert!(found == bytes[at..at + len], "{len} bytes at {at}");
    }
    assert!(composed.read_exact_at(&mut [0; 2], bytes.len() as u64 - 1).is_err());
    assert!(composed.read_exact_at(&mut [0], u64::MAX).is_err());
}

#[test]
fn without_a_part_it_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    let (parts, blob, _) = world(&store);
    fsx::remove_file(&store.own_path(&parts[2].digest)).unwrap();
    assert!(store.contains(&blob.digest).unwrap(), "it is not made of that one");
    fsx::remove_file(&store.own_path(&parts[1].digest)).unwrap();
    assert!(!store.contains(&blob.digest).unwrap() && store.composed(&blob.digest).unwrap().is_none());
    let error = store.export(&blob.digest, &dir.path().join("out"), 0o644).unwrap_err();
    assert!(error.to_string().contains("is gone from the store"), "{error}");
}

#[test]
fn a_damaged_part_is_found_and_leaves() {
    for part in [0, 1] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        let (parts, blob, _) = world(&open(&root));
        let store = open(&root);
        let path = store.own_path(&parts[part].digest);
        let mut bytes = fsx::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        bytes[0] ^= 1;
        fsx::write_atomic(&path, 0o444, &bytes).unwrap();
        let error = store.export(&blob.digest, &dir.path().join("out"), 0o644).unwrap_err();
        assert_eq!(error.class(), Class::Integrity);
        assert!(error.to_string().contains(&parts[part].digest.to_string()) && error.to_string().contains("quarantine"), "{error}");
        assert!(!fsx::exists(&dir.path().join("out")).unwrap() && !store.contains(&blob.digest).unwrap());
    }
}

#[test]
fn an_entry_that_lies_is_found_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let (parts, blob) = {
        let store = open(&root);
        let (parts, blob, _) = world(&store);
        // A valid checksum with other stretches.
        let list = List::of(&[Stretch::Of { blob: parts[0], offset: 0, len: blob.size }]);
        let text = store.insert(list.text().as_bytes()).unwrap();
        let outputs = [(LIST.to_owned(), text), ("part-0000".to_owned(), parts[0])].into();
        store.put_action(KIND, &blob.digest, &Action { outputs }).unwrap();
        (parts, blob)
    };
    let store = open(&root);
    let error = store.export(&blob.digest, &dir.path().join("out"), 0o644).unwrap_err();
    assert!(error.to_string().contains("does not match its digest"), "{error}");
    assert!(!fsx::exists(&dir.path().join("out")).unwrap());
    assert!(actions(&store).is_empty() && store.contains(&parts[0].digest).unwrap());
    // The collection would remove a list that the entry does not name.
    let list = store.insert(List::of(&[Stretch::Of { blob: parts[1], offset: 0, len: 1 }]).text().as_bytes()).unwrap();
    store.put_action(KIND, &blob.digest, &Action { outputs: [(LIST.to_owned(), list)].into() }).unwrap();
    assert!(!store.contains(&blob.digest).unwrap() && actions(&store).is_empty());
}

#[test]
fn an_invalid_list_is_refused() {
    let good = format!("kbake-composed 1\nsize 12\npart {} 10\n0 0 10\nzero 2\n", Sha256::of("x"));
    assert_eq!(List::parse(&good).unwrap().text(), good);
    for (from, to) in [
        ("kbake-composed 1", "kbake-composed 2"),
        ("size 12", "size 13"),
        ("size 12", "sice 12"),
        ("0 0 10", "1 0 10"),
        ("0 0 10", "0 1 10"),
        ("0 0 10", "0 18446744073709551615 10"),
        ("0 0 10", "0 0 -10"),
        ("0 0 10", "0 0 10 0"),
        ("zero 2", "zero 18446744073709551615"),
        ("zero 2", "one 2"),
        ("part ", "part 0"),
    ] {
        assert_ne!(good.replace(from, to), good);
        assert_eq!(List::parse(&good.replace(from, to)), None, "{from} → {to}");
    }
    assert_eq!(List::parse(""), None);
}

#[test]
fn a_blob_composed_of_itself_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    let (_, blob, _) = world(&store);
    let list = List::of(&[Stretch::Of { blob, offset: 0, len: blob.size }]);
    let text = store.insert(list.text().as_bytes()).unwrap();
    store.put_action(KIND, &blob.digest, &Action { outputs: [(LIST.to_owned(), text), ("part-0000".to_owned(), blob)].into() }).unwrap();
    assert!(!store.contains(&blob.digest).unwrap());
    assert!(store.blob(&blob.digest).unwrap().is_none());
}
