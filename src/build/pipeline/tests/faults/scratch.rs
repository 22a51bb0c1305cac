//! Clean rebuilds that check a store, while other commands run and other programs remove their files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::check::Contents;
use super::site::{Site, Verb, folder};
use super::world::{self, World};
use crate::build::pipeline::install;
use crate::build::{Bake, Baked, Checked, Resolved};
use crate::common::error::{Class, Error, Result};
use crate::common::fsx;
use crate::common::testing::shared::server::Server;
use crate::common::tree::Tree;
use crate::formats::archive::Sink;

/// A change to the store of a clean rebuild at the given path, once its base is there.
type Meddle<'a> = &'a dyn Fn(&Path);

/// A site with an image.
struct Built {
    _server: Server,
    dir: tempfile::TempDir,
    site: Site,
}

impl Built {
    fn new() -> Built {
        let world = World::of("first");
        let (server, dir) = (world.serve(), folder());
        world.settle(&dir.path().join("project"));
        let site = Site::new(dir.path(), &server);
        site.run(&Verb::Build(vec!["alpha".to_owned()])).unwrap();
        Built { _server: server, dir, site }
    }

    fn keep(&self) -> PathBuf {
        self.dir.path().join("alpha.check.qcow2")
    }

    /// `kbake build alpha --check`, with this base.
    fn check(&self, base: fn(&mut dyn Sink) -> Result<Tree>, meddle: Meddle<'_>) -> Result<Checked> {
        let found = std::cell::RefCell::new(None);
        self.site.together(&["alpha"], 1, |bake, all| {
            let resolved: &Resolved = &all[0];
            let baked = bake.image(resolved)?;
            let make = |bake: &Bake| -> Result<Baked> {
                bake.base_by(resolved, |bake, _| install::pack(bake, base))?;
                meddle(bake.store.root());
                bake.image(resolved)
            };
            *found.borrow_mut() = Some(bake.check_by(resolved, &baked, &self.keep(), &make)?);
            Ok(())
        })?;
        found.into_inner().ok_or_else(|| Error::internal("nothing was checked"))
    }
}

/// A base that differs from the store's: from a faulty host, or from files that were removed during the build.
fn other_base(sink: &mut dyn Sink) -> Result<Tree> {
    let mut tree = world::base(sink)?;
    let program = crate::common::value::TreePath::fixed("usr/bin/program");
    tree.meta_mut(&program).ok_or_else(|| Error::internal("the base has no program"))?.mode = 0o700;
    Ok(tree)
}

fn nothing(_: &Path) {}

#[test]
fn a_check_keeps_its_folder_while_other_commands_come_and_go() {
    let built = Built::new();
    for round in 0..5 {
        let checked = built.check(world::base, &|root| {
            // Each command cleans up first.
            (0..3).for_each(|_| drop(built.site.open().unwrap()));
            assert!(root.join("format").exists(), "round {round}");
        });
        assert!(matches!(checked.unwrap(), Checked::Same { .. }), "round {round}");
        let left = super::check::names(&built.site.store().join("tmp"));
        assert_eq!(left, [""; 0], "round {round}");
    }
}

#[test]
fn a_check_holds_beside_many_processes() {
    let built = Built::new();
    let before = Contents::settled(&built.site, "before");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for n in 0..2 {
            let (site, done) = (&built.site, &done);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let verb = if n == 0 { Verb::Fetch(vec!["alpha".to_owned()]) } else { Verb::Build(vec!["alpha".to_owned()]) };
                    assert!(site.spawn(&verb, u32::MAX, "kill").wait_with_output().unwrap().status.success(), "{verb:?}");
                }
            });
        }
        let checks: Vec<_> = (0..8).map(|_| built.check(world::base, &nothing)).collect();
        done.store(true, Ordering::SeqCst);
        for checked in checks {
            assert!(matches!(checked.unwrap(), Checked::Same { .. }));
        }
    });
    assert!(Contents::settled(&built.site, "after") == before, "the store is as it was");
}

#[test]
fn a_check_whose_work_was_disturbed_does_not_accuse_the_store() {
    let first = |folder: PathBuf| folder.join(&super::check::names(&folder)[0]);
    let meddlers: [(&str, Meddle<'_>); 6] = [
        ("its folder is gone", &|root| fs::remove_dir_all(root).unwrap()),
        ("another folder is in its place", &|root| {
            fs::rename(root, root.with_extension("away")).unwrap();
            super::site::copy(&root.with_extension("away"), root);
        }),
        ("what is in it is gone", &|root| fsx::empty_dir(root).unwrap()),
        ("a blob has other bytes", &|root| {
            for name in super::check::names(&root.join("blobs/sha256")) {
                let path = root.join("blobs/sha256").join(name);
                let mut bytes = fs::read(&path).unwrap();
                if let Some(last) = bytes.last_mut() {
                    *last ^= 1;
                }
                fsx::write_atomic(&path, 0o444, &bytes).unwrap();
            }
        }),
        ("its blobs are gone", &|root| fsx::empty_dir(&root.join("blobs/sha256")).unwrap()),
        ("an entry is damaged", &|root| fs::write(first(root.join("actions")), "{}").unwrap()),
    ];
    for (what, meddle) in meddlers {
        // With a base that would blame the store, and with the right one.
        for base in [other_base, world::base] {
            let built = Built::new();
            let before = Contents::settled(&built.site, what);
            match built.check(base, meddle) {
                Ok(Checked::Same { .. }) => {}
                Ok(Checked::Differs(differs)) => panic!("{what}: {differs:?}"),
                Err(error) => {
                    assert_eq!(error.class(), Class::User, "{what}: {error}");
                    assert!(!error.to_string().contains("does not reproduce"), "{what}: {error}");
                }
            }
            assert!(Contents::settled(&built.site, what) == before, "{what}: the store is as it was");
            assert!(!built.keep().exists(), "{what}");
        }
    }
}

#[test]
fn an_undisturbed_check_reports_a_wrong_store() {
    let built = Built::new();
    let Checked::Differs(differs) = built.check(other_base, &nothing).unwrap() else { panic!("the bases differ") };
    assert!(differs.cached != differs.fresh && built.keep().exists() && !differs.entries.is_empty(), "{differs:?}");
}

#[test]
fn entries_may_be_lost_at_any_time() {
    let world = World::of("first");
    let (server, dir) = (world.serve(), folder());
    world.settle(&dir.path().join("project"));
    let maker = Site::new(dir.path(), &server);
    maker.run(&Verb::Fetch(vec!["alpha".to_owned()])).unwrap();
    maker.run(&Verb::Build(vec!["alpha".to_owned()])).unwrap();
    let digest = maker.pack("alpha").unwrap();
    let other = folder();
    let taker = Site::new(other.path(), &server);
    fs::copy(maker.bundle(), taker.bundle()).unwrap();
    // One site built the image, the other only imported it: trusted, or as a claim.
    for (site, expect, when) in
        [(&maker, None, "of its own bundle"), (&taker, None, "of a claim"), (&taker, Some(digest), "of a bundle that is believed")]
    {
        site.run(&Verb::Import(expect)).unwrap();
        assert_eq!(site.verify_store().unwrap(), [], "{when}");
        let actions = site.store().join("actions");
        let kept = other.path().join("kept");
        fsx::remove_dir_all(&kept).unwrap();
        super::site::copy(&actions, &kept);
        for name in super::check::names(&actions) {
            fs::remove_file(actions.join(&name)).unwrap();
            assert_eq!(site.verify_store().unwrap(), [], "{when}: without {name}");
            fs::copy(kept.join(&name), actions.join(&name)).unwrap();
        }
        fs::remove_dir_all(&actions).unwrap();
        assert_eq!(site.verify_store().unwrap(), [], "{when}: without all of them");
        site.run(&Verb::Gc).unwrap();
        assert_eq!(site.verify_store().unwrap(), [], "{when}: without all of them, collected");
        // A lost blob is reported differently.
        site.run(&Verb::Import(expect)).unwrap();
        let inputs = site.open().unwrap().roots().unwrap().into_iter().find(|root| root.owner.project == Some(site.taken()));
        let lost = inputs.unwrap().current.inputs.into_iter().next().unwrap();
        fsx::remove(&site.open().unwrap().path(&lost)).unwrap();
        assert_eq!(site.verify_store().unwrap(), [crate::build::upkeep::findings::Damaged::Missing(lost)], "{when}");
        site.run(&Verb::Import(expect)).unwrap();
    }
}
