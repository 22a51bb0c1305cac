//! A host with the project and a store, and the commands on it: here, or in a process of their own.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::world::{self, CHANNEL};
use crate::build::pipeline::install;
use crate::build::upkeep::findings::Damaged;
use crate::build::{self, Bake, Bundling, Importing, Wanted};
use crate::common::error::Result;
use crate::common::fsx;
use crate::common::fsx::fault::{self, ENDS};
use crate::common::report::Silent;
use crate::common::testing::shared::server::Server;
use crate::common::testing::test_name;
use crate::common::value::{Cancel, RoleName, Sha256};
use crate::spec::project::{Expected, Project};
use crate::storage::fetch::Options;
use crate::storage::store::gc::Limits;
use crate::storage::store::{Access, Owner, Store};

const ORDER: &str = "KBAKE_TEST_FAULT";

/// The command that a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verb {
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
pub(crate) struct Site {
    /// The folder.
    pub dir: PathBuf,
    /// The server's address.
    pub base: String,
    /// The number of parallel downloads. With one, each run changes the disk in the same order.
    pub jobs: usize,
}

impl Site {
    /// The folder must exist.
    pub(crate) fn new(dir: &Path, server: &Server) -> Site {
        // The store records this path.
        Site { dir: fs::canonicalize(dir).unwrap(), base: server.base(), jobs: 1 }
    }

    /// The store's folder.
    pub(crate) fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// The path of a role's image.
    pub(crate) fn image(&self, role: &str) -> PathBuf {
        self.dir.join(format!("images/{role}.qcow2"))
    }

    /// The bundle that is imported.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.dir.join("in.bundle")
    }

    /// The folder for the project from an import.
    pub(crate) fn taken(&self) -> PathBuf {
        self.dir.join("taken")
    }

    /// Opens the store as a command does.
    pub(crate) fn open(&self) -> Result<Store> {
        Store::open(&self.store(), Access::Shared, &Cancel::new(), &|| {})
    }

    /// Runs the command here.
    pub(crate) fn run(&self, verb: &Verb) -> Result<()> {
        match verb {
            Verb::Fetch(roles) => self.each(roles, |bake, owner, resolved| {
                bake.fetch_all(resolved)?;
                bake.record_build(owner, resolved, None)
            }),
            Verb::Build(roles) => self.each(roles, |bake, owner, resolved| {
                bake.base_by(resolved, |bake, _| install::pack(bake, world::base))?;
                let baked = bake.image(resolved)?;
                let output = self.image(owner.role.as_str());
                bake.place(&baked.image, &output, &|_| false)?;
                bake.record_build(owner, resolved, Some(&output))
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

    /// Verifies everything in the store. Returns the damages.
    pub(crate) fn verify_store(&self) -> Result<Vec<Damaged>> {
        self.with(&self.open()?, |bake| {
            let findings = bake.verify_store(&Wanted::of(bake.store, None, &Cancel::new())?)?;
            Ok(findings.damages.into_iter().map(|damage| damage.what).collect())
        })
    }

    /// Writes the bundle of a role. Returns its digest.
    pub(crate) fn pack(&self, role: &str) -> Result<Sha256> {
        let project = Project::Folder(self.dir.join("project"));
        let channel = project.channel(CHANNEL)?;
        let resolved = build::resolve(&project, &channel, &role.parse().unwrap(), &Cancel::new())?;
        self.with(&self.open()?, |bake| {
            bake.base_by(&resolved, |bake, _| install::pack(bake, world::base))?;
            let expected = Expected::default();
            let bundling = Bundling { project: &project, channel: &channel, expected: &expected, inputs: true, outputs: true, since: &[] };
            let packed = bake.pack(&bundling, std::slice::from_ref(&resolved))?;
            let mut bytes = Vec::new();
            bake.write_bundle(&packed, &mut bytes)?;
            fs::write(self.bundle(), bytes).unwrap();
            Ok(packed.outline.digest())
        })
    }

    fn each(&self, roles: &[String], work: impl Fn(&Bake, Owner, &build::Resolved) -> Result<()>) -> Result<()> {
        let project = Project::Folder(self.dir.join("project"));
        let channel = project.channel(CHANNEL)?;
        self.with(&self.open()?, |bake| {
            roles.iter().try_for_each(|role| {
                let role: RoleName = role.parse().unwrap();
                work(bake, build::owner(&project, &self.dir, CHANNEL, &role), &build::resolve(&project, &channel, &role, &Cancel::new())?)
            })
        })
    }

    /// Builds several roles in parallel with so many threads; their bases are in the store.
    pub(crate) fn together(&self, roles: &[&str], jobs: usize, work: impl FnOnce(&Bake, &[build::Resolved]) -> Result<()>) -> Result<()> {
        let project = Project::Folder(self.dir.join("project"));
        let channel = project.channel(CHANNEL)?;
        self.with(&self.open()?, |bake| {
            let resolve = |role: &&str| build::resolve(&project, &channel, &role.parse().unwrap(), &Cancel::new());
            let all: Vec<_> = roles.iter().map(resolve).collect::<Result<_>>()?;
            for resolved in &all {
                bake.base_by(resolved, |bake, _| install::pack(bake, world::base))?;
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
            mirrors: vec![self.base.clone().into()],
            rewrites: vec![("https://faults.test/".into(), format!("{}/", self.base))],
            registry_mirrors: vec![("registry.test".into(), self.base.clone())],
            backoff: ms(1),
            max_backoff: ms(20),
            ..Options::default()
        };
        let none = |_: &crate::spec::recipe::Archive| Ok(Vec::new());
        work(&Bake { store, fetch, host_mirrors: &none, jobs: 1, report: &Silent, cancel: &cancel })
    }

    /// Runs the command in a process of its own, with a fault after so many changes of the disk.
    pub(crate) fn spawn(&self, verb: &Verb, steps: u32, end: &str) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test_name(concat!(module_path!(), "::in_a_child")), "--quiet", "--test-threads=1"]);
        let order = [&steps.to_string(), end, &self.jobs.to_string(), &self.base, &verb.text(), self.dir.to_str().unwrap()].join("\n");
        command.env(ORDER, order).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// [`Site::spawn`], then waits. True when the process was killed; otherwise it must have succeeded.
    pub(crate) fn killed(&self, verb: &Verb, steps: u32, end: &str) -> bool {
        let output = self.spawn(verb, steps, end).wait_with_output().unwrap();
        if output.status.signal() == Some(9) {
            return true;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb:?}, {end} after {steps}: {}\n{said}", output.status);
        false
    }
}

/// The body of [`Site::spawn`]; does nothing as a test of its own.
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

/// A temporary folder, in memory if possible: thousands of syncs would wear out a disk and prove no more.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Copies a folder. Blobs become hard links: nothing writes to them.
pub(crate) fn copy(from: &Path, to: &Path) {
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
