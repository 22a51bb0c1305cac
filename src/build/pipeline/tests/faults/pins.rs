//! A changed pin never gives the old bytes, and an unchanged one never gives new bytes.

use std::fs;

use super::check::Contents;
use super::site::{Site, Verb, folder};
use super::world::World;
use crate::common::error::Class;
use crate::common::testing::shared::server::Server;
use crate::common::value::Sha256;

fn build() -> Verb {
    Verb::Build(vec!["alpha".into()])
}

fn fetch() -> Verb {
    Verb::Fetch(vec!["alpha".into()])
}

/// A site in a world; no command has run.
fn site(edition: &str) -> (tempfile::TempDir, Server, Site) {
    let world = World::of(edition);
    let (dir, server) = (folder(), world.serve());
    world.settle(&dir.path().join("project"));
    let site = Site::new(dir.path(), &server);
    (dir, server, site)
}

fn image(site: &Site) -> Sha256 {
    Sha256::of(fs::read(site.image("alpha")).unwrap())
}

#[test]
fn another_digest_under_the_same_name_and_address_is_another_image() {
    let (_one, _first, fresh) = site("first");
    let (_two, _second, other) = site("second");
    fresh.run(&build()).unwrap();
    other.run(&build()).unwrap();
    let images = [image(&fresh), image(&other)];
    assert_ne!(images[0], images[1]);
    // Back and forth in one store; only the lock and the server's files change.
    let (_dir, _server, moving) = site("first");
    for round in 0..2 {
        for (edition, right) in ["first", "second"].into_iter().zip(&images) {
            World::of(edition).settle(&moving.dir.join("project"));
            let server = World::of(edition).serve();
            let now = Site { base: server.base(), ..moving.clone() };
            for verb in [fetch(), build()] {
                now.run(&verb).unwrap();
            }
            assert_eq!(image(&now), *right, "{edition}");
            let asked: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
            let expected: &[&str] = match (round, edition) {
                (0, "second") => &["/archive-4.5.6.tar.gz", "/tool-1.2.3"],
                (0, _) => continue,
                _ => &[],
            };
            let mut asked: Vec<&str> = asked.iter().map(String::as_str).collect();
            asked.sort_unstable();
            assert_eq!(asked, expected, "{edition}: what has not changed is not fetched again, what has is");
        }
    }
    Contents::settled(&moving, "moved forth and back");
}

#[test]
fn an_address_with_other_bytes_than_locked_gives_nothing() {
    let (_dir, _server, here) = site("first");
    let later = World::of("second").serve();
    let moved = Site { base: later.base(), ..here.clone() };
    for verb in [fetch(), build()] {
        let error = moved.run(&verb).unwrap_err();
        assert_eq!(error.class(), Class::Integrity, "{error}");
        assert!(error.to_string().contains("hash mismatch") && error.to_string().contains("tool"), "{error}");
        let found = Contents::settled(&moved, "refused");
        assert!(found.images.is_empty() && found.roots.is_empty(), "{found:?}");
        for thing in ["tool-1.2.3", "archive-4.5.6.tar.gz"] {
            assert!(!found.blobs.contains(&Sha256::of(World::of("second").thing(thing)).to_string()), "{thing}");
        }
    }
    // Once the server has the right bytes again, a store that was offered wrong ones works like any other.
    here.run(&build()).unwrap();
    let (_other, _first, fresh) = site("first");
    fresh.run(&build()).unwrap();
    assert_eq!(image(&here), image(&fresh));
}

#[test]
fn a_partial_download_of_the_old_pin_is_not_continued_for_the_new_one() {
    let (_dir, _server, here) = site("first");
    drop(here.open().unwrap());
    for thing in ["tool-1.2.3", "archive-4.5.6.tar.gz"] {
        let old = World::of("first").thing(thing).to_vec();
        fs::write(here.store().join(format!("tmp/partial-{}", Sha256::of(&old))), &old[..old.len() / 2]).unwrap();
    }
    World::of("second").settle(&here.dir.join("project"));
    let later = World::of("second").serve();
    let moved = Site { base: later.base(), ..here };
    moved.run(&fetch()).unwrap();
    assert!(later.ranges().iter().all(Option::is_none), "{:?}", later.ranges());
    moved.run(&build()).unwrap();
    let (_other, _second, fresh) = site("second");
    fresh.run(&build()).unwrap();
    assert_eq!(image(&moved), image(&fresh));
}

#[test]
fn bytes_that_came_without_a_pin_are_found_by_their_digest_alone() {
    let (_dir, server, here) = site("first");
    let world = World::of("first");
    let store = here.open().unwrap();
    // Built and imported blobs have no pin.
    for bytes in [world.thing("tool-1.2.3"), World::of("second").thing("tool-1.2.3"), World::of("second").thing("archive-4.5.6.tar.gz")] {
        let mut writer = store.writer(None, None).unwrap();
        writer.put(bytes).unwrap();
        writer.commit().unwrap();
    }
    drop(store);
    here.run(&build()).unwrap();
    let asked: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert!(asked.contains(&"/archive-4.5.6.tar.gz".to_owned()) && !asked.contains(&"/tool-1.2.3".to_owned()), "{asked:?}");
    let (_other, _first, fresh) = site("first");
    fresh.run(&build()).unwrap();
    assert_eq!(image(&here), image(&fresh));
}
