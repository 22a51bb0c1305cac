//! Each command, disturbed at each single change of the disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::check::Contents;
use super::site::{Site, Verb, copy, folder};
use super::world::World;
use crate::common::error::Class;
use crate::common::fsx::fault::{self, ENDS, Fault};
use crate::common::testing::shared::server::Server;

/// This environment variable disturbs every change; that takes minutes.
const THOROUGH: &str = "KBAKE_TEST_FAULTS_ALL";
/// One in so many changes of a sort is disturbed.
const STRIDE: u32 = 6;

/// The changes to disturb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    All,
    /// The first of each sort, and one in [`STRIDE`] of the others, offset by this number.
    Some(u32),
}

/// A command and its initial folder.
struct Case {
    verb: Verb,
    server: Server,
    prepared: tempfile::TempDir,
    /// The contents before the command.
    before: Contents,
    /// The contents after an undisturbed run.
    right: Contents,
    /// The changes of an undisturbed run, in order.
    changes: Vec<(&'static str, PathBuf)>,
}

impl Case {
    /// `prepare` brings a site that has only its project into the command's initial state.
    fn new(verb: Verb, prepare: impl FnOnce(&Site, &World)) -> Case {
        Case { verb, ..Case::prepared(prepare) }.finished()
    }

    fn prepared(prepare: impl FnOnce(&Site, &World)) -> Case {
        let world = World::of("first");
        let server = world.serve();
        let prepared = folder();
        world.settle(&prepared.path().join("project"));
        prepare(&Site::new(prepared.path(), &server), &world);
        Case { verb: Verb::Gc, server, prepared, before: Contents::default(), right: Contents::default(), changes: Vec::new() }
    }

    /// Runs the command undisturbed.
    fn finished(mut self) -> Case {
        let (_dir, site) = self.site();
        if site.store().exists() {
            self.before = Contents::settled(&site, "before");
        }
        let (done, changes) = fault::trace(&site.dir, || site.run(&self.verb));
        done.unwrap();
        self.right = Contents::settled(&site, "undisturbed");
        self.changes = changes;
        self
    }

    /// A fresh site.
    fn site(&self) -> (tempfile::TempDir, Site) {
        let dir = folder();
        let work = dir.path().join("work");
        copy(self.prepared.path(), &work);
        let site = Site::new(&work, &self.server);
        (dir, site)
    }

    /// Runs the command again without faults: the result is that of an undisturbed run.
    fn heals(&self, site: &Site, when: &str) {
        site.run(&self.verb).unwrap_or_else(|e| panic!("{when}: the next run fails: {e}"));
        let found = Contents::settled(site, when);
        assert!(found == self.right, "{when}: not what an undisturbed run leaves:\n{found:#?}\n{:#?}", self.right);
    }

    /// The changes to disturb: all, or the first of each sort and some others.
    fn places(&self, choice: Choice) -> Vec<u32> {
        let mut seen: BTreeMap<(&str, PathBuf), u32> = BTreeMap::new();
        let mut chosen = |n: &usize| {
            let (kind, path) = &self.changes[*n];
            let nth = seen.entry((kind, sort(path))).or_default();
            *nth += 1;
            match choice {
                Choice::All => true,
                Choice::Some(salt) => *nth == 1 || (*nth + salt).is_multiple_of(STRIDE),
            }
        };
        (0..self.changes.len()).filter(|n| chosen(n)).map(|n| n as u32).collect()
    }

    /// Kills a process in this way at each change.
    fn ends(&self, end: &str, choice: Choice) -> usize {
        let mut killed = 0;
        for steps in self.places(choice) {
            let (kind, path) = &self.changes[steps as usize];
            if end == "torn" && !["write", "copy"].contains(kind) {
                continue;
            }
            let when = format!("{:?}: {end} before change {steps}, {kind} {}", self.verb, path.display());
            let (_dir, site) = self.site();
            // The network decides the number of pieces of a download, so the last changes may not happen.
            killed += usize::from(site.killed(&self.verb, steps, end));
            Contents::disturbed(&site, [&self.before, &self.right], &when);
            self.heals(&site, &when);
        }
        killed
    }

    /// Makes the disk fail in this way at each change.
    fn fails(&self, fault: Fault, choice: Choice) -> usize {
        let mut met = 0;
        for steps in self.places(choice) {
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
                // Only the removal of superfluous files may fail silently.
                (Ok(()), Fault::Io) if *kind == "remove" || *kind == "resize" => {}
                (Ok(()), _) => panic!("{when}: nobody noticed"),
            }
            Contents::disturbed(&site, [&self.before, &self.right], &when);
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
    let mut digest = crate::common::value::Hasher512::new();
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

/// An import of a role whose inputs and image this store lacks; `expected` when its image is trusted.
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

/// The store also has a role whose project is gone, and leftovers of all kinds.
fn gc() -> Case {
    Case::new(Verb::Gc, |site, world| {
        site.run(&Verb::Build(roles(&["alpha", "beta"]))).unwrap();
        half(site, world);
        fs::write(site.store().join("quarantine").join("0".repeat(64)), "damaged").unwrap();
        // A site that has only its store:
        let gone = Site { dir: site.dir.join("gone"), ..site.clone() };
        fs::create_dir(&gone.dir).unwrap();
        std::os::unix::fs::symlink(site.store(), gone.store()).unwrap();
        World::of("second").settle(&gone.dir.join("project"));
        let server = World::of("second").serve();
        Site { base: server.base(), ..gone.clone() }.run(&Verb::Build(roles(&["alpha", "gamma"]))).unwrap();
        fs::remove_dir_all(&gone.dir).unwrap();
    })
}

/// The same text for all paths that are created in the same way: the two top folders, and the kind of an entry or a
/// temporary file there.
fn sort(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kind = name.trim_start_matches('.').split_once('-').map_or("", |(kind, _)| kind);
    let top: PathBuf = path.components().take(2).collect();
    top.join(if kind.len() < 12 { kind } else { "" })
}

/// All faults of a command: kills, errors and a full disk at every single change.
fn disturbed(case: &Case) {
    let all = std::env::var_os(THOROUGH).is_some();
    let begun = std::time::Instant::now();
    let mut told = format!("{:?}: {} changes", case.verb, case.changes.len());
    let mut kills = 0;
    for (n, (end, _)) in ENDS.iter().enumerate() {
        let choice = if all || n == 0 { Choice::All } else { Choice::Some(n as u32) };
        let killed = case.ends(end, choice);
        kills += killed;
        told += &format!(", {end} {killed}");
    }
    told += &format!(" ({kills} kills, {:.1} s)", begun.elapsed().as_secs_f32());
    for fault in [Fault::NoSpace, Fault::Io, Fault::Broken] {
        let choice = if all || fault != Fault::Broken { Choice::All } else { Choice::Some(0) };
        told += &format!(", {fault:?} {}", case.fails(fault, choice));
    }
    println!("{told} ({:.1} s)", begun.elapsed().as_secs_f32());
    assert!(kills >= case.changes.len(), "{told}");
}

#[test]
fn a_fetch_can_be_disturbed_at_every_change() {
    disturbed(&fetch());
}

#[test]
fn a_build_can_be_disturbed_at_every_change() {
    disturbed(&build());
}

#[test]
fn an_import_can_be_disturbed_at_every_change() {
    disturbed(&import(false));
}

#[test]
fn a_trusted_import_can_be_disturbed_at_every_change() {
    disturbed(&import(true));
}

#[test]
fn a_collection_can_be_disturbed_at_every_change() {
    disturbed(&gc());
}
