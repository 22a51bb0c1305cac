//! Blobs changed on disk: detected before a reader returns the last byte, and moved away.

use std::os::unix::fs::symlink;

use super::*;

type Damage = (&'static str, fn(&mut Vec<u8>));

const DAMAGES: [Damage; 6] = [
    ("a bit in the first byte", |bytes| bytes[0] ^= 1),
    ("a bit in the last byte", |bytes| *bytes.last_mut().unwrap() ^= 0x80),
    ("a byte less", |bytes| bytes.truncate(bytes.len() - 1)),
    ("a byte more", |bytes| bytes.push(0)),
    ("nothing left", Vec::clear),
    ("zeros, as after a power cut", |bytes| bytes.fill(0)),
];

fn good() -> Vec<u8> {
    (0..700_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn harm(store: &Store, digest: &Sha256, damage: fn(&mut Vec<u8>)) {
    let path = store.path(digest);
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, bytes).unwrap();
}

/// Reads like a disk writer, and returns the number of bytes before the error.
fn read_until_error(mut reader: impl std::io::Read) -> (usize, Error) {
    let (mut buffer, mut given) = (vec![0; 4096], 0);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => panic!("damaged bytes were read to the end"),
            Ok(n) => given += n,
            Err(e) => {
                let error = Error::io("read", &e);
                assert!(reader.read(&mut buffer).is_err(), "the failure lasts");
                return (given, error);
            }
        }
    }
}

#[test]
fn damage_is_found_and_quarantined() {
    for (name, damage) in DAMAGES {
        let (_dir, store) = fresh();
        let blob = store.insert(&good()).unwrap();
        harm(&store, &blob.digest, damage);
        let error = match store.reader(&blob.digest) {
            // An empty file has no last read.
            Err(error) => error,
            Ok(reader) => {
                let (given, error) = read_until_error(reader.unwrap());
                assert!(given < good().len() + 1, "{name}: {given} bytes were given");
                error
            }
        };
        assert_eq!(error.class(), Class::Integrity, "{name}");
        let shown = error.to_string();
        assert!(shown.contains("is damaged") && shown.contains("expected sha256") && shown.contains("found sha256"), "{name}: {shown}");
        assert!(shown.contains("quarantine") && shown.contains("run the command again"), "{name}: {shown}");
        assert!(!store.contains(&blob.digest).unwrap(), "{name}: the next command gets it anew");
        assert_eq!(names(&store.root().join("quarantine")), [blob.digest.to_string()], "{name}");
        store.insert(&good()).unwrap();
        assert_eq!(read_all(&store, &blob.digest).unwrap(), good(), "{name}");
    }
}

#[test]
fn the_disk_writers_source_refuses_damage_and_absence() {
    use crate::common::tree::ContentSource as _;
    for (name, damage) in DAMAGES {
        let (_dir, store) = fresh();
        let blob = store.insert(&good()).unwrap();
        harm(&store, &blob.digest, damage);
        let error = match StoreSource(&store).open(&blob.digest, blob.size) {
            Err(e) => Error::io("open", &e),
            Ok(reader) => read_until_error(reader).1,
        };
        assert_eq!(error.class(), Class::Integrity, "{name}");
        assert!(!store.contains(&blob.digest).unwrap(), "{name}");
        let gone = Error::io("open", &StoreSource(&store).open(&blob.digest, blob.size).err().unwrap());
        assert!(gone.message().contains("is gone from the store"), "{gone}");
    }
    let (_dir, store) = fresh();
    let blob = store.insert(b"sound").unwrap();
    let error = Error::io("open", &StoreSource(&store).open(&blob.digest, 4).err().unwrap());
    assert!(error.to_string().contains("the blob itself is intact"), "{error}");
    assert!(store.contains(&blob.digest).unwrap(), "a wrong question harms no blob");
    let mut bytes = Vec::new();
    StoreSource(&store).open(&blob.digest, 5).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"sound");
}

#[test]
fn ranges_verify_themselves() {
    let (_dir, store) = fresh();
    let bytes = good();
    let blob = store.insert(&bytes).unwrap();
    let file = store.blob(&blob.digest).unwrap().unwrap();
    for (offset, len) in [(0, 0), (0, 700_000), (1, 65_536), (699_999, 1), (700_000, 0)] {
        let part = &bytes[offset..offset + len];
        let mut found = Vec::new();
        file.range(offset as u64, len as u64, Sha256::of(part)).unwrap().read_to_end(&mut found).unwrap();
        assert_eq!(found, part);
    }
    let mut exact = [0; 3];
    file.read_exact_at(&mut exact, 5).unwrap();
    assert_eq!(exact, bytes[5..8]);
    // A wrong index must not discard the blob.
    let (_, error) = read_until_error(file.range(0, 10, Sha256::of(&bytes[1..11])).unwrap());
    assert!(error.to_string().contains("the blob itself is intact"), "{error}");
    assert!(file.range(0, 0, Sha256::of(b"x")).is_err());
    for (offset, len) in [(700_000, 1), (u64::MAX, 2), (0, u64::MAX)] {
        assert_eq!(file.range(offset, len, Sha256::of(b"")).unwrap_err().class(), Class::Integrity);
    }
    assert!(store.contains(&blob.digest).unwrap());
    harm(&store, &blob.digest, |bytes| bytes[100_000] ^= 4);
    let (_, error) = read_until_error(file.range(99_000, 2000, Sha256::of(&bytes[99_000..101_000])).unwrap());
    assert!(error.to_string().contains("is damaged"), "{error}");
    assert!(!store.contains(&blob.digest).unwrap());
}

#[test]
fn a_reader_of_the_damaged_file_spares_its_successor() {
    let (_dir, store) = fresh();
    let blob = store.insert(&good()).unwrap();
    harm(&store, &blob.digest, |bytes| bytes[9] = !bytes[9]);
    let (one, two) = (store.reader(&blob.digest).unwrap().unwrap(), store.reader(&blob.digest).unwrap().unwrap());
    read_until_error(one);
    store.insert(&good()).unwrap();
    read_until_error(two);
    assert_eq!(read_all(&store, &blob.digest).unwrap(), good(), "the new file is not quarantined for the old one");
}

#[test]
fn a_wrong_size_is_noticed_without_reading_and_healed() {
    for (name, damage) in [DAMAGES[2], DAMAGES[3], DAMAGES[4]] {
        let (_dir, store) = fresh();
        let blob = store.insert(&good()).unwrap();
        harm(&store, &blob.digest, damage);
        assert!(!store.holds(&blob.digest, Some(blob.size)).unwrap(), "{name}");
        assert!(!store.path(&blob.digest).exists(), "{name}");
        store.insert(&good()).unwrap();
        harm(&store, &blob.digest, damage);
        let mut writer = store.writer(None, None).unwrap();
        writer.put(&good()).unwrap();
        writer.commit().unwrap();
        assert_eq!(read_all(&store, &blob.digest).unwrap(), good(), "{name}: a writer replaces it");
    }
    let (_dir, store) = fresh();
    let blob = store.insert(b"sound").unwrap();
    assert!(!store.holds(&blob.digest, Some(4)).unwrap());
    assert!(store.contains(&blob.digest).unwrap(), "a wrong lockfile harms no blob");
}

#[test]
fn an_emptied_blob_is_not_there() {
    let (_dir, store) = fresh();
    let (blob, empty) = (store.insert(&good()).unwrap(), store.insert(b"").unwrap());
    harm(&store, &blob.digest, Vec::clear);
    assert!(!store.contains(&blob.digest).unwrap());
    assert!(store.contains(&empty.digest).unwrap(), "one blob is empty by right");
}

#[test]
fn damaged_blobs_are_not_exported() {
    for (name, damage) in DAMAGES {
        let (dir, store) = fresh();
        let blob = store.insert(&good()).unwrap();
        let out = dir.path().join("etcd.qcow2");
        fs::write(&out, "the image of yesterday").unwrap();
        harm(&store, &blob.digest, damage);
        assert_eq!(store.export(&blob.digest, &out, 0o644).unwrap_err().class(), Class::Integrity, "{name}");
        assert_eq!(store.export(&blob.digest, &out, 0o644).unwrap_err().class(), Class::Integrity, "{name}: gone");
        assert_eq!(fs::read(&out).unwrap(), b"the image of yesterday", "{name}");
        assert_eq!(store.stamp(&out).unwrap(), None, "{name}");
    }
}

#[test]
fn a_new_blob_is_hashed_again_after_a_change() {
    for (name, damage) in DAMAGES {
        let (dir, store) = fresh();
        let mut scratch = store.scratch_file().unwrap();
        scratch.write_all(&good()).unwrap();
        let blob = store.adopt(scratch, &Cancel::new()).unwrap();
        let out = dir.path().join("etcd.qcow2");
        store.export(&blob.digest, &out, 0o644).unwrap();
        // A filesystem's timestamps have a granularity of milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(20));
        harm(&store, &blob.digest, damage);
        assert_eq!(store.export(&blob.digest, &out, 0o644).unwrap_err().class(), Class::Integrity, "{name}");
        assert_eq!(fs::read(&out).unwrap(), good(), "{name}");
    }
}

/// A function that puts something at a path.
type Put = fn(&Path);

/// Things other than a file in a file's place.
pub(super) const ODD: [(&str, Put); 8] = [
    ("a pipe", |path| rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap()),
    ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
    ("a folder", |path| fs::create_dir(path).unwrap()),
    ("a folder that is not empty", |path| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("file"), "bytes").unwrap();
    }),
    ("a link to the very bytes", |path| {
        // The target's name must not move with the link.
        let bytes = path.with_file_name("bytes");
        fs::write(&bytes, "bytes").unwrap();
        symlink(bytes, path).unwrap();
    }),
    ("a link to other bytes of the size", |path| {
        let other = path.with_file_name("other");
        fs::write(&other, "octet").unwrap();
        symlink(other, path).unwrap();
    }),
    ("a link to nothing", |path| symlink("nowhere", path).unwrap()),
    ("a link to a device", |path| symlink("/dev/zero", path).unwrap()),
];

#[test]
fn a_non_file_never_blocks_and_is_moved_away() {
    for (name, put) in ODD {
        // Every operation that may meet it first.
        type Way = fn(&Store, &Sha256);
        let ways: [(&str, Way); 5] = [
            ("holds", |store, digest| assert!(!store.holds(digest, Some(5)).unwrap())),
            ("size", |store, digest| assert_eq!(store.size(digest).unwrap(), None)),
            ("blob", |store, digest| assert!(store.blob(digest).unwrap().is_none())),
            ("examine", |store, digest| {
                let damage = store.examine(digest, &[]).unwrap().damage.unwrap();
                assert!(damage.contains("not a regular file; moved to "), "{damage}");
                assert!(!store.contains(digest).unwrap(), "it is out of the way");
            }),
            ("insert", |store, digest| assert_eq!(store.insert(b"bytes").unwrap().digest, *digest)),
        ];
        for (way, meet) in ways {
            // A socket is bound at a short path, then moved.
            let dir = tempfile::tempdir_in("/tmp").unwrap();
            let store = open(&dir.path().join("s"));
            let digest = Sha256::of(b"bytes");
            // Twice: existing content of the quarantine must not matter.
            for _ in 0..2 {
                let odd = dir.path().join("odd");
                put(&odd);
                fs::rename(&odd, store.path(&digest)).unwrap();
                meet(&store, &digest);
                assert_eq!(names(&store.root().join("quarantine")), [digest.to_string()], "{name} {way}");
                assert_eq!(store.insert(b"bytes").unwrap().digest, digest, "{name} {way}");
                assert_eq!(read_all(&store, &digest).unwrap(), b"bytes", "{name} {way}");
                fs::remove_file(store.path(&digest)).unwrap();
            }
        }
    }
}

#[test]
fn a_non_file_in_a_lower_store_is_skipped() {
    for (name, put) in ODD {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let (one, two) = (open(&dir.path().join("one")), open(&dir.path().join("two")));
        let (digest, odd) = (Sha256::of(b"bytes"), dir.path().join("odd"));
        put(&odd);
        fs::rename(&odd, one.path(&digest)).unwrap();
        let over = |lower: &[&Store]| {
            let lower: Vec<PathBuf> = lower.iter().map(|store| store.root().to_owned()).collect();
            open(&dir.path().join("above")).over(&lower, &Cancel::new(), &|_| {}).unwrap()
        };
        assert!(!over(&[&one]).contains(&digest).unwrap(), "{name}");
        assert!(over(&[&one]).blob(&digest).unwrap().is_none(), "{name}");
        let store = over(&[&one]);
        assert_eq!(store.examine_lower(&store.lower()[0], &digest).unwrap(), None, "{name}");
        two.insert(b"bytes").unwrap();
        assert_eq!(read_all(&over(&[&one, &two]), &digest).unwrap(), b"bytes", "{name}");
        assert!(fs::symlink_metadata(one.root().join("blobs/sha256").join(digest.to_string())).is_ok(), "{name}: it is not ours");
        assert_eq!(names(&store.root().join("quarantine")), [] as [&str; 0], "{name}");
    }
}
