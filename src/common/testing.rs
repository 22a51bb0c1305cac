//! Helpers that the tests of all wings share: goldens, a root folder for files, and the host's reference tools.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

pub(crate) mod oracles;

/// A test's name as the harness's `--exact` takes it, from `concat!(module_path!(), "::name")`: without the crate's.
pub(crate) fn test_name(path: &str) -> &str {
    path.split_once("::").expect("a module of a crate").1
}

/// Compares with `tests/golden/NAME`. A text that differs goes to `target/golden`, to be reviewed and copied.
pub(crate) fn golden(name: &str, actual: &str) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(root.join("tests/golden").join(name)).unwrap_or_default();
    if actual == expected {
        return Ok(());
    }
    let found = root.join("target/golden").join(name);
    std::fs::create_dir_all(found.parent().unwrap()).unwrap();
    std::fs::write(&found, actual).unwrap();
    let first =
        expected.lines().zip(actual.lines()).position(|(a, b)| a != b).unwrap_or(expected.lines().count().min(actual.lines().count()));
    Err(format!(
        "tests/golden/{name} differs from line {}: expected {:?}, found {:?}\nif that is meant: cp target/golden/{name} tests/golden/{name}",
        first + 1,
        expected.lines().nth(first),
        actual.lines().nth(first)
    ))
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
