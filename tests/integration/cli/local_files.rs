//! Project files as artifacts of a channel: `[artifact.NAME]` with `path`.

use super::*;

const TABLES: &str = r#"
[versions]
agent = "1.2.3"

[artifact.agent]
path = "files/agent"
version = "agent"
install = "/usr/local/bin/agent"

[artifact.tools]
path = "files/tools.tar"
unpack = { members = ["one", "two"], into = "/opt/tools" }

[artifact.served]
path = "files/served"
version = "agent"

[image.served]
version = "agent"
reference = "lab.internal/served:{version}"
from = "served"
command = ["/usr/local/bin/served"]
"#;

/// The beginning of a static program: one segment to load.
fn program() -> Vec<u8> {
    let mut head = vec![0; 120];
    head[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    for (at, value) in [(16, 2u8), (18, 62), (24, 1), (32, 64), (54, 56), (56, 1), (64, 1)] {
        head[at] = value;
    }
    head
}

fn site() -> Site {
    let site = Site::new();
    fs::create_dir(site.path("recipes/files")).unwrap();
    site.write("recipes/files/agent", "#!/bin/sh\necho agent\n");
    let regular = tar::EntryType::Regular;
    fs::write(site.path("recipes/files/tools.tar"), packages::tar(&[("one", regular, ""), ("two", regular, "")])).unwrap();
    fs::write(site.path("recipes/files/served"), program()).unwrap();
    site.write("recipes/sources/debian.toml", &(site.read("recipes/sources/debian.toml") + TABLES));
    let role = site.read("recipes/roles/etcd.toml");
    site.write("recipes/roles/etcd.toml", &format!("{role}artifacts = [\"agent\", \"tools\"]\nimages = [\"served\"]\n"));
    site
}

#[test]
fn a_file_of_the_project_is_locked_planned_fetched_and_in_the_bill_of_materials() {
    let site = site();
    says(&site.fails(1, &["plan", "etcd"]), &["artifact `agent` (amd64): is missing", "kbake lock --channel debian"]);
    let moves = site.succeeds(&["lock"]);
    says(&moves, &["add     agent 1.2.3 (recipes/files/agent) (amd64)", "add     tools recipes/files/tools.tar (amd64)"]);
    let lock = site.read("lockfiles/debian.lock");
    says(&lock, &["name = \"agent\"\nversion = \"1.2.3\"\narch = \"amd64\"\npath = \"recipes/files/agent\"\n", "verified = \"local\""]);
    site.succeeds(&["lock", "--check"]);
    let plan = site.succeeds(&["plan", "etcd"]);
    for path in ["/usr/local/bin/agent", "/opt/tools/one", "/opt/tools/two", "/usr/share/kbake/images/served.tar"] {
        assert!(plan.contains(path), "{path}: {plan}");
    }
    let bill: serde_json::Value = serde_json::from_str(&site.succeeds(&["sbom", "etcd"])).unwrap();
    let find = |name: &str| bill["components"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
    for (name, version) in [("agent", Some("1.2.3")), ("served", Some("1.2.3")), ("tools", None)] {
        assert_eq!(find(name)["version"].as_str(), version, "{name}");
        let purl = find(name)["purl"].as_str().unwrap();
        assert!(purl.starts_with(&version.map_or(format!("pkg:generic/{name}?"), |v| format!("pkg:generic/{name}@{v}?"))), "{purl}");
    }
    assert!(!bill.to_string().contains("recipes/files"), "where it lies is nobody's business");

    // After a fetch it is in the store, and the file is not needed.
    let web = Web::start();
    mirror(&web, &[ONE, TWO, TOOL]);
    site.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
    let digest = Sha256::of(fs::read(site.path("recipes/files/agent")).unwrap()).to_string();
    assert!(site.blobs().contains(&digest));
    // Another version changes the lockfile, not the image.
    site.write("recipes/sources/debian.toml", &site.read("recipes/sources/debian.toml").replace("agent = \"1.2.3\"", "agent = \"1.2.4\""));
    says(&site.fails(1, &["lock", "--check"]), &["artifact `agent` (amd64): expected version 1.2.4, found 1.2.3"]);
    says(&site.succeeds(&["lock"]), &["move    agent 1.2.3 (recipes/files/agent) -> 1.2.4 (recipes/files/agent) (amd64)"]);
    site.succeeds(&["lock", "--check"]);
}

#[test]
fn a_file_of_the_project_that_is_gone_changed_or_elsewhere_is_named_with_the_next_command() {
    let site = site();
    site.succeeds(&["lock"]);
    let lock = site.read("lockfiles/debian.lock");
    let agent = site.path("recipes/files/agent");
    // Changed since.
    fs::write(&agent, "#!/bin/sh\necho other\n").unwrap();
    let text = site.fails(1, &["plan", "etcd"]);
    says(&text, &["recipes/files/agent has changed since it was locked as `agent`", "run `kbake lock --channel debian`"]);
    assert!(!text.contains("--set"), "{text}");
    says(&site.succeeds(&["lock"]), &["move    agent 1.2.3 (recipes/files/agent) (amd64): sha256:"]);
    site.succeeds(&["plan", "etcd"]);
    // Gone.
    fs::remove_file(&agent).unwrap();
    let web = Web::start();
    mirror(&web, &[ONE, TWO, TOOL]);
    let text = site.fails(1, &["fetch", "etcd", "--mirror", &web.base]);
    says(
        &text,
        &[
            "`agent` is locked to ",
            "files/agent, which does not exist",
            "change `path` in recipes/sources/debian.toml",
            "kbake lock --channel debian",
        ],
    );
    says(&site.fails(1, &["lock"]), &["recipes/files/agent does not exist", "the channel's sources name it"]);
    // No file.
    fs::create_dir(&agent).unwrap();
    says(&site.fails(1, &["lock"]), &["recipes/files/agent"]);
    fs::remove_dir(&agent).unwrap();
    // Outside, by a link and by its path.
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("agent"), "#!/bin/sh\n").unwrap();
    std::os::unix::fs::symlink(outside.path().join("agent"), &agent).unwrap();
    for args in [&["lock"][..], &["plan", "etcd"]] {
        says(&site.fails(1, args), &["recipes/files/agent is outside the project's folder"]);
    }
    let sources = site.read("recipes/sources/debian.toml");
    for path in ["../agent", "/etc/passwd"] {
        site.write("recipes/sources/debian.toml", &sources.replace("files/agent", path));
        says(&site.fails(1, &["lock"]), &[&format!("`{path}` must be a plain path inside the recipes' folder"), "debian.toml:"]);
    }
    site.write("recipes/sources/debian.toml", &sources);
    // No program for the machine; an archive without its member.
    fs::remove_file(&agent).unwrap();
    fs::write(&agent, "x").unwrap();
    says(&site.fails(1, &["lock"]), &["recipes/files/agent is not a program"]);
    fs::write(&agent, "#!/bin/sh\necho agent\n").unwrap();
    site.write("recipes/sources/debian.toml", &sources.replace("\"one\", \"two\"", "\"one\", \"three\""));
    says(&site.fails(1, &["lock"]), &["recipes/files/tools.tar has no file `three`"]);
    site.write("recipes/sources/debian.toml", &sources);
    site.succeeds(&["lock"]);
    assert_eq!(site.read("lockfiles/debian.lock"), lock, "the first bytes again");
    // The sources name the file: `--set`, `--unset` and `--upgrade` refuse it.
    site.write("mine", "#!/bin/sh\n");
    for args in [["lock", "--set", "agent=mine"], ["lock", "--unset", "agent"]] {
        let text = site.fails(1, &args[..]);
        says(&text, &["`agent` is a project file in this channel: recipes/files/agent", "kbake lock --channel debian"]);
    }
    says(&site.fails(1, &["lock", "--upgrade", "agent"]), &["the channel's sources name it: `kbake lock --channel debian`"]);
    assert_eq!(site.read("lockfiles/debian.lock"), lock);
    // Sources that name a publisher instead: the file stays locked, as after `--set`, with a note.
    let published = "url = \"https://host.invalid/{version}/agent\"";
    site.write("recipes/sources/debian.toml", &sources.replacen("path = \"files/agent\"", published, 1));
    let output = site.kbake(&["lock"]).output().unwrap();
    assert!(output.status.success());
    says(&said_by(&output), &["agent remains recipes/files/agent; `kbake lock --unset agent", "returns to the publisher's"]);
    // A version that `[versions]` lacks.
    site.write("recipes/sources/debian.toml", &sources.replacen("version = \"agent\"", "version = \"1.2.3\"", 1));
    says(&site.fails(1, &["lock"]), &["`[versions]` has no `1.2.3`"]);
}
