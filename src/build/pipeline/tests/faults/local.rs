//! Project files that a channel's sources name: an archive, a program, and images with either; built, verified and bundled.

use std::fs;

use super::site::{Site, Verb, folder};
use super::world::{self, CHANNEL, World};
use crate::build::bill;
use crate::build::pipeline::artifacts::pulled;
use crate::build::pipeline::inputs::{all_inputs, inputs_of};
use crate::build::pipeline::step::{StepInput, planned_steps};
use crate::build::{self, State, Wanted};
use crate::common::value::{Arch, Cancel, Sha256};
use crate::spec::lock::{ArtifactSource, Lock, LockedArtifact};
use crate::spec::project::Project;
use crate::storage::store::Lookup;

const ROLE: &str = "gamma";
const LOCK: &str = "lockfiles/test.lock";
const FILE: &str = "recipes/files/local.tar.gz";

const TABLES: &str = r#"
[artifact.local]
path = "files/local.tar.gz"
version = "archive"
unpack = { strip = 1, members = ["ctl"], into = "/opt/local" }

[image.local]
version = "archive"
reference = "registry.test/local:{version}"
from = "local"
files = ["server"]
command = ["/usr/local/bin/server"]
"#;

/// A site whose role has the archive, locked as it is.
fn site() -> (tempfile::TempDir, crate::common::testing::shared::server::Server, Site) {
    let world = World::of("first");
    let (dir, server) = (folder(), world.serve());
    let project = dir.path().join("project");
    world.settle(&project);
    let edit = |name: &str, change: &dyn Fn(String) -> String| {
        let path = project.join(name);
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
    };
    edit("recipes/sources/test.toml", &|text| text + TABLES);
    edit("recipes/roles/gamma.toml", &|text| {
        text.replace("[\"tool\"]", "[\"local\", \"own\", \"tool\"]").replace("[\"pulled\"]", "[\"local\", \"pulled\"]")
    });
    let bytes = world::archive("local");
    fs::write(project.join(FILE), &bytes).unwrap();
    edit(LOCK, &|text| {
        let mut lock = Lock::parse(&text, LOCK).unwrap();
        let entry = LockedArtifact {
            name: "local".parse().unwrap(),
            arch: Arch::Amd64,
            version: Some("4.5.6".parse().unwrap()),
            source: ArtifactSource::Path(FILE.to_owned()),
            size: Some(bytes.len() as u64),
            digest: Sha256::of(&bytes).into(),
            verified: "local".parse().unwrap(),
        };
        lock.artifacts.insert((entry.name.clone(), entry.arch), entry);
        lock.to_text()
    });
    let site = Site::new(dir.path(), &server);
    (dir, server, site)
}

fn resolved(site: &Site) -> crate::Result<build::Resolved> {
    let project = Project::Folder(site.dir.join("project"));
    build::resolve(&project, &project.channel(CHANNEL)?, &ROLE.parse().unwrap(), &Cancel::new())
}

fn build() -> Verb {
    Verb::Build(vec![ROLE.into()])
}

#[test]
fn an_archive_of_the_project_is_built_into_files_and_images_and_bundled() {
    let (_dir, server, site) = site();
    site.run(&build()).unwrap();
    let image = Sha256::of(fs::read(site.image(ROLE)).unwrap());
    let plan = resolved(&site).unwrap().plan;
    let Lookup::Hit(action) = site.open().unwrap().action("image", &plan.key()) else { panic!("it is built") };
    let tree = fs::read_to_string(site.store().join("blobs/sha256").join(action.outputs["tree"].digest.to_string())).unwrap();
    let line = tree.lines().find(|line| line.contains("/opt/local/ctl")).unwrap_or_else(|| panic!("{tree}"));
    assert!(line.contains(&Sha256::of(world::noise("ctl", 20_000)).to_string()), "{line}");
    assert!(tree.contains("/usr/share/kbake/images/local.tar") && tree.contains("/usr/local/bin/own"), "{tree}");
    let bill = bill(&resolved(&site).unwrap()).cyclonedx();
    assert!(bill.contains("pkg:generic/local@4.5.6?checksum="), "{bill}");
    assert!(site.verify_store().unwrap().is_empty());

    // A bundle contains the file: an import gives the same image without the file and without a publisher.
    site.pack(ROLE).unwrap();
    fs::remove_file(site.dir.join("project").join(FILE)).unwrap();
    let there = folder();
    let other = Site::new(there.path(), &server);
    fs::copy(site.bundle(), other.bundle()).unwrap();
    other.run(&Verb::Import(None)).unwrap();
    fs::rename(other.taken(), other.dir.join("project")).unwrap();
    assert!(!other.dir.join("project").join(FILE).exists());
    let asked = server.requests().len();
    other.run(&build()).unwrap();
    assert_eq!(server.requests().len(), asked, "nobody is asked");
    assert_eq!(Sha256::of(fs::read(other.image(ROLE)).unwrap()), image);
    // The first store also keeps it.
    fs::remove_file(site.image(ROLE)).unwrap();
    site.run(&build()).unwrap();
    assert_eq!(Sha256::of(fs::read(site.image(ROLE)).unwrap()), image);
}

#[test]
fn without_its_locked_bytes_nothing_is_built() {
    let (_dir, _server, site) = site();
    let file = site.dir.join("project").join(FILE);
    fs::write(&file, world::archive("other")).unwrap();
    let error = site.run(&build()).unwrap_err();
    assert_eq!(error.class(), crate::Class::User, "{error}");
    assert!(error.message().contains(&format!("{FILE} has changed since it was locked as `local`")), "{error}");
    assert_eq!(error.hints(), ["to take it as it is now, run `kbake lock --channel test` and review the change"]);
    fs::remove_file(&file).unwrap();
    let error = site.run(&build()).unwrap_err();
    assert!(error.message().contains("`local` is locked to ") && error.message().contains("which does not exist"), "{error}");
    assert_eq!(error.hints(), ["put it back, or change `path` in recipes/sources/test.toml, and run `kbake lock --channel test`"]);
    assert!(!site.image(ROLE).exists());
}

#[test]
fn every_input_of_a_plan_is_an_input_of_a_step_and_listed_once_in_order() {
    let (_dir, _server, site) = site();
    let resolved = resolved(&site).unwrap();
    let all = all_inputs(&resolved);
    assert_eq!(inputs_of(&resolved, &planned_steps(&resolved)), all, "no recipe here overrides an artifact's file");
    let artifacts = &resolved.artifacts;
    let mut expected: Vec<StepInput> = resolved.packages.iter().map(StepInput::Package).collect();
    expected.extend(resolved.tools.iter().map(StepInput::Tool));
    expected.extend(artifacts.wants.values().map(StepInput::Artifact));
    expected.extend(pulled(artifacts).into_iter().map(StepInput::ContainerImage));
    expected.extend(artifacts.own.iter().map(|(digest, own)| StepInput::OwnFile(*digest, own)));
    assert_eq!(all, expected, "the order of the parts of a bundle");
    let counts = [resolved.packages.len(), resolved.tools.len(), artifacts.wants.len(), pulled(artifacts).len(), artifacts.own.len()];
    assert!(!counts.contains(&0), "the role has inputs of each kind: {counts:?}");
}

#[test]
fn a_damaged_copy_of_a_local_file_is_named_once_and_imported_again() {
    let (_dir, _server, site) = site();
    site.run(&build()).unwrap();
    let project = site.dir.join("project");
    let digest = Sha256::of(fs::read(project.join("recipes/files/own")).unwrap());
    let path = site.store().join(format!("blobs/sha256/{digest}"));
    fs::remove_file(&path).unwrap();
    fs::write(&path, "damaged").unwrap();
    site.together(&[], 1, |bake, _| {
        let wanted = Wanted::of(bake.store, None, &Cancel::new())?;
        let mut findings = bake.verify_store(&wanted)?;
        let needed: Vec<_> = findings.damages.iter().flat_map(|damage| damage.needed.clone()).collect();
        assert_eq!(needed, [format!("artifact own of {ROLE} (channel {CHANNEL}, {})", project.display())]);
        bake.repair(&wanted, &mut findings)?;
        assert_eq!(findings.damages[0].state, State::Repaired("imported from your file again"));
        Ok(())
    })
    .unwrap();
}
