//! The harness that runs clusters natively (tests/kubernetes/native) reads units as systemd does, and the acceptance scripts that stand
//! on it have no mistake that a shell's critic sees. The clusters themselves are tests/acceptance.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test looks at the host, and prints")]

use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a judge over a copy of a folder's files.
fn run(folder: &str, program: &str, arguments: &[&str]) {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(Path::new(ROOT).join(folder)).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
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

#[test]
fn a_shells_critic_accepts_the_acceptance_scripts() {
    run(
        "tests/acceptance",
        "shellcheck",
        &["-x", "lib.sh", "kubernetes", "machine", "ha", "external-etcd", "skew", "metallb", "kubeadm", "etcd-cluster"],
    );
}
