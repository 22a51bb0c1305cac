//! Damage of everything that is stored: found before it is used, never in an output, and repaired by the next run.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::check::{Contents, names};
use super::site::{Site, Verb, folder};
use super::world::World;
use crate::build::upkeep::findings::Damaged;
use crate::common::error::Class;
use crate::common::testing::shared::server::Server;
use crate::common::value::Hasher512;
use crate::storage::store::{Action, Lookup};

type Damage = (&'static str, fn(&mut Vec<u8>, &[u8]));

/// The change to a file; the other is one of the same kind.
const DAMAGES: [Damage; 6] = [
    ("a bit in the middle", |bytes, _| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
    }),
    ("a bit at the end", |bytes, _| *bytes.last_mut().unwrap() ^= 0x40),
    ("half of it", |bytes, _| bytes.truncate(bytes.len() / 2)),
    ("zeros", |bytes, _| bytes.fill(0)),
    ("nothing", |bytes, _| bytes.clear()),
    ("another one's bytes", |bytes, other| *bytes = other.to_vec()),
];

/// A site where all commands have run, restored after each damage.
struct Done {
    _server: Server,
    dir: tempfile::TempDir,
    site: Site,
    right: Contents,
}

impl Done {
    fn new() -> Done {
        let world = World::of("first");
        let (server, dir) = (world.serve(), folder());
        world.settle(&dir.path().join("project"));
        let site = Site::new(dir.path(), &server);
        site.run(&fetch(&["alpha", "gamma"])).unwrap();
        site.run(&build(&["alpha", "gamma"])).unwrap();
        let right = Contents::settled(&site, "undisturbed");
        Done { _server: server, dir, site, right }
    }

    /// Makes the next build of alpha run all steps except the base.
    fn forget(&self, but: &str) {
        for (kind, key) in &self.right.roots["project alpha"].actions {
            let name = format!("{kind}-{key}.json");
            if kind != "base" && name != but {
                // A whole artifact has no entry.
                let _ = fs::remove_file(self.site.store().join("actions").join(name));
            }
        }
    }

    /// Builds alpha, which may fail once, because of the damage.
    fn builds(&self, when: &str) -> bool {
        let _ = fs::remove_file(self.site.image("alpha"));
        let failed = match self.site.run(&build(&["alpha"])) {
            Ok(()) => false,
            Err(error) => {
                assert_eq!(error.class(), Class::Integrity, "{when}: {error}");
                assert!(!self.site.image("alpha").exists(), "{when}: there is an image, and an error");
                self.site.run(&build(&["alpha"])).unwrap_or_else(|e| panic!("{when}: the run after the error fails too: {e}"));
                true
            }
        };
        let image = crate::common::value::Sha256::of(fs::read(self.site.image("alpha")).unwrap());
        assert_eq!(self.right.images["alpha"], image, "{when}: a wrong image");
        failed
    }

    /// Verification finds damage that no command has read; then everything is restored.
    fn heals(&self, when: &str) {
        let store = self.site.open().unwrap();
        for blob in store.blobs().unwrap() {
            // The first reader of a damaged blob puts it aside.
            let _ = store.blob(&blob.digest).unwrap().unwrap().verify();
        }
        drop(store);
        for verb in [fetch(&["alpha", "gamma"]), build(&["alpha", "gamma"])] {
            self.site.run(&verb).unwrap_or_else(|e| panic!("{when}: {verb:?} does not heal it: {e}"));
        }
        let found = Contents::settled(&self.site, when);
        assert!(found == self.right, "{when}: not as it was:\n{found:#?}\n{:#?}", self.right);
        for name in names(&self.site.store().join("quarantine")) {
            fs::remove_file(self.site.store().join("quarantine").join(name)).unwrap();
        }
    }
}

fn build(roles: &[&str]) -> Verb {
    Verb::Build(roles.iter().map(|&role| role.to_owned()).collect())
}

fn fetch(roles: &[&str]) -> Verb {
    Verb::Fetch(roles.iter().map(|&role| role.to_owned()).collect())
}

/// False when the file is unchanged.
fn harm(path: &Path, other: &[u8], damage: fn(&mut Vec<u8>, &[u8])) -> bool {
    let good = fs::read(path).unwrap();
    let mut bytes = good.clone();
    damage(&mut bytes, other);
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, &bytes).unwrap();
    bytes != good
}

#[test]
fn whatever_is_damaged_is_found_and_comes_back() {
    let done = Done::new();
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for kind in ["blobs/sha256", "actions", "roots", "stamps"] {
        let folder = done.site.store().join(kind);
        let all = names(&folder);
        assert!(all.len() > 1, "{kind}: {all:?}");
        for (n, name) in all.iter().enumerate() {
            for (what, damage) in DAMAGES {
                let when = format!("{kind}/{name}: {what}");
                let (path, other) = (folder.join(name), fs::read(folder.join(&all[(n + 1) % all.len()])).unwrap());
                // Images are used until they are removed, other results until they are built again.
                if *name != done.right.images["alpha"].to_string() {
                    done.forget(name);
                }
                if !harm(&path, &other, damage) {
                    continue;
                }
                let failed = done.builds(&when);
                done.heals(&when);
                let count = counts.entry(kind).or_default();
                *count = (count.0 + 1, count.1 + usize::from(failed));
            }
        }
    }
    println!("damages, and how many of them a build failed for, once: {counts:?}");
    assert!(counts.values().map(|(all, _)| all).sum::<usize>() >= 150);
}

#[test]
fn a_boot_loader_that_lies_is_found_by_making_it_again() {
    let done = Done::new();
    assert_eq!(done.site.verify_store().unwrap(), []);
    let root = &done.right.roots["project alpha"];
    let (kind, key) = root.actions.iter().find(|(kind, _)| kind == "boot").cloned().expect("a root names its boot loader");
    let store = done.site.open().unwrap();
    let Lookup::Hit(action) = store.action(&kind, &key) else { panic!("it is remembered") };
    let mut bytes = fs::read(store.path(&action.outputs["loader"].digest)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let lie = store.insert(&bytes).unwrap();
    store.put_action(&kind, &key, &Action { outputs: [("loader".to_owned(), lie)].into() }).unwrap();
    drop(store);
    assert_eq!(done.site.verify_store().unwrap(), [Damaged::Entry(kind.clone(), key)]);
    assert!(!done.builds("without the loader's entry"));
    // An image that was built from it is found as well.
    done.site.open().unwrap().put_action(&kind, &key, &Action { outputs: [("loader".to_owned(), lie)].into() }).unwrap();
    done.forget(&format!("{kind}-{key}.json"));
    done.site.run(&build(&["alpha"])).unwrap();
    assert_ne!(crate::common::value::Sha256::of(fs::read(done.site.image("alpha")).unwrap()), done.right.images["alpha"]);
    let image = root.actions.iter().find(|(kind, _)| kind == "image").cloned().unwrap();
    assert_eq!(done.site.verify_store().unwrap(), [Damaged::Entry(kind, key), Damaged::Entry(image.0, image.1)]);
    assert!(!done.builds("without both"));
}

#[test]
fn a_damaged_output_is_somebody_s_disk_until_it_is_moved_away() {
    let done = Done::new();
    for (what, damage) in DAMAGES {
        let path = done.site.image("alpha");
        assert!(harm(&path, &fs::read(done.site.image("gamma")).unwrap(), damage));
        let left = fs::read(&path).unwrap();
        // Data that a machine has written cannot be told from damage, and could not be restored.
        match done.site.run(&build(&["alpha"])) {
            Err(error) => {
                assert!(error.to_string().contains("is not replaced") && error.class() == crate::Class::User, "{what}: {error}");
                assert!(fs::read(&path).unwrap() == left, "{what}");
                fs::rename(&path, path.with_extension("old")).unwrap();
                done.site.run(&build(&["alpha"])).unwrap();
            }
            // An image that this store has built is kbake's, whatever its name.
            Ok(_) => assert!(done.right.images.values().any(|digest| *digest == crate::common::value::Sha256::of(&left)), "{what}"),
        }
        assert_eq!(crate::common::value::Sha256::of(fs::read(&path).unwrap()), done.right.images["alpha"], "{what}");
    }
}

#[test]
fn an_image_takes_the_place_of_images_only() {
    let done = Done::new();
    let path = done.site.image("alpha");
    let refused = |why: &str| {
        let error = done.site.run(&build(&["alpha"])).unwrap_err().to_string();
        assert!(error.contains("is not replaced") && error.contains(why) && error.contains("hint: "), "{error}");
    };
    // Another program's disk, a link to it, a folder.
    fs::remove_file(&path).unwrap();
    let disk = path.with_extension("disk");
    fs::write(&disk, "a machine's work").unwrap();
    fs::copy(&disk, &path).unwrap();
    refused("kbake did not write it");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&disk, &path).unwrap();
    refused("a link");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("a folder");
    fs::remove_dir(&path).unwrap();
    assert_eq!(fs::read(&disk).unwrap(), b"a machine's work");
    done.site.run(&build(&["alpha"])).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o444, "nobody writes to it by mistake");

    // A store without records of the file, and the same image again.
    fs::remove_dir_all(done.site.store().join("stamps")).unwrap();
    fs::create_dir(done.site.store().join("stamps")).unwrap();
    fs::copy(done.site.image("gamma"), path.with_extension("new")).unwrap();
    fs::rename(path.with_extension("new"), &path).unwrap();
    done.site.run(&build(&["alpha"])).unwrap();
    assert_eq!(crate::common::value::Sha256::of(fs::read(&path).unwrap()), done.right.images["alpha"]);

    // An image that a machine uses stays, although it is kbake's.
    fs::copy(done.site.image("gamma"), path.with_extension("new")).unwrap();
    fs::rename(path.with_extension("new"), &path).unwrap();
    let mut qemu = std::process::Command::new("qemu-io");
    qemu.args(["-r", "-f", "raw"]).arg(&path).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut qemu = qemu.spawn().unwrap_or_else(|e| panic!("qemu-io is missing: run tests/setup.sh ({e})"));
    std::io::Read::read_exact(qemu.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    refused("a running machine uses it");
    drop(qemu.stdin.take());
    qemu.wait().unwrap();
    done.site.run(&build(&["alpha"])).unwrap();
}

#[test]
fn a_damaged_download_starts_again() {
    let done = Done::new();
    let world = World::of("first");
    let archive = world.thing("archive-4.5.6.tar.gz");
    let mut digest = Hasher512::new();
    digest.update(archive);
    let partial = done.site.store().join(format!("tmp/partial-{}", digest.finish()));
    let blob = done.site.store().join("blobs/sha256").join(crate::common::value::Sha256::of(archive).to_string());
    for len in [1, archive.len() / 2, archive.len(), archive.len() + 1] {
        for (what, damage) in DAMAGES {
            let mut bytes = archive.to_vec();
            bytes.resize(len, 0);
            damage(&mut bytes, world.thing("tool-1.2.3"));
            fs::write(&partial, bytes).unwrap();
            fs::remove_file(&blob).unwrap();
            done.heals(&format!("{len} bytes of a download: {what}"));
            assert!(!partial.exists());
        }
    }
    assert!(done.dir.path().exists());
}
