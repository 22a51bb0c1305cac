//! The garbage collection: a live root loses nothing, no entry ever names a missing blob, and a second run changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::storage::store::gc::{Collection, Limits, Needed, PieceKind, plan, total};
use crate::storage::store::inventory::{Inventory, Liveness, Piece, Rest};

/// Test digest number `n`.
fn digest(n: u8) -> Sha256 {
    Sha256::of([n])
}

fn blob(n: u8) -> Blob {
    Blob { digest: digest(n), size: 1 }
}

fn piece(path: impl Into<PathBuf>, size: u64, used: i64) -> Piece {
    Piece { path: path.into(), size, used }
}

fn kind(n: u8) -> &'static str {
    ["image", "base", "made", "alias"][usize::from(n % 4)]
}

fn action(n: u8) -> (String, Sha256) {
    (kind(n).to_owned(), digest(n))
}

type WorldRoot = (Liveness, i64, u8, Vec<u8>, Vec<u8>);

/// An inventory of numbers, short enough for one line and for random generation.
#[derive(Debug, Clone, Default)]
struct World {
    /// Number, size, used.
    blobs: Vec<(u8, u64, i64)>,
    /// Number, used, blobs; no blobs if the entry is damaged.
    actions: Vec<(u8, i64, Option<Vec<u8>>)>,
    /// Liveness, used, plan, actions, inputs.
    roots: Vec<WorldRoot>,
    claims: Vec<(u8, i64)>,
    rest: Vec<(Rest, u64, i64)>,
}

impl World {
    fn inventory(&self) -> Inventory {
        let mut inventory = Inventory::default();
        for (n, (life, used, plan, actions, inputs)) in self.roots.iter().enumerate() {
            let owner = Owner { project: Some(format!("/p{n}").into()), channel: "debian".into(), role: "etcd".parse().unwrap() };
            let history = History { plan: blob(*plan), causes: None };
            let previous = plan.checked_sub(1).map(|plan| History { plan: blob(plan), causes: Some(blob(plan / 2)) });
            let current = Generation {
                history,
                actions: actions.iter().copied().map(action).collect(),
                inputs: inputs.iter().copied().map(digest).collect(),
            };
            let root = Root { owner, current, previous, outputs: BTreeSet::new() };
            inventory.roots.push((root, *life, piece(format!("roots/{n}"), 1, *used)));
        }
        for (n, used, outputs) in &self.actions {
            let outputs = outputs.as_ref().map(|blobs| blobs.iter().map(|n| (format!("out{n}"), blob(*n))).collect());
            let file = piece(format!("actions/{n}"), 1, *used);
            inventory.actions.insert(action(*n), (outputs.map(|outputs| Action { outputs }), file));
        }
        for (n, size, used) in &self.blobs {
            inventory.blobs.insert(digest(*n), piece(format!("blobs/{n}"), *size, *used));
        }
        for (n, used) in &self.claims {
            inventory.claims.insert(digest(*n), piece(format!("claims/{n}"), 1, *used));
        }
        for (n, (rest, size, used)) in self.rest.iter().enumerate() {
            inventory.rest.push((*rest, piece(format!("rest/{n}"), *size, *used)));
        }
        inventory
    }
}

fn paths(collection: &Collection) -> Vec<&str> {
    collection.removals.iter().map(|removal| removal.piece.path.to_str().unwrap()).collect()
}

#[test]
fn only_unneeded_pieces_are_removed() {
    let world = World {
        // 1 is the plan of the live root, 0 the previous one; 2 an input; 3 an image; 4 has an alias; 5 is unreferenced;
        // 6 belongs to the dead root, 7 is an output of an unreferenced action.
        blobs: (0..=7).map(|n| (n, 100, i64::from(n))).collect(),
        actions: vec![
            (0, 10, Some(vec![3])),
            (4, 11, Some(vec![6])),
            (3, 12, Some(vec![2])),
            (7, 13, Some(vec![7])),
            (8, 14, None),
            (1, 15, Some(vec![3, 9])),
        ],
        roots: vec![
            (Liveness::Project, 1, 1, vec![0, 1], vec![2]),
            (Liveness::Dead, 2, 5, vec![4], vec![6]),
            (Liveness::Output, 3, 4, vec![], vec![]),
            (Liveness::Awaited, 3, 4, vec![], vec![]),
        ],
        claims: vec![(1, 5), (5, 5)],
        rest: vec![
            (Rest::Partial, 10, 5),
            (Rest::Quarantine, 10, 5),
            (Rest::Stamp, 10, 5),
            (Rest::StaleStamp, 10, 5),
            (Rest::Lock, 0, 5),
            (Rest::Distrust, 10, 5),
            (Rest::Work, 10, 5),
        ],
    };
    let inventory = world.inventory();
    let gone = ["roots/1", "actions/4", "actions/7", "actions/8", "claims/5", "blobs/5", "blobs/6", "blobs/7"];
    let rest = ["rest/0", "rest/1", "rest/3", "rest/4", "rest/6"];
    let all = plan(&inventory, &Limits::default());
    assert_eq!(paths(&all), [&gone[..], &rest].concat());
    assert_eq!((all.spared, all.needed), (0, total(&inventory) - 5 - 3 * 100 - 40));

    // Useless within any limits: damaged entries, stamps of changed files, locks, work of dead processes.
    let rubbish = ["actions/8", "rest/3", "rest/4", "rest/6"];
    for limits in [
        Limits { used_since: Some(0), max_size: None },
        Limits { max_size: Some(1000), used_since: None },
        Limits { max_size: Some(0), used_since: Some(5) },
    ] {
        assert_eq!(paths(&plan(&inventory, &limits)), rubbish, "{limits:?}");
    }
}

#[test]
fn least_recently_used_goes_first_and_entries_before_their_blobs() {
    // Two dead builds, the second with a later use of its image; an old alias of a recently used blob.
    let world = World {
        blobs: vec![(1, 1, 0), (5, 1, 0), (10, 50, 10), (11, 50, 20), (12, 30, 0), (20, 40, 90)],
        actions: vec![(0, 40, Some(vec![10])), (4, 60, Some(vec![11])), (3, 5, Some(vec![20]))],
        roots: vec![(Liveness::Dead, 30, 1, vec![0], vec![12]), (Liveness::Dead, 35, 5, vec![4], vec![12])],
        claims: vec![],
        rest: vec![(Rest::Partial, 7, 50)],
    };
    let inventory = world.inventory();
    let all = total(&inventory);
    let first = ["roots/0", "actions/0", "blobs/1", "blobs/10"];
    for (max, gone) in [
        (all, vec![]),
        (all - 1, first[..1].to_vec()),
        (all - 2, first[..2].to_vec()),
        (all - 3, first[..3].to_vec()),
        (all - 4, first.to_vec()),
        (all - 53, first.to_vec()),
        (all - 54, [&first[..], &["rest/0"]].concat()),
        (all - 61, vec!["roots/0", "roots/1", "actions/0", "blobs/1", "blobs/10", "rest/0"]),
    ] {
        assert_eq!(paths(&plan(&inventory, &Limits { max_size: Some(max), used_since: None })), gone, "{}", all - max);
    }
    for (since, gone) in [
        (41, first.to_vec()),
        (51, [&first[..], &["rest/0"]].concat()),
        (61, vec!["roots/0", "roots/1", "actions/0", "actions/4", "blobs/1", "blobs/10", "blobs/11", "blobs/12", "blobs/5", "rest/0"]),
    ] {
        assert_eq!(paths(&plan(&inventory, &Limits { max_size: None, used_since: Some(since) })), gone, "{since}");
        assert_eq!(paths(&plan(&inventory, &Limits { max_size: Some(0), used_since: Some(since) })), gone, "{since}, and small");
    }
}

/// The inventory after the first `count` removals.
fn after(inventory: &Inventory, collection: &Collection, count: usize) -> Inventory {
    let gone: BTreeSet<&Path> = collection.removals[..count].iter().map(|removal| &*removal.piece.path).collect();
    let stays = |piece: &Piece| !gone.contains(&*piece.path);
    let mut left = inventory.clone();
    left.roots.retain(|(.., piece)| stays(piece));
    left.actions.retain(|_, (_, piece)| stays(piece));
    left.claims.retain(|_, piece| stays(piece));
    left.blobs.retain(|_, piece| stays(piece));
    left.rest.retain(|(_, piece)| stays(piece));
    left
}

/// Blobs named by entries that existed at first and are now gone.
fn dangling(first: &Inventory, now: &Inventory) -> usize {
    let all = Needed::by(now.roots.iter().map(|(root, ..)| root), now);
    let named = now.actions.values().filter_map(|(action, _)| action.as_ref()).flat_map(|action| action.outputs.values());
    let blobs: BTreeSet<Sha256> = named.map(|blob| blob.digest).chain(all.blobs).collect();
    let lost = blobs.iter().filter(|blob| first.blobs.contains_key(blob) && !now.blobs.contains_key(blob)).count();
    let plans: BTreeSet<Sha256> = now.roots.iter().map(|(root, ..)| root.current.history.plan.digest).collect();
    let claims = plans.iter().filter(|plan| first.claims.contains_key(plan) && !now.claims.contains_key(plan)).count();
    let sound = |inventory: &Inventory, name: &(String, Sha256)| inventory.actions.get(name).is_some_and(|(action, _)| action.is_some());
    lost + claims + all.actions.iter().filter(|name| sound(first, name) && !now.actions.contains_key(name)).count()
}

fn worlds() -> impl Strategy<Value = World> {
    let life = prop::sample::select(vec![Liveness::Output, Liveness::Project, Liveness::Awaited, Liveness::Dead, Liveness::Dead]);
    let rest =
        prop::sample::select(vec![Rest::Partial, Rest::Quarantine, Rest::Stamp, Rest::StaleStamp, Rest::Lock, Rest::Distrust, Rest::Work]);
    let some = |most| prop::collection::vec(0..16_u8, 0..most);
    let actions = prop::collection::btree_map(0..16_u8, (0..40_i64, prop::option::weighted(0.9, some(3))), 0..10);
    (
        prop::collection::btree_map(0..16_u8, (0..50_u64, 0..40_i64), 0..16),
        actions,
        prop::collection::vec((life, 0..40_i64, 0..16_u8, some(4), some(4)), 0..5),
        prop::collection::btree_map(0..16_u8, 0..40_i64, 0..3),
        prop::collection::vec((rest, 0..50_u64, 0..40_i64), 0..5),
    )
        .prop_map(|(blobs, actions, roots, claims, rest)| World {
            blobs: blobs.into_iter().map(|(n, (size, used))| (n, size, used)).collect(),
            actions: actions.into_iter().map(|(n, (used, blobs))| (n, used, blobs)).collect(),
            roots,
            claims: claims.into_iter().collect(),
            rest,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_collection_takes_nothing_that_is_needed_and_a_second_one_nothing(
        world in worlds(),
        max_size in prop::option::of(0..400_u64),
        used_since in prop::option::of(0..45_i64),
    ) {
        let (inventory, limits) = (world.inventory(), Limits { max_size, used_since });
        let collection = plan(&inventory, &limits);
        // Computed independently: everything that live roots name still exists.
        let mut names = BTreeMap::new();
        for (root, life, _) in inventory.roots.iter().filter(|(_, life, _)| *life != Liveness::Dead) {
            let current = &root.current;
            let given = current.actions.iter().filter_map(|name| inventory.actions.get(name)?.0.as_ref());
            let given = given.flat_map(|action| action.outputs.values().map(|blob| blob.digest));
            for blob in given.chain(current.inputs.iter().copied()).chain([current.history.plan.digest]) {
                names.insert(blob, *life);
            }
        }
        for removal in &collection.removals {
            match &removal.what {
                PieceKind::Blob(digest) => prop_assert!(!names.contains_key(digest), "{removal:?}"),
                PieceKind::Action(kind, key) => {
                    let name = (kind.clone(), *key);
                    let live = inventory.roots.iter().any(|(root, life, _)| *life != Liveness::Dead && root.current.actions.contains(&name));
                    prop_assert!(!live || inventory.actions[&name].0.is_none(), "{removal:?}");
                }
                PieceKind::Root(_) | PieceKind::Claim(_) | PieceKind::Rest(_) => {}
            }
        }
        // After a kill at any moment nothing names a missing blob.
        for count in 0..=collection.removals.len() {
            prop_assert_eq!(dangling(&inventory, &after(&inventory, &collection, count)), 0, "after {} of {:?}", count, collection.removals);
        }
        let left = after(&inventory, &collection, collection.removals.len());
        prop_assert_eq!(total(&left), collection.needed + collection.spared);
        prop_assert_eq!(plan(&left, &limits).removals, []);
        if max_size.is_none_or(|max| total(&left) > max) && used_since.is_none() {
            prop_assert_eq!(collection.spared, 0, "all that could go has gone");
        }
    }
}

/// A store opened exclusively.
fn alone(root: &Path) -> Store {
    Store::open(root, Access::Exclusive, &Cancel::new(), &|| {}).unwrap()
}

#[test]
fn a_collection_keeps_what_the_project_needs() {
    let dir = tempfile::tempdir().unwrap();
    let (root, project) = (dir.path().join("store"), dir.path().join("project"));
    let store = open(&root);
    let put = |name: &str| store.insert(name.as_bytes()).unwrap();
    let build = |role: &str, project: Option<&Path>, output: &str| {
        let plan = put(&format!("{role}'s plan"));
        let image = put(&format!("{role}'s image"));
        store.put_action("image", &plan.digest, &Action { outputs: [("image".to_owned(), image)].into() }).unwrap();
        let owner = Owner { project: project.map(Path::to_owned), channel: "debian".into(), role: role.parse().unwrap() };
        let current = Generation {
            history: History { plan, causes: None },
            actions: [("image".to_owned(), plan.digest)].into(),
            inputs: [put(&format!("{role}'s package")).digest].into(),
        };
        let output = dir.path().join(output);
        store.export(&image.digest, &output, 0o644).unwrap();
        store.put_root(&Root { owner, current, previous: None, outputs: [output].into() }).unwrap();
    };
    build("etcd", Some(&project), "etcd.qcow2");
    build("worker", None, "worker.qcow2");
    drop(store.plan_lock(&digest(1), &Cancel::new(), &|| {}).unwrap());
    let Claim::Ours(mut partial) = store.partial(&digest(9).into(), None).unwrap() else { panic!() };
    partial.put(b"begun").unwrap();
    drop(partial);
    let stranger = root.join("actions/README");
    fs::write(&stranger, "somebody's own").unwrap();
    fs::write(root.join("actions/.image-0.json.kbake-0"), "{").unwrap();
    fs::create_dir_all(store.tmp().join("left/deep")).unwrap();
    fs::write(store.tmp().join("left/deep/file"), "left").unwrap();
    fs::create_dir_all(root.join("quarantine/folder/deep")).unwrap();
    let error = store.gc(&Limits::default(), &Cancel::new(), &mut |_| {}).unwrap_err();
    assert_eq!(error.class(), Class::Internal, "others may be at work");
    drop(store);

    let collect = |limits: &Limits| {
        let (store, mut seen) = (alone(&root), Vec::new());
        let planned = store.plan_gc(&store.inventory().unwrap(), limits).unwrap();
        let done = store.gc(limits, &Cancel::new(), &mut |removal| seen.push(removal.clone())).unwrap();
        assert_eq!((&planned, &seen), (&done, &done.removals), "what is planned is done and told");
        seen.into_iter().map(|removal| removal.what).collect::<Vec<_>>()
    };
    // Both are live because of their outputs.
    let rest = |collected: &[PieceKind]| collected.iter().filter(|what| !matches!(what, PieceKind::Rest(_))).count();
    let first = collect(&Limits::default());
    assert_eq!(rest(&first), 0, "{first:?}");
    assert_eq!(first.len(), 5, "lock, download, an entry that was being written, work, what is in quarantine: {first:?}");
    assert_eq!([names(&root.join("tmp")), names(&root.join("quarantine"))], [[""; 0]; 2]);
    assert_eq!(collect(&Limits::default()), []);

    // One is live because of its project.
    for output in ["etcd.qcow2", "worker.qcow2"] {
        fs::remove_file(dir.path().join(output)).unwrap();
    }
    fs::create_dir_all(project.join("lockfiles")).unwrap();
    fs::write(project.join("lockfiles/debian.lock"), "").unwrap();
    assert_eq!(rest(&collect(&Limits { used_since: Some(0), max_size: None })), 0, "all was used since 1970");
    let second = collect(&Limits::default());
    assert_eq!(rest(&second), 5, "root, entry, plan, image and package: {second:?}");
    assert!(matches!(&second[0], PieceKind::Root(owner) if owner.role.as_str() == "worker"), "{second:?}");
    let store = open(&root);
    assert!(matches!(store.action("image", &Sha256::of("etcd's plan")), Lookup::Hit(_)));
    assert!(store.contains(&Sha256::of("etcd's package")).unwrap());
    drop(store);
    assert_eq!(collect(&Limits::default()), []);

    fs::remove_file(project.join("lockfiles/debian.lock")).unwrap();
    assert_eq!(rest(&collect(&Limits::default())), 5);
    assert_eq!(names(&root.join("blobs/sha256")), [""; 0]);
    assert_eq!(names(&root.join("actions")), ["README"], "a stranger's file stays");
}

#[test]
fn a_root_that_cannot_be_understood_keeps_everything() {
    let (_dir, store) = fresh();
    let root = store.root().to_owned();
    store.insert(b"perhaps needed").unwrap();
    let odd = root.join("roots").join(format!("{}.json", digest(1)));
    fs::write(&odd, "{}").unwrap();
    drop(store);
    let store = alone(&root);
    let error = store.gc(&Limits::default(), &Cancel::new(), &mut |_| {}).unwrap_err();
    assert_eq!(error.class(), Class::Integrity);
    assert!(error.to_string().contains(odd.to_str().unwrap()) && error.to_string().contains("kbake verify"), "{error}");
    assert_eq!(names(&root.join("blobs/sha256")).len(), 1);
    fs::remove_file(odd).unwrap();
    assert_eq!(store.gc(&Limits::default(), &Cancel::new(), &mut |_| {}).unwrap().removals.len(), 1);
}

#[test]
fn a_stopped_collection_is_gone_on_with() {
    let (_dir, store) = fresh();
    let root = store.root().to_owned();
    for n in 0..9 {
        store.insert(&[n]).unwrap();
    }
    drop(store);
    let (store, cancel) = (alone(&root), Cancel::new());
    let mut count = 0;
    let stopped = store.gc(&Limits::default(), &cancel, &mut |_| {
        count += 1;
        cancel.flag().store(count == 4, Ordering::SeqCst);
    });
    assert_eq!(stopped.unwrap_err().class(), Class::Interrupted);
    assert_eq!(names(&root.join("blobs/sha256")).len(), 5);
    assert_eq!(store.gc(&Limits::default(), &Cancel::new(), &mut |_| {}).unwrap().removals.len(), 5);
}
