//! The figures of a store's usage add up.

use super::*;
use crate::storage::store::gc::total;
use crate::storage::store::inventory::{Inventory, Liveness, Piece, Rest};
use crate::storage::store::usage::{Class, Tally, Usage};

fn piece(size: u64) -> Piece {
    Piece { path: format!("{size}").into(), size, used: 0 }
}

fn tally(count: u64, bytes: u64) -> Tally {
    Tally { count, bytes }
}

/// A root of a role with a plan, an image of that plan, and inputs.
fn root(role: &str, life: Liveness, plan: &str, inputs: &[&str]) -> (Root, Liveness, Piece) {
    let plan = Blob { digest: Sha256::of(plan), size: 1 };
    let current = Generation {
        history: History { plan, causes: None },
        actions: [("image".to_owned(), plan.digest)].into(),
        inputs: inputs.iter().map(Sha256::of).collect(),
    };
    let owner = Owner { project: None, channel: "debian".into(), role: role.parse().unwrap() };
    (Root { owner, current, previous: None, outputs: [].into() }, life, piece(7))
}

#[test]
fn every_byte_is_counted_once_in_a_class() {
    let mut inventory = Inventory {
        roots: vec![
            root("etcd", Liveness::Output, "plan", &["shared", "own"]),
            root("worker", Liveness::Dead, "old plan", &["shared", "old package"]),
        ],
        odd_roots: vec![piece(3)],
        claims: [(Sha256::of("plan"), piece(4))].into(),
        rest: vec![(Rest::Partial, piece(50)), (Rest::Stamp, piece(6))],
        ..Inventory::default()
    };
    for (n, name) in
        ["plan", "old plan", "shared", "own", "old package", "image", "old image", "loose", "by another name"].iter().enumerate()
    {
        inventory.blobs.insert(Sha256::of(name), piece(100 << n));
    }
    for (kind, key, output) in
        [("image", "plan", "image"), ("image", "old plan", "old image"), ("alias", "x", "by another name"), ("made", "y", "own")]
    {
        let outputs = [("out".to_owned(), Blob { digest: Sha256::of(output), size: 1 })].into();
        inventory.actions.insert((kind.to_owned(), Sha256::of(key)), (Some(Action { outputs }), piece(5)));
    }
    let usage = Usage::of(&inventory);
    let expected = [
        // An input that is also an unchanged output of an action remains an input.
        (Class::Input, tally(4, 400 + 800 + 1600 + 25_600), tally(2, 1600 + 25_600)),
        (Class::Output("image".into()), tally(2, 3200 + 6400), tally(1, 6400)),
        (Class::Plan, tally(2, 300), tally(1, 200)),
        (Class::Loose, tally(1, 12_800), tally(1, 12_800)),
        (Class::Entry, tally(8, 14 + 3 + 4 + 20), tally(4, 7 + 15)),
        (Class::Rest(Rest::Partial), tally(1, 50), tally(1, 50)),
        (Class::Rest(Rest::Stamp), tally(1, 6), tally(0, 0)),
    ];
    assert_eq!(usage.classes.into_iter().map(|(class, [all, unneeded])| (class, all, unneeded)).collect::<Vec<_>>(), expected);
    let usage = Usage::of(&inventory);
    assert_eq!(usage.total()[0].bytes, total(&inventory));
    let alone: Vec<_> = usage.roots.iter().map(|root| (root.owner.role.as_str(), root.life, root.alone, root.shared)).collect();
    assert_eq!(
        alone,
        [("etcd", Liveness::Output, 100 + 800 + 3200, 400), ("worker", Liveness::Dead, 200 + 1600 + 6400, 400)],
        "the plan, the input and the image are its own"
    );
}

#[test]
fn a_new_store_is_empty_but_for_nothing() {
    let (_dir, store) = fresh();
    assert_eq!(store.inventory().unwrap(), Inventory::default());
    assert_eq!(Usage::of(&store.inventory().unwrap()).total(), [Tally::default(); 2]);
}

#[test]
fn the_inventory_has_everything() {
    let (dir, store) = fresh();
    let (image, gone) = (store.insert(b"image").unwrap(), store.insert(b"gone").unwrap());
    let put = |key: &str, blob: Blob| {
        store.put_action("image", &Sha256::of(key), &Action { outputs: [("image".to_owned(), blob)].into() }).unwrap();
    };
    put("sound", image);
    put("without its blob", gone);
    fs::remove_file(store.path(&gone.digest)).unwrap();
    let unsound = store.root().join(format!("actions/image-{}.json", Sha256::of("unsound")));
    fs::write(unsound, "{}").unwrap();
    for (name, then) in [("kept", "image"), ("changed", "other"), ("gone", "")] {
        let out = dir.path().join(name);
        store.export(&image.digest, &out, 0o644).unwrap();
        fs::remove_file(&out).unwrap();
        match name {
            "kept" => store.export(&image.digest, &out, 0o644).unwrap(),
            "changed" => fs::write(&out, then).unwrap(),
            _ => {}
        }
    }
    fs::write(store.root().join("quarantine").join(gone.digest.to_string()), "damaged").unwrap();
    fs::create_dir_all(store.tmp().join("work-base-x/deep")).unwrap();
    fs::write(store.tmp().join("work-base-x/deep/file"), "12345").unwrap();
    fs::write(store.tmp().join("work-base-x/file"), "123").unwrap();
    std::os::unix::fs::symlink("/", store.tmp().join("work-base-x/link")).unwrap();

    let inventory = store.inventory().unwrap();
    assert_eq!(inventory.blobs.keys().copied().collect::<Vec<_>>(), [image.digest]);
    let said = |key: &str| inventory.actions[&("image".to_owned(), Sha256::of(key))].0.as_ref().map(|action| action.outputs["image"]);
    assert_eq!([said("sound"), said("without its blob"), said("unsound")], [Some(image), Some(gone), None]);
    let mut rest: Vec<_> = inventory.rest.iter().map(|(rest, piece)| (*rest, piece.size)).collect();
    rest.iter_mut().filter(|(rest, _)| matches!(rest, Rest::Stamp | Rest::StaleStamp)).for_each(|(_, size)| *size = 0);
    rest.sort();
    let expected = [(Rest::Quarantine, 7), (Rest::Stamp, 0), (Rest::StaleStamp, 0), (Rest::StaleStamp, 0), (Rest::Work, 8)];
    assert_eq!(rest, expected, "links are not followed");
}

#[test]
fn roots_are_live_with_their_project_or_an_output() {
    let (dir, store) = fresh();
    let (project, outputs) = (dir.path().join("project"), [dir.path().join("one"), dir.path().join("two")]);
    let plan = store.insert(b"plan").unwrap();
    let life = |with_project: bool, with_outputs: bool| {
        let (mut root, ..) = root("etcd", Liveness::Dead, "plan", &[]);
        root.current.history.plan = plan;
        root.owner.project = with_project.then(|| project.clone());
        root.outputs = if with_outputs { outputs.clone().into() } else { [].into() };
        store.put_root(&root).unwrap();
        let found = store.inventory().unwrap().roots;
        found.into_iter().find(|(found, ..)| *found == root).unwrap().1
    };
    let all = || [life(true, true), life(true, false), life(false, true), life(false, false)];
    assert_eq!(all(), [Liveness::Dead, Liveness::Dead, Liveness::Dead, Liveness::Awaited]);
    fs::create_dir_all(project.join("lockfiles")).unwrap();
    fs::write(project.join("lockfiles/upstream.lock"), "").unwrap();
    assert_eq!(all(), [Liveness::Dead, Liveness::Dead, Liveness::Dead, Liveness::Awaited], "another channel");
    fs::write(project.join("lockfiles/debian.lock"), "").unwrap();
    assert_eq!(all(), [Liveness::Project, Liveness::Project, Liveness::Dead, Liveness::Awaited]);
    fs::write(&outputs[1], "image").unwrap();
    assert_eq!(all(), [Liveness::Output, Liveness::Project, Liveness::Output, Liveness::Awaited]);
    // A path that cannot be checked counts as existing.
    let loop_ = dir.path().join("loop");
    std::os::unix::fs::symlink(&loop_, &loop_).unwrap();
    fs::remove_dir_all(&project).unwrap();
    std::os::unix::fs::symlink(&loop_, &project).unwrap();
    assert_eq!(life(true, false), Liveness::Project);
}
