//! The commit that `kbake --version` names, in checkouts that the test makes.

#[allow(dead_code, reason = "cargo calls its main")]
#[path = "../../build.rs"]
mod build;

use std::fs;
use std::path::Path;
use std::process::Command;

use build::{commit, version};

use crate::support::program;

fn git(folder: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "user.name=t", "-c", "user.email=t@t.test", "-c", "commit.gpgsign=false"]).args(args);
    let output = command.output().unwrap_or_else(|e| panic!("git is missing: run tests/setup.sh ({e})"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_commit_is_named_where_the_checkout_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    assert_eq!(commit(root), None, "there is no repository");
    git(root, &["init", "-q"]);
    fs::create_dir(root.join("src")).unwrap();
    fs::write(root.join("src/main.rs"), "1").unwrap();
    fs::write(root.join("notes"), "1").unwrap();
    git(root, &["add", "."]);
    git(root, &["commit", "-q", "-m", "one"]);
    let id = git(root, &["rev-parse", "--short=12", "HEAD"]);
    assert_eq!(commit(root), Some(id.clone()));
    fs::write(root.join("notes"), "2").unwrap();
    assert_eq!(commit(root), Some(id.clone()), "the file is no part of the program");
    fs::write(root.join("src/main.rs"), "2").unwrap();
    assert_eq!(commit(root), Some(format!("{id}, modified")));
    let vendored = root.join("vendor/kbake");
    fs::create_dir_all(&vendored).unwrap();
    assert_eq!(commit(&vendored), None, "the repository is another project's");
}

#[test]
fn a_version_names_its_commit() {
    assert_eq!(version("1.2.3", None), "1.2.3");
    assert_eq!(version("1.2.3", Some("0123456789ab")), "1.2.3 (0123456789ab)");
    let output = program::kbake(&std::env::temp_dir()).arg("--version").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with(concat!("kbake ", env!("CARGO_PKG_VERSION"))), "{said}");
}
