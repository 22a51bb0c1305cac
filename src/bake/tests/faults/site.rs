//! A host with the project and a store, and the verbs on it: here, or in a process of their own.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::world::{self, CHANNEL};
use crate::bake::{self, Bake, Bundling, Damaged, Importing, Wanted, pantry};
use crate::error::Result;
use crate::fetch::Options;
use crate::fetch::tests::server::Server;
use crate::fsx;
use crate::fsx::fault::{self, ENDS};
use crate::project::{Expected, Project};
use crate::report::Silent;
use crate::store::gc::Limits;
use crate::store::{Access, Owner, Store};
use crate::value::{Cancel, RoleName, Sha256};

const ORDER: &str = "KBAKE_TEST_FAULT";

/// What a process does, as the command of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// `kbake fetch ROLE…`
    Fetch(Vec<String>),
    /// `kbake build ROLE…`
    Build(Vec<String>),
    /// `kbake bundle import in.bundle --project-to taken`, with `--expect DIGEST` or without.
    Import(Option<Sha256>),
    /// `kbake gc`
    Gc,
}

impl Verb {
    fn text(&self) -> String {
        match self {
            Verb::Fetch(roles) => format!("fetch {}", roles.join(" ")),
            Verb::Build(roles) => format!("build {}", roles.join(" ")),
            Verb::Import(expect) => format!("import {}", expect.map(|digest| digest.to_string()).unwrap_or_default()),
            Verb::Gc => "gc".to_owned(),
        }
    }

    fn parse(text: &str) -> Verb {
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let roles: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
        match verb {
            "fetch" => Verb::Fetch(roles),
            "build" => Verb::Build(roles),
            "import" => Verb::Import(roles.first().map(|digest| digest.parse().unwrap())),
            "gc" => Verb::Gc,
            _ => panic!("no verb: {text}"),
        }
    }
}

/// Everything is below one folder: `project`, `store`, `images`.
#[derive(Debug, Clone)]
pub struct Site {
    /// The folder.
    pub dir: PathBuf,
    /// Where the server is.
    pub base: String,
    /// How many downloads at once. With one, each run changes the disk in the same order.
    pub jobs: usize,
}

impl Site {
    /// The folder must be there.
    pub fn new(dir: &Path, server: &Server) -> Site {
        // The store knows itself by this path.
        Site { dir: fs::canonicalize(dir).unwrap(), base: server.base(), jobs: 1 }
    }

    /// The store's folder.
    pub fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Where a role's image goes.
    pub fn image(&self, role: &str) -> PathBuf {
        self.dir.join(format!("images/{role}.qcow2"))
    }

    /// The bundle that is imported.
    pub fn bundle(&self) -> PathBuf {
        self.dir.join("in.bundle")
    }

    /// Where an import puts the project.
    pub fn taken(&self) -> PathBuf {
        self.dir.join("taken")
    }

    /// Opens the store as a verb does.
    pub fn open(&self) -> Result<Store> {
        Store::open(&self.store(), Access::Shared, &Cancel::new(), &|| {})
    }

    /// Does it here.
    pub fn run(&self, verb: &Verb) -> Result<()> {
        match verb {
            Verb::Fetch(roles) => self.each(roles, |bake, owner, resolved| {
                bake.fetch_all(resolved)?;
                bake.remember(owner, resolved, None)
            }),
            Verb::Build(roles) => self.each(roles, |bake, owner, resolved| {
                bake.base_by(resolved, |bake, _| pantry::pack(bake, world::base))?;
                let baked = bake.image(resolved)?;
                let output = self.image(owner.role.as_str());
                bake.place(&baked.image, &output, &|_| false)?;
                bake.remember(owner, resolved, Some(&output))
            }),
            Verb::Import(expect) => self.with(&self.open()?, |bake| {
                let taken = self.taken();
                let owner = |channel: &str, role: &RoleName, _: &Sha256| {
                    Some(Owner { project: Some(taken.clone()), channel: channel.to_owned(), role: role.clone() })
                };
                let expected = Expected::default();
                let how = Importing { expect: *expect, expected: &expected, project_to: Some(&taken), owner: &owner };
                bake.import(&mut fsx::open_read(&self.bundle())?, &how).map(drop)
            }),
            Verb::Gc => {
                let store = Store::open(&self.store(), Access::Exclusive, &Cancel::new(), &|| {})?;
                store.gc(&Limits::default(), &Cancel::new(), &mut |_| {}).map(drop)
            }
        }
    }

    /// Looks at everything in the store, and derives what can be derived again. Gives what is damaged.
    pub fn prove(&self) -> Result<Vec<Damaged>> {
        self.with(&self.open()?, |bake| {
            let proof = bake.prove(&Wanted::of(bake.store, None, &Cancel::new())?)?;
            Ok(proof.damages.into_iter().map(|damage| damage.what).collect())
        })
    }

    /// Writes the bundle of a role. Gives its digest.
    pub fn pack(&self, role: &str) -> Result<Sha256> {
        let project = Project::Folder(self.dir.join("project"));
        let channel = project.channel(CHANNEL)?;
        let resolved = bake::resolve(&project, &channel, &role.parse().unwrap(), &Cancel::new())?;
        self.with(&self.open()?, |bake| {
            bake.base_by(&resolved, |bake, _| pantry::pack(bake, world::base))?;
            let expected = Expected::default();
            let bundling = Bundling { project: &project, channel: &channel, expected: &expected, inputs: true, outputs: true, since: &[] };
            let packed = bake.pack(&bundling, std::slice::from_ref(&resolved))?;
            let mut bytes = Vec::new();
            bake.write_bundle(&packed, &mut bytes)?;
            fs::write(self.bundle(), bytes).unwrap();
            Ok(packed.outline.digest())
        })
    }

    fn each(&self, roles: &[String], work: impl Fn(&Bake, Owner, &bake::Resolved) -> Result<()>) -> Result<()> {
        let project = Project::Folder(self.dir.join("project"));
        let channel = project.channel(CHANNEL)?;
        self.with(&self.open()?, |bake| {
            roles.iter().try_for_each(|role| {
                let role: RoleName = role.parse().unwrap();
                work(bake, bake::owner(&project, &self.dir, CHANNEL, &role), &bake::resolve(&project, &channel, &role, &Cancel::new())?)
            })
        })
    }

    /// Works on several roles at once, whose bases are there, with so many threads.
    pub fn together(&self, roles: &[&str], jobs: usize, work: impl FnOnce(&Bake, &[bake::Resolved]) -> Result<()>) -> Result<()> {
        let project = Project::Folder(self.dir.join("project"));
        let channel = project.channel(CHANNEL)?;
        self.with(&self.open()?, |bake| {
            let resolve = |role: &&str| bake::resolve(&project, &channel, &role.parse().unwrap(), &Cancel::new());
            let all: Vec<_> = roles.iter().map(resolve).collect::<Result<_>>()?;
            for resolved in &all {
                bake.base_by(resolved, |bake, _| pantry::pack(bake, world::base))?;
            }
            let (store, fetch, host_mirrors) = (bake.store, bake.fetch.clone(), bake.host_mirrors);
            work(&Bake { store, fetch, host_mirrors, jobs, report: bake.report, cancel: bake.cancel }, &all)
        })
    }

    fn with<T>(&self, store: &Store, work: impl FnOnce(&Bake) -> Result<T>) -> Result<T> {
        let cancel = Cancel::new();
        let ms = Duration::from_millis;
        let fetch = Options {
            jobs: self.jobs,
            mirrors: vec![self.base.clone()],
            rewrites: vec![("https://faults.test/".into(), format!("{}/", self.base))],
            registry_mirrors: vec![("registry.test".into(), self.base.clone())],
            backoff: ms(1),
            max_backoff: ms(20),
            ..Options::default()
        };
        let none = |_: &str| Ok(Vec::new());
        work(&Bake { store, fetch, host_mirrors: &none, jobs: 1, report: &Silent, cancel: &cancel })
    }

    /// Does it in a process of its own, with something in store for it after so many changes of the disk.
    pub fn spawn(&self, verb: &Verb, steps: u32, end: &str) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "bake::tests::faults::site::in_a_child", "--quiet", "--test-threads=1"]);
        let order = [&steps.to_string(), end, &self.jobs.to_string(), &self.base, &verb.text(), self.dir.to_str().unwrap()].join("\n");
        command.env(ORDER, order).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// As [`Site::spawn`], and waits. True when the process was killed; else it must have done its work.
    pub fn killed(&self, verb: &Verb, steps: u32, end: &str) -> bool {
        let output = self.spawn(verb, steps, end).wait_with_output().unwrap();
        if output.status.signal() == Some(9) {
            return true;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb:?}, {end} after {steps}: {}\n{said}", output.status);
        false
    }
}

/// The body of [`Site::spawn`]; as a test of its own it has nothing to do.
#[test]
fn in_a_child() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let [steps, end, jobs, base, verb, dir] = order.split('\n').collect::<Vec<_>>()[..] else { panic!("{order}") };
    let (_, end) = ENDS.into_iter().find(|(name, _)| *name == end).unwrap();
    fault::after(Path::new(dir), steps.parse().unwrap(), end);
    let site = Site { dir: dir.into(), base: base.to_owned(), jobs: jobs.parse().unwrap() };
    if let Err(error) = site.run(&Verb::parse(verb)) {
        panic!("{error}");
    }
}

/// A temporary folder, in memory where that can be: thousands of syncs would wear out a disk, and prove no more.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Copies a folder. Blobs become second names of the same files: nobody writes to them.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy(&source, &target);
        } else if from.ends_with("sha256") {
            fs::hard_link(source, target).unwrap();
        } else {
            fs::copy(source, target).unwrap();
        }
    }
}
