//! Blobs by SHA-512: an alias alone is never trusted.

use super::*;
use crate::common::value::{Digest, Sha512};

fn wanted(bytes: &[u8]) -> Digest {
    Digest::Sha512(Sha512::of(bytes))
}

fn blob(bytes: &[u8]) -> Blob {
    Blob { digest: Sha256::of(bytes), size: bytes.len() as u64 }
}

fn download(store: &Store, bytes: &[u8]) -> Blob {
    match store.partial(&wanted(bytes), None).unwrap() {
        Claim::Ours(mut partial) => {
            partial.put(bytes).unwrap();
            partial.commit().unwrap()
        }
        other => panic!("{other:?}"),
    }
}

fn found(store: &Store, bytes: &[u8]) -> Option<Blob> {
    store.resolve(&wanted(bytes), None).unwrap()
}

fn entry(store: &Store, bytes: &[u8]) -> PathBuf {
    store.action_path("alias", &Sha256::of(wanted(bytes).to_string()))
}

/// The store as a new process sees it.
fn again(store: &Store) -> Store {
    open(store.root())
}

#[test]
fn a_longer_digest_finds_its_blob_in_later_processes() {
    let (_dir, store) = fresh();
    for bytes in [&b""[..], b"artifact", &vec![9; 700_000]] {
        assert_eq!(found(&store, bytes), None);
        assert_eq!(download(&store, bytes), blob(bytes));
        for store in [&store, &again(&store)] {
            assert_eq!(found(store, bytes), Some(blob(bytes)));
            assert_eq!(store.resolve(&Digest::Sha256(Sha256::of(bytes)), None).unwrap(), Some(blob(bytes)));
            assert_eq!(store.resolve(&wanted(bytes), Some(bytes.len() as u64)).unwrap(), Some(blob(bytes)));
            assert_eq!(store.resolve(&wanted(bytes), Some(bytes.len() as u64 + 1)).unwrap(), None, "of another size");
            assert!(matches!(store.partial(&wanted(bytes), None).unwrap(), Claim::Present));
        }
    }
    assert_eq!(names(&store.tmp()), [""; 0]);
}

#[test]
fn a_wrong_alias_never_satisfies_a_pin() {
    let (_dir, store) = fresh();
    let other = store.insert(b"somebody else's").unwrap();
    // A false alias with valid checksums.
    let lie = || {
        let action = Action { outputs: [("blob".to_owned(), other)].into() };
        store.put_action("alias", &Sha256::of(wanted(b"artifact").to_string()), &action).unwrap();
    };
    lie();
    for store in [&store, &again(&store)] {
        lie();
        assert_eq!(found(store, b"artifact"), None);
        assert!(!entry(store, b"artifact").exists(), "and it is forgotten");
        lie();
        assert!(matches!(store.partial(&wanted(b"artifact"), None).unwrap(), Claim::Ours(_)), "it must be fetched");
    }
    lie();
    assert_eq!(download(&store, b"artifact"), blob(b"artifact"));
    assert_eq!(found(&again(&store), b"artifact"), Some(blob(b"artifact")), "and then it is right");
    // A later false alias does not change what this process has verified.
    lie();
    assert_eq!(found(&store, b"artifact"), Some(blob(b"artifact")));
}

#[test]
fn lost_and_damaged_aliases_and_blobs_are_misses() {
    let (_dir, store) = fresh();
    let bytes = vec![4; 300_000];
    download(&store, &bytes);
    let good = fs::read(entry(&store, &bytes)).unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(entry(&store, &bytes), &bad).unwrap();
        assert!(found(&again(&store), &bytes).is_none_or(|found| found == blob(&bytes)), "byte {at}");
    }
    fs::remove_file(entry(&store, &bytes)).unwrap();
    assert_eq!(found(&again(&store), &bytes), None);
    // The bytes are present but not found, so all of them are downloaded again, and nothing is written twice.
    download(&again(&store), &bytes);
    let path = store.path(&blob(&bytes).digest);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, vec![5; 300_000]).unwrap();
    let later = again(&store);
    assert_eq!(found(&later, &bytes), None);
    assert!(!path.exists() && names(&store.root().join("quarantine")).len() == 1, "the damaged blob is out of the way");
    assert_eq!(found(&store, &bytes), None, "also where it was seen before");
    download(&later, &bytes);
    assert_eq!(read_all(&later, &found(&later, &bytes).unwrap().digest).unwrap(), bytes);
}

#[test]
fn an_unfinished_download_of_a_longer_digest_goes_on() {
    let (_dir, store) = fresh();
    let digest = wanted(b"hello world");
    let Claim::Ours(mut partial) = store.partial(&digest, None).unwrap() else { panic!("nobody has it") };
    partial.put(b"hello ").unwrap();
    assert!(matches!(store.partial(&digest, None).unwrap(), Claim::Busy));
    drop(partial);
    let later = again(&store);
    assert_eq!(later.partial_size(&digest).unwrap(), 6);
    let Claim::Ours(mut partial) = later.partial(&digest, None).unwrap() else { panic!("its owner is gone") };
    assert_eq!((partial.len(), partial.found()), (6, wanted(b"hello ")));
    partial.put(b"there").unwrap();
    let error = partial.commit().unwrap_err();
    assert_eq!(error.class(), Class::Integrity);
    let shown = error.to_string();
    assert!(shown.contains(&format!("expected {digest}  found {}", wanted(b"hello there"))), "{shown}");
    assert_eq!((names(&store.tmp()), found(&store, b"hello world")), (vec![], None));
    // Cleaned up when the blob came in another way.
    fs::write(store.tmp().join(format!("partial-{}", Sha512::of(b"hello world"))), "hel").unwrap();
    drop(again(&store));
    assert_eq!(names(&store.tmp()).len(), 1);
    store.insert(b"hello world").unwrap();
    store.put_alias(&Sha512::of(b"hello world"), blob(b"hello world")).unwrap();
    drop(again(&store));
    assert_eq!(names(&store.tmp()), [""; 0]);
}

/// Between the rename of a blob and the writing of its alias another process would find neither a download nor the blob, and would fetch
/// it a second time.
#[test]
fn a_process_between_a_blob_and_its_alias_waits_for_the_alias() {
    let (_dir, store) = fresh();
    let bytes = b"hello world";
    let turn = store.alias_lock(&Cancel::new()).unwrap();
    std::thread::scope(|scope| {
        let other = again(&store);
        let claim = scope.spawn(move || matches!(other.partial(&wanted(bytes), None).unwrap(), Claim::Present));
        while names(&store.tmp()).is_empty() {
            std::thread::yield_now();
        }
        store.insert(bytes).unwrap();
        store.put_alias(&Sha512::of(bytes), blob(bytes)).unwrap();
        drop(turn);
        assert!(claim.join().unwrap(), "it was to be fetched a second time");
    });
}
