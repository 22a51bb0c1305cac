//! Anything other than a file in the place of a store's file, in each folder: it is never waited for or followed, is moved out of
//! the way, and is found by the maintenance commands.

use super::damage::ODD;
use super::inventory::Rest;
use super::*;
use crate::storage::store::gc::Limits;

/// A store with one thing of each kind, and the names of their files.
struct Full {
    dir: tempfile::TempDir,
    store: Store,
    key: Sha256,
}

impl Full {
    fn new() -> Full {
        // The path of a socket must be short.
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let store = open(&dir.path().join("s"));
        let full = Full { dir, store, key: Sha256::of("key") };
        full.fill();
        full
    }

    /// Does the work of commands on a small scale.
    fn fill(&self) {
        let (store, key) = (&self.store, &self.key);
        let blob = store.insert(b"bytes").unwrap();
        store.put_action("base", key, &Action { outputs: [("tree".to_owned(), blob)].into() }).unwrap();
        store.put_actions(&[("made", *key, Action { outputs: [("file".to_owned(), blob)].into() })]).unwrap();
        store.put_claim(&ImageClaim { plan: *key, tree: *key, image: *key }).unwrap();
        store.put_root(&self.root()).unwrap();
        drop(store.plan_lock(key, &Cancel::new(), &|| panic!("nobody has it")).unwrap());
        store.export(&blob.digest, &self.output(), 0o644).unwrap();
        let Claim::Ours(mut partial) = store.partial(&self.partial(), None).unwrap() else { panic!("nobody has it") };
        partial.reset().unwrap();
        partial.put(b"half").unwrap();
    }

    fn root(&self) -> Root {
        let plan = Blob { digest: Sha256::of("bytes"), size: 5 };
        let owner = Owner { project: Some(self.dir.path().to_owned()), channel: "c".to_owned(), role: "etcd".parse().unwrap() };
        let history = History { plan, causes: None };
        let current = Generation { history, actions: [("base".to_owned(), self.key)].into(), inputs: Default::default() };
        Root { owner, current, previous: None, outputs: [self.output()].into() }
    }

    fn output(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn partial(&self) -> crate::common::value::Digest {
        Sha256::of("half of it").into()
    }

    /// Checks the expected state.
    fn check(&self, when: &str) {
        let (store, key) = (&self.store, &self.key);
        assert!(matches!(store.action("base", key), Lookup::Hit(_)), "{when}");
        assert!(matches!(store.action("made", key), Lookup::Hit(_)), "{when}");
        assert_eq!(store.claim(key).unwrap().map(|claim| claim.plan), Some(*key), "{when}");
        assert_eq!(store.root_of(&self.root().owner).unwrap(), Some(self.root()), "{when}");
        assert_eq!(store.stamp(&self.output()).unwrap(), Some(Sha256::of("bytes")), "{when}");
        assert_eq!(read_all(store, &Sha256::of("bytes")).unwrap(), b"bytes", "{when}");
        assert_eq!(store.partial_size(&self.partial()).unwrap(), 4, "{when}");
    }

    /// Puts something in the place of a file.
    fn replace(&self, path: &Path, put: fn(&Path)) {
        let odd = self.dir.path().join("odd");
        fsx::remove(&odd).unwrap();
        put(&odd);
        fsx::remove(path).unwrap();
        fs::rename(&odd, path).unwrap();
    }
}

#[test]
fn a_non_file_is_moved_away_in_every_folder() {
    for (name, put) in ODD {
        let folders = ["blobs/sha256", "actions", "claims", "roots", "locks", "stamps", "tmp"];
        for folder in folders {
            let full = Full::new();
            let files = names(&full.store.root().join(folder));
            assert!(!files.is_empty(), "{folder}");
            for file in files {
                let path = full.store.root().join(folder).join(&file);
                let when = format!("{name} as {folder}/{file}");
                full.replace(&path, put);
                // No reader blocks or takes it for the file, and the maintenance functions work.
                let _ = (full.store.action("base", &full.key), full.store.root_of(&full.root().owner).unwrap());
                let _ = (full.store.claim(&full.key), full.store.stamp(&full.output()).unwrap(), full.store.inventory().unwrap());
                full.fill();
                full.check(&when);
                let kind = fsx::facts(&path).unwrap().unwrap().kind;
                assert_eq!(kind, fsx::Kind::File, "{when}");
            }
        }
    }
}

#[test]
fn a_non_file_is_found_by_maintenance_commands() {
    for (name, put) in ODD {
        let full = Full::new();
        let store = &full.store;
        let replace = |path: &Path| full.replace(path, put);
        replace(&store.own_path(&Sha256::of("bytes")));
        replace(&store.action_path("made", &full.key));
        replace(&store.claim_path(&full.key));
        replace(&store.root_path(&full.root().owner.key()));
        assert_eq!(store.blobs().unwrap().iter().map(|blob| blob.digest).collect::<Vec<_>>(), [Sha256::of("bytes")], "{name}");
        let inventory = store.inventory().unwrap();
        assert_eq!((inventory.blobs.len(), inventory.odd_roots.len()), (0, 1), "{name}");
        assert!(inventory.rest.iter().any(|(rest, _)| *rest == Rest::Odd), "{name}");
        assert!(store.entry("made", &full.key).is_err() && store.root_files().unwrap()[0].1.is_none(), "{name}");
        assert_eq!(store.claim(&full.key).unwrap_err().class(), Class::Integrity, "{name}: without it, a wrong image could pass");
        let damage = store.examine(&Sha256::of("bytes"), &[]).unwrap().damage.unwrap();
        assert!(damage.contains("not a regular file; moved to"), "{name}: {damage}");
        store.remove_action("made", &full.key).unwrap();
        store.remove_claim(&full.key).unwrap();
        store.remove_root(&Store::root_name(&full.root().owner)).unwrap();
        assert!(store.claims().unwrap().is_empty() && store.roots().unwrap().is_empty(), "{name}");
        full.fill();
        full.check(name);
    }
}

#[test]
fn a_collection_removes_non_files() {
    for (name, put) in ODD {
        let full = Full::new();
        let root = full.store.root().to_owned();
        let of = |folder: &str| root.join(folder).join(&names(&root.join(folder))[0]);
        let paths = ["blobs/sha256", "actions", "claims", "locks", "stamps", "tmp"].map(of);
        paths.iter().for_each(|path| full.replace(path, put));
        fsx::remove(&full.store.root_path(&full.root().owner.key())).unwrap();
        drop(full.store);
        let store = Store::open(&root, Access::Exclusive, &Cancel::new(), &|| {}).unwrap();
        store.gc(&Limits::default(), &Cancel::new(), &mut |_| {}).unwrap();
        for path in paths {
            assert!(!fsx::exists(&path).unwrap(), "{name}: {}", path.display());
        }
    }
}

#[test]
fn work_finds_room_where_something_else_is() {
    for (name, put) in ODD {
        if name.starts_with("a folder") {
            continue;
        }
        let full = Full::new();
        let path = full.store.tmp().join(format!("work-base-{}", full.key));
        full.replace(&path, put);
        let store = open(full.store.root());
        assert_eq!(store.work_folder("base", &full.key).unwrap(), path, "{name}");
        assert!(path.is_dir() && store.works_in(&path), "{name}");
    }
}

#[test]
fn a_store_without_a_readable_format_or_lock_is_refused_in_clear_words() {
    for (name, put) in ODD {
        for file in ["format", "lock"] {
            let full = Full::new();
            let path = full.store.root().join(file);
            let root = full.store.root().to_owned();
            full.replace(&path, put);
            let error = try_open(&root).unwrap_err();
            let shown = error.to_string();
            assert_eq!(error.class(), Class::User, "{name}: {shown}");
            assert!(shown.contains(file) && shown.contains("regular file") && shown.contains("remove"), "{name}: {shown}");
            let above = open(&full.dir.path().join("above")).over(&[root], &Cancel::new(), &|_| panic!("nobody has it"));
            match above {
                // A lower store's lock is optional.
                Ok(_) => assert_eq!(file, "lock", "{name}"),
                Err(error) => assert!(error.to_string().contains("`format` is unusable: it is "), "{name}: {error}"),
            }
        }
    }
}

#[test]
fn entries_of_a_lower_store_that_are_no_files_are_looked_past() {
    for (name, put) in ODD {
        let full = Full::new();
        full.replace(&full.store.action_path("base", &full.key), put);
        let above = open(&full.dir.path().join("above")).over(&[full.store.root().to_owned()], &Cancel::new(), &|_| {}).unwrap();
        assert!(matches!(above.action("base", &full.key), Lookup::Miss(Miss::Unreadable(_))), "{name}");
        assert!(matches!(above.action("made", &full.key), Lookup::Hit(_)), "{name}");
    }
}

/// Runs `work` as a user for whom permissions apply.
fn as_ordinary_user(work: impl FnOnce() + Send) {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut sets = capabilities(None).unwrap();
            sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
            set_capabilities(None, sets).unwrap();
            work();
        });
        thread.join().unwrap();
    });
}

#[test]
fn a_file_that_may_not_be_read_gives_way() {
    for folder in ["blobs/sha256", "actions", "claims", "roots", "stamps"] {
        let full = Full::new();
        for file in names(&full.store.root().join(folder)) {
            let path = full.store.root().join(folder).join(&file);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
            as_ordinary_user(|| {
                full.store.inventory().unwrap();
                if folder.starts_with("blobs") {
                    let damage = full.store.examine(&Sha256::of("bytes"), &[]).unwrap().damage.unwrap();
                    assert!(damage.contains("permission to read it is denied; moved to"), "{damage}");
                }
                full.fill();
                full.check(&format!("{folder}/{file}"));
            });
        }
    }
}

#[test]
fn loops_over_bytes_stop_when_they_are_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let cancel = Cancel::new();
    let store = Store::open(&dir.path().join("store"), Access::Shared, &cancel, &|| {}).unwrap();
    let blob = store.insert(&[7; 100_000]).unwrap();
    let composed = store.compose(&[Stretch::Of { blob, offset: 1, len: 99_999 }], &cancel).unwrap();
    let file = store.blob(&blob.digest).unwrap().unwrap();
    let Claim::Ours(mut partial) = store.partial(&Sha256::of("more").into(), None).unwrap() else { panic!("nobody has it") };
    partial.put(b"mo").unwrap();
    let (mut reader, mut writer) = (store.reader(&blob.digest).unwrap().unwrap(), store.writer(None, None).unwrap());
    cancel.flag().store(true, Ordering::SeqCst);
    let out = dir.path().join("out");
    let stopped = [
        file.verify().unwrap_err(),
        file.sha512().map(drop).unwrap_err(),
        Error::io("read", &reader.read(&mut [0; 10]).unwrap_err()),
        writer.put(b"x").unwrap_err(),
        partial.put(b"re").unwrap_err(),
        store.verify_blob(&composed.digest).map(drop).unwrap_err(),
        store.export(&blob.digest, &out, 0o644).unwrap_err(),
        store.export(&composed.digest, &out, 0o644).unwrap_err(),
        store.examine(&blob.digest, &[]).map(drop).unwrap_err(),
    ];
    for (n, error) in stopped.iter().enumerate() {
        assert_eq!(error.class(), Class::Interrupted, "{n}: {error}");
    }
    drop((partial, writer));
    assert_eq!(store.partial(&Sha256::of("more").into(), None).map(drop).unwrap_err().class(), Class::Interrupted);
    assert!(!out.exists() && names(&store.root().join("quarantine")).is_empty(), "a stop is no damage");
    let store = open(store.root());
    assert_eq!(store.partial_size(&Sha256::of("more").into()).unwrap(), 2, "the next command goes on");
    assert!(store.verify_blob(&blob.digest).unwrap() && store.verify_blob(&composed.digest).unwrap());
}

#[test]
fn an_unlinked_lock_file_excludes_no_process() {
    let full = Full::new();
    let store = &full.store;
    let path = store.root().join("locks").join(full.key.to_string());
    let lock = || store.plan_lock(&full.key, &Cancel::new(), &|| {}).unwrap();
    let first = lock();
    let inside = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let _second = lock();
            inside.load(Ordering::SeqCst)
        });
        std::thread::sleep(std::time::Duration::from_millis(120));
        fs::remove_file(&path).unwrap();
        let third = lock();
        inside.store(1, Ordering::SeqCst);
        // The second waits for the unlinked lock file, and must then wait for the new one.
        drop(first);
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(!waiting.is_finished(), "two at once");
        inside.store(2, Ordering::SeqCst);
        drop(third);
        assert_eq!(waiting.join().unwrap(), 2);
    });
}

#[test]
fn a_full_disk_of_outputs_is_named_and_not_the_stores() {
    let full = Full::new();
    let blob = full.store.insert(&[7; 70_000]).unwrap();
    let composed = full.store.compose(&[Stretch::Of { blob, offset: 1, len: 60_000 }], &Cancel::new()).unwrap();
    let images = full.dir.path().join("images");
    fs::create_dir(&images).unwrap();
    for digest in [blob.digest, composed.digest] {
        fsx::fault::after(&images, 0, fsx::fault::Fault::NoSpace);
        let error = full.store.export(&digest, &images.join("etcd.qcow2"), 0o644).unwrap_err();
        assert!(fsx::fault::clear(&images));
        assert_eq!(error.class(), Class::NoSpace);
        let shown = error.to_string();
        assert!(shown.contains(&format!("not enough space in {} for etcd.qcow2", images.display())), "{shown}");
        assert!(!shown.contains(full.store.root().to_str().unwrap()) && !shown.contains("KBAKE_STORE"), "{shown}");
    }
}
