//! Helpers that the tests of all wings share: a content source, goldens, a root folder for files, and the host's reference tools.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

mod blobs;
pub(crate) mod containerd;
pub(crate) mod oracles;
#[path = "../../../tests/support/shared/mod.rs"]
pub(crate) mod shared;

pub(crate) use blobs::Blobs;
pub(crate) use shared::golden::{golden, goldens};

/// A test's name as the harness's `--exact` takes it, from `concat!(module_path!(), "::name")`: without the crate's.
pub(crate) fn test_name(path: &str) -> &str {
    path.split_once("::").expect("a module of a crate").1
}

/// Each document as PyYAML reads it, which is the parser that cloud-init uses.
pub(crate) fn pyyaml(documents: &[String]) -> Vec<Value> {
    let script = "import json, sys, yaml; print(json.dumps([yaml.safe_load(d) for d in json.load(sys.stdin)]))";
    let mut command = Command::new("/usr/bin/python3");
    let run = command.args(["-I", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match run {
        Err(error) if error.kind() == ErrorKind::NotFound => panic!("python3 is missing: run tests/setup.sh"),
        other => other.unwrap(),
    };
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(documents).unwrap()).unwrap();
    let out = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&out.stderr);
    assert!(!complaint.contains("No module named 'yaml'"), "python3-yaml is missing: run tests/setup.sh");
    assert!(out.status.success(), "{complaint}\n{documents:?}");
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Puts a file at an absolute or relative path below `root`, with the folders above it.
pub(crate) fn put(root: &Path, path: &str, bytes: impl AsRef<[u8]>, mode: u32) {
    let path = root.join(path.trim_start_matches('/'));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs a reference tool of the host. A missing one fails the test, with the command that installs it.
pub(crate) fn run(command: &mut Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => panic!("{name} is missing: run tests/setup.sh"),
        other => other.unwrap(),
    }
}

/// Runs `systemd-analyze` of the host on the units below `root`.
pub(crate) fn systemd_analyze(root: &Path, args: &[&str]) -> Output {
    let root = format!("--root={}", root.display());
    run(Command::new("systemd-analyze").args(args).arg("--no-pager").arg(root).env("LC_ALL", "C"))
}

/// The paths of all files below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// A golden that only a test of another program compares.
const HELP: &str = "cli/help.txt";

/// Runs the tests of goldens, which print the names that they compare.
#[test]
fn each_golden_has_its_test() {
    let out = run(Command::new(std::env::current_exe().unwrap()).args(["as_recorded", "--show-output"]));
    let shown = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{shown}");
    let compared: BTreeSet<&str> = shown.lines().filter_map(|line| line.strip_prefix("golden ")).chain([HELP]).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for path in files_below(&folder) {
        let name = path.strip_prefix(&folder).unwrap().to_str().unwrap();
        assert!(compared.contains(name), "no test with `as_recorded` in its name compares tests/golden/{name}: remove it");
    }
}
