//! Lower stores: their content is used, nothing is written to them, and their damage is repaired in this store.

use super::*;
use crate::common::value::{Digest, Sha512};

fn over(root: &Path, lower: &[&Path]) -> Result<Store> {
    let lower: Vec<PathBuf> = lower.iter().map(|path| path.to_path_buf()).collect();
    open(root).over(&lower, &Cancel::new(), &|_| {})
}

/// A store with an image and an alias, made read-only by permissions, with all its content.
fn below(dir: &Path) -> (PathBuf, Blob, Blob) {
    let store = open(&dir.join("below"));
    let image = store.insert(b"image").unwrap();
    store.put_action("image", &Sha256::of("plan"), &Action { outputs: [("image".to_owned(), image)].into() }).unwrap();
    let Claim::Ours(mut partial) = store.partial(&Digest::Sha512(Sha512::of(b"artifact")), None).unwrap() else { panic!() };
    partial.put(b"artifact").unwrap();
    let artifact = partial.commit().unwrap();
    (store.root().to_owned(), image, artifact)
}

/// Every file in a folder with its bytes and times.
fn state(root: &Path) -> Vec<(PathBuf, Vec<u8>, Option<fsx::Stamp>)> {
    let mut all = Vec::new();
    for name in fsx::list(root).unwrap() {
        let path = root.join(name);
        match path.is_dir() {
            true => all.extend(state(&path)),
            false => all.push((path.clone(), fs::read(&path).unwrap(), fsx::Stamp::of(&path).unwrap())),
        }
    }
    all
}

#[test]
fn blobs_actions_and_aliases_are_found_below_and_nothing_is_written_there() {
    let dir = tempfile::tempdir().unwrap();
    let (below, image, artifact) = below(dir.path());
    let before = state(&below);
    let store = over(&dir.path().join("above"), &[&below]).unwrap();
    assert!(store.holds(&image.digest, Some(5)).unwrap());
    assert_eq!(store.size(&image.digest).unwrap(), Some(5));
    assert_eq!(read_all(&store, &image.digest).unwrap(), b"image");
    assert_eq!(store.path(&image.digest), below.join("blobs/sha256").join(image.digest.to_string()));
    assert!(store.path(&Sha256::of("new")).starts_with(store.root()));
    let Lookup::Hit(action) = store.action("image", &Sha256::of("plan")) else { panic!("it is below") };
    assert_eq!(action.outputs["image"], image);
    assert_eq!(store.resolve(&Digest::Sha512(Sha512::of(b"artifact")), None).unwrap(), Some(artifact));
    assert!(matches!(store.partial(&Digest::Sha512(Sha512::of(b"artifact")), None).unwrap(), Claim::Present));
    // A blob of the lower store is not stored twice, and an action of this store may name it.
    store.insert(b"image").unwrap();
    store.put_action("image", &Sha256::of("another plan"), &action).unwrap();
    assert!(matches!(store.action("image", &Sha256::of("another plan")), Lookup::Hit(_)));
    store.export(&image.digest, &dir.path().join("out"), 0o644).unwrap();
    assert_eq!(fs::read(dir.path().join("out")).unwrap(), b"image");
    assert_eq!(store.blobs().unwrap(), []);
    let ours = store.insert(b"ours").unwrap();
    assert_eq!(store.blobs().unwrap(), [ours]);
    assert_eq!(state(&below), before);
    let alone = open(store.root());
    assert!(matches!(alone.action("image", &Sha256::of("another plan")), Lookup::Miss(Miss::BlobGone { .. })));
}

#[test]
fn the_first_store_with_a_blob_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let key = Sha256::of("plan");
    let mut stores = Vec::new();
    for name in ["one", "two", "above"] {
        let store = open(&dir.path().join(name));
        let image = store.insert(name.as_bytes()).unwrap();
        store.put_action("image", &key, &Action { outputs: [("image".to_owned(), image)].into() }).unwrap();
        stores.push(store.root().to_owned());
    }
    let found = |lower: &[&Path]| {
        let store = over(&stores[2], lower).unwrap();
        let Lookup::Hit(action) = store.action("image", &key) else { panic!() };
        String::from_utf8(read_all(&store, &action.outputs["image"].digest).unwrap()).unwrap()
    };
    let (one, two) = (&*stores[0], &*stores[1]);
    assert_eq!(found(&[one, two]), "above");
    fs::remove_file(entry(&stores[2], &key)).unwrap();
    assert_eq!(found(&[one, two]), "one");
    assert_eq!(found(&[two, one]), "two");
    // An entry whose blob is gone is a miss in every store.
    fs::write(entry(&stores[2], &key), "{").unwrap();
    fs::remove_file(two.join("blobs/sha256").join(Sha256::of("two").to_string())).unwrap();
    assert_eq!(found(&[two, one]), "one");
    let store = over(&stores[2], &[two]).unwrap();
    assert!(matches!(store.action("image", &key), Lookup::Miss(Miss::Unsound(_))), "of why ours is none comes first");
}

fn entry(root: &Path, key: &Sha256) -> PathBuf {
    root.join(format!("actions/image-{key}.json"))
}

#[test]
fn damage_in_a_lower_store_is_repaired_above() {
    for (damage, seen_by_size) in [(&b"imagE"[..], false), (b"imag", true), (b"", true), (b"\0\0\0\0\0", false)] {
        let dir = tempfile::tempdir().unwrap();
        let (below, image, _) = below(dir.path());
        let file = below.join("blobs/sha256").join(image.digest.to_string());
        let damaged = |bytes: &[u8]| {
            fs::remove_file(&file).unwrap();
            fs::write(&file, bytes).unwrap();
        };
        damaged(damage);
        let before = state(&below);
        let command = || over(&dir.path().join("above"), &[&below]).unwrap();
        let store = command();
        if seen_by_size {
            assert!(!store.holds(&image.digest, Some(image.size)).unwrap());
        } else {
            assert!(store.holds(&image.digest, Some(image.size)).unwrap(), "nobody has read it");
            let error = crate::Error::io("read", &read_all(&store, &image.digest).unwrap_err());
            assert_eq!(error.class(), Class::Integrity);
            assert!(error.to_string().contains(file.to_str().unwrap()) && error.to_string().contains("lower store"), "{error}");
        }
        // At once, and for the next command.
        for store in [store, command()] {
            assert!(!store.contains(&image.digest).unwrap());
            assert!(store.blob(&image.digest).unwrap().is_none());
            assert!(matches!(store.action("image", &Sha256::of("plan")), Lookup::Miss(Miss::BlobGone { .. })));
        }
        assert_eq!(state(&below), before, "not even moved");
        let store = command();
        store.insert(b"image").unwrap();
        assert_eq!(store.blobs().unwrap(), [image], "of our own now");
        assert_eq!(read_all(&store, &image.digest).unwrap(), b"image");
        assert!(matches!(store.action("image", &Sha256::of("plan")), Lookup::Hit(_)));
        drop(store);

        // The lower store's owner has repaired it: a new file has no mark.
        fs::remove_file(dir.path().join("above/blobs/sha256").join(image.digest.to_string())).unwrap();
        assert!(!command().contains(&image.digest).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(20));
        damaged(b"image");
        assert_eq!(read_all(&command(), &image.digest).unwrap(), b"image");

        // The mark is then obsolete.
        let marks = || names(&dir.path().join("above/quarantine")).len();
        assert_eq!(marks(), 1);
        Store::open(&dir.path().join("above"), Access::Exclusive, &Cancel::new(), &|| {})
            .unwrap()
            .gc(&Default::default(), &Cancel::new(), &mut |_| {})
            .unwrap();
        assert_eq!(marks(), 0);
    }
}

#[test]
fn a_non_file_in_a_blob_s_place_counts_as_absent() {
    let dir = tempfile::tempdir().unwrap();
    let (below, ..) = below(dir.path());
    fs::create_dir(below.join("blobs/sha256").join(Sha256::of("folder").to_string())).unwrap();
    let store = over(&dir.path().join("above"), &[&below]).unwrap();
    assert!(!store.contains(&Sha256::of("folder")).unwrap());
    assert_eq!(store.insert(b"folder").unwrap().digest, Sha256::of("folder"));
    assert_eq!(store.blobs().unwrap().len(), 1);
}

#[test]
fn two_damaged_lower_stores_are_both_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let digest = Sha256::of("image");
    let mut roots = Vec::new();
    for (name, bytes) in [("one", "imagE"), ("two", "iMage"), ("three", "image")] {
        let store = open(&dir.path().join(name));
        let place = store.path(&digest);
        fs::write(place, bytes).unwrap();
        roots.push(store.root().to_owned());
    }
    let lower: Vec<&Path> = roots.iter().map(|root| &**root).collect();
    let store = over(&dir.path().join("above"), &lower).unwrap();
    assert!(read_all(&store, &digest).is_err());
    assert!(read_all(&store, &digest).is_err());
    assert_eq!(read_all(&store, &digest).unwrap(), b"image");
    assert_eq!(names(&store.root().join("quarantine")).len(), 2);
    let again = Store::open(&dir.path().join("other"), Access::Exclusive, &Cancel::new(), &|| {}).unwrap();
    let again = again.over(&roots, &Cancel::new(), &|_| {}).unwrap();
    assert!(read_all(&again, &digest).is_err());
    again.gc(&Default::default(), &Cancel::new(), &mut |removal| panic!("{removal:?} is of use still")).unwrap();
    drop(again);
    let Lookup::Miss(_) = store.action("image", &digest) else { panic!() };
    drop(store);
    // A wrong size is detected at once.
    roots[..2].iter().for_each(|root| fs::write(root.join("blobs/sha256").join(digest.to_string()), "ima").unwrap());
    let store = over(&dir.path().join("above"), &lower).unwrap();
    assert!(store.holds(&digest, Some(5)).unwrap());
}

#[test]
fn a_false_alias_of_a_lower_store_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let (below, _, artifact) = below(dir.path());
    let wanted = Sha512::of(b"other");
    let key = Sha256::of(Digest::Sha512(wanted).to_string());
    open(&below).put_action("alias", &key, &Action { outputs: [("blob".to_owned(), artifact)].into() }).unwrap();
    let store = over(&dir.path().join("above"), &[&below]).unwrap();
    assert_eq!(store.resolve(&Digest::Sha512(wanted), None).unwrap(), None);
    let Claim::Ours(mut partial) = store.partial(&Digest::Sha512(wanted), None).unwrap() else { panic!("nobody has it") };
    partial.put(b"other").unwrap();
    let blob = partial.commit().unwrap();
    assert_eq!(over(store.root(), &[&below]).unwrap().resolve(&Digest::Sha512(wanted), None).unwrap(), Some(blob));
}

#[test]
fn an_action_in_which_lower_stores_are_distrusted_is_made_here() {
    let dir = tempfile::tempdir().unwrap();
    let (below, image, _) = below(dir.path());
    let (before, key) = (state(&below), Sha256::of("plan"));
    let action = |blob: Blob| Action { outputs: [("image".to_owned(), blob)].into() };
    let command = || over(&dir.path().join("above"), &[&below]).unwrap();
    command().put_action("image", &key, &action(image)).unwrap();
    let store = command();
    store.distrust_action("image", &key).unwrap();
    // At once, for the next command, and after a collection, which may not see the lower store.
    for store in [store, command()] {
        assert_eq!(store.action("image", &key), Lookup::Miss(Miss::Absent));
        assert_eq!(store.size(&image.digest).unwrap(), Some(5), "of the blob nothing was said");
    }
    let alone = Store::open(&dir.path().join("above"), Access::Exclusive, &Cancel::new(), &|| {}).unwrap();
    alone.gc(&Default::default(), &Cancel::new(), &mut |removal| assert!(!removal.piece.path.starts_with("quarantine"))).unwrap();
    drop(alone);
    assert_eq!(command().action("image", &key), Lookup::Miss(Miss::Absent));
    assert_eq!(state(&below), before);
    // This store's own entry counts; a store without the mark still uses the lower one.
    let ours = command().insert(b"our image").unwrap();
    command().put_action("image", &key, &action(ours)).unwrap();
    assert_eq!(command().action("image", &key), Lookup::Hit(action(ours)));
    assert_eq!(over(&dir.path().join("other"), &[&below]).unwrap().action("image", &key), Lookup::Hit(action(image)));
    // Without an entry in a lower store no mark is written.
    let store = command();
    store.put_action("image", &Sha256::of("another plan"), &action(ours)).unwrap();
    store.distrust_action("image", &Sha256::of("another plan")).unwrap();
    assert_eq!(store.action("image", &Sha256::of("another plan")), Lookup::Miss(Miss::Absent));
    assert_eq!(names(&store.root().join("quarantine")), [format!("image-{key}.distrust")]);
}

#[test]
fn an_invalid_lower_store_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (below, ..) = below(dir.path());
    let above = dir.path().join("above");
    let refused = |lower: &Path, words: &str| {
        let error = over(&above, &[&below, lower]).unwrap_err();
        assert_eq!(error.class(), Class::User);
        let text = error.to_string();
        assert!(text.contains(lower.to_str().unwrap()) && text.contains(words), "{text}");
    };
    let odd = dir.path().join("odd");
    refused(&odd, "does not exist");
    fs::create_dir(&odd).unwrap();
    refused(&odd, "no file `format`");
    for (format, words) in
        [("2\n", "its format is 2, this kbake knows 1"), ("0", "its format is 0"), ("", "is not valid"), ("x", "is not valid")]
    {
        fs::write(odd.join("format"), format).unwrap();
        refused(&odd, words);
    }
    fs::write(odd.join("format"), "1\n").unwrap();
    refused(&odd, "no folder `blobs/sha256`");
    fs::create_dir_all(odd.join("blobs/sha256")).unwrap();
    refused(&odd, "no folder `actions`");
    fs::create_dir_all(odd.join("actions")).unwrap();
    // Neither lock nor anything else: a copied store.
    assert_eq!(over(&above, &[&below, &odd]).unwrap().lower().len(), 2);
    fs::write(dir.path().join("file"), "").unwrap();
    refused(&dir.path().join("file"), "format");
}

#[test]
fn one_store_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let (below, ..) = below(dir.path());
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&below, &link).unwrap();
    let above = dir.path().join("above");
    let store = over(&above, &[&below, &link, &above, &below]).unwrap();
    assert_eq!(store.lower().iter().map(Lower::root).collect::<Vec<_>>(), [&*below]);
}

#[test]
fn the_collection_of_a_lower_store_waits_for_its_readers_and_they_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (below, ..) = below(dir.path());
    let store = over(&dir.path().join("above"), &[&below]).unwrap();
    let cancel = Cancel::new();
    let stop = || cancel.flag().store(true, Ordering::SeqCst);
    assert_eq!(Store::open(&below, Access::Exclusive, &cancel, &stop).unwrap_err().class(), Class::Interrupted);
    drop(store);
    let collecting = Store::open(&below, Access::Exclusive, &Cancel::new(), &|| panic!("nobody has it")).unwrap();
    let cancel = Cancel::new();
    let told = |waited: &Path| {
        assert_eq!(waited, below);
        cancel.flag().store(true, Ordering::SeqCst);
    };
    let waiting = open(&dir.path().join("above")).over(std::slice::from_ref(&below), &cancel, &told);
    assert_eq!(waiting.unwrap_err().class(), Class::Interrupted);
    drop(collecting);
}

#[test]
fn use_is_marked_once_a_day_and_only_here() {
    let dir = tempfile::tempdir().unwrap();
    let (below, ..) = below(dir.path());
    let above = dir.path().join("above");
    let (ours, theirs) = (Sha256::of("our plan"), Sha256::of("plan"));
    let image = open(&above).insert(b"our image").unwrap();
    open(&above).put_action("image", &ours, &Action { outputs: [("image".to_owned(), image)].into() }).unwrap();
    let written = |path: &Path| fsx::Stamp::of(path).unwrap().unwrap().mtime();
    let (entry, before) = (entry(&above, &ours), state(&below));
    let set = |time: u64| {
        let file = fs::File::options().write(true).open(&entry).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(time)).unwrap();
    };
    let hits = |now: i64| {
        let store = over(&above, &[&below]).unwrap().marking_use(now);
        assert!(matches!(store.action("image", &ours), Lookup::Hit(_)));
        assert!(matches!(store.action("image", &theirs), Lookup::Hit(_)));
    };
    set(1_000_000);
    hits(1_000_000 + 86_399);
    assert_eq!(written(&entry), 1_000_000);
    assert!(matches!(open(&above).action("image", &ours), Lookup::Hit(_)));
    assert_eq!(written(&entry), 1_000_000, "who has no clock marks nothing");
    hits(1_000_000 + 86_400);
    assert!(written(&entry) > 1_700_000_000, "by the disk's clock");
    assert_eq!(state(&below), before);
}
