//! Tells the program its version: the package's, and in release builds the commit it is compiled from.
//!
//! Development builds name no commit: each new one would compile the crate again.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a build script talks to cargo by its environment and output")]

use std::path::Path;
use std::process::Command;

/// The files that the program is made of, as pathspecs of git and paths for cargo.
const SOURCES: [&str; 7] = ["src", "recipes", "lockfiles", "images/expected.toml", "build.rs", "Cargo.toml", "Cargo.lock"];

fn main() {
    let package = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    println!("cargo:rerun-if-env-changed=KBAKE_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    let given = std::env::var("KBAKE_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| is_release.then(|| commit(Path::new(&root))).flatten());
    println!("cargo:rustc-env=KBAKE_VERSION={}", version(&package, commit.as_deref()));
}

/// The version that `kbake --version` shows: the package's, and the commit in parentheses if there is one.
pub fn version(package: &str, commit: Option<&str>) -> String {
    commit.map_or_else(|| package.to_owned(), |commit| format!("{package} ({commit})"))
}

/// The commit that is checked out at `root`, marked where the sources differ from it. None outside of git, and where `root` lies inside
/// another project's repository, as vendored sources do.
pub fn commit(root: &Path) -> Option<String> {
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    let commit = git(root, &["rev-parse", "--short=12", "HEAD"])?;
    let log = git(root, &["rev-parse", "--git-path", "logs/HEAD"])?;
    for path in SOURCES.iter().map(|path| root.join(path)).chain([root.join(log)]).filter(|path| path.exists()) {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    let changed = git(root, &[&["status", "--porcelain", "--"][..], &SOURCES].concat())?;
    Some(if changed.is_empty() { commit } else { commit + ", modified" })
}

/// The output of a git command; none when it fails or git is missing.
fn git(root: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
