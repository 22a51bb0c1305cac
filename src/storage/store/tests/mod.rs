//! Attacks on the guarantees of the store.

mod alias;
mod check;
mod crash;
mod damage;
mod gc;
mod lookup;
mod lower;
mod odd;
mod root;
mod usage;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

pub(crate) fn open(root: &Path) -> Store {
    try_open(root).unwrap()
}

fn try_open(root: &Path) -> Result<Store> {
    Store::open(root, Access::Shared, &Cancel::new(), &|| {})
}

fn fresh() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    (dir, store)
}

fn names(path: &Path) -> Vec<String> {
    fsx::list(path).unwrap().into_iter().map(|name| name.into_string().unwrap()).collect()
}

fn read_all(store: &Store, digest: &Sha256) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    store.reader(digest)?.expect("the blob is there").read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn blobs_come_back_and_have_their_mode() {
    let (_dir, store) = fresh();
    for bytes in [&b""[..], b"a", &vec![5; 1_000_000]] {
        let blob = store.insert(bytes).unwrap();
        assert_eq!(blob, Blob { digest: Sha256::of(bytes), size: bytes.len() as u64 });
        assert_eq!(store.insert(bytes).unwrap(), blob, "a second time");
        assert!(store.contains(&blob.digest).unwrap());
        assert_eq!(store.size(&blob.digest).unwrap(), Some(blob.size));
        assert_eq!(read_all(&store, &blob.digest).unwrap(), bytes);
        assert_eq!(fs::metadata(store.path(&blob.digest)).unwrap().permissions().mode() & 0o7777, 0o444);
    }
    let other = Sha256::of(b"other");
    assert!(!store.contains(&other).unwrap());
    assert!(store.reader(&other).unwrap().is_none());
    assert!(store.blob(&other).unwrap().is_none());
    assert_eq!(names(&store.tmp()), [""; 0]);
}

#[test]
fn a_writer_refuses_unexpected_bytes() {
    let (_dir, store) = fresh();
    let mut writer = store.writer(Some(Sha256::of(b"right")), None).unwrap();
    writer.put(b"wrong").unwrap();
    let error = writer.commit().unwrap_err();
    assert_eq!(error.class(), Class::Integrity);
    let shown = error.to_string();
    assert!(shown.contains(&Sha256::of(b"right").to_string()) && shown.contains(&Sha256::of(b"wrong").to_string()), "{shown}");

    let mut writer = store.writer(None, Some(10)).unwrap();
    writer.put(b"0123456789").unwrap();
    let error = writer.put(b"x").unwrap_err();
    assert_eq!(error.class(), Class::Integrity);
    assert!(error.message().contains("10 bytes"), "{error}");
    drop(writer);

    let mut dropped = store.writer(None, None).unwrap();
    dropped.write_all(b"half").unwrap();
    assert_eq!(names(&store.tmp()).len(), 1);
    drop(dropped);
    assert_eq!(names(&store.tmp()), [""; 0]);
    assert_eq!(names(&store.root().join("blobs/sha256")), [""; 0]);
}

#[test]
fn many_threads_insert_one_blob() {
    let (_dir, store) = fresh();
    let bytes = vec![3; 300_000];
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut writer = store.writer(None, None).unwrap();
                bytes.chunks(1000).for_each(|chunk| writer.put(chunk).unwrap());
                writer.commit().unwrap();
                assert_eq!(read_all(&store, &Sha256::of(&bytes)).unwrap(), bytes);
            });
        }
    });
    assert_eq!(names(&store.root().join("blobs/sha256")), [Sha256::of(&bytes).to_string()]);
    assert_eq!(names(&store.tmp()), [""; 0]);
}

#[test]
fn many_processes_worth_of_opens_create_one_store() {
    let dir = tempfile::tempdir().unwrap();
    // Many rounds: an opener sees another's half-created store only within microseconds.
    for round in 0..50 {
        let root = dir.path().join(format!("{round}/b/store"));
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for n in 0..8u8 {
                let (root, start) = (&root, &start);
                scope.spawn(move || {
                    start.wait();
                    open(root).insert(&[n]).unwrap()
                });
            }
        });
        assert_eq!(fs::read_to_string(root.join("format")).unwrap(), "1\n");
        assert_eq!(names(&root.join("blobs/sha256")).len(), 8);
    }
}

#[test]
fn other_formats_and_folders_are_refused() {
    let (dir, store) = fresh();
    let root = store.root().to_owned();
    drop(store);
    for (text, message) in [
        ("2\n", "newer kbake"),
        ("17", "its format is 17, this kbake knows 1"),
        ("x\n", "is not a valid store format"),
        ("", "is not a valid store format"),
    ] {
        fs::write(root.join("format"), text).unwrap();
        let error = try_open(&root).unwrap_err();
        assert_eq!(error.class(), Class::User);
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.to_string().contains("KBAKE_STORE"), "{error}");
    }
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("letter.txt"), "dear").unwrap();
    assert!(try_open(&home).unwrap_err().to_string().contains("home is neither empty nor a store"));
    assert_eq!(names(&home), ["letter.txt"], "nothing was put there");
    assert!(try_open(&home.join("letter.txt")).unwrap_err().message().contains("letter.txt"));
}

#[test]
fn too_little_space_is_reported_with_figures() {
    let (_dir, store) = fresh();
    store.require_space(1).unwrap();
    let error = store.require_space(1 << 60).unwrap_err();
    assert_eq!(error.class(), Class::NoSpace);
    assert!(error.to_string().contains("needed 1.0 EiB  free "), "{error}");
}

#[test]
fn exclusive_waits_for_shared_and_can_be_interrupted() {
    let (_dir, store) = fresh();
    let root = store.root().to_owned();
    let second = open(&root);
    let (told, cancel) = (AtomicU32::new(0), Cancel::new());
    let tell = || {
        told.fetch_add(1, Ordering::SeqCst);
    };
    std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| Store::open(&root, Access::Exclusive, &cancel, &|| cancel.flag().store(true, Ordering::SeqCst)).unwrap_err());
        assert_eq!(waiting.join().unwrap().class(), Class::Interrupted);
        let waiting =
            scope.spawn(|| Store::open(&root, Access::Exclusive, &Cancel::new(), &tell).map(|_| told.load(Ordering::SeqCst)).unwrap());
        while told.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        drop(store);
        std::thread::sleep(std::time::Duration::from_millis(120));
        assert!(!waiting.is_finished(), "one reader is still there");
        drop(second);
        assert_eq!(waiting.join().unwrap(), 1, "told once");
    });
}

#[test]
fn one_thread_at_a_time_works_on_a_plan() {
    let (_dir, store) = fresh();
    let (key, other) = (Sha256::of(b"plan"), Sha256::of(b"other plan"));
    let (inside, built, waited) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    let work = || {
        let told = || {
            waited.fetch_add(1, Ordering::SeqCst);
        };
        let _lock = store.plan_lock(&key, &Cancel::new(), &told).unwrap();
        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at once");
        if let Lookup::Miss(_) = store.action("image", &key) {
            built.fetch_add(1, Ordering::SeqCst);
            let blob = store.insert(b"image").unwrap();
            // Waits until one of the others is done.
            while waited.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            store.put_action("image", &key, &Action { outputs: [("image".to_owned(), blob)].into() }).unwrap();
        }
        inside.fetch_sub(1, Ordering::SeqCst);
    };
    let held = store.plan_lock(&other, &Cancel::new(), &|| panic!("another plan is no reason to wait")).unwrap();
    std::thread::scope(|scope| (0..6).for_each(|_| drop(scope.spawn(work))));
    drop(held);
    assert_eq!(built.load(Ordering::SeqCst), 1);
    assert!(waited.load(Ordering::SeqCst) >= 1);
}

#[test]
fn a_partial_goes_on_where_it_stopped() {
    let (_dir, store) = fresh();
    let (digest, size) = (Sha256::of(b"hello world"), Some(11));
    let Claim::Ours(mut partial) = store.partial(&digest.into(), size).unwrap() else { panic!("nobody has it") };
    assert!(partial.is_empty());
    partial.put(b"hello ").unwrap();
    assert!(matches!(store.partial(&digest.into(), size).unwrap(), Claim::Busy));
    // Another command starts and cleans up: files of running processes stay.
    drop(open(store.root()));
    drop(partial);
    drop(open(store.root()));
    let Claim::Ours(mut partial) = store.partial(&digest.into(), size).unwrap() else { panic!("its owner is gone") };
    assert_eq!((partial.len(), partial.found()), (6, Sha256::of(b"hello ").into()));
    partial.put(b"world").unwrap();
    assert_eq!(partial.commit().unwrap(), Blob { digest, size: 11 });
    assert!(matches!(store.partial(&digest.into(), size).unwrap(), Claim::Present));
    assert_eq!(read_all(&store, &digest).unwrap(), b"hello world");
    assert_eq!(fs::metadata(store.path(&digest)).unwrap().permissions().mode() & 0o7777, 0o444);
    drop(open(store.root()));
    assert_eq!(names(&store.tmp()), [""; 0]);
}

/// A complete download of `bytes`.
fn whole<'a>(store: &'a Store, bytes: &[u8]) -> Whole<'a> {
    let Claim::Ours(mut partial) = store.partial(&Sha256::of(bytes).into(), None).unwrap() else { panic!("nobody has it") };
    partial.put(bytes).unwrap();
    partial.finish().unwrap()
}

#[test]
fn many_downloads_get_their_names_together() {
    let (_dir, store) = fresh();
    let all: Vec<Vec<u8>> = (0..20u8).map(|n| vec![n; 100]).collect();
    store.insert(&all[3]).map(drop).unwrap();
    let placed = |range: std::ops::Range<usize>| {
        let lot = all[range].iter().filter(|bytes| **bytes != all[3]).map(|bytes| whole(&store, bytes)).collect();
        store.place_whole(lot).unwrap();
    };
    let (_, changes) = fsx::fault::trace(store.root(), || placed(0..20));
    let count = |wanted: &str| changes.iter().filter(|(kind, _)| *kind == wanted).count();
    let kinds: std::collections::BTreeSet<&str> = changes.iter().map(|(kind, _)| *kind).collect();
    assert_eq!((count("sync"), count("rename"), count("sync folder")), (19, 19, 1), "{kinds:?}");
    let (last_sync, first_name) =
        (changes.iter().rposition(|(kind, _)| *kind == "sync"), changes.iter().position(|(kind, _)| *kind == "rename"));
    assert!(last_sync < first_name, "names come after all bytes are on the disk");
    for bytes in &all {
        assert_eq!(read_all(&store, &Sha256::of(bytes)).unwrap(), *bytes);
    }
    assert_eq!(names(&store.tmp()), [""; 0]);
}

#[test]
fn a_complete_download_without_a_commit_stays() {
    let (_dir, store) = fresh();
    drop(whole(&store, b"hello"));
    let Claim::Ours(partial) = store.partial(&Sha256::of(b"hello").into(), Some(5)).unwrap() else { panic!("nobody has it") };
    assert_eq!((partial.len(), partial.found()), (5, Sha256::of(b"hello").into()));
    // The blob is written in another way just before its rename.
    let late = partial.finish().unwrap();
    store.insert(b"hello").unwrap();
    store.place_whole(vec![late]).unwrap();
    assert_eq!(names(&store.tmp()), [""; 0]);
}

#[test]
fn a_large_download_goes_to_the_disk_while_it_comes() {
    let (_dir, store) = fresh();
    let piece = vec![7; 5 << 20];
    let bytes = piece.repeat(8);
    let Claim::Ours(mut partial) = store.partial(&Sha256::of(&bytes).into(), None).unwrap() else { panic!("nobody has it") };
    piece.chunks(1 << 20).cycle().take(40).for_each(|piece| partial.put(piece).unwrap());
    assert!(partial.early.is_some());
    assert_eq!(partial.commit().unwrap().size, bytes.len() as u64);
    assert_eq!(read_all(&store, &Sha256::of(&bytes)).unwrap(), bytes);
}

#[test]
fn a_wrong_partial_keeps_nothing() {
    let (_dir, store) = fresh();
    let digest = Sha256::of(b"right");
    let Claim::Ours(mut partial) = store.partial(&digest.into(), None).unwrap() else { panic!() };
    partial.put(b"wrong").unwrap();
    partial.reset().unwrap();
    assert!(partial.is_empty());
    partial.put(b"rigth").unwrap();
    assert_eq!(partial.commit().unwrap_err().class(), Class::Integrity);
    assert_eq!(names(&store.tmp()), [""; 0]);
    assert!(!store.contains(&digest).unwrap());
}

#[test]
fn partials_with_a_present_blob_are_removed() {
    let (_dir, store) = fresh();
    for bytes in [&b"one"[..], b"two"] {
        let Claim::Ours(mut partial) = store.partial(&Sha256::of(bytes).into(), None).unwrap() else { panic!() };
        partial.put(&bytes[..1]).unwrap();
    }
    store.insert(b"one").unwrap();
    fs::write(store.tmp().join("blob-7"), "left").unwrap();
    drop(open(store.root()));
    assert_eq!(names(&store.tmp()), [format!("partial-{}", Sha256::of(b"two"))]);
}

#[test]
fn an_unused_work_folder_is_removed() {
    let (_dir, store) = fresh();
    let (key, other) = (Sha256::of("plan"), Sha256::of("other plan"));
    let folders = [store.work_folder("base", &key).unwrap(), store.work_folder("base", &key).unwrap()];
    assert_eq!(folders[0], folders[1], "by whoever has the plan's lock, or shares it");
    fs::create_dir(folders[0].join("deep")).unwrap();
    fs::write(folders[0].join("deep/file"), "half").unwrap();
    // Another command starts and cleans up: folders of running processes stay.
    let second = open(store.root());
    second.work_folder("base", &other).unwrap();
    drop(store);
    let store = open(second.root());
    assert_eq!(names(&store.tmp()), [format!("work-base-{other}")], "the first command is done");
    drop(second);
    drop(open(store.root()));
    assert_eq!(names(&store.tmp()), [""; 0]);
    // A process that comes during the cleanup gets a new folder.
    let root = store.root();
    std::thread::scope(|scope| {
        for n in 0..8u8 {
            scope.spawn(move || {
                for round in 0..100 {
                    let store = open(root);
                    let file = store.work_folder("base", &key).unwrap().join(format!("{n}-{round}"));
                    fs::write(&file, "work").unwrap();
                    assert_eq!(fs::read(&file).unwrap(), b"work");
                }
            });
        }
    });
}
