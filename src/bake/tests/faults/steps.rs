//! Each verb, disturbed at each single change of the disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::check::Contents;
use super::site::{Site, Verb, copy};
use super::world::World;
use crate::error::Class;
use crate::fetch::tests::server::Server;
use crate::fsx::fault::{self, Fault};

/// A verb, and the folder that it finds.
struct Case {
    verb: Verb,
    server: Server,
    prepared: tempfile::TempDir,
    /// What an undisturbed run leaves.
    right: Contents,
    /// What it changes, in order.
    changes: Vec<(&'static str, PathBuf)>,
}

impl Case {
    /// `prepare` brings a site that has only its project to where the verb begins.
    fn new(verb: Verb, prepare: impl FnOnce(&Site, &World)) -> Case {
        Case { verb, ..Case::prepared(prepare) }.finished()
    }

    fn prepared(prepare: impl FnOnce(&Site, &World)) -> Case {
        let world = World::of("first");
        let server = world.serve();
        let prepared = tempfile::tempdir().unwrap();
        world.settle(&prepared.path().join("project"));
        prepare(&Site::new(prepared.path(), &server), &world);
        Case { verb: Verb::Gc, server, prepared, right: Contents::default(), changes: Vec::new() }
    }

    /// Runs the verb undisturbed.
    fn finished(mut self) -> Case {
        let (_dir, site) = self.site();
        let (done, changes) = fault::trace(&site.dir, || site.run(&self.verb));
        done.unwrap();
        self.right = Contents::settled(&site, "undisturbed");
        self.changes = changes;
        self
    }

    /// A fresh site.
    fn site(&self) -> (tempfile::TempDir, Site) {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        copy(self.prepared.path(), &work);
        let site = Site::new(&work, &self.server);
        (dir, site)
    }

    /// The next run has no flags, and nothing to do with the one before.
    fn heals(&self, site: &Site, when: &str) {
        site.run(&self.verb).unwrap_or_else(|e| panic!("{when}: the next run fails: {e}"));
        let found = Contents::settled(site, when);
        assert!(found == self.right, "{when}: not what an undisturbed run leaves:\n{found:#?}\n{:#?}", self.right);
    }

    /// The changes after which to disturb: all, but of a run of plain writes to one file only some.
    fn places(&self) -> Vec<u32> {
        let mut places = Vec::new();
        let mut nth = 0;
        for (n, change) in self.changes.iter().enumerate() {
            nth = if n > 0 && self.changes[n - 1] == *change && change.0 == "write" { nth + 1 } else { 0 };
            if nth < 3 || nth % 4 == 0 {
                places.push(n as u32);
            }
        }
        places
    }

    /// Ends a process in this way at each place.
    fn ends(&self, end: &str) -> usize {
        let mut killed = 0;
        for steps in self.places() {
            let (kind, path) = &self.changes[steps as usize];
            if end == "torn" && !["write", "copy"].contains(kind) {
                continue;
            }
            let when = format!("{:?}: {end} before change {steps}, {kind} {}", self.verb, path.display());
            let (_dir, site) = self.site();
            assert!(site.killed(&self.verb, steps, end), "{when}: it was not killed");
            killed += 1;
            Contents::disturbed(&site, &self.right, &when);
            self.heals(&site, &when);
        }
        killed
    }

    /// Lets the disk fail in this way at each change.
    fn fails(&self, fault: Fault) -> usize {
        let mut met = 0;
        for steps in 0..self.changes.len() as u32 {
            let (kind, path) = &self.changes[steps as usize];
            let when = format!("{:?}: {fault:?} at change {steps}, {kind} {}", self.verb, path.display());
            let (_dir, site) = self.site();
            fault::after(&site.dir, steps, fault);
            let result = site.run(&self.verb);
            if !fault::clear(&site.dir) {
                result.unwrap();
                continue;
            }
            met += 1;
            match (&result, fault) {
                (Err(error), Fault::NoSpace) => assert_eq!(error.class(), Class::NoSpace, "{when}: {error}"),
                (Err(error), _) => assert!(error.to_string().contains("Input/output error"), "{when}: {error}"),
                // Only what would be a file too many may go wrong unnoticed.
                (Ok(()), Fault::Io) if *kind == "remove" || *kind == "resize" => {}
                (Ok(()), _) => panic!("{when}: nobody noticed"),
            }
            Contents::disturbed(&site, &self.right, &when);
            self.heals(&site, &when);
        }
        met
    }
}

fn roles(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// A store with a part of the archive, as an interrupted download leaves it.
fn half(site: &Site, world: &World) {
    let archive = world.thing("archive-4.5.6.tar.gz");
    let mut digest = crate::value::Hasher512::new();
    digest.update(archive);
    drop(site.open().unwrap());
    fs::write(site.store().join(format!("tmp/partial-{}", digest.finish())), &archive[..archive.len() / 2]).unwrap();
}

fn fetch() -> Case {
    Case::new(Verb::Fetch(roles(&["alpha"])), half)
}

fn build() -> Case {
    Case::new(Verb::Build(roles(&["alpha"])), |site, _| site.run(&Verb::Fetch(roles(&["alpha"]))).unwrap())
}

/// Of a role whose inputs and image nobody has here; `expected` when its image is to be believed.
fn import(expected: bool) -> Case {
    let mut digest = None;
    let prepare = |site: &Site, _: &World| {
        digest = Some(site.pack("beta").unwrap());
        fs::remove_dir_all(site.store()).unwrap();
    };
    // The digest is known only once the bundle is written.
    let case = Case::prepared(prepare);
    Case { verb: Verb::Import(digest.filter(|_| expected)), ..case }.finished()
}

/// Beside what is needed, the store has a role whose project is gone, and all sorts of leftovers.
fn gc() -> Case {
    Case::new(Verb::Gc, |site, world| {
        site.run(&Verb::Build(roles(&["alpha", "beta"]))).unwrap();
        half(site, world);
        fs::write(site.store().join("quarantine").join("0".repeat(64)), "damaged").unwrap();
        // Whoever has nothing but its store:
        let gone = Site { dir: site.dir.join("gone"), ..site.clone() };
        fs::create_dir(&gone.dir).unwrap();
        std::os::unix::fs::symlink(site.store(), gone.store()).unwrap();
        World::of("second").settle(&gone.dir.join("project"));
        let server = World::of("second").serve();
        Site { base: server.base(), ..gone.clone() }.run(&Verb::Build(roles(&["alpha", "gamma"]))).unwrap();
        fs::remove_dir_all(&gone.dir).unwrap();
    })
}

#[test]
fn what_the_verbs_change() {
    for case in [fetch(), build(), import(false), import(true), gc()] {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        case.changes.iter().for_each(|(kind, _)| *kinds.entry(kind).or_default() += 1);
        println!("{:?}: {} changes, {} places: {kinds:?}", case.verb, case.changes.len(), case.places().len());
        case.changes.iter().for_each(|(kind, path)| println!("  {kind} {}", short(path)));
    }
}

fn short(path: &Path) -> String {
    path.display().to_string().chars().take(60).collect()
}
