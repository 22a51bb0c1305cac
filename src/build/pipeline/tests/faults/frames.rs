//! Cached frames and composed images: the image is the same, whichever of them are cached.

use std::collections::BTreeMap;
use std::fs;

use super::check::{Contents, names};
use super::site::{Site, Verb, folder};
use super::world::{ROLES, World};
use crate::build::{Bake, Wanted};
use crate::common::value::Sha256;
use crate::storage::store::{Action, Blob, COMPOSED, FRAMES, Lookup, Store};

fn build(roles: &[&str]) -> Verb {
    Verb::Build(roles.iter().map(|&role| role.to_owned()).collect())
}

/// Removes the entries of these kinds.
fn forget(site: &Site, kinds: &[&str]) -> usize {
    let folder = site.store().join("actions");
    let of_kind = |name: &String| kinds.iter().any(|kind| name.starts_with(&format!("{kind}-")));
    let all: Vec<String> = names(&folder).into_iter().filter(of_kind).collect();
    all.iter().for_each(|name| fs::remove_file(folder.join(name)).unwrap());
    all.len()
}

#[test]
fn cold_or_warm_alone_or_together_with_one_thread_or_many() {
    let world = World::of("first");
    let server = world.serve();
    let digests = |site: &Site| -> BTreeMap<String, Sha256> { Contents::settled(site, "built").images };
    let new = || {
        let dir = folder();
        world.settle(&dir.path().join("project"));
        (Site::new(dir.path(), &server), dir)
    };
    let (site, _dir) = new();
    site.run(&build(&ROLES)).unwrap();
    let right = digests(&site);
    assert_eq!(right.len(), 3);
    // Cold, in other orders, and in parallel.
    for order in [["gamma", "beta", "alpha"], ["beta", "alpha", "gamma"]] {
        let (other, _dir) = new();
        order.iter().for_each(|role| site_build(&other, role));
        assert_eq!(digests(&other), right, "{order:?}");
    }
    let (other, _dir) = new();
    site_build(&other, "beta");
    forget(&other, &["image", COMPOSED]);
    for (jobs, threads) in [(1, 1), (3, 16)] {
        let together = Site { jobs: threads, ..other.clone() };
        let made = together.images(&ROLES, jobs);
        assert_eq!(made.into_iter().collect::<BTreeMap<_, _>>(), right, "{jobs} jobs together");
        forget(&other, &["image", COMPOSED, FRAMES]);
    }
    for jobs in [1, 3] {
        for kinds in [&["image", COMPOSED][..], &["image", COMPOSED, FRAMES]] {
            forget(&other, kinds);
            assert_eq!(other.images(&["gamma"], jobs), [("gamma".to_owned(), right["gamma"])], "{jobs} jobs, without {kinds:?}");
        }
    }
    // Warm, with some entries removed.
    for kinds in [&["image"][..], &["image", COMPOSED], &["image", FRAMES], &[COMPOSED], &[FRAMES], &["image", COMPOSED, FRAMES]] {
        assert!(forget(&site, kinds) > 0);
        ROLES.iter().for_each(|role| fs::remove_file(site.image(role)).unwrap());
        site.run(&build(&ROLES)).unwrap();
        assert_eq!(digests(&site), right, "without {kinds:?}");
    }
    // With each file of frames damaged: it is put aside and built again.
    let store = site.open().unwrap();
    let kept: Vec<Blob> = frames(&store).into_iter().map(|(_, blob)| blob).collect();
    assert!(kept.len() >= 2, "a base, a large content: {kept:?}");
    drop(store);
    for blob in kept {
        let path = site.store().join("blobs/sha256").join(blob.digest.to_string());
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        forget(&site, &["image", COMPOSED]);
        ROLES.iter().for_each(|role| fs::remove_file(site.image(role)).unwrap());
        site.run(&build(&ROLES)).unwrap();
        assert!(names(&site.store().join("quarantine")).contains(&blob.digest.to_string()), "it is found");
        assert_eq!(digests(&site), right);
    }
}

fn site_build(site: &Site, role: &str) {
    site.run(&build(&[role])).unwrap();
}

/// Entries of frames, with their blobs.
fn frames(store: &Store) -> Vec<(Sha256, Blob)> {
    let names = store.action_names().unwrap().into_iter().filter(|(kind, _)| kind == FRAMES);
    let blob = |key: Sha256| match store.action(FRAMES, &key) {
        Lookup::Hit(action) => (key, action.outputs["frames"]),
        Lookup::Miss(why) => panic!("{why}"),
    };
    names.map(|(_, key)| blob(key)).collect()
}

#[test]
fn contents_are_stored_once_for_all_roles_and_a_change_costs_what_changed() {
    let world = World::of("first");
    let (server, dir) = (world.serve(), folder());
    world.settle(&dir.path().join("project"));
    let site = Site::new(dir.path(), &server);
    let parts = |role: &str| -> Vec<Sha256> {
        let store = site.open().unwrap();
        let image = Sha256::of(fs::read(site.image(role)).unwrap());
        let Lookup::Hit(Action { outputs }) = store.action(COMPOSED, &image) else { panic!("{role} is composed") };
        assert!(!store.blobs().unwrap().iter().any(|blob| blob.digest == image), "{role} has no file of its own");
        outputs.values().map(|blob| blob.digest).collect()
    };
    site.run(&build(&["alpha"])).unwrap();
    let kept = frames(&site.open().unwrap());
    let before = site.open().unwrap().blobs().unwrap();
    site.run(&build(&["gamma"])).unwrap();
    assert_eq!(frames(&site.open().unwrap()), kept, "gamma has alpha's base, and no large content of its own");
    let (alpha, gamma) = (parts("alpha"), parts("gamma"));
    for (key, blob) in &kept {
        assert!(alpha.contains(&blob.digest) && gamma.contains(&blob.digest), "{key}");
    }
    let new: u64 = site.open().unwrap().blobs().unwrap().into_iter().filter(|blob| !before.contains(blob)).map(|blob| blob.size).sum();
    assert!(new < 600_000, "gamma alone took {new} bytes, and has a content of more than a million");
    // The next collection removes the image's file; the blobs that compose the image stay.
    let image = Sha256::of(fs::read(site.image("gamma")).unwrap());
    site.open().unwrap().blob(&image).unwrap().unwrap();
    let has_file = || site.open().unwrap().blobs().unwrap().iter().any(|blob| blob.digest == image);
    assert!(has_file());
    site.run(&Verb::Gc).unwrap();
    assert!(!has_file());
    fs::remove_file(site.image("gamma")).unwrap();
    let entries = names(&site.store().join("actions"));
    site.run(&build(&["gamma"])).unwrap();
    assert_eq!(Sha256::of(fs::read(site.image("gamma")).unwrap()), image);
    assert_eq!(names(&site.store().join("actions")), entries, "nothing was made again");
}

#[test]
fn an_image_that_cannot_be_composed_again_is_taken_back_from_where_it_was_written() {
    let world = World::of("first");
    let (server, dir) = (world.serve(), folder());
    world.settle(&dir.path().join("project"));
    let site = Site::new(dir.path(), &server);
    site.run(&build(&["alpha"])).unwrap();
    let bytes = fs::read(site.image("alpha")).unwrap();
    let image = Sha256::of(&bytes);
    let Lookup::Hit(composed) = site.open().unwrap().action(COMPOSED, &image) else { panic!("it is composed") };
    fs::remove_file(site.store().join("blobs/sha256").join(composed.outputs["part-0000"].digest.to_string())).unwrap();
    assert!(!site.open().unwrap().contains(&image).unwrap());
    // The state of all projects is unknown.
    let wanted = Wanted::default();
    site.together(&["alpha"], 1, |bake, _| bake.repair(&wanted, &mut bake.verify_store(&wanted)?)).unwrap();
    let store = site.open().unwrap();
    assert!(store.verify_blob(&image).unwrap());
    assert_eq!(fs::read(store.path(&image)).unwrap(), bytes, "as a file of its own");
    assert!(!store.action_names().unwrap().contains(&(COMPOSED.to_owned(), image)));
}

impl Site {
    /// The images of roles, built in parallel by so many threads.
    fn images(&self, roles: &[&str], jobs: usize) -> Vec<(String, Sha256)> {
        let mut made = Vec::new();
        self.together(roles, jobs, |bake: &Bake, all| {
            bake.images(all, |resolved, baked| {
                made.push((resolved.plan.role().to_string(), baked?.image.digest));
                Ok(())
            })
        })
        .unwrap();
        made
    }
}
