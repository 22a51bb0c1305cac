//! The Go programs of `tests/kubernetes/oracles`, built from Kubernetes' and etcd's own packages.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The folder with the programs, built once; Go's own cache has whatever the components' build compiled.
pub(crate) fn programs() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let out = Path::new(ROOT).join("target/oracles");
        std::fs::create_dir_all(&out).unwrap();
        build(&out, "1.36", &["facts", "judge", "kubeadm"].map(|name| format!("kbake.internal/oracles/{name}")));
        let etcd = out.join("etcd");
        std::fs::create_dir_all(&etcd).unwrap();
        build(&etcd, "etcd", &["kbake.internal/oracles/etcd/facts".to_owned()]);
        out
    })
}

fn build(out: &Path, module: &str, packages: &[String]) {
    let mut command = Command::new("go");
    command.args(["build", "-C", &format!("{ROOT}/tests/kubernetes/oracles/{module}"), "-ldflags", "-s -w", "-o"]);
    command.arg(format!("{}/", out.display())).args(packages);
    command.env("CGO_ENABLED", "0").env("GOENV", "off").env("GOTOOLCHAIN", "local").env("GOWORK", "off");
    command.env("GOFLAGS", "-mod=readonly -trimpath -buildvcs=false");
    let done = command.output().unwrap_or_else(|e| panic!("go is missing: run tests/setup.sh ({e})"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Runs a program in an empty environment: whether it succeeds, and its standard output.
pub(crate) fn said(program: &Path, arguments: &[&str]) -> (bool, String) {
    let done = Command::new(program).args(arguments).env_clear().output().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    if !done.status.success() && done.stdout.is_empty() {
        panic!("{}: {}", program.display(), String::from_utf8_lossy(&done.stderr));
    }
    (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned())
}
