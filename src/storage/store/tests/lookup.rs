//! Action entries and stamps: anything invalid is a miss, never an error or a wrong hit.

use super::*;

fn action(store: &Store) -> Action {
    let (image, plan) = (store.insert(b"image").unwrap(), store.insert(b"plan").unwrap());
    Action { outputs: [("image".to_owned(), image), ("plan".to_owned(), plan)].into() }
}

fn entry(store: &Store, kind: &str, key: &Sha256) -> PathBuf {
    store.root().join(format!("actions/{kind}-{key}.json"))
}

#[test]
fn actions_come_back() {
    let (_dir, store) = fresh();
    let (key, other) = (Sha256::of(b"k"), Sha256::of(b"l"));
    let action = action(&store);
    assert_eq!(store.action("image", &key), Lookup::Miss(Miss::Absent));
    store.put_action("image", &key, &action).unwrap();
    assert_eq!(store.action("image", &key), Lookup::Hit(action.clone()));
    assert_eq!(store.action("tree", &key), Lookup::Miss(Miss::Absent), "another kind");
    assert_eq!(store.action("image", &other), Lookup::Miss(Miss::Absent), "another key");
    store.put_action("image", &key, &Action::default()).unwrap();
    assert_eq!(store.action("image", &key), Lookup::Hit(Action::default()), "the later one counts");
}

#[test]
fn an_action_needs_its_blobs() {
    let (_dir, store) = fresh();
    let key = Sha256::of(b"k");
    let gone = Action { outputs: [("image".to_owned(), Blob { digest: Sha256::of(b"never"), size: 5 })].into() };
    assert_eq!(store.put_action("image", &key, &gone).unwrap_err().class(), Class::Internal);

    let action = action(&store);
    let image = action.outputs["image"];
    store.put_action("image", &key, &action).unwrap();
    fs::remove_file(store.path(&image.digest)).unwrap();
    let miss = Miss::BlobGone { name: "image".to_owned(), digest: image.digest };
    assert_eq!(store.action("image", &key), Lookup::Miss(miss.clone()));
    fs::write(store.path(&image.digest), "imag").unwrap();
    assert_eq!(store.action("image", &key), Lookup::Miss(miss), "of wrong size");
    store.insert(b"image").unwrap();
    assert_eq!(store.action("image", &key), Lookup::Hit(action));
}

#[test]
fn every_flipped_byte_of_an_entry_is_a_miss_or_harmless() {
    let (_dir, store) = fresh();
    let key = Sha256::of(b"k");
    let action = action(&store);
    store.put_action("image", &key, &action).unwrap();
    let path = entry(&store, "image", &key);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        for flip in [1, 0x20] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            fs::write(&path, &bad).unwrap();
            match store.action("image", &key) {
                Lookup::Hit(found) => assert_eq!(found, action, "byte {at}"),
                Lookup::Miss(miss) => assert!(matches!(miss, Miss::Unsound(_)), "byte {at}: {miss}"),
            }
        }
    }
    for cut in [0, 1, good.len() / 2, good.len() - 2] {
        fs::write(&path, &good[..cut]).unwrap();
        assert!(matches!(store.action("image", &key), Lookup::Miss(Miss::Unsound(_))), "cut at {cut}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(store.action("image", &key), Lookup::Miss(Miss::Unreadable(_))));
}

#[test]
fn a_misplaced_entry_is_a_miss() {
    let (_dir, store) = fresh();
    let (key, other) = (Sha256::of(b"k"), Sha256::of(b"l"));
    store.put_action("image", &key, &action(&store)).unwrap();
    for (kind, key_there) in [("image", &other), ("tree", &key)] {
        fs::copy(entry(&store, "image", &key), entry(&store, kind, key_there)).unwrap();
        assert!(matches!(store.action(kind, key_there), Lookup::Miss(Miss::Unsound(_))), "{kind}");
    }
}

#[test]
fn exports_are_known_until_they_change() {
    let (dir, store) = fresh();
    let out = dir.path().join("etcd.qcow2");
    let blob = store.insert(b"image").unwrap();
    assert_eq!(store.stamp(&out).unwrap(), None);
    store.export(&blob.digest, &out, 0o640).unwrap();
    assert_eq!(fs::read(&out).unwrap(), b"image");
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!(store.stamp(&out).unwrap(), Some(blob.digest));
    // A user who writes to the output must not write to the store.
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(&out, "imaGe").unwrap();
    assert_eq!(store.stamp(&out).unwrap(), None);
    assert_eq!(read_all(&store, &blob.digest).unwrap(), b"image");

    let stamp = fsx::Stamp::of(&out).unwrap().unwrap();
    store.put_stamp(&out, &stamp, &Sha256::of(b"imaGe")).unwrap();
    assert_eq!(store.stamp(&out).unwrap(), Some(Sha256::of(b"imaGe")));
    fs::rename(&out, dir.path().join("other")).unwrap();
    assert_eq!(store.stamp(&out).unwrap(), None);
    assert_eq!(store.stamp(&dir.path().join("other")).unwrap(), None, "another path");
    assert_eq!(store.stamp(Path::new("relative")).unwrap(), None);
    assert_eq!(store.put_stamp(Path::new("relative"), &stamp, &blob.digest).unwrap_err().class(), Class::Internal);
    for name in names(&store.root().join("stamps")) {
        fs::write(store.root().join("stamps").join(name), "{").unwrap();
    }
    fs::rename(dir.path().join("other"), &out).unwrap();
    assert_eq!(store.stamp(&out).unwrap(), None, "a damaged entry");
}
