//! Proofs and explanations that install nothing, on loopback: damage of each stored object is found and repaired (here), the reasons of
//! a changed plan and the differences of two revisions (`explain.rs`), the audit of an image (`audit.rs`).

mod audit;
mod explain;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kbake::project::Project;
use kbake::project::{Extraction, PlannedKind};
use kbake::store::{Access, Action, Blob, ImageClaim, Store};
use kbake::value::{Cancel, Sha256};

use crate::support::shared::packages::{deb, tar};
use crate::support::site::{self, ONE, Site, TOOL, TWO, contents, fetched, mirror, says, store_of};
use crate::support::web::{Answer, Web};

fn open(site: &Site) -> Store {
    Store::open(&store_of(site), Access::Shared, &Cancel::new(), &|| ()).unwrap()
}

fn resolved(site: &Site) -> kbake::Resolved {
    let project = Project::find(Some(site.dir.path()), site.dir.path()).unwrap();
    let channel = project.channel("debian").unwrap();
    kbake::resolve(&project, &channel, &project.role("etcd").unwrap(), &Cancel::new()).unwrap()
}

/// Exit code and stdout; stderr behind it.
fn run(site: &Site, args: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = site.kbake(args).output().unwrap();
    (status.code().unwrap(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

#[track_caller]
fn ends(code: i32, said: (i32, String), words: &[&str]) -> String {
    assert_eq!(said.0, code, "{}", said.1);
    says(&said.1, words);
    said.1
}

/// Overwrites a file of the store, which has no write permission.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Damage that a disk may do to a file's bytes.
type Harm = fn(&mut Vec<u8>);

const DAMAGES: [(&str, Harm); 4] = [
    ("a flipped bit", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
    }),
    ("truncated", |bytes| bytes.truncate(bytes.len() / 2)),
    ("zeroed", |bytes| bytes.fill(0)),
    ("emptied", Vec::clear),
];

/// The one file in a folder of the store whose name begins so.
fn only(site: &Site, folder: &str, start: &str) -> PathBuf {
    let files = fs::read_dir(store_of(site).join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<PathBuf> = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(start)).collect();
    assert_eq!(found.len(), 1, "{folder}/{start}: {found:?}");
    found[0].clone()
}

#[test]
fn damage_of_every_stored_object_is_found_named_and_mended() {
    let (site, web) = fetched();
    ends(0, run(&site, &["verify"]), &["5 blobs with ", "1 root and 0 claims compared"]);
    let root = open(&site).roots().unwrap().remove(0);
    let package = Sha256::of(contents(TWO));
    let (plan, causes) = (root.current.history.plan.digest, root.current.history.causes.unwrap().digest);
    let project = site.dir.path().display().to_string();
    for (what, damage) in DAMAGES {
        for (digest, needed, offline, how) in [
            (package, format!("needed by package two of etcd (channel debian, {project})"), false, "fetched again"),
            (plan, format!("needed by the history of etcd (channel debian, {project})"), true, "written again"),
            (causes, "needed by the history of etcd".to_owned(), true, "written again"),
        ] {
            let path = store_of(&site).join("blobs/sha256").join(digest.to_string());
            let sound = fs::read(&path).unwrap();
            let mut bytes = sound.clone();
            damage(&mut bytes);
            overwrite(&path, &bytes);
            let found = format!("sha256:{}", Sha256::of(&bytes));
            let said = ends(
                4,
                run(&site, &["verify"]),
                &[&format!("damaged   blob sha256:{digest}"), &found, &needed, "error: the store is damaged: 1 problem", "--repair"],
            );
            assert!(!said.contains("an input of"), "its root and its project need one package: {said}");
            assert!(!path.exists(), "{what}: nobody can read it");
            assert_eq!(fs::read(store_of(&site).join("quarantine").join(digest.to_string())).unwrap(), bytes);
            // The next `verify` still misses it; `--repair` takes it from local data where it can.
            ends(4, run(&site, &["verify"]), &[&format!("damaged   blob sha256:{digest}: it is not there")]);
            let mended = run(&site, &["verify", "--repair", "--offline"]);
            match offline {
                true => _ = ends(0, mended, &[&format!("repaired  blob sha256:{digest}"), how]),
                false => {
                    ends(4, mended, &[&format!("failed    blob sha256:{digest}"), "missing in the store"]);
                    let asked = || web.requests().iter().filter(|request| request.path == format!("/{TWO}")).count();
                    let before = asked();
                    ends(0, run(&site, &["verify", "--repair", "--mirror", &web.base]), &["repaired  blob", how]);
                    assert_eq!(asked(), before + 1, "{what}: fetched once");
                }
            }
            assert_eq!(fs::read(&path).unwrap(), sound, "{what}");
            ends(0, run(&site, &["verify"]), &["5 blobs"]);
        }
    }
}

#[test]
fn unsound_entries_and_roots_are_removed() {
    let (site, _web) = fetched();
    let store = open(&site);
    let key = resolved(&site).plan.base_key();
    let blob = store.insert(b"a tree").unwrap();
    store.put_action("base", &key, &Action { outputs: [("tree".to_owned(), blob)].into() }).unwrap();
    for (folder, start, kind) in [("actions", "base-", "entry actions/base-"), ("roots", "", "root roots/")] {
        for (what, damage) in DAMAGES {
            let path = only(&site, folder, start);
            let sound = fs::read(&path).unwrap();
            let mut bytes = sound.clone();
            damage(&mut bytes);
            overwrite(&path, &bytes);
            ends(4, run(&site, &["verify"]), &[&format!("damaged   {kind}"), "it is removed"]);
            assert!(!path.exists(), "{what}");
            ends(0, run(&site, &["verify"]), &[]);
            fs::write(&path, &sound).unwrap();
        }
    }
    // A renamed entry has a right checksum, and the blobs of another action.
    let path = only(&site, "actions", "base-");
    fs::rename(&path, path.with_file_name(format!("base-{}.json", Sha256::of("other")))).unwrap();
    ends(4, run(&site, &["verify"]), &["damaged   entry actions/base-", "its checksum does not match"]);
}

#[test]
fn what_nobody_needs_is_dropped_and_what_is_gone_for_good_is_said() {
    let (site, web) = fetched();
    let store = open(&site);
    let stray = store.insert(b"nobody's").unwrap();
    overwrite(&store.path(&stray.digest), b"nobody'S");
    ends(4, run(&site, &["verify"]), &["nothing known needs it"]);
    let stray = store.insert(b"nobody's").unwrap();
    overwrite(&store.path(&stray.digest), b"nobody'S");
    ends(0, run(&site, &["verify", "--repair", "--offline"]), &["dropped   blob", "nothing known needs it any more"]);
    // An input of an earlier plan, whose lockfile has changed.
    site.write("recipes/roles/etcd.toml", "description = \"a role\"\n");
    site.lock(&[(ONE, &contents(ONE)), (TOOL, &contents(TOOL))]);
    overwrite(&store.path(&Sha256::of(contents(TWO))), b"");
    ends(4, run(&site, &["verify"]), &["an input of etcd"]);
    ends(0, run(&site, &["verify", "--repair", "--mirror", &web.base]), &["dropped   blob"]);
    ends(0, run(&site, &["verify"]), &[]);
    // The same where the project is gone altogether.
    fs::remove_dir_all(site.path("recipes")).unwrap();
    overwrite(&store.path(&Sha256::of(contents(ONE))), b"x");
    ends(0, run(&site, &["verify", "--repair", "--offline"]), &["dropped   blob"]);
    ends(0, run(&site, &["verify"]), &[]);
}

#[test]
fn a_lost_plan_costs_no_root_of_a_project_that_is_there() {
    let (site, _web) = fetched();
    let store = open(&site);
    let old = store.roots().unwrap().remove(0);
    let plan = old.current.history.plan.digest;
    let image = store.insert(b"an image").unwrap();
    store.put_action("image", &plan, &Action { outputs: [("image".to_owned(), image), ("tree".to_owned(), image)].into() }).unwrap();
    let [path, causes] = [plan, old.current.history.causes.unwrap().digest].map(|digest| store.path(&digest));
    let inputs: Vec<PathBuf> = old.current.inputs.iter().map(|digest| store.path(digest)).collect();
    let (recipe, lock) = (site.read("recipes/roles/etcd.toml"), site.read("lockfiles/debian.lock"));
    drop(store);
    let repair = |code: i32, words: &[&str]| ends(code, run(&site, &["verify", "--repair", "--offline"]), words);
    let stays = |when: &str| {
        site.succeeds(&["gc"]);
        assert!(inputs.iter().all(|input| input.exists()), "{when}: an input is gone");
        assert!(open(&site).contains(&image.digest).unwrap(), "{when}: the image is gone");
    };

    // A project that cannot be resolved at the moment keeps its root, with a message.
    fs::remove_file(&path).unwrap();
    site.write("lockfiles/debian.lock", "<<<<<<< a merge\n");
    repair(4, &[&format!("failed    blob sha256:{plan}"), "the plan of etcd (channel debian, ", "cannot be written again: "]);
    assert_eq!(open(&site).roots().unwrap(), std::slice::from_ref(&old));
    stays("not resolved");
    site.write("lockfiles/debian.lock", &lock);
    repair(0, &[&format!("repaired  blob sha256:{plan}"), "written again"]);
    assert_eq!(open(&site).roots().unwrap(), std::slice::from_ref(&old));

    // The project has another plan by now.
    fs::remove_file(&path).unwrap();
    fs::remove_file(&causes).unwrap();
    site.write("recipes/roles/etcd.toml", &format!("{recipe}\n[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\"\n"));
    repair(0, &[&format!("dropped   blob sha256:{plan}")]);
    let now = open(&site).roots().unwrap().remove(0);
    assert_eq!(now.current.history.plan.digest, resolved(&site).plan.key());
    assert_eq!((&now.current.inputs, &now.current.actions), (&old.current.inputs, &old.current.actions));
    assert_eq!((now.previous, &now.outputs), (None, &old.outputs));
    stays("another plan");
    ends(0, run(&site, &["verify"]), &[]);
    // The needs of the current plan are recorded as soon as it is fetched or built.
    site.succeeds(&["fetch", "etcd", "--offline"]);
    let key = ("image".to_owned(), resolved(&site).plan.key());
    assert!(open(&site).roots().unwrap().remove(0).current.actions.contains(&key));

    // The project no longer needs it.
    fs::remove_file(open(&site).path(&key.1)).unwrap();
    fs::remove_dir_all(site.path("recipes")).unwrap();
    repair(0, &[&format!("dropped   blob sha256:{}", key.1)]);
    assert_eq!(open(&site).roots().unwrap(), []);
}

const PROG: &str = "pool/main/p/prog/prog_1_all.deb";

/// A project that takes one file out of a package.
fn with_member() -> (Site, Web, Vec<u8>) {
    let (site, web) = (Site::new(), Web::start());
    let bytes = deb("Package: prog\n", &tar(&[("./usr/", tar::EntryType::Directory, ""), ("./usr/prog", tar::EntryType::Regular, "")]));
    let sources = site.read("recipes/sources/debian.toml");
    site.write(
        "recipes/sources/debian.toml",
        &format!("{sources}\n[artifact.prog]\npackage = \"prog\"\nmember = \"usr/prog\"\ninstall = \"/usr/bin/prog\"\n"),
    );
    site.write("recipes/roles/etcd.toml", "description = \"a role\"\npackages = [\"two\"]\nartifacts = [\"prog\"]\n");
    site.lock(&[(ONE, &contents(ONE)), (TWO, &contents(TWO)), (TOOL, &contents(TOOL)), (PROG, &bytes)]);
    mirror(&web, &[ONE, TWO, TOOL]);
    web.answer(PROG, Answer::File(bytes.clone()));
    site.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
    (site, web, bytes)
}

#[test]
fn an_entry_with_a_right_check_sum_that_lies_is_found_by_deriving_it_again() {
    let (site, _web, _) = with_member();
    let plan = resolved(&site).plan;
    let made = plan.files().values().find_map(|node| match &node.kind {
        PlannedKind::Extraction(made @ Extraction::File(_)) => Some(made.clone()),
        _ => None,
    });
    let made = made.expect("the member of the package");
    let store = open(&site);
    let file = |blob: Blob| Action { outputs: [("file".to_owned(), blob)].into() };
    let (right, wrong) = (store.insert(b"#!/bin/sh\n").unwrap(), store.insert(b"#!/bin/evil\n").unwrap());
    let image = Action { outputs: [("image".to_owned(), wrong), ("tree".to_owned(), wrong)].into() };
    store.put_action("made", &made.key(), &file(right)).unwrap();
    ends(0, run(&site, &["verify"]), &["1 derived again"]);
    store.put_action("made", &made.key(), &file(wrong)).unwrap();
    store.put_action("image", &plan.key(), &image).unwrap();
    let said = ends(
        4,
        run(&site, &["verify"]),
        &[
            &format!("damaged   entry actions/made-{}", made.key()),
            &format!("it names sha256:{}", wrong.digest),
            &format!("gives sha256:{}", right.digest),
            "needed by /usr/bin/prog of etcd",
            &format!("entry actions/image-{}", plan.key()),
            "it may have been built from a wrong file",
        ],
    );
    assert!(said.contains("2 problems") && !said.contains("a file of etcd"), "its root and its project need one file: {said}");
    for (kind, key) in [("made", made.key()), ("image", plan.key())] {
        assert!(!store_of(&site).join(format!("actions/{kind}-{key}.json")).exists());
    }
    ends(0, run(&site, &["verify"]), &[]);
    // The repaired entry is right; no root that was built needs the image.
    store.put_action("made", &made.key(), &file(wrong)).unwrap();
    ends(0, run(&site, &["verify", "--repair", "--offline"]), &["repaired  entry actions/made-", "rebuilt"]);
    let kbake::store::Lookup::Hit(action) = store.action("made", &made.key()) else { panic!("it was made again") };
    assert_eq!(action.outputs["file"], right);
}

#[test]
fn what_bundles_said_and_what_lies_below_are_looked_at_too() {
    let (site, _web) = fetched();
    let [plan, tree, image] = ["plan", "tree", "image"].map(Sha256::of);
    let claim = {
        let store = open(&site);
        store.put_claim(&ImageClaim { plan, tree, image }).unwrap();
        store.claim_path(&plan)
    };
    ends(0, run(&site, &["verify"]), &["1 root and 1 claim compared"]);
    let sound = fs::read_to_string(&claim).unwrap();
    let changed = sound.replacen(&image.to_string(), &tree.to_string(), 1);
    overwrite(&claim, changed.as_bytes());
    // Neither run drops the claim: without it any image of the plan would be accepted.
    for args in [&["verify"][..], &["verify", "--repair", "--offline"]] {
        ends(4, run(&site, args), &[&format!("claim claims/{plan}.json: its checksum is wrong; import the bundle again")]);
        assert_eq!(fs::read_to_string(&claim).unwrap(), changed);
    }
    overwrite(&claim, sound.as_bytes());

    // A store above this one finds the damage below, does not change it, and no longer uses it.
    let path = store_of(&site).join("blobs/sha256").join(Sha256::of(contents(TWO)).to_string());
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    overwrite(&path, &bytes);
    let (upper, below) = (site.path("upper").display().to_string(), store_of(&site).display().to_string());
    let over = |args: &[&str]| run(&site, &[&["--store", &upper, "--lower-store", &below], args].concat());
    drop(Store::open(Path::new(&upper), Access::Shared, &Cancel::new(), &|| ()).unwrap());
    ends(4, over(&["verify"]), &[&format!("damaged   blob {}", path.display()), "it is no longer used"]);
    assert_eq!(fs::read(&path).unwrap(), bytes);
    ends(0, over(&["verify"]), &["hashed"]);
    ends(3, over(&["fetch", "etcd", "--offline"]), &["1 artifact is missing in the store"]);
}
