//! The tests' own tools: the harness that runs clusters natively (tests/kubernetes/native) reads units as systemd does, and shellcheck
//! accepts every script. The clusters themselves are tests/acceptance.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::ROOT;

/// Runs a tool on a copy of a folder's files.
fn run(folder: &str, program: &str, arguments: &[&str]) {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let mut command = Command::new(program);
    command.args(arguments).current_dir(copy.path()).env("GOFLAGS", "-mod=readonly").env("GOTOOLCHAIN", "local");
    let out = command.output().unwrap_or_else(|e| panic!("{program} is missing: run tests/setup.sh ({e})"));
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{program} {arguments:?} in {folder}: {said}");
}

#[test]
fn the_harness_reads_units_as_systemd_does() {
    run("tests/kubernetes/native", "go", &["vet", "."]);
    run("tests/kubernetes/native", "go", &["test", "-count=1", "."]);
}

/// The scripts below a folder: files whose first line names a shell. Goldens are left out: the tests that compare them check them.
fn scripts(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() && path.file_name() != Some("golden".as_ref()) {
            scripts(&path, found);
        } else if path.is_file() && first_line(&path).is_some_and(|line| line.starts_with("#!") && line.ends_with("sh")) {
            found.push(path);
        }
    }
}

fn first_line(path: &Path) -> Option<String> {
    let mut line = String::new();
    BufReader::new(fs::File::open(path).ok()?).read_line(&mut line).ok()?;
    Some(line.trim_end().to_owned())
}

#[test]
fn shellcheck_accepts_every_script() {
    let mut found = vec![Path::new(ROOT).join(".ci/run"), Path::new(ROOT).join("tests/acceptance/lib.sh")];
    scripts(&Path::new(ROOT).join("tests"), &mut found);
    assert!(found.len() > 25, "{found:?}");
    let out = Command::new("shellcheck").args(["-x", "-P", "SCRIPTDIR"]).args(&found).output();
    let out = out.unwrap_or_else(|e| panic!("shellcheck is missing: run tests/setup.sh ({e})"));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}
